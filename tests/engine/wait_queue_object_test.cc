// Named wait queues: sleeping on a word, and waking.

#include "server/engine/wait_queue_object.h"

#include <cerrno>
#include <cstdint>
#include <limits>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "server/engine/error.h"
#include "tests/engine/calls.h"
#include "tests/engine/engine_fixture.h"

namespace waitq::engine {
namespace {

using Calls = std::vector<Call*>;

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

class WaitQueueObjectTest : public EngineTest {
 protected:
  uint64_t Generation(absl::string_view name) {
    return engine().Get(name).value().generation;
  }
};

// --- Going to sleep ----------------------------------------------------------

TEST_F(WaitQueueObjectTest, ATrueConditionDoesNotSleep) {
  Store("q", 5);
  const WaitCall& call = Wait("q", {.condition = Equal(5)});
  EXPECT_EQ(call.started, Started::kEnded);
  EXPECT_EQ(call->ending(), Ending::kDone);
  EXPECT_FALSE(call->slept());
  EXPECT_EQ(call->value_before(), 5);
  EXPECT_EQ(call->value_after(), 5);
  EXPECT_EQ(call->generation(), Generation("q"));
  EXPECT_EQ(call->remaining(), std::nullopt);
  EXPECT_EQ(engine().asleep(), 0u);
}

TEST_F(WaitQueueObjectTest, ANewQueueHasTheValueZero) {
  EXPECT_EQ(Wait("q", {.condition = Equal(0)}).started, Started::kEnded);
  EXPECT_EQ(Value("q"), 0);
}

TEST_F(WaitQueueObjectTest, TheActionHappensInTheSameStep) {
  Store("q", 5);
  const uint64_t before = Generation("q");
  const WaitCall& call = Wait("q", {.condition = Equal(5), .then = Add(-2)});
  EXPECT_EQ(call->ending(), Ending::kDone);
  EXPECT_EQ(call->value_before(), 5);
  EXPECT_EQ(call->value_after(), 3);
  EXPECT_EQ(call->generation(), before + 1) << "after its own step";
  EXPECT_EQ(Value("q"), 3);
}

TEST_F(WaitQueueObjectTest, AFalseConditionSleepsUntilAWakeFindsItTrue) {
  WaitCall& call = Wait("q", {.condition = Equal(1), .then = Set(7)});
  EXPECT_EQ(call.started, Started::kAsleep);
  EXPECT_EQ(engine().asleep(), 1u);
  const WakeResult result = WakeUp("q", Set(1));
  EXPECT_EQ(result.woken, 1u);
  EXPECT_EQ(result.woken_exclusive, 1u);
  EXPECT_EQ(result.value, 7) << "after the walk";
  EXPECT_EQ(EndingOf(call), Ending::kDone);
  EXPECT_TRUE(call->slept());
  EXPECT_EQ(call->value_before(), 1);
  EXPECT_EQ(call->value_after(), 7);
  EXPECT_EQ(call->generation(), result.generation);
  EXPECT_EQ(engine().asleep(), 0u);
  EXPECT_EQ(engine().ended(), 1u);
}

TEST_F(WaitQueueObjectTest, EveryConditionIsWokenByItsValueAndNoOther) {
  struct {
    Condition condition;
    int64_t still_false;
    int64_t then_true;
  } const rows[] = {
      {Equal(3), 2, 3},   {NotEqual(0), 0, -1},
      {Less(0), 0, -1},   {LessOrEqual(-2), -1, -2},
      {Greater(4), 4, 5}, {GreaterOrEqual(4), 3, 4},
      {AllBits(6), 5, 7}, {AnyBits(6), 9, 4},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.condition.ToString());
    Store("q", 0);
    WaitCall& call = Wait("q", {.condition = row.condition});
    ASSERT_EQ(call.started, Started::kAsleep);
    EXPECT_EQ(WakeUp("q", Set(row.still_false)).woken, 0u);
    EXPECT_TRUE(Asleep(call));
    EXPECT_EQ(WakeUp("q", Set(row.then_true)).woken, 1u);
    EXPECT_EQ(EndingOf(call), Ending::kDone);
  }
}

TEST_F(WaitQueueObjectTest, AThousandSpuriousWakesLeaveASleeperInItsPlace) {
  WaitCall& first = Wait("q", {.condition = Equal(1), .then = Set(0)});
  WaitCall& second = Wait("q", {.condition = Equal(1), .then = Set(0)});
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(WakeUp("q").woken, 0u);
  }
  WakeUp("q", Set(1));
  EXPECT_FALSE(Asleep(first));
  EXPECT_TRUE(Asleep(second));
}

