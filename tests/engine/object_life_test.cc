// How objects come and go, what they are called, and how they are listed.

#include <csignal>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/error.h"
#include "tests/engine/calls.h"
#include "tests/engine/engine_fixture.h"

namespace waitq::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ObjectLifeTest : public EngineTest {
 protected:
  bool IsThere(absl::string_view name) { return engine().Stat(name).ok(); }
  std::vector<std::string> Names(absl::string_view prefix,
                                 const Page& page = {}) {
    std::vector<std::string> names;
    for (const ObjectStat& stat : engine().List(prefix, page)) {
      names.push_back(stat.name);
    }
    return names;
  }
};

// --- First use ---------------------------------------------------------------

TEST_F(ObjectLifeTest, ObjectsSpringIntoLifeOnFirstUse) {
  const std::vector<std::pair<ObjectKind, std::function<void(std::string)>>>
      uses = {
          {ObjectKind::kWaitQueue,
           [&](auto name) { Wait(name, {.condition = Equal(0)}); }},
          {ObjectKind::kWaitQueue, [&](auto name) { WakeUp(name); }},
          {ObjectKind::kWaitQueue, [&](auto name) { Store(name, 0); }},
          {ObjectKind::kCompletion, [&](auto name) { WaitDone(name); }},
          {ObjectKind::kCompletion, [&](auto name) { TryWait(name); }},
          {ObjectKind::kCompletion, [&](auto name) { Complete(name); }},
          {ObjectKind::kCompletion,
           [&](auto name) { engine().Reinit(name).value(); }},
          {ObjectKind::kPipe, [&](auto name) { Read(name, 1); }},
          {ObjectKind::kPipe, [&](auto name) { Write(name, "x"); }},
          {ObjectKind::kPipe, [&](auto name) { OpenReader(name); }},
          {ObjectKind::kPipe, [&](auto name) { OpenWriter(name); }},
      };
  int i = 0;
  for (const auto& [kind, use] : uses) {
    const std::string name = absl::StrCat("object", i++);
    use(name);
    const absl::StatusOr<ObjectStat> stat = engine().Stat(name);
    ASSERT_TRUE(stat.ok()) << name;
    EXPECT_EQ(stat->kind, kind) << name;
    EXPECT_FALSE(stat->created);
  }
}

TEST_F(ObjectLifeTest, LookingMakesNothing) {
  EXPECT_FALSE(engine().Get("a").ok());
  EXPECT_FALSE(engine().Done("a").ok());
  EXPECT_FALSE(engine().Stat("a").ok());
  EXPECT_FALSE(engine().Remove("a", true).ok());
  EXPECT_TRUE(engine().ListTasks({.object = "a"}, 10).empty());
  EXPECT_TRUE(Names("").empty());
}

// Guards the idle timer.
TEST_F(ObjectLifeTest, AnObjectOfFirstUseGoesAMinuteAfterItIsIdle) {
  const std::vector<std::function<void(std::string)>> uses = {
      [&](auto name) { Wait(name, {.condition = Equal(0)}); },
      [&](auto name) {
        Wait(name, {.condition = Equal(1), .sleep = Nonblock()});
      },
      [&](auto name) { WakeUp(name); },
      [&](auto name) { Store(name, 0); },
      [&](auto name) { WaitDone(name, Nonblock()); },
      [&](auto name) { TryWait(name); },
      [&](auto name) { Complete(name), TryWait(name); },
      [&](auto name) { engine().Reinit(name).value(); },
      [&](auto name) { ReadNow(name); },
      [&](auto name) { WriteNow(name, "x"), ReadNow(name); },
      [&](auto name) { WriteNow(name, ""); },
      [&](auto name) { Close(OpenReader(name)); },
      [&](auto name) { Close(OpenWriter(name)), ReadNow(name); },
  };
  int i = 0;
  for (const auto& use : uses) {
    const std::string name = absl::StrCat("object", i++);
    SCOPED_TRACE(name);
    use(name);
    clock().Advance(kIdleLife - kTick);
    EXPECT_TRUE(IsThere(name));
    clock().Advance(2 * kTick);
    EXPECT_FALSE(IsThere(name));
  }
  EXPECT_FALSE(clock().timers().NextWork().has_value());
}

