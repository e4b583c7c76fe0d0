// Named completions.

#include "server/engine/completion_object.h"

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "server/engine/error.h"
#include "tests/engine/calls.h"
#include "tests/engine/engine_fixture.h"

namespace waitq::engine {
namespace {

using Calls = std::vector<Call*>;

constexpr uint32_t kAll = CompletionObject::kAll;

class CompletionObjectTest : public EngineTest {
 protected:
  // How many are done and not taken.
  uint32_t DoneOf(absl::string_view name) {
    return std::get<CompletionObject::Result>(engine().Stat(name)->state).done;
  }
  uint64_t Generation(absl::string_view name) {
    return engine().Stat(name)->generation;
  }
};

TEST_F(CompletionObjectTest, CompletingBeforeAnybodyWaitsIsRemembered) {
  EXPECT_EQ(Complete("c", 3).done, 3u);
  for (int i = 0; i < 3; ++i) {
    const DoneCall& call = WaitDone("c");
    EXPECT_EQ(call.started, Started::kEnded);
    EXPECT_EQ(call->ending(), Ending::kDone);
    EXPECT_FALSE(call->slept());
  }
  EXPECT_EQ(DoneOf("c"), 0u);
  EXPECT_EQ(WaitDone("c").started, Started::kAsleep);
}

TEST_F(CompletionObjectTest, ASleeperIsHandedItsOne) {
  DoneCall& call = WaitDone("c");
  const CompletionObject::Result result = Complete("c");
  EXPECT_EQ(result.woken, 1u);
  EXPECT_EQ(result.done, 0u) << "nobody else can take it";
  EXPECT_FALSE(TryWait("c"));
  EXPECT_EQ(EndingOf(call), Ending::kDone);
  EXPECT_TRUE(call->slept());
  EXPECT_EQ(call->generation(), result.generation);
}

TEST_F(CompletionObjectTest, SleepersAreServedOldestFirst) {
  Call* const a = &WaitDone("c");
  Call* const b = &WaitDone("c");
  Call* const c = &WaitDone("c");
  EXPECT_EQ(Complete("c", 2).woken, 2u);
  EXPECT_EQ(TakeEnded(), (Calls{a, b}));
  EXPECT_EQ(Complete("c", 2).done, 1u) << "one is left over";
  EXPECT_EQ(TakeEnded(), Calls{c});
  EXPECT_EQ(DoneOf("c"), 1u);
}

TEST_F(CompletionObjectTest, EveryStateIsServed) {
  Call* const a = &WaitDone("c", In(kUninterruptible));
  Call* const b = &WaitDone("c", In(kKillable));
  EXPECT_EQ(Complete("c", 2).woken, 2u);
  EXPECT_EQ(TakeEnded(), (Calls{a, b}));
}

TEST_F(CompletionObjectTest, CompletingForAllIsForGood) {
  for (int i = 0; i < 3; ++i) WaitDone("c");
  const CompletionObject::Result result = Complete("c", kAll);
  EXPECT_EQ(result.woken, 3u);
  EXPECT_EQ(result.done, kAll);
  EXPECT_EQ(TakeEnded().size(), 3u);
  EXPECT_EQ(WaitDone("c").started, Started::kEnded);
  EXPECT_TRUE(TryWait("c"));
  EXPECT_EQ(DoneOf("c"), kAll) << "never counted down";
  EXPECT_EQ(Complete("c").done, kAll) << "nor up";
  EXPECT_EQ(Complete("c", kAll).done, kAll);
}

TEST_F(CompletionObjectTest, TheCountSaturates) {
  EXPECT_EQ(Complete("c", kAll - 1).done, kAll - 1);
  EXPECT_TRUE(TryWait("c"));
  EXPECT_EQ(DoneOf("c"), kAll - 2) << "one below is a count like others";
  EXPECT_EQ(Complete("c", 5).done, kAll);
  EXPECT_TRUE(TryWait("c"));
  EXPECT_EQ(DoneOf("c"), kAll);
}

TEST_F(CompletionObjectTest, ReinitForgetsWhatIsDone) {
  for (const uint32_t nr : {uint32_t{3}, kAll}) {
    Complete("c", nr);
    EXPECT_EQ(engine().Reinit("c")->done, 0u);
    EXPECT_FALSE(TryWait("c"));
  }
  EXPECT_EQ(WaitDone("c").started, Started::kAsleep);
}

TEST_F(CompletionObjectTest, ReinitLeavesSleepersAsleep) {
  DoneCall& call = WaitDone("c");
  EXPECT_TRUE(engine().Reinit("c").ok());
  EXPECT_TRUE(Asleep(call));
  Complete("c");
  EXPECT_EQ(EndingOf(call), Ending::kDone);
}

TEST_F(CompletionObjectTest, TryWaitTakesOneIfThereIsOne) {
  EXPECT_FALSE(TryWait("c"));
  Complete("c");
  EXPECT_TRUE(TryWait("c"));
  EXPECT_FALSE(TryWait("c"));
}

TEST_F(CompletionObjectTest, DoneTakesAndMakesNothing) {
  const absl::Status status = engine().Done("c").status();
  EXPECT_EQ(DetailsOf(status).reason, "ENOENT");
  EXPECT_TRUE(engine().List("", {}).empty());
  Complete("c", 0 + 1);
  EXPECT_TRUE(engine().Done("c").value());
  EXPECT_TRUE(engine().Done("c").value());
  EXPECT_TRUE(TryWait("c"));
  EXPECT_FALSE(engine().Done("c").value()) << "there, and nothing is done";
}

TEST_F(CompletionObjectTest, ATimeoutOfNothingDoesNotSleep) {
  DoneCall& none = WaitDone("c", For(absl::ZeroDuration()));
  EXPECT_EQ(none.started, Started::kEnded);
  EXPECT_EQ(none->ending(), Ending::kTimedOut);
  EXPECT_EQ(none->remaining(), absl::ZeroDuration());
  Complete("c");
  DoneCall& one = WaitDone("c", For(absl::ZeroDuration()));
  EXPECT_EQ(one->ending(), Ending::kDone);
  EXPECT_EQ(one->remaining(), kTick);
  EXPECT_EQ(DoneOf("c"), 0u);
}

TEST_F(CompletionObjectTest, WhoTimesOutHasTakenNothing) {
  DoneCall& call = WaitDone("c", For(absl::Seconds(1)));
  clock().Advance(absl::Seconds(1));
  EXPECT_EQ(EndingOf(call), Ending::kTimedOut);
  EXPECT_EQ(Complete("c").done, 1u) << "a later one is kept";
}

TEST_F(CompletionObjectTest, WhoIsInterruptedOrGoneHasTakenNothing) {
  DoneCall& interrupted = WaitDone("c");
  engine().Signal(*interrupted.op, SIGINT);
  EXPECT_EQ(EndingOf(interrupted), Ending::kInterrupted);
  DoneCall& gone = WaitDone("c");
  engine().CallerGone(*gone.op);
  EXPECT_EQ(EndingOf(gone), Ending::kCallerGone);
  EXPECT_EQ(Complete("c").done, 1u);
}

TEST_F(CompletionObjectTest, WhoWouldBlockHasTakenNothing) {
  const DoneCall& call = WaitDone("c", Nonblock());
  EXPECT_EQ(call->ending(), Ending::kWouldBlock);
  EXPECT_EQ(Complete("c").done, 1u);
}

TEST_F(CompletionObjectTest, EachStepHasItsOwnGeneration) {
  uint64_t last = Complete("c", 2).generation;
  const DoneCall& call = WaitDone("c");
  EXPECT_EQ(call->generation(), last + 1);
  EXPECT_TRUE(TryWait("c"));
  EXPECT_EQ(Generation("c"), last + 2);
  EXPECT_FALSE(TryWait("c"));
  EXPECT_EQ(Generation("c"), last + 2) << "nothing was changed";
  EXPECT_EQ(engine().Reinit("c")->generation, last + 3);
  WaitDone("c");
  WaitDone("c");
  last = Generation("c");
  EXPECT_EQ(Complete("c", 2).generation, last + 3)
      << "its own, and that of each it woke";
}

TEST_F(CompletionObjectTest, PsCallsItDone) {
  DoneCall& call = WaitDone("c");
  EXPECT_EQ(call->Describe(), "done");
}

}  // namespace
}  // namespace waitq::engine