TEST_F(WaitQueueObjectTest, AWakeIsNotLatched) {
  EXPECT_EQ(WakeUp("q").woken, 0u);
  EXPECT_EQ(Wait("q", {.condition = Woken()}).started, Started::kAsleep);
}

// --- Order -------------------------------------------------------------------

TEST_F(WaitQueueObjectTest, NonExclusiveNewestFirstThenExclusiveOldestFirst) {
  const auto wait = [&](bool exclusive) {
    return &Wait("q", {.condition = Equal(1), .exclusive = exclusive});
  };
  Call* const x1 = wait(true);
  Call* const n1 = wait(false);
  Call* const x2 = wait(true);
  Call* const n2 = wait(false);
  const WakeResult result = WakeUp("q", Set(1), /*nr=*/0);
  EXPECT_EQ(result.woken, 4u);
  EXPECT_EQ(result.woken_exclusive, 2u);
  EXPECT_EQ(TakeEnded(), (Calls{n2, n1, x1, x2}));
}

TEST_F(WaitQueueObjectTest, AnActionMakesAWaitExclusiveUnlessToldOtherwise) {
  Call& shared =
      Wait("q", {.condition = Equal(1), .then = Set(1), .exclusive = false});
  Call& exclusive = Wait("q", {.condition = Equal(1), .then = Set(1)});
  Call& other = Wait("q", {.condition = Equal(1), .exclusive = true});
  EXPECT_EQ(WakeUp("q", Set(1)).woken, 2u);
  EXPECT_EQ(TakeEnded(), (Calls{&shared, &exclusive}));
  EXPECT_TRUE(Asleep(other));
}

TEST_F(WaitQueueObjectTest, AWakeEndsAllNonExclusiveSleepsAndNrExclusiveOnes) {
  struct {
    int nr;
    uint64_t woken;
    uint64_t exclusive;
  } const rows[] = {{1, 6, 1}, {2, 7, 2}, {3, 8, 3}, {0, 8, 3}, {99, 8, 3}};
  for (const auto& row : rows) {
    SCOPED_TRACE(testing::Message() << "nr " << row.nr);
    Store("q", 0);
    for (int i = 0; i < 3; ++i) {
      Wait("q", {.condition = Equal(1), .exclusive = true});
    }
    for (int i = 0; i < 5; ++i) Wait("q", {.condition = Equal(1)});
    const WakeResult result = WakeUp("q", Set(1), row.nr);
    EXPECT_EQ(result.woken, row.woken);
    EXPECT_EQ(result.woken_exclusive, row.exclusive);
    EXPECT_EQ(TakeEnded().size(), row.woken);
    EXPECT_EQ(engine().asleep(), 8 - row.woken);
    WakeUp("q", Set(1), 0);
    TakeEnded();
  }
}

TEST_F(WaitQueueObjectTest, AWakeTakesOneExclusiveSleeperUnlessToldOtherwise) {
  Call& first = Wait("q", {.condition = Woken(), .exclusive = true});
  Call& second = Wait("q", {.condition = Woken(), .exclusive = true});
  EXPECT_EQ(WakeUp("q").woken_exclusive, 1u);
  EXPECT_EQ(TakeEnded(), Calls{&first});
  EXPECT_EQ(WakeUp("q").woken_exclusive, 1u);
  EXPECT_EQ(TakeEnded(), Calls{&second});
}

// --- The hand-off ------------------------------------------------------------

