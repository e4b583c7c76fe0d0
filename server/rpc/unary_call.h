// The state machine of a unary call, for every unary method.
//
//   armed ─► arrived ─► handler ─► Reply() or Fail() ─► freed when gRPC has
//                          │              ▲             given back both tags
//                          └─► Sleep() ───┘
//                              the operation's end, which a caller that goes
//                              brings about
//
// A call with a request id is run for a Repeat (server/engine/repeats.h), and
// waits for its answer like any other call with this id: then everything
// between "handler" and "Reply()" may outlive it.
//
// A method reads like a function: it gets its request and either answers, or
// starts an operation and says how to answer when that ends.

#ifndef WAITQ_SERVER_RPC_UNARY_CALL_H_
#define WAITQ_SERVER_RPC_UNARY_CALL_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/message_lite.h"
#include "server/engine/engine.h"
#include "server/engine/repeats.h"
#include "server/rpc/call.h"
#include "server/rpc/call_queue.h"
#include "server/rpc/decode.h"
#include "server/rpc/raw_service.h"

namespace waitq::rpc {

class UnaryCall;

// The answer of an operation that has ended. On any thread.
using UnaryAnswer = grpc::ByteBuffer (*)(const engine::Engine& engine,
                                         engine::Operation& op);

// A unary method: its name, what serves a call of it and, if that may sleep,
// how the operation is answered.
struct UnaryMethod {
  const char* name;
  void (*serve)(UnaryCall& call);
  UnaryAnswer answer;
};

// The bytes of an answer that is complete but for what all answers have.
template <class Response>
grpc::ByteBuffer SerializeAnswer(const engine::Engine& engine,
                                 Response& response) {
  if constexpr (requires { response.set_server_epoch(0); }) {
    response.set_server_epoch(engine.epoch());
  }
  return Serialize(response);
}

// The same for an operation's, with its timing if it was asked for.
template <class Response>
grpc::ByteBuffer SerializeAnswer(const engine::Engine& engine,
                                 const engine::Operation& op,
                                 Response& response) {
  if (const auto timing = op.timing()) {
    Encode(*timing, engine.Now(), *response.mutable_timing());
  }
  return SerializeAnswer(engine, response);
}

// Thread safety: lives on its queue's thread.
// Ownership: its own; it ends with its call.
class UnaryCall final : private engine::Caller {
 public:
  // Takes one call of the method; when it comes, arms the next.
  static void Arm(RawService* service, int index, const UnaryMethod* method,
                  engine::Engine* engine, CallQueue* queue);

  // --- For the method --------------------------------------------------------

  engine::Engine& engine() { return engine_; }
  // What an operation is made with.
  engine::Home* home() {
    if (running_) return repeat_->home();
    return &queue_;
  }
  engine::Caller* caller() {
    if (running_) return repeat_->caller();
    return this;
  }

  // Parses the request, and drops its bytes. If it does not parse, the call has
  // failed.
  bool Parse(google::protobuf::MessageLite& request);

  // If the request has an id: whether this call is the one that is to be run.
  // Otherwise it has failed, or waits for the answer of another.
  template <class Request>
  bool Begin(const Request& request);

  // The call's end; one of them, once.
  template <class Response>
  void Reply(Response response) {
    End(SerializeAnswer(engine_, response));
  }
  void Fail(const absl::Status& status) { End(status); }

  // What the request and the call say of sleeping, and who calls. If the
  // request is wrong, the call has failed.
  template <class Request>
  bool GetSleep(const Request& request, MaySleepOn may_sleep_on,
                engine::SleepOptions& options,
                std::shared_ptr<engine::CallerInfo>& caller) {
    absl::Status status = DecodeSleep(request, may_sleep_on, options);
    if (status.ok()) {
      status = FindCaller(engine_, context_, request.caller(), caller);
    }
    if (!status.ok()) Fail(status);
    options.call_deadline = CallDeadline(context_);
    runs_on_ = options.state == kUninterruptible;
    return status.ok();
  }

