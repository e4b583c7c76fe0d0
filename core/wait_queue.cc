#include "core/wait_queue.h"

#include <cerrno>

#include "core/check.h"
#include "core/pause.h"
#include "core/poll_events.h"

namespace waitq {
namespace {

void SetFlag(WaitEntry& entry, uint32_t flag) {
  entry.set_flags(entry.flags() | flag);
}

void ClearFlag(WaitEntry& entry, uint32_t flag) {
  entry.set_flags(entry.flags() & ~flag);
}

}  // namespace

// --- Adding and removing -----------------------------------------------------

void WaitQueue::Add(WaitEntry& entry) {
  SpinLockGuard guard(&lock_);
  ClearFlag(entry, WaitEntry::kExclusive);
  list_.AddHead(entry);
}

void WaitQueue::AddExclusive(WaitEntry& entry) {
  SpinLockGuard guard(&lock_);
  AddTailExclusiveLocked(entry);
}

void WaitQueue::AddPriority(WaitEntry& entry) {
  SpinLockGuard guard(&lock_);
  SetFlag(entry, WaitEntry::kPriority);
  list_.AddHead(entry);
}

int WaitQueue::AddPriorityExclusive(WaitEntry& entry) {
  SpinLockGuard guard(&lock_);
  WAITQ_CHECK(!entry.queued(), "a wait entry is queued twice");
  SetFlag(entry, WaitEntry::kExclusive | WaitEntry::kPriority);
  const WaitEntry* const first = list_.First();
  if (first != nullptr && (first->flags() & WaitEntry::kPriority) != 0) {
    return -EBUSY;
  }
  list_.AddFirst(entry);
  return 0;
}

void WaitQueue::AddLocked(WaitEntry& entry) { list_.AddHead(entry); }

void WaitQueue::AddExclusiveLocked(WaitEntry& entry) {
  SetFlag(entry, WaitEntry::kExclusive);
  list_.AddHead(entry);
}

void WaitQueue::AddTailLocked(WaitEntry& entry) { list_.AddTail(entry); }

void WaitQueue::AddTailExclusiveLocked(WaitEntry& entry) {
  SetFlag(entry, WaitEntry::kExclusive);
  list_.AddTail(entry);
}

void WaitQueue::Remove(WaitEntry& entry) {
  SpinLockGuard guard(&lock_);
  WaitList::Remove(entry);
  WaitList::SetNull(entry);
}

// --- Waking ------------------------------------------------------------------

Mutex& WaitQueue::pollfree_mutex() {
  static constinit Mutex mutex;
  return mutex;
}

bool WaitQueue::WakeUpPollfree() {
  const WakeBatch let_go_unlocked;
  MutexLock life(&pollfree_mutex());
  SpinLockGuard guard(&lock_);
  WakeLocked(kNormal, 0, 0, PollKey(kPollHup | kPollFree));
  return list_.empty();
}

// --- Sleeping by hand --------------------------------------------------------

namespace {

void CheckMayPrepare(const WaitEntry& entry) {
  WAITQ_CHECK(!WaitList::IsNull(entry),
              "a wait entry that was made for Add() is prepared to wait");
}

}  // namespace

// In all three the state is set under the lock, after the entry is queued and
// before the caller's test of its condition: see core/task.h on how a wake-up
// cannot be lost.

void WaitQueue::PrepareToWait(WaitEntry& entry, TaskState state) {
  CheckMayPrepare(entry);
  Pause(PausePoint::kBeforeEnqueue);
  {
    SpinLockGuard guard(&lock_);
    ClearFlag(entry, WaitEntry::kExclusive);
    if (!entry.queued()) list_.AddHead(entry);
    entry.task()->SetState(state);
  }
  Pause(PausePoint::kStateSet);
}

bool WaitQueue::PrepareToWaitExclusive(WaitEntry& entry, TaskState state) {
  CheckMayPrepare(entry);
  Pause(PausePoint::kBeforeEnqueue);
  bool was_empty = false;
  {
    SpinLockGuard guard(&lock_);
    SetFlag(entry, WaitEntry::kExclusive);
    if (!entry.queued()) {
      was_empty = list_.empty();
      list_.AddTail(entry);
    }
    entry.task()->SetState(state);
  }
  Pause(PausePoint::kStateSet);
  return was_empty;
}

int WaitQueue::PrepareToWaitEvent(WaitEntry& entry, TaskState state) {
  CheckMayPrepare(entry);
  Pause(PausePoint::kBeforeEnqueue);
  {
    SpinLockGuard guard(&lock_);
    // Under the lock, together with the unlinking: a wake that had chosen this
    // entry is over, so the caller's last test sees its condition; a wake that
    // comes later cannot choose the entry, and takes the next one. Otherwise an
    // interrupted exclusive sleeper would swallow the wake-up of another.
    if (entry.task()->SignalPendingIn(state)) {
      WaitList::Remove(entry);
      return -kErestartsys;
    }
    if (!entry.queued()) list_.Add(entry);
    entry.task()->SetState(state);
  }
  Pause(PausePoint::kStateSet);
  return 0;
}

void WaitQueue::FinishWait(WaitEntry& entry) {
  CheckMayPrepare(entry);
  Pause(PausePoint::kBeforeFinish);
  entry.task()->SetRunning();
  // A waker that has woken us but not yet unlinked the entry is still under
  // the lock, which then keeps us here until it has left the entry alone.
  if (WaitList::UnlinkedCarefully(entry)) return;
  SpinLockGuard guard(&lock_);
  WaitList::Remove(entry);
}

}  // namespace waitq
