// The specification's cases of polling helpers, by number.

#include <atomic>
#include <cerrno>
#include <csignal>

#include "absl/time/time.h"
#include "core/atomic_context.h"
#include "core/clock.h"
#include "core/iopoll.h"
#include "core/might_sleep.h"
#include "core/pause.h"
#include "core/task.h"
#include "core/timers.h"
#include "gtest/gtest.h"
#include "tests/core/stage.h"

namespace waitq {
namespace {

using absl::Microseconds;
using test::Actor;
using test::Stage;

constexpr absl::Duration kNone = absl::ZeroDuration();

// A clock that goes on by itself whenever somebody looks.
class TickingClock final : public Clock {
 public:
  absl::Time Now() const override { return now_ += absl::Nanoseconds(10); }

 private:
  mutable absl::Time now_ = absl::UnixEpoch();
};

class SpecIopollTest : public testing::Test {
 protected:
  // Reads 1, 2, 3, and so on.
  auto read() {
    return [this] { return ++reads_; };
  }
  static auto at_least(int n) {
    return [n](int value) { return value >= n; };
  }
  static auto never() {
    return [](int) { return false; };
  }

  std::atomic<int> reads_ = 0;
  std::atomic<int> value_ = 0;
  Stage stage_;
};

// The form that spins, on a clock that goes on by itself.
class SpecIopollAtomicTest : public SpecIopollTest {
 protected:
  SpecIopollAtomicTest() : timers_before_(&Task::Current().timers()) {
    Task::Current().set_timers(&timers_);
  }
  ~SpecIopollAtomicTest() override {
    Task::Current().set_timers(timers_before_);
  }

  // How many reads it takes to fail.
  int ReadsOfFailure(absl::Duration delay, absl::Duration timeout,
                     bool before = false) {
    reads_ = 0;
    EXPECT_EQ(
        ReadPollTimeoutAtomic(read(), value_, never(), delay, timeout, before),
        -ETIMEDOUT);
    EXPECT_EQ(value_, reads_);
    return reads_;
  }