  // After starting `op`, made with home() and caller(): answers now if it has
  // ended, later if it sleeps, and fails if it could not be started.
  void Sleep(engine::Ref<engine::Operation> op,
             const absl::StatusOr<engine::Started>& started);

 private:
  UnaryCall(RawService* service, int index, const UnaryMethod* method,
            engine::Engine* engine, CallQueue* queue);
  ~UnaryCall() { queue_.DropCall(); }

  void OnArrived(bool ok);
  // The call is over, or its caller has gone.
  void OnDone(bool ok);
  void OnFinished(bool ok);
  // engine::Caller
  void OnEnded(engine::Operation& op) override;
  // The call is answered: to whoever waits for it, if it has an id.
  void End(absl::StatusOr<grpc::ByteBuffer> answer);
  // This one is.
  void Send(const absl::StatusOr<grpc::ByteBuffer>& answer);
  bool BeginRepeat(engine::RepeatTable::Call repeat, const std::string& caller,
                   uint64_t server_epoch);
  void Release();

  RawService& service_;
  const int index_;
  const UnaryMethod& method_;
  engine::Engine& engine_;
  CallQueue& queue_;

  grpc::ServerContext context_;
  grpc::ByteBuffer request_;
  UnaryResponder responder_{&context_};
  engine::Ref<engine::Operation> op_;  // while it sleeps
  // When it has ended: what it holds counts until the answer is out.
  engine::Ref<engine::Operation> ended_;
  engine::Ref<engine::Repeat> repeat_;        // of a call with an id
  engine::Ref<engine::RepeatWaiter> waiter_;  // while it waits for its answer
  bool running_ = false;  // this call is run for repeat_, and not answered yet
  bool runs_on_ = false;  // the operation, when the caller has gone
  // Why this lives: tags that gRPC has not given back, and a sleeping
  // operation. Freed at 0.
  int holds_ = 0;

  CallTag<UnaryCall> arrived_{this, &UnaryCall::OnArrived};
  CallTag<UnaryCall> done_{this, &UnaryCall::OnDone};
  CallTag<UnaryCall> finished_{this, &UnaryCall::OnFinished};
};

template <class Request>
bool UnaryCall::Begin(const Request& request) {
  if constexpr (requires { request.request_id(), request.server_epoch(); }) {
    if (request.request_id().empty() && request.server_epoch() == 0) {
      return true;
    }
    // What may differ between two sends of one call.
    Request arguments = request;
    arguments.clear_request_id();
    arguments.clear_server_epoch();
    if constexpr (requires { arguments.clear_timeout(); }) {
      arguments.clear_timeout();
    }
    std::string caller;
    if constexpr (requires { arguments.clear_caller(); }) {
      caller = request.caller();
      arguments.clear_caller();
    }
    uint64_t answer_bytes = kAnswerOverheadBytes;
    if constexpr (requires { request.max_bytes(); }) {
      answer_bytes += ReadBytesOf(engine_, request);
    }
    return BeginRepeat({.key = {request.request_id(), request.name(), ""},
                        .fingerprint = Fingerprint(arguments),
                        .answer_bytes = answer_bytes,
                        .encode = nullptr},
                       caller, request.server_epoch());
  }
  return true;
}

// Makes a UnaryMethod of a function that gets the parsed request, by reference
// to const or, to take something out of it, to non-const; and of another that
// answers the operation with which that calls Sleep().
template <class Request, auto kServe, UnaryAnswer kAnswer = nullptr>
constexpr UnaryMethod Unary(const char* name) {
  return {name,
          [](UnaryCall& call) {
            Request request;
            if (call.Parse(request) && call.Begin(request)) {
              kServe(call, request);
            }
          },
          kAnswer};
}

}  // namespace waitq::rpc

#endif  // WAITQ_SERVER_RPC_UNARY_CALL_H_