TEST_F(WaitQueueObjectTest, ALockIsHandedToOneWhoeverElseIsWoken) {
  Store("lock", 1);
  Call& first = Wait("lock", {.condition = Equal(0), .then = Set(1)});
  Call& second = Wait("lock", {.condition = Equal(0), .then = Set(1)});
  EXPECT_EQ(WakeUp("lock", Set(0), /*nr=*/0).woken, 1u);
  EXPECT_EQ(TakeEnded(), Calls{&first});
  EXPECT_TRUE(Asleep(second));
  EXPECT_EQ(Value("lock"), 1);
}

TEST_F(WaitQueueObjectTest, ASemaphoreAdmitsAsManyAsItWasRaisedBy) {
  for (int i = 0; i < 3; ++i) {
    Wait("sem", {.condition = GreaterOrEqual(1), .then = Add(-1)});
  }
  const WakeResult result = WakeUp("sem", Add(2), /*nr=*/0);
  EXPECT_EQ(result.woken, 2u);
  EXPECT_EQ(result.value, 0);
  EXPECT_EQ(TakeEnded().size(), 2u);
}

TEST_F(WaitQueueObjectTest, ABarrierOpensForAll) {
  for (int i = 0; i < 3; ++i) Wait("barrier", {.condition = GreaterOrEqual(3)});
  EXPECT_EQ(WakeUp("barrier", Add(1)).woken, 0u);
  EXPECT_EQ(WakeUp("barrier", Add(1)).woken, 0u);
  EXPECT_EQ(WakeUp("barrier", Add(1)).woken, 3u);
}

// Guards the test in WaitOperation::OnWake(), and that the action is applied
// within the walk.
TEST_F(WaitQueueObjectTest, EachIsTestedAgainstTheWordAsThoseBeforeItLeftIt) {
  WaitCall& takes = Wait("q", {.condition = Equal(1), .then = Add(-1)});
  WaitCall& too_late = Wait("q", {.condition = Equal(1), .then = Set(9)});
  Store("q", 3);  // for these two conditions to be false now
  WaitCall& refills = Wait("q", {.condition = Equal(0), .then = Set(5)});
  WaitCall& sees_five = Wait("q", {.condition = Equal(5), .exclusive = true});
  EXPECT_EQ(WakeUp("q", Set(1), /*nr=*/0).woken, 3u);
  EXPECT_EQ(TakeEnded(), (Calls{&takes, &refills, &sees_five}));
  EXPECT_EQ(takes->value_before(), 1);
  EXPECT_EQ(takes->value_after(), 0);
  EXPECT_EQ(refills->value_before(), 0);
  EXPECT_EQ(refills->value_after(), 5);
  EXPECT_EQ(sees_five->value_before(), 5);
  EXPECT_LT(takes->generation(), refills->generation());
  EXPECT_EQ(refills->generation(), sees_five->generation());
  EXPECT_TRUE(Asleep(too_late));
}

TEST_F(WaitQueueObjectTest, TheWalkDoesNotGoBack) {
  Call& first = Wait("q", {.condition = Equal(2), .then = Set(0)});
  Call& second = Wait("q", {.condition = Equal(1), .then = Set(2)});
  EXPECT_EQ(WakeUp("q", Set(1), /*nr=*/0).woken, 1u);
  EXPECT_EQ(TakeEnded(), Calls{&second});
  EXPECT_TRUE(Asleep(first)) << "its turn had passed";
  EXPECT_EQ(Value("q"), 2);
}

TEST_F(WaitQueueObjectTest, AFalseConditionUsesUpNoNr) {
  Call& deaf = Wait("q", {.condition = Equal(9), .exclusive = true});
  Call& first = Wait("q", {.condition = Equal(1), .exclusive = true});
  Call& second = Wait("q", {.condition = Equal(1), .exclusive = true});
  const WakeResult result = WakeUp("q", Set(1), /*nr=*/1);
  EXPECT_EQ(result.woken_exclusive, 1u);
  EXPECT_EQ(TakeEnded(), Calls{&first});
  EXPECT_TRUE(Asleep(deaf));
  EXPECT_TRUE(Asleep(second));
}

