// How operations end that nobody wants any more, or whose server is gone.

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/error.h"
#include "gtest/gtest.h"
#include "tests/sessions/raw_stream.h"
#include "tests/sessions/sessions_fixture.h"

namespace waitq::sim {
namespace {

class SessionEndingsTest : public SessionsFixture {
 protected:
  using SessionsFixture::SessionsFixture;
  void AMoment() { RunFor(absl::Milliseconds(2)); }
};

// --- Cancel ------------------------------------------------------------------

TEST_F(SessionEndingsTest, ACancelledSleeperHasConsumedNothing) {
  Program& program = NewProgram();
  const Call& read = Do(program, ReadPacket("q"));
  program.Cancel(read);
  EXPECT_TRUE(read.asleep());  // the server says how it ends
  Settle();
  EXPECT_EQ(read.reason(), "ECANCELED");
  EXPECT_FALSE(OutcomeUnknown(read.status));
  EXPECT_EQ(engine().asleep(), 0u);
  Do(program, WritePacket("q", "1"));
  EXPECT_EQ(PipeStatOf("q").unread_bytes, 1u);
}

TEST_F(SessionEndingsTest, WhoHasGotSomethingIsNotCancelledAnyMore) {
  Program& program = NewProgram();
  Program& writer = NewProgram();
  const Call& read = Do(program, ReadPacket("q"));
  Do(writer, Get("w"));
  writer.Start(WritePacket("q", "1"));
  RunFor(absl::Milliseconds(7));
  EXPECT_EQ(PipeStatOf("q").held_bytes, 1u);
  program.Cancel(read);  // it meets the result on its way
  Settle();
  EXPECT_EQ(read.data(), "1");
  program.Cancel(read);
  Settle();
  EXPECT_EQ(read.told, 1);
  EXPECT_EQ(PipeStatOf("q").held_bytes, 0u);
}

TEST_F(SessionEndingsTest, WhatWasNeverSentIsCancelledAtOnceAndNeverRuns) {
  Program& program = NewProgram();
  Do(program, Get("w"));
  program.Cut(absl::Seconds(3));
  AMoment();
  const Call& add = program.Start(Add("w", 1));
  const Call& next = program.Start(Add("w", 10));
  program.Cancel(add);
  EXPECT_EQ(add.reason(), "ECANCELED");
  EXPECT_FALSE(OutcomeUnknown(add.status));
  RunFor(absl::Seconds(4));
  EXPECT_TRUE(next.done());  // its number has not moved
  EXPECT_EQ(WordOf("w"), 10);
}

TEST_F(SessionEndingsTest, WithoutAConnectionACancelIsAtOnceAndIsSaidLater) {
  Program& program = NewProgram();
  Program& writer = NewProgram();
  const Call& read = Do(program, ReadPacket("q"));
  program.Cut(absl::Seconds(3));
  AMoment();
  program.Cancel(read);
  EXPECT_EQ(read.reason(), "ECANCELED");
  EXPECT_TRUE(OutcomeUnknown(read.status));
  EXPECT_EQ(engine().asleep(), 1u);
  RunFor(absl::Seconds(4));
  EXPECT_EQ(engine().asleep(), 0u);
  EXPECT_EQ(read.told, 1);
  Do(writer, WritePacket("q", "1"));
  EXPECT_EQ(PipeStatOf("q").unread_bytes, 1u);
}

TEST_F(SessionEndingsTest, WhatWasLostOnItsWayAndIsCancelledNeverRuns) {
  Program& program = NewProgram();
  Do(program, Get("w"));
  const Call& add = program.Start(Add("w", 1));
  AMoment();
  program.Cut(absl::Seconds(3));
  AMoment();
  program.Cancel(add);
  EXPECT_TRUE(OutcomeUnknown(add.status));
  const Call& next = program.Start(Add("x", 1));
  RunFor(absl::Seconds(4));
  EXPECT_TRUE(next.done());
  EXPECT_FALSE(engine().Stat("w").ok());
}

TEST_F(SessionEndingsTest, ACancelThatWasLostIsSaidAgain) {
  Program& program = NewProgram();
  const Call& read = Do(program, ReadPacket("q"));
  program.Cancel(read);
  AMoment();
  program.Cut();
  Settle();
  EXPECT_EQ(read.reason(), "ECANCELED");
  EXPECT_EQ(engine().asleep(), 0u);
}

TEST_F(SessionEndingsTest, ACancelTakesASecondAtMostAndItsResultIsReturned) {
  Program& program = NewProgram();
  Program& other = NewProgram();
  const Call& read = Do(program, ReadPacket("q"));
  other.Start(WritePacket("q", "1"));
  RunFor(absl::Milliseconds(7));
  // Its result is on its way, but a machine that is silent says nothing.
  program.end().Cut(/*client_told=*/kForever, /*server_told=*/kForever);
  program.Cancel(read);
  RunFor(absl::Milliseconds(990));
  EXPECT_TRUE(read.asleep());
  RunFor(absl::Milliseconds(20));
  EXPECT_EQ(read.reason(), "ECANCELED");
  EXPECT_TRUE(OutcomeUnknown(read.status));
  // When the connection is another, nobody wants that result.
  RunFor(absl::Seconds(8));
  const Call& again = Do(other, Nonblock(ReadPacket("q")));
  EXPECT_EQ(again.data(), "1");
  EXPECT_TRUE(again.result.read().redelivered());
}

TEST_F(SessionEndingsTest, AnOperationIsGivenUpAtItsTimeAndItsResultReturned) {
  Program& program = NewProgram();
  Program& other = NewProgram();
  const Call& read =
      Do(program, ReadPacket("q"), {.give_up_after = absl::Seconds(3)});
  program.end().Cut(/*client_told=*/kForever, /*server_told=*/kForever);
  Do(other, WritePacket("q", "1"));
  RunFor(absl::Milliseconds(2700));
  EXPECT_TRUE(read.asleep());
  RunFor(absl::Milliseconds(200));
  EXPECT_EQ(read.status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(read.reason(), "ETIME");
  EXPECT_TRUE(OutcomeUnknown(read.status));
  EXPECT_EQ(ErrorObject(read.status), "q");
  RunFor(absl::Seconds(8));
  EXPECT_EQ(Do(other, Nonblock(ReadPacket("q"))).data(), "1");
}

TEST_F(SessionEndingsTest, WhatIsGivenUpIsCancelledAtTheServer) {
  Program& program = NewProgram();
  const Call& read =
      Do(program, ReadPacket("q"), {.give_up_after = absl::Seconds(3)});
  RunFor(absl::Seconds(4));
  EXPECT_EQ(read.reason(), "ETIME");
  EXPECT_EQ(engine().asleep(), 0u);
}

TEST_F(SessionEndingsTest, ATimeThatIsUpWithoutAConnectionIsATimeout) {
  Program& program = NewProgram();
  const Call& read =
      Do(program, ReadPacket("q"), {.give_up_after = absl::Seconds(3)});
  program.Cut(absl::Seconds(5));
  AMoment();
  const Call& unsent =
      program.Start(Add("w", 1), {.give_up_after = absl::Seconds(2)});
  RunFor(absl::Milliseconds(3100));
  EXPECT_EQ(read.status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(read.reason(), "ETIME");
  EXPECT_TRUE(OutcomeUnknown(read.status));
  EXPECT_EQ(unsent.status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(unsent.reason(), "ETIME");
  EXPECT_FALSE(OutcomeUnknown(unsent.status));
  EXPECT_EQ(ErrorObject(unsent.status), "w");
  // Nobody is left asleep, and what was not sent is never done.
  RunFor(absl::Seconds(5));
  EXPECT_EQ(engine().asleep(), 0u);
  EXPECT_FALSE(engine().Stat("w").ok());
}

// --- The end of a session ----------------------------------------------------

TEST_F(SessionEndingsTest, ACloseEndsAllAndGivesBackWhatIsNotAcknowledged) {
  Program& program = NewProgram();
  Program& other = NewProgram();
  Do(other, WritePacket("q", "1"));
  Do(other, WritePacket("q", "2"));
  Do(program, ReadPacket("q"), {.keep = true});
  Do(program, ReadPacket("q"));
  const Call& sleeper = Do(program, Wait("c"));
  const Call& read = Do(other, ReadPacket("q"));
  program.machine().Close();
  EXPECT_EQ(sleeper.reason(), "ECANCELED");
  Settle();
  EXPECT_TRUE(program.machine().IsOver());
  EXPECT_EQ(sessions(), 1u);
  EXPECT_EQ(engine().asleep(), 0u);
  EXPECT_EQ(read.data(), "1");
  EXPECT_TRUE(read.result.read().redelivered());
  EXPECT_EQ(PipeStatOf("q").held_bytes, 0u);
  const Call& late = program.Start(Get("w"));
  EXPECT_EQ(late.reason(), "ECANCELED");
}

TEST_F(SessionEndingsTest, ACloseSaysFirstWhatWasTaken) {
  Program& program = NewProgram();
  Do(program, WritePacket("q", "1"));
  const Call& read = Do(program, ReadPacket("q"), {.keep = true});
  program.Take(read);
  program.machine().Close();
  Settle();
  EXPECT_TRUE(program.machine().IsOver());
  EXPECT_EQ(sessions(), 0u);
  EXPECT_EQ(PipeStatOf("q").unread_bytes + PipeStatOf("q").held_bytes, 0u);
}

TEST_F(SessionEndingsTest, ACloseWithoutAConnectionSaysItsGoodbyeOnTheNext) {
  Program& program = NewProgram();
  Do(program, WritePacket("q", "1"));
  const Call& read = Do(program, ReadPacket("q"), {.keep = true});
  const Call& sleeper = Do(program, Wait("c"));
  program.Cut(absl::Seconds(1));
  AMoment();
  const Call& unsent = program.Start(Add("w", 1));
  program.Take(read);
  program.machine().Close();
  EXPECT_EQ(sleeper.reason(), "ECANCELED");
  EXPECT_EQ(unsent.reason(), "ECANCELED");
  EXPECT_FALSE(program.machine().IsOver());
  RunFor(absl::Seconds(2));
  EXPECT_TRUE(program.machine().IsOver());
  EXPECT_EQ(sessions(), 0u);
  EXPECT_EQ(engine().asleep(), 0u);
  EXPECT_EQ(PipeStatOf("q").unread_bytes + PipeStatOf("q").held_bytes, 0u);
  EXPECT_FALSE(engine().Stat("w").ok());
}

TEST_F(SessionEndingsTest, AGoodbyeThatWasLostIsSaidAgain) {
  Program& program = NewProgram();
  Do(program, WritePacket("q", "1"));
  const Call& read = Do(program, ReadPacket("q"), {.keep = true});
  program.Take(read);
  program.machine().Close();
  AMoment();
  program.Cut();
  Settle();
  EXPECT_TRUE(program.machine().IsOver());
  EXPECT_EQ(sessions(), 0u);
  EXPECT_EQ(PipeStatOf("q").unread_bytes + PipeStatOf("q").held_bytes, 0u);
}

TEST_F(SessionEndingsTest, AGoodbyeWhoseAnswerIsLostIsEnough) {
  Program& program = NewProgram();
  const Call& sleeper = Do(program, Wait("c"));
  program.machine().Close();
  RunFor(absl::Milliseconds(7));
  EXPECT_EQ(sessions(), 0u);
  program.Cut();
  Settle();
  EXPECT_TRUE(program.machine().IsOver());
  EXPECT_EQ(sleeper.told, 1);
}

TEST_F(SessionEndingsTest, AGoodbyeThatNobodyHearsEndsWithTheGrace) {
  Program& program = NewProgram();
  Do(program, Wait("c"));
  program.CutUnseen(absl::Seconds(60));
  AMoment();
  program.machine().Close();
  RunFor(absl::Seconds(8));
  EXPECT_FALSE(program.machine().IsOver());
  RunFor(absl::Seconds(3));
  EXPECT_TRUE(program.machine().IsOver());
  EXPECT_EQ(sessions(), 0u);
}

TEST_F(SessionEndingsTest, WhoDoesNotWaitForTheGoodbyeHasClosedAllTheSame) {
  Program& program = NewProgram();
  Do(program, Wait("c"));
  program.CutUnseen(absl::Seconds(60));
  AMoment();
  program.machine().Close();
  program.machine().AwaitOver(absl::InfinitePast());
  EXPECT_TRUE(program.machine().IsOver());
}

TEST_F(SessionEndingsTest, WithoutASessionACloseIsAtOnce) {
  Program& program = NewProgram();
  program.machine().Close();
  EXPECT_TRUE(program.machine().IsOver());
}

// Guards MayHaveSessionLocked(): what was sent with the hello slept on for the
// grace.
TEST_F(SessionEndingsTest, ACloseBeforeTheHelloIsAnsweredEndsWhatItBegan) {
  // Before the hello has arrived, and after it.
  for (const int ms : {0, 7}) {
    Program& program = NewProgram();
    const Call& sleeper = program.Start(Wait("c"));
    RunFor(absl::Milliseconds(ms));
    EXPECT_EQ(sessions(), ms == 0 ? 0u : 1u);
    program.machine().Close();
    EXPECT_EQ(sleeper.reason(), "ECANCELED");
    EXPECT_FALSE(program.machine().IsOver());
    Settle();
    EXPECT_TRUE(program.machine().IsOver());
    EXPECT_EQ(sessions(), 0u);
    EXPECT_EQ(engine().asleep(), 0u);
  }
}

// A server that stands still, perhaps: it may have read the hello, and not the
// end.
TEST_F(SessionEndingsTest, ACloseThatIsNotAnsweredIsSaidAgain) {
  Program& program = NewProgram();
  program.Start(Wait("c"));
  RunFor(absl::Milliseconds(7));
  EXPECT_EQ(sessions(), 1u);
  program.end().Cut(/*client_told=*/kForever, /*server_told=*/kForever);
  program.machine().Close();
  const uint64_t connects = program.end().connects();
  RunFor(absl::Seconds(14));
  EXPECT_FALSE(program.machine().IsOver());
  RunFor(absl::Seconds(2));
  EXPECT_TRUE(program.machine().IsOver());
  EXPECT_EQ(program.end().connects(), connects + 1);
  EXPECT_EQ(sessions(), 0u);
}

TEST_F(SessionEndingsTest,
       ACloseAfterTheAnswerToTheHelloIsLostEndsWhatItBegan) {
  for (const bool known : {false, true}) {
    Program& program = NewProgram();
    const Call& sleeper = program.Start(Wait("c"));
    RunFor(absl::Milliseconds(7));
    EXPECT_EQ(sessions(), 1u);
    // Closed when the loss is known, or before.
    program.Cut(absl::Milliseconds(100));
    if (known) AMoment();
    program.machine().Close();
    EXPECT_EQ(sleeper.reason(), "ECANCELED");
    RunFor(absl::Seconds(1));
    EXPECT_TRUE(program.machine().IsOver());
    EXPECT_EQ(sessions(), 0u);
    EXPECT_EQ(engine().asleep(), 0u);
  }
}

// --- Servers -----------------------------------------------------------------

TEST_F(SessionEndingsTest, ARestartedServerKnowsNothingOfWhatWasOpen) {
  Program& program = NewProgram();
  const Call& read = Do(program, ReadPacket("q"));
  const Call& again = Do(program, Wait("c"), {.restartable = true});
  const Call& kept = Do(program, WritePacket("p", "1"), {.keep = true});
  const Call& add = program.Start(Add("w", 1));
  AMoment();
  network_.StopServer(/*says_so=*/false, /*told=*/0);
  AMoment();
  const Call& unsent = program.Start(Add("x", 1));
  network_.StartServer();
  RunFor(absl::Seconds(1));
  for (const Call* call : {&read, &again, &add}) {
    EXPECT_EQ(call->reason(), "EOWNERDEAD");
    EXPECT_TRUE(OutcomeUnknown(call->status));
  }
  // What it could not have had runs on the new one, once.
  EXPECT_TRUE(unsent.done());
  EXPECT_EQ(WordOf("x"), 1);
  EXPECT_FALSE(engine().Stat("w").ok());
  EXPECT_EQ(engine().asleep(), 0u);
  program.Take(kept);  // of a session that is over: nothing
  Settle();
  EXPECT_EQ(sessions(), 1u);
}

TEST_F(SessionEndingsTest, AReceiptOfAnEarlierSessionIsNoneOfThisOne) {
  Program& program = NewProgram();
  Do(program, WritePacket("q", "1"));
  const Call& old = Do(program, ReadPacket("q"), {.keep = true});
  program.end().Stall(12 * kSecond);
  RunFor(absl::Seconds(13));
  Do(program, Get("w"));
  const Call& read = Do(program, ReadPacket("q"), {.keep = true});
  EXPECT_EQ(read.data(), "1");
  EXPECT_EQ(read.receipt.number, old.receipt.number);
  program.Take(old);
  Settle();
  EXPECT_EQ(PipeStatOf("q").held_bytes, 1u);
}

TEST_F(SessionEndingsTest,
       WithoutAServerAnOperationFailsAtOnceAndIsKnownToHave) {
  Program& program = NewProgram();
  program.end().Refuse(kSecond);
  const Call& add = Do(program, Add("w", 1));
  EXPECT_EQ(add.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(OutcomeUnknown(add.status));
  EXPECT_EQ(ErrorObject(add.status), "w");
  RunFor(absl::Seconds(1));
  EXPECT_TRUE(Do(program, Add("w", 1)).done());
}

TEST_F(SessionEndingsTest, ErrorsNameTheObject) {
  Program& program = NewProgram();
  EXPECT_EQ(ErrorObject(Do(program, Get("no/such")).status), "no/such");
  const Call& read = Do(program, ReadPacket("q"));
  program.CutUnseen(absl::Seconds(60));
  RunFor(absl::Seconds(10));
  EXPECT_EQ(ErrorObject(read.status), "q");
}

TEST_F(SessionEndingsTest, WhatIsCancelledUnsentNamesItsObject) {
  Program& program = NewProgram();
  Do(program, Get("w"));
  program.Cut(absl::Seconds(3));
  AMoment();
  const Call& read = program.Start(ReadPacket("q"));
  program.Cancel(read);
  EXPECT_EQ(ErrorObject(read.status), "q");
}

// --- Room --------------------------------------------------------------------

class RoomTest : public SessionEndingsTest {
 protected:
  RoomTest() : SessionEndingsTest(Few()) {}

  static engine::Limits Few() {
    engine::Limits limits;
    limits.operations_per_session = 32;
    return limits;
  }
};

TEST_F(RoomTest, WhoWakesGoesBeforeWhoSleepsWhereTheServerTakesNoMore) {
  Program& program = NewProgram();
  Do(program, Get("w"));
  std::vector<const Call*> sleepers;
  for (int i = 0; i < 40; ++i) {
    sleepers.push_back(&program.Start(Wait("c"), {.sleeper = true}));
  }
  Settle();
  EXPECT_EQ(engine().asleep(), 30u);
  EXPECT_TRUE(Do(program, Complete("c", 40)).done());
  RunFor(absl::Seconds(1));
  for (const Call* sleeper : sleepers) EXPECT_TRUE(sleeper->done());
}

TEST_F(RoomTest, WhoWakesWaitsForRoomBeforeThoseWhoSleep) {
  Program& program = NewProgram();
  Do(program, Get("w"));
  for (int i = 0; i < 33; ++i) program.Start(Wait("c"), {.sleeper = true});
  const Call& one = Do(program, Wait("d"));
  const Call& two = Do(program, Wait("d"));
  EXPECT_EQ(engine().asleep(), 32u);
  const Call& add = Do(program, Add("w", 1));
  EXPECT_TRUE(add.asleep());
  program.Cancel(one);
  Settle();
  EXPECT_TRUE(add.done());
  EXPECT_TRUE(two.asleep());
}

TEST_F(RoomTest, WhoWaitsForRoomIsCancelledAtOnce) {
  Program& program = NewProgram();
  Do(program, Get("w"));
  std::vector<const Call*> sleepers;
  for (int i = 0; i < 33; ++i) {
    sleepers.push_back(&program.Start(Wait("c"), {.sleeper = true}));
  }
  Settle();
  program.Cancel(*sleepers.back());
  EXPECT_EQ(sleepers.back()->reason(), "ECANCELED");
  EXPECT_FALSE(OutcomeUnknown(sleepers.back()->status));
  EXPECT_EQ(ErrorObject(sleepers.back()->status), "c");
  Do(program, Complete("c", 32));
  for (size_t i = 0; i < 32; ++i) EXPECT_TRUE(sleepers[i]->done());
}

TEST_F(RoomTest, WhoWaitsForRoomIsGivenUpAtItsTime) {
  Program& program = NewProgram();
  Do(program, Get("w"));
  for (int i = 0; i < 31; ++i) program.Start(Wait("c"), {.sleeper = true});
  const Call& last = Do(program, Wait("c"),
                        {.give_up_after = absl::Seconds(2), .sleeper = true});
  EXPECT_TRUE(last.asleep());
  RunFor(absl::Seconds(2));
  EXPECT_EQ(last.told, 1);
  EXPECT_EQ(last.reason(), "ETIME");
  EXPECT_FALSE(OutcomeUnknown(last.status));
}

TEST_F(RoomTest, WhatIsAdmittedLaterIsCancelledByItsFirstName) {
  Program& program = NewProgram();
  Do(program, Get("w"));
  std::vector<const Call*> sleepers;
  for (int i = 0; i < 33; ++i) {
    sleepers.push_back(&program.Start(Wait("c"), {.sleeper = true}));
  }
  Settle();
  Do(program, Complete("c", 30));
  EXPECT_EQ(engine().asleep(), 3u);
  program.Cancel(*sleepers[31]);
  Settle();
  EXPECT_EQ(sleepers[31]->reason(), "ECANCELED");
  EXPECT_EQ(engine().asleep(), 2u);
}

}  // namespace
}  // namespace waitq::sim
