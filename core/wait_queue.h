// Wait queues: sleepers in line behind a lock, and the wake_up() family.
//
// How to sleep: enqueue, set the state, test the condition, sleep; in this
// order, in a loop. How to wake: make the condition true, then walk. A wake-up
// is not latched: waking an empty queue does nothing, ever; the event lives in
// the condition. Every wake-up may be for nothing. core/wait_event.h does all
// of this for threads; this header is for those who need another shape.
//
// After include/linux/wait.h and kernel/sched/wait.c (6.18 to 7.1). Names are
// the kernel's; docs/semantics.md has the table.

#ifndef WAITQ_CORE_WAIT_QUEUE_H_
#define WAITQ_CORE_WAIT_QUEUE_H_

#include <atomic>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "core/mutex.h"
#include "core/spin_lock.h"
#include "core/task.h"
#include "core/wait_list.h"
#include "core/wake_batch.h"

namespace waitq {

// What a waker tells the wake functions: a set of events (core/poll.h), or
// nothing, which matches all.
inline void* PollKey(uint32_t events) {
  return reinterpret_cast<void*>(static_cast<uintptr_t>(events));
}
inline uint32_t EventsOf(void* key) {
  return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(key));
}

// wait_queue_head_t: a list and its lock. May be constinit.
//
// Thread safety: any thread may call any method; …Locked() ones with mutex()
// held.
// Blocking: never, but for its short lock. Wake functions run under the lock; a
// walk is one critical section. A wake function that calls any of these of its
// own queue is a check failure.
// Ordering: what a waker did before WakeUp…() is visible to whom it wakes.
// Destruction: when nobody is queued (a check failure) and no waker is inside.
class WaitQueue {
 public:
  constexpr WaitQueue() = default;
  WaitQueue(const WaitQueue&) = delete;
  WaitQueue& operator=(const WaitQueue&) = delete;

  // For those who guard their condition with the queue's own lock.
  SpinLock& lock() ABSL_LOCK_RETURNED(lock_) { return lock_; }

  // --- Adding and removing ---------------------------------------------------
  // An entry that is queued already is a check failure.

  // add_wait_queue(): not exclusive; first, behind those with priority.
  void Add(WaitEntry& entry) ABSL_LOCKS_EXCLUDED(lock_);
  // add_wait_queue_exclusive(): exclusive; last.
  void AddExclusive(WaitEntry& entry) ABSL_LOCKS_EXCLUDED(lock_);
  // add_wait_queue_priority(): with priority; behind those that have it already
  // and before all others. Exclusive or not as it is.
  void AddPriority(WaitEntry& entry) ABSL_LOCKS_EXCLUDED(lock_);
  // add_wait_queue_priority_exclusive(): exclusive, with priority, before all.
  // -EBUSY, and not queued, if the first one has priority; the flags are set
  // even then. 0 otherwise.
  [[nodiscard]] int AddPriorityExclusive(WaitEntry& entry)
      ABSL_LOCKS_EXCLUDED(lock_);

