// The condition is called at known places, which makes it the test's hook:
// first at entry, before anything is queued; then with the entry queued and the
// state set, right before the sleep; then after each sleep, while running.

#include "core/wait_event.h"

#include <atomic>
#include <csignal>
#include <deque>

#include "absl/time/time.h"
#include "core/simulated_clock.h"
#include "core/wait_queue.h"
#include "gtest/gtest.h"
#include "tests/core/sleeper.h"
#include "tests/support/random.h"
#include "tests/support/rival.h"
#include "tests/support/wait_until.h"

namespace waitq {
namespace {

using test::Rival;
using test::Seed;
using test::Sleeper;
using test::Times;
using test::WaitUntil;

class WaitEventTest : public testing::Test {
 protected:
  WaitEventTest() { Task::Current().set_timers(&timers()); }
  ~WaitEventTest() override { Task::Current().set_timers(&Timers::Real()); }

  void TearDown() override {
    EXPECT_FALSE(queue_.HasSleeper()) << "somebody is left";
    EXPECT_FALSE(timers().NextWork().has_value()) << "a timer is armed";
    EXPECT_EQ(Task::Current().state(), kRunning);
    EXPECT_FALSE(Task::Current().SignalPending());
  }

  Timers& timers() { return clock_.timers(); }
  auto condition() {
    return [this] { return condition_.load(); };
  }
  void MakeTrueAndWake() {
    condition_ = true;
    queue_.WakeUp();
  }
  // A signal to the test's own thread, before it sleeps.
  void PostSignal() { Task::Current().PostSignal(SIGTERM); }
  void ForgetSignals() {
    Task::Current().ClearSignal(SIGTERM);
    Task::Current().ClearSignal(SIGKILL);
  }

