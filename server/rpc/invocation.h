// A request that is being served, whatever it came by: a call of its own, or a
// session.
//
// A method reads like a function: it gets its request and either answers, or
// starts an operation and says how to answer when that ends.

#ifndef WAITQ_SERVER_RPC_INVOCATION_H_
#define WAITQ_SERVER_RPC_INVOCATION_H_

#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "google/protobuf/message.h"
#include "google/protobuf/message_lite.h"
#include "server/engine/engine.h"
#include "server/engine/error.h"
#include "server/engine/session.h"
#include "server/rpc/decode.h"

namespace waitq::rpc {

// Thread safety: that of what it came by.
class Invocation {
 public:
  engine::Engine& engine() { return engine_; }

  // What an operation is made with.
  virtual engine::Home* home() = 0;
  virtual engine::Caller* caller() = 0;

  // The end of it; one of them, once.
  template <class Response>
  void Reply(Response response) {
    if constexpr (requires { response.set_server_epoch(0); }) {
      if (says_epoch_) response.set_server_epoch(engine_.epoch());
    }
    ReplyWith(response);
  }
  virtual void Fail(const absl::Status& status) = 0;

  // What the request says of sleeping, and who calls. If the request is wrong,
  // it has failed.
  template <class Request>
  bool GetSleep(const Request& request, MaySleepOn may_sleep_on,
                engine::SleepOptions& options,
                std::shared_ptr<engine::CallerInfo>& caller) {
    absl::Status status =
        DecodeSleep(request, Permitted(may_sleep_on), options);
    if (status.ok()) status = GetCaller(request.caller(), options, caller);
    if (!status.ok()) Fail(status);
    return status.ok();
  }

  // Starts `op`, made with home() and caller(), by `start`: answers now if it
  // has ended, later if it sleeps, and fails if it could not be started.
  virtual void Sleep(
      engine::Ref<engine::Operation> op,
      absl::FunctionRef<absl::StatusOr<engine::Started>()> start) = 0;

  // --- Of a session ----------------------------------------------------------

  // The session that it came by, or nullptr; and its operation's number.
  virtual engine::Session* session() { return nullptr; }
  virtual uint64_t operation() const { return 0; }
  // The handle that it is of; nullptr: of the pipe of the request's name.
  virtual engine::PipeReader* reader() { return nullptr; }
  virtual engine::PipeWriter* writer() { return nullptr; }

 protected:
  Invocation(engine::Engine* engine, bool says_epoch)
      : engine_(*engine), says_epoch_(says_epoch) {}
  ~Invocation() = default;

  virtual void ReplyWith(const google::protobuf::MessageLite& response) = 0;
  virtual MaySleepOn Permitted(MaySleepOn may_sleep_on) const {
    return may_sleep_on;
  }
  virtual absl::Status GetCaller(
      const std::string& name, engine::SleepOptions& options,
      std::shared_ptr<engine::CallerInfo>& caller) = 0;

  engine::Engine& engine_;

 private:
  const bool says_epoch_;
};

// Is given the answer of an operation that has ended.
using AnswerSink = absl::FunctionRef<void(google::protobuf::MessageLite&)>;

// What an operation of a method is answered; on any thread.
using Answer = void (*)(const engine::Engine& engine, engine::Operation& op,
                        bool says_epoch, AnswerSink sink);

// A method as sessions see it: what serves a request of it and, if that may
// sleep, how the operation is answered.
struct Method {
  // Of the request.
  const google::protobuf::Message* request = nullptr;
  void (*serve)(Invocation& invocation,
                const google::protobuf::MessageLite& request) = nullptr;
  Answer answer = nullptr;
};

template <class Response>
Response ResponseOf(void (*)(engine::Operation& op, Response& response));

// Makes an Answer of a function that fills the response.
template <auto kAnswer>
void AnswerBy(const engine::Engine& engine, engine::Operation& op,
              bool says_epoch, AnswerSink sink) {
  // One for each thread, so that its memory is there already.
  thread_local decltype(ResponseOf(kAnswer)) response;
  response.Clear();
  kAnswer(op, response);
  if constexpr (requires { response.mutable_timing(); }) {
    if (const auto timing = op.timing()) {
      Encode(*timing, engine.Now(), *response.mutable_timing());
    }
  }
  if constexpr (requires { response.set_server_epoch(0); }) {
    if (says_epoch) response.set_server_epoch(engine.epoch());
  }
  sink(response);
  constexpr uint64_t kKeptBytes = 64 << 10;
  if (op.result_bytes() > kKeptBytes) response = {};
}

// A session has its own way to send an operation again.
template <class Request>
bool MayServe(Invocation& invocation, const Request& request) {
  if constexpr (requires { request.request_id(), request.server_epoch(); }) {
    if (!request.request_id().empty() || request.server_epoch() != 0) {
      invocation.Fail(engine::MakeError(
          EINVAL, "request_id, server_epoch: not in a session"));
      return false;
    }
  }
  return true;
}

// Of a function that gets the parsed request, and of another that answers the
// operation with which that calls Sleep().
template <class Request, auto kServe, auto kAnswer>
Method MakeMethod() {
  Method method{
      &Request::default_instance(),
      [](Invocation& invocation, const google::protobuf::MessageLite& request) {
        const auto& typed = static_cast<const Request&>(request);
        if (MayServe(invocation, typed)) kServe(invocation, typed);
      },
      nullptr};
  if constexpr (kAnswer != nullptr) method.answer = &AnswerBy<kAnswer>;
  return method;
}

}  // namespace waitq::rpc

#endif  // WAITQ_SERVER_RPC_INVOCATION_H_
