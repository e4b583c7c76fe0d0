#include "client/pipe_writer.h"

#include <algorithm>
#include <stop_token>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/client_impl.h"
#include "client/error.h"
#include "client/pipe_streams.h"
#include "client/wire.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq {
namespace {

// What one write carries.
constexpr size_t kWriteBytes = 128 << 10;

struct Row {
  const char* name;
  absl::StatusCode code;
};
// What may end a write that has moved bytes.
constexpr Row kErrors[] = {
    {"EPIPE", absl::StatusCode::kFailedPrecondition},
    {"EIDRM", absl::StatusCode::kAborted},
    {"EINTR", absl::StatusCode::kAborted},
    {"ESHUTDOWN", absl::StatusCode::kUnavailable},
    {"ENOSPC", absl::StatusCode::kResourceExhausted},
    {"ECANCELED", absl::StatusCode::kCancelled},
};

absl::Status ErrorOf(const std::string& object, const WriteResult& result) {
  absl::StatusCode code = absl::StatusCode::kUnknown;
  for (const Row& row : kErrors) {
    if (result.ended_by_error == row.name) code = row.code;
  }
  absl::Status status(code, absl::StrCat(object, ": the write was cut short: ",
                                         result.ended_by_error));
  SetErrorField(status, kReasonKey, result.ended_by_error);
  SetErrorField(status, kObjectKey, object);
  if (result.ended_by_signal != 0) {
    SetErrorField(status, kSignalKey, absl::StrCat(result.ended_by_signal));
  }
  return status;
}

}  // namespace

// One write is under way at a time: they have to arrive in order, and a long
// one is served in turns with others'.
class PipeWriter::Impl {
 public:
  Impl(SessionMachine* machine, std::string name,
       const OpenWriterOptions& options, const OpenedPipe& pipe,
       std::stop_token stop)
      : machine_(*machine),
        name_(std::move(name)),
        options_(options),
        pipe_(pipe),
        stop_(std::move(stop)),
        writing_(machine),
        offset_(pipe.offset) {}

  ~Impl() { CloseHandle(/*broken=*/true); }

  absl::StatusOr<Outcome> Write(std::string_view data) {
    if (machine_.IsTelling()) return DeadlockError(name_);
    if (HasEnded()) return Ending();
    size_t most = kWriteBytes;
    if (pipe_.mode == PipeMode::kPacket) {  // one packet, whole
      absl::Status status = CheckWriteSize(name_, data);
      if (!status.ok()) return status;
      most = data.size();
    }
    while (!data.empty()) {
      if (!AwaitWrite()) return Ending();
      const size_t size = std::min(data.size(), most);
      sent_.assign(data.substr(0, size));
      StartWrite();
      data.remove_prefix(size);
    }
    return Outcome::kDone;
  }

  absl::StatusOr<Outcome> Close() {
    if (machine_.IsTelling()) return DeadlockError(name_);
    if (closed_cleanly_) return Outcome::kDone;
    if (HasEnded() || !AwaitWrite()) return Ending();
    Plan plan{.object = name_, .session = pipe_.session};
    plan.Message().mutable_close()->set_handle(pipe_.handle);
    const absl::StatusOr<bool> closed = WaitFor<bool>(
        machine_, std::move(plan),
        [](v1::Result&) -> absl::StatusOr<bool> { return true; }, stop_);
    if (!closed.ok()) {
      failure_ = OfPipe(closed.status(), name_);
      return Ending();
    }
    closed_ = closed_cleanly_ = true;
    return Outcome::kDone;
  }

  uint64_t accepted_bytes() const { return accepted_bytes_; }
  uint64_t offset() const { return offset_; }
  uint64_t incarnation() const { return pipe_.incarnation; }
  uint64_t sleeps() const { return sleeps_; }

 private:
  bool HasEnded() const { return !failure_.ok() || outcome_.has_value(); }

