#include "core/clock.h"

#include <chrono>

namespace waitq {
namespace {

class RealClock final : public Clock {
 public:
  absl::Time Now() const override {
    return absl::FromUnixNanos(
        std::chrono::nanoseconds(
            std::chrono::steady_clock::now().time_since_epoch())
            .count());
  }
};

}  // namespace

const Clock& Clock::Real() {
  static const RealClock clock;
  return clock;
}

}  // namespace waitq
