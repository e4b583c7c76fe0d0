#include "core/wait_queue.h"

#include "core/check.h"

namespace waitq {

WaitEntry::~WaitEntry() {
  WAITQ_CHECK(!queued(), "a wait entry dies while queued");
}

int DefaultWakeFunction(WaitEntry& entry, TaskState mode, int, void*) {
  return entry.task()->TryToWake(mode) ? 1 : 0;
}

int AutoremoveWakeFunction(WaitEntry& entry, TaskState mode, int wake_flags,
                           void* key) {
  const int woken = DefaultWakeFunction(entry, mode, wake_flags, key);
  // After the wake, not before: FinishWait() of a sleeper that runs already
  // still has to wait for the queue's lock, so the entry lives until here.
  if (woken != 0) WaitList::Remove(entry);
  return woken;
}

WaitList::~WaitList() {
  WAITQ_CHECK(empty(), "a wait queue is destroyed with sleepers on it");
}

namespace {

void InsertBefore(WaitLink* place, WaitLink* link) {
  link->next = place;
  link->prev = place->prev;
  place->prev->next = link;
  place->prev = link;
}

}  // namespace

void WaitList::AddHead(WaitEntry& entry) {
  WAITQ_CHECK(!entry.queued(), "a wait entry is queued twice");
  WaitLink* place = head_.next;
  while (place != &head_ &&
         (static_cast<WaitEntry*>(place)->flags_ & WaitEntry::kPriority) != 0) {
    place = place->next;
  }
  InsertBefore(place, &entry);
}

void WaitList::AddTail(WaitEntry& entry) {
  WAITQ_CHECK(!entry.queued(), "a wait entry is queued twice");
  InsertBefore(&head_, &entry);
}

void WaitList::Remove(WaitEntry& entry) {
  entry.prev->next = entry.next;
  entry.next->prev = entry.prev;
  entry.next = entry.prev = &entry;
}

int WaitList::Walk(TaskState mode, int nr, int wake_flags, void* key) {
  int woken_exclusive = 0;
  WaitLink* link = head_.next;
  while (link != &head_) {
    // Both are read before the call: a wake function may unlink its entry, and
    // the entry may be gone when it returns.
    WaitEntry& entry = *static_cast<WaitEntry*>(link);
    link = link->next;
    const bool exclusive = entry.exclusive();
    const int woken = entry.wake_(entry, mode, wake_flags, key);
    if (woken < 0) break;
    if (woken > 0 && exclusive) {
      ++woken_exclusive;
      if (--nr == 0) break;
    }
  }
  return woken_exclusive;
}

void WaitQueue::Add(WaitEntry& entry) {
  MutexLock lock(&mu_);
  list_.Add(entry);
}

void WaitQueue::Remove(WaitEntry& entry) {
  MutexLock lock(&mu_);
  WaitList::Remove(entry);
}

int WaitQueue::Wake(TaskState mode, int nr, void* key) {
  MutexLock lock(&mu_);
  return list_.Walk(mode, nr, /*wake_flags=*/0, key);
}

int WaitQueue::PrepareToWaitEvent(WaitEntry& entry, TaskState state) {
  MutexLock lock(&mu_);
  // Under the lock, together with the unlinking: a wake that had chosen this
  // entry is over, so the caller's last test sees its condition; a wake that
  // comes later cannot choose the entry, and takes the next one. Otherwise an
  // interrupted exclusive sleeper would swallow the wake-up of another.
  if (entry.task()->SignalPendingIn(state)) {
    WaitList::Remove(entry);
    return -kErestartsys;
  }
  if (!entry.queued()) list_.Add(entry);
  // Still under the lock, and before the caller's test of its condition: see
  // core/task.h on how a wake-up cannot be lost.
  entry.task()->SetState(state);
  return 0;
}

void WaitQueue::FinishWait(WaitEntry& entry) {
  entry.task()->SetState(kRunning);
  // Always with the lock, though the entry may be out already: a waker that has
  // just unlinked it may not have left it yet.
  MutexLock lock(&mu_);
  WaitList::Remove(entry);
}

bool WaitQueue::HasSleeper() {
  MutexLock lock(&mu_);
  return !list_.empty();
}

}  // namespace waitq
