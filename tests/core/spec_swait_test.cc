// The specification's cases of simple wait queues, by number, and their waits.

#include <array>
#include <atomic>
#include <csignal>

#include "core/pause.h"
#include "core/swait.h"
#include "core/task.h"
#include "gtest/gtest.h"
#include "tests/core/stage.h"

namespace waitq {
namespace {

using test::Actor;
using test::Stage;
using test::Tokens;

class SpecSwaitTest : public testing::Test {
 protected:
  void TearDown() override {
    stage_.Clear();
    EXPECT_FALSE(queue_.HasSleeper()) << "somebody is left";
    EXPECT_FALSE(stage_.timers().NextWork().has_value()) << "a timer is armed";
  }

  auto take() {
    return [this] { return tokens_.Take(); };
  }
  auto waits() {
    return [this] { SwaitEventExclusive(queue_, take()); };
  }
  auto waits_timed(Ticks timeout) {
    return [this, timeout] {
      return SwaitEventInterruptibleTimeoutExclusive(queue_, take(), timeout);
    };
  }
  void PostAndWake() {
    tokens_.Add();
    queue_.WakeUpOne();
  }

  SwaitQueue queue_;
  Tokens tokens_;
  Stage stage_;
};

TEST_F(SpecSwaitTest, Spec46_OneWakeUpIsForTheOldest) {
  std::array<Actor*, 3> waiters;
  for (Actor*& waiter : waiters) waiter = &stage_.EnterAsleep(waits());
  for (size_t next = 0; next < waiters.size(); ++next) {
    PostAndWake();
    EXPECT_EQ(waiters[next]->Result(), 0);
    for (size_t later = next + 1; later < waiters.size(); ++later) {
      EXPECT_EQ(waiters[later]->sleeps(), 1);
      EXPECT_TRUE(waiters[later]->asleep());
    }
  }
}

TEST_F(SpecSwaitTest, Spec46_TheFirstIsTakenOutEvenIfItRunsAlready) {
  Actor& first = stage_.EnterAsleep(
      [&] { return SwaitEventInterruptibleExclusive(queue_, take()); });
  Actor& second = stage_.EnterAsleep(waits());
  first.StopAt(PausePoint::kAfterSleep);
  first.task().SendSignal(SIGTERM);
  first.AwaitStopped();
  EXPECT_EQ(first.task().state(), kRunning);
  queue_.WakeUpOne();
  EXPECT_TRUE(second.asleep()) << "a wait queue would have woken it";
  // It is out: the next wake-up is for the second, who finds nothing.
  queue_.WakeUpOne();
  test::WaitUntil([&] { return second.sleeps() == 2; });
  second.AwaitAsleep();
  first.GoOn();
  EXPECT_EQ(first.Result(), -kErestartsys);
  PostAndWake();
  EXPECT_EQ(second.Result(), 0);
}

TEST_F(SpecSwaitTest, Spec47_WhoComesWhileAllAreWokenStaysAsleep) {
  std::atomic<bool> open = false;
  const auto waits_for_all = [&] {
    SwaitEventIdleExclusive(queue_, [&] { return open.load(); });
  };
  Actor& first = stage_.EnterAsleep(waits_for_all);
  Actor& second = stage_.EnterAsleep(waits_for_all);
  Actor& waker =
      stage_.EnterUpTo(PausePoint::kBetweenWakes, [&] { queue_.WakeUpAll(); });
  Actor& late = stage_.EnterAsleep(waits_for_all);
  open = true;
  waker.GoOn();
  EXPECT_EQ(waker.Result(), 0);
  EXPECT_EQ(first.Result(), 0);
  EXPECT_EQ(second.Result(), 0);
  EXPECT_TRUE(late.asleep());
  queue_.WakeUpOne();
  EXPECT_EQ(late.Result(), 0);
}

// --- The waits ---------------------------------------------------------------

TEST_F(SpecSwaitTest, WhoTimesOutWhileAllAreWokenLeaves) {
  Actor& timed = stage_.EnterAsleep(waits_timed(10));
  Actor& waker =
      stage_.EnterUpTo(PausePoint::kBetweenWakes, [&] { queue_.WakeUpAll(); });
  EXPECT_EQ(stage_.Pass(10), 1);
  EXPECT_EQ(timed.Result(), 0);
  waker.GoOn();
  EXPECT_EQ(waker.Result(), 0);
}

// The kernel's waits swallow it.
TEST_F(SpecSwaitTest, AWakeUpThatChoosesWhoTimesOutIsPassedOn) {
  Actor& timed = stage_.EnterAsleep(waits_timed(10));
  Actor& next = stage_.EnterAsleep(waits());
  timed.StopAt(PausePoint::kBeforeFinish);
  EXPECT_EQ(stage_.Pass(10), 1);
  timed.AwaitStopped();
  PostAndWake();
  EXPECT_TRUE(next.asleep());
  timed.GoOn();
  EXPECT_EQ(timed.Result(), 0);
  EXPECT_EQ(next.Result(), 0);
}

TEST_F(SpecSwaitTest, ResultsAreThoseOfWaitEvent) {
  EXPECT_EQ(SwaitEventTimeoutExclusive(
                queue_, [] { return true; }, 7),
            7);
  EXPECT_EQ(SwaitEventTimeoutExclusive(
                queue_, [] { return true; }, 0),
            1);
  EXPECT_EQ(SwaitEventIdleTimeoutExclusive(
                queue_, [] { return false; }, 0),
            0);

  Actor& in_time = stage_.EnterAsleep(waits_timed(100));
  stage_.Pass(40);
  PostAndWake();
  EXPECT_EQ(in_time.Result(), 60);

  Actor& signalled = stage_.EnterAsleep(waits_timed(100));
  signalled.task().SendSignal(SIGTERM);
  EXPECT_EQ(signalled.Result(), -kErestartsys);

  // The condition beats the signal.
  Actor& both = stage_.EnterAsleep(waits_timed(100));
  both.StopAt(PausePoint::kAfterSleep);
  both.task().SendSignal(SIGTERM);
  PostAndWake();
  both.GoOn();
  EXPECT_EQ(both.Result(), 100);
}

TEST_F(SpecSwaitTest, ASignalDoesNotEndOtherSleeps) {
  Actor& waiter = stage_.EnterAsleep(waits());
  waiter.task().SendSignal(SIGKILL);
  EXPECT_TRUE(waiter.asleep());
  PostAndWake();
  EXPECT_EQ(waiter.Result(), 0);
  EXPECT_EQ(waiter.sleeps(), 1);
}

TEST_F(SpecSwaitTest, SleepingByHandQueuesOnce) {
  SwaitEntry entry;
  EXPECT_FALSE(queue_.SwaitActive());
  queue_.PrepareToWait(entry, kUninterruptible);
  queue_.PrepareToWait(entry, kInterruptible);
  EXPECT_TRUE(queue_.HasSleeper());
  EXPECT_EQ(Task::Current().state(), kInterruptible);
  EXPECT_TRUE(queue_.FinishWait(entry));
  EXPECT_EQ(Task::Current().state(), kRunning);
  EXPECT_FALSE(queue_.FinishWait(entry));
  queue_.WakeUpOne();
  queue_.WakeUpAll();
}

}  // namespace
}  // namespace waitq