TEST_F(ObjectLifeTest, WhatIsRememberedKeepsAnObjectAlive) {
  struct Row {
    const char* what;
    std::function<void(std::string)> remember;
    std::function<void(std::string)> forget;
  };
  PipeReader* reader = nullptr;
  PipeWriter* writer = nullptr;
  Call* sleeper = nullptr;
  const Row rows[] = {
      {"value", [&](auto name) { Store(name, 1); },
       [&](auto name) { Store(name, 0); }},
      {"value-by-wake", [&](auto name) { WakeUp(name, Set(1)); },
       [&](auto name) { Wait(name, {.condition = Equal(1), .then = Set(0)}); }},
      {"done", [&](auto name) { Complete(name); },
       [&](auto name) { TryWait(name); }},
      {"done-for-all",
       [&](auto name) { Complete(name, CompletionObject::kAll); },
       [&](auto name) { engine().Reinit(name).value(); }},
      // Each of these is looked at by another use while it sleeps.
      {"sleeper",
       [&](auto name) {
         sleeper = &Wait(name, {.condition = Equal(1)});
         WakeUp(name);
       },
       [&](auto) { engine().CallerGone(sleeper->operation()); }},
      {"waiter",
       [&](auto name) {
         sleeper = &WaitDone(name);
         TryWait(name);
       },
       [&](auto) { engine().CallerGone(sleeper->operation()); }},
      {"sleeping-reader",
       [&](auto name) {
         sleeper = &Read(name, 1);
         ReadNow(name);
       },
       [&](auto) { engine().CallerGone(sleeper->operation()); }},
      {"bytes", [&](auto name) { WriteNow(name, "x"); },
       [&](auto name) { ReadNow(name); }},
      {"reader", [&](auto name) { reader = &OpenReader(name); },
       [&](auto) { Close(*reader); }},
      {"writer", [&](auto name) { writer = &OpenWriter(name); },
       [&](auto name) { Close(*writer), ReadNow(name); }},
      {"unseen-end", [&](auto name) { Close(OpenWriter(name)); },
       [&](auto name) { ReadNow(name); }},
      {"unseen-broken-end", [&](auto name) { Close(OpenWriter(name), false); },
       [&](auto name) { ReadNow(name); }},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.what);
    row.remember(row.what);
    clock().Advance(kIdleLife * 3);
    EXPECT_TRUE(IsThere(row.what));
    row.forget(row.what);
    clock().Advance(kIdleLife - kTick);
    EXPECT_TRUE(IsThere(row.what));
    clock().Advance(2 * kTick);
    EXPECT_FALSE(IsThere(row.what));
  }
}

TEST_F(ObjectLifeTest, AUseBeginsTheMinuteAgain) {
  Store("q", 0);
  for (int i = 0; i < 5; ++i) {
    clock().Advance(kIdleLife - absl::Seconds(1));
    ASSERT_TRUE(IsThere("q"));
    Wait("q", {.condition = Equal(1), .sleep = Nonblock()});
  }
  clock().Advance(kIdleLife);
  EXPECT_FALSE(IsThere("q"));
}

TEST_F(ObjectLifeTest, ASleeperThatTimesOutBeginsTheMinute) {
  Wait("q", {.condition = Equal(1), .sleep = For(absl::Minutes(10))});
  clock().Advance(absl::Minutes(10));
  EXPECT_TRUE(IsThere("q"));
  clock().Advance(kIdleLife - kTick);
  EXPECT_TRUE(IsThere("q"));
  clock().Advance(2 * kTick);
  EXPECT_FALSE(IsThere("q"));
}

// --- Create ------------------------------------------------------------------

TEST_F(ObjectLifeTest, ACreatedObjectStays) {
  EXPECT_TRUE(engine().Create("q", {}).value());
  EXPECT_TRUE(engine().Stat("q")->created);
  Store("q", 1);
  Store("q", 0);
  EXPECT_EQ(clock().Advance(absl::Hours(24)), 0) << "nothing looks at it";
  EXPECT_TRUE(IsThere("q"));
  EXPECT_TRUE(engine().Remove("q", false).ok());
  EXPECT_FALSE(IsThere("q"));
}

