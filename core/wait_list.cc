#include "core/wait_list.h"

#include "core/atomic_context.h"
#include "core/pause.h"

namespace waitq {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

void InsertBefore(WaitLink* place, WaitLink* link) {
  WaitLink* const prev = place->prev.load(kRelaxed);
  link->next.store(place, kRelaxed);
  link->prev.store(prev, kRelaxed);
  prev->next.store(link, kRelaxed);
  place->prev.store(link, kRelaxed);
}

}  // namespace

int DefaultWakeFunction(WaitEntry& entry, TaskState mode, int, void*) {
  return entry.task()->TryToWake(mode) ? 1 : 0;
}

int AutoremoveWakeFunction(WaitEntry& entry, TaskState mode, int wake_flags,
                           void* key) {
  const int woken = DefaultWakeFunction(entry, mode, wake_flags, key);
  Pause(PausePoint::kBeforeUnlink);
  // After the wake, not before: as soon as the entry looks unlinked, its
  // sleeper's frame may be gone.
  if (woken != 0) WaitList::Remove(entry);
  return woken;
}

void WaitList::AddHead(WaitEntry& entry) {
  WAITQ_CHECK(!entry.queued(), "a wait entry is queued twice");
  WaitLink* place = head_.next.load(kRelaxed);
  while (place != &head_ && (static_cast<WaitEntry*>(place)->flags() &
                             WaitEntry::kPriority) != 0) {
    place = place->next.load(kRelaxed);
  }
  InsertBefore(place, &entry);
}

void WaitList::AddFirst(WaitEntry& entry) {
  WAITQ_CHECK(!entry.queued(), "a wait entry is queued twice");
  InsertBefore(head_.next.load(kRelaxed), &entry);
}

void WaitList::AddTail(WaitEntry& entry) {
  WAITQ_CHECK(!entry.queued(), "a wait entry is queued twice");
  InsertBefore(&head_, &entry);
}

void WaitList::TakeAll(WaitList& other) {
  if (other.empty()) return;
  WaitLink* const first = other.head_.next.load(kRelaxed);
  WaitLink* const last = other.head_.prev.load(kRelaxed);
  head_.next.store(first, kRelaxed);
  head_.prev.store(last, kRelaxed);
  first->prev.store(&head_, kRelaxed);
  last->next.store(&head_, kRelaxed);
  other.head_.next.store(&other.head_, kRelaxed);
  other.head_.prev.store(&other.head_, kRelaxed);
}

void WaitList::Remove(WaitEntry& entry) {
  WAITQ_CHECK(!IsNull(entry), "a wait entry is removed that was not added");
  WaitLink* const next = entry.next.load(kRelaxed);
  WaitLink* const prev = entry.prev.load(kRelaxed);
  prev->next.store(next, kRelaxed);
  next->prev.store(prev, kRelaxed);
  entry.prev.store(&entry, kRelaxed);
  // Release, and the last touch: partner of UnlinkedCarefully(), after which
  // the entry is its owner's alone.
  entry.next.store(&entry, std::memory_order_release);
}

int WaitList::Walk(TaskState mode, int nr, int wake_flags, void* key) {
  const AtomicContext no_sleep;
  int woken_exclusive = 0;
  WaitLink* link = head_.next.load(kRelaxed);
  while (link != &head_) {
    // Both are read before the call: a wake function may unlink its entry, and
    // the entry may be gone when it returns.
    WaitEntry& entry = *static_cast<WaitEntry*>(link);
    link = link->next.load(kRelaxed);
    const bool exclusive = entry.exclusive();
    const int woken = entry.wake_(entry, mode, wake_flags, key);
    if (woken < 0) break;
    if (woken > 0 && exclusive) {
      ++woken_exclusive;
      if (nr > 0 && --nr == 0) break;
    }
  }
  return woken_exclusive;
}

}  // namespace waitq