TEST_F(WaitQueueObjectTest, ANewcomerWhoseConditionHoldsGoesAheadAtOnce) {
  Call& sleeper = Wait("q", {.condition = Equal(1), .then = Set(0)});
  Store("q", 1);  // nobody is woken
  const WaitCall& newcomer = Wait("q", {.condition = Equal(1), .then = Set(0)});
  EXPECT_EQ(newcomer.started, Started::kEnded);
  EXPECT_EQ(newcomer->ending(), Ending::kDone);
  EXPECT_TRUE(Asleep(sleeper));
  EXPECT_EQ(Value("q"), 0);
}

TEST_F(WaitQueueObjectTest, AnInterruptibleWakePassesOverOtherStates) {
  WakeOptions options;
  options.update = Set(1);
  options.mode = kInterruptible;
  Call& killable = Wait(
      "q", {.condition = Equal(1), .exclusive = true, .sleep = In(kKillable)});
  Call& deep = Wait("q", {.condition = Equal(1),
                          .exclusive = true,
                          .sleep = In(kUninterruptible)});
  Call& light = Wait("q", {.condition = Equal(1), .exclusive = true});
  EXPECT_EQ(WakeUp("q", options).woken_exclusive, 1u);
  EXPECT_EQ(TakeEnded(), Calls{&light});
  EXPECT_EQ(WakeUp("q", options).woken, 0u);
  EXPECT_EQ(WakeUp("q", {.update = {}, .mode = kNormal, .nr = 0}).woken, 2u);
  EXPECT_EQ(TakeEnded(), (Calls{&killable, &deep}));
}

TEST_F(WaitQueueObjectTest, SyncChangesNothingAboutWhoIsWoken) {
  Call& call = Wait("q", {.condition = Equal(1)});
  EXPECT_EQ(WakeUp("q", {.update = Set(1), .sync = true}).woken, 1u);
  EXPECT_EQ(TakeEnded(), Calls{&call});
}

// --- Keys --------------------------------------------------------------------

TEST_F(WaitQueueObjectTest, AWakeReachesSleepersWithABitOfItsKeyOrNoKey) {
  Call& odd = Wait("q", {.condition = Equal(1), .key = 0x1});
  Call& even = Wait("q", {.condition = Equal(1), .key = 0x2});
  Call& both = Wait("q", {.condition = Equal(1), .key = 0x3});
  Call& any = Wait("q", {.condition = Equal(1)});
  EXPECT_EQ(WakeUp("q", {.update = Set(1), .key = 0x4}).woken, 1u);
  EXPECT_EQ(TakeEnded(), Calls{&any});
  EXPECT_EQ(WakeUp("q", {.update = {}, .key = 0x2}).woken, 2u);
  EXPECT_EQ(TakeEnded(), (Calls{&both, &even}));
  EXPECT_EQ(WakeUp("q", {.update = {}}).woken, 1u);
  EXPECT_EQ(TakeEnded(), Calls{&odd});
}

TEST_F(WaitQueueObjectTest, AnExclusiveSleeperWithAnotherKeyUsesUpNoNr) {
  Call& other = Wait("q", {.condition = Woken(), .exclusive = true, .key = 1});
  Call& meant = Wait("q", {.condition = Woken(), .exclusive = true, .key = 2});
  EXPECT_EQ(WakeUp("q", {.update = {}, .key = 2}).woken_exclusive, 1u);
  EXPECT_EQ(TakeEnded(), Calls{&meant});
  EXPECT_TRUE(Asleep(other));
  WakeUp("q");
}

// A key chooses among wakes. Whoever's condition holds at its own test (it has
// just come, or its time is over) is not woken, and has success.
TEST_F(WaitQueueObjectTest, AKeyDoesNotKeepATrueConditionFromBeingFound) {
  Call& asleep = Wait(
      "q", {.condition = Equal(1), .key = 1, .sleep = For(absl::Seconds(1))});
  EXPECT_EQ(WakeUp("q", {.update = Set(1), .key = 2}).woken, 0u);
  EXPECT_EQ(EndingOf(Wait("q", {.condition = Equal(1), .key = 1})),
            Ending::kDone);
  clock().Advance(absl::Seconds(1));
  EXPECT_EQ(EndingOf(asleep), Ending::kDone);
}

