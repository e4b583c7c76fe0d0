#include "core/completion.h"

#include "core/might_sleep.h"
#include "core/pause.h"
#include "core/spin_lock.h"
#include "core/wake_batch.h"

namespace waitq {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

}  // namespace

void Completion::Complete() {
  const WakeBatch let_go_unlocked;
  SpinLockGuard guard(&waiters_.lock());
  const uint32_t done = done_.load(kRelaxed);
  if (done != kAll) done_.store(done + 1, kRelaxed);
  waiters_.WakeUpOneLocked();
}

void Completion::CompleteAll() {
  const WakeBatch let_go_unlocked;
  SpinLockGuard guard(&waiters_.lock());
  done_.store(kAll, kRelaxed);
  waiters_.WakeUpAllLocked();
}

bool Completion::TakeLocked() {
  const uint32_t done = done_.load(kRelaxed);
  if (done == 0) return false;
  if (done != kAll) done_.store(done - 1, kRelaxed);
  return true;
}

bool Completion::TryWait() {
  if (done_.load(kRelaxed) == 0) return false;
  SpinLockGuard guard(&waiters_.lock());
  return TakeLocked();
}

bool Completion::Done() {
  if (done_.load(kRelaxed) == 0) return false;
  // Waits for a Complete() that is still inside: who sees true may destroy.
  SpinLockGuard guard(&waiters_.lock());
  return true;
}

Ticks Completion::WaitFor(TaskState state, Ticks timeout) {
  MightSleep();
  ThreadTask& task = Task::Current();
  const absl::Time deadline = task.DeadlineAfter(timeout);
  Ticks left = timeout;
  Pause(PausePoint::kBeforeEnqueue);
  waiters_.lock().Lock();
  if (!TakeLocked()) {
    SwaitEntry entry(&task);
    // Test, enqueue and completion are all under the one lock: nothing can come
    // between the test and the sleep, nor between a signal and the last test.
    for (;;) {
      if (task.SignalPendingIn(state)) {
        left = -kErestartsys;
        break;
      }
      waiters_.EnqueueLocked(entry);
      task.SetState(state);
      waiters_.lock().Unlock();
      left = timeout < 0 ? task.ScheduleTimeout(timeout)
                         : task.ScheduleUntil(deadline);
      waiters_.lock().Lock();
      if (done_.load(kRelaxed) != 0 || left == 0) break;
    }
    waiters_.DequeueLocked(entry);
    // Not done, and left is 0 or an error; else success, in time or not.
    if (!TakeLocked()) {
      waiters_.lock().Unlock();
      return left;
    }
  }
  waiters_.lock().Unlock();
  return left == 0 ? 1 : left;
}

}  // namespace waitq
