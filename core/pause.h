// Where tests stop a thread: the moments between which races happen.
//
// The library is built twice. In the one that everybody uses, Pause() is
// nothing. In the other (targets that end in _hooked, with WAITQ_PAUSE_HOOKS;
// for tests only) it calls the thread's hooks, which may block it there, or run
// other "threads" meanwhile on the same one.

#ifndef WAITQ_CORE_PAUSE_H_
#define WAITQ_CORE_PAUSE_H_

namespace waitq {

class ThreadTask;

enum class PausePoint {
  kBeforeEnqueue,  // P1: the condition was tested; nothing is locked
  kStateSet,       // P2: enqueued, the state set; about to test again
  kBeforeSleep,    // P3: about to sleep
  kBeforePark,     // the same, after the last look at signals
  kAfterSleep,     // P4: running again; nothing tested or locked yet
  kBeforeFinish,   // P5: the wait is over; about to leave the queue
  kBeforeUnlink,   // a waker, under the lock: woken, not yet unlinked
  kUnlocked,       // the lock of a pipe was just released, to sleep
  kBeforeWake,     // the same, to wake others
  kSignalPosted,   // a signal's sender: pending, nobody is woken yet
  kBeforeStop,     // about to be stopped by a signal that is pending
  kBetweenWakes,   // a simple queue's waker of all, between two, unlocked
  kEnteredPoll,    // a poller is in the queues; about to look at the file
};

#ifdef WAITQ_PAUSE_HOOKS

// What a thread calls. Each thread sets its own.
class PauseHooks {
 public:
  virtual void Pause(PausePoint point) = 0;
  // In place of the sleep itself: returns when the task's state may have
  // changed. False: let the thread sleep.
  virtual bool Park(ThreadTask&) { return false; }
  // Who Task::Current() is; nullptr: the thread's own.
  virtual ThreadTask* Current() { return nullptr; }

 protected:
  ~PauseHooks() = default;
};

inline thread_local PauseHooks* pause_hooks = nullptr;

inline void Pause(PausePoint point) {
  if (pause_hooks != nullptr) pause_hooks->Pause(point);
}

#else

inline void Pause(PausePoint) {}

#endif  // WAITQ_PAUSE_HOOKS

}  // namespace waitq

#endif  // WAITQ_CORE_PAUSE_H_
