// Waiting for a condition whose test may sleep: wait_woken().
//
//   WaitEntry entry(WaitEntry::ForAdd{}, &Task::Current(), &WokenWakeFunction);
//   queue.Add(entry);
//   while (!condition() && !task.SignalPending())
//     timeout = WaitWoken(entry, kInterruptible, timeout);
//   queue.Remove(entry);
//
// The condition is tested while running, so it may take locks and sleep. A
// wake-up that comes meanwhile is latched in the entry (kWoken), and the next
// WaitWoken() does not sleep. After kernel/sched/wait.c.

#ifndef WAITQ_CORE_WAIT_WOKEN_H_
#define WAITQ_CORE_WAIT_WOKEN_H_

#include "core/wait_list.h"

namespace waitq {

// woken_wake_function(): latches the wake-up, then wakes as
// DefaultWakeFunction(). The only one for entries that WaitWoken() gets.
int WokenWakeFunction(WaitEntry& entry, TaskState mode, int wake_flags,
                      void* key);

// Sleeps in `state` for `timeout` ticks at most, unless a wake-up has come
// since the last call; returns the ticks that are left, `timeout` itself if it
// did not sleep. Looks neither at signals (though one ends the sleep) nor at
// any condition: the caller does. For the thread whose task the entry has, with
// the entry in a queue.
Ticks WaitWoken(WaitEntry& entry, TaskState state, Ticks timeout);

}  // namespace waitq

#endif  // WAITQ_CORE_WAIT_WOKEN_H_
