#include "client/pipe_reader.h"

#include <algorithm>
#include <limits>
#include <stop_token>
#include <utility>

#include "client/client_impl.h"
#include "client/pipe_streams.h"
#include "client/wire.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq {
namespace {

// What one read asks for: enough that its message costs little beside its
// bytes, little enough that it is not long on its way.
constexpr uint64_t kReadBytes = 128 << 10;
// Of packets: what one answer carries.
constexpr uint64_t kPacketBytesMax = (4 << 20) - 1024;

}  // namespace

// One read is always under way, while the program uses what the one before has
// brought. The bytes count for the pipe until the program asks for more.
class PipeReader::Impl {
 public:
  Impl(SessionMachine* machine, std::string name,
       const OpenReaderOptions& options, const OpenedPipe& pipe,
       std::stop_token stop)
      : machine_(*machine),
        name_(std::move(name)),
        options_(options),
        pipe_(pipe),
        stop_(std::move(stop)),
        left_bytes_(
            options.max_bytes.value_or(std::numeric_limits<uint64_t>::max())),
        reading_(machine) {
    end_.offset = pipe.offset;
    end_.incarnation = pipe.incarnation;
    ReadAhead();
  }

  ~Impl() {
    machine_.Settle(used_);
    Finish();
  }

  absl::StatusOr<PipeChunk> Read() {
    if (machine_.IsTelling()) return DeadlockError(name_);
    // Asking for more says that what came before has been used.
    machine_.Settle(std::exchange(used_, {}));
    if (!failure_.ok()) return failure_;
    if (end_.end.has_value()) return end_;
    if (left_bytes_ == 0) return End(Outcome::kDone, false);
    const bool read_ahead = reading_.is_pending();
    if (!read_ahead) StartRead();
    absl::StatusOr<ReadResult> result = reading_.Await(stop_, used_);
    if (read_ahead && ErrorReason(result.status()) == "ESHUTDOWN") {
      // It may have been refused only because what came before was held: now
      // that it is not, the end may be there.
      machine_.Settle(std::exchange(used_, {}));
      StartRead();
      result = reading_.Await(stop_, used_);
    }
    if (!result.ok()) {
      machine_.Settle(std::exchange(used_, {}), /*taken=*/false);
      failure_ = OfPipe(result.status(), name_);
      Finish();
      return failure_;
    }
    if (result->slept) ++sleeps_;
    if (result->outcome != Outcome::kDone) {
      machine_.Settle(std::exchange(used_, {}));
      return End(result->outcome, result->broken);
    }
    left_bytes_ -= std::min<uint64_t>(left_bytes_, result->data.size());
    end_.offset = result->offset + result->data.size();
    ReadAhead();
    return PipeChunk{.data = std::move(result->data),
                     .offset = result->offset,
                     .incarnation = result->incarnation};
  }

  uint64_t sleeps() const { return sleeps_; }

 private:
  // A window says how much may be on its way: then nothing is read ahead. Nor
  // where a read must not sleep: as long as the program has not said that it
  // has used what came before, the end of the file is not there.
  void ReadAhead() {
    if (left_bytes_ > 0 && !options_.window_bytes.has_value() &&
        !options_.nonblock && options_.timeout != absl::ZeroDuration()) {
      StartRead();
    }
  }

  void StartRead() {
    Plan plan{.object = name_,
              .timeout = options_.timeout,
              .sleeper = true,
              .session = pipe_.session};
    uint64_t bytes =
        pipe_.mode == PipeMode::kPacket ? kPacketBytesMax : kReadBytes;
    bytes = std::min(bytes, left_bytes_);
    if (options_.window_bytes.has_value() && pipe_.mode != PipeMode::kPacket) {
      bytes = std::min(bytes, *options_.window_bytes);
    }
    if (SleepsPlainly(options_)) {
      plan.encoded = EncodePlainRead(pipe_.handle, /*name=*/"", bytes);
    } else {
      plan.Message().set_handle(pipe_.handle);
      v1::ReadRequest& request = *plan.Message().mutable_read();
      request.set_max_bytes(bytes);
      SetSleep(options_, request);
    }
    reading_.Start(std::move(plan), &ReadRead);
  }

  absl::StatusOr<PipeChunk> End(Outcome outcome, bool broken) {
    end_.end = outcome;
    end_.broken = broken;
    Finish();
    return end_;
  }

  void Finish() {
    reading_.Abandon();
    if (!std::exchange(closed_, true)) {
      ClosePipe(machine_, pipe_, /*broken=*/false);
    }
  }

  SessionMachine& machine_;
  const std::string name_;
  const OpenReaderOptions options_;
  const OpenedPipe pipe_;
  const std::stop_token stop_;

  uint64_t left_bytes_;  // of max_bytes
  uint64_t sleeps_ = 0;
  bool closed_ = false;
  PendingCall<ReadResult> reading_;
  SessionReceipt used_;  // of what the program has
  absl::Status failure_;
  PipeChunk end_;
};

PipeReader::PipeReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PipeReader::~PipeReader() = default;

absl::StatusOr<PipeChunk> PipeReader::Read() { return impl_->Read(); }
uint64_t PipeReader::sleeps() const { return impl_->sleeps(); }

absl::StatusOr<std::unique_ptr<PipeReader>> OpenPipeReader(
    SessionMachine& machine, const std::string& name,
    const OpenReaderOptions& options, std::stop_token stop) {
  if (options.window_bytes == uint64_t{0}) {
    absl::Status status =
        absl::InvalidArgumentError("window_bytes: 0 would never read");
    SetErrorField(status, kReasonKey, "EINVAL");
    SetErrorField(status, kObjectKey, name);
    return status;
  }
  absl::StatusOr<OpenedPipe> pipe =
      OpenPipe(machine, name, /*write=*/false, options.pipe, stop);
  if (!pipe.ok()) return pipe.status();
  return std::make_unique<PipeReader>(std::make_unique<PipeReader::Impl>(
      &machine, name, options, *pipe, std::move(stop)));
}

}  // namespace waitq
