#include "server/engine/wait_queue_object.h"

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "server/engine/error.h"

namespace waitq::engine {

// What a walk hands to the wake functions.
struct WaitQueueObject::Walk {
  WaitQueueObject& queue;
  DoneList& done;
  uint64_t woken = 0;
};

int WaitOperation::OnWake(waitq::WaitEntry& entry, TaskState mode, int,
                          void* key) {
  auto& op = Of<WaitOperation>(entry);
  auto& walk = *static_cast<WaitQueueObject::Walk*>(key);
  walk.queue.mu_.AssertHeld();
  if (!op.WakesIn(mode)) return 0;
  if (walk.queue.EndIfNearDeadlineLocked(op, walk.done)) return 0;
  // Tested against the word as those before it left it. False: it stays
  // asleep, and uses up no `nr`.
  if (!walk.queue.TryLocked(op, /*woken=*/true, walk.done)) return 0;
  if (op.ending() != Ending::kDone) return 0;
  ++walk.woken;
  return 1;
}

WaitQueueObject::WaitQueueObject(Shared* shared, std::string name, bool created)
    : Object(shared, kKind, std::move(name), created),
      generation_(incarnation()) {}

bool WaitQueueObject::TryLocked(WaitOperation& op, bool woken, DoneList& done) {
  if (!op.condition_.Holds(value_, generation_, woken)) return false;
  op.value_before_ = value_;
  if (!op.then_.Apply(value_)) {
    FinishLocked(op, Ending::kOverflow, done);
    return true;
  }
  if (op.then_.change != Action::Change::kNone) {
    generation_ = shared_.NextGeneration();
  }
  FinishLocked(op, Ending::kDone, done);
  return true;
}

void WaitQueueObject::TestLocked(Operation& operation, DoneList& done) {
  TryLocked(static_cast<WaitOperation&>(operation), /*woken=*/false, done);
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
    Walk walk{*this, done};
    result.woken_exclusive =
        line_.Walk(options.mode, options.nr, /*wake_flags=*/0, &walk);
    result.woken = walk.woken;
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