// --- then_wake ---------------------------------------------------------------

// A token goes round: each takes it and lays it down for the next.
TEST_F(WaitQueueObjectTest, WithoutThenWakeWhatAThenMakesTrueWakesNobody) {
  Call& second = Wait("q", {.condition = Equal(2), .exclusive = false});
  Call& first =
      Wait("q", {.condition = Equal(1), .then = Set(2), .exclusive = true});
  EXPECT_EQ(WakeUp("q", Set(1)).woken, 1u);
  EXPECT_EQ(TakeEnded(), Calls{&first});
  EXPECT_TRUE(Asleep(second));
  WakeUp("q");
}

TEST_F(WaitQueueObjectTest, ThenWakeRepeatsTheWalkThatWokeIt) {
  Call& second = Wait("q", {.condition = Equal(2), .exclusive = false});
  Call& first =
      Wait("q", {.condition = Equal(1), .then = Set(2), .then_wake = true});
  const WakeResult result = WakeUp("q", Set(1));
  EXPECT_EQ(result.woken, 2u);
  EXPECT_EQ(result.woken_exclusive, 1u);
  EXPECT_EQ(TakeEnded(), (Calls{&first, &second}));
}

TEST_F(WaitQueueObjectTest, ThenWakeOfACallThatDoesNotSleepWalksOnce) {
  Call& second = Wait("q", {.condition = Equal(2), .then = Set(0)});
  Call& third = Wait("q", {.condition = Equal(2), .then = Set(0)});
  Store("q", 1);
  Call& first =
      Wait("q", {.condition = Equal(1), .then = Set(2), .then_wake = true});
  EXPECT_EQ(EndingOf(first), Ending::kDone);
  EXPECT_EQ(first.started, Started::kEnded) << "it did not sleep";
  EXPECT_EQ(TakeEnded(), Calls{&second});
  EXPECT_TRUE(Asleep(third));
  WakeUp("q", Set(2));
}

TEST_F(WaitQueueObjectTest, ThenWakeAtTheTimeoutWalksOnce) {
  Call& first = Wait("q", {.condition = Equal(1),
                           .then = Set(2),
                           .then_wake = true,
                           .sleep = For(absl::Seconds(1))});
  Call& second = Wait("q", {.condition = Equal(2), .then = Set(0)});
  Store("q", 1);
  clock().Advance(absl::Seconds(1));
  EXPECT_EQ(EndingOf(first), Ending::kDone);
  EXPECT_EQ(EndingOf(second), Ending::kDone);
}

// Two that undo each other's change would walk for ever, if others kept coming.
TEST_F(WaitQueueObjectTest, AWalkIsRepeatedOnceHoweverManyAskForIt) {
  Store("q", 5);
  for (const int64_t from : {1, 1, 1, 0, 0, 0}) {
    Wait("q", {.condition = Equal(from),
               .then = Set(1 - from),
               .exclusive = false,
               .then_wake = true});
  }
  // Newest first: the first walk wakes one that waits for 1, and makes it 0;
  // the second one that waits for 0, and behind it one more for 1.
  EXPECT_EQ(WakeUp("q", Set(1), /*nr=*/0).woken, 3u);
  EXPECT_EQ(engine().asleep(), 3u);
  EXPECT_EQ(engine().Get("q")->value, 0) << "for which one still waits";
  EXPECT_EQ(WakeUp("q").woken, 3u);
}

// --- No condition ------------------------------------------------------------

TEST_F(WaitQueueObjectTest, WithoutAConditionOnlyAWakeEndsTheSleep) {
  Store("q", 1);
  Call& call = Wait("q", {.condition = Woken()});
  EXPECT_EQ(call.started, Started::kAsleep);
  Store("q", 2);
  EXPECT_TRUE(Asleep(call));
  EXPECT_EQ(WakeUp("q").woken, 1u);
  EXPECT_EQ(EndingOf(call), Ending::kDone);
}

