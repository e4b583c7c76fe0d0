// Who may sleep here, and who not: might_sleep().
//
// A function that may sleep says so at its beginning, whether or not it will
// this time: so a caller who must not sleep is found before the day on which it
// matters. Two mistakes are reported:
//   * in atomic context (core/atomic_context.h): "sleeping function called from
//     invalid context";
//   * with a state other than running set: "do not call blocking ops when
//     !TASK_RUNNING". A sleep within a wait's condition would overwrite the
//     state, and the wait would not sleep, or would miss its wake-up.
// The call goes on after a report. (To really sleep in atomic context is a
// check failure: ThreadTask::Schedule().)
//
// After include/linux/kernel.h and kernel/sched/core.c with
// CONFIG_DEBUG_ATOMIC_SLEEP.

#ifndef WAITQ_CORE_MIGHT_SLEEP_H_
#define WAITQ_CORE_MIGHT_SLEEP_H_

#include <cstdint>

#include "core/atomic_context.h"
#include "core/task.h"

namespace waitq {

struct SleepReport {
  enum What { kAtomic, kNotRunning };
  What what;
  int depth;        // how many atomic contexts
  TaskState state;  // of the calling thread's task
};

// What is done with a report. Called on the thread that is reported, in the
// context in which it is: it must not sleep.
using SleepReporter = void (*)(const SleepReport& report);

// To standard error: those of atomic context once a second, the other kind
// once. The reporter of a program that has set none.
void PrintSleepReport(const SleepReport& report);
// Ends the program.
void DieOfSleepReport(const SleepReport& report);

// Sets the program's reporter, which gets every report; nullptr for none.
// Returns the one before. Any thread.
SleepReporter SetSleepReporter(SleepReporter reporter);

// How many there were since the program began, reported or not.
int64_t SleepReports(SleepReport::What what);

namespace internal {
void ReportSleep();
}  // namespace internal

// might_sleep(). Costs two loads if all is well.
inline void MightSleep() {
  if (InAtomicContext() || Task::Current().state() != kRunning) [[unlikely]] {
    internal::ReportSleep();
  }
}

// might_sleep_if().
inline void MightSleepIf(bool condition) {
  if (condition) MightSleep();
}

}  // namespace waitq

#endif  // WAITQ_CORE_MIGHT_SLEEP_H_