  SimulatedClock clock_;
  WaitQueue queue_;
  std::atomic<bool> condition_ = false;
};

// --- Without a timeout -------------------------------------------------------

TEST_F(WaitEventTest, ATrueConditionDoesNotEvenQueue) {
  int calls = 0;
  WaitEvent(queue_, [&] {
    ++calls;
    EXPECT_FALSE(queue_.HasSleeper());
    return true;
  });
  EXPECT_EQ(calls, 1);
}

TEST_F(WaitEventTest, TheConditionIsTestedQueuedAndWithTheStateSet) {
  struct {
    TaskState state;
    bool interruptible;
  } const rows[] = {{kUninterruptible, false}, {kInterruptible, true}};
  for (const auto& row : rows) {
    int calls = 0;
    const auto test = [&] {
      if (++calls == 1) return false;
      EXPECT_TRUE(queue_.HasSleeper());
      EXPECT_EQ(Task::Current().state(), row.state);
      return true;
    };
    if (row.interruptible) {
      EXPECT_EQ(WaitEventInterruptible(queue_, test), 0);
    } else {
      WaitEvent(queue_, test);
    }
    EXPECT_EQ(calls, 2);
  }
}

// Guards the order in WaitEventLoop(): queue and set the state, then test. A
// test before that would lose this wake-up.
TEST_F(WaitEventTest, AWakeUpBetweenTestAndQueueingIsNotLost) {
  int calls = 0;
  WaitEvent(queue_, [&] {
    const bool was = condition_;
    // Not seen by the waker, and it does not see the waker.
    if (++calls == 1) MakeTrueAndWake();
    return was;
  });
  EXPECT_EQ(calls, 2);
}

TEST_F(WaitEventTest, AWakeUpBetweenStateAndTestUndoesBoth) {
  int calls = 0;
  WaitEvent(queue_, [&] {
    if (++calls == 2) {
      MakeTrueAndWake();
      EXPECT_FALSE(queue_.HasSleeper());
      EXPECT_EQ(Task::Current().state(), kRunning);
    }
    return condition_.load();
  });
  EXPECT_EQ(calls, 2);
}

TEST_F(WaitEventTest, AWakeUpBetweenTestAndSleepIsNotLost) {
  int calls = 0;
  WaitEvent(queue_, [&] {
    const bool was = condition_;
    if (++calls == 2) MakeTrueAndWake();
    return was;
  });
  EXPECT_EQ(calls, 3) << "it has not slept";
}

TEST_F(WaitEventTest, AWakeUpWithoutTheConditionIsSpurious) {
  Sleeper sleeper([this] {
    WaitEvent(queue_, condition());
    return 0;
  });
  for (int i = 0; i < 1000; ++i) {
    sleeper.AwaitAsleep();
    queue_.WakeUp();
    WaitUntil([&] { return queue_.HasSleeper(); });
  }
  EXPECT_FALSE(sleeper.returned());
  sleeper.AwaitAsleep();
  MakeTrueAndWake();
}

TEST_F(WaitEventTest, AConditionWithoutAWakeUpWakesNobody) {
  Sleeper sleeper([this] {
    WaitEvent(queue_, condition());
    return 0;
  });
  sleeper.AwaitParked();
  condition_ = true;
  EXPECT_TRUE(sleeper.asleep());
  EXPECT_TRUE(queue_.HasSleeper());
  queue_.WakeUp();
}

TEST_F(WaitEventTest, PingPongLosesNoWakeUp) {
  const int rounds = Times(20'000);
  std::atomic<int> ping = 0, pong = 0;
  WaitQueue pongs;
  Sleeper sleeper([&] {
    for (int i = 1; i <= rounds; ++i) {
      WaitEvent(queue_, [&] { return ping == i; });
      pong = i;
      pongs.WakeUp();
    }
    return 0;
  });
  for (int i = 1; i <= rounds; ++i) {
    ping = i;
    queue_.WakeUp();
    WaitEvent(pongs, [&] { return pong == i; });
  }
}

// --- Signals -----------------------------------------------------------------

TEST_F(WaitEventTest, AtEntryTheConditionBeatsASignal) {
  PostSignal();
  condition_ = true;
  EXPECT_EQ(WaitEventInterruptible(queue_, condition()), 0);
  EXPECT_EQ(WaitEventInterruptibleExclusive(queue_, condition()), 0);
  EXPECT_EQ(WaitEventInterruptibleTimeout(queue_, condition(), 5), 5);
  ForgetSignals();
}

TEST_F(WaitEventTest, APendingSignalForbidsTheSleep) {
  PostSignal();
  EXPECT_EQ(WaitEventInterruptible(queue_, condition()), -kErestartsys);
  EXPECT_EQ(WaitEventInterruptibleExclusive(queue_, condition()),
            -kErestartsys);
  EXPECT_EQ(WaitEventInterruptibleTimeout(queue_, condition(), 5),
            -kErestartsys);
  EXPECT_EQ(
      WaitEventInterruptibleTimeout(queue_, condition(), kMaxScheduleTimeout),
      -kErestartsys);
  ForgetSignals();
}

TEST_F(WaitEventTest, ASignalEndsAnInterruptibleSleep) {
  Sleeper sleeper(
      [this] { return WaitEventInterruptible(queue_, condition()); });
  sleeper.AwaitAsleep();
  sleeper.task().SendSignal(SIGTERM);
  EXPECT_EQ(sleeper.Result(), -kErestartsys);
}

TEST_F(WaitEventTest, NoSignalEndsAPlainWait) {
  Sleeper sleeper([this] {
    WaitEvent(queue_, condition());
    return 0;
  });
  sleeper.AwaitAsleep();
  sleeper.task().SendSignal(SIGKILL);
  EXPECT_TRUE(sleeper.asleep());
  MakeTrueAndWake();
}

TEST_F(WaitEventTest, AfterASleepTheConditionBeatsASignal) {
  Sleeper sleeper(
      [this] { return WaitEventInterruptible(queue_, condition()); });
  sleeper.AwaitAsleep();
  condition_ = true;                   // nobody says so
  sleeper.task().SendSignal(SIGTERM);  // this ends the sleep
  EXPECT_EQ(sleeper.Result(), 0);
}

TEST_F(WaitEventTest, ASignalWhileTheConditionIsTestedIsSeenBeforeTheSleep) {
  int calls = 0;
  EXPECT_EQ(WaitEventInterruptible(queue_,
                                   [&] {
                                     if (++calls == 2) PostSignal();
                                     return false;
                                   }),
            -kErestartsys);
  EXPECT_EQ(calls, 4) << "entry, before the sleep, after it, interrupted";
  ForgetSignals();
}

TEST_F(WaitEventTest, WhatBecomesTrueAfterTheSignalIsStillSuccess) {
  int calls = 0;
  PostSignal();
  // Call 2 is after the entry was taken out because of the signal.
  EXPECT_EQ(WaitEventInterruptible(queue_, [&] { return ++calls == 2; }), 0);
  ForgetSignals();
}

TEST_F(WaitEventTest, AKillableSleepEndsOnFatalSignalsOnly) {
  Sleeper sleeper([this] {
    Task::Current().dispositions().handled = SignalSet::Of(SIGTERM);
    return WaitEventKillable(queue_, condition());
  });
  sleeper.AwaitAsleep();
  sleeper.task().SendSignal(SIGTERM);  // handled
  sleeper.task().SendSignal(SIGQUIT);  // dumps core
  EXPECT_TRUE(sleeper.asleep());
  sleeper.task().SendSignal(SIGUSR1);  // terminates
  EXPECT_EQ(sleeper.Result(), -kErestartsys);
}

TEST_F(WaitEventTest, IgnoredAndBlockedSignalsLeaveASleepAlone) {
  Sleeper sleeper([this] {
    Task::Current().dispositions().blocked = SignalSet::Of(SIGTERM);
    Task::Current().dispositions().ignored = SignalSet::Of(SIGUSR1);
    return WaitEventInterruptible(queue_, condition());
  });
  sleeper.AwaitAsleep();
  for (const int signal : {SIGTERM, SIGUSR1, SIGCHLD, SIGWINCH}) {
    sleeper.task().SendSignal(signal);
  }
  EXPECT_TRUE(sleeper.asleep());
  MakeTrueAndWake();
  EXPECT_EQ(sleeper.Result(), 0);
}

// --- Exclusive sleepers ------------------------------------------------------

TEST_F(WaitEventTest, OneWakeUpEndsOneExclusiveSleepTheOldest) {
  std::atomic<int> tokens = 0;
  const auto take = [&] {
    int have = tokens;
    while (have > 0 && !tokens.compare_exchange_weak(have, have - 1)) {
    }
    return have > 0;
  };
  std::deque<Sleeper> sleepers;
  for (int i = 0; i < 3; ++i) {
    sleepers.emplace_back(
        [&] { return WaitEventInterruptibleExclusive(queue_, take); });
    sleepers.back().AwaitParked();
  }
  for (Sleeper& sleeper : sleepers) {
    EXPECT_FALSE(sleeper.returned());
    tokens = 1;
    EXPECT_EQ(queue_.WakeUp(), 1);
    EXPECT_EQ(sleeper.Result(), 0);
  }
}

TEST_F(WaitEventTest, AnExclusiveSleepStartsAllNonExclusiveOnes) {
  std::deque<Sleeper> shared;
  for (int i = 0; i < 3; ++i) {
    shared.emplace_back(
        [this] { return WaitEventInterruptible(queue_, condition()); });
  }
  Sleeper first(
      [this] { return WaitEventInterruptibleExclusive(queue_, condition()); });
  first.AwaitAsleep();
  Sleeper second(
      [this] { return WaitEventInterruptibleExclusive(queue_, condition()); });
  second.AwaitParked();
  for (Sleeper& sleeper : shared) sleeper.AwaitAsleep();
  condition_ = true;
  EXPECT_EQ(queue_.WakeUp(), 1);
  for (Sleeper& sleeper : shared) EXPECT_EQ(sleeper.Result(), 0);
  EXPECT_EQ(first.Result(), 0);
  EXPECT_TRUE(second.asleep());
  EXPECT_EQ(queue_.WakeUp(), 1);
}

// Two sleep; one token comes with one wake-up, and a signal hits the first at
// the same time. Whoever wins, the token is taken.
//
// Guards the test of the condition after the sleep, before a signal counts, in
// WaitEventLoop(): the wake-up may have chosen who was signalled then.
TEST_F(WaitEventTest, ACancelledExclusiveSleeperDoesNotSwallowTheWakeUp) {
  Rival rival(Seed());
  std::atomic<int> tokens = 0;
  const auto take = [&] {
    int one = 1;
    return tokens.compare_exchange_strong(one, 0);
  };
  const auto body = [&] {
    return WaitEventInterruptibleExclusive(queue_, take);
  };
  const int rounds = Times(2'000);
  for (int i = 0; i < rounds; ++i) {
    Sleeper first(body);
    first.AwaitAsleep();
    Sleeper second(body);
    second.AwaitAsleep();
    rival.Race([&] { first.task().SendSignal(SIGTERM); },
               [&] {
                 tokens = 1;
                 queue_.WakeUp();
               });
    const int64_t result = first.Result();
    if (result == 0) {
      second.AwaitAsleep();  // if it was woken it has found nothing
      second.task().SendSignal(SIGTERM);
      ASSERT_EQ(second.Result(), -kErestartsys);
    } else {
      ASSERT_EQ(result, -kErestartsys);
      ASSERT_EQ(second.Result(), 0);
    }
    ASSERT_EQ(tokens, 0);
  }
}

// --- Timed waits: the table of results ---------------------------------------

TEST_F(WaitEventTest, ATrueConditionReturnsTheTimeout) {
  condition_ = true;
  EXPECT_EQ(WaitEventTimeout(queue_, condition(), 7), 7);
  EXPECT_EQ(WaitEventTimeout(queue_, condition(), 1), 1);
  EXPECT_EQ(WaitEventTimeout(queue_, condition(), 0), 1);
  EXPECT_EQ(WaitEventTimeout(queue_, condition(), -3), -3);
  EXPECT_EQ(WaitEventTimeout(queue_, condition(), kMaxScheduleTimeout),
            kMaxScheduleTimeout);
  EXPECT_EQ(WaitEventInterruptibleTimeout(queue_, condition(), 0), 1);
}

TEST_F(WaitEventTest, ATimeoutOfNothingDoesNotSleepNorLookAtSignals) {
  PostSignal();
  int calls = 0;
  const auto never = [&] {
    ++calls;
    EXPECT_FALSE(queue_.HasSleeper());
    return false;
  };
  EXPECT_EQ(WaitEventTimeout(queue_, never, 0), 0);
  EXPECT_EQ(WaitEventInterruptibleTimeout(queue_, never, 0), 0);
  EXPECT_EQ(calls, 2);
  ForgetSignals();
}

TEST_F(WaitEventTest, ANegativeTimeoutHasPassed) {
  EXPECT_EQ(WaitEventTimeout(queue_, condition(), -3), 0);
  int calls = 0;
  EXPECT_EQ(WaitEventTimeout(
                queue_, [&] { return ++calls == 3; }, -3),
            1)
      << "true at the last test";
}

TEST_F(WaitEventTest, ATimeoutEndsTheSleepAtItsTick) {
  Sleeper sleeper([this] { return WaitEventTimeout(queue_, condition(), 5); },
                  &timers());
  sleeper.AwaitAsleepWith(timers());
  EXPECT_EQ(clock_.Advance(5 * kTick - absl::Nanoseconds(1)), 0);
  EXPECT_FALSE(sleeper.returned());
  clock_.Advance(absl::Nanoseconds(1));
  EXPECT_EQ(sleeper.Result(), 0);
}

TEST_F(WaitEventTest, AWakeUpOfAnEmptyQueueIsForgotten) {
  queue_.WakeUp();
  Sleeper sleeper([this] { return WaitEventTimeout(queue_, condition(), 5); },
                  &timers());
  sleeper.AwaitAsleepWith(timers());
  clock_.Advance(5 * kTick);
  EXPECT_EQ(sleeper.Result(), 0);
}

TEST_F(WaitEventTest, AWakeUpLeavesTheRestOfTheTime) {
  struct {
    Ticks slept;
    Ticks left;
  } const rows[] = {{0, 100}, {40, 60}, {99, 1}};
  for (const auto& row : rows) {
    condition_ = false;
    Sleeper sleeper(
        [this] { return WaitEventTimeout(queue_, condition(), 100); },
        &timers());
    sleeper.AwaitAsleepWith(timers());
    clock_.Advance(row.slept * kTick);
    MakeTrueAndWake();
    EXPECT_EQ(sleeper.Result(), row.left);
  }
}

TEST_F(WaitEventTest, WhatIsTrueAtTheEndOfTheTimeIsASuccess) {
  Sleeper sleeper([this] { return WaitEventTimeout(queue_, condition(), 10); },
                  &timers());
  sleeper.AwaitAsleepWith(timers());
  condition_ = true;  // nobody says so
  EXPECT_EQ(clock_.Advance(9 * kTick), 0);
  EXPECT_FALSE(sleeper.returned());
  clock_.Advance(kTick);
  EXPECT_EQ(sleeper.Result(), 1);
}

TEST_F(WaitEventTest, AWakeUpThatIsSeenTooLateIsASuccess) {
  Sleeper sleeper([this] { return WaitEventTimeout(queue_, condition(), 10); },
                  &timers());
  sleeper.AwaitAsleepWith(timers());
  clock_.AdvanceWithoutTimers(15 * kTick);
  MakeTrueAndWake();
  EXPECT_EQ(sleeper.Result(), 1);
}

TEST_F(WaitEventTest, SpuriousWakeUpsDoNotRestartTheTimeout) {
  Sleeper sleeper([this] { return WaitEventTimeout(queue_, condition(), 10); },
                  &timers());
  for (int i = 0; i < 4; ++i) {
    sleeper.AwaitAsleepWith(timers());
    clock_.Advance(2 * kTick);
    queue_.WakeUp();
  }
  sleeper.AwaitAsleepWith(timers());
  EXPECT_EQ(clock_.Advance(2 * kTick - absl::Nanoseconds(1)), 0);
  EXPECT_FALSE(sleeper.returned());
  clock_.Advance(absl::Nanoseconds(1));
  EXPECT_EQ(sleeper.Result(), 0);
}

TEST_F(WaitEventTest, ASpuriousWakeUpDoesNotMakeTheTimeoutEarly) {
  // Nine tenths into a tick; then the next tick begins, a tenth later.
  clock_.Advance(kTick * 9 / 10);
  Sleeper sleeper([this] { return WaitEventTimeout(queue_, condition(), 1); },
                  &timers());
  sleeper.AwaitAsleepWith(timers());
  clock_.Advance(kTick / 10);
  queue_.WakeUp();
  WaitUntil([&] { return sleeper.returned() || queue_.HasSleeper(); });
  EXPECT_FALSE(sleeper.returned()) << "a tenth of its time has passed";
  if (!sleeper.returned()) sleeper.AwaitAsleepWith(timers());
  clock_.Advance(kTick);
  EXPECT_EQ(sleeper.Result(), 0);
}

TEST_F(WaitEventTest, ASignalEndsATimedInterruptibleSleep) {
  for (const Ticks timeout : {Ticks{10}, kMaxScheduleTimeout}) {
    Sleeper sleeper(
        [this, timeout] {
          return WaitEventInterruptibleTimeout(queue_, condition(), timeout);
        },
        &timers());
    sleeper.AwaitAsleep();
    sleeper.task().SendSignal(SIGTERM);
    EXPECT_EQ(sleeper.Result(), -kErestartsys);
  }
}

TEST_F(WaitEventTest, TheTimeoutBeatsASignal) {
  Sleeper sleeper(
      [this] { return WaitEventInterruptibleTimeout(queue_, condition(), 10); },
      &timers());
  sleeper.AwaitAsleepWith(timers());
  clock_.AdvanceWithoutTimers(10 * kTick);
  sleeper.task().SendSignal(SIGTERM);
  EXPECT_EQ(sleeper.Result(), 0);
}

TEST_F(WaitEventTest, TheConditionBeatsTimeoutAndSignal) {
  Sleeper sleeper(
      [this] { return WaitEventInterruptibleTimeout(queue_, condition(), 10); },
      &timers());
  sleeper.AwaitAsleepWith(timers());
  clock_.AdvanceWithoutTimers(10 * kTick);
  condition_ = true;
  sleeper.task().SendSignal(SIGTERM);
  EXPECT_EQ(sleeper.Result(), 1);
}

TEST_F(WaitEventTest, NoSignalEndsATimedUninterruptibleSleep) {
  Sleeper sleeper([this] { return WaitEventTimeout(queue_, condition(), 10); },
                  &timers());
  sleeper.AwaitAsleepWith(timers());
  sleeper.task().SendSignal(SIGKILL);
  EXPECT_TRUE(sleeper.asleep());
  clock_.Advance(10 * kTick);
  EXPECT_EQ(sleeper.Result(), 0);
}

TEST_F(WaitEventTest, TheGreatestTimeoutNeverEnds) {
  Sleeper sleeper(
      [this] {
        return WaitEventTimeout(queue_, condition(), kMaxScheduleTimeout);
      },
      &timers());
  sleeper.AwaitAsleep();
  EXPECT_EQ(clock_.Advance(absl::Hours(24 * 365)), 0);
  EXPECT_TRUE(sleeper.asleep());
  MakeTrueAndWake();
  EXPECT_EQ(sleeper.Result(), kMaxScheduleTimeout);
}

// Its time is over and it runs, but it is still queued: a wake-up passes it by.
//
// Guards the second test in WaitEventLoop(), the one after the sleep: without
// it the loser goes back into its sleeping state before it leaves, and is
// chosen.
TEST_F(WaitEventTest, ATimedOutExclusiveSleeperDoesNotSwallowAWakeUp) {
  int calls = 0;
  int woken = -1;
  const auto never = [&] {
    // Call 1 is the loop's before the sleep; from then on its time is over.
    if (++calls >= 2) woken = queue_.WakeUp();
    return calls >= 2;
  };
  EXPECT_EQ(internal::WaitEventLoop(internal::ExclusivelyIn(queue_),
                                    kInterruptible, never,
                                    [] {
                                      Task::Current().SetState(kRunning);
                                      return 0;
                                    }),
            0);
  EXPECT_EQ(woken, 0) << "nobody is there who could be woken";
}

}  // namespace
}  // namespace waitq
