#include "core/clock.h"

#include <ctime>
#include <vector>

#include "absl/time/time.h"
#include "core/simulated_clock.h"
#include "gtest/gtest.h"

namespace waitq {
namespace {

absl::Time Monotonic() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::UnixEpoch() + absl::DurationFromTimespec(now);
}

TEST(RealClockTest, IsTheMachinesMonotonicClock) {
  const absl::Time before = Monotonic();
  const absl::Time now = Clock::Real().Now();
  const absl::Time after = Monotonic();
  EXPECT_LE(before, now);
  EXPECT_LE(now, after);
}

TEST(RealClockTest, NeverGoesBack) {
  absl::Time last = Clock::Real().Now();
  for (int i = 0; i < 10'000; ++i) {
    const absl::Time now = Clock::Real().Now();
    ASSERT_GE(now, last);
    last = now;
  }
}

struct NotingTimer : Timer {
  NotingTimer(SimulatedClock* clock_in, std::vector<absl::Time>* fired_in)
      : Timer([](Timer& timer) {
          auto& self = static_cast<NotingTimer&>(timer);
          self.fired.push_back(self.clock.Now());
        }),
        clock(*clock_in),
        fired(*fired_in) {}

  SimulatedClock& clock;
  std::vector<absl::Time>& fired;
};

TEST(SimulatedClockTest, StandsStill) {
  SimulatedClock clock;
  EXPECT_EQ(clock.Now(), clock.Now());
  EXPECT_GT(clock.Now(), absl::UnixEpoch()) << "there are times before now";
}

TEST(SimulatedClockTest, AdvanceFiresInOrderEachAtItsOwnTick) {
  SimulatedClock clock;
  const absl::Time begin = clock.Now();
  std::vector<absl::Time> fired;
  NotingTimer late(&clock, &fired), early(&clock, &fired),
      after(&clock, &fired);
  clock.timers().Arm(late, begin + absl::Hours(30));
  clock.timers().Arm(early, begin + 3 * kTick);
  clock.timers().Arm(after, begin + absl::Hours(40));
  EXPECT_EQ(clock.Advance(absl::Hours(35)), 2);
  EXPECT_EQ(fired, (std::vector<absl::Time>{begin + 3 * kTick,
                                            begin + absl::Hours(30)}));
  EXPECT_EQ(clock.Now(), begin + absl::Hours(35));
  EXPECT_TRUE(clock.timers().Cancel(after));
}

TEST(SimulatedClockTest, AStallFiresNothingUntilTheNextAdvance) {
  SimulatedClock clock;
  const absl::Time begin = clock.Now();
  std::vector<absl::Time> fired;
  NotingTimer timer(&clock, &fired);
  clock.timers().Arm(timer, begin + kTick);
  clock.AdvanceWithoutTimers(absl::Seconds(1));
  EXPECT_TRUE(fired.empty());
  EXPECT_EQ(clock.Advance(absl::ZeroDuration()), 1);
  EXPECT_EQ(fired, std::vector<absl::Time>{begin + absl::Seconds(1)})
      << "time does not go back for it";
}

}  // namespace
}  // namespace waitq
