#include "server/engine/wait_queue_object.h"

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "server/engine/error.h"

namespace waitq::engine {

// What a walk hands to the wake functions.
struct WaitQueueObject::Walker {
  WaitQueueObject& queue;
  DoneList& done;
  const uint64_t key;
  uint64_t woken = 0;
  bool once_more = false;  // somebody who was woken has a then_wake
};

int WaitOperation::OnWake(waitq::WaitEntry& entry, TaskState mode, int,
                          void* key) {
  auto& op = Of<WaitOperation>(entry);
  auto& walker = *static_cast<WaitQueueObject::Walker*>(key);
  walker.queue.mu_.AssertHeld();
  if (!op.WakesIn(mode)) return 0;
  if (!KeysMatch(walker.key, op.spec_.key)) return 0;
  if (walker.queue.PassedByLocked(op, walker.done)) return 0;
  // Tested against the word as those before it left it. False: it stays
  // asleep, and uses up no `nr`.
  if (!walker.queue.TryLocked(op, /*woken=*/true, walker.done)) return 0;
  if (op.ending() != Ending::kDone) return 0;
  ++walker.woken;
  if (op.spec_.then_wake) walker.once_more = true;
  return 1;
}

WaitQueueObject::WaitQueueObject(Shared* shared, std::string name, bool created)
    : Object(shared, kKind, std::move(name), created),
      generation_(incarnation()) {}

bool WaitQueueObject::TryLocked(WaitOperation& op, bool woken, DoneList& done) {
  if (!op.spec_.condition.Holds(value_, generation_, woken)) return false;
  op.value_before_ = value_;
  if (!op.spec_.then.Apply(value_)) {
    FinishLocked(op, Ending::kOverflow, done);
    return true;
  }
  if (op.spec_.then.change != Action::Change::kNone) {
    generation_ = shared_.NextGeneration();
  }
  FinishLocked(op, Ending::kDone, done);
  return true;
}

void WaitQueueObject::TestLocked(Operation& operation, DoneList& done) {
  auto& op = static_cast<WaitOperation&>(operation);
  if (!TryLocked(op, /*woken=*/false, done)) return;
  if (op.ending() == Ending::kDone && op.spec_.then_wake) {
    WakeResult result;
    WakeLocked(WakeOptions(), result, done);
  }
}

void WaitQueueObject::WakeLocked(const WakeOptions& options, WakeResult& result,
                                 DoneList& done) {
  Walker walker{*this, done, options.key};
  const int wake_flags = options.sync ? kWakeSync : 0;
  for (int walks = 0; walks < 2; ++walks) {
    result.woken_exclusive +=
        line_.Walk(options.mode, options.nr, wake_flags, &walker);
    // Twice, however many asked for it, and whoever asks for it in the second:
    // two that undo each other's `then` would go on for ever.
    if (!walker.once_more) break;
  }
  result.woken = walker.woken;
}

void WaitQueueObject::NoteEndLocked(Operation& operation) {
  auto& op = static_cast<WaitOperation&>(operation);
  if (op.ending() != Ending::kDone) op.value_before_ = value_;
  op.value_after_ = value_;
  op.generation_ = generation_;
}

absl::Status WaitQueueObject::WakeUp(const WakeOptions& options,
                                     WakeResult& result) {
  DoneList done;
  {
    MutexLock lock(&mu_);
    if (RemovedLocked()) return MakeError(EIDRM, "removed");
    if (!options.update.Apply(value_)) {
      return MakeError(ERANGE,
                       absl::StrCat(name(), ": adding ", options.update.operand,
                                    " to ", value_, " would overflow"),
                       {{"object", name()}});
    }
    generation_ = shared_.NextGeneration();
    WakeLocked(options, result, done);
    result.value = value_;
    result.generation = generation_;
    NoteIdleLocked();
  }
  DeliverAll(std::move(done));
  return absl::OkStatus();
}

absl::Status WaitQueueObject::Store(int64_t value, WordResult& result) {
  MutexLock lock(&mu_);
  if (RemovedLocked()) return MakeError(EIDRM, "removed");
  result.value = value_;
  value_ = value;
  result.generation = generation_ = shared_.NextGeneration();
  NoteIdleLocked();
  return absl::OkStatus();
}

WordResult WaitQueueObject::Get() const {
  MutexLock lock(&mu_);
  return {value_, generation_};
}

}  // namespace waitq::engine