TEST_F(WaitQueueObjectTest, WithoutAConditionTheEndOfTheTimeIsNoSuccess) {
  WaitCall& call =
      Wait("q", {.condition = Woken(), .sleep = For(absl::Seconds(1))});
  Store("q", 2);
  clock().Advance(absl::Seconds(1));
  EXPECT_EQ(EndingOf(call), Ending::kTimedOut);
}

TEST_F(WaitQueueObjectTest, WithoutAConditionAnActionMayFollowTheWake) {
  WaitCall& call = Wait("q", {.condition = Woken(), .then = Add(5)});
  EXPECT_EQ(WakeUp("q", Set(10)).value, 15);
  EXPECT_EQ(EndingOf(call), Ending::kDone);
  EXPECT_EQ(call->value_before(), 10);
}

// --- Changed since -----------------------------------------------------------

TEST_F(WaitQueueObjectTest, ChangedSinceIsTrueForAnyOtherGeneration) {
  Store("q", 1);
  const uint64_t seen = Generation("q");
  EXPECT_EQ(Wait("q", {.condition = ChangedSince(seen - 1)}).started,
            Started::kEnded);
  EXPECT_EQ(Wait("q", {.condition = ChangedSince(seen + 1)}).started,
            Started::kEnded);
  EXPECT_EQ(Wait("q", {.condition = ChangedSince(seen)}).started,
            Started::kAsleep);
}

TEST_F(WaitQueueObjectTest, ChangedSinceIsEndedByAWakeThatChangesNothing) {
  Store("q", 1);
  Call& call = Wait("q", {.condition = ChangedSince(Generation("q"))});
  EXPECT_EQ(WakeUp("q").woken, 1u) << "an event counter counts wakes";
  EXPECT_EQ(EndingOf(call), Ending::kDone);
}

TEST_F(WaitQueueObjectTest, ChangedSinceSeesAStoreAtTheEndOfItsTime) {
  Store("q", 1);
  WaitCall& call = Wait("q", {.condition = ChangedSince(Generation("q")),
                              .sleep = For(absl::Seconds(1))});
  Store("q", 1);  // the same value, another generation
  EXPECT_TRUE(Asleep(call));
  clock().Advance(absl::Seconds(1));
  EXPECT_EQ(EndingOf(call), Ending::kDone);
}

TEST_F(WaitQueueObjectTest, AnotherWaitsActionIsAChange) {
  Store("q", 1);
  const uint64_t seen = Generation("q");
  Wait("q", {.condition = Equal(1), .then = Set(1)});
  EXPECT_EQ(Wait("q", {.condition = ChangedSince(seen)}).started,
            Started::kEnded);
}

TEST_F(WaitQueueObjectTest, AWaitWithoutAnActionIsNoChange) {
  Store("q", 1);
  const uint64_t seen = Generation("q");
  Wait("q", {.condition = Equal(1)});
  Wait("q", {.condition = Equal(2), .sleep = Nonblock()});
  EXPECT_EQ(Generation("q"), seen);
}

// --- Overflow ----------------------------------------------------------------

TEST_F(WaitQueueObjectTest, ANewcomersOverflowChangesNothing) {
  Store("q", kMax);
  const uint64_t before = Generation("q");
  const WaitCall& call = Wait("q", {.condition = Equal(kMax), .then = Add(1)});
  EXPECT_EQ(call.started, Started::kEnded);
  EXPECT_EQ(call->ending(), Ending::kOverflow);
  EXPECT_EQ(call->value_before(), kMax);
  EXPECT_EQ(call->value_after(), kMax);
  EXPECT_EQ(Value("q"), kMax);
  EXPECT_EQ(Generation("q"), before);
}

TEST_F(WaitQueueObjectTest, ASleepersOverflowUsesUpNoNrAndIsNotCounted) {
  WaitCall& overflows = Wait("q", {.condition = Equal(kMax), .then = Add(1)});
  WaitCall& next = Wait("q", {.condition = Equal(kMax), .then = Set(0)});
  const WakeResult result = WakeUp("q", Set(kMax), /*nr=*/1);
  EXPECT_EQ(result.woken, 1u);
  EXPECT_EQ(result.woken_exclusive, 1u);
  EXPECT_EQ(EndingOf(overflows), Ending::kOverflow);
  EXPECT_EQ(overflows->value_after(), kMax);
  EXPECT_EQ(EndingOf(next), Ending::kDone);
}

