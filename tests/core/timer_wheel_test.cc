#include "core/timer_wheel.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/random.h"

namespace waitq {
namespace {

using test::Random;
using test::Seed;
using test::Times;

void NeverFired(Timer&) { ADD_FAILURE() << "a wheel fires nothing by itself"; }

struct TestTimer : Timer {
  TestTimer() : Timer(&NeverFired) {}
};

// The first tick of each level after 0, and what is on both sides of it.
std::vector<Ticks> Distances() {
  std::vector<Ticks> distances = {0, 1, 2, 62, 63};
  for (int bits = 6; bits < 60; bits += 6) {
    const Ticks first = Ticks{1} << bits;
    for (const Ticks d : {-1, 0, 1, 63, 64, 65}) distances.push_back(first + d);
    distances.push_back(63 * first);
    distances.push_back(64 * first - 1);
  }
  distances.push_back(Ticks{1} << 60);
  return distances;
}

std::vector<Ticks> Beginnings() {
  return {0,
          1,
          63,
          64,
          4095,
          4096 + 4095,
          36'000'000,  // an hour: where the simulated clock begins
          (Ticks{1} << 36) - 1,
          (Ticks{1} << 36) + 12'345,
          (Ticks{1} << 48) - 1,
          (Ticks{1} << 60) - 1};
}

struct Case {
  Ticks now;
  Ticks distance;
};

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const Ticks now : Beginnings()) {
    for (const Ticks distance : Distances()) {
      cases.push_back({now, distance});
    }
  }
  return cases;
}

class TimerWheelTest : public testing::Test {
 protected:
  // Pops all that is due; the number of timers.
  static int PopAll(TimerWheel& wheel, Ticks now) {
    int popped = 0;
    while (wheel.PopExpired(now) != nullptr) ++popped;
    return popped;
  }
};

TEST_F(TimerWheelTest, BeginsEmpty) {
  TimerWheel wheel(100);
  EXPECT_TRUE(wheel.empty());
  EXPECT_EQ(wheel.NextWork(), std::nullopt);
  EXPECT_EQ(wheel.PopExpired(100), nullptr);
  EXPECT_EQ(wheel.PopExpired(Ticks{1} << 40), nullptr);
}

TEST_F(TimerWheelTest, ExpiresExactlyAtItsTickAtEveryDistance) {
  for (const auto& [now, distance] : Cases()) {
    SCOPED_TRACE(testing::Message() << now << " + " << distance);
    TimerWheel wheel(now);
    TestTimer timer;
    wheel.Arm(timer, now + distance);
    EXPECT_FALSE(wheel.empty());
    if (distance > 0) {
      // In two leaps: so that it has moved down by the second.
      EXPECT_EQ(wheel.PopExpired(now + distance / 2), nullptr);
      EXPECT_EQ(wheel.PopExpired(now + distance - 1), nullptr);
    }
    EXPECT_EQ(wheel.PopExpired(now + distance), &timer);
    EXPECT_EQ(wheel.PopExpired(now + distance), nullptr);
    EXPECT_TRUE(wheel.empty());
  }
}

TEST_F(TimerWheelTest, ALateLookFindsWhatExpiredBefore) {
  for (const Ticks distance : Distances()) {
    TimerWheel wheel(7);
    TestTimer timer;
    wheel.Arm(timer, 7 + distance);
    EXPECT_EQ(wheel.PopExpired(7 + 3 * distance + 1), &timer) << distance;
  }
}

TEST_F(TimerWheelTest, NextWorkLeadsToTheTickInAFewSteps) {
  for (const auto& [now, distance] : Cases()) {
    SCOPED_TRACE(testing::Message() << now << " + " << distance);
    TimerWheel wheel(now);
    TestTimer timer;
    wheel.Arm(timer, now + distance);
    Ticks before = now - 1;
    int steps = 0;
    for (;;) {
      const std::optional<Ticks> work = wheel.NextWork();
      ASSERT_TRUE(work.has_value());
      ASSERT_GT(*work, before) << "the same work again";
      ASSERT_LE(*work, now + distance) << "it would be late";
      before = *work;
      ++steps;
      Timer* const popped = wheel.PopExpired(*work);
      if (popped == nullptr) continue;
      EXPECT_EQ(popped, &timer);
      EXPECT_EQ(*work, now + distance);
      break;
    }
    EXPECT_LE(steps, 11) << "one for each level";
  }
}

