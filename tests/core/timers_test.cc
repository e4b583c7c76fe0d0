#include "core/timers.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "core/clock.h"
#include "core/simulated_clock.h"
#include "gtest/gtest.h"
#include "tests/support/random.h"
#include "tests/support/wait_until.h"

namespace waitq {
namespace {

using test::Random;
using test::Seed;
using test::Times;
using test::WaitUntil;

// A timer that calls a function.
class CallTimer : public Timer {
 public:
  explicit CallTimer(std::function<void()> call = [] {})
      : Timer(&OnFire), call_(std::move(call)) {}

  int fired() const { return fired_; }

 private:
  static void OnFire(Timer& timer) {
    auto& self = static_cast<CallTimer&>(timer);
    ++self.fired_;
    self.call_();
  }

  const std::function<void()> call_;
  std::atomic<int> fired_ = 0;
};

class TimersTest : public testing::Test {
 protected:
  void TearDown() override {
    EXPECT_FALSE(timers().NextWork().has_value()) << "a timer is armed";
  }

  Timers& timers() { return clock_.timers(); }

  SimulatedClock clock_;
};

TEST_F(TimersTest, TicksAreRoundedDown) {
  const Ticks now = timers().NowTicks();
  EXPECT_EQ(now, absl::Hours(1) / kTick);
  clock_.Advance(kTick - absl::Nanoseconds(1));
  EXPECT_EQ(timers().NowTicks(), now);
  clock_.Advance(absl::Nanoseconds(1));
  EXPECT_EQ(timers().NowTicks(), now + 1);
}

TEST_F(TimersTest, ATimerIsNeverEarlyAndAtMostATickLate) {
  for (const int64_t begin_ns : {0, 1, 49'999, 50'000, 99'999}) {
    for (const int64_t length_ns :
         {0, 1, 99'999, 100'000, 100'001, 250'000, 6'400'000, 6'400'001}) {
      SCOPED_TRACE(testing::Message() << begin_ns << " + " << length_ns);
      // From a whole tick on.
      clock_.Advance(absl::Ceil(clock_.Now() - absl::UnixEpoch(), kTick) +
                     absl::UnixEpoch() - clock_.Now());
      clock_.Advance(absl::Nanoseconds(begin_ns));
      const absl::Time deadline = clock_.Now() + absl::Nanoseconds(length_ns);
      absl::Time fired_at;
      CallTimer timer([&] { fired_at = clock_.Now(); });
      timers().Arm(timer, deadline);
      EXPECT_EQ(clock_.Advance(absl::Seconds(1)), 1);
      EXPECT_GE(fired_at, deadline);
      EXPECT_LT(fired_at, deadline + kTick);
    }
  }
}

TEST_F(TimersTest, WhatIsInThePastFiresSoon) {
  CallTimer past, infinite_past;
  timers().Arm(past, clock_.Now() - absl::Minutes(1));
  timers().Arm(infinite_past, absl::InfinitePast());
  EXPECT_EQ(timers().RunExpired(), 2);
}

TEST_F(TimersTest, TheInfiniteFutureNeverComes) {
  CallTimer timer;
  timers().Arm(timer, absl::InfiniteFuture());
  EXPECT_FALSE(timers().NextWork().has_value());
  EXPECT_EQ(clock_.Advance(absl::Hours(24 * 365)), 0);
  EXPECT_FALSE(timers().Cancel(timer)) << "it is not armed";
}

TEST_F(TimersTest, ACancelledTimerDoesNotFire) {
  CallTimer timer;
  EXPECT_FALSE(timers().Cancel(timer)) << "never armed";
  timers().Arm(timer, clock_.Now() + kTick);
  EXPECT_TRUE(timers().Cancel(timer));
  EXPECT_FALSE(timers().Cancel(timer));
  EXPECT_EQ(clock_.Advance(absl::Seconds(1)), 0);
  EXPECT_EQ(timer.fired(), 0);
}

TEST_F(TimersTest, CancelComesTooLateForAFiredTimer) {
  CallTimer timer;
  timers().Arm(timer, clock_.Now() + kTick);
  EXPECT_EQ(clock_.Advance(kTick), 1);
  EXPECT_FALSE(timers().Cancel(timer));
  EXPECT_FALSE(timers().CancelSync(timer));
}

TEST_F(TimersTest, AFiredTimerMayBeArmedAgain) {
  CallTimer timer;
  for (int i = 1; i <= 3; ++i) {
    timers().Arm(timer, clock_.Now() + kTick);
    clock_.Advance(kTick);
    EXPECT_EQ(timer.fired(), i);
  }
}

TEST_F(TimersTest, ATimerMayArmItselfAgain) {
  std::unique_ptr<CallTimer> timer;
  timer = std::make_unique<CallTimer>([&] {
    if (timer->fired() < 10) {
      timers().Arm(*timer, clock_.Now() + 10 * kTick);
    }
  });
  timers().Arm(*timer, clock_.Now() + 10 * kTick);
  EXPECT_EQ(clock_.Advance(99 * kTick), 9);
  EXPECT_EQ(clock_.Advance(kTick), 1);
}

TEST_F(TimersTest, ATimerMayArmAndCancelOthers) {
  CallTimer cancelled, armed;
  CallTimer timer([&] {
    EXPECT_TRUE(timers().Cancel(cancelled));
    EXPECT_TRUE(timers().CancelSync(cancelled) == false);
    timers().Arm(armed, clock_.Now());  // due at once
  });
  timers().Arm(timer, clock_.Now() + kTick);
  timers().Arm(cancelled, clock_.Now() + 2 * kTick);
  EXPECT_EQ(clock_.Advance(10 * kTick), 2);
  EXPECT_EQ(cancelled.fired(), 0);
  EXPECT_EQ(armed.fired(), 1);
}

TEST_F(TimersTest, NextWorkIsTheEarliestTickOrBefore) {
  CallTimer late, early;
  timers().Arm(late, clock_.Now() + absl::Seconds(50));
  timers().Arm(early, clock_.Now() + 3 * kTick);
  ASSERT_TRUE(timers().NextWork().has_value());
  EXPECT_LE(*timers().NextWork(), clock_.Now() + 3 * kTick);
  EXPECT_GT(*timers().NextWork(), clock_.Now());
  timers().Cancel(late);
  timers().Cancel(early);
}

// --- CancelSync --------------------------------------------------------------

// Guards the wait for `running_` in Timers::CancelSync().
TEST_F(TimersTest, CancelSyncReturnsOnlyWhenAFiringTimerIsOver) {
  std::atomic<bool> firing = false;
  std::atomic<bool> cancelling = false;
  std::atomic<bool> cancel_returned = false;
  std::atomic<bool> fire_over = false;
  CallTimer timer([&] {
    firing = true;
    // On the way for as long as the other may need to come back too early.
    WaitUntil([&] { return cancelling.load(); });
    for (int i = 0; i < 10'000 && !cancel_returned; ++i) {
      std::this_thread::yield();
    }
    fire_over = true;
  });
  timers().Arm(timer, clock_.Now());
  std::thread runner([&] { EXPECT_EQ(timers().RunExpired(), 1); });
  WaitUntil([&] { return firing.load(); });
  cancelling = true;
  EXPECT_FALSE(timers().CancelSync(timer)) << "it fires";
  EXPECT_TRUE(fire_over);
  cancel_returned = true;
  runner.join();
}

TEST_F(TimersTest, CancelDoesNotWaitForAFiringTimer) {
  std::atomic<bool> firing = false;
  std::atomic<bool> go_on = false;
  CallTimer timer([&] {
    firing = true;
    WaitUntil([&] { return go_on.load(); });
  });
  timers().Arm(timer, clock_.Now());
  std::thread runner([&] { timers().RunExpired(); });
  WaitUntil([&] { return firing.load(); });
  EXPECT_FALSE(timers().Cancel(timer));
  CallTimer other;
  timers().Arm(other, clock_.Now());
  EXPECT_TRUE(timers().CancelSync(other)) << "another one fires, not this";
  go_on = true;
  runner.join();
}

// With the address and thread sanitizers: the timer is gone right after.
// Guards the same line.
TEST_F(TimersTest, ATimerOnAStackIsSafeAfterCancelSync) {
  const int rounds = Times(20'000);
  std::atomic<bool> stop = false;
  std::atomic<int> fired = 0;
  std::thread runner([&] {
    while (!stop) {
      timers().RunExpired();
      std::this_thread::yield();
    }
  });
  int cancelled = 0;
  for (int i = 0; i < rounds; ++i) {
    CallTimer timer([&] { ++fired; });
    timers().Arm(timer, clock_.Now());
    if (i % 2 == 0) std::this_thread::yield();
    if (timers().CancelSync(timer)) {
      ++cancelled;
      ASSERT_EQ(timer.fired(), 0);
    } else {
      ASSERT_EQ(timer.fired(), 1);
    }
  }
  stop = true;
  runner.join();
  EXPECT_EQ(fired + cancelled, rounds);
}

// --- On the real clock -------------------------------------------------------

class ServeTest : public testing::Test {
 protected:
  void TearDown() override {
    EXPECT_FALSE(timers_.NextWork().has_value()) << "a timer is armed";
  }

  Timers timers_{&Clock::Real()};
};

TEST_F(ServeTest, NoTimerIsEarly) {
  constexpr int kTimers = 500;
  Random random(Seed());
  TimerThread thread(&timers_);
  std::vector<std::unique_ptr<CallTimer>> timers;
  std::atomic<int> fired = 0;
  std::atomic<int> early = 0;
  for (int i = 0; i < kTimers; ++i) {
    const absl::Time deadline =
        Clock::Real().Now() + absl::Nanoseconds(random.Below(50'000'000));
    timers.push_back(std::make_unique<CallTimer>([&, deadline] {
      if (Clock::Real().Now() < deadline) ++early;
      ++fired;
    }));
    timers_.Arm(*timers.back(), deadline);
  }
  WaitUntil([&] { return fired == kTimers; });
  EXPECT_EQ(early, 0);
}

// Guards serve_.NotifyOne() in Timers::ArmTicks().
TEST_F(ServeTest, AnEarlierTimerCutsTheWaitForALaterOneShort) {
  TimerThread thread(&timers_);
  CallTimer late;
  timers_.Arm(late, Clock::Real().Now() + absl::Hours(100));
  for (int i = 0; i < 20; ++i) {
    CallTimer soon;
    timers_.Arm(soon, Clock::Real().Now() + absl::Milliseconds(1));
    WaitUntil([&] { return soon.fired() == 1; });
    timers_.CancelSync(soon);
  }
  EXPECT_TRUE(timers_.Cancel(late));
  EXPECT_EQ(late.fired(), 0);
}

TEST_F(ServeTest, ATimerThatIsArmedWhileNoneIsThereFires) {
  TimerThread thread(&timers_);
  for (int i = 0; i < 20; ++i) {
    CallTimer timer;
    timers_.Arm(timer, Clock::Real().Now());
    WaitUntil([&] { return timer.fired() == 1; });
    timers_.CancelSync(timer);
  }
}

TEST_F(ServeTest, StopsWhileItSleepsForALateTimer) {
  CallTimer late;
  timers_.Arm(late, Clock::Real().Now() + absl::Hours(100));
  { TimerThread thread(&timers_); }
  { TimerThread again(&timers_); }
  EXPECT_TRUE(timers_.Cancel(late));
}

TEST(RealTimersTest, AreThereForEverybody) {
  const absl::Time deadline = Clock::Real().Now() + absl::Milliseconds(2);
  std::atomic<bool> early = false;
  CallTimer timer([&] { early = Clock::Real().Now() < deadline; });
  Timers::Real().Arm(timer, deadline);
  WaitUntil([&] { return timer.fired() == 1; });
  Timers::Real().CancelSync(timer);
  EXPECT_FALSE(early);
}

// --- Misuse ------------------------------------------------------------------

TEST(TimersDeathTest, TwoThreadsMayNotRunThemAtOnce) {
  SimulatedClock clock;
  CallTimer timer([&] { clock.timers().RunExpired(); });
  clock.timers().Arm(timer, clock.Now());
  EXPECT_DEATH(clock.timers().RunExpired(),
               "timers are run by two threads at once");
  clock.timers().Cancel(timer);
}

}  // namespace
}  // namespace waitq
