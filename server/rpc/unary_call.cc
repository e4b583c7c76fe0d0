#include "server/rpc/unary_call.h"

#include <utility>

#include "server/rpc/status_map.h"

namespace waitq::rpc {

void UnaryCall::Arm(RawService* service, int index, const UnaryMethod* method,
                    engine::Engine* engine, CallQueue* queue) {
  new UnaryCall(service, index, method, engine, queue);
}

UnaryCall::UnaryCall(RawService* service, int index, const UnaryMethod* method,
                     engine::Engine* engine, CallQueue* queue)
    : service_(*service),
      index_(index),
      method_(*method),
      engine_(*engine),
      queue_(*queue) {
  context_.AsyncNotifyWhenDone(&done_);
  service_.RequestUnary(index_, &context_, &request_, &responder_,
                        queue_.queue(), &arrived_);
}

void UnaryCall::OnArrived(bool ok) {
  if (!ok) {  // the server shuts down; of this call no other tag comes back
    delete this;
    return;
  }
  Arm(&service_, index_, &method_, &engine_, &queue_);
  holds_ = 1;  // done_
  method_.serve(*this);
}

bool UnaryCall::Parse(google::protobuf::MessageLite& request) {
  const absl::Status status = ParseRequest(engine_, request_, request);
  request_.Clear();
  if (!status.ok()) Fail(status);
  return status.ok();
}

void UnaryCall::Reply(const google::protobuf::MessageLite& response) {
  ++holds_;
  responder_.Finish(Serialize(response), grpc::Status::OK, &finished_);
}

void UnaryCall::Fail(const absl::Status& status) {
  ++holds_;
  responder_.FinishWithError(ToGrpcStatus(status), &finished_);
}

void UnaryCall::Sleep(engine::Ref<engine::Operation> op,
                      const absl::StatusOr<engine::Started>& started,
                      Answer answer) {
  if (!started.ok()) {
    Fail(started.status());
  } else if (*started == engine::Started::kEnded) {
    Finish(*op, answer);
  } else {
    ++holds_;  // until OnEnded(), or Detach()
    op_ = std::move(op);
    answer_ = answer;
  }
}

void UnaryCall::OnEnded(engine::Operation& op) {
  Finish(op, answer_);
  op_ = nullptr;
  Release();
}

void UnaryCall::Finish(engine::Operation& op, Answer answer) {
  ended_ = engine::Ref<engine::Operation>(&op);
  const absl::Status failure = FailureOf(op);
  // Progress counts: what has moved bytes ends OK, and says what ended it.
  if (failure.ok() || op.moved_bytes()) {
    answer(*this, op);
  } else {
    Fail(failure);
  }
}

void UnaryCall::OnDone(bool) {
  if (op_ && runs_on_) {
    // It has nobody to tell any more.
    op_->Detach();
    op_ = nullptr;
    Fail(CallerGoneError());
    Release();
  } else if (op_) {
    // Only a caller that has gone ends a call before its answer. If the
    // operation has ended in the meantime, its result is on its way here.
    engine_.CallerGone(*op_);
  }
  Release();
}

void UnaryCall::OnFinished(bool) { Release(); }

void UnaryCall::Release() {
  if (--holds_ == 0) delete this;
}

}  // namespace waitq::rpc