TEST_F(ObjectLifeTest, TheSameAgainIsNoErrorAndOtherOptionsAre) {
  CreateOptions pipe;
  pipe.kind = ObjectKind::kPipe;
  pipe.pipe.capacity_bytes = 100;
  EXPECT_TRUE(engine().Create("p", pipe).value());
  EXPECT_FALSE(engine().Create("p", pipe).value());
  pipe.pipe.atomic_max_bytes = 100;  // which is the default for it
  EXPECT_FALSE(engine().Create("p", pipe).value());
  for (const auto& change : std::vector<std::function<void()>>{
           [&] { pipe.pipe.atomic_max_bytes = 99; },
           [&] { pipe.pipe = {}; },
       }) {
    change();
    const absl::Status status = engine().Create("p", pipe).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
    EXPECT_EQ(DetailsOf(status).reason, "EEXIST");
  }
  CreateOptions completion;
  completion.kind = ObjectKind::kCompletion;
  EXPECT_TRUE(engine().Create("c", completion).value());
  EXPECT_FALSE(engine().Create("c", completion).value());
}

TEST_F(ObjectLifeTest, CreateMakesAnObjectOfFirstUseStay) {
  Store("q", 0);
  EXPECT_FALSE(engine().Create("q", {}).value()) << "it was there";
  clock().Advance(kIdleLife * 2);
  EXPECT_TRUE(IsThere("q"));
  EXPECT_TRUE(engine().Stat("q")->created);
}

TEST_F(ObjectLifeTest, CreateOfAnotherKindIsAnError) {
  Store("q", 0);
  CreateOptions options;
  options.kind = ObjectKind::kPipe;
  EXPECT_EQ(DetailsOf(engine().Create("q", options).status()).reason, "ENXIO");
  EXPECT_FALSE(engine().Stat("q")->created) << "and does not make it stay";
}

// --- Kinds and names ---------------------------------------------------------

