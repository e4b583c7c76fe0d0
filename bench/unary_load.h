// The loads of unary calls.

#ifndef WAITQ_BENCH_UNARY_LOAD_H_
#define WAITQ_BENCH_UNARY_LOAD_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/time/time.h"
#include "bench/load_connection.h"
#include "bench/load_target.h"

namespace waitq::bench {

// Keeps `in_flight` calls under way, over all connections, for so long; how
// many were answered in that time.
uint64_t RunUnary(Target& target, const Connections& connections,
                  uint64_t in_flight, absl::Duration duration);

// Puts calls to sleep over all connections, until as many sleep as each step
// says: then calls `asleep` with the step and how long it took. At last wakes
// all at once; how long until the last one was answered.
absl::Duration RunSleepers(
    Target& target, const Connections& connections,
    const std::vector<uint64_t>& steps,
    const std::function<void(uint64_t, absl::Duration)>& asleep);

}  // namespace waitq::bench

#endif  // WAITQ_BENCH_UNARY_LOAD_H_
