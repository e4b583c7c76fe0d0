// The state machine of a bidirectional stream, for every streaming method.
//
// At most one read, one write and one operation, besides the one that watches
// over an open handle, are under way at a time; a
// method is a subclass that is told when each is done and says what is next.
// Whatever happens it calls Finish() once; the call is freed when gRPC has
// given back its last tag and no operation is asleep.

#ifndef WAITQ_SERVER_RPC_STREAM_CALL_H_
#define WAITQ_SERVER_RPC_STREAM_CALL_H_

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/message_lite.h"
#include "server/engine/engine.h"
#include "server/rpc/call.h"
#include "server/rpc/call_queue.h"
#include "server/rpc/raw_service.h"
#include "server/rpc/status_map.h"

namespace waitq::rpc {

struct StreamMethod;

// Thread safety: lives on its queue's thread.
// Ownership: its own; it ends with its call.
class StreamCall : private engine::Caller {
 public:
  // What a call is made of.
  struct Parts {
    RawService* service;
    int index;
    const StreamMethod* method;
    engine::Engine* engine;
    CallQueue* queue;
  };

  // Takes one call of the method; when it comes, arms the next.
  static void Arm(const Parts& parts);

 protected:
  explicit StreamCall(const Parts& parts);
  virtual ~StreamCall();

  // --- What has happened -----------------------------------------------------

  // A message has come, after StartRead().
  virtual void OnMessage(grpc::ByteBuffer& message) = 0;
  // There will be no more messages. That the peer closed its side is one
  // reason; that the call is dead another, which only a write can tell.
  virtual void OnNoMoreMessages() = 0;
  // After StartWrite(). False: the call is dead.
  virtual void OnWritten(bool ok) = 0;
  // The operation given to Await() has ended.
  virtual void OnOperationEnded(engine::Operation& op) = 0;
  // The watch over a handle has ended: by something else than EndWatch().
  virtual void OnWatchEnded(engine::Operation& op) = 0;
  // The caller has gone; Finish() has not been called, or is on its way. An
  // operation that is asleep has been told so.
  virtual void OnGone() = 0;

  // --- What is next ----------------------------------------------------------

  void StartRead();
  void StartWrite(const google::protobuf::MessageLite& message);
  bool writing() const { return writing_; }

  // Will be told when `op`, which sleeps, has ended. `runs_on`: it does not end
  // when the caller goes.
  void Await(engine::Ref<engine::Operation> op, bool runs_on);
  bool awaiting() const { return static_cast<bool>(op_); }

  // Takes a handle that was opened with `watch`: will be told when that has
  // ended. Otherwise returns why there is none.
  template <class Handle>
  absl::Status TakeHandle(absl::StatusOr<std::unique_ptr<Handle>> opened,
                          engine::Ref<engine::HandleOperation> watch,
                          std::unique_ptr<Handle>& handle) {
    if (!opened.ok()) {
      watch->Detach();
      return opened.status();
    }
    if (*opened == nullptr) return FailureOf(*watch);
    handle = *std::move(opened);
    ++holds_;
    watch_ = std::move(watch);
    return absl::OkStatus();
  }
  // Ends the watch, if there is one; nobody is told. To be called before the
  // handle is closed.
  void EndWatch();

  // Ends the sleep of the operation that is awaited, as if the caller had gone.
  void CancelOperation() { engine().CallerGone(*op_); }

  // Ends the call, after a write that is under way. Nothing may be started
  // after it.
  void Finish(const absl::Status& status);
  bool finished() const { return finished_; }

  // The caller is known to have gone: it is given nothing more.
  bool gone() const { return gone_; }

  engine::Engine& engine() { return *parts_.engine; }
  engine::Home* home() { return parts_.queue; }
  engine::Caller* caller() { return this; }
  const grpc::ServerContext& context() const { return context_; }

 private:
  void OnArrived(bool ok);
  void OnRead(bool ok);
  void OnWrote(bool ok);
  void OnDone(bool ok);
  void OnFinished(bool ok);
  // engine::Caller
  void OnEnded(engine::Operation& op) final;
  void SendStatus();
  void Release();

  const Parts parts_;
  grpc::ServerContext context_;
  StreamResponder responder_{&context_};
  grpc::ByteBuffer incoming_;
  engine::Ref<engine::Operation> op_;
  engine::Ref<engine::Operation> watch_;
  bool op_runs_on_ = false;
  bool writing_ = false;
  bool finished_ = false;
  bool gone_ = false;
  grpc::Status status_;  // of Finish()
  // Why this lives: tags that gRPC has not given back, and operations that have
  // not ended. Freed at 0.
  int holds_ = 0;

  CallTag<StreamCall> arrived_{this, &StreamCall::OnArrived};
  CallTag<StreamCall> read_{this, &StreamCall::OnRead};
  CallTag<StreamCall> wrote_{this, &StreamCall::OnWrote};
  CallTag<StreamCall> done_{this, &StreamCall::OnDone};
  CallTag<StreamCall> finished_tag_{this, &StreamCall::OnFinished};
};

// A streaming method: its name, and what makes its calls; or, of one with a
// state machine of its own, what takes the next.
struct StreamMethod {
  const char* name;
  StreamCall* (*make)(const StreamCall::Parts& parts);
  void (*arm)(const StreamCall::Parts& parts) = &StreamCall::Arm;
};

}  // namespace waitq::rpc

#endif  // WAITQ_SERVER_RPC_STREAM_CALL_H_
