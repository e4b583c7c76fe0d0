#include "core/sleep.h"

#include "core/might_sleep.h"

namespace waitq {
namespace {

// do_nanosleep(): whether `deadline` has come before a signal.
bool SleepUntil(absl::Time deadline) {
  MightSleep();
  ThreadTask& task = Task::Current();
  do {
    task.SetState(kInterruptible);
    if (task.ScheduleUntil(deadline) == 0) return true;
  } while (!task.SignalPending());
  return false;
}

// `block.data` is where to say what is left, or nullptr.
int64_t RestartNanosleep(const RestartBlock& block) {
  if (SleepUntil(block.deadline)) return 0;
  ThreadTask& task = Task::Current();
  const absl::Duration remaining = block.deadline - task.timers().clock().Now();
  // The signal came last: nothing is left to sleep.
  if (remaining <= absl::ZeroDuration()) return 0;
  if (auto* const left = static_cast<absl::Duration*>(block.data)) {
    *left = remaining;
  }
  task.restart_block() = block;
  return -kErestartRestartblock;
}

}  // namespace

int Nanosleep(absl::Duration duration, absl::Duration* left) {
  const absl::Time now = Task::Current().timers().clock().Now();
  return static_cast<int>(RestartNanosleep({.restart = &RestartNanosleep,
                                            .deadline = now + duration,
                                            .data = left}));
}

int NanosleepUntil(absl::Time deadline) {
  return SleepUntil(deadline) ? 0 : -kErestartnohand;
}

int PauseForSignal() {
  (void)SleepUntil(absl::InfiniteFuture());
  return -kErestartnohand;
}

// The wheel rounds up to a tick: from the shorter one, to end in the range.
void UsleepRange(absl::Duration least, absl::Duration) {
  MightSleep();
  ThreadTask& task = Task::Current();
  const absl::Time deadline = task.timers().clock().Now() + least;
  do {
    task.SetState(kUninterruptible);
  } while (task.ScheduleUntil(deadline) > 0);
}

}  // namespace waitq
