// Waiting for a condition, for threads: the wait_event() family.
//
// Each waits on `queue` until `condition()` is true; whoever makes it true then
// wakes the queue. The condition is called at least once, before anything else:
// if it is true the call returns success without queueing, sleeping or looking
// at signals. It may be called any number of times, also while the thread is
// about to sleep, so it must be cheap and must not sleep itself.
//
// A condition always beats a signal. What else ends a sleep first:
//   plain      nothing: it is uninterruptible
//   timed      the timeout; it beats a signal if both are there
//
// Results of the forms without a timeout: 0, or -kErestartsys for a signal.
// Results of the timed forms, in ticks of kTick (the kernel's jiffies):
//   condition true at entry           the timeout itself, 1 if it was 0
//   condition true later              what is left, at least 1; also if the
//                                     time ran out in the meantime
//   timed out                         0, even if a signal is pending
//   signal, condition false           -kErestartsys
// A timeout of kMaxScheduleTimeout never ends. Spurious wake-ups do not restart
// a timeout. Never early.
//
// After include/linux/wait.h; the test cases are in tests/core/.

#ifndef WAITQ_CORE_WAIT_EVENT_H_
#define WAITQ_CORE_WAIT_EVENT_H_

#include "absl/time/time.h"
#include "core/task.h"
#include "core/wait_queue.h"

namespace waitq {
namespace internal {

// ___wait_event(): sleeps by `sleep()` until `done()`; 0 or -kErestartsys.
template <class Done, class Sleep>
int WaitEventLoop(WaitQueue& queue, TaskState state, uint32_t entry_flags,
                  Done&& done, Sleep&& sleep) {
  WaitEntry entry(&Task::Current(), &AutoremoveWakeFunction, entry_flags);
  for (;;) {
    const int interrupted = queue.PrepareToWaitEvent(entry, state);
    // Tested after the state is set, or a wake-up between test and sleep would
    // be lost; and before the interruption counts: condition beats signal.
    if (done()) break;
    if (interrupted != 0) return interrupted;  // the entry is out already
    sleep();
    // Tested while running, when no waker can choose this entry any more: a
    // timed-out exclusive sleeper does not swallow a wake-up.
    if (done()) break;
  }
  queue.FinishWait(entry);
  return 0;
}

template <class Condition>
int WaitEventState(WaitQueue& queue, TaskState state, uint32_t entry_flags,
                   Condition&& condition) {
  if (condition()) return 0;
  return WaitEventLoop(queue, state, entry_flags, condition,
                       [] { Task::Current().Schedule(); });
}

template <class Condition>
Ticks WaitEventStateTimeout(WaitQueue& queue, TaskState state, Ticks timeout,
                            Condition&& condition) {
  Ticks left = timeout;
  // ___wait_cond_timeout(): true at the end of the time counts as one tick.
  auto done = [&] {
    const bool is_true = condition();
    if (is_true && left == 0) left = 1;
    return is_true || left == 0;
  };
  if (done()) return left;
  // One deadline, however often the sleep is ended for nothing.
  ThreadTask& task = Task::Current();
  const absl::Time deadline = task.DeadlineAfter(timeout);
  const int interrupted = WaitEventLoop(queue, state, 0, done, [&] {
    left = timeout < 0 ? task.ScheduleTimeout(timeout)
                       : task.ScheduleUntil(deadline);
  });
  return interrupted != 0 ? interrupted : left;
}

}  // namespace internal

// wait_event(): no signal ends it.
template <class Condition>
void WaitEvent(WaitQueue& queue, Condition&& condition) {
  internal::WaitEventState(queue, kUninterruptible, 0, condition);
}

// wait_event_timeout().
template <class Condition>
Ticks WaitEventTimeout(WaitQueue& queue, Condition&& condition, Ticks timeout) {
  return internal::WaitEventStateTimeout(queue, kUninterruptible, timeout,
                                         condition);
}

// wait_event_interruptible(): any signal ends it.
template <class Condition>
[[nodiscard]] int WaitEventInterruptible(WaitQueue& queue,
                                         Condition&& condition) {
  return internal::WaitEventState(queue, kInterruptible, 0, condition);
}

// wait_event_interruptible_exclusive(): uses up one of WakeUp()'s `nr`.
template <class Condition>
[[nodiscard]] int WaitEventInterruptibleExclusive(WaitQueue& queue,
                                                  Condition&& condition) {
  return internal::WaitEventState(queue, kInterruptible, WaitEntry::kExclusive,
                                  condition);
}

// wait_event_interruptible_timeout().
template <class Condition>
[[nodiscard]] Ticks WaitEventInterruptibleTimeout(WaitQueue& queue,
                                                  Condition&& condition,
                                                  Ticks timeout) {
  return internal::WaitEventStateTimeout(queue, kInterruptible, timeout,
                                         condition);
}

}  // namespace waitq

#endif  // WAITQ_CORE_WAIT_EVENT_H_
