// The time of a run, the same on all hosts.

#ifndef WAITQ_LOAD_RUN_CLOCK_H_
#define WAITQ_LOAD_RUN_CLOCK_H_

#include <atomic>
#include <cstdint>
#include <ctime>

#include "absl/time/time.h"

namespace waitq::load {

// The monotonic clock of host 0, as well as this host knows it. Not related to
// the time of day.
//
// Thread safety: any thread may call any method.
class RunClock {
 public:
  absl::Time Now() const {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return absl::TimeFromTimespec(now) +
           absl::Nanoseconds(ahead_.load(std::memory_order_relaxed));
  }

  // How much host 0's clock is ahead of ours. Relaxed: it is set before the
  // threads that ask are started.
  void SetAhead(absl::Duration ahead) {
    ahead_.store(absl::ToInt64Nanoseconds(ahead), std::memory_order_relaxed);
  }

 private:
  std::atomic<int64_t> ahead_{0};
};

}  // namespace waitq::load

#endif  // WAITQ_LOAD_RUN_CLOCK_H_
