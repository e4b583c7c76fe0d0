// How every wait for a condition goes: ___wait_event(). For the headers that
// have the forms: wait_event.h, swait.h, wait_bit.h.
//
// A Place says where to wait:
//   Entry()                  the sleeper's entry
//   Prepare(entry, state)    queues it unless it is, and sets the state; 0; or,
//                            for a signal, takes it out and -kErestartsys
//   Finish(entry)            the task is running, the entry out

#ifndef WAITQ_CORE_WAIT_EVENT_LOOP_H_
#define WAITQ_CORE_WAIT_EVENT_LOOP_H_

#include <cerrno>

#include "absl/time/time.h"
#include "core/task.h"

namespace waitq::internal {

// Sleeps by `sleep()` until `done()`, or until `sleep()` returns another value
// than 0. Returns that, 0, or -kErestartsys.
template <class Place, class Done, class Sleep>
int WaitEventLoop(Place&& place, TaskState state, Done&& done, Sleep&& sleep) {
  alignas(64) auto entry = place.Entry();
  int result = 0;
  for (;;) {
    const int interrupted = place.Prepare(entry, state);
    // Tested after the state is set, or a wake-up between test and sleep would
    // be lost; and before the interruption counts: condition beats signal.
    if (done()) break;
    if (interrupted != 0) return interrupted;  // the entry is out already
    result = sleep();
    if (result != 0) break;
    // Tested while running, when no waker can choose this entry any more: a
    // timed-out exclusive sleeper does not swallow a wake-up.
    if (done()) break;
  }
  place.Finish(entry);
  return result;
}

inline int Sleep() {
  Task::Current().Schedule();
  return 0;
}

// The three forms: without a timeout, with one in ticks, with a duration.
// `around` is for what is to be done around each sleep: around(sleep) calls it.

struct JustSleep {
  template <class Sleep>
  int operator()(Sleep&& sleep) const {
    return sleep();
  }
};

template <class Before, class After>
auto Between(Before&& before, After&& after) {
  return [&before, &after](auto&& sleep) {
    before();
    const int result = sleep();
    after();
    return result;
  };
}

template <class Place, class Condition, class Around = JustSleep>
int WaitEvent(Place&& place, TaskState state, Condition&& condition,
              Around&& around = {}) {
  if (condition()) return 0;
  return WaitEventLoop(place, state, condition, [&] { return around(&Sleep); });
}

template <class Place, class Condition, class Around = JustSleep>
Ticks WaitEventTimeout(Place&& place, TaskState state, Condition&& condition,
                       Ticks timeout, Around&& around = {}) {
  Ticks left = timeout;
  // ___wait_cond_timeout(): true at the end of the time counts as one tick.
  auto done = [&] {
    const bool is_true = condition();
    if (is_true && left == 0) left = 1;
    return is_true || left == 0;
  };
  if (done()) return left;
  // One deadline, however often the sleep is ended for nothing.
  ThreadTask& task = Task::Current();
  const absl::Time deadline = task.DeadlineAfter(timeout);
  const auto sleep = [&] {
    left = timeout < 0 ? task.ScheduleTimeout(timeout)
                       : task.ScheduleUntil(deadline);
    return 0;
  };
  const int interrupted =
      WaitEventLoop(place, state, done, [&] { return around(sleep); });
  return interrupted != 0 ? interrupted : left;
}

template <class Place, class Condition>
int WaitEventHrtimeout(Place&& place, TaskState state, Condition&& condition,
                       absl::Duration timeout) {
  if (condition()) return 0;
  ThreadTask& task = Task::Current();
  const absl::Time deadline = task.timers().clock().Now() + timeout;
  bool expired = false;
  return WaitEventLoop(place, state, condition, [&] {
    // Only now: a signal, which Prepare() has looked for, and the condition
    // both beat the timeout.
    if (expired) return -ETIME;
    expired = task.ScheduleUntil(deadline) == 0;
    return 0;
  });
}

}  // namespace waitq::internal

#endif  // WAITQ_CORE_WAIT_EVENT_LOOP_H_
