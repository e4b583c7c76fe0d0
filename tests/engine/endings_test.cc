// What else ends a sleep: signals, callers that go, Remove, and the drain.

#include <csignal>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/task.h"
#include "gtest/gtest.h"
#include "server/engine/error.h"
#include "tests/engine/calls.h"
#include "tests/engine/engine_fixture.h"
#include "tests/engine/homes.h"
#include "tests/support/wait_until.h"

namespace waitq::engine {
namespace {

using Calls = std::vector<Call*>;
using waitq::test::WaitUntil;

class EndingsTest : public EngineTest {
 protected:
  WaitCall& Take(const SleepOptions& sleep = {}) {
    return Wait("q", {.condition = Equal(1), .then = Set(0), .sleep = sleep});
  }
};

// --- Signals -----------------------------------------------------------------

struct StateRow {
  const char* name;
  TaskState state;
  bool by_int, by_term, by_kill, by_caller_gone;
};

constexpr StateRow kStates[] = {
    {"S", kInterruptible, true, true, true, true},
    {"K", kKillable, false, true, true, true},
    {"D", kUninterruptible, false, false, false, false},
};

class EndingsByStateTest : public EndingsTest,
                           public testing::WithParamInterface<StateRow> {
 protected:
  EndingsByStateTest() = default;
};

TEST_P(EndingsByStateTest, SignalsEndItAsItAdmits) {
  for (const auto& [signal, ends] : {std::pair(SIGINT, GetParam().by_int),
                                     std::pair(SIGTERM, GetParam().by_term),
                                     std::pair(SIGKILL, GetParam().by_kill)}) {
    SCOPED_TRACE(testing::Message() << "signal " << signal);
    WaitCall& call = Take(In(GetParam().state));
    engine().Signal(*call.op, signal);
    if (ends) {
      EXPECT_EQ(EndingOf(call), Ending::kInterrupted);
      EXPECT_EQ(call->signal(), signal);
    } else {
      EXPECT_TRUE(Asleep(call));
      EXPECT_EQ(WakeUp("q", Set(1)).woken, 1u);
      EXPECT_EQ(EndingOf(call), Ending::kDone);
      EXPECT_EQ(call->signal(), 0);
    }
  }
}

TEST_P(EndingsByStateTest, ACallerThatGoesEndsItOrNot) {
  WaitCall& call = Take(In(GetParam().state));
  engine().CallerGone(*call.op);
  EXPECT_EQ(EndingOf(call),
            GetParam().by_caller_gone ? Ending::kCallerGone : Ending::kAsleep);
}

TEST_P(EndingsByStateTest, TimeoutRemoveAndDrainAlwaysEndIt) {
  SleepOptions timed = In(GetParam().state);
  timed.timeout = absl::Seconds(1);
  WaitCall& call = Take(timed);
  clock().Advance(absl::Seconds(1));
  EXPECT_EQ(EndingOf(call), Ending::kTimedOut);
  WaitCall& removed = Take(In(GetParam().state));
  EXPECT_EQ(engine().Remove("q", false).value(), 1u);
  EXPECT_EQ(EndingOf(removed), Ending::kRemoved);
  WaitCall& drained = Take(In(GetParam().state));
  Drain();
  EXPECT_EQ(EndingOf(drained), Ending::kDraining);
}

TEST_P(EndingsByStateTest, PsShowsTheState) {
  Take(In(GetParam().state));
  EXPECT_EQ(engine().ListTasks({}, 10).at(0).state, GetParam().state);
}

INSTANTIATE_TEST_SUITE_P(, EndingsByStateTest, testing::ValuesIn(kStates),
                         [](const auto& row) { return row.param.name; });

TEST_F(EndingsTest, IgnoredSignalsLeaveEverySleepAlone) {
  WaitCall& call = Take();
  engine().Signal(*call.op, SIGCHLD);
  engine().Signal(*call.op, SIGWINCH);
  EXPECT_TRUE(Asleep(call));
}

TEST_F(EndingsTest, ASignalThatWasNoEndDoesNotChangeTheNextOne) {
  WaitCall& call = Take(In(kKillable));
  engine().Signal(*call.op, SIGINT);
  EXPECT_TRUE(Asleep(call));
  engine().Signal(*call.op, SIGTERM);
  EXPECT_EQ(EndingOf(call), Ending::kInterrupted);
  EXPECT_EQ(call->signal(), SIGTERM);
}

// Guards the test before the ending in Object::OnEventLocked().
TEST_F(EndingsTest, TheConditionBeatsASignal) {
  WaitCall& call = Take();
  Store("q", 1);
  engine().Signal(*call.op, SIGTERM);
  EXPECT_EQ(EndingOf(call), Ending::kDone);
  EXPECT_EQ(Value("q"), 0);
}

TEST_F(EndingsTest, TheTimeoutBeatsASignal) {
  WaitCall& call = Take(For(absl::Seconds(1)));
  clock().AdvanceWithoutTimers(absl::Seconds(1));
  engine().Signal(*call.op, SIGTERM);
  EXPECT_EQ(EndingOf(call), Ending::kTimedOut);
}

TEST_F(EndingsTest, WhoIsInterruptedHasChangedNothing) {
  Store("q", 7);
  const uint64_t before = engine().Get("q")->generation;
  WaitCall& call = Take();
  engine().Signal(*call.op, SIGTERM);
  EXPECT_EQ(EndingOf(call), Ending::kInterrupted);
  EXPECT_EQ(call->value_before(), 7);
  EXPECT_EQ(call->value_after(), 7);
  EXPECT_EQ(engine().Get("q")->generation, before);
}

TEST_F(EndingsTest, WhoIsInterruptedUsesUpNoWake) {
  WaitCall& first = Take();
  WaitCall& second = Take();
  engine().Signal(*first.op, SIGTERM);
  EXPECT_EQ(WakeUp("q", Set(1)).woken, 1u);
  EXPECT_EQ(TakeEnded(), (Calls{&first, &second}));
}

TEST_F(EndingsTest, AnEndedCallCannotBeEndedAgain) {
  WaitCall& call = Take();
  WakeUp("q", Set(1));
  engine().Signal(*call.op, SIGKILL);
  engine().CallerGone(*call.op);
  EXPECT_EQ(EndingOf(call), Ending::kDone);
  EXPECT_EQ(call.told(), 1);
}

// --- Callers that go ---------------------------------------------------------

TEST_F(EndingsTest, WhoIsGoneIsNotTestedAndTakesNothing) {
  WaitCall& call = Take();
  Store("q", 1);  // its condition holds
  const uint64_t before = engine().Get("q")->generation;
  engine().CallerGone(*call.op);
  EXPECT_EQ(EndingOf(call), Ending::kCallerGone);
  EXPECT_EQ(Value("q"), 1);
  EXPECT_EQ(engine().Get("q")->generation, before);
}

TEST_F(EndingsTest, AnUninterruptibleCallRunsOnWithoutItsCaller) {
  MakePipe("full", 1);
  WriteNow("full", "x");
  WriteCall& write = Write("full", "y", In(kUninterruptible));
  engine().CallerGone(*write.op);
  Detach(write);
  EXPECT_EQ(engine().ListTasks({.object = "full"}, 10).size(), 1u)
      << "ps shows it";
  EXPECT_EQ(ReadNow("full", 1), "x");
  EXPECT_EQ(ReadNow("full", 1), "y") << "what it gives is there";
  EXPECT_EQ(EndingOf(write), Ending::kAsleep) << "nobody is told";
  EXPECT_EQ(write.told(), 0);
  EXPECT_EQ(write->ending(), Ending::kDone);
}

TEST_F(EndingsTest, ACallerThatLeavesBeforeItIsToldIsNotTold) {
  WaitCall& call = Take();
  WakeUp("q", Set(1));
  Detach(call);  // its answer was on the way
  TakeEnded();
  EXPECT_EQ(call.told(), 0);
}

// --- Remove ------------------------------------------------------------------

TEST_F(EndingsTest, RemoveEndsWhoSleepsAndSaysHowMany) {
  Call& a = Take();
  Call& b = Wait("q", {.condition = Equal(1)});
  EXPECT_EQ(engine().Remove("q", false).value(), 2u);
  EXPECT_EQ(EndingOf(a), Ending::kRemoved);
  EXPECT_EQ(EndingOf(b), Ending::kRemoved);
  EXPECT_EQ(DetailsOf(engine().Stat("q").status()).reason, "ENOENT");
}

TEST_F(EndingsTest, RemoveDoesNotTest) {
  WaitCall& call = Take();
  Store("q", 1);
  EXPECT_TRUE(engine().Remove("q", false).ok());
  EXPECT_EQ(EndingOf(call), Ending::kRemoved);
  EXPECT_EQ(call->value_after(), 1);
}

TEST_F(EndingsTest, RemoveOfNothingIsAnError) {
  EXPECT_EQ(DetailsOf(engine().Remove("q", false).status()).reason, "ENOENT");
  EXPECT_EQ(DetailsOf(engine().Remove("q", true).status()).reason, "ENOENT");
}

TEST_F(EndingsTest, TheNameIsFreeForAnotherObject) {
  Store("x", 5);
  const uint64_t before = engine().Stat("x")->incarnation;
  EXPECT_TRUE(engine().Remove("x", false).ok());
  Complete("x");
  EXPECT_EQ(engine().Stat("x")->kind, ObjectKind::kCompletion);
  EXPECT_GT(engine().Stat("x")->incarnation, before);
  EXPECT_TRUE(engine().Remove("x", false).ok());
  EXPECT_EQ(Wait("x", {.condition = Equal(0)})->ending(), Ending::kDone)
      << "the new word does not know the old value";
}

TEST_F(EndingsTest, AnOpenWriterForbidsRemoveUnlessForced) {
  PipeWriter& writer = OpenWriter("p");
  const absl::Status status = engine().Remove("p", false).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(DetailsOf(status).reason, "EBUSY");
  EXPECT_EQ(DetailsOf(status).metadata.at("object"), "p");
  EXPECT_TRUE(engine().Stat("p").ok()) << "it is there still";
  EXPECT_TRUE(engine().Remove("p", true).ok());
  Close(writer);
}

TEST_F(EndingsTest, AnOpenReaderDoesNotForbidRemove) {
  PipeReader& reader = OpenReader("p");
  ReadCall& read = Read(reader, 10);
  EXPECT_EQ(engine().Remove("p", false).value(), 1u);
  EXPECT_EQ(EndingOf(read), Ending::kRemoved);
}

TEST_F(EndingsTest, AClosedWriterDoesNotForbidRemove) {
  Close(OpenWriter("p"));
  EXPECT_TRUE(engine().Remove("p", false).ok());
}

TEST_F(EndingsTest, AHandleOfARemovedPipeLeadsNowhere) {
  PipeReader& reader = OpenReader("p");
  PipeWriter& writer = OpenWriter("p");
  EXPECT_TRUE(engine().Remove("p", true).ok());
  WriteNow("p", "of another pipe");
  EXPECT_EQ(Read(reader, 10).started, Started::kGone);
  EXPECT_EQ(Write(writer, "x").started, Started::kGone);
  Close(writer);
  Close(reader);
  EXPECT_EQ(StatPipe("p").unread_bytes, 15u);
  EXPECT_EQ(StatPipe("p").writers, 0u);
}

TEST_F(EndingsTest, BytesOfARemovedPipeAreGone) {
  WriteNow("p", "abc");
  EXPECT_TRUE(engine().Remove("p", false).ok());
  EXPECT_EQ(ReadNow("p"), "");
}

TEST_F(EndingsTest, RemoveEndsReadersAndWritersWithTheirTruth) {
  MakePipe("p", 4, 4);
  WriteCall& big = Write("p", "12345678");
  WriteCall& small = Write("p", "9");
  EXPECT_EQ(engine().Remove("p", false).value(), 2u);
  EXPECT_EQ(EndingOf(big), Ending::kRemoved);
  EXPECT_EQ(big->accepted_bytes(), 4u);
  EXPECT_EQ(EndingOf(small), Ending::kRemoved);
  EXPECT_EQ(small->accepted_bytes(), 0u);
}

// --- The drain ---------------------------------------------------------------

TEST_F(EndingsTest, DrainEndsWhoSleepsOnAnything) {
  WaitCall& wait = Take();
  DoneCall& done = WaitDone("c");
  ReadCall& read = Read("p", 10);
  MakePipe("full", 1);
  WriteNow("full", "x");
  WriteCall& write = Write("full", "y");
  Drain();
  for (Call* call : Calls{&wait, &done, &read, &write}) {
    EXPECT_EQ(EndingOf(*call), Ending::kDraining);
  }
  EXPECT_EQ(engine().asleep(), 0u);
}

// Guards Event::kDrain among those that test.
TEST_F(EndingsTest, AtTheDrainWhatIsTrueIsASuccess) {
  WaitCall& first = Take();
  WaitCall& second = Take();
  WaitCall& woken = Wait("q", {.condition = Woken()});
  Store("q", 1);
  Drain();
  EXPECT_EQ(EndingOf(first), Ending::kDone);
  EXPECT_EQ(EndingOf(second), Ending::kDraining) << "the first has taken it";
  EXPECT_EQ(EndingOf(woken), Ending::kDraining) << "a drain is no wake";
  EXPECT_EQ(Value("q"), 0);
}

TEST_F(EndingsTest, WhileDrainingNobodyFallsAsleep) {
  Drain();
  const WaitCall& wait = Take();
  EXPECT_EQ(wait.started, Started::kEnded);
  EXPECT_EQ(wait->ending(), Ending::kDraining);
  EXPECT_EQ(WaitDone("c")->ending(), Ending::kDraining);
  EXPECT_EQ(Read("p", 10)->ending(), Ending::kDraining);
}

TEST_F(EndingsTest, WhileDrainingWhatNeedsNoSleepGoesOn) {
  WriteNow("p", "left over");
  Store("q", 1);
  Complete("c");
  Drain();
  EXPECT_EQ(Take()->ending(), Ending::kDone);
  EXPECT_EQ(WaitDone("c")->ending(), Ending::kDone);
  EXPECT_EQ(Take(Nonblock())->ending(), Ending::kWouldBlock);
  EXPECT_EQ(Take(For(absl::ZeroDuration()))->ending(), Ending::kTimedOut);
  EXPECT_EQ(ReadNow("p", 4), "left");
  EXPECT_EQ(engine().UnreadPipes(),
            (std::vector<std::pair<std::string, uint64_t>>{{"p", 5}}));
  EXPECT_EQ(ReadNow("p"), " over");
  EXPECT_TRUE(engine().UnreadPipes().empty());
}

TEST_F(EndingsTest, WhileDrainingWritesAreRefusedThoughThereIsRoom) {
  PipeWriter& writer = OpenWriter("p");
  Drain();
  EXPECT_EQ(Write(writer, "x")->ending(), Ending::kDraining);
  EXPECT_EQ(Write("p", "x")->ending(), Ending::kDraining);
  EXPECT_EQ(Write("p", "x", Nonblock())->ending(), Ending::kDraining);
  EXPECT_EQ(StatPipe("p").unread_bytes, 0u);
  const absl::Status status = engine().OpenWriter("p", {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(DetailsOf(status).reason, "ESHUTDOWN");
}

TEST_F(EndingsTest, WhileDrainingAReaderMayOpenAndSeeTheEnd) {
  PipeWriter& writer = OpenWriter("p");
  Drain();
  Close(writer);
  PipeReader& reader = OpenReader("p");
  EXPECT_EQ(Read(reader, 10)->ending(), Ending::kEndOfFile);
}

TEST_F(EndingsTest, DrainTellsABigWriteWhatIsInThePipe) {
  MakePipe("p", 4, 1);
  WriteCall& write = Write("p", "12345678");
  Drain();
  EXPECT_EQ(EndingOf(write), Ending::kDraining);
  EXPECT_EQ(write->accepted_bytes(), 4u);
  EXPECT_EQ(ReadNow("p"), "1234");
}

// --- The end of the engine ---------------------------------------------------

// Tells at once, on the thread that ended the sleep.
class ImmediateHome final : public Home {
 public:
  void Deliver(DoneList done) override {
    while (!done.empty()) done.Pop()->Deliver();
  }
};

TEST(EngineEndTest, TheEngineEndsAllSleepsWhenItGoes) {
  SimulatedClock clock;
  ImmediateHome home;
  WaitCall wait;
  ReadCall read;
  WriteCall write;
  std::vector<Ending> endings;
  {
    Engine engine(SmallLimits(), &clock.timers(), kFirstGeneration);
    wait.op = MakeWait({.condition = Equal(1)}, &home, &wait);
    read.op = MakeRead(10, nullptr, &home, &read);
    write.op = MakeWrite(std::string(100'000, 'x'), nullptr, &home, &write);
    EXPECT_EQ(engine.Wait("q", wait.op, For(absl::Hours(1))).value(),
              Started::kAsleep);
    EXPECT_EQ(engine.Read("p", read.op, {}).value(), Started::kAsleep);
    EXPECT_EQ(engine.Write("full", write.op, {}).value(), Started::kAsleep);
    // The engine outlives the operations.
    wait.op = nullptr;
    read.op = nullptr;
    write.op = nullptr;
  }
  EXPECT_EQ(wait.told(), 1);
  EXPECT_EQ(read.told(), 1);
  EXPECT_EQ(write.told(), 1);
  EXPECT_FALSE(clock.timers().NextWork().has_value());
}

// --- Delivery ----------------------------------------------------------------

// Sees that nothing of the engine is locked, and in which batches results come.
class AskingHome final : public Home {
 public:
  explicit AskingHome(Engine* engine) : engine_(*engine) {}
  void Deliver(DoneList done) override {
    // Would hang if the object's lock were held.
    EXPECT_TRUE(engine_.Get("q").ok());
    ++batches;
    while (!done.empty()) {
      done.Pop()->Deliver();
      ++results;
    }
  }
  int batches = 0;
  int results = 0;

 private:
  Engine& engine_;
};

TEST(DeliveryTest, AWalksResultsComeInOneBatchForEachHomeOutsideTheLock) {
  SimulatedClock clock;
  Engine engine(SmallLimits(), &clock.timers(), kFirstGeneration);
  AskingHome here(&engine), there(&engine);
  WaitCall calls[6];
  for (int i = 0; i < 6; ++i) {
    calls[i].op = MakeWait({.condition = Equal(1)}, i % 3 == 0 ? &here : &there,
                           &calls[i]);
    ASSERT_TRUE(engine.Wait("q", calls[i].op, {}).ok());
  }
  WakeOptions options;
  options.update = Set(1);
  EXPECT_EQ(engine.WakeUp("q", options)->woken, 6u);
  EXPECT_EQ(here.batches, 1);
  EXPECT_EQ(here.results, 2);
  EXPECT_EQ(there.batches, 1);
  EXPECT_EQ(there.results, 4);
  for (const WaitCall& call : calls) EXPECT_EQ(call.told(), 1);
}

TEST(DeliveryTest, AHomeWithAThreadTellsEachOnce) {
  SimulatedClock clock;
  ThreadHome home;
  Engine engine(SmallLimits(), &clock.timers(), kFirstGeneration);
  std::vector<std::unique_ptr<WaitCall>> calls;
  for (int i = 0; i < 500; ++i) {
    auto& call = calls.emplace_back(std::make_unique<WaitCall>());
    call->op = MakeWait({.condition = Equal(1)}, &home, call.get());
    call->started = engine.Wait("q", call->op, {}).value();
  }
  WakeOptions options;
  options.update = Set(1);
  EXPECT_EQ(engine.WakeUp("q", options)->woken, 500u);
  for (const auto& call : calls) {
    WaitUntil([&] { return call->told() == 1; });
    EXPECT_EQ(call->op->ending(), Ending::kDone);
  }
}

}  // namespace
}  // namespace waitq::engine
