#include "server/rpc/decode.h"

#include <cerrno>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "server/engine/error.h"
#include "transport/duration.h"

namespace waitq::rpc {
namespace {

using engine::MakeError;

constexpr uint32_t kPageSizeDefault = 1000;
constexpr uint32_t kPageSizeMax = 10000;
constexpr absl::Duration kHoldDefault = absl::Seconds(30);
constexpr absl::Duration kHoldMax = absl::Hours(24);

}  // namespace

absl::Status Decode(const v1::Condition& message,
                    engine::Condition& condition) {
  using Test = engine::Condition::Test;
  switch (message.test_case()) {
    case v1::Condition::kEqual:
      condition = {Test::kEqual, message.equal()};
      break;
    case v1::Condition::kNotEqual:
      condition = {Test::kNotEqual, message.not_equal()};
      break;
    case v1::Condition::kLess:
      condition = {Test::kLess, message.less()};
      break;
    case v1::Condition::kLessOrEqual:
      condition = {Test::kLessOrEqual, message.less_or_equal()};
      break;
    case v1::Condition::kGreater:
      condition = {Test::kGreater, message.greater()};
      break;
    case v1::Condition::kGreaterOrEqual:
      condition = {Test::kGreaterOrEqual, message.greater_or_equal()};
      break;
    case v1::Condition::kAllBits:
      condition = {Test::kAllBits, static_cast<int64_t>(message.all_bits())};
      break;
    case v1::Condition::kAnyBits:
      condition = {Test::kAnyBits, static_cast<int64_t>(message.any_bits())};
      break;
    case v1::Condition::kChangedSince:
      condition = {Test::kChangedSince,
                   static_cast<int64_t>(message.changed_since())};
      break;
    case v1::Condition::TEST_NOT_SET:
      return MakeError(EINVAL, "condition: no test is set");
  }
  if ((condition.test == Test::kAllBits || condition.test == Test::kAnyBits) &&
      condition.operand == 0) {
    return MakeError(EINVAL, "condition: the mask is 0");
  }
  return absl::OkStatus();
}

absl::Status Decode(const v1::Action& message, engine::Action& action) {
  using Change = engine::Action::Change;
  switch (message.change_case()) {
    case v1::Action::kSet:
      action = {Change::kSet, message.set()};
      return absl::OkStatus();
    case v1::Action::kAdd:
      action = {Change::kAdd, message.add()};
      return absl::OkStatus();
    case v1::Action::kAndBits:
      action = {Change::kAnd, static_cast<int64_t>(message.and_bits())};
      return absl::OkStatus();
    case v1::Action::kOrBits:
      action = {Change::kOr, static_cast<int64_t>(message.or_bits())};
      return absl::OkStatus();
    case v1::Action::CHANGE_NOT_SET:
      break;
  }
  return MakeError(EINVAL, "action: no change is set");
}

absl::Status Decode(const v1::Undo& message, const engine::Action& then,
                    engine::Undo& undo) {
  using Change = engine::Action::Change;
  absl::Status status;
  if (then.change == Change::kNone) {
    status = MakeError(EINVAL, "undo: without `then`");
  } else if (message.has_instead()) {
    status = Decode(message.instead(), undo.instead);
  } else if (then.change != Change::kSet && then.change != Change::kAdd) {
    status = MakeError(
        EINVAL, "undo: of bits nobody knows what they were: say `instead`");
  }
  if (status.ok() && message.has_only_while()) {
    status = Decode(message.only_while(), undo.only_while);
  }
  return status;
}

absl::Status Decode(const v1::PipeOptions& message,
                    engine::PipeOptionsRequest& options) {
  if (message.has_capacity_bytes()) {
    options.capacity_bytes = message.capacity_bytes();
  }
  if (message.has_atomic_max_bytes()) {
    options.atomic_max_bytes = message.atomic_max_bytes();
  }
  switch (message.mode()) {
    case v1::PIPE_MODE_UNSPECIFIED:
      break;
    case v1::PIPE_MODE_STREAM:
      options.mode = engine::PipeMode::kStream;
      break;
    case v1::PIPE_MODE_PACKET:
      options.mode = engine::PipeMode::kPacket;
      break;
    default:
      return MakeError(EINVAL, "mode: unknown value");
  }
  switch (message.profile()) {
    case v1::PIPE_PROFILE_UNSPECIFIED:
      break;
    case v1::PIPE_PROFILE_FIFO:
      options.profile = engine::PipeProfile::kFifo;
      break;
    case v1::PIPE_PROFILE_QUEUE:
      options.profile = engine::PipeProfile::kQueue;
      break;
    case v1::PIPE_PROFILE_SCULL:
      options.profile = engine::PipeProfile::kScull;
      break;
    default:
      return MakeError(EINVAL, "profile: unknown value");
  }
  return absl::OkStatus();
}

v1::PipeMode EncodeMode(engine::PipeMode mode) {
  return mode == engine::PipeMode::kPacket ? v1::PIPE_MODE_PACKET
                                           : v1::PIPE_MODE_STREAM;
}

v1::PipeProfile EncodeProfile(engine::PipeProfile profile) {
  switch (profile) {
    case engine::PipeProfile::kFifo:
      return v1::PIPE_PROFILE_FIFO;
    case engine::PipeProfile::kQueue:
      return v1::PIPE_PROFILE_QUEUE;
    case engine::PipeProfile::kScull:
      return v1::PIPE_PROFILE_SCULL;
  }
  return v1::PIPE_PROFILE_UNSPECIFIED;
}

engine::PipeEvents Decode(const v1::Readiness& message) {
  return {.in = message.in(),
          .out = message.out(),
          .hup = message.hup(),
          .err = message.err()};
}

void Encode(const engine::PipeEvents& events, v1::Readiness& message) {
  message.set_in(events.in);
  message.set_out(events.out);
  message.set_hup(events.hup);
  message.set_err(events.err);
}

absl::Status DecodeSleepState(v1::Sleep sleep, MaySleepOn may_sleep_on,
                              TaskState& state) {
  switch (sleep) {
    case v1::SLEEP_UNSPECIFIED:
    case v1::SLEEP_INTERRUPTIBLE:
      state = kInterruptible;
      return absl::OkStatus();
    case v1::SLEEP_KILLABLE:
      state = kKillable;
      return absl::OkStatus();
    case v1::SLEEP_UNINTERRUPTIBLE:
      if (may_sleep_on == MaySleepOn::kYes) {
        state = kUninterruptible;
        return absl::OkStatus();
      }
      return MakeError(EINVAL,
                       "sleep: only a call that gives may be uninterruptible");
    default:
      return MakeError(EINVAL, absl::StrCat("sleep: unknown value ",
                                            static_cast<int>(sleep)));
  }
}

absl::Status DecodeTimeout(const google::protobuf::Duration& message,
                           std::optional<absl::Duration>& timeout) {
  timeout = FromWire(message);
  if (*timeout >= absl::ZeroDuration()) return absl::OkStatus();
  return MakeError(EINVAL,
                   absl::StrCat("timeout: ", absl::FormatDuration(*timeout),
                                " is negative"));
}

absl::Status WaitAnyTooLongError() {
  return MakeError(EMSGSIZE,
                   absl::StrCat("alternatives: more than ", kWaitAnyBytesMax,
                                " bytes of them"),
                   {{"limit", "alternatives"}});
}

absl::Status DecodeHold(const google::protobuf::Duration& message,
                        absl::Duration& hold) {
  hold = FromWire(message);
  if (hold == absl::ZeroDuration()) hold = kHoldDefault;
  if (hold < absl::ZeroDuration() || hold > kHoldMax) {
    return MakeError(EINVAL, absl::StrCat("hold: ", absl::FormatDuration(hold),
                                          " is not in 0 to ",
                                          absl::FormatDuration(kHoldMax)));
  }
  return absl::OkStatus();
}

void Encode(const engine::OperationTiming& timing, absl::Time now,
            v1::Timing& message) {
  *message.mutable_asleep() = ToWire(timing.asleep);
  *message.mutable_wake_to_send() = ToWire(now - timing.ended);
  *message.mutable_overshoot() = ToWire(timing.overshoot);
  message.set_place(timing.place);
}

v1::ObjectKind EncodeKind(engine::ObjectKind kind) {
  switch (kind) {
    case engine::ObjectKind::kWaitQueue:
      return v1::OBJECT_KIND_WAIT_QUEUE;
    case engine::ObjectKind::kCompletion:
      return v1::OBJECT_KIND_COMPLETION;
    case engine::ObjectKind::kPipe:
      return v1::OBJECT_KIND_PIPE;
  }
  return v1::OBJECT_KIND_UNSPECIFIED;
}

absl::Status DecodePageSize(uint32_t page_size, size_t& size) {
  size = page_size == 0 ? kPageSizeDefault : page_size;
  if (size <= kPageSizeMax) return absl::OkStatus();
  return MakeError(
      EINVAL, absl::StrCat("page_size: ", size, " is above ", kPageSizeMax));
}

}  // namespace waitq::rpc
