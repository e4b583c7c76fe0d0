#include "client/wire.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace waitq {
namespace {

Sleep FromWire(v1::Sleep sleep) {
  switch (sleep) {
    case v1::SLEEP_KILLABLE:
      return Sleep::kKillable;
    case v1::SLEEP_UNINTERRUPTIBLE:
      return Sleep::kUninterruptible;
    default:
      return Sleep::kInterruptible;
  }
}

ObjectKind FromWire(v1::ObjectKind kind) {
  switch (kind) {
    case v1::OBJECT_KIND_COMPLETION:
      return ObjectKind::kCompletion;
    case v1::OBJECT_KIND_PIPE:
      return ObjectKind::kPipe;
    default:
      return ObjectKind::kWaitQueue;
  }
}

PipeProfile FromWire(v1::PipeProfile profile) {
  switch (profile) {
    case v1::PIPE_PROFILE_QUEUE:
      return PipeProfile::kQueue;
    case v1::PIPE_PROFILE_SCULL:
      return PipeProfile::kScull;
    default:
      return PipeProfile::kFifo;
  }
}

v1::PipeProfile ToWire(PipeProfile profile) {
  switch (profile) {
    case PipeProfile::kFifo:
      return v1::PIPE_PROFILE_FIFO;
    case PipeProfile::kQueue:
      return v1::PIPE_PROFILE_QUEUE;
    case PipeProfile::kScull:
      return v1::PIPE_PROFILE_SCULL;
  }
  return v1::PIPE_PROFILE_UNSPECIFIED;
}

PipeInfo FromWire(const v1::PipeStat& stat) {
  return PipeInfo{.capacity_bytes = stat.capacity_bytes(),
                  .atomic_max_bytes = stat.atomic_max_bytes(),
                  .unread_bytes = stat.unread_bytes(),
                  .read_offset = stat.read_offset(),
                  .write_offset = stat.write_offset(),
                  .readers = stat.readers(),
                  .writers = stat.writers(),
                  .mode = stat.mode() == v1::PIPE_MODE_PACKET
                              ? PipeMode::kPacket
                              : PipeMode::kStream,
                  .profile = FromWire(stat.profile())};
}

}  // namespace

v1::Sleep ToWire(Sleep sleep) {
  switch (sleep) {
    case Sleep::kInterruptible:
      return v1::SLEEP_INTERRUPTIBLE;
    case Sleep::kKillable:
      return v1::SLEEP_KILLABLE;
    case Sleep::kUninterruptible:
      return v1::SLEEP_UNINTERRUPTIBLE;
  }
  return v1::SLEEP_UNSPECIFIED;
}

v1::Condition ToWire(const Condition& condition) {
  v1::Condition wire;
  const int64_t value = condition.operand;
  const auto bits = static_cast<uint64_t>(value);
  switch (condition.test) {
    case Condition::Test::kEqual:
      wire.set_equal(value);
      break;
    case Condition::Test::kNotEqual:
      wire.set_not_equal(value);
      break;
    case Condition::Test::kLess:
      wire.set_less(value);
      break;
    case Condition::Test::kLessOrEqual:
      wire.set_less_or_equal(value);
      break;
    case Condition::Test::kGreater:
      wire.set_greater(value);
      break;
    case Condition::Test::kGreaterOrEqual:
      wire.set_greater_or_equal(value);
      break;
    case Condition::Test::kAllBits:
      wire.set_all_bits(bits);
      break;
    case Condition::Test::kAnyBits:
      wire.set_any_bits(bits);
      break;
    case Condition::Test::kChangedSince:
      wire.set_changed_since(bits);
      break;
  }
  return wire;
}

v1::Action ToWire(const Action& action) {
  v1::Action wire;
  const int64_t value = action.operand;
  const auto bits = static_cast<uint64_t>(value);
  switch (action.change) {
    case Action::Change::kSet:
      wire.set_set(value);
      break;
    case Action::Change::kAdd:
      wire.set_add(value);
      break;
    case Action::Change::kAndBits:
      wire.set_and_bits(bits);
      break;
    case Action::Change::kOrBits:
      wire.set_or_bits(bits);
      break;
  }
  return wire;
}

v1::PipeOptions ToWire(const PipeOptions& options) {
  v1::PipeOptions wire;
  if (options.capacity_bytes.has_value()) {
    wire.set_capacity_bytes(*options.capacity_bytes);
  }
  if (options.atomic_max_bytes.has_value()) {
    wire.set_atomic_max_bytes(*options.atomic_max_bytes);
  }
  if (options.mode.has_value()) {
    wire.set_mode(*options.mode == PipeMode::kPacket ? v1::PIPE_MODE_PACKET
                                                     : v1::PIPE_MODE_STREAM);
  }
  if (options.profile.has_value()) wire.set_profile(ToWire(*options.profile));
  return wire;
}

absl::StatusOr<Outcome> FromWire(v1::Outcome outcome) {
  switch (outcome) {
    case v1::OUTCOME_DONE:
      return Outcome::kDone;
    case v1::OUTCOME_TIMED_OUT:
      return Outcome::kTimedOut;
    case v1::OUTCOME_WOULD_BLOCK:
      return Outcome::kWouldBlock;
    case v1::OUTCOME_END_OF_FILE:
      return Outcome::kEndOfFile;
    default:
      return absl::InternalError(absl::StrCat(
          "the server's answer has an outcome that this client does not know (",
          static_cast<int>(outcome), ")"));
  }
}

ObjectInfo FromWire(const v1::ObjectStat& stat) {
  ObjectInfo info;
  info.name = stat.name();
  info.kind = FromWire(stat.kind());
  info.incarnation = stat.incarnation();
  info.generation = stat.generation();
  info.created = stat.created();
  info.sleepers = stat.sleepers();
  switch (info.kind) {
    case ObjectKind::kWaitQueue:
      info.state = WaitQueueInfo{stat.wait_queue().value()};
      break;
    case ObjectKind::kCompletion:
      info.state = CompletionInfo{stat.completion().done()};
      break;
    case ObjectKind::kPipe:
      info.state = FromWire(stat.pipe());
      break;
  }
  return info;
}

TaskInfo FromWire(const v1::Task& task) {
  TaskInfo info;
  info.id = task.id();
  info.peer = task.peer();
  info.caller = task.caller();
  info.state = FromWire(task.state());
  info.object = task.object();
  info.kind = FromWire(task.kind());
  info.condition = task.condition();
  info.age = waitq::FromWire(task.age());
  info.remaining = RemainingOf(task);
  info.place = task.place();
  info.exclusive = task.exclusive();
  return info;
}

}  // namespace waitq
