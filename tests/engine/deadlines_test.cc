// How time ends a sleep: timeouts, and the end of the call itself.

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "core/timer_wheel.h"
#include "gtest/gtest.h"
#include "tests/engine/calls.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/random.h"

namespace waitq::engine {
namespace {

using Calls = std::vector<Call*>;
using waitq::test::Random;
using waitq::test::Seed;

constexpr absl::Duration kShort = absl::Milliseconds(20);  // the least margin

SleepOptions Until(absl::Time call_deadline) {
  SleepOptions options;
  options.call_deadline = call_deadline;
  return options;
}

class DeadlinesTest : public EngineTest {
 protected:
  // Sleeps until the word is 1, then sets it to 0.
  WaitCall& Take(const SleepOptions& sleep) {
    return Wait("q", {.condition = Equal(1), .then = Set(0), .sleep = sleep});
  }
};

// --- Timeouts ----------------------------------------------------------------

TEST_F(DeadlinesTest, ATimeoutIsNeverEarlyAndAtMostATickLate) {
  for (const int64_t begin_ns : {0, 1, 50'000, 99'999}) {
    for (const int64_t timeout_ns :
         {1, 99'999, 100'000, 100'001, 1'000'000, 6'400'001, 500'000'007}) {
      SCOPED_TRACE(testing::Message() << begin_ns << " + " << timeout_ns);
      clock().Advance(absl::Ceil(Now() - absl::UnixEpoch(), kTick) -
                      (Now() - absl::UnixEpoch()));
      clock().Advance(absl::Nanoseconds(begin_ns));
      const absl::Time end = Now() + absl::Nanoseconds(timeout_ns);
      WaitCall& call = Take(For(absl::Nanoseconds(timeout_ns)));
      ASSERT_EQ(call.started, Started::kAsleep);
      clock().Advance(end - Now() - absl::Nanoseconds(1));
      EXPECT_TRUE(Asleep(call)) << "it is early";
      clock().Advance(kTick);
      EXPECT_EQ(EndingOf(call), Ending::kTimedOut) << "it is late";
      EXPECT_EQ(call->remaining(), absl::ZeroDuration());
      EXPECT_TRUE(call->slept());
    }
  }
}

TEST_F(DeadlinesTest, ATimeoutOfNothingIsOneTest) {
  const WaitCall& fails = Take(For(absl::ZeroDuration()));
  EXPECT_EQ(fails.started, Started::kEnded);
  EXPECT_EQ(fails->ending(), Ending::kTimedOut);
  EXPECT_FALSE(fails->slept());
  EXPECT_EQ(fails->remaining(), absl::ZeroDuration());
  Store("q", 1);
  const WaitCall& succeeds = Take(For(absl::ZeroDuration()));
  EXPECT_EQ(succeeds->ending(), Ending::kDone);
  EXPECT_EQ(succeeds->remaining(), kTick) << "a success leaves a tick";
}

TEST_F(DeadlinesTest, NonblockBeatsTheTimeout) {
  SleepOptions options = For(absl::ZeroDuration());
  options.nonblock = true;
  EXPECT_EQ(Take(options)->ending(), Ending::kWouldBlock);
  options.timeout = absl::Seconds(1);
  const WaitCall& call = Take(options);
  EXPECT_EQ(call.started, Started::kEnded);
  EXPECT_EQ(call->ending(), Ending::kWouldBlock);
  EXPECT_FALSE(call->slept());
  Store("q", 1);
  EXPECT_EQ(Take(options)->ending(), Ending::kDone);
}

TEST_F(DeadlinesTest, WithoutATimeoutTheSleepIsForEver) {
  WaitCall& call = Take({});
  EXPECT_EQ(clock().Advance(absl::Hours(24 * 365)), 0);
  EXPECT_TRUE(Asleep(call));
  WakeUp("q", Set(1));
  EXPECT_EQ(EndingOf(call), Ending::kDone);
  EXPECT_EQ(call->remaining(), std::nullopt);
}

TEST_F(DeadlinesTest, ASuccessTellsWhatWasLeft) {
  struct {
    absl::Duration slept;
    absl::Duration left;
  } const rows[] = {
      {absl::ZeroDuration(), absl::Milliseconds(100)},
      {absl::Milliseconds(40), absl::Milliseconds(60)},
      {absl::Milliseconds(100) - kTick / 2, kTick},  // never less
  };
  for (const auto& row : rows) {
    WaitCall& call = Take(For(absl::Milliseconds(100)));
    clock().Advance(row.slept);
    WakeUp("q", Set(1));
    EXPECT_EQ(EndingOf(call), Ending::kDone);
    EXPECT_EQ(call->remaining(), row.left);
  }
}

TEST_F(DeadlinesTest, WhatIsTrueAtTheEndOfTheTimeIsASuccess) {
  WaitCall& call = Take(For(absl::Milliseconds(100)));
  Store("q", 1);  // nobody is woken
  clock().Advance(absl::Milliseconds(100) - absl::Nanoseconds(1));
  EXPECT_TRUE(Asleep(call));
  clock().Advance(absl::Nanoseconds(1));
  EXPECT_EQ(EndingOf(call), Ending::kDone);
  EXPECT_EQ(call->remaining(), kTick);
  EXPECT_EQ(call->value_before(), 1);
  EXPECT_EQ(Value("q"), 0);
}

TEST_F(DeadlinesTest, WhoTimesOutHasChangedNothing) {
  Store("q", 7);
  const uint64_t before = engine().Get("q")->generation;
  WaitCall& call = Take(For(absl::Milliseconds(100)));
  clock().Advance(absl::Milliseconds(100));
  EXPECT_EQ(EndingOf(call), Ending::kTimedOut);
  EXPECT_EQ(call->value_before(), 7);
  EXPECT_EQ(call->value_after(), 7);
  EXPECT_EQ(call->generation(), before);
  EXPECT_EQ(engine().Get("q")->generation, before);
}

TEST_F(DeadlinesTest, SpuriousWakesDoNotRestartTheTimeout) {
  WaitCall& call = Take(For(absl::Milliseconds(10)));
  for (int i = 0; i < 4; ++i) {
    clock().Advance(absl::Milliseconds(2));
    WakeUp("q");
  }
  EXPECT_TRUE(Asleep(call));
  clock().Advance(absl::Milliseconds(2));
  EXPECT_EQ(EndingOf(call), Ending::kTimedOut);
}

TEST_F(DeadlinesTest, AWokenSleepersTimerIsGone) {
  engine().Create("q", {}).value();
  WaitCall& call = Take(For(absl::Milliseconds(10)));
  EXPECT_TRUE(clock().timers().NextWork().has_value());
  WakeUp("q", Set(1));
  EXPECT_FALSE(Asleep(call));
  EXPECT_FALSE(clock().timers().NextWork().has_value());
}

TEST_F(DeadlinesTest, WhoTimesOutFirstLeavesTheOthersAsleep) {
  Call& late = Take(For(absl::Seconds(2)));
  Call& early = Take(For(absl::Seconds(1)));
  Call& middle = Take(For(absl::Milliseconds(1'500)));
  clock().Advance(absl::Seconds(1));
  EXPECT_EQ(TakeEnded(), Calls{&early});
  clock().Advance(absl::Seconds(1));
  EXPECT_EQ(TakeEnded(), (Calls{&middle, &late}));
}

TEST_F(DeadlinesTest, AfterAStallATimeoutEndsWhenTheTimersRunAgain) {
  WaitCall& call = Take(For(absl::Seconds(1)));
  clock().AdvanceWithoutTimers(absl::Seconds(5));
  EXPECT_TRUE(Asleep(call));
  clock().Advance(absl::ZeroDuration());
  EXPECT_EQ(EndingOf(call), Ending::kTimedOut);
  EXPECT_EQ(call->remaining(), absl::ZeroDuration());
}

TEST_F(DeadlinesTest, AWakeAfterAStallIsASuccess) {
  WaitCall& call = Take(For(absl::Seconds(1)));
  clock().AdvanceWithoutTimers(absl::Seconds(5));
  EXPECT_EQ(WakeUp("q", Set(1)).woken, 1u);
  EXPECT_EQ(EndingOf(call), Ending::kDone);
  EXPECT_EQ(call->remaining(), kTick);
}

TEST_F(DeadlinesTest, TwoThousandSleepersEndEachAtItsOwnTime) {
  Random random(Seed());
  const absl::Time begin = Now();
  std::vector<std::pair<absl::Time, Call*>> calls;
  for (int i = 0; i < 2'000; ++i) {
    const absl::Duration timeout =
        absl::Nanoseconds(1 + random.Below(3'000'000'000));
    calls.emplace_back(begin + timeout, &Take(For(timeout)));
  }
  std::sort(calls.begin(), calls.end());
  size_t ended = 0;
  while (ended < calls.size()) {
    const absl::Duration step = absl::Nanoseconds(random.Below(20'000'000));
    clock().Advance(step);
    ended += TakeEnded().size();
    // All that are a tick over their time, none before it.
    size_t least = 0, most = 0;
    for (const auto& [end, call] : calls) {
      least += end + kTick <= Now();
      most += end <= Now();
    }
    ASSERT_GE(ended, least);
    ASSERT_LE(ended, most);
  }
  for (const auto& [end, call] : calls) {
    ASSERT_EQ(EndingOf(*call), Ending::kTimedOut);
  }
}

// --- The end of the call -----------------------------------------------------

struct Margin {
  absl::Duration call;
  absl::Duration margin;
};

constexpr Margin kMargins[] = {
    {absl::Milliseconds(21), kShort},
    {absl::Milliseconds(100), kShort},
    {absl::Seconds(1), kShort},
    {absl::Seconds(10), absl::Milliseconds(200)},
    {absl::Seconds(1'000), absl::Seconds(20)},
};

// Guards AnswerMargin().
TEST_F(DeadlinesTest, ACallEndsAMarginBeforeItsDeadline) {
  for (const Margin& row : kMargins) {
    SCOPED_TRACE(absl::FormatDuration(row.call));
    WaitCall& call = Take(Until(Now() + row.call));
    ASSERT_EQ(call.started, Started::kAsleep);
    clock().Advance(row.call - row.margin - kTick);
    EXPECT_TRUE(Asleep(call));
    clock().Advance(kTick);
    EXPECT_EQ(EndingOf(call), Ending::kTimedOut);
    EXPECT_EQ(call->remaining(), std::nullopt) << "it had no timeout";
  }
}

// Guards that Event::kDeadlineNear is not among those that test.
TEST_F(DeadlinesTest, WithinTheMarginNothingIsHandedOver) {
  for (const Margin& row : kMargins) {
    SCOPED_TRACE(absl::FormatDuration(row.call));
    WaitCall& call = Take(Until(Now() + row.call));
    Store("q", 1);  // true at the end, and yet
    clock().Advance(row.call);
    EXPECT_EQ(EndingOf(call), Ending::kTimedOut);
    EXPECT_EQ(Value("q"), 1);
    Store("q", 0);
  }
}

TEST_F(DeadlinesTest, UpToTheMarginAWakeHandsOver) {
  for (const Margin& row : kMargins) {
    WaitCall& call = Take(Until(Now() + row.call));
    clock().Advance(row.call - row.margin - kTick);
    EXPECT_EQ(WakeUp("q", Set(1)).woken, 1u);
    EXPECT_EQ(EndingOf(call), Ending::kDone);
  }
}

TEST_F(DeadlinesTest, ACallThatIsTooShortIsNotEvenTested) {
  Store("q", 1);
  for (const absl::Duration length :
       {kShort, kShort - kTick, absl::ZeroDuration(), -absl::Seconds(1)}) {
    const WaitCall& call = Take(Until(Now() + length));
    EXPECT_EQ(call.started, Started::kEnded);
    EXPECT_EQ(call->ending(), Ending::kTimedOut);
    EXPECT_EQ(Value("q"), 1);
  }
}

TEST_F(DeadlinesTest, ATimeoutBeforeTheMarginIsAnOrdinaryOne) {
  SleepOptions options = Until(Now() + absl::Seconds(10));
  options.timeout = absl::Seconds(5);
  WaitCall& call = Take(options);
  Store("q", 1);
  clock().Advance(absl::Seconds(5));
  EXPECT_EQ(EndingOf(call), Ending::kDone);
  EXPECT_EQ(call->remaining(), kTick);
}

TEST_F(DeadlinesTest, ATimeoutWithinTheMarginIsCutShort) {
  SleepOptions options = Until(Now() + absl::Seconds(10));
  options.timeout = absl::Seconds(9.9);
  WaitCall& call = Take(options);
  Store("q", 1);
  clock().Advance(absl::Seconds(9.8));
  EXPECT_EQ(EndingOf(call), Ending::kTimedOut);
}

// What is left of the timeout, not of the call.
TEST_F(DeadlinesTest,
       TheDeadlineOfTheCallDoesNotShortenWhatIsLeftOfTheTimeout) {
  SleepOptions options = Until(Now() + absl::Seconds(10));
  options.timeout = absl::Seconds(60);
  WaitCall& call = Take(options);
  clock().Advance(absl::Seconds(4));
  WakeUp("q", Set(1));
  EXPECT_EQ(EndingOf(call), Ending::kDone);
  EXPECT_EQ(call->remaining(), absl::Seconds(56));
}

TEST_F(DeadlinesTest,
       AWakeWithinTheMarginHandsNothingOverThoughTheTimerIsLate) {
  WaitCall& call = Take(Until(Now() + absl::Seconds(10)));
  clock().AdvanceWithoutTimers(absl::Seconds(9.9));  // a stall
  WakeUp("q", Set(1));
  clock().Advance(absl::ZeroDuration());
  EXPECT_EQ(EndingOf(call), Ending::kTimedOut)
      << "its caller may not get this answer";
  EXPECT_EQ(Value("q"), 1);
}

TEST_F(DeadlinesTest,
       ASignalWithinTheMarginHandsNothingOverThoughTheTimerIsLate) {
  WaitCall& call = Take(Until(Now() + absl::Seconds(10)));
  Store("q", 1);
  clock().AdvanceWithoutTimers(absl::Seconds(9.9));
  engine().Signal(*call.op, SIGINT);
  EXPECT_EQ(EndingOf(call), Ending::kTimedOut);
  EXPECT_EQ(Value("q"), 1);
}

TEST_F(DeadlinesTest, AWriteWithinTheMarginPutsNothingInThoughTheTimerIsLate) {
  MakePipe("p", 4);
  WriteNow("p", "full");
  WriteCall& late = Write("p", "late", Until(Now() + absl::Seconds(10)));
  WriteCall& next = Write("p", "next");
  clock().AdvanceWithoutTimers(absl::Seconds(9.9));
  EXPECT_EQ(ReadNow("p"), "full");
  EXPECT_EQ(EndingOf(late), Ending::kTimedOut);
  EXPECT_EQ(EndingOf(next), Ending::kDone) << "it is first in line now";
  EXPECT_EQ(ReadNow("p"), "next");
}

TEST_F(DeadlinesTest, AReadWithinTheMarginTakesNothingThoughTheTimerIsLate) {
  ReadCall& late = Read("p", 4, Until(Now() + absl::Seconds(10)));
  ReadCall& next = Read("p", 4);
  clock().AdvanceWithoutTimers(absl::Seconds(9.9));
  WriteNow("p", "abc");
  EXPECT_EQ(EndingOf(late), Ending::kTimedOut);
  EXPECT_EQ(EndingOf(next), Ending::kDone);
  EXPECT_EQ(std::string(next->data()), "abc");
}

TEST_F(DeadlinesTest, AWaitWithinTheMarginIsNotCompletedThoughTheTimerIsLate) {
  DoneCall& late = WaitDone("c", Until(Now() + absl::Seconds(10)));
  DoneCall& next = WaitDone("c");
  clock().AdvanceWithoutTimers(absl::Seconds(9.9));
  EXPECT_EQ(Complete("c").woken, 1u);
  EXPECT_EQ(EndingOf(late), Ending::kTimedOut);
  EXPECT_EQ(EndingOf(next), Ending::kDone);
}

TEST_F(DeadlinesTest, TheMarginHoldsForCompletionsAndPipesToo) {
  DoneCall& done = WaitDone("c", Until(Now() + absl::Seconds(1)));
  ReadCall& read = Read("p", 10, Until(Now() + absl::Seconds(1)));
  clock().Advance(absl::Seconds(1) - kShort);
  EXPECT_EQ(EndingOf(done), Ending::kTimedOut);
  EXPECT_EQ(EndingOf(read), Ending::kTimedOut);
  Complete("c");
  EXPECT_TRUE(TryWait("c"));
  WriteNow("p", "kept");
  EXPECT_EQ(Read("p", 10, Until(Now() + kShort))->ending(), Ending::kTimedOut);
  EXPECT_EQ(ReadNow("p"), "kept");
}

}  // namespace
}  // namespace waitq::engine
