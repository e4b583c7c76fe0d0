// Waiting for what cannot wake: reading it again and again.
//
// read_poll_timeout() and its kin: `read()` until `condition(value)` or so much
// time has passed. 0, or -ETIMEDOUT; `value` is what was read last in both
// cases. No signal ends them. A timeout of 0 never comes.
//
// The last read is never before the end: each turn first looks whether the time
// is over, then reads and tests, and gives up only if it was over before that
// read. So who was put aside by the machine until after the deadline still
// succeeds where the condition holds. At least one read.
//
//   uint32_t status;
//   int result = ReadPollTimeout([&] { return device.ReadStatus(); }, status,
//                                [](uint32_t s) { return (s & kReady) != 0; },
//                                absl::Microseconds(50),   // between reads
//                                absl::Milliseconds(10));  // in all
//
// Time is that of the calling thread's timers. After include/linux/iopoll.h,
// 7.1.

#ifndef WAITQ_CORE_IOPOLL_H_
#define WAITQ_CORE_IOPOLL_H_

#include <atomic>
#include <cerrno>

#include "absl/time/time.h"
#include "core/clock.h"
#include "core/cpu_relax.h"
#include "core/might_sleep.h"
#include "core/sleep.h"
#include "core/task.h"

namespace waitq {

// udelay(): spins for `delay`.
void Udelay(absl::Duration delay);

// poll_timeout_us(): the same without a value. Sleeps between two turns,
// between a quarter of `sleep` and all of it (core/sleep.h on ticks); for 0 it
// does not, and may then be called in atomic context.
template <class Operation, class Condition>
[[nodiscard]] int PollTimeout(Operation&& operation, Condition&& condition,
                              absl::Duration sleep, absl::Duration timeout,
                              bool sleep_before = false) {
  const Clock& clock = Task::Current().timers().clock();
  const bool sleeps = sleep > absl::ZeroDuration();
  // Only 0 is "never": a deadline that has passed is a negative timeout.
  const bool ends = timeout != absl::ZeroDuration();
  const absl::Time deadline = ends ? clock.Now() + timeout : absl::Time();
  const absl::Duration least = sleep / 4 + absl::Microseconds(1);
  MightSleepIf(sleeps);
  if (sleep_before && sleeps) UsleepRange(least, sleep);
  for (;;) {
    const bool expired = ends && clock.Now() > deadline;
    // Not to be read before that look.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    operation();
    if (condition()) return 0;
    if (expired) return -ETIMEDOUT;
    if (sleeps) UsleepRange(least, sleep);
    CpuRelax();
  }
}

// poll_timeout_us_atomic(): spins between two turns; for atomic context. Looks
// at no clock: it counts `delay`, and a nanosecond a turn. So it fails after
// floor(timeout / (delay + 1 ns)) + 2 reads, and takes longer than it counts.
template <class Operation, class Condition>
[[nodiscard]] int PollTimeoutAtomic(Operation&& operation,
                                    Condition&& condition, absl::Duration delay,
                                    absl::Duration timeout,
                                    bool delay_before = false) {
  const bool delays = delay > absl::ZeroDuration();
  // Only 0 is "never": a deadline that has passed is a negative timeout.
  const bool ends = timeout != absl::ZeroDuration();
  absl::Duration left = timeout;
  if (delay_before && delays) {
    Udelay(delay);
    left -= delay;
  }
  for (;;) {
    const bool expired = ends && left < absl::ZeroDuration();
    std::atomic_signal_fence(std::memory_order_seq_cst);
    operation();
    if (condition()) return 0;
    if (expired) return -ETIMEDOUT;
    if (delays) {
      Udelay(delay);
      left -= delay;
    }
    CpuRelax();
    left -= absl::Nanoseconds(1);
  }
}

// read_poll_timeout().
template <class Read, class Value, class Condition>
[[nodiscard]] int ReadPollTimeout(Read&& read, Value& value,
                                  Condition&& condition, absl::Duration sleep,
                                  absl::Duration timeout,
                                  bool sleep_before = false) {
  return PollTimeout([&] { value = read(); }, [&] { return condition(value); },
                     sleep, timeout, sleep_before);
}

// read_poll_timeout_atomic().
template <class Read, class Value, class Condition>
[[nodiscard]] int ReadPollTimeoutAtomic(Read&& read, Value& value,
                                        Condition&& condition,
                                        absl::Duration delay,
                                        absl::Duration timeout,
                                        bool delay_before = false) {
  return PollTimeoutAtomic([&] { value = read(); },
                           [&] { return condition(value); }, delay, timeout,
                           delay_before);
}

}  // namespace waitq

#endif  // WAITQ_CORE_IOPOLL_H_