TEST_F(TimerWheelTest, CanBeCancelledAtEveryDistanceBeforeAndAfterMovingDown) {
  for (const auto& [now, distance] : Cases()) {
    SCOPED_TRACE(testing::Message() << now << " + " << distance);
    TimerWheel wheel(now);
    TestTimer timer;
    EXPECT_FALSE(wheel.Cancel(timer)) << "it was not armed";
    wheel.Arm(timer, now + distance);
    EXPECT_TRUE(wheel.Cancel(timer));
    EXPECT_FALSE(wheel.Cancel(timer)) << "once is enough";
    EXPECT_TRUE(wheel.empty());
    EXPECT_EQ(wheel.NextWork(), std::nullopt);

    wheel.Arm(timer, now + distance);
    if (distance > 0) {
      EXPECT_EQ(wheel.PopExpired(now + distance - 1), nullptr);
    }
    EXPECT_TRUE(wheel.Cancel(timer));
    EXPECT_EQ(wheel.NextWork(), std::nullopt);
    EXPECT_EQ(wheel.PopExpired(now + 2 * distance), nullptr);
  }
}

TEST_F(TimerWheelTest, CancelTakesTheRightOneOutOfASharedSlot) {
  for (const size_t victim : {0, 1, 2}) {
    TimerWheel wheel(0);
    TestTimer timers[3];
    for (TestTimer& timer : timers) wheel.Arm(timer, 5'000);
    EXPECT_TRUE(wheel.Cancel(timers[victim]));
    EXPECT_EQ(wheel.PopExpired(4'999), nullptr);
    std::vector<Timer*> popped;
    while (Timer* timer = wheel.PopExpired(5'000)) popped.push_back(timer);
    EXPECT_EQ(popped.size(), 2u);
    EXPECT_EQ(std::count(popped.begin(), popped.end(), &timers[victim]), 0);
  }
}

TEST_F(TimerWheelTest, WhatIsInThePastExpiresAtTheNextLook) {
  TimerWheel wheel(1'000);
  TestTimer past, lowest;
  wheel.Arm(past, 1);
  wheel.Arm(lowest, std::numeric_limits<Ticks>::min());
  EXPECT_EQ(wheel.NextWork(), 1'000);
  EXPECT_EQ(PopAll(wheel, 1'000), 2);

  EXPECT_EQ(wheel.PopExpired(70'000), nullptr);
  wheel.Arm(past, 69'999);
  EXPECT_EQ(wheel.PopExpired(70'000), &past);
}

TEST_F(TimerWheelTest, EarlierTicksComeOutFirst) {
  TimerWheel wheel(0);
  const std::vector<Ticks> expiries = {4'097, 3, 262'144, 64,   63,
                                       65,    1, 4'096,   4'095};
  std::vector<std::unique_ptr<TestTimer>> timers;
  std::map<Timer*, Ticks> expiry_of;
  for (const Ticks expiry : expiries) {
    timers.push_back(std::make_unique<TestTimer>());
    expiry_of[timers.back().get()] = expiry;
    wheel.Arm(*timers.back(), expiry);
  }
  std::vector<Ticks> popped;
  while (Timer* timer = wheel.PopExpired(1'000'000)) {
    popped.push_back(expiry_of[timer]);
  }
  std::vector<Ticks> sorted = expiries;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(popped, sorted);
}

TEST_F(TimerWheelTest, WhatIsArmedAfterALeapIsCountedFromThere) {
  TimerWheel wheel(0);
  EXPECT_EQ(wheel.PopExpired(1'000'000), nullptr);
  TestTimer timer;
  wheel.Arm(timer, 1'000'010);
  EXPECT_EQ(wheel.PopExpired(1'000'009), nullptr);
  EXPECT_EQ(wheel.PopExpired(1'000'010), &timer);
}

TEST_F(TimerWheelTest, MillionsOfTicksApartEachComesAtItsOwn) {
  TimerWheel wheel(12'345);
  constexpr int kTimers = 500;
  constexpr Ticks kApart = 7'654'321;
  std::vector<std::unique_ptr<TestTimer>> timers;
  for (int i = 0; i < kTimers; ++i) {
    timers.push_back(std::make_unique<TestTimer>());
    wheel.Arm(*timers.back(), 12'345 + (i + 1) * kApart);
  }
  for (int i = 0; i < kTimers; ++i) {
    const Ticks expiry = 12'345 + (i + 1) * kApart;
    ASSERT_EQ(wheel.PopExpired(expiry - 1), nullptr);
    ASSERT_EQ(wheel.PopExpired(expiry), timers[i].get());
  }
}

TEST_F(TimerWheelTest, BeyondItsReachIsVeryLateAndCanBeCancelled) {
  TimerWheel wheel(36'000'000);
  TestTimer timer;
  wheel.Arm(timer, std::numeric_limits<Ticks>::max());
  constexpr Ticks kCentury = Ticks{100} * 365 * 24 * 3600 * 10'000;
  EXPECT_EQ(wheel.PopExpired(36'000'000 + kCentury), nullptr);
  EXPECT_TRUE(wheel.Cancel(timer));
}

// --- Against a plain model ---------------------------------------------------

class Model {
 public:
  Model(uint64_t seed, Ticks now) : random_(seed), now_(now), wheel_(now) {
    for (int i = 0; i < kTimers; ++i) {
      timers_.push_back(std::make_unique<TestTimer>());
      idle_.push_back(timers_.back().get());
    }
  }

  void Step() {
    switch (random_.Below(4)) {
      case 0:
      case 1:
        return Arm();
      case 2:
        return Cancel();
      default:
        return Advance();
    }
  }

  // So that the wheel may be destroyed.
  void CancelAll() {
    while (!armed_.empty() && !testing::Test::HasFatalFailure()) {
      CancelThe(armed_.begin());
    }
    EXPECT_TRUE(wheel_.empty());
    EXPECT_EQ(wheel_.NextWork(), std::nullopt);
  }

 private:
  static constexpr int kTimers = 300;
  using Armed = std::multimap<Ticks, Timer*>;

  void Arm() {
    if (idle_.empty()) return;
    std::swap(idle_[random_.Below(idle_.size())], idle_.back());
    Timer* const timer = idle_.back();
    idle_.pop_back();
    // Most ahead, near or far; some in the past.
    Ticks expiry = now_ + random_.Log(40);
    if (random_.OneIn(10)) expiry = now_ - random_.Log(20);
    wheel_.Arm(*timer, expiry);
    armed_.emplace(std::max(expiry, now_), timer);
  }

  void Cancel() {
    if (armed_.empty()) return;
    auto it = armed_.begin();
    std::advance(it, random_.Below(armed_.size()));
    CancelThe(it);
  }

  void CancelThe(Armed::iterator it) {
    ASSERT_TRUE(wheel_.Cancel(*it->second));
    ASSERT_FALSE(wheel_.Cancel(*it->second));
    idle_.push_back(it->second);
    armed_.erase(it);
  }

  void Advance() {
    // To the wheel's next work, to a timer's tick, or somewhere.
    const std::optional<Ticks> work = wheel_.NextWork();
    ASSERT_EQ(work.has_value(), !armed_.empty());
    if (work.has_value()) {
      ASSERT_LE(*work, armed_.begin()->first);
    }
    Ticks to = now_ + random_.Log(42);
    if (work.has_value() && random_.OneIn(2)) to = std::max(now_, *work);
    if (!armed_.empty() && random_.OneIn(4)) to = armed_.begin()->first;
    now_ = to;
    // All of one tick, in any order, before any of the next.
    while (Timer* timer = wheel_.PopExpired(now_)) {
      ASSERT_FALSE(armed_.empty()) << "it was not armed";
      const Ticks first = armed_.begin()->first;
      ASSERT_LE(first, now_) << "it is early";
      const auto [begin, end] = armed_.equal_range(first);
      const auto it = std::find_if(
          begin, end, [&](const auto& entry) { return entry.second == timer; });
      ASSERT_NE(it, end) << "another was due before";
      idle_.push_back(timer);
      armed_.erase(it);
    }
    if (!armed_.empty()) {
      ASSERT_GT(armed_.begin()->first, now_) << "one is late";
    }
    const std::optional<Ticks> next = wheel_.NextWork();
    if (next.has_value()) {
      ASSERT_GT(*next, now_);
    }
  }

  Random random_;
  Ticks now_;
  std::vector<std::unique_ptr<TestTimer>> timers_;
  TimerWheel wheel_;
  std::vector<Timer*> idle_;
  Armed armed_;
};

TEST_F(TimerWheelTest, DoesWhatASortedMapDoes) {
  const uint64_t seed = Seed();
  for (const Ticks now : Beginnings()) {
    Model model(seed + static_cast<uint64_t>(now), now);
    const int steps = Times(20'000);
    for (int i = 0; i < steps; ++i) {
      model.Step();
      if (HasFatalFailure()) break;
    }
    model.CancelAll();
    if (HasFatalFailure()) break;
  }
}

// --- Misuse ------------------------------------------------------------------

using TimerWheelDeathTest = TimerWheelTest;

TEST_F(TimerWheelDeathTest, ATimerMayNotBeArmedTwice) {
  TimerWheel wheel(0);
  TestTimer timer;
  wheel.Arm(timer, 10);
  EXPECT_DEATH(wheel.Arm(timer, 20), "a timer is armed twice");
  wheel.Cancel(timer);
}

TEST_F(TimerWheelDeathTest, ATimerMayNotDieWhileArmed) {
  TimerWheel wheel(0);
  auto timer = std::make_unique<TestTimer>();
  wheel.Arm(*timer, 10);
  EXPECT_DEATH(timer.reset(), "a timer dies while armed");
  wheel.Cancel(*timer);
}

TEST_F(TimerWheelDeathTest, AWheelMayNotDieWithTimersArmed) {
  auto wheel = std::make_unique<TimerWheel>(0);
  TestTimer timer;
  wheel->Arm(timer, 10);
  EXPECT_DEATH(wheel.reset(), "a timer wheel dies with timers armed");
  wheel->Cancel(timer);
}

}  // namespace
}  // namespace waitq
