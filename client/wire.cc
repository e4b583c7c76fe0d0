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

v1::ObjectKind ToWire(ObjectKind kind) {
  switch (kind) {
    case ObjectKind::kWaitQueue:
      return v1::OBJECT_KIND_WAIT_QUEUE;
    case ObjectKind::kCompletion:
      return v1::OBJECT_KIND_COMPLETION;
    case ObjectKind::kPipe:
      return v1::OBJECT_KIND_PIPE;
  }
  return v1::OBJECT_KIND_UNSPECIFIED;
}

v1::PipeMode ToWire(PipeMode mode) {
  return mode == PipeMode::kPacket ? v1::PIPE_MODE_PACKET
                                   : v1::PIPE_MODE_STREAM;
}

v1::PipeStat ToWire(const PipeInfo& pipe) {
  v1::PipeStat wire;
  wire.set_capacity_bytes(pipe.capacity_bytes);
  wire.set_atomic_max_bytes(pipe.atomic_max_bytes);
  wire.set_unread_bytes(pipe.unread_bytes);
  wire.set_held_bytes(pipe.held_bytes);
  wire.set_read_offset(pipe.read_offset);
  wire.set_write_offset(pipe.write_offset);
  wire.set_readers(pipe.readers);
  wire.set_writers(pipe.writers);
  wire.set_mode(ToWire(pipe.mode));
  wire.set_profile(ToWire(pipe.profile));
  return wire;
}

PipeInfo FromWire(const v1::PipeStat& stat) {
  return PipeInfo{.capacity_bytes = stat.capacity_bytes(),
                  .atomic_max_bytes = stat.atomic_max_bytes(),
                  .unread_bytes = stat.unread_bytes(),
                  .held_bytes = stat.held_bytes(),
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

v1::Undo ToWire(const Undo& undo) {
  v1::Undo message;
  if (undo.only_while) *message.mutable_only_while() = ToWire(*undo.only_while);
  if (undo.instead) *message.mutable_instead() = ToWire(*undo.instead);
  return message;
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
    wire.set_mode(ToWire(*options.mode));
  }
  if (options.profile.has_value()) wire.set_profile(ToWire(*options.profile));
  return wire;
}

v1::Outcome ToWire(Outcome outcome) {
  switch (outcome) {
    case Outcome::kDone:
      return v1::OUTCOME_DONE;
    case Outcome::kTimedOut:
      return v1::OUTCOME_TIMED_OUT;
    case Outcome::kWouldBlock:
      return v1::OUTCOME_WOULD_BLOCK;
    case Outcome::kEndOfFile:
      return v1::OUTCOME_END_OF_FILE;
  }
  return v1::OUTCOME_UNSPECIFIED;
}

v1::Timing ToWire(const Timing& timing) {
  v1::Timing wire;
  *wire.mutable_asleep() = waitq::ToWire(timing.asleep);
  *wire.mutable_wake_to_send() = waitq::ToWire(timing.wake_to_send);
  *wire.mutable_overshoot() = waitq::ToWire(timing.overshoot);
  wire.set_place(timing.place);
  return wire;
}

v1::ObjectStat ToWire(const ObjectInfo& object) {
  v1::ObjectStat wire;
  wire.set_name(object.name);
  wire.set_kind(ToWire(object.kind));
  wire.set_incarnation(object.incarnation);
  wire.set_generation(object.generation);
  wire.set_created(object.created);
  wire.set_sleepers(object.sleepers);
  switch (object.kind) {
    case ObjectKind::kWaitQueue:
      wire.mutable_wait_queue()->set_value(
          std::get<WaitQueueInfo>(object.state).value);
      wire.mutable_wait_queue()->set_grants(
          std::get<WaitQueueInfo>(object.state).grants);
      break;
    case ObjectKind::kCompletion:
      wire.mutable_completion()->set_done(
          std::get<CompletionInfo>(object.state).done);
      break;
    case ObjectKind::kPipe:
      *wire.mutable_pipe() = ToWire(std::get<PipeInfo>(object.state));
      break;
  }
  return wire;
}

v1::Task ToWire(const TaskInfo& task) {
  v1::Task wire;
  wire.set_id(task.id);
  wire.set_peer(task.peer);
  wire.set_caller(task.caller);
  wire.set_state(ToWire(task.state));
  wire.set_object(task.object);
  wire.set_kind(ToWire(task.kind));
  wire.set_condition(task.condition);
  *wire.mutable_age() = waitq::ToWire(task.age);
  if (task.remaining.has_value()) {
    *wire.mutable_remaining() = waitq::ToWire(*task.remaining);
  }
  wire.set_place(task.place);
  wire.set_exclusive(task.exclusive);
  wire.set_detached(task.detached);
  if (task.alternative.has_value()) wire.set_alternative(*task.alternative);
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
      info.state =
          WaitQueueInfo{stat.wait_queue().value(), stat.wait_queue().grants()};
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

Timing FromWire(const v1::Timing& timing) {
  return Timing{.asleep = waitq::FromWire(timing.asleep()),
                .wake_to_send = waitq::FromWire(timing.wake_to_send()),
                .overshoot = waitq::FromWire(timing.overshoot()),
                .place = timing.place()};
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
  info.detached = task.detached();
  if (task.has_alternative()) info.alternative = task.alternative();
  return info;
}

}  // namespace waitq