  // Sends what is to be sent.
  void StartWrite() {
    Plan plan{
        .object = name_, .timeout = options_.timeout, .session = pipe_.session};
    if (SleepsPlainly(options_)) {
      plan.encoded = EncodePlainWrite(pipe_.handle, /*name=*/"", sent_);
    } else {
      plan.Message().set_handle(pipe_.handle);
      v1::WriteRequest& request = *plan.Message().mutable_write();
      request.set_data(sent_);
      SetSleep(options_, request);
    }
    writing_.Start(std::move(plan), &ReadWrite);
  }

  // Waits until what was sent is in the pipe. False: the stream has ended.
  bool AwaitWrite() {
    while (writing_.is_pending()) {
      SessionReceipt receipt;
      const absl::StatusOr<WriteResult> result = writing_.Await(stop_, receipt);
      machine_.Settle(receipt);
      if (result.ok()) {
        Count(*result);
      } else {
        failure_ = OfPipe(result.status(), name_);
      }
      if (HasEnded()) return false;
      // A pipe of the profile kScull takes less where its ring ends.
      if (!sent_.empty()) StartWrite();
    }
    if (!stop_.stop_requested()) return true;
    failure_ = StoppedError(name_);
    return false;
  }

  void Count(const WriteResult& result) {
    accepted_bytes_ += result.accepted_bytes;
    sent_.erase(0, result.accepted_bytes);
    if (result.accepted_bytes > 0) offset_ = result.offset;
    if (result.slept) ++sleeps_;
    if (!result.ended_by_error.empty()) {
      failure_ = ErrorOf(name_, result);
    } else if (result.outcome != Outcome::kDone) {
      outcome_ = result.outcome;
    } else if (result.ended_by.has_value()) {
      outcome_ = result.ended_by;
    } else if (result.accepted_bytes == 0) {  // or this would go on for ever
      failure_ = absl::InternalError(
          absl::StrCat(name_, ": a write was done, and nothing accepted"));
    }
  }

  absl::StatusOr<Outcome> Ending() {
    CloseHandle(/*broken=*/true);  // what was sent is not all there
    if (outcome_.has_value()) return *outcome_;
    absl::Status status = failure_;
    SetErrorField(status, kAcceptedBytesKey, absl::StrCat(accepted_bytes_));
    return status;
  }

  void CloseHandle(bool broken) {
    writing_.Abandon();
    if (!std::exchange(closed_, true)) ClosePipe(machine_, pipe_, broken);
  }

  SessionMachine& machine_;
  const std::string name_;
  const OpenWriterOptions options_;
  const OpenedPipe pipe_;
  const std::stop_token stop_;

  PendingCall<WriteResult> writing_;
  std::string sent_;  // by it
  uint64_t accepted_bytes_ = 0;
  uint64_t offset_;
  uint64_t sleeps_ = 0;
  bool closed_ = false;
  bool closed_cleanly_ = false;
  // How the stream has ended, if it has.
  absl::Status failure_;
  std::optional<Outcome> outcome_;
};

PipeWriter::PipeWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PipeWriter::~PipeWriter() = default;

absl::StatusOr<Outcome> PipeWriter::Write(std::string_view data) {
  return impl_->Write(data);
}
absl::StatusOr<Outcome> PipeWriter::Close() { return impl_->Close(); }
uint64_t PipeWriter::accepted_bytes() const { return impl_->accepted_bytes(); }
uint64_t PipeWriter::offset() const { return impl_->offset(); }
uint64_t PipeWriter::incarnation() const { return impl_->incarnation(); }
uint64_t PipeWriter::sleeps() const { return impl_->sleeps(); }

absl::StatusOr<std::unique_ptr<PipeWriter>> OpenPipeWriter(
    SessionMachine& machine, const std::string& name,
    const OpenWriterOptions& options, std::stop_token stop) {
  absl::StatusOr<OpenedPipe> pipe =
      OpenPipe(machine, name, /*write=*/true, options.pipe, stop);
  if (!pipe.ok()) return pipe.status();
  return std::make_unique<PipeWriter>(std::make_unique<PipeWriter::Impl>(
      &machine, name, options, *pipe, std::move(stop)));
}

}  // namespace waitq
