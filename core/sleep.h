// Sleeping for a time, or for a signal: nanosleep(2), pause(2), usleep_range().

#ifndef WAITQ_CORE_SLEEP_H_
#define WAITQ_CORE_SLEEP_H_

#include "absl/time/time.h"
#include "core/task.h"

namespace waitq {

// nanosleep(): 0 after `duration`, never before; or, for a signal,
// -kErestartRestartblock, and what is left in `left`, unless that is nullptr.
// Started again through the block (core/restart.h) it ends when it would have
// ended without the signal.
[[nodiscard]] int Nanosleep(absl::Duration duration,
                            absl::Duration* left = nullptr);

// clock_nanosleep() with TIMER_ABSTIME, on the clock of the task's timers: 0,
// or -kErestartnohand for a signal.
[[nodiscard]] int NanosleepUntil(absl::Time deadline);

// pause(): until a signal; -kErestartnohand.
[[nodiscard]] int PauseForSignal();

// usleep_range(): sleeps uninterruptibly, `least` at least; about `most` at
// most where a tick (core/timer_wheel.h) lies between the two, else to the next
// tick.
void UsleepRange(absl::Duration least, absl::Duration most);

}  // namespace waitq

#endif  // WAITQ_CORE_SLEEP_H_
