// What the server makes of messages, also of those that no client of ours
// sends; and its limits.

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "server/engine/error.h"
#include "tests/sessions/raw_stream.h"
#include "tests/sessions/sessions_fixture.h"
#include "transport/duration.h"

namespace waitq::sim {
namespace {

using engine::Ref;

class ProtocolTest : public SessionsFixture {
 protected:
  using SessionsFixture::SessionsFixture;

  Ref<RawStream> Begin() {
    auto stream = RawStream::Make(&engine());
    stream->Send(NewSession());
    return stream;
  }
  static v1::SessionRequest TakenUpTo(uint64_t number) {
    v1::SessionRequest message;
    message.set_taken_up_to(number);
    return message;
  }
  static v1::SessionRequest Taken(uint64_t number) {
    v1::SessionRequest message;
    message.add_taken(number);
    return message;
  }
  static v1::SessionRequest Returned(uint64_t number) {
    v1::SessionRequest message;
    message.add_returned(number);
    return message;
  }
};

// --- Hello -------------------------------------------------------------------

TEST_F(ProtocolTest, AHelloTellsWhatTheSessionIs) {
  const auto stream = Begin();
  EXPECT_EQ(stream->hello().token().size(), 16u);
  EXPECT_EQ(stream->hello().server_epoch(), engine().epoch());
  EXPECT_EQ(stream->hello().operations_received(), 0u);
  EXPECT_EQ(FromWire(stream->hello().grace()), absl::Seconds(10));
  EXPECT_EQ(stream->hello().operations_max(),
            engine().limits().operations_per_session);
  stream->Send(Operations(1, {Get("w"), Wait("c")}));
  const auto next = RawStream::Make(&engine());
  next->Send(Resume(stream->hello(), 0));
  EXPECT_EQ(next->hello().token(), stream->hello().token());
  EXPECT_EQ(next->hello().operations_received(), 2u);
  next->Hang();
}

TEST_F(ProtocolTest, WhoNamesNoSessionOfThisServerIsToldWhy) {
  const auto stream = Begin();
  const auto refused = [&](const v1::SessionRequest& first) {
    const auto other = RawStream::Make(&engine());
    other->Send(first);
    EXPECT_TRUE(other->ended());
    return other->end_reason();
  };
  EXPECT_EQ(refused(v1::SessionRequest()), "EINVAL");
  v1::SessionRequest hello = Resume(stream->hello(), 0);
  hello.mutable_hello()->set_token("of nobody");
  EXPECT_EQ(refused(hello), "ESTALE");
  hello = Resume(stream->hello(), 0);
  hello.mutable_hello()->set_server_epoch(1);
  EXPECT_EQ(refused(hello), "EOWNERDEAD");
  hello = NewSession();
  hello.mutable_hello()->set_caller(std::string(129, 'x'));
  EXPECT_EQ(refused(hello), "EINVAL");
  for (const absl::Duration grace :
       {absl::Milliseconds(99), absl::Hours(25), -absl::Seconds(1)}) {
    hello = NewSession();
    *hello.mutable_hello()->mutable_grace() = ToWire(grace);
    EXPECT_EQ(refused(hello), "EINVAL");
  }
  EXPECT_FALSE(stream->ended());
  stream->Hang();
}

TEST_F(ProtocolTest, AHeartbeatIsAnsweredWithTheServersClock) {
  const auto stream = Begin();
  v1::SessionRequest beat;
  beat.set_heartbeat(17);
  stream->Send(beat);
  const v1::SessionResponse first = stream->responses().back();
  EXPECT_EQ(first.heartbeat(), 17u);
  RunFor(absl::Seconds(3));
  beat.set_heartbeat(18);
  stream->Send(beat);
  const v1::SessionResponse second = stream->responses().back();
  EXPECT_EQ(second.heartbeat(), 18u);
  EXPECT_EQ(FromWire(second.server_time()) - FromWire(first.server_time()),
            absl::Seconds(3));
  stream->Hang();
}

// --- Numbers -----------------------------------------------------------------

TEST_F(ProtocolTest, OperationsThatComeTwiceRunOnce) {
  const auto stream = Begin();
  stream->Send(Operations(1, {Add("w", 1), Add("w", 1)}));
  stream->Send(Operations(1, {Add("w", 1), Add("w", 1), Add("w", 1)}));
  EXPECT_EQ(WordOf("w"), 3);
  EXPECT_EQ(stream->results(), 3u);
  EXPECT_FALSE(stream->ended());
  stream->Hang();
}

TEST_F(ProtocolTest, AGapInTheNumbersEndsTheSession) {
  const auto stream = Begin();
  stream->Send(Operations(1, {Get("w"), Wait("c")}));
  stream->Send(Operations(4, {Add("w", 1)}));
  EXPECT_EQ(stream->end_reason(), "EINVAL");
  EXPECT_FALSE(engine().Stat("w").ok());
  EXPECT_EQ(sessions(), 0u);
  EXPECT_EQ(engine().asleep(), 0u);
}

TEST_F(ProtocolTest, TheFirstNumberIsOne) {
  const auto stream = Begin();
  stream->Send(Operations(2, {Add("w", 1)}));
  EXPECT_EQ(stream->end_reason(), "EINVAL");
}

TEST_F(ProtocolTest, WhatWasNeverSentIsNotTaken) {
  for (const v1::SessionRequest& message :
       {TakenUpTo(2), Taken(2), Returned(2)}) {
    const auto stream = Begin();
    stream->Send(Operations(1, {Get("w")}));
    stream->Send(message);
    EXPECT_EQ(stream->end_reason(), "EINVAL") << message.ShortDebugString();
  }
  EXPECT_EQ(sessions(), 0u);
}

TEST_F(ProtocolTest, WhatIsTakenTwiceIsTakenOnce) {
  const auto stream = Begin();
  stream->Send(Operations(1, {WritePacket("q", "1"), WritePacket("q", "2"),
                              ReadPacket("q"), ReadPacket("q")}));
  stream->Send(Taken(3));
  stream->Send(Taken(3));
  stream->Send(TakenUpTo(3));
  stream->Send(Returned(3));  // too late
  EXPECT_FALSE(stream->ended());
  EXPECT_EQ(PipeStatOf("q").held_bytes, 1u);
  EXPECT_EQ(PipeStatOf("q").unread_bytes, 0u);
  stream->Hang();
}

TEST_F(ProtocolTest, WhatIsReturnedInTheSameMessageIsNotTaken) {
  const auto stream = Begin();
  stream->Send(Operations(1, {WritePacket("q", "1"), WritePacket("q", "22"),
                              ReadPacket("q"), ReadPacket("q")}));
  v1::SessionRequest message = TakenUpTo(4);
  message.add_returned(3);
  stream->Send(message);
  EXPECT_EQ(PipeStatOf("q").held_bytes, 0u);
  EXPECT_EQ(PipeStatOf("q").unread_bytes, 1u);
  stream->Hang();
}

TEST_F(ProtocolTest, OnlyWhatIsNotTakenIsSentAgain) {
  const auto stream = Begin();
  stream->Send(Operations(1, {Get("w"), Get("w"), Get("w"), Get("w")}));
  stream->Send(Taken(2));
  stream->Hang();
  const auto next = RawStream::Make(&engine());
  next->Send(Resume(stream->hello(), 0));
  EXPECT_EQ(next->TimesOf(1), 1);
  EXPECT_EQ(next->TimesOf(2), 0);
  EXPECT_EQ(next->TimesOf(3), 1);
  EXPECT_EQ(next->TimesOf(4), 1);
  next->Hang();
  // What its client says it has is not sent either, but kept.
  const auto last = RawStream::Make(&engine());
  last->Send(Resume(stream->hello(), 3));
  EXPECT_EQ(last->TimesOf(1) + last->TimesOf(3), 0);
  EXPECT_EQ(last->TimesOf(4), 1);
  last->Hang();
}

TEST_F(ProtocolTest, AClientThatHasMoreThanWasSentIsNotBelieved) {
  const auto stream = Begin();
  stream->Send(Operations(1, {Get("w")}));
  stream->Hang();
  const auto next = RawStream::Make(&engine());
  next->Send(Resume(stream->hello(), 100));
  next->Send(Operations(2, {Get("w")}));
  EXPECT_EQ(next->TimesOf(2), 1);
  next->Hang();
}

// --- Operations --------------------------------------------------------------

TEST_F(ProtocolTest, AnOperationThatAsksForNothingFailsAlone) {
  const auto stream = Begin();
  stream->Send(Operations(1, {v1::Operation(), Get("w")}));
  EXPECT_EQ(stream->ResultOf(1)->failure().reason(), "EINVAL");
  EXPECT_TRUE(stream->ResultOf(2)->has_failure());  // there is no such word
  EXPECT_FALSE(stream->ended());
  stream->Hang();
}

TEST_F(ProtocolTest, WhatTheSessionHasSaidAnOperationDoesNotSay) {
  const auto stream = Begin();
  v1::Operation wait = Wait("c");
  wait.mutable_completion_wait()->set_caller("me");
  v1::Operation repeat = Wait("c");
  repeat.mutable_completion_wait()->set_request_id(
      "3f0c3a52-52a4-4c0e-a3c2-0d5f5c3c8f10");
  stream->Send(Operations(1, {wait, repeat}));
  ASSERT_EQ(stream->results(), 2u);
  EXPECT_EQ(stream->ResultOf(1)->failure().reason(), "EINVAL");
  EXPECT_EQ(stream->ResultOf(2)->failure().reason(), "EINVAL");
  stream->Hang();
}

TEST_F(ProtocolTest, TheResultsOfAMessageComeTogether) {
  const auto sleeper = Begin();
  sleeper->Send(Operations(1, {Wait("c"), Wait("c"), Wait("c")}));
  const auto stream = Begin();
  const size_t before = stream->responses().size();
  const size_t before_it = sleeper->responses().size();
  stream->Send(
      Operations(1, {Complete("c"), Complete("c"), Complete("c"), Get("w")}));
  EXPECT_EQ(stream->responses().size(), before + 1);
  EXPECT_EQ(sleeper->responses().size(), before_it + 1);
  EXPECT_EQ(sleeper->results(), 3u);
  stream->Hang();
  sleeper->Hang();
}

TEST_F(ProtocolTest, AnOperationMayBeCancelledInTheMessageThatBringsIt) {
  const auto stream = Begin();
  v1::SessionRequest message = Operations(1, {Wait("c"), Wait("c")});
  message.add_cancels(1);
  message.add_cancels(17);  // none such: nothing
  stream->Send(message);
  EXPECT_EQ(stream->ResultOf(1)->failure().reason(), "ECANCELED");
  EXPECT_EQ(stream->ResultOf(2), nullptr);
  EXPECT_EQ(engine().asleep(), 1u);
  stream->Hang();
}

TEST_F(ProtocolTest, ASignalEndsASleep) {
  const auto stream = Begin();
  stream->Send(Operations(1, {Wait("c"), Wait("c")}));
  v1::SessionRequest message;
  message.add_signals()->set_operation(2);
  message.mutable_signals(0)->set_signal(v1::SignalRequest::SIGNAL_TERM);
  stream->Send(message);
  EXPECT_EQ(stream->ResultOf(1), nullptr);
  ASSERT_NE(stream->ResultOf(2), nullptr);
  EXPECT_EQ(stream->ResultOf(2)->failure().reason(), "EINTR");
  message.mutable_signals(0)->clear_signal();
  stream->Send(message);
  EXPECT_EQ(stream->end_reason(), "EINVAL");
}

TEST_F(ProtocolTest, TheEndOfASessionEndsAllThatItHas) {
  const auto stream = Begin();
  stream->Send(Operations(
      1, {Wait("c"), WritePacket("q", "1"), ReadPacket("q"), Open("f", true)}));
  v1::SessionRequest message = Operations(5, {Add("w", 1)});
  message.set_end(true);
  stream->Send(message);
  EXPECT_TRUE(stream->ended());
  EXPECT_TRUE(stream->end().ok()) << stream->end();
  EXPECT_EQ(WordOf("w"), 1);  // it is served before
  EXPECT_EQ(sessions(), 0u);
  EXPECT_EQ(engine().asleep(), 0u);
  EXPECT_EQ(PipeStatOf("q").unread_bytes, 1u);
  EXPECT_EQ(PipeStatOf("f").writers, 0u);
}

// --- Handles -----------------------------------------------------------------

TEST_F(ProtocolTest, AHandleIsOfItsSessionAndOfItsKind) {
  const auto stream = Begin();
  v1::Operation both = HandleRead(1, 10);
  both.mutable_read()->set_name("f");
  stream->Send(Operations(1, {Open("f", false), HandleWrite(1, "x"),
                              HandleRead(2, 10), both, CloseHandle(7)}));
  for (const uint64_t wrong : {2, 3, 4, 5}) {
    ASSERT_NE(stream->ResultOf(wrong), nullptr) << wrong;
    EXPECT_EQ(stream->ResultOf(wrong)->failure().reason(), "EBADF") << wrong;
  }
  const auto other = Begin();
  other->Send(Operations(1, {HandleRead(1, 10)}));
  EXPECT_EQ(other->ResultOf(1)->failure().reason(), "EBADF");
  stream->Hang();
  other->Hang();
}

TEST_F(ProtocolTest, AHandleIsNotClosedUnderASleeper) {
  const auto stream = Begin();
  stream->Send(
      Operations(1, {Open("f", false), HandleRead(1, 10), CloseHandle(1)}));
  EXPECT_EQ(stream->ResultOf(3)->failure().reason(), "EBUSY");
  v1::SessionRequest cancel;
  cancel.add_cancels(2);
  stream->Send(cancel);
  stream->Send(Operations(4, {CloseHandle(1), CloseHandle(1)}));
  EXPECT_TRUE(stream->ResultOf(4)->has_close());
  EXPECT_EQ(stream->ResultOf(5)->failure().reason(), "EBADF");
  stream->Hang();
}

TEST_F(ProtocolTest, AHandleMayBeClosedWhenItsSleeperHasEnded) {
  const auto stream = Begin();
  v1::Operation close = CloseHandle(1);
  close.mutable_close()->set_when_idle(true);
  stream->Send(Operations(1, {Open("f", false), HandleRead(1, 10), close,
                              HandleRead(1, 10), close}));
  EXPECT_TRUE(stream->ResultOf(3)->has_close());
  EXPECT_EQ(stream->ResultOf(4)->failure().reason(), "EBADF");
  EXPECT_EQ(stream->ResultOf(5)->failure().reason(), "EBADF");
  EXPECT_EQ(PipeStatOf("f").readers, 1u);
  v1::SessionRequest cancel;
  cancel.add_cancels(2);
  stream->Send(cancel);
  EXPECT_EQ(PipeStatOf("f").readers, 0u);
  stream->Hang();
}

// Guards the checks of reads by handle: they are those of reads by name.
TEST_F(ProtocolTest, AReadByHandleAsksForNoMoreThanThePipeGives) {
  const auto stream = Begin();
  v1::Operation small = Open("small", false);
  small.mutable_open()->mutable_options()->set_capacity_bytes(100);
  small.mutable_open()->mutable_options()->set_atomic_max_bytes(100);
  v1::Operation scull = Open("scull", false);
  scull.mutable_open()->mutable_options()->set_profile(v1::PIPE_PROFILE_SCULL);
  v1::Operation much = HandleRead(1, 300);
  much.mutable_read()->set_min_bytes(200);
  v1::Operation held = HandleRead(2, 10);
  held.mutable_read()->mutable_hold()->set_seconds(1);
  stream->Send(Operations(1, {small, scull, much, held}));
  EXPECT_EQ(stream->ResultOf(3)->failure().reason(), "EINVAL");
  EXPECT_EQ(stream->ResultOf(4)->failure().reason(), "EINVAL");
  stream->Hang();
}

TEST_F(ProtocolTest, AHandleThatNobodyTakesIsClosed) {
  const auto stream = Begin();
  stream->Send(Operations(1, {Open("f", false), Open("f", true)}));
  EXPECT_EQ(PipeStatOf("f").readers + PipeStatOf("f").writers, 2u);
  stream->Send(Returned(1));
  stream->Send(Returned(2));
  EXPECT_EQ(PipeStatOf("f").readers + PipeStatOf("f").writers, 0u);
  stream->Hang();
}

// (Under AddressSanitizer it is seen.)
TEST_F(ProtocolTest, AHandlesEndMayComeToASessionThatIsGone) {
  const auto stream = Begin();
  stream->Send(Operations(1, {Open("f", false)}));
  const engine::DeliveryBatch later;
  ASSERT_TRUE(engine().Remove("f", /*force=*/true).ok());
  v1::SessionRequest end;
  end.set_end(true);
  stream->Send(end);
}

TEST_F(ProtocolTest, WhatATryHasTakenIsGivenBack) {
  v1::Operation attempt;
  attempt.mutable_try_wait()->set_name("c");
  const auto stream = Begin();
  ASSERT_TRUE(engine().Complete("c", 1).ok());
  stream->Send(Operations(1, {attempt, attempt}));
  EXPECT_TRUE(stream->ResultOf(1)->try_wait().taken());
  EXPECT_FALSE(stream->ResultOf(2)->try_wait().taken());
  EXPECT_EQ(CompletionOf("c"), 0u);
  stream->Send(Returned(1));
  EXPECT_EQ(CompletionOf("c"), 1u);
  stream->Hang();
}

TEST_F(ProtocolTest, AHandleThatEndsByItselfSaysSoOnce) {
  const auto stream = Begin();
  stream->Send(Operations(1, {Open("f", false), Open("g", true)}));
  EXPECT_TRUE(stream->ResultOf(1)->has_open());
  ASSERT_TRUE(engine().Remove("f", /*force=*/true).ok());
  EXPECT_EQ(stream->ResultOf(1)->failure().reason(), "EIDRM");
  EXPECT_EQ(stream->results(), 3u);
  stream->Send(Operations(3, {CloseHandle(2)}));
  ASSERT_TRUE(engine().Remove("g", /*force=*/true).ok());
  EXPECT_TRUE(stream->ResultOf(2)->has_open());
  EXPECT_EQ(stream->results(), 4u);
  stream->Hang();
}

// --- Limits ------------------------------------------------------------------

class LimitsTest : public ProtocolTest {
 protected:
  explicit LimitsTest(uint64_t results = 2) : ProtocolTest(Few(results)) {}

