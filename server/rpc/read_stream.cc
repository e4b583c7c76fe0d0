// waitq.v1.Pipes.ReadStream: a reader handle.

#include "server/rpc/read_stream.h"

#include <algorithm>
#include <cerrno>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/engine/error.h"
#include "server/rpc/decode.h"
#include "server/rpc/status_map.h"
#include "waitq/v1/pipes.pb.h"

namespace waitq::rpc {
namespace {

// What one message carries at most: enough that its frame costs little beside
// its bytes, little enough that a reader which dies takes little with it.
constexpr uint64_t kMessageBytes = 128 * 1024;

class ReadStreamCall final : public StreamCall {
 public:
  explicit ReadStreamCall(const Parts& parts) : StreamCall(parts) {}

 private:
  void OnMessage(grpc::ByteBuffer& message) override;
  // A reader may close its side at any time: it has nothing to report then.
  void OnNoMoreMessages() override;
  void OnWritten(bool ok) override;
  void OnOperationEnded(engine::Operation& op) override;
  void OnWatchEnded(engine::Operation& op) override;
  void OnGone() override;

  absl::Status Open(const v1::ReadStreamRequest::Open& open);
  absl::Status Report(uint64_t read_up_to);
  // Reads on, unless something is under way or the window is closed.
  void ReadOn();
  void Answer(engine::ReadOperation& op);
  // Sends the last response, after which the call ends.
  void End(v1::Outcome outcome, bool broken);
  // Closes the handle and ends the call, without a last response.
  void FinishNow(const absl::Status& status);
  void CloseHandle();

