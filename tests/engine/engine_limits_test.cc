// Reaching a limit: a clean error that names it, and the rest goes on. (That
// all is given back afterwards is checked at the end of every test.)

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "server/engine/error.h"
#include "tests/engine/calls.h"
#include "tests/engine/engine_fixture.h"

namespace waitq::engine {
namespace {

Limits Few() {
  Limits limits = SmallLimits();
  limits.objects = 3;
  limits.sleepers = 4;
  limits.sleepers_per_object = 3;
  limits.pipe_bytes = 10;
  limits.pipe_bytes_in_all = 10;
  limits.bytes_asleep = 10;
  return limits;
}

class EngineLimitsTest : public EngineTest {
 protected:
  explicit EngineLimitsTest(const Limits& limits = Few())
      : EngineTest(limits) {}

  void ExpectLimit(Call& call, const char* limit) {
    EXPECT_EQ(EndingOf(call), Ending::kLimit);
    EXPECT_STREQ(call.operation().limit(), limit);
  }
  WaitCall& Sleep(absl::string_view name, const SleepOptions& sleep = {}) {
    return Wait(name, {.condition = Equal(1), .sleep = sleep});
  }
};

// --- Objects -----------------------------------------------------------------

TEST_F(EngineLimitsTest, ObjectsAreLimitedHoweverTheyAreMade) {
  Store("a", 1);
  Complete("b");
  WriteNow("c", "x");
  const absl::Status errors[] = {
      engine().Store("d", 1).status(),
      engine().WakeUp("d", {}).status(),
      engine().Complete("d", 1).status(),
      engine().TryWait("d").status(),
      engine().Create("d", {}).status(),
      engine().OpenReader("d", {}).status(),
      engine().OpenWriter("d", {}).status(),
      engine().Wait("d", MakeWait({}, nullptr, nullptr), {}).status(),
  };
  for (const absl::Status& error : errors) {
    EXPECT_EQ(error.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(DetailsOf(error).reason, "ENOSPC");
    EXPECT_EQ(DetailsOf(error).metadata.at("limit"), "objects");
    EXPECT_EQ(DetailsOf(error).metadata.at("object"), "d");
  }
  Store("a", 2);  // who is there goes on
}

TEST_F(EngineLimitsTest, ARemovedObjectMakesRoom) {
  for (const char* name : {"a", "b", "c"}) Store(name, 1);
  EXPECT_TRUE(engine().Remove("b", false).ok());
  EXPECT_TRUE(engine().Store("d", 1).ok());
  EXPECT_FALSE(engine().Store("e", 1).ok());
}

TEST_F(EngineLimitsTest, AForgottenObjectMakesRoom) {
  for (const char* name : {"a", "b", "c"}) Store(name, 0);
  EXPECT_FALSE(engine().Store("d", 1).ok());
  clock().Advance(kIdleLife);
  EXPECT_TRUE(engine().Store("d", 1).ok());
}

TEST_F(EngineLimitsTest, AnObjectOfAnotherKindCostsNothing) {
  Store("a", 1);
  EXPECT_FALSE(engine().Complete("a", 1).ok());
  Store("b", 1);
  Store("c", 1);  // the third: the mistake has not taken its place
}

// --- Sleepers ----------------------------------------------------------------

TEST_F(EngineLimitsTest, SleepersOfOneObjectAreLimited) {
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(Asleep(Sleep("a")));
  WaitCall& fourth = Sleep("a");
  EXPECT_EQ(fourth.started, Started::kEnded);
  ExpectLimit(fourth, "sleepers-per-object");
  EXPECT_TRUE(Asleep(Sleep("b"))) << "another object has room";
  EXPECT_EQ(engine().asleep(), 4u);
  WakeUp("a", Set(1));
  Store("a", 0);
  EXPECT_TRUE(Asleep(Sleep("a")));
}

TEST_F(EngineLimitsTest, SleepersInAllAreLimited) {
  for (int i = 0; i < 2; ++i) {
    Sleep("a");
    WaitDone("b");
  }
  ExpectLimit(Read("c", 10), "sleepers");
  ExpectLimit(Sleep("a"), "sleepers");
  EXPECT_EQ(engine().asleep(), 4u);
}

TEST_F(EngineLimitsTest, WhoDoesNotSleepNeedsNoRoom) {
  for (int i = 0; i < 3; ++i) Sleep("a");
  WaitDone("b");
  EXPECT_EQ(Wait("a", {.condition = Equal(0)})->ending(), Ending::kDone);
  EXPECT_EQ(Sleep("a", Nonblock())->ending(), Ending::kWouldBlock);
  EXPECT_EQ(Sleep("a", For(absl::ZeroDuration()))->ending(), Ending::kTimedOut);
}

TEST_F(EngineLimitsTest, EveryEndingGivesThePlaceBack) {
  for (int round = 0; round < 3; ++round) {
    WaitCall& woken = Sleep("a");
    WaitCall& timed = Sleep("a", For(absl::Seconds(1)));
    WaitCall& gone = Sleep("a");
    WaitCall& signalled = Sleep("b");
    EXPECT_EQ(engine().asleep(), 4u);
    engine().CallerGone(*gone.op);
    engine().Signal(*signalled.op, SIGKILL);
    clock().Advance(absl::Seconds(1));
    WakeUp("a", Set(1));
    Store("a", 0);
    for (WaitCall* call : {&woken, &timed, &gone, &signalled}) {
      EXPECT_FALSE(Asleep(*call));
    }
    EXPECT_EQ(engine().asleep(), 0u);
  }
  EXPECT_EQ(engine().ended(), 12u);
}

TEST_F(EngineLimitsTest, WhoMayNotSleepHasChangedNothing) {
  for (int i = 0; i < 3; ++i) Sleep("a");
  const uint64_t before = engine().Get("a")->generation;
  WaitCall& call = Wait("a", {.condition = Equal(1), .then = Set(9)});
  ExpectLimit(call, "sleepers-per-object");
  EXPECT_EQ(Value("a"), 0);
  EXPECT_EQ(engine().Get("a")->generation, before);
  EXPECT_FALSE(call->slept());
}

// --- Bytes in pipes ----------------------------------------------------------

TEST_F(EngineLimitsTest, ThePipesCapacityIsLimited) {
  CreateOptions options;
  options.kind = ObjectKind::kPipe;
  for (const uint64_t capacity : {uint64_t{0}, uint64_t{11}, ~uint64_t{0}}) {
    options.pipe.capacity_bytes = capacity;
    const absl::Status errors[] = {
        engine().Create("p", options).status(),
        engine().OpenReader("p", options.pipe).status(),
        engine().OpenWriter("p", options.pipe).status()};
    for (const absl::Status& error : errors) {
      EXPECT_EQ(error.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_EQ(DetailsOf(error).reason, "EINVAL");
      EXPECT_EQ(DetailsOf(error).metadata.at("limit"), "pipe-bytes");
    }
  }
  options.pipe.capacity_bytes = 10;
  EXPECT_TRUE(engine().Create("p", options).value());
}

TEST_F(EngineLimitsTest, AtomicMaxIsLimitedByTheCapacity) {
  CreateOptions options;
  options.kind = ObjectKind::kPipe;
  options.pipe.capacity_bytes = 5;
  for (const uint64_t atomic_max : {0, 6}) {
    options.pipe.atomic_max_bytes = atomic_max;
    const absl::Status error = engine().Create("p", options).status();
    EXPECT_EQ(DetailsOf(error).reason, "EINVAL");
    EXPECT_EQ(DetailsOf(error).metadata.at("limit"), "capacity");
  }
  options.pipe.atomic_max_bytes = std::nullopt;
  EXPECT_TRUE(engine().Create("p", options).value());
  EXPECT_EQ(StatPipe("p").options.atomic_max_bytes, 5u)
      << "4096 or the capacity";
}

TEST_F(EngineLimitsTest, ADefaultPipeFitsIntoTheLimit) {
  WriteNow("p", "x");
  EXPECT_EQ(StatPipe("p").options.capacity_bytes, 10u);
}

TEST_F(EngineLimitsTest, BytesInAllPipesAreLimited) {
  WriteNow("p", "1234567");
  ExpectLimit(Write("q", "1234"), "pipe-bytes-in-all");
  EXPECT_EQ(StatPipe("q").unread_bytes, 0u) << "whole or nothing";
  WriteNow("q", "123");
  ExpectLimit(Write("q", "4"), "pipe-bytes-in-all");
  EXPECT_EQ(ReadNow("p", 2), "12");
  WriteNow("q", "45");
}

TEST_F(EngineLimitsTest, ASleepingWriteMayMeetTheLimitWhenItsTurnComes) {
  MakePipe("p", 2);
  WriteNow("p", "ab");
  WriteCall& write = Write("p", "cd");
  EXPECT_TRUE(Asleep(write));
  WriteNow("q", "12345678");
  ReadCall& read = Read("p", 1);
  EXPECT_EQ(EndingOf(read), Ending::kDone);
  EXPECT_TRUE(Asleep(write)) << "half of it would fit";
  WriteNow("q", "9");  // nine in q, one in p: all is used up
  EXPECT_EQ(ReadNow("p", 1), "b");
  ExpectLimit(write, "pipe-bytes-in-all");
  EXPECT_EQ(StatPipe("p").unread_bytes, 0u);
}

TEST_F(EngineLimitsTest, RemovedBytesAreGivenBackWhoeverHoldsThePipe) {
  OpenReader("p");  // and the fixture holds the call that writes
  WriteNow("p", "1234567890");
  ExpectLimit(Write("q", "x", Nonblock()), "pipe-bytes-in-all");
  EXPECT_TRUE(engine().Remove("p", false).ok());
  EXPECT_EQ(Write("q", "1234567890", Nonblock())->ending(), Ending::kDone);
}

// --- Bytes asleep ------------------------------------------------------------

class BytesAsleepTest : public EngineLimitsTest {
 protected:
  static Limits Sleeping() {
    Limits limits = Few();
    limits.bytes_asleep = 6;
    return limits;
  }
  BytesAsleepTest() : EngineLimitsTest(Sleeping()) {}

  void SetUp() override {
    MakePipe("p", 4, 1);
    WriteNow("p", "....");
  }
};

TEST_F(BytesAsleepTest, AreLimited) {
  WriteCall& first = Write("p", "1234");
  ExpectLimit(Write("p", "567"), "bytes-asleep");
  EXPECT_TRUE(Asleep(Write("p", "89")));
  EXPECT_TRUE(Asleep(first));
  ExpectLimit(Write("p", "x"), "bytes-asleep");
  EXPECT_EQ(engine().asleep(), 2u) << "the refused ones took no place";
}

TEST_F(BytesAsleepTest, CountOnlyWhatIsNotInThePipe) {
  EXPECT_EQ(ReadNow("p"), "....");
  // Four of these ten go into the pipe at once.
  WriteCall& big = Write("p", "0123456789");
  EXPECT_TRUE(Asleep(big));
  EXPECT_EQ(ReadNow("p", 3), "012");
  EXPECT_TRUE(Asleep(Write("p", "abc"))) << "three of the six have moved on";
  ExpectLimit(Write("p", "d"), "bytes-asleep");
}

TEST_F(BytesAsleepTest, AreGivenBackByEveryEnding) {
  for (const char* how : {"timeout", "signal", "gone"}) {
    SCOPED_TRACE(how);
    WriteCall& write = Write("p", "123456", For(absl::Seconds(1)));
    ASSERT_TRUE(Asleep(write));
    ExpectLimit(Write("p", "x"), "bytes-asleep");
    if (how == std::string("timeout")) clock().Advance(absl::Seconds(1));
    if (how == std::string("signal")) engine().Signal(*write.op, SIGINT);
    if (how == std::string("gone")) engine().CallerGone(*write.op);
    EXPECT_FALSE(Asleep(write));
  }
  WriteCall& write = Write("p", "123456");
  PipeReader& reader = OpenReader("p");
  Close(reader);
  EXPECT_EQ(EndingOf(write), Ending::kNoReaders);
  OpenReader("p");
  WriteCall& last = Write("p", "123456");
  EXPECT_TRUE(Asleep(last));
  EXPECT_TRUE(engine().Remove("p", true).ok());
  EXPECT_EQ(EndingOf(last), Ending::kRemoved);
}

TEST_F(BytesAsleepTest, ARefusedBigWriteTellsWhatIsInThePipe) {
  EXPECT_EQ(ReadNow("p"), "....");
  WriteCall& big = Write("p", "0123456789a");  // seven would sleep
  ExpectLimit(big, "bytes-asleep");
  EXPECT_EQ(big->accepted_bytes(), 4u);
  EXPECT_EQ(ReadNow("p"), "0123");
}

}  // namespace
}  // namespace waitq::engine
