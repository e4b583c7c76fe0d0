// The specification's cases of the wait_event family, by number: lost wake-ups,
// results of timed waits, and the work around a sleep.

#include <atomic>
#include <string>

#include "absl/time/time.h"
#include "core/task.h"
#include "core/wait_event.h"
#include "core/wait_queue.h"
#include "gtest/gtest.h"
#include "tests/core/stage.h"

namespace waitq {
namespace {

using test::Actor;
using test::CountQueued;
using test::Stage;

class SpecWaitEventTest : public test::StageTest {
 protected:
  auto plain_wait() {
    return [this] { WaitEvent(queue_, condition()); };
  }
  auto timed_wait(Ticks timeout) {
    return [this, timeout] {
      return WaitEventTimeout(queue_, condition(), timeout);
    };
  }
};

// --- Lost wake-ups -----------------------------------------------------------

TEST_F(SpecWaitEventTest, Spec01_ATrueConditionNeitherQueuesNorSleeps) {
  condition_ = true;
  Actor& waiter = stage_.Enter(plain_wait());
  EXPECT_EQ(waiter.Result(), 0);
  EXPECT_EQ(waiter.passages(PausePoint::kBeforeEnqueue), 0);
  EXPECT_EQ(waiter.passages(PausePoint::kBeforeSleep), 0);
}

TEST_F(SpecWaitEventTest, Spec02_AWakeUpBetweenTestAndEnqueueIsNotLost) {
  Actor& waiter = stage_.EnterUpTo(PausePoint::kBeforeEnqueue, plain_wait());
  EXPECT_FALSE(queue_.HasSleeper());
  EXPECT_EQ(MakeTrueAndWake(), 0);
  waiter.GoOn();
  EXPECT_EQ(waiter.Result(), 0);
  EXPECT_EQ(waiter.passages(PausePoint::kBeforeSleep), 0);
}

TEST_F(SpecWaitEventTest, Spec03_AWakeUpBetweenStateAndTestUndoesBoth) {
  Actor& waiter = stage_.EnterUpTo(PausePoint::kStateSet, plain_wait());
  EXPECT_TRUE(queue_.HasSleeper());
  EXPECT_EQ(waiter.task().state(), kUninterruptible);
  MakeTrueAndWake();
  EXPECT_FALSE(queue_.HasSleeper()) << "the waker takes the entry out";
  EXPECT_EQ(waiter.task().state(), kRunning);
  waiter.GoOn();
  EXPECT_EQ(waiter.Result(), 0);
  EXPECT_EQ(waiter.passages(PausePoint::kBeforeSleep), 0);
}

TEST_F(SpecWaitEventTest, Spec04_AWakeUpBetweenTestAndSleepForbidsTheSleep) {
  Actor& waiter = stage_.EnterUpTo(PausePoint::kBeforeSleep, plain_wait());
  EXPECT_EQ(waiter.task().state(), kUninterruptible);
  MakeTrueAndWake();
  waiter.GoOn();
  EXPECT_EQ(waiter.Result(), 0);
  EXPECT_EQ(waiter.sleeps(), 0);
}

TEST_F(SpecWaitEventTest, Spec05_AWakeUpOfAnEmptyQueueIsNotLatched) {
  EXPECT_EQ(queue_.WakeUp(), 0);
  Actor& waiter = stage_.EnterAsleep(timed_wait(5));
  EXPECT_EQ(stage_.clock().Advance(5 * kTick - Stage::kInstant), 0);
  EXPECT_TRUE(waiter.asleep());
  stage_.clock().Advance(Stage::kInstant);
  EXPECT_EQ(waiter.Result(), 0);
  EXPECT_EQ(waiter.sleeps(), 1);
}

TEST_F(SpecWaitEventTest, Spec06_AThousandWakeUpsForNothingEndNoWait) {
  Actor& waiter = stage_.EnterAsleep(plain_wait());
  for (int round = 1; round <= 1000; ++round) {
    queue_.WakeUp();
    waiter.AwaitAsleep();
    ASSERT_EQ(waiter.sleeps(), round + 1) << "it was woken, and sleeps again";
    ASSERT_EQ(CountQueued(queue_), 1);
  }
  EXPECT_FALSE(waiter.returned());
  MakeTrueAndWake();
}

TEST_F(SpecWaitEventTest, Spec07_AConditionThatNobodyTellsIsSeenAtTheTimeout) {
  Actor& waiter = stage_.EnterAsleep(timed_wait(10));
  condition_ = true;
  EXPECT_EQ(stage_.Pass(9), 0);
  EXPECT_TRUE(waiter.asleep());
  EXPECT_TRUE(queue_.HasSleeper());
  stage_.Pass(1);
  EXPECT_EQ(waiter.Result(), 1);
}

// --- Timed waits -------------------------------------------------------------

TEST_F(SpecWaitEventTest, Spec08_TheEdgesOfATimeout) {
  struct {
    bool condition;
    Ticks timeout;
    Ticks result;
  } const rows[] = {
      {true, 7, 7}, {true, 0, 1}, {false, 0, 0}, {true, -3, -3}, {false, -3, 0},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(testing::Message() << row.condition << ", " << row.timeout);
    condition_ = row.condition;
    testing::internal::CaptureStderr();
    Actor& waiter = stage_.Enter(timed_wait(row.timeout));
    EXPECT_EQ(waiter.Result(), row.result);
    const std::string log = testing::internal::GetCapturedStderr();
    EXPECT_EQ(waiter.sleeps(), 0);
    const bool logs = !row.condition && row.timeout < 0;
    EXPECT_EQ(log.find("-3 ticks") != std::string::npos, logs) << log;
    if (row.condition || row.timeout == 0) {
      EXPECT_EQ(waiter.passages(PausePoint::kBeforeEnqueue), 0);
    }
  }
  condition_ = false;
  Actor& endless = stage_.EnterAsleep(timed_wait(kMaxScheduleTimeout));
  EXPECT_FALSE(stage_.timers().NextWork().has_value()) << "it has no timer";
  MakeTrueAndWake();
  EXPECT_EQ(endless.Result(), kMaxScheduleTimeout);
}

TEST_F(SpecWaitEventTest, Spec09_AWakeUpInTimeLeavesTheRestOfIt) {
  struct {
    absl::Duration slept;
    Ticks left;
  } const rows[] = {
      {40 * kTick, 60}, {absl::ZeroDuration(), 100}, {kTick / 2, 100}};
  for (const auto& row : rows) {
    condition_ = false;
    Actor& waiter = stage_.EnterAsleep(timed_wait(100));
    stage_.clock().Advance(row.slept);
    MakeTrueAndWake();
    EXPECT_EQ(waiter.Result(), row.left) << row.slept;
  }
}

TEST_F(SpecWaitEventTest, Spec10_AWaiterThatRunsTooLateStillSucceeds) {
  Actor& waiter = stage_.EnterAsleep(timed_wait(10));
  waiter.StopAt(PausePoint::kAfterSleep);
  stage_.Pass(9);
  MakeTrueAndWake();
  waiter.AwaitStopped();
  stage_.Pass(6);
  waiter.GoOn();
  EXPECT_EQ(waiter.Result(), 1);
}

TEST_F(SpecWaitEventTest, Spec11_SpuriousWakeUpsDoNotRestartTheTimeout) {
  Actor& waiter = stage_.EnterAsleep(timed_wait(10));
  for (const int round : {1, 2, 3}) {  // at 2, 4 and 6
    stage_.Pass(2);
    queue_.WakeUp();
    waiter.AwaitAsleep();
    EXPECT_EQ(waiter.sleeps(), round + 1);
  }
  EXPECT_EQ(stage_.clock().Advance(4 * kTick - Stage::kInstant), 0);
  EXPECT_TRUE(waiter.asleep());
  stage_.clock().Advance(Stage::kInstant);
  EXPECT_EQ(waiter.Result(), 0);
  EXPECT_EQ(waiter.sleeps(), 4);
}

// --- Around each sleep -------------------------------------------------------

TEST_F(SpecWaitEventTest, Spec42_TheCommandsRunAroundEachSleepAndElseNever) {
  for (const bool exclusive : {false, true}) {
    // Written by the waiter alone, while the test does not look.
    std::string log;
    const auto before = [&] {
      EXPECT_NE(Task::Current().state(), kRunning) << "just before the sleep";
      log += '1';
    };
    const auto after = [&] {
      EXPECT_EQ(Task::Current().state(), kRunning) << "just after it";
      log += '2';
    };
    const auto wait = [&] {
      if (exclusive) {
        WaitEventExclusiveCmd(queue_, condition(), before, after);
      } else {
        WaitEventCmd(queue_, condition(), before, after);
      }
    };
    condition_ = true;
    EXPECT_EQ(stage_.Enter(wait).Result(), 0);
    EXPECT_EQ(log, "");

    condition_ = false;
    Actor& waiter = stage_.EnterAsleep(wait);
    for (int spurious = 0; spurious < 2; ++spurious) {
      queue_.WakeUp();
      waiter.AwaitAsleep();
    }
    EXPECT_EQ(MakeTrueAndWake(), exclusive ? 1 : 0);
    EXPECT_EQ(waiter.Result(), 0);
    EXPECT_EQ(log, "121212");
    EXPECT_EQ(waiter.sleeps(), 3);
  }
}

}  // namespace
}  // namespace waitq
