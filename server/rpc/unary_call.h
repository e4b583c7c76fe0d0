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
#include "server/rpc/invocation.h"
#include "server/rpc/raw_service.h"

namespace waitq::rpc {

class UnaryCall;

// A unary method: its name, what serves a call of it, and the method itself.
struct UnaryMethod {
  const char* name;
  void (*serve)(UnaryCall& call);
  Method method;
};

// Thread safety: lives on its queue's thread.
// Ownership: its own; it ends with its call.
class UnaryCall final : public Invocation, private engine::Caller {
 public:
  // Takes one call of the method; when it comes, arms the next.
  static void Arm(RawService* service, int index, const UnaryMethod* method,
                  engine::Engine* engine, CallQueue* queue);

  // Parses the request, and drops its bytes. If it does not parse, or has more
  // of them than it may, the call has failed.
  template <class Request>
  bool Parse(Request& request) {
    if constexpr (requires { request.alternatives(); }) {
      if (request_.Length() > kWaitAnyBytesMax) {
        Fail(WaitAnyTooLongError());
        return false;
      }
    }
    return ParseAny(request);
  }

  // If the request has an id: whether this call is the one that is to be run.
  // Otherwise it has failed, or waits for the answer of another.
  template <class Request>
  bool Begin(const Request& request);

  // --- Invocation ------------------------------------------------------------

  engine::Home* home() override {
    if (running_) return repeat_->home();
    return &queue_;
  }
  engine::Caller* caller() override {
    if (running_) return repeat_->caller();
    return this;
  }
  void Fail(const absl::Status& status) override { End(status); }
  void Sleep(
      engine::Ref<engine::Operation> op,
      absl::FunctionRef<absl::StatusOr<engine::Started>()> start) override;

 private:
  UnaryCall(RawService* service, int index, const UnaryMethod* method,
            engine::Engine* engine, CallQueue* queue);
  ~UnaryCall() { queue_.DropCall(); }

  void OnArrived(bool ok);
  // The call is over, or its caller has gone.
  void OnDone(bool ok);
  void OnFinished(bool ok);
  void ReplyWith(const google::protobuf::MessageLite& response) override {
    End(Serialize(response));
  }
  absl::Status GetCaller(const std::string& name, engine::SleepOptions& options,
                         std::shared_ptr<engine::CallerInfo>& caller) override;
  // engine::Caller
  void OnEnded(engine::Operation& op) override;
  // The call is answered: to whoever waits for it, if it has an id.
  void End(absl::StatusOr<grpc::ByteBuffer> answer);
  // This one is.
  void Send(const absl::StatusOr<grpc::ByteBuffer>& answer);
  bool BeginRepeat(engine::RepeatTable::Call repeat, const std::string& caller,
                   uint64_t server_epoch);
  bool ParseAny(google::protobuf::MessageLite& request);
  void Release();

  RawService& service_;
  const int index_;
  const UnaryMethod& method_;
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

// Makes a UnaryMethod of what MakeMethod() takes.
template <class Request, auto kServe, auto kAnswer = nullptr>
UnaryMethod Unary(const char* name) {
  return {name,
          [](UnaryCall& call) {
            Request request;
            if (call.Parse(request) && call.Begin(request)) {
              kServe(call, request);
            }
          },
          MakeMethod<Request, kServe, kAnswer>()};
}

}  // namespace waitq::rpc

#endif  // WAITQ_SERVER_RPC_UNARY_CALL_H_
