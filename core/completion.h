// Completions: waiting until something is done.
//
// A completion counts. Complete() adds one, and each wait that succeeds takes
// one away: n completes admit n waits, also waits that come later.
// CompleteAll() is for good: all waits succeed, until Reinit().
//
//   Completion done;
//   std::thread worker([&] { Work(); done.Complete(); });
//   done.Wait();
//
// Nothing is handed over: another thread may take what Complete() added before
// the one that it woke has run (which then sleeps again, as the last). First
// come, first woken; not first served. After kernel/sched/completion.c.

#ifndef WAITQ_CORE_COMPLETION_H_
#define WAITQ_CORE_COMPLETION_H_

#include <atomic>
#include <cstdint>
#include <limits>

#include "absl/base/thread_annotations.h"
#include "core/swait.h"
#include "core/task.h"

namespace waitq {

// Thread safety: any thread may call any method.
// Blocking: only the Wait…() methods sleep.
// Ordering: what was done before Complete() is visible after the wait it ends.
// Destruction: when nobody waits (a check failure) and nobody is still to
// complete it. A thread that returned from a successful wait, or saw
// TryWait() or Done() return true, may destroy it at once: the completer does
// not touch it any more. One whose wait timed out or was interrupted may not.
class Completion {
 public:
  constexpr Completion() = default;  // init_completion(); may be constinit
  Completion(const Completion&) = delete;
  Completion& operator=(const Completion&) = delete;

  // complete(): admits one wait more, and wakes the one that waits longest. Has
  // no effect on the count after CompleteAll().
  void Complete() ABSL_LOCKS_EXCLUDED(waiters_.lock());
  // complete_all(): admits all, for good. A second call changes nothing.
  void CompleteAll() ABSL_LOCKS_EXCLUDED(waiters_.lock());
  // reinit_completion(): nothing is done. Touches no waiter: one that was woken
  // and has not yet run sleeps again, so all must have returned before.
  void Reinit() { done_.store(0, std::memory_order_relaxed); }

  // try_wait_for_completion(): takes one away if there is one; never sleeps.
  [[nodiscard]] bool TryWait() ABSL_LOCKS_EXCLUDED(waiters_.lock());
  // completion_done(): whether a wait would succeed. Says nothing about
  // waiters. Takes nothing.
  [[nodiscard]] bool Done() ABSL_LOCKS_EXCLUDED(waiters_.lock());

  // What the waits return. If one can be taken at entry it is, whatever signal
  // is pending. Later success beats both signal and timeout, and the timeout
  // beats a signal.
  //   without timeout   0, or -kErestartsys
  //   with timeout      what is left in ticks, at least 1; 0 if it timed out;
  //                     or -kErestartsys. 0 ticks last until the next tick.

  // wait_for_completion().
  void Wait() { WaitFor(kUninterruptible, kMaxScheduleTimeout); }
  // wait_for_completion_timeout().
  Ticks WaitTimeout(Ticks timeout) {
    return WaitFor(kUninterruptible, timeout);
  }
  // wait_for_completion_interruptible(), …_killable(), …_state().
  [[nodiscard]] int WaitInterruptible() { return WaitState(kInterruptible); }
  [[nodiscard]] int WaitKillable() { return WaitState(kKillable); }
  [[nodiscard]] int WaitState(TaskState state) {
    return WaitFor(state, kMaxScheduleTimeout) < 0 ? -kErestartsys : 0;
  }
  // wait_for_completion_interruptible_timeout(), …_killable_timeout().
  [[nodiscard]] Ticks WaitInterruptibleTimeout(Ticks timeout) {
    return WaitFor(kInterruptible, timeout);
  }
  [[nodiscard]] Ticks WaitKillableTimeout(Ticks timeout) {
    return WaitFor(kKillable, timeout);
  }

 private:
  static constexpr uint32_t kAll = std::numeric_limits<uint32_t>::max();

  Ticks WaitFor(TaskState state, Ticks timeout)
      ABSL_LOCKS_EXCLUDED(waiters_.lock());
  bool TakeLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(waiters_.lock());

  SwaitQueue waiters_;
  // Written under its lock, but for Reinit(); read without it as a hint.
  std::atomic<uint32_t> done_{0};
};

}  // namespace waitq

#endif  // WAITQ_CORE_COMPLETION_H_