  static engine::Limits Few(uint64_t results) {
    engine::Limits limits;
    limits.sessions = 2;
    limits.operations_per_session = 4;
    limits.results_per_session = results;
    limits.result_bytes_per_session = 2000;
    return limits;
  }
  static std::vector<v1::Operation> Gets(size_t n) {
    return std::vector<v1::Operation>(n, Get("w"));
  }
};

// Many results, of few bytes.
class ManyResultsTest : public LimitsTest {
 protected:
  ManyResultsTest() : LimitsTest(/*results=*/100) {}
};

// Many operations, and results of few bytes.
class ManyOperationsTest : public ProtocolTest {
 protected:
  ManyOperationsTest() : ProtocolTest(Many()) {}

  static engine::Limits Many() {
    engine::Limits limits;
    limits.result_bytes_per_session = 2000;
    return limits;
  }
};

TEST_F(LimitsTest, OfOperationsEachThatIsOneTooManyIsRefused) {
  const auto stream = Begin();
  stream->Send(Operations(1, {Wait("c"), Wait("c"), Wait("c"), Wait("c"),
                              Add("w", 1), Complete("c", 9)}));
  for (const uint64_t refused : {5, 6}) {
    const v1::Failure& failure = stream->ResultOf(refused)->failure();
    EXPECT_EQ(failure.reason(), "ENOSPC");
    EXPECT_EQ(failure.code(),
              static_cast<int>(absl::StatusCode::kResourceExhausted));
    EXPECT_EQ(failure.metadata().at("limit"), "operations-per-session");
  }
  EXPECT_FALSE(engine().Stat("w").ok());
  EXPECT_EQ(engine().asleep(), 4u);
  // A refusal counts until it is taken.
  v1::SessionRequest cancel;
  cancel.add_cancels(1);
  stream->Send(cancel);
  stream->Send(Operations(7, {Add("w", 1)}));
  EXPECT_EQ(stream->ResultOf(7)->failure().reason(), "ENOSPC");
  stream->Send(TakenUpTo(4));
  stream->Send(Operations(8, {Add("w", 1)}));
  EXPECT_TRUE(stream->ResultOf(8)->has_wake_up());
  stream->Hang();
}

TEST_F(LimitsTest, WhoDoesNotListenToThatForLongIsThrownOut) {
  const auto stream = Begin();
  stream->Send(Operations(1, Gets(4 + 4096)));
  EXPECT_FALSE(stream->ended());
  stream->Send(Operations(4 + 4097, Gets(1)));
  EXPECT_EQ(stream->end_reason(), "ENOSPC");
  EXPECT_EQ(engine::DetailsOf(stream->end()).metadata.at("limit"),
            "operations-per-session");
  EXPECT_EQ(sessions(), 0u);
}

TEST_F(LimitsTest, WhoTakesHisRefusalsIsRefusedOnAndOn) {
  const auto stream = Begin();
  stream->Send(Operations(1, {Wait("c"), Wait("c"), Wait("c"), Wait("c")}));
  for (uint64_t i = 0; i < 6; ++i) {
    stream->Send(Operations(5 + 1000 * i, Gets(1000)));
    stream->Send(TakenUpTo(1000 * (i + 1)));
  }
  EXPECT_FALSE(stream->ended());
  EXPECT_EQ(engine().asleep(), 4u);
  stream->Hang();
}

TEST_F(LimitsTest, OfSessionsEachThatIsOneTooManyIsRefused) {
  const auto one = Begin();
  const auto two = Begin();
  const auto three = Begin();
  EXPECT_EQ(three->end_reason(), "ENOSPC");
  EXPECT_EQ(engine::DetailsOf(three->end()).metadata.at("limit"), "sessions");
  v1::SessionRequest end;
  end.set_end(true);
  one->Send(end);
  const auto four = Begin();
  EXPECT_FALSE(four->ended());
  two->Hang();
  four->Hang();
}

TEST_F(LimitsTest, WhoNeverAcknowledgesIsPassedByAndServedAgainWhenHeDoes) {
  Program& deaf = NewProgram();
  Program& other = NewProgram();
  std::vector<const Call*> kept;
  for (int i = 0; i < 2; ++i) {
    Do(other, Complete("c"));
    kept.push_back(&Do(deaf, Wait("c"), {.keep = true}));
    EXPECT_TRUE(kept.back()->done());
  }
  const Call& third = Do(deaf, ReadPacket("q"));
  const Call& others = Do(other, ReadPacket("q"));
  Do(other, WritePacket("q", "2"));
  EXPECT_EQ(others.data(), "2");
  Do(other, WritePacket("q", "3"));
  EXPECT_TRUE(third.asleep());
  deaf.Take(*kept[0]);
  Settle();
  EXPECT_EQ(third.data(), "3");
  deaf.Take(*kept[1]);
}

TEST_F(LimitsTest, WhoReturnsWhatHeKeepsIsServedAgain) {
  Program& deaf = NewProgram();
  Program& other = NewProgram();
  std::vector<const Call*> kept;
  for (int i = 0; i < 2; ++i) {
    Do(other, Complete("c"));
    kept.push_back(&Do(deaf, Wait("c"), {.keep = true}));
  }
  const Call& third = Do(deaf, ReadPacket("q"));
  Do(other, WritePacket("q", "1"));
  EXPECT_TRUE(third.asleep());
  deaf.Return(*kept[0]);
  Settle();
  EXPECT_EQ(third.data(), "1");
  EXPECT_EQ(CompletionOf("c"), 1u);
}

TEST_F(LimitsTest, WhoKeepsTooManyBytesIsPassedByToo) {
  Program& deaf = NewProgram();
  Program& other = NewProgram();
  Do(other, WritePacket("q", std::string(3000, 'x')));
  const Call& kept = Do(deaf, ReadPacket("q"), {.keep = true});
  const Call& next = Do(deaf, ReadPacket("p"));
  Do(other, WritePacket("p", "1"));
  EXPECT_TRUE(next.asleep());
  deaf.Take(kept);
  Settle();
  EXPECT_EQ(next.data(), "1");
}

TEST_F(ManyResultsTest, WhoTakesTheBytesOutOfOrderIsServedAgain) {
  Program& deaf = NewProgram();
  Program& other = NewProgram();
  Do(other, Complete("c"));
  Do(deaf, Wait("c"), {.keep = true});
  Do(other, WritePacket("q", std::string(3000, 'x')));
  const Call& kept = Do(deaf, ReadPacket("q"), {.keep = true});
  const Call& next = Do(deaf, ReadPacket("p"));
  Do(other, WritePacket("p", "1"));
  EXPECT_TRUE(next.asleep());
  deaf.Take(kept);  // behind one that is kept
  Settle();
  EXPECT_EQ(next.data(), "1");
}

TEST_F(LimitsTest, AHoleAtTheFrontCostsNothing) {
  const auto stream = Begin();
  stream->Send(Operations(1, {Get("w"), Get("w"), Wait("c")}));
  ASSERT_TRUE(engine().Complete("c", 1).ok());
  EXPECT_EQ(stream->ResultOf(3), nullptr);
  stream->Send(Taken(1));
  EXPECT_NE(stream->ResultOf(3), nullptr);
  stream->Hang();
}

TEST_F(LimitsTest, WhatIsReturnedMakesRoom) {
  const auto stream = Begin();
  stream->Send(Operations(1, {Get("w"), Get("w"), Wait("c")}));
  ASSERT_TRUE(engine().Complete("c", 1).ok());
  EXPECT_EQ(stream->ResultOf(3), nullptr);
  stream->Send(Returned(1));
  EXPECT_NE(stream->ResultOf(3), nullptr);
  stream->Hang();
}

TEST_F(LimitsTest, OneResultThatIsKeptIsOneHoweverManyWereTakenBehindIt) {
  Program& program = NewProgram();
  Program& other = NewProgram();
  Do(other, WritePacket("q", "1"));
  const Call& first = Do(program, ReadPacket("q"), {.keep = true});
  for (int i = 0; i < 1000; ++i) Do(program, Get("w"));
  const Call& next = Do(program, ReadPacket("q"));
  Do(other, WritePacket("q", "2"));
  EXPECT_EQ(next.data(), "2");
  program.Cut();
  RunFor(absl::Seconds(1));
  Do(other, WritePacket("q", "3"));
  EXPECT_EQ(Do(program, ReadPacket("q")).data(), "3");
  program.Take(first);
}

TEST_F(ManyOperationsTest, FailuresCostWhatTheyCost) {
  const auto stream = Begin();
  // Of 256 bytes and more each.
  stream->Send(Operations(1, std::vector<v1::Operation>(20, HandleRead(7, 1))));
  EXPECT_EQ(stream->ResultOf(1)->failure().reason(), "EBADF");
  EXPECT_EQ(stream->ResultOf(20)->failure().reason(), "ENOSPC");
  EXPECT_EQ(stream->ResultOf(20)->failure().metadata().at("limit"),
            "result-bytes-per-session");
  stream->Send(TakenUpTo(20));
  stream->Send(Operations(21, {HandleRead(7, 1)}));
  EXPECT_EQ(stream->ResultOf(21)->failure().reason(), "EBADF");
  stream->Hang();
}

TEST_F(LimitsTest, OurClientsKeepToThemAndGoOnWhenThereIsRoom) {
  Program& program = NewProgram();
  Do(program, Get("w"));
  std::vector<const Call*> calls;
  for (int i = 0; i < 20; ++i) calls.push_back(&program.Start(Add("w", 1)));
  Settle();
  for (const Call* call : calls) EXPECT_TRUE(call->done()) << call->status;
  EXPECT_EQ(WordOf("w"), 20);
}

// --- Drain -------------------------------------------------------------------

TEST_F(ProtocolTest, WhileAServerDrainsSessionsEmptyThePipes) {
  Program& program = NewProgram();
  Do(program, WritePacket("q", "1"));
  Do(program, WritePacket("q", "2"));
  const auto stream = Begin();
  stream->Send(Operations(1, {Wait("c")}));
  engine().Drain();
  Settle();
  EXPECT_EQ(stream->ResultOf(1)->failure().reason(), "ESHUTDOWN");
  // One that was there, on its next stream too.
  program.Cut();
  Settle();
  EXPECT_EQ(Do(program, ReadPacket("q")).data(), "1");
  const auto next = RawStream::Make(&engine());
  next->Send(Resume(stream->hello(), 0));
  EXPECT_FALSE(next->ended());
  // And a new one.
  const auto late = Begin();
  late->Send(Operations(
      1, {ReadPacket("q"), WritePacket("q", "3"), Open("f", true), Wait("c")}));
  EXPECT_EQ(late->ResultOf(1)->read().data(), "2");
  for (const uint64_t refused : {2, 3, 4}) {
    EXPECT_EQ(late->ResultOf(refused)->failure().reason(), "ESHUTDOWN");
  }
  late->Send(TakenUpTo(1));
  engine().Stop();
  EXPECT_EQ(next->end_reason(), "ESHUTDOWN");
  EXPECT_EQ(late->end_reason(), "ESHUTDOWN");
  EXPECT_EQ(sessions(), 0u);
}

TEST_F(ProtocolTest, WhoIsNotToldYetIsCounted) {
  Program& program = NewProgram();
  for (const char* name : {"a", "b", "c"}) program.Start(Wait(name));
  Settle();
  EXPECT_EQ(engine().sessions().unsent(), 0u);
  engine().Drain();
  // What the first object's are told is on its way; the others wait for that.
  EXPECT_EQ(engine().sessions().unsent(), 1u);
  Settle();
  EXPECT_EQ(engine().sessions().unsent(), 0u);
  // Of nobody who is not there.
  program.Cut(absl::Seconds(1));
  RunFor(absl::Milliseconds(50));
  EXPECT_EQ(engine().sessions().unsent(), 0u);
}

}  // namespace
}  // namespace waitq::sim
