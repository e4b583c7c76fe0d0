// Waiting for a condition, for threads: the wait_event() family.
//
// Each waits on `queue` until `condition()` is true; whoever makes it true then
// wakes the queue. The condition is called at least once, before anything else:
// if it is true the call returns success without queueing, sleeping or looking
// at signals. It may be called any number of times, also while the thread is
// about to sleep, so it must be cheap, and must neither sleep nor throw.
// (Nothing in core throws, or lets exceptions pass.)
//
// What ends a sleep besides its condition is in the name, or in the state:
//   plain, Idle     nothing
//   Interruptible   any signal that is not blocked and not ignored
//   Killable        a fatal signal
//   State           what the state that is given admits (core/task.h)
// A condition beats a signal, always. "Exclusive" ones use up one of a waker's
// `nr`.
//
// Results of the forms without a timeout: 0, or -kErestartsys for a signal.
//
// Results of the Timeout forms, in ticks of kTick (the kernel's jiffies):
//   condition true at entry           the timeout itself, 1 if it was 0
//   condition true later              what is left, at least 1; also if the
//                                     time ran out in the meantime
//   timed out                         0, even if a signal is pending
//   signal, condition false           -kErestartsys
//   negative timeout                  counts as passed, and is reported
// A timeout of kMaxScheduleTimeout never ends.
//
// Results of the Hrtimeout forms, which take a duration: 0 for the condition,
// -kErestartsys for a signal, else -ETIME; here a signal beats the timeout.
//
// All forms begin with MightSleep(), but for those around each sleep and those
// with the condition under a lock. No form returns early, and spurious wake-ups
// do not restart a timeout.
//
// Thread safety: any thread; each sleeps as its own Task::Current().
// The queue must outlive the call. After include/linux/wait.h, 7.1.

#ifndef WAITQ_CORE_WAIT_EVENT_H_
#define WAITQ_CORE_WAIT_EVENT_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "core/might_sleep.h"
#include "core/task.h"
#include "core/wait_event_loop.h"
#include "core/wait_queue.h"

namespace waitq {
namespace internal {

// Where the forms of this header wait.
struct QueuePlace {
  WaitEntry Entry() const {
    return WaitEntry(&Task::Current(), &AutoremoveWakeFunction, entry_flags);
  }
  int Prepare(WaitEntry& entry, TaskState state) const {
    return queue.PrepareToWaitEvent(entry, state);
  }
  void Finish(WaitEntry& entry) const { queue.FinishWait(entry); }

