// A session whose client is not heard of for its grace; and who says so first.

#include <string>
#include <utility>

#include "absl/time/time.h"
#include "client/error.h"
#include "gtest/gtest.h"
#include "server/engine/operation.h"
#include "tests/sessions/raw_stream.h"
#include "tests/sessions/sessions_fixture.h"
#include "transport/duration.h"

namespace waitq::sim {
namespace {

class ExpiryTest : public SessionsFixture {
 protected:
  // A program that is gone without a word, and whose grace ends.
  void Die(Program& program) {
    program.end().Crash(/*told=*/0);
    RunFor(kGrace + absl::Seconds(1));
  }
  // A program stands still for longer than its grace.
  void StandStill(Program& program) {
    program.end().Stall(12 * kSecond);
    RunFor(absl::Seconds(12));
    Settle();
  }
};

// --- What is left of it ------------------------------------------------------

TEST_F(ExpiryTest, HeldBytesGoBackInTheirOrderAndAreMarked) {
  Program& dead = NewProgram();
  Program& other = NewProgram();
  for (const char* packet : {"1", "2", "3", "4"}) {
    Do(other, WritePacket("q", packet));
  }
  for (int i = 0; i < 3; ++i) Do(dead, ReadPacket("q"), {.keep = true});
  Do(other, Get("w"));
  EXPECT_EQ(PipeStatOf("q").held_bytes, 3u);
  Die(dead);
  EXPECT_EQ(PipeStatOf("q").held_bytes, 0u);
  for (const char* packet : {"1", "2", "3"}) {
    const Call& again = Do(other, ReadPacket("q"));
    EXPECT_EQ(again.data(), packet);
    EXPECT_TRUE(again.result.read().redelivered());
  }
  const Call& last = Do(other, ReadPacket("q"));
  EXPECT_EQ(last.data(), "4");
  EXPECT_FALSE(last.result.read().redelivered());
}

TEST_F(ExpiryTest, WhoSleepsGetsWhatGoesBackInItsOrder) {
  Program& dead = NewProgram();
  Program& other = NewProgram();
  for (const char* packet : {"1", "2"}) Do(other, WritePacket("q", packet));
  for (int i = 0; i < 2; ++i) Do(dead, ReadPacket("q"), {.keep = true});
  const Call& first = Do(other, ReadPacket("q"));
  const Call& second = Do(other, ReadPacket("q"));
  Die(dead);
  EXPECT_EQ(first.data(), "1");
  EXPECT_EQ(second.data(), "2");
}

TEST_F(ExpiryTest, WhatWasAcknowledgedDoesNotGoBack) {
  Program& dead = NewProgram();
  Program& other = NewProgram();
  Do(other, WritePacket("q", "1"));
  Do(dead, ReadPacket("q"));
  Die(dead);
  const Call& none = Do(other, Nonblock(ReadPacket("q")));
  EXPECT_EQ(none.result.read().outcome(), v1::OUTCOME_WOULD_BLOCK);
}

TEST_F(ExpiryTest, AResultThatWasNeverSentGoesBackToo) {
  Program& dead = NewProgram();
  Program& other = NewProgram();
  Do(dead, ReadPacket("q"));
  // Not told that its client is gone, the server gives it what comes.
  dead.end().Crash(/*told=*/kForever);
  Do(other, WritePacket("q", "1"));
  EXPECT_EQ(PipeStatOf("q").held_bytes, 1u);
  RunFor(kGrace + absl::Seconds(2));
  const Call& again = Do(other, ReadPacket("q"));
  EXPECT_EQ(again.data(), "1");
  EXPECT_TRUE(again.result.read().redelivered());
}

TEST_F(ExpiryTest, AnExplicitHoldGoesBackBeforeItsTime) {
  Program& dead = NewProgram();
  Program& other = NewProgram();
  Do(other, WritePacket("q", "1"));
  v1::Operation hold = ReadPacket("q");
  *hold.mutable_read()->mutable_hold() = ToWire(absl::Hours(1));
  Do(dead, hold);
  EXPECT_EQ(PipeStatOf("q").held_bytes, 1u);
  Die(dead);
  EXPECT_EQ(Do(other, ReadPacket("q")).data(), "1");
}

// Guards NoteHolds() of reads by handle.
TEST_F(ExpiryTest, AnExplicitHoldOfAHandleGoesBackBeforeItsTime) {
  Program& dead = NewProgram();
  Program& other = NewProgram();
  Do(other, WriteStream("f", "1"));
  const uint64_t handle = Do(dead, Open("f", false)).result.operation();
  v1::Operation hold = HandleRead(handle, 10);
  *hold.mutable_read()->mutable_hold() = ToWire(absl::Hours(1));
  Do(dead, hold);
  EXPECT_EQ(PipeStatOf("f").held_bytes, 1u);
  Die(dead);
  EXPECT_EQ(Do(other, ReadStream("f", 10)).data(), "1");
}

TEST_F(ExpiryTest, ACompletionGoesBackAndIsMarked) {
  Program& dead = NewProgram();
  Program& other = NewProgram();
  Do(other, Complete("c", 2));
  Do(dead, Wait("c"), {.keep = true});
  Die(dead);
  EXPECT_EQ(CompletionOf("c"), 2u);
  EXPECT_TRUE(Do(other, Wait("c")).result.completion_wait().redelivered());
  EXPECT_FALSE(Do(other, Wait("c")).result.completion_wait().redelivered());
}

TEST_F(ExpiryTest, WritersBreakAndReadersSeeIt) {
  Program& dead = NewProgram();
  Program& reader = NewProgram();
  const uint64_t out = Do(dead, Open("f", true)).result.operation();
  const uint64_t in = Do(reader, Open("f", false)).result.operation();
  Do(dead, HandleWrite(out, "half a fi"));
  EXPECT_EQ(Do(reader, HandleRead(in, 100)).data(), "half a fi");
  const Call& end = Do(reader, HandleRead(in, 100));
  EXPECT_TRUE(end.asleep());
  Die(dead);
  EXPECT_EQ(end.result.read().outcome(), v1::OUTCOME_END_OF_FILE);
  EXPECT_TRUE(end.result.read().broken());
  EXPECT_EQ(PipeStatOf("f").writers, 0u);
}

TEST_F(ExpiryTest, SleepersAreGone) {
  Program& dead = NewProgram();
  Program& other = NewProgram();
  Do(dead, ReadPacket("q"));
  Do(dead, Sleepy("w"));
  Do(dead, Wait("c"));
  v1::Operation barrier = AwaitNotZero("w");
  barrier.mutable_wait()->set_sleep(v1::SLEEP_UNINTERRUPTIBLE);
  Do(dead, barrier);
  EXPECT_EQ(engine().asleep(), 4u);
  Die(dead);
  EXPECT_EQ(engine().asleep(), 0u);
  Do(other, Add("w", 1));
  EXPECT_EQ(WordOf("w"), 1);
}

TEST_F(ExpiryTest, WhatWasHandedOverAtTheLastMomentGoesBack) {
  const auto stream = RawStream::Make(&engine());
  stream->Send(NewSession());
  stream->Send(Operations(1, {Wait("c")}));
  {
    // It has got it, and its session does not know that yet.
    const engine::DeliveryBatch later;
    ASSERT_TRUE(engine().Complete("c", 1).ok());
    EXPECT_EQ(CompletionOf("c"), 0u);
    v1::SessionRequest end;
    end.set_end(true);
    stream->Send(end);
    EXPECT_EQ(sessions(), 0u);
  }
  EXPECT_EQ(CompletionOf("c"), 1u);
}

TEST_F(ExpiryTest, AWriteIsNotLetInByTheEndOfTheOneBeforeIt) {
  Program& dead = NewProgram();
  Program& reader = NewProgram();
  v1::Operation fill = WriteStream("f", std::string(100, 'x'));
  fill.mutable_write()->mutable_options()->set_capacity_bytes(100);
  fill.mutable_write()->mutable_options()->set_atomic_max_bytes(100);
  v1::Operation large = WriteStream("f", std::string(60, 'y'));
  *large.mutable_write()->mutable_options() = fill.write().options();
  v1::Operation small = WriteStream("f", "z");
  *small.mutable_write()->mutable_options() = fill.write().options();
  Do(reader, fill);
  Do(dead, large);
  Do(dead, small);
  v1::Operation some = ReadStream("f", 10);
  *some.mutable_read()->mutable_options() = fill.write().options();
  Do(reader, some);  // room for the small one, which is not the first
  EXPECT_EQ(engine().asleep(), 2u);
  Die(dead);
  EXPECT_EQ(PipeStatOf("f").unread_bytes, 90u);
}

TEST_F(ExpiryTest, AnUninterruptibleWriteRunsOnAndThenItsHandleBreaks) {
  Program& dead = NewProgram();
  Program& reader = NewProgram();
  v1::Operation open = Open("f", true);
  open.mutable_open()->mutable_options()->set_capacity_bytes(4096);
  const uint64_t out = Do(dead, open).result.operation();
  v1::Operation in = Open("f", false);
  *in.mutable_open()->mutable_options() = open.open().options();
  const uint64_t handle = Do(reader, in).result.operation();
  Do(dead, HandleWrite(out, std::string(4096, 'x')));
  v1::Operation more = HandleWrite(out, "more");
  more.mutable_write()->set_sleep(v1::SLEEP_UNINTERRUPTIBLE);
  Do(dead, more);
  Die(dead);
  EXPECT_EQ(PipeStatOf("f").writers, 1u);
  EXPECT_EQ(Do(reader, HandleRead(handle, 5000)).data().size(), 4096u);
  EXPECT_EQ(Do(reader, HandleRead(handle, 5000)).data(), "more");
  const Call& end = Do(reader, HandleRead(handle, 5000));
  EXPECT_TRUE(end.result.read().broken());
  EXPECT_EQ(PipeStatOf("f").writers, 0u);
}

// --- Who is first ------------------------------------------------------------

// By clocks that run 5 % apart, in both directions.
class ExpiryOrderTest : public ExpiryTest,
                        public testing::WithParamInterface<int64_t> {};

INSTANTIATE_TEST_SUITE_P(Drift, ExpiryOrderTest,
                         testing::Values(-50'000, 0, 50'000));

TEST_P(ExpiryOrderTest, TheClientSaysSoBeforeTheServerGivesAnythingBack) {
  Program& program = NewProgram("program", kGrace, GetParam());
  Program& other = NewProgram();
  Do(other, WritePacket("q", "1"));
  RunFor(absl::Seconds(20));  // heartbeats
  Do(program, ReadPacket("q"), {.keep = true});
  const Call& sleeper = Do(program, ReadPacket("q"));
  const Call& heir = Do(other, ReadPacket("q"));
  program.CutUnseen(absl::Seconds(60));
  RunFor(absl::Seconds(15));
  EXPECT_EQ(sleeper.reason(), "ESTALE");
  EXPECT_TRUE(OutcomeUnknown(sleeper.status));
  EXPECT_EQ(heir.data(), "1");
  EXPECT_LT(sleeper.when, heir.when);
}

TEST_F(ExpiryTest, TheLeaseBeginsWhenTheHeartbeatWasSentNotWhenItWasAnswered) {
  Program& program = NewProgram();
  const Call& sleeper = Do(program, ReadPacket("q"));
  // The heartbeat goes out; its answer is read two seconds later.
  TakeRequests();
  bool beaten = false;
  for (int i = 0; i < 5000 && !beaten; ++i) {
    RunFor(absl::Milliseconds(1));
    for (const v1::SessionRequest& request : TakeRequests()) {
      beaten = beaten || request.heartbeat() != 0;
    }
  }
  const Nanos heard = network_.now();
  program.end().Stall(2 * kSecond);
  RunFor(absl::Seconds(2) + absl::Milliseconds(1));
  program.CutUnseen(absl::Seconds(60));
  for (int i = 0; i < 2000 && sessions() > 0; ++i) {
    RunFor(absl::Milliseconds(10));
  }
  EXPECT_GE(network_.now(), heard + 10 * kSecond);
  EXPECT_EQ(sleeper.reason(), "ESTALE");
  EXPECT_LT(sleeper.when, heard + 9 * kSecond + 10 * kMillisecond);
}

TEST_F(ExpiryTest, WhoHasStoodStillTakesNothingOfAnExpiredSession) {
  Program& program = NewProgram();
  Program& other = NewProgram();
  const Call& read = Do(program, ReadPacket("q"));
  program.end().Stall(12 * kSecond);
  // Its result waits at its door while the grace ends.
  Do(other, WritePacket("q", "1"));
  const Call& heir = Do(other, ReadPacket("q"));
  RunFor(absl::Seconds(12));
  Settle();
  EXPECT_EQ(heir.data(), "1");
  EXPECT_EQ(read.told, 1);
  EXPECT_EQ(read.reason(), "ESTALE");
}

TEST_F(ExpiryTest, ASilentClientIsAskedForWhatIsThereBeforeItExpires) {
  const auto stream = RawStream::Make(&engine());
  stream->hold_probes = true;
  stream->Send(NewSession());
  RunFor(kGrace + absl::Seconds(2));
  EXPECT_EQ(stream->probes.size(), 1u);
  EXPECT_EQ(sessions(), 1u);
  // Something was there.
  v1::SessionRequest beat;
  beat.set_heartbeat(1);
  stream->Send(beat);
  for (auto& probed : std::exchange(stream->probes, {})) probed();
  RunFor(kGrace - absl::Seconds(1));
  EXPECT_EQ(sessions(), 1u);
  // And now there is not.
  RunFor(absl::Seconds(2));
  EXPECT_EQ(stream->probes.size(), 1u);
  for (auto& probed : std::exchange(stream->probes, {})) probed();
  RunFor(absl::Seconds(1));
  EXPECT_EQ(sessions(), 0u);
  EXPECT_EQ(stream->end_reason(), "ESTALE");
}

TEST_F(ExpiryTest, HeartbeatsKeepASessionAlive) {
  Program& program = NewProgram();
  const Call& read = Do(program, ReadPacket("q"));
  const std::string token = program.token();
  RunFor(absl::Minutes(5));
  EXPECT_TRUE(read.asleep());
  EXPECT_EQ(program.token(), token);
  EXPECT_EQ(program.end().connects(), 1u);
}

// --- The server's own stalls -------------------------------------------------

TEST_F(ExpiryTest, AStallOfTheServerAddsToTheGrace) {
  const auto stream = RawStream::Make(&engine());
  stream->Send(NewSession());
  RunFor(absl::Seconds(4));
  network_.StallServer(12 * kSecond, /*timers_first=*/true);
  RunFor(absl::Seconds(13));
  EXPECT_EQ(sessions(),
            1u);  // it was silent for 17 seconds, 12 of them unheard
  RunFor(absl::Seconds(4));
  EXPECT_EQ(sessions(), 1u);
  RunFor(absl::Seconds(3));
  EXPECT_EQ(sessions(), 0u);
}

TEST_F(ExpiryTest, AStallIsNotGivenToWhoWasHeardAfterIt) {
  const auto stream = RawStream::Make(&engine());
  stream->Send(NewSession());
  RunFor(absl::Seconds(1));
  network_.StallServer(5 * kSecond, /*timers_first=*/false);
  RunFor(absl::Seconds(5));
  // The message goes before the timers, so nobody has looked yet.
  v1::SessionRequest beat;
  beat.set_heartbeat(1);
  stream->Send(beat);
  RunFor(kGrace - absl::Seconds(1));
  EXPECT_EQ(sessions(), 1u);
  RunFor(absl::Seconds(2));
  EXPECT_EQ(sessions(), 0u);
}

TEST_F(ExpiryTest, AStallIsNotGivenToWhoResumesAfterIt) {
  const auto stream = RawStream::Make(&engine());
  stream->Send(NewSession());
  RunFor(absl::Seconds(1));
  network_.StallServer(5 * kSecond, /*timers_first=*/false);
  RunFor(absl::Seconds(5));
  const auto next = RawStream::Make(&engine());
  next->Send(Resume(stream->hello(), 0));
  RunFor(kGrace + absl::Seconds(1));
  EXPECT_EQ(sessions(), 0u);
}

TEST_F(ExpiryTest, AStallThatIsSeenTwiceCountsOnce) {
  const auto stream = RawStream::Make(&engine());
  stream->Send(NewSession());
  RunFor(absl::Seconds(1));
  network_.StallServer(5 * kSecond, /*timers_first=*/false);
  RunFor(absl::Seconds(5));
  engine().sessions().NoteStall();
  engine().sessions().NoteStall();
  RunFor(absl::Seconds(1));
  EXPECT_GT(engine().sessions().Stalled(), absl::Milliseconds(4700));
  EXPECT_LT(engine().sessions().Stalled(), absl::Milliseconds(5100));
}

// --- Beginning again ---------------------------------------------------------

TEST_F(ExpiryTest, WhatMayBeginAgainDoesWithWhatIsLeftOfItsTimeout) {
  Program& program = NewProgram();
  const Nanos begin = network_.now();
  const Call& read = program.Start(
      WithTimeout(ReadPacket("q"), absl::Seconds(20)), {.restartable = true});
  const Call& wait = program.Start(WithTimeout(Wait("c"), absl::Seconds(60)),
                                   {.restartable = true});
  const Call& once = program.Start(WithTimeout(Wait("d"), absl::Seconds(60)));
  Settle();
  StandStill(program);
  EXPECT_TRUE(read.asleep());
  EXPECT_EQ(once.reason(), "ESTALE");
  Do(program, Complete("c"));
  EXPECT_TRUE(wait.done());
  RunFor(absl::Seconds(30));
  EXPECT_EQ(read.result.read().outcome(), v1::OUTCOME_TIMED_OUT);
  EXPECT_GE(read.when, begin + 20 * kSecond);
  EXPECT_LT(read.when, begin + 20 * kSecond + 200 * kMillisecond);
}

TEST_F(ExpiryTest, WhatMayBeginAgainDoesSoInItsOrder) {
  Program& program = NewProgram();
  Program& writer = NewProgram();
  const Call& first = Do(program, ReadPacket("q"), {.restartable = true});
  const Call& second = Do(program, ReadPacket("q"), {.restartable = true});
  StandStill(program);
  Do(writer, WritePacket("q", "1"));
  Do(writer, WritePacket("q", "2"));
  EXPECT_EQ(first.data(), "1");
  EXPECT_EQ(second.data(), "2");
}

TEST_F(ExpiryTest, WhatIsCancelledDoesNotBeginAgain) {
  Program& program = NewProgram();
  const Call& read = Do(program, ReadPacket("q"), {.restartable = true});
  program.CutUnseen(absl::Seconds(60));
  RunFor(absl::Milliseconds(10));
  program.Cancel(read);
  EXPECT_EQ(read.reason(), "ECANCELED");
  RunFor(absl::Seconds(70));
  EXPECT_EQ(read.told, 1);
  EXPECT_EQ(engine().asleep(), 0u);
}

TEST_F(ExpiryTest, WhatBeganAgainCanBeCancelledByItsFirstName) {
  Program& program = NewProgram();
  Do(program, Get("w"));
  const Call& read = Do(program, ReadPacket("q"), {.restartable = true});
  StandStill(program);
  EXPECT_TRUE(read.asleep());
  EXPECT_EQ(engine().asleep(), 1u);
  program.Cancel(read);
  Settle();
  EXPECT_EQ(read.reason(), "ECANCELED");
  EXPECT_EQ(engine().asleep(), 0u);
}

TEST_F(ExpiryTest, NothingBeginsAgainOnAnotherServer) {
  Program& program = NewProgram();
  const Call& read = Do(program, ReadPacket("q"), {.restartable = true});
  program.end().Stall(12 * kSecond);
  RunFor(absl::Seconds(1));
  network_.StopServer(/*says_so=*/false, /*told=*/kForever);
  network_.StartServer();
  RunFor(absl::Seconds(12));
  EXPECT_EQ(read.reason(), "EOWNERDEAD");
  EXPECT_TRUE(OutcomeUnknown(read.status));
  EXPECT_EQ(engine().asleep(), 0u);
}

TEST_F(ExpiryTest, ACallOfALostHandleNeverReachesAnotherFile) {
  Program& program = NewProgram();
  const Call& open = Do(program, Open("f", false));
  const uint64_t in = open.result.operation();
  StandStill(program);
  // The next session's first number is a handle of another file.
  const Call& other = Do(program, Open("g", false));
  EXPECT_EQ(other.result.operation(), in);
  const Call& read =
      program.Start(HandleRead(in, 10), {.session = open.receipt.session});
  EXPECT_EQ(read.reason(), "ESTALE");
}

TEST_F(ExpiryTest, ACallOfALostHandleThatWasNotSentReachesNoOtherFile) {
  Program& program = NewProgram();
  const Call& open = Do(program, Open("f", false));
  const uint64_t in = open.result.operation();
  program.Cut(absl::Milliseconds(50));
  RunFor(absl::Milliseconds(10));
  const Call& other = program.Start(Open("g", false));
  const Call& read =
      program.Start(HandleRead(in, 10), {.session = open.receipt.session});
  StandStill(program);
  EXPECT_TRUE(other.done());
  EXPECT_EQ(other.result.operation(), in);
  EXPECT_EQ(read.reason(), "ESTALE");
}

// Few operations at a time.
class CrowdedExpiryTest : public SessionsFixture {
 protected:
  CrowdedExpiryTest() : SessionsFixture(Few()) {}

  static engine::Limits Few() {
    engine::Limits limits;
    limits.operations_per_session = 4;
    return limits;
  }
};

TEST_F(CrowdedExpiryTest, ACallOfALostHandleThatWaitsForRoomReachesNoOther) {
  Program& program = NewProgram();
  const Call& open = Do(program, Open("f", false));
  const uint64_t in = open.result.operation();
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(Do(program, Wait("c")).asleep());
  const Call& read =
      Do(program, HandleRead(in, 10), {.session = open.receipt.session});
  const Call& other = Do(program, Open("g", false));
  EXPECT_TRUE(read.asleep());
  EXPECT_TRUE(other.asleep());
  program.end().Stall(12 * kSecond);
  RunFor(absl::Seconds(12));
  Settle();
  EXPECT_EQ(read.reason(), "ESTALE");
  EXPECT_TRUE(other.done());
  EXPECT_EQ(engine().asleep(), 0u);
}

}  // namespace
}  // namespace waitq::sim
