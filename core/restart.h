// What becomes of an interrupted call: the outermost shim.
//
// Core's calls say with -kErestart… that a signal has ended them, and leave it
// to whoever is outermost to make a program's errno of it, or to call again.
// RestartableCall() does that as the kernel on its way back to a program:
//
//   result of the call       a handler ran,   a handler ran,   no handler ran
//                            SA_RESTART       without
//   -kErestartsys            again            -EINTR           again
//   -kErestartnointr         again            again            again
//   -kErestartnohand         -EINTR           -EINTR           again
//   -kErestartRestartblock   -EINTR           -EINTR           on, by the block
//   any other, -EINTR too    as it is         as it is         as it is
//
// No handler: the task was stopped and has gone on, or the signal is gone. Of
// several handlers the first, of the lowest number, decides.
//
// "Again" is the same call with the same arguments. A *relative* timeout then
// begins anew, so that signals stretch it without bound: use
// RestartableCallWithin(), which has one deadline; or calls that restart
// through a block (core/poll.h, core/sleep.h).
//
// After kernel/signal.c and arch/x86/kernel/signal.c.

#ifndef WAITQ_CORE_RESTART_H_
#define WAITQ_CORE_RESTART_H_

#include <cerrno>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "core/task.h"

namespace waitq {

// What DeliverSignals() has met.
enum class Delivery { kNoHandler, kHandler, kRestartingHandler, kFatal };

// get_signal(): delivers the calling thread's pending signals. For each that is
// handled calls `handler(signal)`; one that stops makes the thread sleep until
// SIGCONT. Leaves them alone once one is fatal: a program would be gone; here
// the thread's sleeps end at once, until it ends itself.
Delivery DeliverSignals(absl::FunctionRef<void(int signal)> handler);

namespace internal {

// What the program gets; or kAgain, kByBlock.
enum class Restart { kNo, kInterrupted, kAgain, kByBlock };
Restart RestartOf(int64_t result, Delivery delivery);

inline constexpr auto kNoHandler = [](int) {};

}  // namespace internal

// Calls `call()` and delivers signals after it, as a system call ends; again
// and again, as the table says. Returns what the program gets: never
// -kErestart…. -EINTR if a fatal signal is pending.
//
// Thread safety: for the calling thread's task. Blocking: as the call.
template <class Call>
[[nodiscard]] int64_t RestartableCall(
    Call&& call,
    absl::FunctionRef<void(int signal)> handler = internal::kNoHandler) {
  int64_t result = call();
  for (;;) {
    switch (internal::RestartOf(result, DeliverSignals(handler))) {
      case internal::Restart::kNo:
        return result;
      case internal::Restart::kInterrupted:
        return -EINTR;
      case internal::Restart::kAgain:
        result = call();
        break;
      case internal::Restart::kByBlock: {
        // A copy: the call may set it anew.
        const RestartBlock block = Task::Current().restart_block();
        // do_no_restart_syscall(), if the call has left no block.
        result = block.restart == nullptr ? -EINTR : block.restart(block);
        break;
      }
    }
  }
}

// The same with `call(left)`: the ticks that are left of `timeout`, however
// often it is called.
template <class Call>
[[nodiscard]] int64_t RestartableCallWithin(
    Ticks timeout, Call&& call,
    absl::FunctionRef<void(int signal)> handler = internal::kNoHandler) {
  const ThreadTask& task = Task::Current();
  const absl::Time deadline = task.DeadlineAfter(timeout);
  return RestartableCall([&] { return call(task.TicksUntil(deadline)); },
                         handler);
}

}  // namespace waitq

#endif  // WAITQ_CORE_RESTART_H_
