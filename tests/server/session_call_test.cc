// Sessions.Attach, as any program may use it that knows the proto alone.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "google/protobuf/stubs/logging.h"
#include "gtest/gtest.h"
#include "tests/server/fixture.h"
#include "tests/server/session_stream.h"
#include "tests/server/wire.h"
#include "tests/support/random.h"
#include "transport/duration.h"
#include "transport/error_info.h"

namespace waitq::test {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

constexpr auto kInvalid = grpc::StatusCode::INVALID_ARGUMENT;
constexpr auto kPrecondition = grpc::StatusCode::FAILED_PRECONDITION;
constexpr auto kExhausted = grpc::StatusCode::RESOURCE_EXHAUSTED;
constexpr auto kUnavailable = grpc::StatusCode::UNAVAILABLE;
constexpr auto kAborted = grpc::StatusCode::ABORTED;
constexpr auto kCancelled = grpc::StatusCode::CANCELLED;
constexpr auto kNotFound = grpc::StatusCode::NOT_FOUND;

// As long as a packet may be.
constexpr uint64_t kPacketBytesMax = (4 << 20) - 1024;

class SessionCallTest : public EverywhereTest {
 protected:
  // Waits until so many of an object's sleepers are passed by.
  void AwaitDetached(const std::string& name, uint64_t n) {
    EXPECT_TRUE(Await([&] {
      uint64_t detached = 0;
      for (const v1::Task& task : Sleepers(name)) detached += task.detached();
      return detached == n;
    })) << Sleepers(name).size()
        << " sleep";
  }
  void AwaitHeldBytes(const std::string& name, uint64_t n) {
    EXPECT_TRUE(Await([&] { return StatOf(name).pipe().held_bytes() == n; }))
        << StatOf(name).DebugString();
  }
  void AwaitSessions(size_t n) {
    EXPECT_TRUE(Await([&] { return server().engine().sessions().size() == n; }))
        << server().engine().sessions().size() << " sessions, not " << n;
  }
  // That session is over.
  void ExpectGone(const SessionStream& session) {
    SessionStream other(client());
    other.Send(SessionStream::Resume(session, 0));
    EXPECT_THAT(other.Finish(), FailsWith(kPrecondition, "ESTALE"));
  }
  uint64_t WakeUp(const std::string& request) {
    const auto answer = Call<v1::WakeUpRequest>(client(), request);
    EXPECT_THAT(answer.status, IsOk());
    return answer.response.woken();
  }
};
WAITQ_TEST_EVERYWHERE(SessionCallTest);

// --- Hello -------------------------------------------------------------------

TEST_P(SessionCallTest, FirstMessageMustHaveAHello) {
  for (const char* text :
       {"", "heartbeat: 1", "end: true", "taken_up_to: 1",
        "first_operation: 1 operations { get { name: 'q' } }"}) {
    SessionStream stream(client());
    stream.Send(text);
    EXPECT_THAT(stream.Finish(), FailsWith(kInvalid, "EINVAL")) << text;
  }
  AwaitSessions(0);
}

TEST_P(SessionCallTest, NoMessageAtAllIsRefused) {
  SessionStream stream(client());
  stream.HalfClose();
  EXPECT_THAT(stream.Finish(), FailsWith(kInvalid, "EINVAL"));
}

TEST_P(SessionCallTest, HelloIsAnsweredWithANameAndWithTheLimits) {
  SessionStream session(client(), "");
  const auto& hello = session.hello();
  const engine::Limits limits;
  EXPECT_THAT(hello.token(), SizeIs(16));
  EXPECT_EQ(hello.server_epoch(), server().engine().epoch());
  EXPECT_EQ(hello.operations_received(), 0u);
  EXPECT_EQ(FromWire(hello.grace()), absl::Seconds(30));
  EXPECT_EQ(hello.operations_max(), limits.operations_per_session);
  EXPECT_EQ(hello.results_max(), limits.results_per_session);
  EXPECT_EQ(hello.result_bytes_max(), limits.result_bytes_per_session);
  EXPECT_EQ(hello.message_bytes_max(), limits.message_bytes);
  SessionStream other(client(), "grace { seconds: 86400 }");
  EXPECT_NE(other.hello().token(), hello.token());
  EXPECT_EQ(FromWire(other.hello().grace()), absl::Hours(24));
}

TEST_P(SessionCallTest, HelloAndOperationsInOneMessageAreAnsweredInOne) {
  SessionStream session(client());
  session.Send(
      "hello {} heartbeat: 7 first_operation: 1 "
      "operations { store { name: 'q' value: 5 } } "
      "operations { get { name: 'q' } }");
  const auto first = session.Next();
  ASSERT_TRUE(first.has_value());
  EXPECT_TRUE(first->has_hello());
  EXPECT_EQ(first->hello().operations_received(), 2u);
  EXPECT_EQ(first->heartbeat(), 7u);
  EXPECT_EQ(first->first_result(), 1u);
  ASSERT_THAT(first->results(), SizeIs(2));
  EXPECT_EQ(first->results(1).operation(), 2u);
  EXPECT_EQ(first->results(1).get().value(), 5);
}

TEST_P(SessionCallTest, GraceAndCallerHaveTheirRanges) {
  for (const std::string& hello :
       {std::string("grace {}"), std::string("grace { nanos: 99999999 }"),
        std::string("grace { seconds: -1 }"),
        std::string("grace { seconds: 86400 nanos: 1 }"),
        std::string("grace { seconds: 9223372036854775807 }"),
        std::string("grace { seconds: -9223372036854775808 nanos: -1 }"),
        "caller: '" + std::string(129, 'x') + "'"}) {
    SessionStream stream(client());
    stream.Send("hello { " + hello + " }");
    EXPECT_THAT(stream.Finish(), FailsWith(kInvalid, "EINVAL")) << hello;
  }
  SessionStream session(client(), "caller: '" + std::string(128, 'x') + "'");
  session.Do("wait { name: 'q' }");
  AwaitAsleep(1);
  EXPECT_EQ(Sleepers("q")[0].caller(), std::string(128, 'x'));
}

TEST_P(SessionCallTest, HelloComesOnlyOnce) {
  SessionStream session(client(), "");
  session.Send("hello {}");
  EXPECT_THAT(session.Finish(), FailsWith(kInvalid, "EINVAL"));
  ExpectGone(session);
}

TEST_P(SessionCallTest, TokensThatNobodyHasAreStale) {
  SessionStream session(client(), "");
  v1::SessionRequest request = SessionStream::Resume(session, 0);
  for (const std::string& token :
       {std::string("x"), std::string(16, '\0'), std::string(17, 'x'),
        session.hello().token() + "x", std::string(70'000, 'x')}) {
    request.mutable_hello()->set_token(token);
    SessionStream other(client());
    other.Send(request);
    EXPECT_THAT(other.Finish(), FailsWith(kPrecondition, "ESTALE"));
  }
  EXPECT_EQ(session.Call("get { name: 'q' }").failure().reason(), "ENOENT");
}

TEST_P(SessionCallTest, AnotherServerKnowsNothingOfASession) {
  SessionStream session(client(), "");
  v1::SessionRequest request = SessionStream::Resume(session, 0);
  for (const uint64_t epoch :
       {uint64_t{0}, request.hello().server_epoch() + 1, UINT64_MAX}) {
    request.mutable_hello()->set_server_epoch(epoch);
    SessionStream other(client());
    other.Send(request);
    EXPECT_THAT(other.Finish(), FailsWith(kAborted, "EOWNERDEAD"));
  }
  StopServer();
  const auto there = NewClient();  // of a new one
  SessionStream other(*there);
  other.Send(SessionStream::Resume(session, 0));
  EXPECT_THAT(other.Finish(), FailsWith(kAborted, "EOWNERDEAD"));
}

TEST_P(SessionCallTest, SessionsHaveALimit) {
  options().limits.sessions = 2;
  SessionStream first(client(), "");
  SessionStream second(client(), "");
  SessionStream third(client());
  third.Send("hello {}");
  const grpc::Status status = third.Finish();
  EXPECT_THAT(status, FailsWith(kExhausted, "ENOSPC"));
  EXPECT_EQ(ParseErrorInfo(status)->metadata.at("limit"), "sessions");
  EXPECT_THAT(first.End(), IsOk());
  SessionStream fourth(client(), "");
}

// --- Operations --------------------------------------------------------------

TEST_P(SessionCallTest, ResultsComeInTheOrderInWhichTheirOperationsEnd) {
  SessionStream session(client(), "caller: 'me'");
  const uint64_t one = session.Do("wait { name: 'q' condition { equal: 1 } }");
  const uint64_t two = session.Do("wait { name: 'q' condition { equal: 2 } }");
  AwaitAsleep(2);
  EXPECT_EQ(Sleepers("q")[0].caller(), "me");
  EXPECT_EQ(WakeUp("name: 'q' update { set: 2 }"), 1u);
  v1::Result result = session.NextResult();
  EXPECT_EQ(result.operation(), two);
  EXPECT_EQ(result.wait().outcome(), v1::OUTCOME_DONE);
  EXPECT_TRUE(result.wait().slept());
  EXPECT_FALSE(result.wait().has_server_epoch());
  EXPECT_EQ(session.results(), 1u);
  // Whoever wakes may be of the same session.
  session.Do("wake_up { name: 'q' update { set: 1 } }");
  EXPECT_EQ(session.ResultOf(one).wait().value_after(), 1);
  EXPECT_EQ(session.results(), 3u);
}

TEST_P(SessionCallTest, EveryKindOfOperationIsServed) {
  SessionStream session(client(), "");
  EXPECT_EQ(session.Call("store { name: 'q' value: 3 }").response_case(),
            v1::Result::kStore);
  EXPECT_EQ(session.Call("wait { name: 'q' condition { equal: 3 } }")
                .wait()
                .outcome(),
            v1::OUTCOME_DONE);
  EXPECT_EQ(session.Call("wake_up { name: 'q' }").wake_up().value(), 3);
  EXPECT_EQ(session.Call("get { name: 'q' }").get().value(), 3);
  EXPECT_TRUE(session.Call("complete { name: 'c' }").has_complete());
  EXPECT_TRUE(session.Call("done { name: 'c' }").done().done());
  EXPECT_TRUE(session.Call("try_wait { name: 'c' }").try_wait().taken());
  EXPECT_TRUE(session.Call("reinit { name: 'c' }").has_reinit());
  EXPECT_EQ(session.Call("completion_wait { name: 'c' nonblock: true }")
                .completion_wait()
                .outcome(),
            v1::OUTCOME_WOULD_BLOCK);
  EXPECT_TRUE(session.Call("create { name: 'p' pipe {} }").create().created());
  EXPECT_EQ(
      session.Call("write { name: 'p' data: 'abc' }").write().accepted_bytes(),
      3u);
  EXPECT_TRUE(session.Call("poll { name: 'p' in: true }").poll().in());
  const uint64_t read = session.Do("read { name: 'p' hold {} }");
  const v1::ReadResponse held = session.ResultOf(read).read();
  EXPECT_EQ(held.data(), "abc");
  EXPECT_TRUE(session
                  .Call(absl::StrCat(
                      "release { name: 'p' hold_id: ", held.hold_id(), " }"))
                  .has_release());
  const v1::ReadResponse again =
      session.Call("read { name: 'p' hold {} }").read();
  EXPECT_TRUE(again.redelivered());
  EXPECT_TRUE(session
                  .Call(absl::StrCat(
                      "accept { name: 'p' hold_id: ", again.hold_id(), " }"))
                  .has_accept());
  const v1::Result opened = session.Call("open { name: 'p' }");
  EXPECT_EQ(opened.open().offset(), 3u);
  EXPECT_TRUE(
      session.Call(absl::StrCat("close { handle: ", opened.operation(), " }"))
          .has_close());
  EXPECT_TRUE(session.Call("remove { name: 'p' }").has_remove());
}

TEST_P(SessionCallTest, WhatAReadTakesIsHeldUntilItsResultIsTaken) {
  SessionStream session(client(), "");
  WriteNow("p", "abcdef");
  EXPECT_EQ(session.Call("read { name: 'p' max_bytes: 2 }").read().data(),
            "ab");
  EXPECT_EQ(session.Call("read { name: 'p' max_bytes: 2 }").read().data(),
            "cd");
  EXPECT_EQ(session.Call("read { name: 'p' max_bytes: 2 }").read().data(),
            "ef");
  EXPECT_EQ(StatOf("p").pipe().held_bytes(), 6u);
  session.Send("taken: 2");
  AwaitHeldBytes("p", 4);
  session.Send("taken_up_to: 3");
  AwaitHeldBytes("p", 0);
  EXPECT_EQ(StatOf("p").pipe().unread_bytes(), 0u);
}

TEST_P(SessionCallTest, WhatIsReturnedIsReadByOthers) {
  SessionStream session(client(), "");
  WriteNow("p", "abcd");
  session.Call("read { name: 'p' max_bytes: 2 }");
  session.Call("read { name: 'p' }");
  // The return counts, although the others are said to be taken beside it.
  session.Send("taken_up_to: 2 returned: 1");
  AwaitHeldBytes("p", 0);
  const v1::ReadResponse again = ReadNow("p");
  EXPECT_EQ(again.data(), "ab");
  EXPECT_TRUE(again.redelivered());
  EXPECT_EQ(StatOf("p").pipe().unread_bytes(), 0u);
}

TEST_P(SessionCallTest, HeartbeatsAreAnsweredWithTheServersTime) {
  SessionStream session(client(), "");
  absl::Duration last = -absl::InfiniteDuration();
  for (const uint64_t number : {uint64_t{1}, UINT64_MAX, uint64_t{1}}) {
    v1::SessionRequest request;
    request.set_heartbeat(number);
    session.Send(request);
    const auto answer = session.Next();
    ASSERT_TRUE(answer.has_value());
    EXPECT_EQ(answer->heartbeat(), number);
    EXPECT_GE(FromWire(answer->server_time()), last);
    last = FromWire(answer->server_time());
  }
}

TEST_P(SessionCallTest, CancelsAndSignalsEndWhatSleeps) {
  SessionStream session(client(), "");
  session.DoAll({"wait { name: 'q' }",
                 "wait { name: 'q' sleep: SLEEP_KILLABLE }",
                 "read { name: 'p' }", "completion_wait { name: 'c' }"});
  AwaitAsleep(4);
  // Also numbers that are nobody's.
  session.Send("cancels: [3, 0, 3, 9, 18446744073709551615]");
  EXPECT_THAT(session.ResultOf(3), IsFailure(kCancelled, "ECANCELED"));
  session.Send(
      "signals { operation: 2 signal: SIGNAL_INT } "
      "signals { operation: 9 signal: SIGNAL_TERM } "
      "signals { operation: 1 signal: SIGNAL_TERM }");
  const v1::Result ended = session.NextResult();
  EXPECT_EQ(ended.operation(), 1u);
  EXPECT_THAT(ended, IsFailure(kAborted, "EINTR"));
  EXPECT_EQ(ended.failure().metadata().at("signal"), "15");
  EXPECT_EQ(ended.failure().metadata().at("object"), "q");
  session.Send(
      "signals { operation: 2 signal: SIGNAL_KILL } "
      "signals { operation: 4 signal: SIGNAL_INT }");
  EXPECT_THAT(session.ResultOf(2), IsFailure(kAborted, "EINTR"));
  EXPECT_THAT(session.ResultOf(4), IsFailure(kAborted, "EINTR"));
}

TEST_P(SessionCallTest, ASignalIsSaid) {
  for (const char* signal : {"", "signal: SIGNAL_UNSPECIFIED"}) {
    SessionStream session(client(), "");
    session.Send(absl::StrCat("signals { operation: 1 ", signal, " }"));
    EXPECT_THAT(session.Finish(), FailsWith(kInvalid, "EINVAL"));
  }
}

TEST_P(SessionCallTest, OperationsFailAsUnaryCallsDo) {
  options().limits.sleepers_per_object = 1;
  SessionStream session(client(), "");
  EXPECT_THAT(session.Call("get { name: 'q' }"),
              IsFailure(kNotFound, "ENOENT"));
  EXPECT_THAT(session.Call("wait { name: 'a b' }"),
              IsFailure(kInvalid, "EINVAL"));
  EXPECT_THAT(session.Call("wait { name: '' timeout { seconds: -1 } }"),
              IsFailure(kInvalid, "EINVAL"));
  session.Do("wait { name: 'q' }");
  const v1::Result full = session.Call("wait { name: 'q' }");
  EXPECT_THAT(full, IsFailure(kExhausted, "ENOSPC"));
  EXPECT_EQ(full.failure().metadata().at("limit"), "sleepers-per-object");
  EXPECT_GT(full.failure().message().size(), 0u);
  EXPECT_GT(FromWire(full.failure().retry_after()), absl::ZeroDuration());
  EXPECT_THAT(session.Call("complete { name: 'q' }"),
              IsFailure(kPrecondition, "ENXIO"));
}

TEST_P(SessionCallTest, OperationsDoNotSayWhatTheSessionSays) {
  SessionStream session(client(), "");
  for (const char* text :
       {"wait { name: 'q' request_id: '01234567-89ab-cdef-0123-456789012345' }",
        "store { name: 'q' server_epoch: 1 }",
        "accept { name: 'q' request_id: 'x' }",
        "wait { name: 'q' caller: 'me' }", "read { name: 'p' caller: 'me' }",
        "write { name: 'p' data: 'x' caller: 'me' }",
        "poll { name: 'p' caller: 'me' }",
        "completion_wait { name: 'c' caller: 'me' }"}) {
    EXPECT_THAT(session.Call(text), IsFailure(kInvalid, "EINVAL")) << text;
  }
  // They would otherwise have made it.
  EXPECT_THAT(Call<v1::ListObjectsRequest>(client(), "").response.objects(),
              SizeIs(0));
}

TEST_P(SessionCallTest, AnOperationThatAsksForNothingFailsAlone) {
  SessionStream session(client(), "");
  EXPECT_THAT(session.Call(""), IsFailure(kInvalid, "EINVAL"));
  EXPECT_THAT(session.Call("handle: 1"), IsFailure(kInvalid, "EINVAL"));
  // Field 50, of a client that is newer than this server.
  v1::Operation unknown;
  ASSERT_TRUE(unknown.ParseFromString(std::string("\x92\x03\x00", 3)));
  EXPECT_THAT(session.ResultOf(session.Do(unknown)),
              IsFailure(kInvalid, "EINVAL"));
  EXPECT_TRUE(session.Call("complete { name: 'c' }").has_complete());
}

TEST_P(SessionCallTest, AMessageMayHaveTenThousandOperations) {
  SessionStream session(client(), "");
  session.DoAll(std::vector<std::string>(
      10'000, "wake_up { name: 'q' update { add: 1 } }"));
  for (uint64_t i = 1; i <= 10'000; ++i) {
    const v1::Result result = session.NextResult();
    ASSERT_EQ(result.operation(), i);
    ASSERT_EQ(result.wake_up().value(), static_cast<int64_t>(i));
  }
  EXPECT_EQ(session.results(), 10'000u);
  EXPECT_EQ(ValueOf("q"), 10'000);
}

TEST_P(SessionCallTest, TheLongestPacketComesInAndGoesOut) {
  SessionStream session(client(), "");
  session.Call(
      "create { name: 'p' pipe { capacity_bytes: 8388608 "
      "mode: PIPE_MODE_PACKET } }");
  v1::Operation write;
  write.mutable_write()->set_name("p");
  write.mutable_write()->set_data(std::string(kPacketBytesMax, 'x'));
  EXPECT_EQ(session.ResultOf(session.Do(write)).write().accepted_bytes(),
            kPacketBytesMax);
  const v1::Result read = session.Call("read { name: 'p' max_bytes: 4194304 }");
  EXPECT_EQ(read.read().data(), write.write().data());
  write.mutable_write()->mutable_data()->push_back('x');
  EXPECT_THAT(session.ResultOf(session.Do(write)),
              IsFailure(kInvalid, "EMSGSIZE"));
}

// --- Messages that are wrong -------------------------------------------------

TEST_P(SessionCallTest, AGapInTheOperationsEndsTheSession) {
  for (const uint64_t first : {uint64_t{3}, UINT64_MAX, uint64_t{1} << 55}) {
    SessionStream session(client(), "");
    session.Call("get { name: 'q' }");
    v1::SessionRequest request;
    request.set_first_operation(first);
    request.add_operations()->mutable_wait()->set_name("q");
    session.Send(request);
    EXPECT_THAT(session.Finish(), FailsWith(kInvalid, "EINVAL"));
    ExpectGone(session);
  }
}

TEST_P(SessionCallTest, OperationsThatItHasHadArePassedOver) {
  SessionStream session(client(), "");
  session.Call("wake_up { name: 'q' update { add: 1 } }");
  // Numbers 0 to 2.
  session.Send(
      "operations { get { name: 'q' } } "
      "operations { wake_up { name: 'q' update { add: 1 } } } "
      "operations { wake_up { name: 'q' update { add: 10 } } }");
  const v1::Result result = session.NextResult();
  EXPECT_EQ(result.operation(), 2u);
  EXPECT_EQ(result.wake_up().value(), 11);
  EXPECT_EQ(session.results(), 2u);
}

TEST_P(SessionCallTest, ResultsThatWereNeverSentCannotBeTaken) {
  for (const char* text : {"taken_up_to: 2", "taken: 2", "returned: 2",
                           "taken: [1, 18446744073709551615]"}) {
    SessionStream session(client(), "");
    session.Call("complete { name: 'c' }");
    session.Send(text);
    EXPECT_THAT(session.Finish(), FailsWith(kInvalid, "EINVAL")) << text;
    ExpectGone(session);
  }
}

TEST_P(SessionCallTest, ResultsMayBeTakenTwice) {
  SessionStream session(client(), "");
  WriteNow("p", "abc");
  session.Call("read { name: 'p' }");
  session.Send(
      "taken_up_to: 1 taken: [1, 0, 1] returned: [0] "
      "first_operation: 2 operations { get { name: 'q' } }");
  EXPECT_THAT(session.ResultOf(2), IsFailure(kNotFound, "ENOENT"));
  session.Send("returned: 1 heartbeat: 1");
  ASSERT_TRUE(session.Next().has_value());
  EXPECT_EQ(StatOf("p").pipe().unread_bytes(), 0u);
}

TEST_P(SessionCallTest, AMessageThatDoesNotParseEndsTheSession) {
  const google::protobuf::LogSilencer silence;
  SessionStream session(client(), "");
  session.Do("wait { name: 'q' }");
  AwaitAsleep(1);
  v1::Operation bad;
  bad.mutable_get()->set_name("\xc3\x28");  // no UTF-8
  session.Do(bad);
  EXPECT_THAT(session.Finish(), FailsWith(kInvalid, "EINVAL"));
  AwaitAsleep(0);
  ExpectGone(session);
}

TEST_P(SessionCallTest, AMessageAboveTheLimitEndsTheSession) {
  options().limits.message_bytes = 128 << 10;
  SessionStream session(client(), "");
  session.Do("wait { name: 'q' }");
  AwaitAsleep(1);
  v1::Operation big;
  big.mutable_write()->set_name("p");
  big.mutable_write()->set_data(std::string(128 << 10, 'x'));
  session.Do(big);
  EXPECT_THAT(session.Finish(), FailsWith(kInvalid, "EMSGSIZE"));
  AwaitAsleep(0);
  ExpectGone(session);
}

// --- The end, and streams that follow each other -----------------------------

TEST_P(SessionCallTest, EndEndsOkAndItsOperationsWithIt) {
  SessionStream session(client(), "");
  session.Call("open { name: 'p' write: true }");
  session.DoAll({"wait { name: 'q' }", "read { name: 'r' }"});
  WriteNow("s", "abc");
  session.Call("read { name: 's' }");
  AwaitAsleep(2);
  // What the last message brings is done before.
  v1::SessionRequest last = FromText<v1::SessionRequest>(
      "end: true operations { wake_up { name: 'u' update { set: 5 } } }");
  last.set_first_operation(session.operations() + 1);
  session.Send(last);
  EXPECT_THAT(session.Finish(), IsOk());
  AwaitAsleep(0);
  ExpectGone(session);
  EXPECT_EQ(ValueOf("u"), 5);
  // Its writer broke, and what it had not taken is others'.
  const v1::ReadResponse file = ReadNow("p");
  EXPECT_EQ(file.outcome(), v1::OUTCOME_END_OF_FILE);
  EXPECT_TRUE(file.broken());
  EXPECT_EQ(ReadNow("s").data(), "abc");
}

TEST_P(SessionCallTest, HalfCloseWithoutEndLeavesItDetached) {
  SessionStream session(client(), "");
  session.Do("wait { name: 'q' }");
  AwaitAsleep(1);
  session.HalfClose();
  EXPECT_THAT(session.Finish(), IsOk());
  AwaitDetached("q", 1);
  SessionStream again(client(), session, 0);
  AwaitDetached("q", 0);
  EXPECT_EQ(WakeUp("name: 'q'"), 1u);
  EXPECT_EQ(again.NextResult().wait().outcome(), v1::OUTCOME_DONE);
}

TEST_P(SessionCallTest, SleepersKeepTheirPlacesWhenTheStreamIsCancelled) {
  SessionStream session(client(), "");
  session.Do("wait { name: 'q' exclusive: true }");
  AwaitAsleep(1);
  Pending<v1::WaitRequest> behind(client(), "name: 'q' exclusive: true");
  AwaitAsleep(2);
  session.Cancel();
  EXPECT_EQ(session.Finish().error_code(), kCancelled);
  AwaitDetached("q", 1);
  SessionStream again(client(), session, 0);
  EXPECT_EQ(again.hello().operations_received(), 1u);
  AwaitDetached("q", 0);
  EXPECT_EQ(WakeUp("name: 'q'"), 1u);
  EXPECT_EQ(again.NextResult().operation(), 1u);
  EXPECT_FALSE(behind.ended());
  EXPECT_EQ(WakeUp("name: 'q'"), 1u);
  EXPECT_THAT(behind.status(), IsOk());
}

TEST_P(SessionCallTest, NothingIsHandedToASessionWithoutAStream) {
  SessionStream session(client(), "");
  session.DoAll({"read { name: 'p' }", "wait { name: 'q' exclusive: true }"});
  AwaitAsleep(2);
  session.Cancel();
  session.Finish();
  AwaitDetached("q", 1);
  EXPECT_EQ(WakeUp("name: 'q'"), 0u);
  WriteNow("p", "abc");
  EXPECT_EQ(StatOf("p").pipe().unread_bytes(), 3u);
  // When it is back it gets what is there still.
  SessionStream again(client(), session, 0);
  EXPECT_EQ(again.NextResult().read().data(), "abc");
}

TEST_P(SessionCallTest, ResultsThatWereNotTakenComeAgain) {
  SessionStream session(client(), "");
  WriteNow("p", "abcd");
  for (int i = 0; i < 4; ++i) {
    session.Call("read { name: 'p' max_bytes: 1 }");
  }
  session.Send("taken: [2]");
  AwaitHeldBytes("p", 3);
  session.Cancel();
  session.Finish();

  const auto data_of = [&](SessionStream& stream, size_t n) {
    std::vector<std::string> data;
    while (data.size() < n) data.push_back(stream.NextResult().read().data());
    return data;
  };
  SessionStream all(client(), session, 0);
  EXPECT_THAT(data_of(all, 3), ElementsAre("a", "c", "d"));
  EXPECT_EQ(all.results(), 4u);
  SessionStream last(client(), all, 3);
  EXPECT_THAT(data_of(last, 1), ElementsAre("d"));
  // More than were sent is as good as all of them.
  SessionStream none(client(), last, 1'000);
  EXPECT_THAT(none.Call("get { name: 'q' }"), IsFailure(kNotFound, "ENOENT"));
}

TEST_P(SessionCallTest, ItOutlivesItsConnection) {
  Wire wire(server().address());
  const auto far = ClientOf(wire.address());
  SessionStream session(*far, "");
  session.Call("open { name: 'p' write: true }");
  session.DoAll({"wait { name: 'q' }"});
  AwaitAsleep(1);
  const std::string peer = Sleepers("q")[0].peer();
  wire.Cut();
  EXPECT_FALSE(session.Finish().ok());
  AwaitDetached("q", 1);
  SessionStream again(client(), session, 1);
  EXPECT_EQ(StatOf("p").pipe().writers(), 1u);
  if (GetParam() == Setup::kPort) {
    EXPECT_NE(Sleepers("q")[0].peer(), peer);
  }
  EXPECT_EQ(
      again.Call("write { data: 'abc' } handle: 1").write().accepted_bytes(),
      3u);
}

TEST_P(SessionCallTest, AnotherStreamTakesItOver) {
  SessionStream first(client(), "");
  first.Do("wait { name: 'q' }");
  AwaitAsleep(1);
  const auto other = NewClient();
  SessionStream second(*other, first, 0);
  EXPECT_THAT(first.Finish(), FailsWith(kCancelled, "ECANCELED"));
  EXPECT_EQ(WakeUp("name: 'q'"), 1u);
  EXPECT_EQ(second.NextResult().wait().outcome(), v1::OUTCOME_DONE);
}

TEST_P(SessionCallTest, AnOlderStreamOfOneProgramDoesNotTakeItOver) {
  SessionStream session(client(), "program: 7 attempt: 2");
  v1::SessionRequest late = SessionStream::Resume(session, 0);
  late.mutable_hello()->set_program(7);
  late.mutable_hello()->set_attempt(1);
  SessionStream older(client());
  older.Send(late);
  EXPECT_THAT(older.Finish(), FailsWith(kPrecondition, "ESTALE"));
  EXPECT_TRUE(session.Call("complete { name: 'c' }").has_complete());
  // Another program's may.
  late.mutable_hello()->set_program(8);
  SessionStream others(client());
  others.Send(late);
  EXPECT_TRUE(others.Next().has_value());
  EXPECT_THAT(session.Finish(), FailsWith(kCancelled, "ECANCELED"));
}

TEST_P(SessionCallTest, SilenceEndsIt) {
  SessionStream session(client(), "grace { nanos: 100000000 }");
  session.DoAll({"wait { name: 'q' }", "open { name: 'p' write: true }"});
  EXPECT_THAT(session.Finish(), FailsWith(kPrecondition, "ESTALE"));
  AwaitAsleep(0);
  AwaitHandles("p", 0, 0);
  ExpectGone(session);
}

TEST_P(SessionCallTest, StreamsThatComeAndGoLeaveItAndTheServerWhole) {
  if (GetParam() == Setup::kPort) options().queues = 4;
  Random random(Seed());
  SessionStream session(client(), "grace { seconds: 3600 }");
  session.Do("wait { name: 'q' }");
  AwaitAsleep(1);
  // A stream that its client has left may still arrive: not after the last.
  std::atomic<uint64_t> attempts{0};
  const auto resume = [&] {
    v1::SessionRequest request = SessionStream::Resume(session, 0);
    request.mutable_hello()->set_program(1);
    request.mutable_hello()->set_attempt(++attempts);
    return request;
  };
  constexpr int kThreads = 4;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, own = NewClient(), seed = random.Below(1 << 30)] {
      Random mine(seed);
      for (int i = 0; i < Times(50); ++i) {
        SessionStream stream(*own);
        v1::SessionRequest request = resume();
        // Some take long, so that others come and go meanwhile.
        if (mine.OneIn(8)) {
          for (int n = 0; n < 200'000; ++n) request.add_cancels(9);
        }
        request.set_first_operation(2);
        request.add_operations()->mutable_wake_up()->set_name("u");
        request.set_heartbeat(1);
        stream.Send(request);
        if (mine.OneIn(2)) stream.Next();
        if (mine.OneIn(4)) stream.HalfClose();
        stream.Cancel();
        stream.Finish();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  SessionStream last(client());
  last.Send(resume());
  WakeUp("name: 'q'");
  EXPECT_EQ(last.ResultOf(1).wait().outcome(), v1::OUTCOME_DONE);
}

// --- Handles -----------------------------------------------------------------

TEST_P(SessionCallTest, HandlesReadAndWriteAndClose) {
  SessionStream session(client(), "");
  WriteNow("p", "ab");
  ASSERT_EQ(ReadNow("p").data(), "ab");
  const v1::Result writer =
      session.Call("open { name: 'p' write: true options {} }");
  ASSERT_EQ(writer.operation(), 1u);
  EXPECT_EQ(writer.open().offset(), 2u);
  EXPECT_EQ(writer.open().incarnation(), StatOf("p").incarnation());
  EXPECT_EQ(writer.open().mode(), v1::PIPE_MODE_STREAM);
  EXPECT_EQ(session.Call("open { name: 'p' }").open().offset(), 2u);
  AwaitHandles("p", 1, 1);
  session.Do("handle: 2 read {}");
  session.Do("handle: 1 write { data: 'cde' }");
  EXPECT_EQ(session.ResultOf(3).read().data(), "cde");
  session.Send("taken_up_to: 4");
  EXPECT_TRUE(session.Call("close { handle: 1 }").has_close());
  const v1::ReadResponse end = session.Call("handle: 2 read {}").read();
  EXPECT_EQ(end.outcome(), v1::OUTCOME_END_OF_FILE);
  EXPECT_FALSE(end.broken());
  EXPECT_TRUE(session.Call("close { handle: 2 }").has_close());
  AwaitHandles("p", 0, 0);
}

TEST_P(SessionCallTest, AWriterMayCloseAsBroken) {
  SessionStream session(client(), "");
  session.Call("open { name: 'p' write: true }");
  session.Call("handle: 1 write { data: 'half' }");
  session.Call("close { handle: 1 broken: true }");
  EXPECT_EQ(ReadNow("p").data(), "half");
  EXPECT_TRUE(ReadNow("p").broken());
}

TEST_P(SessionCallTest, HandlesThatAreNotOpenForItAreBad) {
  SessionStream session(client(), "");
  session.Call("open { name: 'p' write: true }");  // 1
  session.Call("open { name: 'p' }");              // 2
  for (const char* text :
       {"handle: 1 read {}", "handle: 2 write { data: 'x' }",
        "handle: 9 read {}", "handle: 18446744073709551615 read {}",
        "handle: 2 read { name: 'p' }", "handle: 1 write { name: 'p' }",
        "handle: 2 wait { name: 'q' }", "handle: 2 poll { name: 'p' }",
        "handle: 2 close { handle: 2 }", "close { handle: 9 }", "close {}"}) {
    EXPECT_THAT(session.Call(text), IsFailure(kPrecondition, "EBADF")) << text;
  }
  EXPECT_TRUE(session.Call("close { handle: 2 }").has_close());
  EXPECT_THAT(session.Call("close { handle: 2 }"),
              IsFailure(kPrecondition, "EBADF"));
  EXPECT_THAT(session.Call("handle: 2 read {}"),
              IsFailure(kPrecondition, "EBADF"));
  EXPECT_THAT(session.Call("open { name: 'a b' }"),
              IsFailure(kInvalid, "EINVAL"));
}

TEST_P(SessionCallTest, AHandleIsBusyWhileACallOfItIsAsleep) {
  SessionStream session(client(), "");
  session.Call("open { name: 'p' }");
  const uint64_t read = session.Do("handle: 1 read {}");
  EXPECT_THAT(session.Call("close { handle: 1 }"),
              IsFailure(kPrecondition, "EBUSY"));
  v1::SessionRequest cancel;
  cancel.add_cancels(read);
  session.Send(cancel);
  EXPECT_THAT(session.ResultOf(read), IsFailure(kCancelled, "ECANCELED"));
  EXPECT_TRUE(session.Call("close { handle: 1 }").has_close());
}

TEST_P(SessionCallTest, AnOpenHasASecondResultWhenItsPipeIsRemoved) {
  SessionStream session(client(), "");
  session.Call("open { name: 'p' }");
  const uint64_t read = session.Do("handle: 1 read {}");
  AwaitAsleep(1);
  ASSERT_THAT(Call<v1::RemoveRequest>(client(), "name: 'p' force: true").status,
              IsOk());
  const v1::Result first = session.NextResult();
  const v1::Result second = session.NextResult();
  EXPECT_EQ(first.operation() + second.operation(), 1 + read);
  EXPECT_THAT(first, IsFailure(kAborted, "EIDRM"));
  EXPECT_THAT(second, IsFailure(kAborted, "EIDRM"));
  EXPECT_THAT(session.Call("handle: 1 read {}"), IsFailure(kAborted, "EIDRM"));
  EXPECT_TRUE(session.Call("close { handle: 1 }").has_close());
}

TEST_P(SessionCallTest, HandlesStayOpenWhileItHasNoStream) {
  SessionStream session(client(), "");
  session.Call("open { name: 'p' write: true }");
  session.Cancel();
  session.Finish();
  EXPECT_EQ(StatOf("p").pipe().writers(), 1u);
  SessionStream again(client(), session, 1);
  again.Call("handle: 1 write { data: 'abc' }");
  again.Call("close { handle: 1 }");
  EXPECT_EQ(ReadNow("p").data(), "abc");
  EXPECT_FALSE(ReadNow("p").broken());
}

// --- Limits ------------------------------------------------------------------

TEST_P(SessionCallTest, OperationsHaveALimit) {
  options().limits.operations_per_session = 10;
  SessionStream session(client(), "");
  session.DoAll(std::vector<std::string>(12, "wait { name: 'q' }"));
  for (const uint64_t number : {11, 12}) {
    const v1::Result refused = session.NextResult();
    EXPECT_EQ(refused.operation(), number);
    EXPECT_THAT(refused, IsFailure(kExhausted, "ENOSPC"));
    EXPECT_EQ(refused.failure().metadata().at("limit"),
              "operations-per-session");
  }
  AwaitAsleep(10);
  EXPECT_EQ(WakeUp("name: 'q' all: true"), 10u);
  for (uint64_t n = 0; n < 10; ++n) session.NextResult();
  session.Send("taken_up_to: 12");
  EXPECT_TRUE(session.Call("complete { name: 'c' }").has_complete());
}

TEST_P(SessionCallTest, WhoIgnoresTheLimitOfOperationsIsCutOff) {
  options().limits.operations_per_session = 10;
  SessionStream session(client(), "");
  session.DoAll(std::vector<std::string>(10'000, "wait { name: 'q' }"));
  const grpc::Status status = session.Finish();
  EXPECT_THAT(status, FailsWith(kExhausted, "ENOSPC"));
  EXPECT_EQ(ParseErrorInfo(status)->metadata.at("limit"),
            "operations-per-session");
  AwaitAsleep(0);
}

// What one that does not read keeps in the server is bounded: others are
// served. And nothing of it is lost.
TEST_P(SessionCallTest, ResultsThatAClientDoesNotReadHaveALimit) {
  constexpr uint64_t kPiece = 100'000;
  options().limits.message_bytes = 128 << 10;
  options().limits.result_bytes_per_session = 1 << 20;
  Call<v1::CreateRequest>(client(),
                          "name: 'p' pipe { capacity_bytes: 4194304 }");
  for (int i = 0; i < 40; ++i) WriteNow("p", std::string(kPiece, 'x'));
  SessionStream session(client(), "");
  session.DoAll(std::vector<std::string>(
      30, absl::StrCat("read { name: 'p' max_bytes: ", kPiece, " }")));
  // Its 11 are above a MiB; 19 sleep, although there are bytes.
  AwaitAsleep(19);
  EXPECT_EQ(StatOf("p").pipe().read_offset(), 11 * kPiece);
  AwaitDetached("p", 19);
  EXPECT_THAT(Call<v1::ReadRequest>(client(), "name: 'p' max_bytes: 100000")
                  .response.data(),
              SizeIs(kPiece));
  for (int i = 0; i < 30; ++i) {
    EXPECT_THAT(session.NextResult().read().data(), SizeIs(kPiece));
    v1::SessionRequest taken;
    taken.set_taken_up_to(session.NumberOf(static_cast<uint64_t>(i) + 1));
    session.Send(taken);
  }
  EXPECT_EQ(StatOf("p").pipe().read_offset(), 31 * kPiece);
}

TEST_P(SessionCallTest, ResultsInNumberHaveALimit) {
  options().limits.results_per_session = 3;
  SessionStream session(client(), "");
  session.DoAll({"get { name: 'q' }", "get { name: 'q' }", "get { name: 'q' }",
                 "try_wait { name: 'c' }", "completion_wait { name: 'c' }"});
  for (int i = 0; i < 4; ++i) session.NextResult();
  AwaitAsleep(1);
  Call<v1::CompleteRequest>(client(), "name: 'c'");
  AwaitDetached("c", 1);
  session.Send("taken_up_to: 4");
  EXPECT_EQ(session.NextResult().completion_wait().outcome(), v1::OUTCOME_DONE);
}

// --- The server's end --------------------------------------------------------

TEST_P(SessionCallTest, ShutdownTellsWhoIsAttached) {
  SessionStream session(client(), "");
  session.Do("wait { name: 'q' }");
  SessionStream detached(client(), "");
  detached.Do("read { name: 'p' }");
  AwaitAsleep(2);
  detached.Cancel();
  detached.Finish();
  const absl::Time begin = absl::Now();
  StopServer(begin + kBound);
  EXPECT_LT(absl::Now() - begin, kBound / 2);
  const grpc::Status status = session.Finish();
  EXPECT_THAT(status, FailsWith(kUnavailable, "ESHUTDOWN"));
}

// The message that is on its way holds its status up, and nothing else.
TEST_P(SessionCallTest, ShutdownDoesNotWaitForWhoDoesNotRead) {
  absl::Duration best = absl::InfiniteDuration();
  // The machine may be slow, but not each time.
  for (int i = 0; i < 5 && best > absl::Seconds(4); ++i) {
    const auto own = NewClient();
    SessionStream session(*own, "");
    Call<v1::CreateRequest>(*own,
                            "name: 'p' pipe { capacity_bytes: 33554432 }");
    v1::WriteRequest write;
    write.set_name("p");
    write.set_data(std::string(4'000'000, 'x'));
    for (int n = 0; n < 8; ++n) Call(*own, write);
    session.DoAll(
        std::vector<std::string>(8, "read { name: 'p' max_bytes: 4000000 }"));
    EXPECT_TRUE(Await([&] {
      v1::StatRequest stat;
      stat.set_name("p");
      return Call(*own, stat).response.object().pipe().unread_bytes() == 0;
    }));
    const absl::Time begin = absl::Now();
    StopServer(begin);
    best = std::min(best, absl::Now() - begin);
  }
  EXPECT_LT(best, absl::Seconds(4));
}

TEST_P(SessionCallTest, DrainLetsItReadOnAndRefusesWrites) {
  SessionStream session(client(), "");
  WriteNow("p", "abcdef");
  session.Call("open { name: 'p' }");              // 1
  session.Call("open { name: 'w' write: true }");  // 2
  session.DoAll({"wait { name: 'q' }", "read { name: 'r' }"});
  AwaitAsleep(2);
  server().Drain();
  EXPECT_THAT(session.ResultOf(3), IsFailure(kUnavailable, "ESHUTDOWN"));
  for (const char* text :
       {"write { name: 'p' data: 'x' }", "handle: 2 write { data: 'x' }",
        "wait { name: 'q' }", "open { name: 'p' write: true }"}) {
    const v1::Result refused = session.Call(text);
    EXPECT_THAT(refused, IsFailure(kUnavailable, "ESHUTDOWN")) << text;
    EXPECT_TRUE(refused.failure().has_retry_after());
  }
  EXPECT_EQ(session.Call("read { name: 'p' max_bytes: 2 }").read().data(),
            "ab");
  EXPECT_EQ(session.Call("handle: 1 read { max_bytes: 2 }").read().data(),
            "cd");
  // Others may come to empty the pipes.
  SessionStream other(client(), "");
  const v1::Result opened = other.Call("open { name: 'p' }");
  EXPECT_EQ(opened.open().offset(), 4u);
  EXPECT_EQ(other.Call("handle: 1 read {}").read().data(), "ef");
}

}  // namespace
}  // namespace waitq::test