TEST_F(ObjectLifeTest, OneNameIsOneObjectOfOneKind) {
  Store("queue", 1);
  Complete("completion");
  WriteNow("pipe", "x");
  Ref<WaitOperation> wait = MakeWait({}, nullptr, nullptr);
  Ref<CompletionOperation> done = MakeDoneWait(nullptr, nullptr);
  Ref<ReadOperation> read = MakeRead(1, nullptr, nullptr, nullptr);
  Ref<WriteOperation> write = MakeWrite("x", nullptr, nullptr, nullptr);
  std::vector<absl::Status> errors;
  for (const char* name : {"completion", "pipe"}) {
    errors.push_back(engine().Wait(name, wait, {}).status());
    errors.push_back(engine().WakeUp(name, {}).status());
    errors.push_back(engine().Store(name, 1).status());
    errors.push_back(engine().Get(name).status());
  }
  for (const char* name : {"queue", "pipe"}) {
    errors.push_back(engine().Wait(name, done, {}).status());
    errors.push_back(engine().Complete(name, 1).status());
    errors.push_back(engine().Reinit(name).status());
    errors.push_back(engine().TryWait(name).status());
    errors.push_back(engine().Done(name).status());
  }
  for (const char* name : {"queue", "completion"}) {
    errors.push_back(engine().Read(name, read, {}).status());
    errors.push_back(engine().Write(name, write, {}).status());
    errors.push_back(engine().OpenReader(name, {}).status());
    errors.push_back(engine().OpenWriter(name, {}).status());
  }
  for (const absl::Status& error : errors) {
    EXPECT_EQ(error.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(DetailsOf(error).reason, "ENXIO");
    EXPECT_EQ(DetailsOf(error).metadata.count("object"), 1u);
  }
  EXPECT_EQ(std::string(engine().Get("pipe").status().message()),
            "pipe: is a pipe, not a wait queue");
}

TEST_F(ObjectLifeTest, GoodNamesAreAccepted) {
  for (const std::string& name :
       {std::string("a"), std::string("AZaz09._/-"), std::string("/"),
        std::string("a//b"), std::string(".."), std::string(255, 'x')}) {
    EXPECT_TRUE(engine().Store(name, 0).ok()) << name;
  }
}

TEST_F(ObjectLifeTest, BadNamesAreRefusedByEverything) {
  Ref<WaitOperation> wait = MakeWait({}, nullptr, nullptr);
  Ref<ReadOperation> read = MakeRead(1, nullptr, nullptr, nullptr);
  for (const std::string& name :
       {std::string(), std::string(256, 'x'), std::string("a b"),
        std::string("a\n"), std::string("caf\xc3\xa9"), std::string("a\0b", 3),
        std::string("a:b"), std::string("*")}) {
    const absl::Status errors[] = {engine().Wait(name, wait, {}).status(),
                                   engine().Read(name, read, {}).status(),
                                   engine().WakeUp(name, {}).status(),
                                   engine().Store(name, 1).status(),
                                   engine().Get(name).status(),
                                   engine().Complete(name, 1).status(),
                                   engine().Done(name).status(),
                                   engine().OpenReader(name, {}).status(),
                                   engine().Create(name, {}).status(),
                                   engine().Stat(name).status(),
                                   engine().Remove(name, true).status()};
    for (const absl::Status& error : errors) {
      EXPECT_EQ(error.code(), absl::StatusCode::kInvalidArgument) << name;
      EXPECT_EQ(DetailsOf(error).reason, "EINVAL");
      EXPECT_LT(error.message().size(), 500u);
      for (const char c : error.message()) {
        EXPECT_TRUE(c >= 32 && c < 127) << "only what can be printed";
      }
    }
  }
  EXPECT_THAT(
      std::string(engine().Get(std::string(256, 'x')).status().message()),
      HasSubstr("of 256 bytes"));
}

// --- Listing -----------------------------------------------------------------

TEST_F(ObjectLifeTest, ObjectsAreListedByNameWithAPrefix) {
  for (const char* name : {"b", "a/2", "a/1", "c", "a", "ab"}) Store(name, 1);
  EXPECT_THAT(Names(""), ElementsAre("a", "a/1", "a/2", "ab", "b", "c"));
  EXPECT_THAT(Names("a"), ElementsAre("a", "a/1", "a/2", "ab"));
  EXPECT_THAT(Names("a/"), ElementsAre("a/1", "a/2"));
  EXPECT_THAT(Names("x"), ElementsAre());
}

TEST_F(ObjectLifeTest, AListComesInPages) {
  std::vector<std::string> all;
  for (int i = 100; i < 150; ++i) {
    all.push_back(absl::StrCat("q", i));
    Store(all.back(), 1);
  }
  std::vector<std::string> paged;
  Page page{.size = 7, .after = ""};
  for (;;) {
    const std::vector<std::string> names = Names("q", page);
    if (names.empty()) break;
    EXPECT_LE(names.size(), 7u);
    paged.insert(paged.end(), names.begin(), names.end());
    page.after = names.back();
    // Who comes and goes meanwhile does not shift the pages.
    Store("q000", 1);
    engine().Remove(names.front(), true).value();
  }
  EXPECT_EQ(paged, all);
}

TEST_F(ObjectLifeTest, StatShowsEachKindsState) {
  Store("queue", -5);
  Wait("queue", {.condition = Equal(1)});
  const ObjectStat queue = engine().Stat("queue").value();
  EXPECT_EQ(queue.name, "queue");
  EXPECT_EQ(queue.kind, ObjectKind::kWaitQueue);
  EXPECT_EQ(queue.sleepers, 1u);
  EXPECT_EQ(std::get<WordResult>(queue.state).value, -5);
  EXPECT_EQ(queue.generation, engine().Get("queue")->generation);
  Complete("completion", 3);
  const ObjectStat completion = engine().Stat("completion").value();
  EXPECT_EQ(std::get<CompletionObject::Result>(completion.state).done, 3u);
  WriteNow("pipe", "abc");
  const ObjectStat pipe = engine().Stat("pipe").value();
  EXPECT_EQ(std::get<PipeStat>(pipe.state).unread_bytes, 3u);
  EXPECT_EQ(pipe.generation, std::get<PipeStat>(pipe.state).generation);
}

// --- ps ----------------------------------------------------------------------

TEST_F(ObjectLifeTest, PsShowsWhoSleeps) {
  SleepOptions sleep = In(kKillable);
  sleep.timeout = absl::Seconds(10);
  Wait("q", {.condition = Equal(1)});
  WaitCall& call =
      Wait("q", {.condition = Less(-3), .then = Set(0), .sleep = sleep});
  clock().Advance(absl::Seconds(4));
  const std::vector<TaskInfo> tasks = engine().ListTasks({.object = "q"}, 10);
  ASSERT_EQ(tasks.size(), 2u);
  const TaskInfo& task = tasks[1];
  EXPECT_EQ(task.id, call->id());
  EXPECT_EQ(task.peer, "peer:1");
  EXPECT_EQ(task.caller, "tester");
  EXPECT_EQ(task.state, kKillable);
  EXPECT_EQ(task.object, "q");
  EXPECT_EQ(task.kind, ObjectKind::kWaitQueue);
  EXPECT_EQ(task.condition, "value < -3");
  EXPECT_EQ(task.age, absl::Seconds(4));
  EXPECT_EQ(task.remaining, absl::Seconds(6));
  EXPECT_EQ(task.place, 1u);
  EXPECT_TRUE(task.exclusive);
  EXPECT_EQ(tasks[0].remaining, std::nullopt) << "for ever";
  EXPECT_FALSE(tasks[0].exclusive);
}

TEST_F(ObjectLifeTest, PsShowsThePlaceInLine) {
  const auto wait = [&](bool exclusive) {
    return Wait("q", {.condition = Equal(1), .exclusive = exclusive})->id();
  };
  const uint64_t x1 = wait(true);
  const uint64_t n1 = wait(false);
  const uint64_t x2 = wait(true);
  const uint64_t n2 = wait(false);
  std::vector<uint64_t> by_place(4);
  for (const TaskInfo& task : engine().ListTasks({.object = "q"}, 10)) {
    by_place.at(task.place) = task.id;
  }
  EXPECT_THAT(by_place, ElementsAre(n2, n1, x1, x2));
}

TEST_F(ObjectLifeTest, PsCountsReadersAndWritersOfAPipeApart) {
  MakePipe("p", 1);
  Write("p", "full");
  Write("p", "x");
  MakePipe("e", 1);
  Read("e", 1);
  Read("e", 1);
  for (const char* name : {"p", "e"}) {
    const std::vector<TaskInfo> tasks =
        engine().ListTasks({.object = name}, 10);
    ASSERT_EQ(tasks.size(), 2u);
    EXPECT_EQ(tasks[0].place, 0u);
    EXPECT_EQ(tasks[1].place, 1u);
  }
}

TEST_F(ObjectLifeTest, PsComesInPagesInTheOrderOfIds) {
  std::vector<uint64_t> all;
  for (int i = 0; i < 50; ++i) {
    // Spread over objects, so that the ids of one are not together.
    const std::string name = absl::StrCat("q", i % 7);
    all.push_back(Wait(name, {.condition = Equal(1)})->id());
  }
  std::vector<uint64_t> paged;
  uint64_t after = 0;
  for (;;) {
    const std::vector<TaskInfo> tasks = engine().ListTasks({.after = after}, 8);
    if (tasks.empty()) break;
    EXPECT_LE(tasks.size(), 8u);
    for (const TaskInfo& task : tasks) paged.push_back(task.id);
    after = paged.back();
  }
  EXPECT_EQ(paged, all);
  EXPECT_EQ(engine().ListTasks({.object = "q0"}, 100).size(), 8u);
  EXPECT_TRUE(engine().ListTasks({.object = "nobody"}, 100).empty());
}

TEST_F(ObjectLifeTest, PsCanBeAskedForTheCallsOfOneCaller) {
  Wait("q", {.condition = Equal(1)});
  EXPECT_EQ(engine().ListTasks({.caller = "tester"}, 10).size(), 1u);
  EXPECT_TRUE(engine().ListTasks({.caller = "somebody"}, 10).empty());
}

// --- kill --------------------------------------------------------------------

TEST_F(ObjectLifeTest, KillEndsTheSleepThatAdmitsTheSignal) {
  WaitCall& other = Wait("q", {.condition = Equal(1)});
  WaitCall& call = Wait("q", {.condition = Equal(1), .sleep = In(kKillable)});
  EXPECT_EQ(engine().SignalTask(call->id(), SIGINT).value(), false);
  EXPECT_TRUE(Asleep(call));
  EXPECT_EQ(engine().SignalTask(call->id(), SIGTERM).value(), true);
  EXPECT_EQ(EndingOf(call), Ending::kInterrupted);
  EXPECT_EQ(call->signal(), SIGTERM);
  EXPECT_TRUE(Asleep(other));
}

TEST_F(ObjectLifeTest, KillFindsReadersAndWritersOfPipesToo) {
  MakePipe("p", 1);
  Write("p", "x");
  WriteCall& writer = Write("p", "y");
  EXPECT_EQ(engine().SignalTask(writer->id(), SIGINT).value(), true);
  ReadCall& reader = Read("empty", 1);
  EXPECT_EQ(engine().SignalTask(reader->id(), SIGKILL).value(), true);
  EXPECT_EQ(EndingOf(writer), Ending::kInterrupted);
  EXPECT_EQ(EndingOf(reader), Ending::kInterrupted);
}

TEST_F(ObjectLifeTest, KillOfACallThatDoesNotSleepIsEsrch) {
  WaitCall& call = Wait("q", {.condition = Equal(1)});
  const uint64_t id = call->id();
  WakeUp("q", Set(1));
  for (const uint64_t gone : {id, id + 1, uint64_t{0}}) {
    const absl::Status status = engine().SignalTask(gone, SIGTERM).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(DetailsOf(status).reason, "ESRCH");
  }
}

TEST_F(ObjectLifeTest, IdsRise) {
  uint64_t last = 0;
  for (int i = 0; i < 20; ++i) {
    const uint64_t id = i % 2 == 0 ? Wait("q", {.condition = Equal(1)})->id()
                                   : Wait("r", {.condition = Equal(0)})->id();
    EXPECT_GT(id, last);
    last = id;
  }
}

// --- Generations -------------------------------------------------------------

TEST_F(ObjectLifeTest, OneCounterNumbersTheChangesOfAllObjects) {
  uint64_t last = kFirstGeneration;
  const auto next = [&](uint64_t generation) {
    EXPECT_GT(generation, last);
    last = generation;
  };
  next(engine().Store("a", 1)->generation);
  next(Complete("b").generation);
  WriteNow("c", "x");
  next(StatPipe("c").generation);
  next(WakeUp("a").generation);
  ReadNow("c");
  next(StatPipe("c").generation);
  next(Wait("a", {.condition = Equal(1), .then = Set(0)})->generation());
  next(engine().Reinit("b")->generation);
}

TEST_F(ObjectLifeTest, GenerationsRiseAcrossRecreation) {
  Store("q", 1);
  const uint64_t before = engine().Get("q")->generation;
  const uint64_t incarnation = engine().Stat("q")->incarnation;
  EXPECT_TRUE(engine().Remove("q", false).ok());
  Wait("q", {.condition = Equal(0)});
  EXPECT_GT(engine().Get("q")->generation, before);
  EXPECT_GT(engine().Stat("q")->incarnation, incarnation);
  EXPECT_EQ(engine().Get("q")->generation, engine().Stat("q")->incarnation)
      << "creation is its first change";
}

TEST_F(ObjectLifeTest, GenerationsBeginAboveTheFirst) {
  Store("q", 0);
  EXPECT_GT(engine().Stat("q")->incarnation, kFirstGeneration);
}

}  // namespace
}  // namespace waitq::engine
