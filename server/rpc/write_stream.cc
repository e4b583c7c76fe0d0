// waitq.v1.Pipes.WriteStream: a writer handle.
//
// One message of data is taken at a time, and the next is asked for when it is
// in the pipe: so a full pipe stops the client through gRPC's flow control.

#include "server/rpc/write_stream.h"

#include <cerrno>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/string_view.h"
#include "server/engine/error.h"
#include "server/rpc/decode.h"
#include "server/rpc/status_map.h"
#include "waitq/v1/pipes.pb.h"

namespace waitq::rpc {
namespace {

class WriteStreamCall final : public StreamCall {
 public:
  explicit WriteStreamCall(const Parts& parts) : StreamCall(parts) {}

 private:
  void OnMessage(grpc::ByteBuffer& message) override;
  void OnNoMoreMessages() override;
  void OnWritten(bool ok) override;
  void OnOperationEnded(engine::Operation& op) override;
  void OnWatchEnded(engine::Operation& op) override;
  void OnGone() override;

  absl::Status Open(const v1::WriteStreamRequest::Open& open);
  // Appends a message's data, and asks for the next message when it is in.
  void AppendAll(absl::Cord data);
  void Append(absl::Cord data);
  // An operation has ended: what it has left is in rest_; or ends the stream.
  void Answer(engine::WriteOperation& op);
  // Tells the client what has been accepted: now, or after the write that is
  // under way. With an outcome, or before a failure, for the last time.
  void Report();
  // The client says that the file is whole.
  void EndFile();
  void End(v1::Outcome outcome);
  void Fail(const absl::Status& status);
  void CloseHandle(bool clean);

