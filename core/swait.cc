#include "core/swait.h"

#include "core/pause.h"
#include "core/wake_batch.h"

namespace waitq {

// Taken out whether or not it could be woken: one that runs tests again.
int SwaitEntry::Wake(WaitEntry& entry, TaskState mode, int, void*) {
  entry.task()->TryToWake(mode);
  Pause(PausePoint::kBeforeUnlink);
  // After the wake: as soon as it looks unlinked its frame may be gone.
  WaitList::Remove(entry);
  return 1;
}

// --- Waking ------------------------------------------------------------------

void SwaitQueue::WakeUpOneLocked() { waiters_.Walk(kNormal, 1, 0, nullptr); }

void SwaitQueue::WakeUpAllLocked() { waiters_.Walk(kNormal, 0, 0, nullptr); }

void SwaitQueue::WakeUpOne() {
  const WakeBatch let_go_unlocked;
  SpinLockGuard guard(&lock_);
  WakeUpOneLocked();
}

void SwaitQueue::WakeUpAll() {
  // Theirs is still the queue's lock: who times out meanwhile leaves this list.
  WaitList chosen;
  {
    SpinLockGuard guard(&lock_);
    chosen.TakeAll(waiters_);
  }
  for (bool more = true; more;) {
    Pause(PausePoint::kBetweenWakes);
    const WakeBatch let_go_unlocked;
    SpinLockGuard guard(&lock_);
    chosen.Walk(kNormal, 1, 0, nullptr);
    more = !chosen.empty();
  }
}

// --- Sleeping by hand --------------------------------------------------------

void SwaitQueue::EnqueueLocked(SwaitEntry& entry) {
  if (!entry.queued()) waiters_.AddTail(entry);
}

void SwaitQueue::DequeueLocked(SwaitEntry& entry) { WaitList::Remove(entry); }

void SwaitQueue::PrepareToWait(SwaitEntry& entry, TaskState state) {
  Pause(PausePoint::kBeforeEnqueue);
  {
    SpinLockGuard guard(&lock_);
    EnqueueLocked(entry);
    entry.task()->SetState(state);
  }
  Pause(PausePoint::kStateSet);
}

int SwaitQueue::PrepareToWaitEvent(SwaitEntry& entry, TaskState state) {
  Pause(PausePoint::kBeforeEnqueue);
  {
    SpinLockGuard guard(&lock_);
    // Under the lock, as WaitQueue::PrepareToWaitEvent(): a wake-up that had
    // chosen this one is over, a later one takes the next.
    if (entry.task()->SignalPendingIn(state)) {
      DequeueLocked(entry);
      return -kErestartsys;
    }
    EnqueueLocked(entry);
    entry.task()->SetState(state);
  }
  Pause(PausePoint::kStateSet);
  return 0;
}

bool SwaitQueue::FinishWait(SwaitEntry& entry) {
  Pause(PausePoint::kBeforeFinish);
  entry.task()->SetRunning();
  // A waker that is not through with the entry keeps us at the lock.
  if (WaitList::UnlinkedCarefully(entry)) return false;
  SpinLockGuard guard(&lock_);
  const bool was_queued = entry.queued();
  DequeueLocked(entry);
  return was_queued;
}

}  // namespace waitq
