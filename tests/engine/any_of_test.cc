// One call that waits for any of several objects: one of them ends it, and it
// takes from that one only.

#include <csignal>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/task.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "server/engine/error.h"
#include "tests/engine/calls.h"
#include "tests/engine/engine_fixture.h"
#include "tests/engine/homes.h"

namespace waitq::engine {
namespace {

using Calls = std::vector<Call*>;

WaitArgs TakeOne() { return {.condition = GreaterOrEqual(1), .then = Add(-1)}; }

class AnyOfTest : public EngineTest {
 protected:
  AnyOfTest() = default;
  explicit AnyOfTest(const Limits& limits) : EngineTest(limits) {}

  // Of a word, a completion and a pipe.
  AnyCall& WaitForAll(const SleepOptions& sleep = {}) {
    return WaitAny({OnWord{"w", TakeOne()}, OnDone{"d"}, OnRead{"p", 100}},
                   sleep);
  }
  uint64_t Sleepers(const std::string& name) {
    const auto stat = engine().Stat(name);
    return stat.ok() ? stat->sleepers : 0;
  }
  void ExpectNobodySleeps() {
    EXPECT_EQ(engine().asleep(), 0u);
    for (const char* name : {"w", "v", "d", "p"}) {
      EXPECT_EQ(Sleepers(name), 0u) << name;
    }
  }
};

// --- One ends it -------------------------------------------------------------

TEST_F(AnyOfTest, AWordEndsItAndNothingElseIsTaken) {
  AnyCall& call = WaitForAll();
  EXPECT_TRUE(Asleep(call));
  EXPECT_EQ(WakeUp("w", Add(2)).woken, 1u);
  EXPECT_EQ(EndingOf(call), Ending::kDone);
  EXPECT_EQ(call.alternative(), 0);
  EXPECT_EQ(call.As<WaitOperation>().value_before(), 2);
  EXPECT_EQ(Value("w"), 1);
  ExpectNobodySleeps();
  EXPECT_EQ(Complete("d").woken, 0u);
  EXPECT_TRUE(TryWait("d"));
  WriteNow("p", "abc");
  EXPECT_EQ(ReadNow("p"), "abc");
}

TEST_F(AnyOfTest, ACompletionEndsItAndNothingElseIsTaken) {
  AnyCall& call = WaitForAll();
  EXPECT_EQ(Complete("d").woken, 1u);
  EXPECT_EQ(EndingOf(call), Ending::kDone);
  EXPECT_EQ(call.alternative(), 1);
  ExpectNobodySleeps();
  EXPECT_FALSE(TryWait("d"));
  EXPECT_EQ(WakeUp("w", Add(1)).woken, 0u);
  EXPECT_EQ(Value("w"), 1);
}

TEST_F(AnyOfTest, APipeEndsItAndNothingElseIsTaken) {
  AnyCall& call = WaitForAll();
  WriteNow("p", "abc");
  EXPECT_EQ(EndingOf(call), Ending::kDone);
  EXPECT_EQ(call.alternative(), 2);
  EXPECT_EQ(std::string(call.As<ReadOperation>().data()), "abc");
  ExpectNobodySleeps();
  EXPECT_EQ(WakeUp("w", Add(1)).woken, 0u);
  EXPECT_EQ(Value("w"), 1);
  EXPECT_EQ(Complete("d").woken, 0u);
}

TEST_F(AnyOfTest, TheEndOfAFileEndsIt) {
  AnyCall& call = WaitForAll();
  Close(OpenWriter("p"), /*clean=*/false);
  EXPECT_EQ(EndingOf(call), Ending::kEndOfFile);
  EXPECT_EQ(call.alternative(), 2);
  EXPECT_TRUE(call.As<ReadOperation>().broken());
  ExpectNobodySleeps();
}

// Guards the first test of IsClaimed() after a leg that did not sleep.
TEST_F(AnyOfTest, OfThoseThatHoldAtOnceTheFirstIsChosen) {
  Complete("d");
  Store("v", 1);
  AnyCall& call =
      WaitAny({OnWord{"w", TakeOne()}, OnDone{"d"}, OnWord{"v", TakeOne()}});
  EXPECT_EQ(call.started, Started::kEnded);
  EXPECT_EQ(EndingOf(call), Ending::kDone);
  EXPECT_EQ(call.alternative(), 1);
  EXPECT_FALSE(call.operation().slept());
  EXPECT_EQ(Value("v"), 1);
  ExpectNobodySleeps();
}

TEST_F(AnyOfTest, ThoseBehindTheChosenOneAreNeverStarted) {
  Complete("d");
  WaitAny({OnDone{"d"}, OnWord{"w", TakeOne()}});
  EXPECT_TRUE(absl::IsNotFound(engine().Stat("w").status()));
}

TEST_F(AnyOfTest, OneObjectMayBeNamedTwice) {
  AnyCall& call = WaitAny({OnWord{"w", {.condition = Equal(5)}},
                           OnWord{"w", {.condition = Equal(7)}}});
  EXPECT_EQ(Sleepers("w"), 2u);
  WakeUp("w", Set(7));
  EXPECT_EQ(EndingOf(call), Ending::kDone);
  EXPECT_EQ(call.alternative(), 1);
  // The other of the two in the same walk.
  AnyCall& both =
      WaitAny({OnWord{"w", {.condition = Equal(8), .then = Set(9)}},
               OnWord{"w", {.condition = NotEqual(7), .then = Set(10)}}});
  WakeUp("w", {.update = Set(8), .nr = 0});
  EXPECT_EQ(EndingOf(both), Ending::kDone);
  EXPECT_EQ(both.alternative(), 0);
  EXPECT_EQ(Value("w"), 9);
  ExpectNobodySleeps();
}

TEST_F(AnyOfTest, AWaitWithoutAConditionIsForAWake) {
  AnyCall& call = WaitAny({OnWord{"w", {.condition = Woken()}}, OnDone{"d"}});
  EXPECT_EQ(WakeUp("w").woken, 1u);
  EXPECT_EQ(EndingOf(call), Ending::kDone);
  EXPECT_EQ(call.alternative(), 0);
}

TEST_F(AnyOfTest, AnOverflowIsTheEndOfAll) {
  AnyCall& call = WaitAny(
      {OnWord{"w", {.condition = NotEqual(0), .then = Add(1)}}, OnDone{"d"}});
  WakeUp("w", Set(INT64_MAX));
  EXPECT_EQ(EndingOf(call), Ending::kOverflow);
  EXPECT_EQ(&call.operation().object(), &call.legs[0]->object());
  ExpectNobodySleeps();
}

TEST_F(AnyOfTest, APacketThatDoesNotFitIsTheEndOfAll) {
  CreateOptions packets{.kind = ObjectKind::kPipe, .pipe = {}};
  packets.pipe.mode = PipeMode::kPacket;
  ASSERT_TRUE(engine().Create("p", packets).ok());
  AnyCall& call = WaitAny({OnDone{"d"}, OnRead{"p", 2}});
  WriteNow("p", "abc");
  EXPECT_EQ(EndingOf(call), Ending::kTooLong);
  EXPECT_EQ(ReadNow("p"), "abc");
}

// --- Those that are not chosen -----------------------------------------------

// In the time between the choice and their leaving: a delivery that waits.

// Guards IsClaimedByAnother() in Object::IsAwayLocked().
TEST_F(AnyOfTest, OneThatIsNotChosenUsesUpNoWake) {
  AnyCall& call = WaitForAll();
  WaitCall& behind = Wait("w", TakeOne());
  {
    const DeliveryBatch later;
    Complete("d");
    EXPECT_EQ(Sleepers("w"), 2u);
    EXPECT_EQ(WakeUp("w", Add(1), 1).woken, 1u);
  }
  EXPECT_EQ(EndingOf(behind), Ending::kDone);
  EXPECT_EQ(EndingOf(call), Ending::kDone);
  EXPECT_EQ(call.alternative(), 1);
  EXPECT_EQ(Value("w"), 0);
}

TEST_F(AnyOfTest, OneThatIsNotChosenTakesNothingThatIsDone) {
  AnyCall& call = WaitForAll();
  DoneCall& behind = WaitDone("d");
  {
    const DeliveryBatch later;
    WakeUp("w", Add(1));
    EXPECT_EQ(Complete("d").woken, 1u);
  }
  EXPECT_EQ(EndingOf(behind), Ending::kDone);
  EXPECT_EQ(call.alternative(), 0);
}

TEST_F(AnyOfTest, OneThatIsNotChosenIsPassedAtTheHeadOfAPipe) {
  AnyCall& call = WaitAny({OnDone{"d"}, OnRead{"p", ReadSize(10, 10)}});
  ReadCall& behind = Read("p", 10);
  {
    const DeliveryBatch later;
    Complete("d");
    WriteNow("p", "abc");
    EXPECT_EQ(StatPipe("p").unread_bytes, 0u)
        << "the dead stand in nobody's way";
  }
  EXPECT_EQ(EndingOf(behind), Ending::kDone);
  EXPECT_EQ(std::string(behind->data()), "abc");
  EXPECT_EQ(call.alternative(), 0);
}

TEST_F(AnyOfTest, OneThatIsNotChosenIsNotTestedAgain) {
  AnyCall& call =
      WaitAny({OnDone{"d"}, OnWord{"w", TakeOne()}}, For(absl::Seconds(1)));
  Store("w", 1);
  {
    const DeliveryBatch later;
    Complete("d");
    engine().Signal(*call.legs[1], SIGTERM);
  }
  EXPECT_EQ(EndingOf(call), Ending::kDone);
  EXPECT_EQ(call.alternative(), 0);
  EXPECT_EQ(Value("w"), 1);
}

// Whatever one is given, or told, is the end of the others at once. Guards the
// claims in PipeObject.
TEST_F(AnyOfTest, WhateverAPipeTellsIsTheEndOfTheOthersAtOnce) {
  const auto expect_chosen = [&](AnyCall& call, Ending ending) {
    EXPECT_EQ(Complete("d").woken, 0u);
    EXPECT_TRUE(TryWait("d"));
    EXPECT_EQ(call.legs[1]->ending(), ending);
  };
  AnyCall& bytes = WaitAny({OnDone{"d"}, OnRead{"p", 10}});
  {
    const DeliveryBatch later;
    WriteNow("p", "abc");
    expect_chosen(bytes, Ending::kDone);
  }
  AnyCall& end = WaitAny({OnDone{"d"}, OnRead{"p", 10}});
  {
    const DeliveryBatch later;
    Close(OpenWriter("p"));
    expect_chosen(end, Ending::kEndOfFile);
  }
  // What was put back.
  WriteNow("p", "abc");
  auto held = MakeRead(10, nullptr, nullptr, nullptr);
  held->HoldFor(absl::Seconds(10));
  ASSERT_EQ(engine().Read("p", held, {}).value(), Started::kEnded);
  AnyCall& returned = WaitAny({OnDone{"d"}, OnRead{"p", 10}});
  {
    const DeliveryBatch later;
    ASSERT_TRUE(engine().Release("p", held->id()).ok());
    expect_chosen(returned, Ending::kDone);
  }
  CreateOptions packets{.kind = ObjectKind::kPipe, .pipe = {}};
  packets.pipe.mode = PipeMode::kPacket;
  ASSERT_TRUE(engine().Create("packets", packets).ok());
  AnyCall& too_long = WaitAny({OnDone{"d"}, OnRead{"packets", 2}});
  {
    const DeliveryBatch later;
    WriteNow("packets", "abc");
    expect_chosen(too_long, Ending::kTooLong);
  }
  for (AnyCall* call : {&bytes, &end, &returned, &too_long}) {
    EXPECT_FALSE(Asleep(*call));
    EXPECT_EQ(call->alternative(), 1);
  }
}

TEST_F(AnyOfTest, AReadOfNothingIsChosenAtOnce) {
  Complete("d");
  AnyCall& call = WaitAny({OnRead{"p", 0}, OnDone{"d"}});
  EXPECT_EQ(EndingOf(call), Ending::kDone);
  EXPECT_EQ(call.alternative(), 0);
  EXPECT_TRUE(TryWait("d"));
}

// Guards Object::AfterLeaveLocked() for them.
TEST_F(AnyOfTest, WhoStoodBehindOneThatIsNotChosenIsServedWhenItLeaves) {
  AnyCall& call = WaitAny({OnDone{"d"}, OnRead{"p", ReadSize(10, 10)}});
  ReadCall& behind = Read("p", 10);
  WriteNow("p", "abc");
  EXPECT_TRUE(Asleep(behind));
  Complete("d");
  EXPECT_EQ(EndingOf(behind), Ending::kDone);
  EXPECT_EQ(EndingOf(call), Ending::kDone);
}

TEST_F(AnyOfTest, OfManyEachTakesOne) {
  std::vector<AnyCall*> calls;
  for (int i = 0; i < 5; ++i) calls.push_back(&WaitForAll());
  Complete("d", 2);
  WakeUp("w", Add(1));
  WriteNow("p", "a");
  int asleep = 0;
  for (AnyCall* call : calls) asleep += Asleep(*call);
  EXPECT_EQ(asleep, 1);
  EXPECT_EQ(Sleepers("w"), 1u);
  EXPECT_EQ(Value("w"), 0);
}

class AnyOfChainTest : public AnyOfTest {
 protected:
  static constexpr int kLinks = 30'000;
  static Limits LongChain() {
    Limits limits = SmallLimits();
    limits.objects = kLinks + 10;
    limits.sleepers = limits.sleepers_per_object = 3 * kLinks;
    limits.sleepers_per_caller = 3 * kLinks;
    return limits;
  }
  AnyOfChainTest() : AnyOfTest(LongChain()) {}
};

// Each stands in the way of the next one. Guards the loop in ~DeliveryBatch():
// one that ended within the other's end would run out of stack.
TEST_F(AnyOfChainTest, EndsThatBringAboutEndsDoNotPileUp) {
  const auto pipe = [](int i) { return absl::StrCat("p", i); };
  std::vector<AnyCall*> calls;
  calls.push_back(&WaitAny({OnDone{"go"}, OnRead{pipe(0), ReadSize(2, 2)}}));
  for (int i = 1; i < kLinks; ++i) {
    calls.push_back(&WaitAny({OnRead{pipe(i - 1), ReadSize(2, 1)},
                              OnRead{pipe(i), ReadSize(2, 2)}}));
    WriteNow(pipe(i - 1), "x");
  }
  Complete("go");
  for (AnyCall* call : calls) ASSERT_EQ(EndingOf(*call), Ending::kDone);
}

// --- What else ends it -------------------------------------------------------

TEST_F(AnyOfTest, TimesOutHavingTakenNothing) {
  AnyCall& call = WaitForAll(For(absl::Seconds(1)));
  clock().Advance(absl::Seconds(1) - absl::Milliseconds(1));
  EXPECT_TRUE(Asleep(call));
  clock().Advance(absl::Milliseconds(1));
  EXPECT_EQ(EndingOf(call), Ending::kTimedOut);
  EXPECT_EQ(call.operation().remaining(), absl::ZeroDuration());
  ExpectNobodySleeps();
}

// Guards the timer among the events that test, and the order of that.
TEST_F(AnyOfTest, EachIsTestedOnceMoreAtTheTimeoutInTheirOrder) {
  AnyCall& first =
      WaitAny({OnDone{"d"}, OnWord{"v", TakeOne()}, OnWord{"w", TakeOne()}},
              For(absl::Seconds(1)));
  Store("w", 1);
  Store("v", 1);
  clock().Advance(absl::Seconds(1));
  EXPECT_EQ(EndingOf(first), Ending::kDone);
  EXPECT_EQ(first.alternative(), 1);
  EXPECT_EQ(Value("v"), 0);
  EXPECT_EQ(Value("w"), 1);
  EXPECT_GE(*first.operation().remaining(), absl::Microseconds(100));
  ExpectNobodySleeps();
}

// Guards AnyOf::Start()'s count of what has passed.
TEST_F(AnyOfTest, TheTimeCountsFromTheFirstOfThem) {
  AnyCall call;
  CollectingHome home;
  std::vector<AnyOf::Alternative> alternatives;
  for (const Term& term : std::vector<Term>{OnDone{"d"}, OnDone{"e"}}) {
    alternatives.push_back(MakeAlternative(engine(), term, &home, &call));
    call.legs.push_back(alternatives.back().operation);
  }
  alternatives[0].start =
      [&, start = alternatives[0].start](const SleepOptions& options) {
        const auto started = start(options);
        clock().Advance(absl::Milliseconds(400));
        return started;
      };
  const auto any_of = MakeRef<AnyOf>();
  ASSERT_EQ(
      engine()
          .WaitAny(*any_of, std::move(alternatives), For(absl::Seconds(1)))
          .value(),
      Started::kAsleep);
  clock().Advance(absl::Milliseconds(100));
  Complete("e");
  home.Run();
  EXPECT_EQ(call.told(), 1);
  EXPECT_EQ(call.operation().remaining(), absl::Milliseconds(500));
}

TEST_F(AnyOfTest, ASignalThatItAdmitsEndsItUnlessOneHolds) {
  for (const int signal : {SIGINT, SIGTERM, SIGKILL}) {
    AnyCall& call = WaitForAll();
    engine().Signal(*call.legs[0], signal);
    EXPECT_EQ(EndingOf(call), Ending::kInterrupted);
    EXPECT_EQ(call.operation().signal(), signal);
    EXPECT_EQ(call.alternative(), 0);
    ExpectNobodySleeps();
  }
  AnyCall& holds = WaitAny({OnDone{"d"}, OnWord{"w", TakeOne()}});
  Store("w", 1);
  engine().Signal(*holds.legs[0], SIGTERM);
  EXPECT_EQ(EndingOf(holds), Ending::kDone);
  EXPECT_EQ(holds.alternative(), 1);
}

TEST_F(AnyOfTest, ASignalThatItDoesNotAdmitLeavesAllAsleep) {
  AnyCall& call = WaitForAll(In(kKillable));
  engine().Signal(*call.legs[0], SIGINT);
  EXPECT_TRUE(Asleep(call));
  EXPECT_EQ(engine().asleep(), 3u);
  engine().Signal(*call.legs[0], SIGTERM);
  EXPECT_EQ(EndingOf(call), Ending::kInterrupted);
}

// Guards the claim of those events that do not test.
TEST_F(AnyOfTest, ACallerThatGoesTakesNothing) {
  AnyCall& call = WaitAny({OnDone{"d"}, OnWord{"w", TakeOne()}});
  Store("w", 1);
  {
    const DeliveryBatch later;
    engine().CallerGone(*call.legs[0]);
    // The other stands in line still, and gets nothing any more.
    EXPECT_EQ(WakeUp("w").woken, 0u);
  }
  EXPECT_EQ(EndingOf(call), Ending::kCallerGone);
  EXPECT_EQ(Value("w"), 1);
  ExpectNobodySleeps();
}

// Guards the claim in Object::OnEvent() of one that has ended.
TEST_F(AnyOfTest, ACallerThatGoesWhileItTimesOutTakesNothing) {
  AnyCall& call =
      WaitAny({OnDone{"d"}, OnWord{"w", TakeOne()}}, For(absl::Seconds(1)));
  Store("w", 1);
  {
    const DeliveryBatch later;
    clock().Advance(absl::Seconds(1));  // the first has ended, and is tested
    engine().CallerGone(*call.legs[0]);
  }
  EXPECT_EQ(EndingOf(call), Ending::kTimedOut);
  EXPECT_EQ(Value("w"), 1) << "the other is not tested any more";
  ExpectNobodySleeps();
}

TEST_F(AnyOfTest, AnUninterruptibleOneRunsOnWithoutItsCaller) {
  AnyCall& call = WaitForAll(In(kUninterruptible));
  engine().CallerGone(*call.legs[0]);
  EXPECT_TRUE(Asleep(call));
  EXPECT_EQ(engine().asleep(), 3u);
  Complete("d");
  EXPECT_EQ(EndingOf(call), Ending::kDone);
  ExpectNobodySleeps();
}

TEST_F(AnyOfTest, OneObjectsRemovalIsTheEndOfAll) {
  AnyCall& call =
      WaitAny({OnDone{"d"}, OnRead{"p", 10}, OnWord{"w", TakeOne()}});
  Store("w", 1);
  EXPECT_EQ(engine().Remove("p", false).value(), 1u);
  EXPECT_EQ(EndingOf(call), Ending::kRemoved);
  EXPECT_EQ(call.operation().object().name(), "p");
  EXPECT_EQ(Value("w"), 1) << "nothing is tested";
  ExpectNobodySleeps();
}

TEST_F(AnyOfTest, ADrainEndsItUnlessOneHolds) {
  AnyCall& call = WaitAny({OnDone{"d"}, OnRead{"p", 10}});
  AnyCall& holds = WaitAny({OnDone{"e"}, OnWord{"w", TakeOne()}});
  Store("w", 1);
  Drain();
  EXPECT_EQ(EndingOf(call), Ending::kDraining);
  EXPECT_EQ(EndingOf(holds), Ending::kDone);
  EXPECT_EQ(holds.alternative(), 1);
  EXPECT_EQ(engine().asleep(), 0u);
}

TEST_F(AnyOfTest, InADrainAllAreTestedAndNoneSleeps) {
  Store("w", 1);
  Drain();
  AnyCall& call = WaitForAll();
  EXPECT_EQ(EndingOf(call), Ending::kDone);
  AnyCall& refused = WaitAny({OnDone{"d"}, OnRead{"p", 10}});
  EXPECT_EQ(EndingOf(refused), Ending::kDraining);
  EXPECT_EQ(engine().asleep(), 0u);
}

TEST_F(AnyOfTest, NothingIsHandedOverJustBeforeTheCallsEnd) {
  SleepOptions options;
  options.call_deadline = Now() + absl::Seconds(1);
  AnyCall& call = WaitAny({OnDone{"d"}, OnWord{"w", TakeOne()}}, options);
  clock().AdvanceWithoutTimers(absl::Seconds(1) - absl::Milliseconds(10));
  EXPECT_EQ(WakeUp("w", Add(1)).woken, 0u);
  EXPECT_EQ(EndingOf(call), Ending::kTimedOut);
  EXPECT_EQ(Value("w"), 1);
  ExpectNobodySleeps();
}

TEST_F(AnyOfTest, ItsTimerSeesThatItsCallEnds) {
  SleepOptions options;
  options.call_deadline = Now() + absl::Seconds(1);
  AnyCall& call = WaitAny({OnDone{"d"}, OnWord{"w", TakeOne()}}, options);
  Store("w", 1);
  clock().Advance(absl::Seconds(1));
  EXPECT_EQ(EndingOf(call), Ending::kTimedOut);
  EXPECT_EQ(Value("w"), 1) << "nothing is tested";
}

// --- When none may sleep -----------------------------------------------------

TEST_F(AnyOfTest, WithNonblockAllAreTestedAndNoneSleeps) {
  AnyCall& none = WaitForAll(Nonblock());
  EXPECT_EQ(none.started, Started::kEnded);
  EXPECT_EQ(EndingOf(none), Ending::kWouldBlock);
  WriteNow("p", "abc");
  AnyCall& last = WaitForAll(Nonblock());
  EXPECT_EQ(EndingOf(last), Ending::kDone);
  EXPECT_EQ(last.alternative(), 2);
  ExpectNobodySleeps();
}

TEST_F(AnyOfTest, WithoutTimeAllAreTestedAndNoneSleeps) {
  AnyCall& none = WaitForAll(For(absl::ZeroDuration()));
  EXPECT_EQ(EndingOf(none), Ending::kTimedOut);
  WriteNow("p", "abc");
  AnyCall& last = WaitForAll(For(absl::ZeroDuration()));
  EXPECT_EQ(EndingOf(last), Ending::kDone);
  EXPECT_EQ(last.alternative(), 2);
  ExpectNobodySleeps();
}

TEST_F(AnyOfTest, ThereAreOneToSixtyFour) {
  EXPECT_EQ(DetailsOf(StartAny({})).reason, "EINVAL");
  const std::vector<Term> many(65, OnDone{"d"});
  const ErrorDetails details = DetailsOf(StartAny(many));
  EXPECT_EQ(details.reason, "EINVAL");
  EXPECT_EQ(details.metadata.at("limit"), "alternatives");
  AnyCall& most = WaitAny(std::vector<Term>(64, OnDone{"d"}));
  EXPECT_EQ(Sleepers("d"), 64u);
  Complete("d");
  EXPECT_EQ(EndingOf(most), Ending::kDone);
  EXPECT_EQ(Sleepers("d"), 0u);
}

TEST_F(AnyOfTest, OneThatCannotBeStartedFailsAll) {
  ASSERT_TRUE(engine().Create("c", {}).ok());
  EXPECT_EQ(DetailsOf(StartAny({OnDone{"d"}, OnDone{"c"}, OnDone{"e"}})).reason,
            "ENXIO");
  EXPECT_EQ(DetailsOf(StartAny({OnDone{"d"}, OnDone{"?"}})).reason, "EINVAL");
  EXPECT_EQ(engine().asleep(), 0u);
  EXPECT_EQ(Complete("d").woken, 0u);
  EXPECT_TRUE(TryWait("d"));
}

class AnyOfLimitTest : public AnyOfTest {
 protected:
  static Limits TwoSleepers() {
    Limits limits = SmallLimits();
    limits.sleepers_per_object = 2;
    return limits;
  }
  AnyOfLimitTest() : AnyOfTest(TwoSleepers()) {}
};

TEST_F(AnyOfLimitTest, EachIsASleeperInTheLimits) {
  AnyCall& refused =
      WaitAny({OnDone{"d"}, OnDone{"d"}, OnDone{"d"}, OnDone{"e"}});
  EXPECT_EQ(EndingOf(refused), Ending::kLimit);
  EXPECT_EQ(std::string(refused.operation().limit()), "sleepers-per-object");
  EXPECT_EQ(engine().asleep(), 0u);
  // But one behind that holds is chosen.
  Complete("e");
  AnyCall& call = WaitAny({OnDone{"d"}, OnDone{"d"}, OnDone{"d"}, OnDone{"e"}});
  EXPECT_EQ(EndingOf(call), Ending::kDone);
  EXPECT_EQ(call.alternative(), 3);
  EXPECT_EQ(engine().asleep(), 0u);
}

// --- What is seen of it ------------------------------------------------------

TEST_F(AnyOfTest, PsShowsEachUnderOneId) {
  AnyCall& call = WaitForAll(For(absl::Seconds(5)));
  WaitCall& other = Wait("v", TakeOne());
  const auto tasks = engine().ListTasks({}, 10);
  ASSERT_EQ(tasks.size(), 4u);
  for (uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(tasks[i].id, call.legs[i]->id());
    EXPECT_EQ(tasks[i].id, tasks[0].id);
    EXPECT_EQ(tasks[i].alternative, i);
    EXPECT_EQ(tasks[i].remaining, absl::Seconds(5));
  }
  EXPECT_EQ(tasks[2].object, "p");
  EXPECT_EQ(tasks[3].id, other->id());
  EXPECT_FALSE(tasks[3].alternative.has_value());
}

// Guards the partition in Engine::ListTasks().
TEST_F(AnyOfTest, APageDoesNotPartThem) {
  AnyCall& call = WaitForAll();
  Wait("v", TakeOne());
  const auto page = engine().ListTasks({}, 1);
  ASSERT_EQ(page.size(), 3u);
  const auto next = engine().ListTasks({.after = page.back().id}, 10);
  ASSERT_EQ(next.size(), 1u);
  EXPECT_EQ(next[0].object, "v");
  EXPECT_TRUE(Asleep(call));
}

TEST_F(AnyOfTest, ASignalByThatIdEndsIt) {
  AnyCall& call = WaitForAll();
  EXPECT_TRUE(engine().SignalTask(call.legs[0]->id(), SIGTERM).value());
  EXPECT_EQ(EndingOf(call), Ending::kInterrupted);
  ExpectNobodySleeps();
  EXPECT_EQ(DetailsOf(engine().SignalTask(call.legs[0]->id(), SIGTERM).status())
                .reason,
            "ESRCH");
}

TEST_F(AnyOfTest, OthersAreToldBeforeIfTheyEndedBefore) {
  AnyCall& first = WaitForAll();
  AnyCall& second = WaitForAll();
  WakeUp("w", Add(1));
  Complete("d");
  EXPECT_EQ(TakeEnded(), (Calls{&first, &second}));
}

}  // namespace
}  // namespace waitq::engine
