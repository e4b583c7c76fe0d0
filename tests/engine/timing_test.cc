// Where the time of an operation went, for who asks.

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "tests/engine/calls.h"
#include "tests/engine/engine_fixture.h"

namespace waitq::engine {
namespace {

SleepOptions Timed(SleepOptions options = {}) {
  options.want_timing = true;
  return options;
}

class TimingTest : public EngineTest {
 protected:
  WaitCall& Take(const SleepOptions& sleep = Timed()) {
    return Wait("q", {.condition = Equal(1), .then = Set(0), .sleep = sleep});
  }
  WaitCall& Look(const SleepOptions& sleep = Timed()) {
    return Wait("q", {.condition = Equal(1), .sleep = sleep});
  }
};

TEST_F(TimingTest, IsThereOnlyIfItWasAskedFor) {
  EXPECT_FALSE(Take(Nonblock())->timing().has_value());
  EXPECT_TRUE(Take(Timed(Nonblock()))->timing().has_value());
}

TEST_F(TimingTest, TellsHowLongItSleptAndWhenThatEnded) {
  WaitCall& call = Take();
  clock().Advance(absl::Milliseconds(30));
  const absl::Time woken = Now();
  WakeUp("q", Set(1));
  clock().Advance(absl::Milliseconds(5));  // its answer is on its way
  EXPECT_EQ(call->timing()->asleep, absl::Milliseconds(30));
  EXPECT_EQ(call->timing()->ended, woken);
  EXPECT_EQ(call->timing()->overshoot, absl::ZeroDuration());
}

TEST_F(TimingTest, WhoDidNotSleepWasNotAsleep) {
  Store("q", 1);
  WaitCall& call = Take();
  EXPECT_EQ(EndingOf(call), Ending::kDone);
  EXPECT_EQ(call->timing()->asleep, absl::ZeroDuration());
  EXPECT_EQ(call->timing()->place, 0u);
}

TEST_F(TimingTest, OvershootIsWhatItsTimeoutWasLateBy) {
  WaitCall& call = Take(Timed(For(absl::Milliseconds(10))));
  // A tick is what the wheel rounds up to: the test comes 0.3 ms later still.
  clock().Advance(absl::Microseconds(10'300));
  ASSERT_EQ(EndingOf(call), Ending::kTimedOut);
  const OperationTiming timing = *call->timing();
  EXPECT_EQ(timing.overshoot, timing.asleep - absl::Milliseconds(10));
  EXPECT_GE(timing.overshoot, absl::ZeroDuration());
}

TEST_F(TimingTest, TheNearEndOfItsCallIsNoOvershoot) {
  SleepOptions sleep = Timed(For(absl::Seconds(10)));
  sleep.call_deadline = Now() + absl::Seconds(1);
  WaitCall& call = Take(sleep);
  clock().Advance(absl::Seconds(1));
  ASSERT_EQ(EndingOf(call), Ending::kTimedOut);
  EXPECT_EQ(call->timing()->overshoot, absl::ZeroDuration());
}

TEST_F(TimingTest, PlaceCountsThoseWhoAreAhead) {
  EXPECT_TRUE(Asleep(Take()));
  EXPECT_TRUE(Asleep(Look()));
  WaitCall& third = Take();
  WaitCall& newest = Look();
  Store("q", 1);
  WakeUp("q", Set(1), /*nr=*/10);
  engine().CallerGone(*third.op);
  EXPECT_TRUE(newest.ended() || EndingOf(newest) == Ending::kDone);
  EXPECT_EQ(newest->timing()->place, 0u) << "the newest of those that share";
  EXPECT_NE(EndingOf(third), Ending::kAsleep);
  EXPECT_EQ(third->timing()->place, 2u);
}

// Each line of a pipe has its own places, and who leaves makes room.
TEST_F(TimingTest, PlacesInAPipeAreThoseOfReadersOrOfWriters) {
  MakePipe("p", 4);
  WriteNow("p", "....");
  WriteCall& first = Write("p", "a", Timed());
  WriteCall& second = Write("p", "b", Timed());
  engine().CallerGone(*first.op);
  WriteCall& third = Write("p", "c", Timed());
  ReadCall& read = Read("empty", 1, Timed());
  EXPECT_EQ(ReadNow("p"), "....");
  WriteNow("empty", "x");
  EXPECT_EQ(EndingOf(second), Ending::kDone);
  EXPECT_EQ(second->timing()->place, 1u);
  EXPECT_EQ(EndingOf(third), Ending::kDone);
  EXPECT_EQ(third->timing()->place, 1u);
  EXPECT_EQ(EndingOf(read), Ending::kDone);
  EXPECT_EQ(read->timing()->place, 0u);
}

}  // namespace
}  // namespace waitq::engine
