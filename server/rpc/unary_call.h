// The state machine of a unary call, for every unary method.
//
//   armed ─► arrived ─► handler ─► Reply() or Fail() ─► freed when gRPC has
//                          │              ▲             given back both tags
//                          └─► Sleep() ───┘
//                              the operation's end, which a caller that goes
//                              brings about
//
// A method reads like a function: it gets its request and either answers, or
// starts an operation and says how to answer when that ends.

#ifndef WAITQ_SERVER_RPC_UNARY_CALL_H_
#define WAITQ_SERVER_RPC_UNARY_CALL_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/message_lite.h"
#include "server/engine/engine.h"
#include "server/rpc/call.h"
#include "server/rpc/call_queue.h"
#include "server/rpc/decode.h"
#include "server/rpc/raw_service.h"

namespace waitq::rpc {

class UnaryCall;

// A unary method: its name, and what serves a call of it.
struct UnaryMethod {
  const char* name;
  void (*serve)(UnaryCall& call);
};

// Thread safety: lives on its queue's thread.
// Ownership: its own; it ends with its call.
class UnaryCall final : private engine::Caller {
 public:
  // Answers a call whose operation has ended, with Reply() or Fail().
  using Answer = void (*)(UnaryCall& call, engine::Operation& op);

  // Takes one call of the method; when it comes, arms the next.
  static void Arm(RawService* service, int index, const UnaryMethod* method,
                  engine::Engine* engine, CallQueue* queue);

  // --- For the method --------------------------------------------------------

  engine::Engine& engine() { return engine_; }
  engine::Home* home() { return &queue_; }
  engine::Caller* caller() { return this; }

  // The field `timing` of an answer, if it was asked for. To be called last:
  // what comes after it is not in it.
  template <class Response>
  void SetTiming(const engine::Operation& op, Response& response) {
    if (const auto timing = op.timing()) {
      Encode(*timing, engine_.Now(), *response.mutable_timing());
    }
  }

  // Parses the request, and drops its bytes. If it does not parse, the call has
  // failed.
  bool Parse(google::protobuf::MessageLite& request);

  // The call's end; one of them, once.
  void Reply(const google::protobuf::MessageLite& response);
  void Fail(const absl::Status& status);

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
             const absl::StatusOr<engine::Started>& started, Answer answer);

 private:
  UnaryCall(RawService* service, int index, const UnaryMethod* method,
            engine::Engine* engine, CallQueue* queue);
  ~UnaryCall() = default;

  void OnArrived(bool ok);
  // The call is over, or its caller has gone.
  void OnDone(bool ok);
  void OnFinished(bool ok);
  // engine::Caller
  void OnEnded(engine::Operation& op) override;
  void Finish(engine::Operation& op, Answer answer);
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
  Answer answer_ = nullptr;
  bool runs_on_ = false;  // the operation, when the caller has gone
  // Why this lives: tags that gRPC has not given back, and a sleeping
  // operation. Freed at 0.
  int holds_ = 0;

  CallTag<UnaryCall> arrived_{this, &UnaryCall::OnArrived};
  CallTag<UnaryCall> done_{this, &UnaryCall::OnDone};
  CallTag<UnaryCall> finished_{this, &UnaryCall::OnFinished};
};

// Makes a UnaryMethod of a function that gets the parsed request, by reference
// to const or, to take something out of it, to non-const.
template <class Request, auto kServe>
constexpr UnaryMethod Unary(const char* name) {
  return {name, [](UnaryCall& call) {
            Request request;
            if (call.Parse(request)) kServe(call, request);
          }};
}

}  // namespace waitq::rpc

#endif  // WAITQ_SERVER_RPC_UNARY_CALL_H_
