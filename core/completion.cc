#include "core/completion.h"

#include "core/pause.h"
#include "core/wake_batch.h"

namespace waitq {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

// swake_up_locked(): the waiter is taken out whether or not it could be woken.
// One that runs already tests again under the lock, and needs no wake.
int WakeAndUnlink(WaitEntry& entry, TaskState mode, int, void*) {
  entry.task()->TryToWake(mode);
  Pause(PausePoint::kBeforeUnlink);
  WaitList::Remove(entry);
  return 1;
}

}  // namespace

void Completion::Complete() {
  const WakeBatch let_go_unlocked;
  MutexLock lock(&mu_);
  const uint32_t done = done_.load(kRelaxed);
  if (done != kAll) done_.store(done + 1, kRelaxed);
  waiters_.Walk(kNormal, 1, 0, nullptr);
}

void Completion::CompleteAll() {
  const WakeBatch let_go_unlocked;
  MutexLock lock(&mu_);
  done_.store(kAll, kRelaxed);
  waiters_.Walk(kNormal, 0, 0, nullptr);
}

bool Completion::TakeLocked() {
  const uint32_t done = done_.load(kRelaxed);
  if (done == 0) return false;
  if (done != kAll) done_.store(done - 1, kRelaxed);
  return true;
}

bool Completion::TryWait() {
  if (done_.load(kRelaxed) == 0) return false;
  MutexLock lock(&mu_);
  return TakeLocked();
}

bool Completion::Done() {
  if (done_.load(kRelaxed) == 0) return false;
  // Waits for a Complete() that is still inside: who sees true may destroy.
  MutexLock lock(&mu_);
  return true;
}

Ticks Completion::WaitFor(TaskState state, Ticks timeout) {
  ThreadTask& task = Task::Current();
  const absl::Time deadline = task.DeadlineAfter(timeout);
  Ticks left = timeout;
  Pause(PausePoint::kBeforeEnqueue);
  mu_.Lock();
  if (!TakeLocked()) {
    WaitEntry entry(&task, &WakeAndUnlink, WaitEntry::kExclusive);
    // Test, enqueue and completion are all under the one lock: nothing can come
    // between the test and the sleep, nor between a signal and the last test.
    for (;;) {
      if (task.SignalPendingIn(state)) {
        left = -kErestartsys;
        break;
      }
      if (!entry.queued()) waiters_.AddTail(entry);
      task.SetState(state);
      mu_.Unlock();
      left = timeout < 0 ? task.ScheduleTimeout(timeout)
                         : task.ScheduleUntil(deadline);
      mu_.Lock();
      if (done_.load(kRelaxed) != 0 || left == 0) break;
    }
    WaitList::Remove(entry);
    // Not done, and left is 0 or an error; else success, in time or not.
    if (!TakeLocked()) {
      mu_.Unlock();
      return left;
    }
  }
  mu_.Unlock();
  return left == 0 ? 1 : left;
}

}  // namespace waitq
