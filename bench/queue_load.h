// A queue with a session at each end, as fast as it goes.

#ifndef WAITQ_BENCH_QUEUE_LOAD_H_
#define WAITQ_BENCH_QUEUE_LOAD_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace waitq::bench {

struct QueueLoadResult {
  uint64_t messages;  // that came out in the time
  uint64_t behind;    // those that were in the queue at its end
};

// One session keeps `depth` pushes of so many bytes under way, another one
// `depth` pops, for so long, after a tenth of that for warming up. Both take up
// what came together with one call; nobody waits for more to come.
QueueLoadResult RunQueue(const std::string& target, const std::string& address,
                         uint64_t depth, size_t message_bytes,
                         absl::Duration duration);

}  // namespace waitq::bench

#endif  // WAITQ_BENCH_QUEUE_LOAD_H_
