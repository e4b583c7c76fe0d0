// Sleeping and waking between processes.

#include <signal.h>

#include <chrono>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/fixture.h"

namespace waitq::test {
namespace {

using ::testing::ElementsAre;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

class SleepersTest : public WaitqTest {
 protected:
  // A process that sleeps until the flag is 1, and takes it.
  Process& StartTaker() {
    return StartWaitq({"wait", "flag", "--until", "==1", "--then", "set:0"});
  }
  std::string Flag() { return WaitqOk({"get", "flag"}); }
};

TEST_F(SleepersTest, WaitReturnsOnceItsConditionHolds) {
  Process& reader = StartTaker();
  AwaitSleepers("flag", 1);
  WaitqOk({"wake", "flag", "--set", "1"});
  EXPECT_EQ(reader.WaitFor(), 0);
  EXPECT_THAT(Flag(), StartsWith("0"));
}

TEST_F(SleepersTest, WaitReturnsAtOnceIfItsConditionHolds) {
  WaitqOk({"store", "flag", "1"});
  WaitqOk({"wait", "flag", "--until", "==1", "--then", "set:0"});
  EXPECT_THAT(Flag(), StartsWith("0"));
}

TEST_F(SleepersTest, WakeWithAFalseConditionWakesNobody) {
  Process& reader = StartTaker();
  AwaitSleepers("flag", 1);
  WaitqOk({"wake", "flag", "--set", "2", "--all"});
  AwaitSleepers("flag", 1);
  EXPECT_TRUE(reader.IsRunning());
  WaitqOk({"wake", "flag", "--set", "1"});
  EXPECT_EQ(reader.WaitFor(), 0);
}

TEST_F(SleepersTest, TwoReadersOneWriteLetsExactlyOneThrough) {
  Process& one = StartTaker();
  Process& other = StartTaker();
  AwaitSleepers("flag", 2);
  WaitqOk({"wake", "flag", "--set", "1", "--all"});
  AwaitSleepers("flag", 1);
  ASSERT_TRUE(Await([&] { return !one.IsRunning() || !other.IsRunning(); }));
  EXPECT_NE(one.IsRunning(), other.IsRunning());
  EXPECT_THAT(Flag(), StartsWith("0"));
  WaitqOk({"wake", "flag", "--set", "1"});
  EXPECT_EQ(one.WaitFor(), 0);
  EXPECT_EQ(other.WaitFor(), 0);
}

TEST_F(SleepersTest, ExclusiveSleepersAreWokenOldestFirst) {
  Process& older = StartTaker();
  AwaitSleepers("flag", 1);
  Process& newer = StartTaker();
  AwaitSleepers("flag", 2);
  WaitqOk({"wake", "flag", "--set", "1"});
  EXPECT_EQ(older.WaitFor(), 0);
  EXPECT_TRUE(newer.IsRunning());
  WaitqOk({"wake", "flag", "--set", "1"});
  EXPECT_EQ(newer.WaitFor(), 0);
}

TEST_F(SleepersTest, WithoutAConditionAnyWakeWillDo) {
  Process& waiter = StartWaitq({"wait", "bell"});
  AwaitSleepers("bell", 1);
  WaitqOk({"wake", "bell"});
  EXPECT_EQ(waiter.WaitFor(), 0);
}

TEST_F(SleepersTest, NrBoundsTheExclusiveSleepersOnly) {
  std::vector<Process*> exclusive;
  for (int i = 0; i < 3; ++i) {
    exclusive.push_back(
        &StartWaitq({"wait", "gate", "--until", ">=1", "--then", "add:0"}));
    AwaitSleepers("gate", exclusive.size());
  }
  Process& shared = StartWaitq({"wait", "gate", "--until", ">=1"});
  AwaitSleepers("gate", 4);
  WaitqOk({"wake", "gate", "--set", "1", "--nr", "2"});
  EXPECT_EQ(shared.WaitFor(), 0);
  EXPECT_EQ(exclusive[0]->WaitFor(), 0);
  EXPECT_EQ(exclusive[1]->WaitFor(), 0);
  AwaitSleepers("gate", 1);
  EXPECT_TRUE(exclusive[2]->IsRunning());
  WaitqOk({"wake", "gate", "--all"});
  EXPECT_EQ(exclusive[2]->WaitFor(), 0);
}

TEST_F(SleepersTest, SharedMakesATakerNonExclusive) {
  for (int i = 0; i < 3; ++i) {
    StartWaitq(
        {"wait", "gate", "--until", ">=1", "--then", "add:0", "--shared"});
  }
  AwaitSleepers("gate", 3);
  WaitqOk({"wake", "gate", "--set", "1"});
  AwaitSleepers("gate", 0);
}

TEST_F(SleepersTest, KillableSleepersAreLeftByAnInterruptibleWake) {
  Process& waiter = StartWaitq({"wait", "bell", "--killable"});
  AwaitSleepers("bell", 1);
  WaitqOk({"wake", "bell", "--all", "--interruptible"});
  AwaitSleepers("bell", 1);
  EXPECT_TRUE(waiter.IsRunning());
  WaitqOk({"wake", "bell", "--all"});
  EXPECT_EQ(waiter.WaitFor(), 0);
}

TEST_F(SleepersTest, StoreWakesNobody) {
  Process& reader = StartTaker();
  AwaitSleepers("flag", 1);
  WaitqOk({"store", "flag", "1"});
  AwaitSleepers("flag", 1);
  EXPECT_TRUE(reader.IsRunning());
  WaitqOk({"wake", "flag"});
  EXPECT_EQ(reader.WaitFor(), 0);
}

TEST_F(SleepersTest, TimeoutEndsWith124AndNeverEarly) {
  const auto start = std::chrono::steady_clock::now();
  const Result result =
      Waitq({"wait", "flag", "--until", "==1", "--timeout", "200ms"});
  EXPECT_EQ(result.exit, 124) << result.err;
  EXPECT_GE(std::chrono::steady_clock::now() - start,
            std::chrono::milliseconds(200));
}

TEST_F(SleepersTest, TimeoutZeroTestsOnce) {
  EXPECT_EQ(Waitq({"wait", "flag", "--until", "==1", "--timeout", "0s"}).exit,
            124);
  WaitqOk({"store", "flag", "1"});
  WaitqOk({"wait", "flag", "--until", "==1", "--timeout", "0s"});
}

TEST_F(SleepersTest, NonblockEndsWith11) {
  const Result result = Waitq({"wait", "flag", "--until", "==1", "--nonblock"});
  EXPECT_EQ(result.exit, 11) << result.err;
}

// A sleeper that Ctrl-C, or SIGTERM, has ended.
class InterruptedTest : public SleepersTest,
                        public ::testing::WithParamInterface<const char*> {};

TEST_P(InterruptedTest, CtrlCEndsWith130AndTheSleeperIsGone) {
  Process& waiter = StartWaitq({"wait", "flag", "--until", "==1", GetParam()});
  AwaitSleepers("flag", 1);
  waiter.Signal(SIGINT);
  EXPECT_EQ(waiter.WaitFor(), 130);
  AwaitSleepers("flag", 0);
  // Nothing is kept for who has gone.
  WaitqOk({"wake", "flag", "--set", "1"});
  EXPECT_THAT(Flag(), StartsWith("1"));
}

INSTANTIATE_TEST_SUITE_P(Sleeps, InterruptedTest,
                         ::testing::Values("--timeout=1h", "--killable"));

TEST_F(SleepersTest, KilledClientIsGone) {
  Process& waiter = StartTaker();
  AwaitSleepers("flag", 1);
  waiter.Signal(SIGKILL);
  EXPECT_EQ(waiter.WaitFor(), 128 + SIGKILL);
  AwaitSleepers("flag", 0);
  WaitqOk({"wake", "flag", "--set", "1"});
  EXPECT_THAT(Flag(), StartsWith("1"));
}

TEST_F(SleepersTest, KilledClientsPlaceGoesToTheNext) {
  Process& first = StartTaker();
  AwaitSleepers("flag", 1);
  Process& second = StartTaker();
  AwaitSleepers("flag", 2);
  first.Signal(SIGKILL);
  AwaitSleepers("flag", 1);
  WaitqOk({"wake", "flag", "--set", "1"});
  EXPECT_EQ(second.WaitFor(), 0);
}

TEST_F(SleepersTest, RemoveEndsItsSleepers) {
  Process& waiter = StartTaker();
  AwaitSleepers("flag", 1);
  WaitqOk({"rm", "flag"});
  EXPECT_EQ(waiter.WaitFor(), 1);
  EXPECT_THAT(waiter.Errors(), ::testing::HasSubstr("flag"));
}

TEST_F(SleepersTest, AnIdleServerAnswersItsFirstCall) {
  WaitqOk({"store", "flag", "7"});
  // The silence is what is tested, not a wait for something to happen.
  absl::SleepFor(absl::Seconds(3));
  EXPECT_EQ(Sleepers("").size(), 0u);
  EXPECT_THAT(Flag(), StartsWith("7"));
}

}  // namespace
}  // namespace waitq::test