  WaitQueue& queue;
  const uint32_t entry_flags = 0;
};

inline QueuePlace In(WaitQueue& queue) { return {queue}; }
inline QueuePlace ExclusivelyIn(WaitQueue& queue) {
  return {queue, WaitEntry::kExclusive};
}

}  // namespace internal

// --- Plain -------------------------------------------------------------------

// wait_event().
template <class Condition>
void WaitEvent(WaitQueue& queue, Condition&& condition) {
  MightSleep();
  internal::WaitEvent(internal::In(queue), kUninterruptible, condition);
}

// wait_event_interruptible().
template <class Condition>
[[nodiscard]] int WaitEventInterruptible(WaitQueue& queue,
                                         Condition&& condition) {
  MightSleep();
  return internal::WaitEvent(internal::In(queue), kInterruptible, condition);
}

// wait_event_killable().
template <class Condition>
[[nodiscard]] int WaitEventKillable(WaitQueue& queue, Condition&& condition) {
  MightSleep();
  return internal::WaitEvent(internal::In(queue), kKillable, condition);
}

// wait_event_state().
template <class Condition>
[[nodiscard]] int WaitEventState(WaitQueue& queue, Condition&& condition,
                                 TaskState state) {
  MightSleep();
  return internal::WaitEvent(internal::In(queue), state, condition);
}

// wait_event_idle().
template <class Condition>
void WaitEventIdle(WaitQueue& queue, Condition&& condition) {
  MightSleep();
  internal::WaitEvent(internal::In(queue), kIdle, condition);
}

// --- Exclusive ---------------------------------------------------------------
// There is no plain exclusive form, as in the kernel.
//
// A wake-up may choose a sleeper whose condition came true by itself, between
// its test and its leaving the queue. So where each wake-up is for one thing
// (a token, a byte), whoever leaves with success looks whether there is more,
// and if so wakes the next: the chain of core/fifo.h.

// wait_event_interruptible_exclusive().
template <class Condition>
[[nodiscard]] int WaitEventInterruptibleExclusive(WaitQueue& queue,
                                                  Condition&& condition) {
  MightSleep();
  return internal::WaitEvent(internal::ExclusivelyIn(queue), kInterruptible,
                             condition);
}

// wait_event_killable_exclusive().
template <class Condition>
[[nodiscard]] int WaitEventKillableExclusive(WaitQueue& queue,
                                             Condition&& condition) {
  MightSleep();
  return internal::WaitEvent(internal::ExclusivelyIn(queue), kKillable,
                             condition);
}

// wait_event_state_exclusive().
template <class Condition>
[[nodiscard]] int WaitEventStateExclusive(WaitQueue& queue,
                                          Condition&& condition,
                                          TaskState state) {
  MightSleep();
  return internal::WaitEvent(internal::ExclusivelyIn(queue), state, condition);
}

// wait_event_idle_exclusive().
template <class Condition>
void WaitEventIdleExclusive(WaitQueue& queue, Condition&& condition) {
  MightSleep();
  internal::WaitEvent(internal::ExclusivelyIn(queue), kIdle, condition);
}

// --- With a timeout in ticks -------------------------------------------------

// wait_event_timeout().
template <class Condition>
Ticks WaitEventTimeout(WaitQueue& queue, Condition&& condition, Ticks timeout) {
  MightSleep();
  return internal::WaitEventTimeout(internal::In(queue), kUninterruptible,
                                    condition, timeout);
}

// wait_event_interruptible_timeout().
template <class Condition>
[[nodiscard]] Ticks WaitEventInterruptibleTimeout(WaitQueue& queue,
                                                  Condition&& condition,
                                                  Ticks timeout) {
  MightSleep();
  return internal::WaitEventTimeout(internal::In(queue), kInterruptible,
                                    condition, timeout);
}

// wait_event_killable_timeout().
template <class Condition>
[[nodiscard]] Ticks WaitEventKillableTimeout(WaitQueue& queue,
                                             Condition&& condition,
                                             Ticks timeout) {
  MightSleep();
  return internal::WaitEventTimeout(internal::In(queue), kKillable, condition,
                                    timeout);
}

// wait_event_idle_timeout().
template <class Condition>
Ticks WaitEventIdleTimeout(WaitQueue& queue, Condition&& condition,
                           Ticks timeout) {
  MightSleep();
  return internal::WaitEventTimeout(internal::In(queue), kIdle, condition,
                                    timeout);
}

// wait_event_idle_exclusive_timeout().
template <class Condition>
Ticks WaitEventIdleExclusiveTimeout(WaitQueue& queue, Condition&& condition,
                                    Ticks timeout) {
  MightSleep();
  return internal::WaitEventTimeout(internal::ExclusivelyIn(queue), kIdle,
                                    condition, timeout);
}

// --- With a timeout as a duration --------------------------------------------
// InfiniteDuration() never ends.

// wait_event_hrtimeout().
template <class Condition>
[[nodiscard]] int WaitEventHrtimeout(WaitQueue& queue, Condition&& condition,
                                     absl::Duration timeout) {
  MightSleep();
  return internal::WaitEventHrtimeout(internal::In(queue), kUninterruptible,
                                      condition, timeout);
}

// wait_event_interruptible_hrtimeout().
template <class Condition>
[[nodiscard]] int WaitEventInterruptibleHrtimeout(WaitQueue& queue,
                                                  Condition&& condition,
                                                  absl::Duration timeout) {
  MightSleep();
  return internal::WaitEventHrtimeout(internal::In(queue), kInterruptible,
                                      condition, timeout);
}

// --- Around each sleep -------------------------------------------------------

// wait_event_cmd(): calls `before()` just before and `after()` just after each
// sleep; neither if it does not sleep. To let go of a lock, say.
template <class Condition, class Before, class After>
void WaitEventCmd(WaitQueue& queue, Condition&& condition, Before&& before,
                  After&& after) {
  internal::WaitEvent(internal::In(queue), kUninterruptible, condition,
                      internal::Between(before, after));
}

// wait_event_exclusive_cmd().
template <class Condition, class Before, class After>
void WaitEventExclusiveCmd(WaitQueue& queue, Condition&& condition,
                           Before&& before, After&& after) {
  internal::WaitEvent(internal::ExclusivelyIn(queue), kUninterruptible,
                      condition, internal::Between(before, after));
}

// --- With the condition under the queue's own lock ---------------------------
// queue.lock() is held at entry, in each test of the condition and at return,
// and let go of during the sleep. Wake with WakeUpLocked(). Both forms queue
// last: a sleeper that is not exclusive but stands behind one that is may be
// missed by a wake-up.

namespace internal {

// do_wait_intr(). Enqueue, test and wake are all under the one lock, so that
// nothing can come between test and sleep.
template <class Condition>
int WaitEventLocked(WaitQueue& queue, uint32_t entry_flags,
                    Condition&& condition)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(queue.lock()) {
  ThreadTask& task = Task::Current();
  WaitEntry entry(&task, &AutoremoveWakeFunction, entry_flags);
  int result = 0;
  while (!condition()) {
    if (!entry.queued()) queue.AddTailLocked(entry);
    task.SetState(kInterruptible);
    if (task.SignalPending()) {
      result = -kErestartsys;
      break;
    }
    queue.lock().Unlock();
    task.Schedule();
    queue.lock().Lock();
  }
  WaitList::Remove(entry);
  task.SetRunning();
  return result;
}

}  // namespace internal

// wait_event_interruptible_locked().
template <class Condition>
[[nodiscard]] int WaitEventInterruptibleLocked(WaitQueue& queue,
                                               Condition&& condition)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(queue.lock()) {
  return internal::WaitEventLocked(queue, 0, condition);
}

// wait_event_interruptible_exclusive_locked().
template <class Condition>
[[nodiscard]] int WaitEventInterruptibleExclusiveLocked(WaitQueue& queue,
                                                        Condition&& condition)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(queue.lock()) {
  return internal::WaitEventLocked(queue, WaitEntry::kExclusive, condition);
}

}  // namespace waitq

#endif  // WAITQ_CORE_WAIT_EVENT_H_