  std::unique_ptr<engine::PipeWriter> writer_;
  bool opened_ = false;
  bool needs_end_ = false;
  engine::SleepOptions sleep_;
  std::shared_ptr<engine::CallerInfo> caller_;
  absl::Cord rest_;  // of the message that is being appended
  v1::WriteStreamResponse progress_;
  bool unreported_ = false;              // progress_ has not been sent
  bool last_sent_ = false;               // it has, with its outcome
  std::optional<absl::Status> failure_;  // the call ends with it
  absl::Status told_;  // of the pipe's end, while a write was asleep
};

void WriteStreamCall::OnMessage(grpc::ByteBuffer& message) {
  if (failure_.has_value()) return;  // it was on its way
  v1::WriteStreamRequest request;
  absl::Status status = ParseRequest(engine(), message, request);
  if (status.ok() && request.has_open() == opened_) {
    status = engine::MakeError(
        EINVAL, "the first message opens the stream, and only the first");
  }
  if (status.ok() &&
      request.request_case() == v1::WriteStreamRequest::REQUEST_NOT_SET) {
    status = engine::MakeError(EINVAL, "a message that says nothing");
  }
  if (status.ok() && request.has_open()) {
    status = Open(request.open());
    if (status.ok()) StartRead();
  } else if (status.ok() && request.has_end()) {
    EndFile();
  } else if (status.ok()) {
    // Copied, into pieces of a few KB: the pipe may keep any part of it, which
    // would otherwise keep the whole message.
    AppendAll(absl::Cord(absl::string_view(request.data())));
  }
  if (!status.ok()) Fail(status);
}

absl::Status WriteStreamCall::Open(const v1::WriteStreamRequest::Open& open) {
  absl::Status status = DecodeSleep(open, MaySleepOn::kYes, sleep_);
  if (status.ok()) {
    status = FindCaller(engine(), context(), open.caller(), caller_);
  }
  if (!status.ok()) return status;
  sleep_.call_deadline = CallDeadline(context());
  engine::PipeOptionsRequest options;
  status = Decode(open.options(), options);
  if (!status.ok()) return status;
  auto watch = engine::MakeRef<engine::HandleOperation>(
      /*writes=*/true, home(), caller(), caller_);
  status = TakeHandle(engine().OpenWriter(open.name(), options, watch), watch,
                      writer_);
  if (!status.ok()) return status;
  opened_ = true;
  needs_end_ = open.needs_end();
  progress_.set_offset(writer_->pipe().Stat().write_offset);
  progress_.set_incarnation(writer_->pipe().incarnation());
  Report();
  return absl::OkStatus();
}

void WriteStreamCall::Append(absl::Cord data) {
  auto op = engine::MakeRef<engine::WriteOperation>(
      std::move(data), writer_.get(), home(), caller(), caller_);
  switch (engine().Write(*writer_, op, sleep_)) {
    case engine::Started::kEnded:
      return Answer(*op);
    case engine::Started::kAsleep:
      return Await(op, /*runs_on=*/sleep_.state == kUninterruptible);
    case engine::Started::kGone:
      return Fail(RemovedError(writer_->pipe().name()));
  }
}

void WriteStreamCall::AppendAll(absl::Cord data) {
  // Of a ring a write may be done in part, once for each reader that sleeps:
  // in a loop, for a recursion could be as deep as there are readers.
  rest_ = std::move(data);
  while (!rest_.empty()) {
    Append(std::exchange(rest_, absl::Cord()));
    if (awaiting() || finished() || failure_.has_value() ||
        progress_.outcome() != v1::OUTCOME_UNSPECIFIED) {
      return;
    }
  }
  if (!told_.ok()) return Fail(told_);
  Report();
  StartRead();
}

void WriteStreamCall::OnOperationEnded(engine::Operation& op) {
  Answer(static_cast<engine::WriteOperation&>(op));
  if (finished() || failure_.has_value() ||
      progress_.outcome() != v1::OUTCOME_UNSPECIFIED) {
    return;
  }
  AppendAll(std::exchange(rest_, absl::Cord()));
}

void WriteStreamCall::Answer(engine::WriteOperation& op) {
  if (finished()) {  // it has run on; nobody is told, and the file is not whole
    return CloseHandle(/*clean=*/false);
  }
  if (op.accepted_bytes() > 0) {
    progress_.set_accepted_bytes(progress_.accepted_bytes() +
                                 op.accepted_bytes());
    progress_.set_offset(op.offset());
  }
  if (op.slept()) progress_.set_sleeps(progress_.sleeps() + 1);
  if (const absl::Status failure = FailureOf(op); !failure.ok()) {
    return Fail(failure);
  }
  if (op.ending() != engine::Ending::kDone) {
    CloseHandle(/*clean=*/false);  // what was sent is not all there
    return End(OutcomeOf(op.ending()));
  }
  rest_ = op.TakeRest();
}

void WriteStreamCall::OnNoMoreMessages() {
  if (failure_.has_value() || progress_.outcome() != v1::OUTCOME_UNSPECIFIED) {
    return;
  }
  if (!opened_) {
    return Fail(engine::MakeError(EINVAL, "the stream was never opened"));
  }
  if (needs_end_) {
    // Its client may have been cancelled: some close their side first.
    return Fail(engine::MakeError(
        EINVAL,
        "closed without the `end` that was promised: the end is broken"));
  }
  EndFile();
}

void WriteStreamCall::EndFile() {
  if (writer_->pipe().removed()) {  // and what was accepted went with it
    return Fail(RemovedError(writer_->pipe().name()));
  }
  // All is accepted: each message was, before the next was asked for. Whether
  // the client closed its side or died, only the last response can tell: it
  // goes out, or fails. So the handle is closed when that is known.
  End(v1::OUTCOME_DONE);
}

void WriteStreamCall::End(v1::Outcome outcome) {
  progress_.set_outcome(outcome);
  Report();
}

void WriteStreamCall::Report() {
  unreported_ = true;
  if (writing()) return;
  unreported_ = false;
  last_sent_ = progress_.outcome() != v1::OUTCOME_UNSPECIFIED;
  StartWrite(progress_);
}

void WriteStreamCall::OnWritten(bool ok) {
  if (ok && last_sent_) {
    CloseHandle(/*clean=*/true);
    return Finish(absl::OkStatus());
  }
  if (!ok || gone()) {
    if (awaiting()) return;  // its operation ends, for that the caller has gone
    CloseHandle(/*clean=*/false);
    return Finish(CallerGoneError());
  }
  if (unreported_) return Report();
  if (failure_.has_value()) Finish(*failure_);
}

void WriteStreamCall::Fail(const absl::Status& status) {
  CloseHandle(/*clean=*/false);
  failure_ = status;
  if (!opened_) return Finish(status);
  Report();  // how much was accepted, before the status
}

void WriteStreamCall::OnWatchEnded(engine::Operation& op) {
  if (finished() || failure_.has_value() ||
      progress_.outcome() != v1::OUTCOME_UNSPECIFIED) {
    return;
  }
  // A sleeping write ends by the same event, or has just been done: it tells.
  if (awaiting()) {
    told_ = FailureOf(op);
  } else {
    Fail(FailureOf(op));
  }
}

void WriteStreamCall::OnGone() {
  if (finished()) return;
  if (awaiting()) {
    // If it runs on, the handle stays open for it.
    if (sleep_.state == kUninterruptible) Finish(CallerGoneError());
    return;
  }
  if (writing()) return;  // whose end finishes the call
  CloseHandle(/*clean=*/false);
  Finish(CallerGoneError());
}

void WriteStreamCall::CloseHandle(bool clean) {
  EndWatch();
  if (writer_ == nullptr) return;
  engine::PipeObject& pipe = writer_->pipe();
  pipe.Close(std::move(writer_), clean);
}

}  // namespace

StreamCall* MakeWriteStream(const StreamCall::Parts& parts) {
  return new WriteStreamCall(parts);
}

}  // namespace waitq::rpc
