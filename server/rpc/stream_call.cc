#include "server/rpc/stream_call.h"

#include <utility>

#include "core/check.h"

namespace waitq::rpc {

void StreamCall::Arm(const Parts& parts) {
  StreamCall* const call = parts.method->make(parts);
  call->context_.AsyncNotifyWhenDone(&call->done_);
  parts.service->RequestStream(parts.index, &call->context_, &call->responder_,
                               parts.queue->queue(), &call->arrived_);
}

StreamCall::StreamCall(const Parts& parts) : parts_(parts) {
  parts_.queue->AddCall();
}

StreamCall::~StreamCall() { parts_.queue->DropCall(); }

void StreamCall::OnArrived(bool ok) {
  if (!ok) {  // the server shuts down; of this call no other tag comes back
    delete this;
    return;
  }
  Arm(parts_);
  holds_ = 1;  // done_
  StartRead();
}

void StreamCall::StartRead() {
  ++holds_;
  responder_.Read(&incoming_, &read_);
}

void StreamCall::OnRead(bool ok) {
  if (finished_) {
    // The call has its answer; what still comes in is not looked at.
  } else if (ok) {
    OnMessage(incoming_);
    incoming_.Clear();
  } else {
    OnNoMoreMessages();
  }
  Release();
}

void StreamCall::StartWrite(const google::protobuf::MessageLite& message) {
  WAITQ_CHECK(!writing_ && !finished_, "a stream writes one message at a time");
  writing_ = true;
  ++holds_;
  responder_.Write(Serialize(message), &wrote_);
}

void StreamCall::OnWrote(bool ok) {
  writing_ = false;
  if (finished_) {
    SendStatus();
  } else {
    OnWritten(ok);
  }
  Release();
}

void StreamCall::Await(engine::Ref<engine::Operation> op, bool runs_on) {
  ++holds_;
  op_ = std::move(op);
  op_runs_on_ = runs_on;
}

void StreamCall::EndWatch() {
  if (!watch_) return;
  watch_->Detach();
  engine().CallerGone(*watch_);
  watch_ = nullptr;
  --holds_;  // not the last: whoever brought us here has one
}

void StreamCall::OnEnded(engine::Operation& op) {
  if (&op == watch_.get()) {
    const engine::Ref<engine::Operation> watch = std::move(watch_);
    OnWatchEnded(op);
    return Release();
  }
  const engine::Ref<engine::Operation> ended = std::move(op_);
  OnOperationEnded(op);
  Release();
}

void StreamCall::Finish(const absl::Status& status) {
  WAITQ_CHECK(!finished_, "a call is finished once");
  finished_ = true;
  if (!status.ok()) status_ = ToGrpcStatus(status);
  if (!writing_) SendStatus();
}

void StreamCall::SendStatus() {
  ++holds_;
  responder_.Finish(status_, &finished_tag_);
}

void StreamCall::OnDone(bool) {
  if (context_.IsCancelled()) {
    gone_ = true;
    if (op_ && !op_runs_on_) engine().CallerGone(*op_);
    OnGone();
  }
  Release();
}

void StreamCall::OnFinished(bool) { Release(); }

void StreamCall::Release() {
  if (--holds_ == 0) delete this;
}

}  // namespace waitq::rpc
