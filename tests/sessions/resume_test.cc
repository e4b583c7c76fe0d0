// A session that loses its connection, and goes on.

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "tests/sessions/raw_stream.h"
#include "tests/sessions/sessions_fixture.h"
#include "transport/duration.h"

namespace waitq::sim {
namespace {

class ResumeTest : public SessionsFixture {
 protected:
  // A message is on its way; a moment later it is not there yet.
  void AMoment() { RunFor(absl::Milliseconds(2)); }
  static Nanos Seconds(int64_t n) { return n * kSecond; }
};

// --- Sleepers ----------------------------------------------------------------

TEST_F(ResumeTest, SleepersKeepTheirPlacesInLine) {
  Program& one = NewProgram();
  Program& two = NewProgram();
  Program& writer = NewProgram();
  const Call& first = Do(one, ReadPacket("q"));
  const Call& second = Do(two, ReadPacket("q"));
  const Call& third = Do(one, ReadPacket("q"));
  one.Cut();
  Settle();
  EXPECT_EQ(one.end().connects(), 2u);
  for (const char* packet : {"1", "2", "3"})
    Do(writer, WritePacket("q", packet));
  EXPECT_EQ(first.data(), "1");
  EXPECT_EQ(second.data(), "2");
  EXPECT_EQ(third.data(), "3");
}

TEST_F(ResumeTest, WhoIsAwayIsPassedByAndNothingIsLost) {
  Program& away = NewProgram();
  Program& there = NewProgram();
  Program& writer = NewProgram();
  const Call& first = Do(away, ReadPacket("q"));
  const Call& second = Do(there, ReadPacket("q"));
  away.Cut(absl::Seconds(3));
  Settle();
  Do(writer, WritePacket("q", "1"));
  EXPECT_TRUE(first.asleep());
  EXPECT_EQ(second.data(), "1");
}

TEST_F(ResumeTest, WhoIsBackGetsWhatHasPassedHimByInHisOrder) {
  Program& away = NewProgram();
  Program& writer = NewProgram();
  const Call& first = Do(away, ReadPacket("q"));
  const Call& second = Do(away, ReadPacket("q"));
  const Call& word = Do(away, Sleepy("w"));
  const Call& done = Do(away, Wait("c"));
  away.Cut(absl::Seconds(3));
  Settle();
  Do(writer, WritePacket("q", "1"));
  Do(writer, WritePacket("q", "2"));
  Do(writer, Add("w", 1));
  Do(writer, Complete("c"));
  EXPECT_TRUE(away.told.empty());
  EXPECT_EQ(WordOf("w"), 1);
  RunFor(absl::Seconds(4));
  EXPECT_EQ(first.data(), "1");
  EXPECT_EQ(second.data(), "2");
  EXPECT_TRUE(word.done());
  EXPECT_TRUE(done.done());
  EXPECT_EQ(WordOf("w"), 0);
}

TEST_F(ResumeTest, OfThoseWhoArePassedByTheFirstComesFirst) {
  Program& away = NewProgram();
  Program& writer = NewProgram();
  std::vector<const Call*> waits;
  for (int i = 0; i < 4; ++i) waits.push_back(&Do(away, Wait("c")));
  away.Cut(absl::Seconds(3));
  Settle();
  Do(writer, Complete("c", 2));
  RunFor(absl::Seconds(4));
  EXPECT_TRUE(waits[0]->done());
  EXPECT_TRUE(waits[1]->done());
  EXPECT_TRUE(waits[2]->asleep());
  EXPECT_TRUE(waits[3]->asleep());
}

TEST_F(ResumeTest, WhatTakesNothingIsKeptForWhoIsAway) {
  Program& away = NewProgram();
  Program& waker = NewProgram();
  const Call& barrier = Do(away, AwaitNotZero("w"));
  away.Cut(absl::Seconds(3));
  Settle();
  Do(waker, Add("w", 1));
  Do(waker, Add("w", -1));
  RunFor(absl::Seconds(4));
  EXPECT_TRUE(barrier.done());
}

TEST_F(ResumeTest, ATimeoutGoesOnWhileNobodyIsThere) {
  Program& away = NewProgram();
  const Call& read = Do(away, WithTimeout(ReadPacket("q"), absl::Seconds(2)));
  away.Cut(absl::Seconds(3));
  RunFor(absl::Seconds(4));
  EXPECT_EQ(read.result.read().outcome(), v1::OUTCOME_TIMED_OUT);
}

// --- Results and acknowledgements --------------------------------------------

TEST_F(ResumeTest, HeldBytesAreHeldStill) {
  Program& reader = NewProgram();
  Program& other = NewProgram();
  Do(other, WritePacket("q", "1"));
  const Call& read = Do(reader, ReadPacket("q"), {.keep = true});
  EXPECT_EQ(read.data(), "1");
  reader.Cut();
  Settle();
  EXPECT_EQ(PipeStatOf("q").held_bytes, 1u);
  const Call& none = Do(other, Nonblock(ReadPacket("q")));
  EXPECT_EQ(none.result.read().outcome(), v1::OUTCOME_WOULD_BLOCK);
  reader.Take(read);
  Settle();
  EXPECT_EQ(PipeStatOf("q").held_bytes, 0u);
  EXPECT_EQ(read.told, 1);
}

TEST_F(ResumeTest, AnExplicitHoldIsAcceptedOnTheNextStream) {
  Program& reader = NewProgram();
  Do(reader, WritePacket("q", "1"));
  v1::Operation hold = ReadPacket("q");
  *hold.mutable_read()->mutable_hold() = ToWire(absl::Seconds(60));
  const Call& read = Do(reader, hold);
  reader.Cut();
  Settle();
  v1::Operation accept;
  accept.mutable_accept()->set_name("q");
  accept.mutable_accept()->set_hold_id(read.result.read().hold_id());
  EXPECT_TRUE(Do(reader, accept).done());
  EXPECT_EQ(PipeStatOf("q").held_bytes, 0u);
}

TEST_F(ResumeTest, AResultThatWasLostOnItsWayIsSentAgain) {
  Program& reader = NewProgram();
  Program& writer = NewProgram();
  const Call& read = Do(reader, ReadPacket("q"));
  writer.Start(WritePacket("q", "1"));
  RunFor(absl::Milliseconds(7));  // it is there, and its reader's result is not
  EXPECT_EQ(PipeStatOf("q").held_bytes, 1u);
  reader.Cut();
  Settle();
  EXPECT_EQ(read.told, 1);
  EXPECT_EQ(read.data(), "1");
  EXPECT_FALSE(read.result.read().redelivered());
  EXPECT_EQ(PipeStatOf("q").held_bytes, 0u);
}

TEST_F(ResumeTest, WhatHasComeIsNotSentAgain) {
  Program& reader = NewProgram();
  Do(reader, WritePacket("q", "1"));
  const Call& read = Do(reader, ReadPacket("q"), {.keep = true});
  TakeResponses();
  reader.Cut();
  Settle();
  for (const v1::SessionResponse& response : TakeResponses()) {
    EXPECT_EQ(response.results_size(), 0) << response.ShortDebugString();
  }
  EXPECT_EQ(read.told, 1);
}

TEST_F(ResumeTest, AnAcknowledgementThatWasLostIsSaidAgain) {
  Program& reader = NewProgram();
  Do(reader, WritePacket("q", "1"));
  const Call& first = Do(reader, ReadPacket("q"), {.keep = true});
  reader.Take(first);
  AMoment();
  reader.Cut();
  Settle();
  EXPECT_EQ(PipeStatOf("q").held_bytes, 0u);
  EXPECT_EQ(first.told, 1);
}

TEST_F(ResumeTest, AnAcknowledgementOutOfOrderIsSaidAgain) {
  Program& reader = NewProgram();
  Do(reader, WritePacket("q", "1"));
  Do(reader, WritePacket("q", "22"));
  const Call& first = Do(reader, ReadPacket("q"), {.keep = true});
  const Call& second = Do(reader, ReadPacket("q"), {.keep = true});
  reader.Take(second);
  AMoment();
  reader.Cut();
  Settle();
  EXPECT_EQ(PipeStatOf("q").held_bytes, 1u);
  reader.Take(first);
  Settle();
  EXPECT_EQ(PipeStatOf("q").held_bytes, 0u);
}

TEST_F(ResumeTest, AReturnThatWasLostIsSaidAgainAndIsNoTaking) {
  Program& reader = NewProgram();
  Program& other = NewProgram();
  Do(other, WritePacket("q", "1"));
  const Call& read = Do(reader, ReadPacket("q"), {.keep = true});
  reader.Return(read);
  AMoment();
  reader.Cut();
  Settle();
  const Call& again = Do(other, ReadPacket("q"));
  EXPECT_EQ(again.data(), "1");
  EXPECT_TRUE(again.result.read().redelivered());
}

TEST_F(ResumeTest, AReturnBehindAResultThatIsKeptIsNoTaking) {
  Program& reader = NewProgram();
  Program& other = NewProgram();
  Do(other, WritePacket("q", "1"));
  Do(other, WritePacket("q", "2"));
  const Call& first = Do(reader, ReadPacket("q"), {.keep = true});
  const Call& second = Do(reader, ReadPacket("q"), {.keep = true});
  reader.Return(second);
  AMoment();
  reader.Cut();
  AMoment();
  reader.Take(first);  // `taken_up_to` goes over both
  Settle();
  const Call& again = Do(other, ReadPacket("q"));
  EXPECT_EQ(again.data(), "2");
  EXPECT_TRUE(again.result.read().redelivered());
}

TEST_F(ResumeTest, AReturnIsSaidAgainUntilAHeartbeatHasAnsweredIt) {
  Program& reader = NewProgram();
  Do(reader, WritePacket("q", "1"));
  reader.Return(Do(reader, ReadPacket("q"), {.keep = true}));
  Settle();
  const auto returned = [&] {
    int all = 0;
    for (const v1::SessionRequest& request : TakeRequests()) {
      all += request.returned_size();
    }
    return all;
  };
  EXPECT_EQ(returned(), 1);
  reader.Cut();
  Settle();
  EXPECT_EQ(returned(), 1);
  RunFor(absl::Seconds(8));  // heartbeats
  reader.Cut();
  Settle();
  EXPECT_EQ(returned(), 0);
}

TEST_F(ResumeTest, AReturnedCompletionIsThereAgainAndMarked) {
  Program& waiter = NewProgram();
  Program& other = NewProgram();
  Do(other, Complete("c"));
  const Call& done = Do(waiter, Wait("c"), {.keep = true});
  EXPECT_FALSE(done.result.completion_wait().redelivered());
  EXPECT_EQ(CompletionOf("c"), 0u);
  waiter.Return(done);
  Settle();
  EXPECT_EQ(CompletionOf("c"), 1u);
  const Call& again = Do(other, Wait("c"));
  EXPECT_TRUE(again.result.completion_wait().redelivered());
}

// --- Operations --------------------------------------------------------------

TEST_F(ResumeTest, AnOperationThatWasLostOnItsWayIsSentAgain) {
  Program& program = NewProgram();
  Do(program, Get("w"));
  const Call& add = program.Start(Add("w", 1));
  AMoment();
  program.Cut();
  Settle();
  EXPECT_TRUE(add.done());
  EXPECT_EQ(WordOf("w"), 1);
}

TEST_F(ResumeTest, AnOperationWhoseAnswerWasLostRunsOnce) {
  Program& program = NewProgram();
  Do(program, Get("w"));
  const Call& add = program.Start(Add("w", 1));
  RunFor(absl::Milliseconds(7));
  EXPECT_EQ(WordOf("w"), 1);
  program.Cut();
  Settle();
  EXPECT_TRUE(add.done());
  EXPECT_EQ(WordOf("w"), 1);
}

TEST_F(ResumeTest, WhatIsSubmittedWithoutAConnectionRunsInItsOrder) {
  Program& program = NewProgram();
  Do(program, Get("w"));
  program.Cut(absl::Seconds(3));
  AMoment();
  const Call& one = program.Start(WritePacket("q", "1"));
  const Call& two = program.Start(WritePacket("q", "2"));
  const Call& read = program.Start(ReadPacket("q"));
  Settle();
  EXPECT_TRUE(program.told.size() == 1);
  RunFor(absl::Seconds(4));
  EXPECT_TRUE(one.done());
  EXPECT_TRUE(two.done());
  EXPECT_EQ(read.data(), "1");
}

TEST_F(ResumeTest, HandlesStayOpen) {
  Program& writer = NewProgram();
  Program& reader = NewProgram();
  const uint64_t out = Do(writer, Open("f", true)).result.operation();
  const uint64_t in = Do(reader, Open("f", false)).result.operation();
  const Call& read = Do(reader, HandleRead(in, 10));
  writer.Cut();
  reader.Cut();
  Settle();
  EXPECT_EQ(PipeStatOf("f").writers, 1u);
  EXPECT_TRUE(read.asleep());
  EXPECT_TRUE(Do(writer, HandleWrite(out, "abc")).done());
  EXPECT_EQ(read.data(), "abc");
  EXPECT_TRUE(Do(writer, CloseHandle(out)).done());
  const Call& end = Do(reader, HandleRead(in, 10));
  EXPECT_EQ(end.result.read().outcome(), v1::OUTCOME_END_OF_FILE);
  EXPECT_FALSE(end.result.read().broken());
}

// --- Streams -----------------------------------------------------------------

TEST_F(ResumeTest, TheServerMayNotKnowYetThatTheOldStreamIsGone) {
  Program& program = NewProgram();
  const Call& read = Do(program, ReadPacket("q"));
  program.CutUnseen();
  Settle();
  Do(program, WritePacket("q", "1"));
  EXPECT_EQ(read.data(), "1");
  EXPECT_EQ(sessions(), 1u);
}

TEST_F(ResumeTest, ADeadConnectionIsGivenUpWithinHalfTheGrace) {
  Program& program = NewProgram();
  const Call& read = Do(program, ReadPacket("q"));
  program.end().Cut(/*client_told=*/kForever, /*server_told=*/kForever);
  RunFor(kGrace / 2 + absl::Seconds(1));
  EXPECT_EQ(program.end().connects(), 2u);
  Do(program, WritePacket("q", "1"));
  EXPECT_EQ(read.data(), "1");
}

TEST_F(ResumeTest, AnotherProgramWithTheTokenTakesOver) {
  Program& program = NewProgram();
  const Call& read = Do(program, ReadPacket("q"));
  v1::SessionResponse::Hello hello;
  hello.set_token(program.token());
  hello.set_server_epoch(engine().epoch());
  const auto other = RawStream::Make(&engine());
  v1::SessionRequest take_over = Resume(hello, 0);
  take_over.mutable_hello()->set_program(1);
  take_over.mutable_hello()->set_attempt(1);
  other->Send(take_over);
  EXPECT_EQ(other->hello().operations_received(), 1u);
  Settle();
  EXPECT_EQ(read.reason(), "ECANCELED");
  // It does not come back for that session; a new call begins its own.
  RunFor(absl::Seconds(30));
  EXPECT_EQ(program.end().connects(), 1u);
  EXPECT_FALSE(other->ended() && other->end_reason() == "ECANCELED");
  EXPECT_TRUE(Do(program, Get("w")).told == 1);
  EXPECT_NE(program.token(), hello.token());
  other->Hang();
}

TEST_F(ResumeTest, AnOlderStreamOfTheSameProgramDoesNotTakeOver) {
  const auto first = RawStream::Make(&engine());
  first->Send(NewSession());
  const auto newer = RawStream::Make(&engine());
  v1::SessionRequest hello = Resume(first->hello(), 0);
  hello.mutable_hello()->set_program(7);
  hello.mutable_hello()->set_attempt(3);
  newer->Send(hello);
  EXPECT_EQ(first->end_reason(), "ECANCELED");
  const auto older = RawStream::Make(&engine());
  hello.mutable_hello()->set_attempt(2);
  older->Send(hello);
  EXPECT_EQ(older->end_reason(), "ESTALE");
  EXPECT_FALSE(newer->ended());
  newer->Send(Operations(1, {Get("w")}));
  EXPECT_EQ(newer->results(), 1u);
  // Of another program an attempt says nothing.
  hello.mutable_hello()->set_program(8);
  const auto other = RawStream::Make(&engine());
  other->Send(hello);
  EXPECT_FALSE(other->ended());
  EXPECT_EQ(newer->end_reason(), "ECANCELED");
  other->Hang();
}

TEST_F(ResumeTest, WhatAnOldStreamBringsCountsNoMore) {
  const auto old = RawStream::Make(&engine());
  old->Send(NewSession());
  const auto newer = RawStream::Make(&engine());
  newer->Send(Resume(old->hello(), 0));
  v1::SessionRequest late = Operations(1, {Add("w", 1)});
  old->Send(late);
  newer->Send(Operations(1, {Add("w", 10)}));
  EXPECT_EQ(WordOf("w"), 10);
  // Nor does its end.
  old->Hang();
  newer->Send(Operations(2, {Complete("c"), Wait("c")}));
  ASSERT_NE(newer->ResultOf(3), nullptr);
  EXPECT_TRUE(newer->ResultOf(3)->has_completion_wait());
  newer->Hang();
}

// --- A session whose hello had no answer -------------------------------------

class AskAgainTest : public ResumeTest {
 protected:
  // The first message of a program, which adds one to a word.
  static v1::SessionRequest First(uint64_t program, uint64_t attempt,
                                  bool again) {
    v1::SessionRequest message = Operations(1, {Add("w", 1)});
    *message.mutable_hello() = NewSession().hello();
    message.mutable_hello()->set_program(program);
    message.mutable_hello()->set_attempt(attempt);
    message.mutable_hello()->set_again(again);
    return message;
  }
};

// Guards `origin.again` in SessionTable::AskedForLocked().
TEST_F(AskAgainTest, WhoAsksAgainHasTheSameSession) {
  const auto first = RawStream::Make(&engine());
  first->Send(First(7, 1, false));
  const auto again = RawStream::Make(&engine());
  again->Send(First(7, 2, true));
  EXPECT_EQ(sessions(), 1u);
  EXPECT_EQ(again->hello().operations_received(), 1u);
  EXPECT_EQ(again->hello().token(), first->hello().token());
  EXPECT_EQ(WordOf("w"), 1) << "done once";
  EXPECT_NE(again->ResultOf(1), nullptr);
  EXPECT_TRUE(first->ended());
  v1::SessionRequest end;
  end.set_end(true);
  again->Send(end);
}

TEST_F(AskAgainTest, WhatNeverCameIsDoneThen) {
  const auto again = RawStream::Make(&engine());
  again->Send(First(7, 2, true));
  EXPECT_EQ(again->hello().operations_received(), 0u);
  EXPECT_EQ(WordOf("w"), 1);
  // The first one comes now: it was given up, and is in no session.
  const auto late = RawStream::Make(&engine());
  late->Send(First(7, 1, false));
  EXPECT_EQ(late->end_reason(), "ESTALE");
  EXPECT_EQ(WordOf("w"), 1);
  v1::SessionRequest end;
  end.set_end(true);
  again->Send(end);
}

// Guards NoteOverLocked(): a program that closes before it had an answer asks
// again only to say so.
TEST_F(AskAgainTest, WhatComesAfterItsProgramHasClosedIsNotDone) {
  const auto again = RawStream::Make(&engine());
  v1::SessionRequest closes = First(7, 2, true);
  closes.clear_operations();
  closes.clear_first_operation();
  closes.set_end(true);
  again->Send(closes);
  EXPECT_TRUE(again->ended());
  EXPECT_EQ(sessions(), 0u);
  const auto late = RawStream::Make(&engine());
  late->Send(First(7, 1, false));
  EXPECT_EQ(late->end_reason(), "ESTALE");
  EXPECT_EQ(sessions(), 0u);
  EXPECT_FALSE(engine().Stat("w").ok());
}

TEST_F(AskAgainTest, WhoDoesNotAskAgainHasASessionOfItsOwn) {
  const auto first = RawStream::Make(&engine());
  first->Send(First(7, 1, false));
  // The same program, with another session; and one of the same number.
  for (const uint64_t attempt : {2, 1}) {
    const auto other = RawStream::Make(&engine());
    other->Send(First(attempt == 2 ? 7 : 0, attempt, false));
    EXPECT_NE(other->hello().token(), first->hello().token());
    v1::SessionRequest end;
    end.set_end(true);
    other->Send(end);
  }
  EXPECT_EQ(WordOf("w"), 3);
  v1::SessionRequest end;
  end.set_end(true);
  first->Send(end);
}

}  // namespace
}  // namespace waitq::sim
