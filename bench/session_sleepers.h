// Sleepers in number, on a few sessions of waitqd.

#ifndef WAITQ_BENCH_SESSION_SLEEPERS_H_
#define WAITQ_BENCH_SESSION_SLEEPERS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace waitq::bench {

// Parks sleepers on one wait queue, evenly on `sessions` sessions; whenever as
// many sleep as one of `steps`, which rise, calls `at_step` with the time that
// parking has taken so far. Then wakes all; returns the time until the last one
// was told. Whatever fails ends the program.
absl::Duration RunSessionSleepers(
    const std::string& address, int sessions,
    const std::vector<uint64_t>& steps,
    const std::function<void(uint64_t asleep, absl::Duration parking)>&
        at_step);

struct TimeoutsResult {
  uint64_t early = 0;
  // How late each sleep ended, as the server saw it; ascending.
  std::vector<absl::Duration> late;
};

// Puts `count` sleepers to sleep in one session, whose timeouts are spread
// evenly over `spread`.
TimeoutsResult RunTimeouts(const std::string& address, uint64_t count,
                           absl::Duration spread);

}  // namespace waitq::bench

#endif  // WAITQ_BENCH_SESSION_SLEEPERS_H_
