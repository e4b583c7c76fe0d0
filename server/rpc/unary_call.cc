#include "server/rpc/unary_call.h"

#include <cerrno>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/string_view.h"
#include "server/engine/error.h"
#include "server/rpc/status_map.h"

namespace waitq::rpc {

void UnaryCall::Arm(RawService* service, int index, const UnaryMethod* method,
                    engine::Engine* engine, CallQueue* queue) {
  new UnaryCall(service, index, method, engine, queue);
}

UnaryCall::UnaryCall(RawService* service, int index, const UnaryMethod* method,
                     engine::Engine* engine, CallQueue* queue)
    : Invocation(engine, /*says_epoch=*/true),
      service_(*service),
      index_(index),
      method_(*method),
      queue_(*queue) {
  queue_.AddCall();
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

bool UnaryCall::ParseAny(google::protobuf::MessageLite& request) {
  const absl::Status status = ParseRequest(engine_, request_, request);
  request_.Clear();
  if (!status.ok()) Fail(status);
  return status.ok();
}

absl::Status UnaryCall::GetCaller(const std::string& name,
                                  engine::SleepOptions& options,
                                  std::shared_ptr<engine::CallerInfo>& caller) {
  options.call_deadline = CallDeadline(context_);
  runs_on_ = options.state == kUninterruptible;
  return FindCaller(engine_, context_, name, caller);
}

// --- The answer --------------------------------------------------------------

namespace {

absl::StatusOr<grpc::ByteBuffer> AnswerOf(const engine::Engine& engine,
                                          engine::Operation& op,
                                          Answer answer) {
  const absl::Status failure = FailureOf(op);
  // Progress counts: what has moved bytes ends OK, and says what ended it.
  if (!failure.ok() && !op.moved_bytes()) return failure;
  grpc::ByteBuffer bytes;
  answer(engine, op, /*says_epoch=*/true,
         [&](const google::protobuf::MessageLite& response) {
           bytes = Serialize(response);
         });
  return bytes;
}

engine::KeptAnswer ToKept(const absl::StatusOr<grpc::ByteBuffer>& answer) {
  engine::KeptAnswer kept{.status = answer.status(), .bytes = {}};
  if (!answer.ok()) return kept;
  std::vector<grpc::Slice> slices;
  // Cannot fail: it is not compressed.
  (void)answer->Dump(&slices);
  for (const grpc::Slice& slice : slices) {
    kept.bytes.append(reinterpret_cast<const char*>(slice.begin()),
                      slice.size());
  }
  return kept;
}

}  // namespace

void UnaryCall::End(absl::StatusOr<grpc::ByteBuffer> answer) {
  if (running_) {
    running_ = false;
    repeat_->Answer(ToKept(answer));
  } else {
    Send(answer);
  }
}

void UnaryCall::Send(const absl::StatusOr<grpc::ByteBuffer>& answer) {
  ++holds_;
  if (answer.ok()) {
    responder_.Finish(*answer, grpc::Status::OK, &finished_);
  } else {
    responder_.FinishWithError(ToGrpcStatus(answer.status()), &finished_);
  }
}

void UnaryCall::Sleep(
    engine::Ref<engine::Operation> op,
    absl::FunctionRef<absl::StatusOr<engine::Started>()> start) {
  const absl::StatusOr<engine::Started> started = start();
  if (!started.ok()) return Fail(started.status());
  if (*started == engine::Started::kEnded) {
    ended_ = engine::EndedOf(std::move(op));
    return End(AnswerOf(engine_, *ended_, method_.method.answer));
  }
  if (running_) {
    running_ = false;  // the operation answers
    return repeat_->Sleep(std::move(op));
  }
  ++holds_;  // until OnEnded(), or Detach()
  op_ = std::move(op);
}

void UnaryCall::OnEnded(engine::Operation& op) {
  if (&op == waiter_.get()) {
    const engine::Ref<engine::RepeatWaiter> waiter = std::move(waiter_);
    const engine::KeptAnswer& answer = waiter->answer();
    if (answer.status.ok()) {
      const grpc::Slice bytes(answer.bytes);
      Send(grpc::ByteBuffer(&bytes, 1));
    } else {
      Send(answer.status);
    }
    return Release();
  }
  // Of several the one that has ended the call.
  ended_ = engine::Ref<engine::Operation>(&op);
  op_ = nullptr;
  Send(AnswerOf(engine_, op, method_.method.answer));
  Release();
}

// --- Calls with an id --------------------------------------------------------

namespace {

// 8-4-4-4-12 hexadecimal digits, as RFC 9562 has them.
bool IsUuid(absl::string_view id) {
  if (id.size() != 36) return false;
  for (size_t i = 0; i < id.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? id[i] != '-' : !absl::ascii_isxdigit(id[i])) return false;
  }
  return true;
}

}  // namespace

bool UnaryCall::BeginRepeat(engine::RepeatTable::Call repeat,
                            const std::string& caller, uint64_t server_epoch) {
  absl::Status status;
  std::shared_ptr<engine::CallerInfo> info;
  if (server_epoch != 0 && server_epoch != engine_.epoch()) {
    status = OwnerDeadError();
  } else if (repeat.key.request_id.empty()) {
    return true;
  } else if (!IsUuid(repeat.key.request_id)) {
    status = engine::MakeError(EINVAL, "request_id: not a UUID");
  } else {
    status = FindCaller(engine_, context_, caller, info);
  }
  if (!status.ok()) {
    Fail(status);
    return false;
  }
  repeat.key.method = MethodName(service_.descriptor(), method_.name);
  // It outlives this call, but neither the engine nor the program's code.
  repeat.encode = [&engine = engine_,
                   answer = method_.method.answer](engine::Operation& op) {
    return ToKept(AnswerOf(engine, op, answer));
  };
  auto waiter = engine::MakeRef<engine::RepeatWaiter>(
      &queue_, static_cast<engine::Caller*>(this), std::move(info),
      CallDeadline(context_));
  auto begun = engine_.repeats().Begin(std::move(repeat), waiter);
  if (!begun.ok()) {
    Fail(begun.status());
    return false;
  }
  ++holds_;  // until OnEnded(), or OnDone()
  waiter_ = std::move(waiter);
  repeat_ = std::move(begun->repeat);
  running_ = begun->is_new;
  return running_;
}

void UnaryCall::OnDone(bool) {
  if (waiter_) {
    // It may come back: the operation waits for it.
    waiter_->Detach();
    repeat_->Leave(*waiter_);
    waiter_ = nullptr;
    Send(CallerGoneError());
    --holds_;  // not the last: done_'s is below
  } else if (op_ && runs_on_) {
    // It has nobody to tell any more.
    op_->Detach();
    op_ = nullptr;
    Send(CallerGoneError());
    --holds_;  // not the last: done_'s is below
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
