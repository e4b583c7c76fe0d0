// Pops asleep in number, on any target; and sleepers of waitqd that nobody
// wakes. (session_sleepers.h has those that wait for a word of waitqd's.)

#ifndef WAITQ_BENCH_MANY_SLEEPERS_H_
#define WAITQ_BENCH_MANY_SLEEPERS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace waitq::bench {

struct ManySleepers {
  std::string target;  // of QueueSession::Open()
  std::string address;
  uint64_t per_session;          // how many sleep on a connection
  std::vector<uint64_t> asleep;  // rising
  bool one_push;  // wakes all of them; else there is one for each
};

// Sends pops until as many are under way as one of `asleep`, and calls
// `at_step`, which is to wait until they sleep. Then wakes all; returns the
// time until the last one was told.
absl::Duration RunManySleepers(const ManySleepers& sleepers,
                               const std::function<void(uint64_t)>& at_step);

struct TimedSleepers {
  std::string target;
  std::string address;
  uint64_t per_session;
  uint64_t count;
  int timeout_seconds;
  absl::Duration spread;  // from the first one's beginning to the last one's
};

struct TimedSleepersResult {
  uint64_t early = 0;
  // From the moment at which a sleep should have ended to that at which the
  // client knew; ascending.
  std::vector<absl::Duration> late;
};

// Sleepers with one timeout, who begin one after the other, and to whom nothing
// comes.
TimedSleepersResult RunTimedSleepers(const TimedSleepers& sleepers);

// Puts `count` sleepers of waitqd to sleep, evenly on `sessions` sessions and
// on `objects` wait queues; calls `at_end` when all sleep.
void RunOthers(const std::string& address, int sessions, uint64_t objects,
               uint64_t count, const std::function<void()>& at_end);

}  // namespace waitq::bench

#endif  // WAITQ_BENCH_MANY_SLEEPERS_H_
