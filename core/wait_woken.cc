#include "core/wait_woken.h"

#include "core/pause.h"

namespace waitq {

int WokenWakeFunction(WaitEntry& entry, TaskState mode, int wake_flags,
                      void* key) {
  // Latched before the state is read (by DefaultWakeFunction). Partner of
  // WaitWoken(), which sets the state before it reads the latch: one of the two
  // sees the other, or a wake-up between would be lost.
  entry.LatchWoken();
  return DefaultWakeFunction(entry, mode, wake_flags, key);
}

Ticks WaitWoken(WaitEntry& entry, TaskState state, Ticks timeout) {
  ThreadTask& task = Task::Current();
  task.SetState(state);
  Pause(PausePoint::kStateSet);
  if (!entry.Woken()) timeout = task.ScheduleTimeout(timeout);
  task.SetRunning();
  // A full barrier: what the waker wrote before it latched is seen by the
  // caller's next test, or its latch is seen by the next call.
  entry.ClearWoken();
  return timeout;
}

}  // namespace waitq
