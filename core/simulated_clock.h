// A clock that only tests move.

#ifndef WAITQ_CORE_SIMULATED_CLOCK_H_
#define WAITQ_CORE_SIMULATED_CLOCK_H_

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "core/clock.h"
#include "core/mutex.h"
#include "core/timers.h"

namespace waitq {

// Time stands still until Advance(), which fires the timers of `timers()` in
// order, each with the clock at its own tick.
//
// Thread safety: any thread may read the clock and arm timers; one at a time
// may advance it.
class SimulatedClock final : public Clock {
 public:
  // Begins an hour after the origin, so that times before "now" exist.
  SimulatedClock() : now_(absl::UnixEpoch() + absl::Hours(1)), timers_(this) {}

  absl::Time Now() const override {
    MutexLock lock(&mu_);
    return now_;
  }

  Timers& timers() { return timers_; }

  // Moves time on and returns how many timers fired on the way.
  int Advance(absl::Duration duration) {
    const absl::Time target = Now() + duration;
    int fired = 0;
    for (;;) {
      const auto work = timers_.NextWork();
      if (!work.has_value() || *work > target) break;
      MoveTo(*work);
      fired += timers_.RunExpired();
    }
    MoveTo(target);
    return fired;
  }

  // Moves time on without firing anything: a machine that was stalled.
  void AdvanceWithoutTimers(absl::Duration duration) {
    MoveTo(Now() + duration);
  }

 private:
  void MoveTo(absl::Time time) {
    MutexLock lock(&mu_);
    if (time > now_) now_ = time;
  }

  mutable Mutex mu_;
  absl::Time now_ ABSL_GUARDED_BY(mu_);
  Timers timers_;
};

}  // namespace waitq

#endif  // WAITQ_CORE_SIMULATED_CLOCK_H_
