// The specification's cases of signals, by number: what ends which sleep, and
// that an exclusive sleeper which is interrupted or times out swallows no
// wake-up.

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <functional>

#include "absl/time/time.h"
#include "core/task.h"
#include "core/wait_event.h"
#include "core/wait_queue.h"
#include "gtest/gtest.h"
#include "tests/core/stage.h"
#include "tests/support/random.h"
#include "tests/support/wait_until.h"

namespace waitq {
namespace {

using test::Actor;
using test::CountQueued;
using test::Random;
using test::Rounds;
using test::Seed;
using test::Stage;
using test::Tokens;
using test::WaitUntil;

class SpecSignalTest : public test::StageTest {
 protected:
  auto interruptible_wait() {
    return [this] { return WaitEventInterruptible(queue_, condition()); };
  }
  auto timed_wait(Ticks timeout) {
    return [this, timeout] {
      return WaitEventInterruptibleTimeout(queue_, condition(), timeout);
    };
  }
  auto exclusive_take() {
    return [this] { return WaitEventInterruptibleExclusive(queue_, take()); };
  }
};

// --- Condition, signal and timeout -------------------------------------------

TEST_F(SpecSignalTest, Spec12_AtEntryTheConditionBeatsASignal) {
  condition_ = true;
  Actor& waiter = stage_.Enter([&] {
    Task::Current().PostSignal(SIGTERM);
    return WaitEventInterruptible(queue_, condition());
  });
  EXPECT_EQ(waiter.Result(), 0);
  EXPECT_TRUE(waiter.task().SignalPending()) << "left for the next sleep";
}

TEST_F(SpecSignalTest, Spec13_APendingSignalForbidsToQueueAndToSleep) {
  Actor& waiter = stage_.Enter([&] {
    Task::Current().PostSignal(SIGTERM);
    return WaitEventInterruptible(queue_, [&] {
      EXPECT_FALSE(queue_.HasSleeper());
      return false;
    });
  });
  EXPECT_EQ(waiter.Result(), -kErestartsys);
  EXPECT_EQ(waiter.passages(PausePoint::kStateSet), 0);
  EXPECT_EQ(waiter.passages(PausePoint::kBeforeSleep), 0);
}

TEST_F(SpecSignalTest, Spec14_AfterASleepTheConditionBeatsASignal) {
  for (const bool signal_first : {true, false}) {
    condition_ = false;
    Actor& waiter = stage_.EnterAsleep(interruptible_wait());
    waiter.StopAt(PausePoint::kAfterSleep);
    if (signal_first) waiter.task().SendSignal(SIGTERM);
    MakeTrueAndWake();
    if (!signal_first) waiter.task().SendSignal(SIGTERM);
    waiter.AwaitStopped();
    waiter.GoOn();
    EXPECT_EQ(waiter.Result(), 0) << signal_first;
  }
}

TEST_F(SpecSignalTest, Spec15_ATimeoutInTicksBeatsASignal) {
  for (const bool signal_first : {true, false}) {
    Actor& waiter = stage_.EnterAsleep(timed_wait(10));
    waiter.StopAt(PausePoint::kAfterSleep);
    if (signal_first) waiter.task().SendSignal(SIGTERM);
    stage_.Pass(10);
    if (!signal_first) waiter.task().SendSignal(SIGTERM);
    waiter.GoOn();
    EXPECT_EQ(waiter.Result(), 0) << signal_first;
  }
  Actor& waiter = stage_.EnterAsleep(timed_wait(10));
  stage_.Pass(3);
  waiter.task().SendSignal(SIGTERM);
  EXPECT_EQ(waiter.Result(), -kErestartsys) << "time was left";
}

TEST_F(SpecSignalTest, Spec16_ASignalBeatsATimeoutAsADuration) {
  struct {
    bool signal;
    bool condition;
    int result;
  } const rows[] = {
      {true, false, -kErestartsys},
      {false, false, -ETIME},
      {false, true, 0},
      {true, true, 0},
  };
  for (const auto& row : rows) {
    condition_ = false;
    Actor& waiter = stage_.EnterAsleep([&] {
      return WaitEventInterruptibleHrtimeout(queue_, condition(), 10 * kTick);
    });
    waiter.StopAt(PausePoint::kAfterSleep);
    EXPECT_EQ(stage_.clock().Advance(10 * kTick - Stage::kInstant), 0);
    EXPECT_TRUE(waiter.asleep());
    EXPECT_EQ(stage_.clock().Advance(Stage::kInstant), 1);
    if (row.signal) waiter.task().SendSignal(SIGTERM);
    condition_ = row.condition;
    waiter.GoOn();
    EXPECT_EQ(waiter.Result(), row.result);
  }
}

// --- Which signal ends which sleep -------------------------------------------

TEST_F(SpecSignalTest, Spec17_NotEvenSigkillEndsAnUninterruptibleSleep) {
  Actor& waiter = stage_.EnterAsleep([&] { WaitEvent(queue_, condition()); });
  waiter.task().SendSignal(SIGKILL);
  EXPECT_TRUE(waiter.asleep());
  EXPECT_EQ(waiter.task().state(), kUninterruptible);
  MakeTrueAndWake();
  EXPECT_EQ(waiter.Result(), 0);
  EXPECT_EQ(waiter.sleeps(), 1);
}

TEST_F(SpecSignalTest, Spec18_AKillableSleepEndsOnFatalSignalsOnly) {
  struct {
    int signal;
    bool handled;
    bool ends;
  } const rows[] = {
      {SIGTERM, true, false},
      {SIGKILL, false, true},
      {SIGTERM, false, true},
      {SIGQUIT, false, false},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(testing::Message() << row.signal << " " << row.handled);
    condition_ = false;
    Actor& waiter = stage_.EnterAsleep([&] {
      if (row.handled) {
        Task::Current().dispositions().handled = SignalSet::Of(row.signal);
      }
      return WaitEventKillable(queue_, condition());
    });
    waiter.task().SendSignal(row.signal);
    EXPECT_EQ(!waiter.asleep(), row.ends);
    if (!row.ends) MakeTrueAndWake();
    EXPECT_EQ(waiter.Result(), row.ends ? -kErestartsys : 0);
    EXPECT_EQ(waiter.sleeps(), 1);
  }
}

TEST_F(SpecSignalTest, Spec19_BlockedAndIgnoredSignalsEndNoSleep) {
  struct {
    int signal;
    bool blocked;
    bool ignored;
  } const rows[] = {
      {SIGTERM, true, false},
      {SIGTERM, false, true},
      {SIGCHLD, false, false},  // these are ignored unless handled
      {SIGWINCH, false, false},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.signal);
    condition_ = false;
    Actor& waiter = stage_.EnterAsleep([&] {
      SignalDispositions& own = Task::Current().dispositions();
      if (row.blocked) own.blocked = SignalSet::Of(row.signal);
      if (row.ignored) own.ignored = SignalSet::Of(row.signal);
      return WaitEventInterruptible(queue_, condition());
    });
    waiter.task().SendSignal(row.signal);
    EXPECT_TRUE(waiter.asleep());
    MakeTrueAndWake();
    EXPECT_EQ(waiter.Result(), 0);
    EXPECT_EQ(waiter.sleeps(), 1);
  }
}

TEST_F(SpecSignalTest, Spec20_ASignalBetweenItsTestAndTheSleepForbidsTheSleep) {
  // The sender makes the signal pending first, and wakes then: it may be
  // between the two, or through.
  for (const bool through : {false, true}) {
    Actor& waiter =
        stage_.EnterUpTo(PausePoint::kBeforeSleep, interruptible_wait());
    if (through) {
      waiter.task().SendSignal(SIGTERM);
    } else {
      waiter.task().PostSignal(SIGTERM);
    }
    waiter.GoOn();
    WaitUntil([&] { return waiter.returned() || waiter.asleep(); });
    EXPECT_EQ(waiter.sleeps(), 0) << through;
    if (waiter.asleep()) waiter.task().SendSignal(SIGTERM);
    EXPECT_EQ(waiter.Result(), -kErestartsys);
  }
}

// --- No wake-up is swallowed -------------------------------------------------

TEST_F(SpecSignalTest, Spec30_ACancelledExclusiveWaiterPassesItsWakeUpOn) {
  // Both run after the wake-up; either may get to the token first.
  for (const bool cancelled_is_first : {false, true}) {
    SCOPED_TRACE(cancelled_is_first);
    Actor& x1 = stage_.EnterAsleep(exclusive_take());
    Actor& x2 = stage_.EnterAsleep(exclusive_take());
    x1.StopAt(PausePoint::kBeforeEnqueue);
    if (cancelled_is_first) x2.StopAt(PausePoint::kAfterSleep);
    x1.task().SendSignal(SIGTERM);
    x1.AwaitStopped();
    EXPECT_EQ(CountQueued(queue_), 2) << "signalled, and still in line";
    EXPECT_EQ(PostAndWake(), 1);
    EXPECT_EQ(x1.task().state(), kRunning);
    if (cancelled_is_first) {
      x1.GoOn();
      EXPECT_EQ(x1.Result(), 0) << "it finds the token";
      x2.GoOn();
      x2.AwaitAsleep();
      EXPECT_EQ(PostAndWake(), 1);
      EXPECT_EQ(x2.Result(), 0);
    } else {
      EXPECT_EQ(x2.Result(), 0) << "the wake-up was passed on";
      x1.GoOn();
      EXPECT_EQ(x1.Result(), -kErestartsys);
    }
    EXPECT_EQ(tokens_.left(), 0);
  }
}

TEST_F(SpecSignalTest,
       Spec31_AChosenWaiterThatIsSignalledTakesWhatItWasWokenFor) {
  Actor& x1 = stage_.EnterAsleep(exclusive_take());
  Actor& x2 = stage_.EnterAsleep(exclusive_take());
  x1.StopAt(PausePoint::kAfterSleep);
  EXPECT_EQ(PostAndWake(), 1);
  EXPECT_EQ(CountQueued(queue_), 1) << "the waker has taken X1 out";
  x1.task().SendSignal(SIGTERM);
  x1.GoOn();
  EXPECT_EQ(x1.Result(), 0);
  EXPECT_EQ(tokens_.left(), 0);
  EXPECT_TRUE(x2.asleep());
  EXPECT_EQ(x2.sleeps(), 1) << "nobody needs it";
  x2.task().SendSignal(SIGTERM);
  EXPECT_EQ(x2.Result(), -kErestartsys);
}

TEST_F(SpecSignalTest, Spec32_AWakeUpAfterTheInterruptionGoesToTheNext) {
  // X1 is out already, and tests a last time; the wake-up comes before this
  // test, but X1 looked too early to see it. Or it is quite gone.
  for (const bool gone : {false, true}) {
    SCOPED_TRACE(gone);
    int interrupted_tests = 0;
    Actor& x1 = stage_.EnterAsleep([&] {
      return WaitEventInterruptibleExclusive(queue_, [&] {
        if (!Task::Current().SignalPending()) return tokens_.Take();
        // The first is while it is still queued, the second after that.
        if (++interrupted_tests == 2 && !gone) {
          EXPECT_EQ(CountQueued(queue_), 1);
          EXPECT_EQ(PostAndWake(), 1);
        }
        return false;
      });
    });
    Actor& x2 = stage_.EnterAsleep(exclusive_take());
    x1.task().SendSignal(SIGTERM);
    EXPECT_EQ(x1.Result(), -kErestartsys);
    EXPECT_EQ(interrupted_tests, 2);
    if (gone) {
      EXPECT_EQ(CountQueued(queue_), 1);
      EXPECT_EQ(PostAndWake(), 1);
    }
    EXPECT_EQ(x2.Result(), 0);
    EXPECT_EQ(tokens_.left(), 0);
  }
}

TEST_F(SpecSignalTest, Spec34_ATimedOutExclusiveWaiterSwallowsNoWakeUp) {
  Actor& x1 = stage_.EnterAsleep(
      [&] { return WaitEventIdleExclusiveTimeout(queue_, take(), 10); });
  Actor& x2 =
      stage_.EnterAsleep([&] { WaitEventIdleExclusive(queue_, take()); });
  x1.StopAt(PausePoint::kBeforeFinish);
  EXPECT_EQ(stage_.Pass(10), 1);
  x1.AwaitStopped();
  EXPECT_EQ(CountQueued(queue_), 2) << "its time is over, and it is in line";
  EXPECT_EQ(PostAndWake(), 1);
  WaitUntil([&] { return x2.returned() || x2.asleep(); });
  EXPECT_TRUE(x2.returned());
  x1.GoOn();
  EXPECT_EQ(x1.Result(), 0);
  if (!x2.returned()) queue_.WakeUp();
  EXPECT_EQ(x2.Result(), 0);
  EXPECT_EQ(tokens_.left(), 0);
}

// Takers with and without a timeout, one wake-up for each token, and whatever
// else can end their sleeps. Who has failed leaves: a wake-up that it has
// swallowed stays swallowed.
TEST_F(SpecSignalTest, Spec33_EveryTokenIsTakenWhateverElseEndsTheSleeps) {
  constexpr int kTakers = 4;
  Random random(Seed());
  const int rounds = Rounds(1'000, 50'000);
  for (int round = 0; round < rounds; ++round) {
    std::atomic<int> taken = 0, posted = 0;
    std::atomic<bool> over = false;
    const auto take_or_over = [&] { return tokens_.Take() || over; };
    const auto take_until_failure = [&](bool timed) {
      while (!over) {
        if (timed) {
          // The one form that wait_event() does not have.
          if (internal::WaitEventTimeout(internal::ExclusivelyIn(queue_),
                                         kInterruptible, take_or_over,
                                         5) <= 0) {
            break;
          }
        } else if (WaitEventInterruptibleExclusive(queue_, take_or_over) != 0) {
          break;
        }
        if (!over) ++taken;
      }
    };
    std::array<Actor*, kTakers> takers;
    for (int i = 0; i < kTakers; ++i) {
      takers[i] = &stage_.Enter(
          [&take_until_failure, i] { take_until_failure(i % 2 == 0); });
    }
    if (random.OneIn(2)) takers[0]->AwaitAsleep();
    // A rival: signals, or time that passes.
    Actor& noise =
        stage_.Enter([&, own = Random(random.Below(1 << 30))]() mutable {
          for (uint64_t n = own.Below(3); n > 0; --n) {
            takers[own.Below(kTakers)]->task().SendSignal(SIGTERM);
            if (own.OneIn(2)) stage_.Pass(static_cast<Ticks>(own.Below(4)));
          }
        });
    for (uint64_t n = random.Below(4); n > 0; --n) {
      ++posted;
      PostAndWake();
    }
    noise.Result();
    // From here on nobody is woken any more.
    int asleep = 0;
    WaitUntil([&] {
      asleep = 0;
      int left = 0;
      for (Actor* taker : takers) {
        if (taker->returned()) {
          ++left;
        } else if (taker->asleep()) {
          ++asleep;
        }
      }
      return asleep + left == kTakers;
    });
    EXPECT_EQ(taken + tokens_.left(), posted);
    EXPECT_TRUE(tokens_.left() == 0 || asleep == 0)
        << tokens_.left() << " tokens, and " << asleep << " asleep";
    over = true;
    while (tokens_.Take()) {
    }
    queue_.WakeUpAll();
    stage_.Clear();
    if (HasFailure()) break;
  }
}

}  // namespace
}  // namespace waitq
