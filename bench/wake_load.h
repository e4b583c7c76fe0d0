// How long it takes from the push of a message in one process until a sleeping
// pop in another one has it.

#ifndef WAITQ_BENCH_WAKE_LOAD_H_
#define WAITQ_BENCH_WAKE_LOAD_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace waitq::bench {

struct WakeLoad {
  std::string target;
  std::string address;
  std::string queue;
  uint64_t wakes;
  size_t message_bytes;  // a time stamp, and as much as is missing
  absl::Duration pause;  // from one push to the next
};

struct WakeLoadResult {
  std::vector<absl::Duration> latencies;  // shortest first
  // Messages that may have come before the pop for them was asleep: no wakes,
  // and left out.
  uint64_t not_asleep;
};

// The sleeper: one pop is asleep on its session. When it has a message it looks
// at the clock, in the thread that has polled for it, and at once sends the
// next pop. `start_waker` is to have RunWaker() run in another process, and to
// return when it has ended.
//
// Some wakes more than asked for come first, and do not count.
WakeLoadResult RunSleeper(const WakeLoad& load,
                          const std::function<void()>& start_waker);

// The waker: pushes the time of CLOCK_MONOTONIC, and pauses. A pause and not a
// word from the sleeper that it is asleep again: that would be a second wake,
// for which the two processes and the server would still be awake and warm.
void RunWaker(const WakeLoad& load);

}  // namespace waitq::bench

#endif  // WAITQ_BENCH_WAKE_LOAD_H_
