#include "load/pacer.h"

#include <sys/prctl.h>

#include <utility>

namespace waitq::load {

Pacer::Pacer(const RunClock& clock, double rate, absl::Time start,
             absl::AnyInvocable<void(uint64_t n, absl::Time due)> begin)
    : clock_(clock),
      rate_(rate),
      start_(start),
      begin_(std::move(begin)),
      thread_([this] { Run(); }) {}

Pacer::~Pacer() {
  stop_.Notify();
  thread_.join();
}

void Pacer::Run() {
  // The kernel may wake a thread 50 us late to save power; what is late here
  // would count as the server's.
  prctl(PR_SET_TIMERSLACK, 1);
  for (uint64_t n = 0; !stop_.HasBeenNotified(); ++n) {
    const absl::Time due =
        start_ + absl::Seconds(static_cast<double>(n) / rate_);
    const absl::Duration left = due - clock_.Now();
    if (left > absl::ZeroDuration() &&
        stop_.WaitForNotificationWithTimeout(left)) {
      return;
    }
    begin_(n, due);
  }
}

}  // namespace waitq::load
