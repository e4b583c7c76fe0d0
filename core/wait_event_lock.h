// Waiting for a condition that is guarded by a lock of the caller's:
// wait_event_lock_irq().
//
// `lock`, a Mutex or a SpinLock, is held at entry, in each test of the
// condition and at return, whatever the result; it is let go of around each
// sleep. Whoever makes the condition true holds it too, and wakes the queue
// with it or after it. Else as the forms of core/wait_event.h, with the same
// results; there is no MightSleep(): with a spin lock held it would always
// report.
//
// Lock order: `lock` before the queue's own.

#ifndef WAITQ_CORE_WAIT_EVENT_LOCK_H_
#define WAITQ_CORE_WAIT_EVENT_LOCK_H_

#include "absl/base/thread_annotations.h"
#include "core/task.h"
#include "core/wait_event.h"
#include "core/wait_event_loop.h"
#include "core/wait_queue.h"

namespace waitq {
namespace internal {

// Lets go of the lock around a sleep, and calls `command` before the sleep
// without it. The analysis does not see that the callers hold it.
template <class Lock, class Command>
auto Unlocked(Lock& lock, Command& command) {
  return [&](auto&& sleep) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    lock.Unlock();
    command();
    const int result = sleep();
    lock.Lock();
    return result;
  };
}

inline constexpr auto kNoCommand = [] {};

}  // namespace internal

// wait_event_lock_irq_cmd(): calls `command` before each sleep, unlocked.
template <class Condition, class Lock, class Command>
void WaitEventLockIrqCmd(WaitQueue& queue, Condition&& condition, Lock& lock,
                         Command&& command)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock) {
  internal::WaitEvent(internal::In(queue), kUninterruptible, condition,
                      internal::Unlocked(lock, command));
}

// wait_event_lock_irq().
template <class Condition, class Lock>
void WaitEventLockIrq(WaitQueue& queue, Condition&& condition, Lock& lock)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock) {
  WaitEventLockIrqCmd(queue, condition, lock, internal::kNoCommand);
}

// wait_event_interruptible_lock_irq_cmd().
template <class Condition, class Lock, class Command>
[[nodiscard]] int WaitEventInterruptibleLockIrqCmd(WaitQueue& queue,
                                                   Condition&& condition,
                                                   Lock& lock,
                                                   Command&& command)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock) {
  return internal::WaitEvent(internal::In(queue), kInterruptible, condition,
                             internal::Unlocked(lock, command));
}

// wait_event_interruptible_lock_irq().
template <class Condition, class Lock>
[[nodiscard]] int WaitEventInterruptibleLockIrq(WaitQueue& queue,
                                                Condition&& condition,
                                                Lock& lock)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock) {
  return WaitEventInterruptibleLockIrqCmd(queue, condition, lock,
                                          internal::kNoCommand);
}

// wait_event_lock_irq_timeout().
template <class Condition, class Lock>
Ticks WaitEventLockIrqTimeout(WaitQueue& queue, Condition&& condition,
                              Lock& lock, Ticks timeout)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock) {
  return internal::WaitEventTimeout(
      internal::In(queue), kUninterruptible, condition, timeout,
      internal::Unlocked(lock, internal::kNoCommand));
}

// wait_event_interruptible_lock_irq_timeout().
template <class Condition, class Lock>
[[nodiscard]] Ticks WaitEventInterruptibleLockIrqTimeout(WaitQueue& queue,
                                                         Condition&& condition,
                                                         Lock& lock,
                                                         Ticks timeout)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock) {
  return internal::WaitEventTimeout(
      internal::In(queue), kInterruptible, condition, timeout,
      internal::Unlocked(lock, internal::kNoCommand));
}

}  // namespace waitq

#endif  // WAITQ_CORE_WAIT_EVENT_LOCK_H_