  TickingClock clock_;
  Timers timers_{&clock_};
  Timers* const timers_before_;
};

TEST_F(SpecIopollTest, Spec56_TheReadAfterTheDeadlineCounts) {
  // Stalled between the look at the time and the read, and longer.
  for (const bool holds : {true, false}) {
    reads_ = 0;
    Actor& poller = stage_.EnterAsleep([&] {
      return ReadPollTimeout(
          read(), value_, [&](int value) { return holds && value == 2; },
          Microseconds(400), Microseconds(500));
    });
    EXPECT_EQ(reads_, 1);
    stage_.clock().AdvanceWithoutTimers(absl::Seconds(5));
    EXPECT_EQ(stage_.Pass(0), 1);
    EXPECT_EQ(poller.Result(), holds ? 0 : -ETIMEDOUT);
    EXPECT_EQ(reads_, 2);
    EXPECT_EQ(value_, 2) << "what was read last";
  }
}

TEST_F(SpecIopollTest, Spec56_AStallAfterTheReadIsFollowedByAnother) {
  // The first read is in time; the machine then stands still until it is over.
  const auto read_and_stall = [&] {
    if (++reads_ == 1) stage_.clock().AdvanceWithoutTimers(absl::Seconds(5));
    return reads_.load();
  };
  Actor& poller = stage_.Enter([&] {
    return ReadPollTimeout(read_and_stall, value_, at_least(2), kNone,
                           absl::Seconds(1));
  });
  EXPECT_EQ(poller.Result(), 0);
  EXPECT_EQ(reads_, 2);
}

TEST_F(SpecIopollTest, Spec56_TheTimeIsOverAfterTheDeadlineNotAtIt) {
  Actor& poller = stage_.EnterAsleep([&] {
    return ReadPollTimeout(read(), value_, never(), 4 * kTick, kTick);
  });
  stage_.Pass(2);  // a quarter of the sleep, and 1 us, rounded up
  EXPECT_EQ(poller.Result(), -ETIMEDOUT);
  EXPECT_EQ(reads_, 2);

  // Exactly at the deadline there is one turn more.
  reads_ = 0;
  Actor& exact = stage_.EnterAsleep([&] {
    return ReadPollTimeout(read(), value_, never(), 4 * kTick, 2 * kTick);
  });
  stage_.Pass(2);
  test::WaitUntil([&] { return exact.sleeps() == 2; });
  exact.AwaitAsleep();
  EXPECT_EQ(reads_, 2);
  stage_.Pass(2);
  EXPECT_EQ(exact.Result(), -ETIMEDOUT);
  EXPECT_EQ(reads_, 3);
}

TEST_F(SpecIopollTest, Spec56_ASignalDoesNotEndIt) {
  Actor& poller = stage_.EnterAsleep([&] {
    return ReadPollTimeout(read(), value_, at_least(2), kTick,
                           absl::Seconds(1));
  });
  poller.task().SendSignal(SIGKILL);
  EXPECT_TRUE(poller.asleep());
  stage_.Pass(1);
  EXPECT_EQ(poller.Result(), 0);
}

TEST_F(SpecIopollAtomicTest, Spec57_HowOftenTheAtomicFormReads) {
  const absl::Duration us = Microseconds(1);
  EXPECT_EQ(ReadsOfFailure(3 * us, 10 * us), 5);
  EXPECT_EQ(ReadsOfFailure(3 * us, 9 * us), 4);
  EXPECT_EQ(ReadsOfFailure(kNone, us), 1002);
  EXPECT_EQ(ReadsOfFailure(10 * us, 5 * us, /*before=*/true), 1);
  EXPECT_EQ(ReadsOfFailure(3 * us, 10 * us, /*before=*/true), 4);
  for (int64_t timeout = 1; timeout < 20; ++timeout) {
    for (int64_t delay = 0; delay < 6; ++delay) {
      EXPECT_EQ(ReadsOfFailure(delay * us, timeout * us),
                timeout * 1000 / (delay * 1000 + 1) + 2);
    }
  }
}

TEST_F(SpecIopollAtomicTest, Spec57_ATimeoutOfZeroNeverComes) {
  EXPECT_EQ(ReadPollTimeoutAtomic(read(), value_, at_least(50'000),
                                  Microseconds(1), kNone),
            0);
  EXPECT_EQ(value_, 50'000);
  reads_ = 0;
  EXPECT_EQ(ReadPollTimeout(read(), value_, at_least(50'000), kNone, kNone), 0);
  EXPECT_EQ(value_, 50'000);
}

TEST_F(SpecIopollAtomicTest, TheAtomicFormSpinsForTheDelay) {
  const absl::Time begin = clock_.Now();
  EXPECT_EQ(ReadPollTimeoutAtomic(read(), value_, at_least(5), Microseconds(3),
                                  Microseconds(100)),
            0);
  EXPECT_GE(clock_.Now() - begin, Microseconds(12));
}

TEST_F(SpecIopollTest, Spec58_SleepingBeforeForNoTimeIsNoSleep) {
  Actor& poller = stage_.Enter([&] {
    return ReadPollTimeout(read(), value_, at_least(3), kNone, kTick,
                           /*sleep_before=*/true);
  });
  EXPECT_EQ(poller.Result(), 0);
  EXPECT_EQ(poller.passages(PausePoint::kBeforeSleep), 0);

  reads_ = 0;
  Actor& sleeper = stage_.EnterAsleep([&] {
    return ReadPollTimeout(read(), value_, at_least(1), kTick, kTick,
                           /*sleep_before=*/true);
  });
  EXPECT_EQ(reads_, 0);
  stage_.Pass(1);
  EXPECT_EQ(sleeper.Result(), 0);
}

TEST_F(SpecIopollTest, Spec58_OnlyWhoSleepsIsReportedInAtomicContext) {
  const SleepReporter before = SetSleepReporter(nullptr);
  const auto reports_of = [&](absl::Duration sleep) {
    const int64_t reports = SleepReports(SleepReport::kAtomic);
    const AtomicContext atomic;
    EXPECT_EQ(ReadPollTimeout(read(), value_, at_least(0), sleep, kNone), 0);
    return SleepReports(SleepReport::kAtomic) - reports;
  };
  EXPECT_EQ(reports_of(kNone), 0);
  EXPECT_EQ(reports_of(Microseconds(1)), 1);
  SetSleepReporter(before);
}

TEST_F(SpecIopollTest, AConditionThatHoldsAtOnceIsReadOnce) {
  EXPECT_EQ(
      ReadPollTimeout(read(), value_, at_least(1), Microseconds(1), kTick), 0);
  EXPECT_EQ(reads_, 1);
}

}  // namespace
}  // namespace waitq
