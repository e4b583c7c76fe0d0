// Monotonic time, and the seam through which tests drive it.

#ifndef WAITQ_CORE_CLOCK_H_
#define WAITQ_CORE_CLOCK_H_

#include "absl/time/time.h"

namespace waitq {

// Tells the time on a line that never goes back and that no one sets.
//
// The line is the machine's CLOCK_MONOTONIC: its origin, absl::UnixEpoch(), is
// some moment before the program began (boot), not 1970. Compare these times
// with each other, never with the wall clock.
//
// Thread safety: any thread may call any method.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() const = 0;

  // CLOCK_MONOTONIC. Lives for ever.
  static const Clock& Real();
};

}  // namespace waitq

#endif  // WAITQ_CORE_CLOCK_H_