TEST_F(WaitQueueObjectTest, AWakersOverflowChangesNothingAndWakesNobody) {
  Store("q", kMax);
  const uint64_t before = Generation("q");
  Call& call = Wait("q", {.condition = Woken()});
  WakeOptions options;
  options.update = Add(1);
  const absl::Status status = engine().WakeUp("q", options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(DetailsOf(status).reason, "ERANGE");
  EXPECT_EQ(DetailsOf(status).metadata.at("object"), "q");
  EXPECT_TRUE(Asleep(call));
  EXPECT_EQ(Value("q"), kMax);
  EXPECT_EQ(Generation("q"), before);
}

// --- Store and Get -----------------------------------------------------------

TEST_F(WaitQueueObjectTest, StoreTellsTheWordAsItWasAndWakesNobody) {
  Call& call = Wait("q", {.condition = Equal(4)});
  EXPECT_EQ(engine().Store("q", 3)->value, 0);
  const WordResult result = engine().Store("q", 4).value();
  EXPECT_EQ(result.value, 3);
  EXPECT_EQ(result.generation, Generation("q"));
  EXPECT_TRUE(Asleep(call)) << "what forgetting wake_up() looks like";
  EXPECT_EQ(WakeUp("q").woken, 1u);
}

TEST_F(WaitQueueObjectTest, GetMakesNothing) {
  const absl::Status status = engine().Get("q").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(DetailsOf(status).reason, "ENOENT");
  EXPECT_TRUE(engine().List("", {}).empty());
}

TEST_F(WaitQueueObjectTest, GetIsNoChange) {
  Store("q", 3);
  const WordResult one = engine().Get("q").value();
  const WordResult two = engine().Get("q").value();
  EXPECT_EQ(one.value, 3);
  EXPECT_EQ(one.generation, two.generation);
}

TEST_F(WaitQueueObjectTest, WhoHasSeenAQueueMeansNoOtherOfItsName) {
  Store("q", 1);
  const uint64_t seen = Generation("q");
  Store("q", 0);
  EXPECT_EQ(
      Wait("q", {.condition = Equal(0), .seen_generation = seen})->ending(),
      Ending::kDone)
      << "what happens to it is not the end of it";
  const WaitCall& asleep =
      Wait("q", {.condition = Equal(1), .seen_generation = seen});
  EXPECT_EQ(asleep.started, Started::kAsleep);
  EXPECT_TRUE(engine().Remove("q", /*force=*/false).ok());
  EXPECT_EQ(asleep->ending(), Ending::kRemoved);

  // Nothing is there; then another one, whose word is right.
  EXPECT_EQ(
      Wait("q", {.condition = Equal(0), .seen_generation = seen})->ending(),
      Ending::kRemoved);
  Store("q", 5);
  const WaitCall& late = Wait(
      "q", {.condition = Equal(5), .then = Add(1), .seen_generation = seen});
  EXPECT_EQ(late.started, Started::kEnded);
  EXPECT_EQ(late->ending(), Ending::kRemoved);
  EXPECT_EQ(Value("q"), 5) << "and nothing has happened";
  EXPECT_EQ(
      Wait("q", {.condition = Equal(5), .seen_generation = Generation("q")})
          ->ending(),
      Ending::kDone);
}

TEST_F(WaitQueueObjectTest, QueuesDoNotKnowEachOther) {
  Call& a = Wait("a", {.condition = Equal(1)});
  Call& b = Wait("b", {.condition = Equal(1)});
  EXPECT_EQ(WakeUp("a", Set(1)).woken, 1u);
  EXPECT_FALSE(Asleep(a));
  EXPECT_TRUE(Asleep(b));
  EXPECT_EQ(Value("b"), 0);
}

}  // namespace
}  // namespace waitq::engine
