// Simple wait queues: sleepers in line, and nothing else.
//
//                 wait queue                         simple wait queue
//   order         newest first; exclusive ones last  oldest first
//   who counts    exclusive ones                     everyone is exclusive
//   wakes one     the first that can be woken        the first, taken out even
//                                                    if it runs already
//   wakes all     with the lock held                 letting go of it between
//   filters       state, key, wake function          none
//
// So a waker holds the lock for one sleeper at a time, and runs nobody else's
// code. A completion (core/completion.h) stands on one. After
// include/linux/swait.h and kernel/sched/swait.c.

#ifndef WAITQ_CORE_SWAIT_H_
#define WAITQ_CORE_SWAIT_H_

#include <atomic>

#include "absl/base/thread_annotations.h"
#include "core/spin_lock.h"
#include "core/task.h"
#include "core/wait_event_loop.h"
#include "core/wait_list.h"

namespace waitq {

// A sleeper's node: swait_queue. On its stack; not to die while queued.
class SwaitEntry : private WaitEntry {
 public:
  // For the calling thread's task.
  SwaitEntry() : SwaitEntry(&Task::Current()) {}
  explicit SwaitEntry(Task* task) : WaitEntry(task, &Wake, kExclusive) {}

  using WaitEntry::queued;

 private:
  friend class SwaitQueue;

  static int Wake(WaitEntry& entry, TaskState mode, int wake_flags, void* key);
};

// swait_queue_head. May be constinit.
//
// Thread safety: any thread may call any method; …Locked() ones with lock()
// held.
// Blocking: never, but for its short lock.
// Ordering: what a waker did before WakeUp…() is visible to whom it wakes.
// Destruction: when nobody is queued (a check failure) and no waker is inside.
class SwaitQueue {
 public:
  constexpr SwaitQueue() = default;
  SwaitQueue(const SwaitQueue&) = delete;
  SwaitQueue& operator=(const SwaitQueue&) = delete;

  SpinLock& lock() ABSL_LOCK_RETURNED(lock_) { return lock_; }

  // --- Waking, in any state --------------------------------------------------

  // swake_up_one(): takes the oldest out and wakes it. If that one runs
  // already, or times out, nobody else is woken.
  void WakeUpOne() ABSL_LOCKS_EXCLUDED(lock_);
  // swake_up_all(): all who are queued now; who comes while it lets go of the
  // lock stays asleep. Not with a spin lock held.
  void WakeUpAll() ABSL_LOCKS_EXCLUDED(lock_);
  // swake_up_locked(), swake_up_all_locked().
  void WakeUpOneLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  void WakeUpAllLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);

  // --- Sleeping by hand ------------------------------------------------------

  // prepare_to_swait_exclusive(): queued, last, unless it is; the task's state
  // set. Looks at no signal.
  void PrepareToWait(SwaitEntry& entry, TaskState state)
      ABSL_LOCKS_EXCLUDED(lock_);
  // prepare_to_swait_event(): the same, and 0. For a signal that `state` admits
  // it takes the entry out instead, leaves the state alone and returns
  // -kErestartsys.
  [[nodiscard]] int PrepareToWaitEvent(SwaitEntry& entry, TaskState state)
      ABSL_LOCKS_EXCLUDED(lock_);
  // finish_swait(): the task is running, and the entry is not queued. May be
  // repeated. False if a waker had taken it out.
  bool FinishWait(SwaitEntry& entry) ABSL_LOCKS_EXCLUDED(lock_);
  // __prepare_to_swait(), without the state; __finish_swait().
  void EnqueueLocked(SwaitEntry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  void DequeueLocked(SwaitEntry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);

  // --- Whether anybody sleeps ------------------------------------------------
  // As WaitQueue::WaitqueueActive() and HasSleeper(): the first needs a full
  // barrier between the condition's store and it.

  // swait_active().
  bool SwaitActive() const {
    const WaitList* const unlocked = &waiters_;
    return !unlocked->empty();
  }
  // swq_has_sleeper().
  bool HasSleeper() const {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return SwaitActive();
  }

 private:
  SpinLock lock_;
  WaitList waiters_ ABSL_GUARDED_BY(lock_);
};

namespace internal {

struct SwaitPlace {
  SwaitEntry Entry() const { return SwaitEntry(); }
  int Prepare(SwaitEntry& entry, TaskState state) const {
    return queue.PrepareToWaitEvent(entry, state);
  }
  void Finish(SwaitEntry& entry) { chosen = !queue.FinishWait(entry); }

  SwaitQueue& queue;
  bool chosen = false;
};

template <class Condition>
Ticks SwaitEventTimeout(SwaitQueue& queue, TaskState state,
                        Condition&& condition, Ticks timeout) {
  SwaitPlace place{queue};
  const Ticks left = WaitEventTimeout(place, state, condition, timeout);
  // A waker may choose one that runs, also one that has just found its time
  // over and its condition false: the wake-up is for somebody else then.
  if (left == 0 && place.chosen) queue.WakeUpOne();
  return left;
}

}  // namespace internal

// --- Waiting for a condition -------------------------------------------------
// As the forms of core/wait_event.h, with the same results. All are exclusive:
// where each wake-up is for one thing, whoever leaves with success looks
// whether there is more, and wakes the next.

// swait_event_exclusive().
template <class Condition>
void SwaitEventExclusive(SwaitQueue& queue, Condition&& condition) {
  internal::WaitEvent(internal::SwaitPlace{queue}, kUninterruptible, condition);
}

// swait_event_interruptible_exclusive().
template <class Condition>
[[nodiscard]] int SwaitEventInterruptibleExclusive(SwaitQueue& queue,
                                                   Condition&& condition) {
  return internal::WaitEvent(internal::SwaitPlace{queue}, kInterruptible,
                             condition);
}

// swait_event_idle_exclusive().
template <class Condition>
void SwaitEventIdleExclusive(SwaitQueue& queue, Condition&& condition) {
  internal::WaitEvent(internal::SwaitPlace{queue}, kIdle, condition);
}

// swait_event_timeout_exclusive().
template <class Condition>
Ticks SwaitEventTimeoutExclusive(SwaitQueue& queue, Condition&& condition,
                                 Ticks timeout) {
  return internal::SwaitEventTimeout(queue, kUninterruptible, condition,
                                     timeout);
}

// swait_event_interruptible_timeout_exclusive().
template <class Condition>
[[nodiscard]] Ticks SwaitEventInterruptibleTimeoutExclusive(
    SwaitQueue& queue, Condition&& condition, Ticks timeout) {
  return internal::SwaitEventTimeout(queue, kInterruptible, condition, timeout);
}

// swait_event_idle_timeout_exclusive().
template <class Condition>
Ticks SwaitEventIdleTimeoutExclusive(SwaitQueue& queue, Condition&& condition,
                                     Ticks timeout) {
  return internal::SwaitEventTimeout(queue, kIdle, condition, timeout);
}

}  // namespace waitq

#endif  // WAITQ_CORE_SWAIT_H_