  std::unique_ptr<engine::PipeReader> reader_;
  uint64_t incarnation_ = 0;
  bool packets_ = false;
  engine::SleepOptions sleep_;
  // Its bytes are being sent, and count as unsent.
  engine::Ref<engine::Operation> sending_;
  std::shared_ptr<engine::CallerInfo> caller_;
  uint64_t left_bytes_ = std::numeric_limits<uint64_t>::max();  // of max_bytes
  std::optional<uint64_t> window_bytes_;
  uint64_t offset_ = 0;      // where this reader stands
  uint64_t read_up_to_ = 0;  // what its client has reported
  uint64_t sleeps_ = 0;
  bool no_more_reports_ = false;  // the client has closed its side
  bool ending_ = false;           // the last response is on its way
  absl::Status failure_;  // what the call ends with when its operation has
};

void ReadStreamCall::OnMessage(grpc::ByteBuffer& message) {
  v1::ReadStreamRequest request;
  absl::Status status = ParseRequest(engine(), message, request);
  if (status.ok()) {
    if (request.has_open() == (reader_ != nullptr || ending_)) {
      status = engine::MakeError(
          EINVAL, "the first message opens the stream, and only the first");
    } else if (request.has_open()) {
      status = Open(request.open());
    } else if (!request.has_read_up_to()) {
      status = engine::MakeError(EINVAL, "a message that says nothing");
    } else if (!ending_) {
      status = Report(request.read_up_to());
    }
  }
  if (!status.ok()) return FinishNow(status);
  StartRead();
}

absl::Status ReadStreamCall::Open(const v1::ReadStreamRequest::Open& open) {
  absl::Status status = DecodeSleep(open, MaySleepOn::kNo, sleep_);
  if (status.ok()) {
    status = FindCaller(engine(), context(), open.caller(), caller_);
  }
  if (!status.ok()) return status;
  sleep_.call_deadline = CallDeadline(context());
  if (open.has_max_bytes()) left_bytes_ = open.max_bytes();
  if (open.has_window_bytes()) {
    if (open.window_bytes() == 0) {
      return engine::MakeError(EINVAL, "window_bytes: 0 would never read");
    }
    window_bytes_ = open.window_bytes();
  }
  engine::PipeOptionsRequest options;
  status = Decode(open.options(), options);
  if (!status.ok()) return status;
  auto watch = engine::MakeRef<engine::HandleOperation>(
      /*writes=*/false, home(), caller(), caller_);
  status = TakeHandle(engine().OpenReader(open.name(), options, watch), watch,
                      reader_);
  if (!status.ok()) return status;
  incarnation_ = reader_->pipe().incarnation();
  packets_ = reader_->pipe().options().mode == engine::PipeMode::kPacket;
  read_up_to_ = offset_ = reader_->pipe().Stat().read_offset;
  v1::ReadStreamResponse response;
  response.set_offset(offset_);
  response.set_incarnation(incarnation_);
  StartWrite(response);
  return absl::OkStatus();
}

absl::Status ReadStreamCall::Report(uint64_t read_up_to) {
  if (read_up_to < read_up_to_ || read_up_to > offset_) {
    return engine::MakeError(
        EINVAL, absl::StrCat("read_up_to: ", read_up_to, " is not in ",
                             read_up_to_, " to ", offset_));
  }
  read_up_to_ = read_up_to;
  ReadOn();
  return absl::OkStatus();
}

void ReadStreamCall::ReadOn() {
  if (writing() || awaiting() || ending_ || finished() || gone()) return;
  if (!failure_.ok()) return FinishNow(failure_);
  if (left_bytes_ == 0) return End(v1::OUTCOME_DONE, /*broken=*/false);
  // A packet goes whole, however long: it bounds itself.
  uint64_t max_bytes =
      std::min(left_bytes_, packets_ ? engine::kAnswerBytesMax : kMessageBytes);
  if (window_bytes_.has_value()) {
    // Bytes of other readers lie between ours: the window counts offsets, so
    // what this reader may lose is less, never more.
    const uint64_t outside = offset_ - read_up_to_;
    if (outside >= *window_bytes_) {
      if (!no_more_reports_) return;  // Report() goes on
      return FinishNow(engine::MakeError(
          EINVAL, "window_bytes: used up, and no more reports can come"));
    }
    if (!packets_) max_bytes = std::min(max_bytes, *window_bytes_ - outside);
  }
  auto op = engine::MakeRef<engine::ReadOperation>(max_bytes, reader_.get(),
                                                   home(), caller(), caller_);
  switch (engine().Read(*reader_, op, sleep_)) {
    case engine::Started::kEnded:
      return Answer(*op);
    case engine::Started::kAsleep:
      return Await(op, /*runs_on=*/false);
    case engine::Started::kGone:
      return FinishNow(RemovedError(reader_->pipe().name()));
  }
}

void ReadStreamCall::OnOperationEnded(engine::Operation& op) {
  Answer(static_cast<engine::ReadOperation&>(op));
}

void ReadStreamCall::Answer(engine::ReadOperation& op) {
  if (op.slept()) ++sleeps_;
  if (const absl::Status failure = FailureOf(op); !failure.ok()) {
    return FinishNow(failure);
  }
  if (op.ending() != engine::Ending::kDone) {
    return End(OutcomeOf(op.ending()), op.broken());
  }
  sending_ = engine::Ref<engine::Operation>(&op);
  const absl::Cord& data = op.data();
  left_bytes_ -= data.size();
  offset_ = op.offset() + data.size();
  v1::ReadStreamResponse response;
  absl::CopyCordToString(data, response.mutable_data());
  response.set_offset(op.offset());
  response.set_incarnation(incarnation_);
  StartWrite(response);
}

void ReadStreamCall::End(v1::Outcome outcome, bool broken) {
  CloseHandle();
  ending_ = true;
  v1::ReadStreamResponse response;
  response.set_offset(offset_);
  response.set_incarnation(incarnation_);
  response.set_outcome(outcome);
  response.set_broken(broken);
  response.set_sleeps(sleeps_);
  StartWrite(response);
}

void ReadStreamCall::OnWritten(bool ok) {
  sending_ = nullptr;
  // A write may succeed after the caller has gone: it was on its way before.
  if (!ok || gone()) return FinishNow(CallerGoneError());
  if (ending_) return FinishNow(absl::OkStatus());
  ReadOn();
}

void ReadStreamCall::OnNoMoreMessages() {
  no_more_reports_ = true;
  if (reader_ == nullptr && !ending_) {
    return FinishNow(engine::MakeError(EINVAL, "the stream was never opened"));
  }
  ReadOn();
}

void ReadStreamCall::OnWatchEnded(engine::Operation& op) {
  if (finished()) return;
  // What is under way is brought to its end first: a sleeping read by the same
  // event, a write by its client.
  failure_ = FailureOf(op);
  if (!awaiting() && !writing()) FinishNow(failure_);
}

void ReadStreamCall::OnGone() {
  // The end of an operation that is asleep, or of a write that is under way,
  // finishes the call.
  if (!finished() && !awaiting() && !writing()) FinishNow(CallerGoneError());
}

void ReadStreamCall::FinishNow(const absl::Status& status) {
  if (awaiting()) {
    // Its operation first; that it has ended brings us here again.
    failure_ = status;
    return CancelOperation();
  }
  CloseHandle();
  Finish(failure_.ok() ? status : failure_);
}

void ReadStreamCall::CloseHandle() {
  EndWatch();
  if (reader_ == nullptr) return;
  engine::PipeObject& pipe = reader_->pipe();
  pipe.Close(std::move(reader_));
}

}  // namespace

StreamCall* MakeReadStream(const StreamCall::Parts& parts) {
  return new ReadStreamCall(parts);
}

}  // namespace waitq::rpc