  // __add_wait_queue(), __add_wait_queue_exclusive(): first, behind those with
  // priority; exclusive ones are then woken newest first.
  void AddLocked(WaitEntry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  void AddExclusiveLocked(WaitEntry& entry)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // __add_wait_queue_entry_tail(), …_exclusive(): last.
  void AddTailLocked(WaitEntry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  void AddTailExclusiveLocked(WaitEntry& entry)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);

  // remove_wait_queue(): once for each Add…(), also if a wake function has
  // unlinked the entry; a second time is a check failure, as is an entry that
  // was never added.
  void Remove(WaitEntry& entry) ABSL_LOCKS_EXCLUDED(lock_);

  // --- Waking ----------------------------------------------------------------
  // Each walks the line from its first to its last sleeper, and stops when it
  // has woken so many exclusive ones: one, `nr`, or never (all; also for
  // nr <= 0). Returns how many exclusive ones that were. Non-exclusive sleepers
  // stand in front of exclusive ones, unless somebody has queued them
  // otherwise (the …Locked forms); one behind the last that was woken is
  // missed. A sleeper that is running already counts as not woken. Waking
  // oneself is legal. Threads go on when the lock is released; from …Locked
  // forms at once, unless the caller has a WakeBatch.

  // wake_up(): sleepers in any state.
  int WakeUp() ABSL_LOCKS_EXCLUDED(lock_) {
    return Wake(kNormal, 1, 0, nullptr);
  }
  int WakeUpNr(int nr) ABSL_LOCKS_EXCLUDED(lock_) {
    return Wake(kNormal, nr, 0, nullptr);
  }
  int WakeUpAll() ABSL_LOCKS_EXCLUDED(lock_) {
    return Wake(kNormal, 0, 0, nullptr);
  }
  int WakeUpLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    return WakeLocked(kNormal, 1, 0, nullptr);
  }
  int WakeUpAllLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    return WakeLocked(kNormal, 0, 0, nullptr);
  }

  // wake_up_interruptible(): passes over sleepers in other states.
  int WakeUpInterruptible() ABSL_LOCKS_EXCLUDED(lock_) {
    return Wake(kInterruptible, 1, 0, nullptr);
  }
  int WakeUpInterruptibleNr(int nr) ABSL_LOCKS_EXCLUDED(lock_) {
    return Wake(kInterruptible, nr, 0, nullptr);
  }
  int WakeUpInterruptibleAll() ABSL_LOCKS_EXCLUDED(lock_) {
    return Wake(kInterruptible, 0, 0, nullptr);
  }

  // wake_up_sync(): the waker is about to sleep. A hint to wake functions; the
  // same sleepers are woken.
  int WakeUpSync() ABSL_LOCKS_EXCLUDED(lock_) {
    return Wake(kNormal, 1, kWakeSync, nullptr);
  }
  int WakeUpInterruptibleSync() ABSL_LOCKS_EXCLUDED(lock_) {
    return Wake(kInterruptible, 1, kWakeSync, nullptr);
  }

  // wake_up_poll(): tells what happened, for wake functions that ask.
  int WakeUpPoll(uint32_t events) ABSL_LOCKS_EXCLUDED(lock_) {
    return Wake(kNormal, 1, 0, PollKey(events));
  }
  int WakeUpLockedPoll(uint32_t events) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    return WakeLocked(kNormal, 1, 0, PollKey(events));
  }
  int WakeUpInterruptiblePoll(uint32_t events) ABSL_LOCKS_EXCLUDED(lock_) {
    return Wake(kInterruptible, 1, 0, PollKey(events));
  }
  int WakeUpInterruptibleSyncPoll(uint32_t events) ABSL_LOCKS_EXCLUDED(lock_) {
    return Wake(kInterruptible, 1, kWakeSync, PollKey(events));
  }
  int WakeUpInterruptibleSyncPollLocked(uint32_t events)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    return WakeLocked(kInterruptible, 1, kWakeSync, PollKey(events));
  }

  // wake_up_pollfree(): the queue is about to die before those who poll it.
  // Tells all, with kPollHup | kPollFree; their wake functions must unlink
  // themselves (core/epoll.h does). True if nobody is queued after it: then the
  // queue may die.
  [[nodiscard]] bool WakeUpPollfree() ABSL_LOCKS_EXCLUDED(lock_);
  // Held during that: who holds it and finds its entry still queued may take it
  // out, for the queue lives. The kernel frees such a queue after an RCU delay.
  static Mutex& pollfree_mutex();

  // __wake_up(): the general form. `key` goes to the wake functions.
  int Wake(TaskState mode, int nr, int wake_flags, void* key)
      ABSL_LOCKS_EXCLUDED(lock_) {
    const WakeBatch let_go_unlocked;
    SpinLockGuard guard(&lock_);
    return WakeLocked(mode, nr, wake_flags, key);
  }
  int WakeLocked(TaskState mode, int nr, int wake_flags, void* key)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    return list_.empty() ? 0 : list_.Walk(mode, nr, wake_flags, key);
  }

  // --- Sleeping by hand ------------------------------------------------------
  // For entries of the calling thread's task that are not ForAdd (a check
  // failure: such an entry would pass for queued, and sleep for ever).

  // prepare_to_wait(): not exclusive from now on; queued unless it is, and if
  // so where it stands; the task's state set. Looks at no signal.
  void PrepareToWait(WaitEntry& entry, TaskState state)
      ABSL_LOCKS_EXCLUDED(lock_);
  // prepare_to_wait_exclusive(): the same, exclusive, last. True if this call
  // has queued it and nobody was queued before: then there is nobody but the
  // caller to be woken, or to wake it.
  bool PrepareToWaitExclusive(WaitEntry& entry, TaskState state)
      ABSL_LOCKS_EXCLUDED(lock_);
  // prepare_to_wait_event(): the same, exclusive or not as the entry is.
  // Returns 0. If a signal is pending that `state` admits it takes the entry
  // out instead, leaves the state alone and returns -kErestartsys.
  [[nodiscard]] int PrepareToWaitEvent(WaitEntry& entry, TaskState state)
      ABSL_LOCKS_EXCLUDED(lock_);

  // finish_wait(): the task is running, and the entry is not queued; it may die
  // now. May be repeated.
  void FinishWait(WaitEntry& entry) ABSL_LOCKS_EXCLUDED(lock_);

  // --- Whether anybody sleeps ------------------------------------------------
  // For wakers who would save the lock. A look at the list alone may be done by
  // the machine before the condition's store: the waker then sees nobody, the
  // sleeper sees the old condition, and sleeps for ever.

  // waitqueue_active(): no barrier. Only with the lock, or after a full barrier
  // (std::atomic_thread_fence(seq_cst)) that follows the condition's store.
  bool WaitqueueActive() const {
    // By a pointer, for the lock analysis: the links are atomic, and what it
    // says may be old when it is used, as the kernel's.
    const WaitList* const unlocked = &list_;
    return !unlocked->empty();
  }
  // wq_has_sleeper(): with the barrier.
  bool HasSleeper() const {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return WaitqueueActive();
  }
  // wq_has_single_sleeper(): exactly one; no barrier.
  bool HasSingleSleeper() const {
    const WaitList* const unlocked = &list_;
    return unlocked->single();
  }

 private:
  SpinLock lock_;
  WaitList list_ ABSL_GUARDED_BY(lock_);
};

}  // namespace waitq

#endif  // WAITQ_CORE_WAIT_QUEUE_H_
