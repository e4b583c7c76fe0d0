// Objects.WaitAny, as a call of its own and in sessions.

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fixture.h"
#include "tests/server/session_stream.h"
#include "transport/error_info.h"

namespace waitq::test {
namespace {

using ::testing::SizeIs;

constexpr auto kInvalid = grpc::StatusCode::INVALID_ARGUMENT;
constexpr auto kAborted = grpc::StatusCode::ABORTED;
constexpr auto kCancelled = grpc::StatusCode::CANCELLED;

// One of each kind, in this order.
constexpr char kAll[] =
    "alternatives { wait { name: 'w' condition { greater: 0 } "
    "                      then { add: -1 } } } "
    "alternatives { completion_wait { name: 'd' } } "
    "alternatives { read { name: 'p' max_bytes: 3 } } ";

class WaitAnyTest : public EverywhereTest {
 protected:
  void Complete() {
    ASSERT_THAT(Call<v1::CompleteRequest>(client(), "name: 'd'").status,
                IsOk());
  }
  void Post() {
    ASSERT_THAT(
        Call<v1::WakeUpRequest>(client(), "name: 'w' update { add: 1 }").status,
        IsOk());
  }
  void ExpectDone(bool done) {
    EXPECT_EQ(Call<v1::DoneRequest>(client(), "name: 'd'").response.done(),
              done);
  }
};
WAITQ_TEST_EVERYWHERE(WaitAnyTest);

// --- A call of its own -------------------------------------------------------

TEST_P(WaitAnyTest, TheFirstThatHoldsIsChosenAtOnce) {
  Complete();
  WriteNow("p", "abc");
  const auto any = Call<v1::WaitAnyRequest>(client(), kAll);
  ASSERT_THAT(any.status, IsOk());
  EXPECT_EQ(any.response.outcome(), v1::OUTCOME_DONE);
  EXPECT_EQ(any.response.alternative(), 1u);
  EXPECT_EQ(any.response.completion_wait().outcome(), v1::OUTCOME_DONE);
  EXPECT_EQ(any.response.completion_wait().generation(),
            StatOf("d").generation());
  EXPECT_FALSE(any.response.slept());
  EXPECT_FALSE(any.response.has_remaining());
  EXPECT_EQ(any.response.server_epoch(), server().engine().epoch());
  EXPECT_FALSE(any.response.completion_wait().has_server_epoch());
  ExpectDone(false);
  EXPECT_EQ(ReadNow("p").data(), "abc");
}

TEST_P(WaitAnyTest, EachKindEndsASleepWithItsOwnAnswer) {
  const std::string request =
      absl::StrCat(kAll, "timeout { seconds: 1000 } want_timing: true");
  {
    Pending<v1::WaitAnyRequest> any(client(), request);
    AwaitAsleep(3);
    Post();
    ASSERT_THAT(any.status(), IsOk());
    EXPECT_EQ(any.response().alternative(), 0u);
    EXPECT_TRUE(any.response().has_alternative());
    EXPECT_EQ(any.response().wait().value_before(), 1);
    EXPECT_EQ(any.response().wait().value_after(), 0);
    EXPECT_TRUE(any.response().slept());
    EXPECT_GT(any.response().remaining().seconds(), 0);
    EXPECT_TRUE(any.response().has_timing());
    EXPECT_FALSE(any.response().wait().has_timing());
    AwaitAsleep(0);
  }
  {
    Pending<v1::WaitAnyRequest> any(client(), request);
    AwaitAsleep(3);
    Complete();
    ASSERT_THAT(any.status(), IsOk());
    EXPECT_EQ(any.response().alternative(), 1u);
    EXPECT_TRUE(any.response().has_completion_wait());
    AwaitAsleep(0);
  }
  {
    Pending<v1::WaitAnyRequest> any(client(), request);
    AwaitAsleep(3);
    WriteNow("p", "abcde");
    ASSERT_THAT(any.status(), IsOk());
    EXPECT_EQ(any.response().alternative(), 2u);
    EXPECT_EQ(any.response().read().data(), "abc");
    EXPECT_EQ(ReadNow("p").data(), "de");
    AwaitAsleep(0);
  }
  EXPECT_EQ(ValueOf("w"), 0);
  ExpectDone(false);
}

TEST_P(WaitAnyTest, TheEndOfAFileIsAnOutcomeOfIt) {
  Pending<v1::WaitAnyRequest> any(client(), kAll);
  AwaitAsleep(3);
  {
    SessionStream session(client(), "");
    const uint64_t handle = session.Do("open { name: 'p' write: true }");
    session.ResultOf(handle);
    session.Call(absl::StrCat("close { handle: ", handle, " broken: true }"));
  }
  ASSERT_THAT(any.status(), IsOk());
  EXPECT_EQ(any.response().outcome(), v1::OUTCOME_END_OF_FILE);
  EXPECT_EQ(any.response().alternative(), 2u);
  EXPECT_TRUE(any.response().read().broken());
}

TEST_P(WaitAnyTest, TimesOutOrWouldBlockWithoutAnAlternative) {
  const auto nonblock =
      Call<v1::WaitAnyRequest>(client(), absl::StrCat(kAll, "nonblock: true"));
  ASSERT_THAT(nonblock.status, IsOk());
  EXPECT_EQ(nonblock.response.outcome(), v1::OUTCOME_WOULD_BLOCK);
  EXPECT_FALSE(nonblock.response.has_alternative());
  EXPECT_EQ(nonblock.response.response_case(),
            v1::WaitAnyResponse::RESPONSE_NOT_SET);
  const auto timed = Call<v1::WaitAnyRequest>(
      client(), absl::StrCat(kAll, "timeout { nanos: 1000000 }"));
  ASSERT_THAT(timed.status, IsOk());
  EXPECT_EQ(timed.response.outcome(), v1::OUTCOME_TIMED_OUT);
  EXPECT_FALSE(timed.response.has_alternative());
  EXPECT_TRUE(timed.response.slept());
  EXPECT_TRUE(timed.response.has_remaining());
  AwaitAsleep(0);
}

TEST_P(WaitAnyTest, ACallerThatGoesTakesNothing) {
  Pending<v1::WaitAnyRequest> any(client(), kAll);
  AwaitAsleep(3);
  any.Cancel();
  EXPECT_EQ(any.status().error_code(), kCancelled);
  AwaitAsleep(0);
  Complete();
  Post();
  ExpectDone(true);
  EXPECT_EQ(ValueOf("w"), 1);
}

TEST_P(WaitAnyTest, OneObjectsRemovalEndsItAndIsNamed) {
  Pending<v1::WaitAnyRequest> any(client(), kAll);
  AwaitAsleep(3);
  ASSERT_THAT(Call<v1::RemoveRequest>(client(), "name: 'd'").status, IsOk());
  EXPECT_THAT(any.status(), FailsWith(kAborted, "EIDRM"));
  EXPECT_EQ(ParseErrorInfo(any.status())->metadata.at("object"), "d");
  AwaitAsleep(0);
}

TEST_P(WaitAnyTest, PsShowsEachUnderOneIdAndASignalEndsAll) {
  Pending<v1::WaitAnyRequest> any(client(),
                                  absl::StrCat(kAll, "caller: 'any'"));
  AwaitAsleep(3);
  const auto tasks = Sleepers();
  ASSERT_THAT(tasks, SizeIs(3));
  for (uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(tasks[i].id(), tasks[0].id());
    EXPECT_TRUE(tasks[i].has_alternative());
    EXPECT_EQ(tasks[i].alternative(), i);
    EXPECT_EQ(tasks[i].caller(), "any");
  }
  EXPECT_EQ(tasks[1].object(), "d");
  const auto page = Call<v1::ListTasksRequest>(client(), "page_size: 1");
  EXPECT_THAT(page.response.tasks(), SizeIs(3)) << "a page does not part them";
  v1::SignalRequest signal;
  signal.set_id(tasks[0].id());
  signal.set_signal(v1::SignalRequest::SIGNAL_TERM);
  EXPECT_TRUE(Call(client(), signal).response.ended());
  EXPECT_THAT(any.status(), FailsWith(kAborted, "EINTR"));
  AwaitAsleep(0);
}

TEST_P(WaitAnyTest, WhatTheProtoDoesNotAllowIsRefused) {
  std::string many;
  for (int i = 0; i < 65; ++i) {
    many += "alternatives { completion_wait { name: 'none' } } ";
  }
  for (const std::string& text :
       {std::string(), many, std::string("alternatives {}"),
        std::string("alternatives { completion_wait {} }"),
        std::string("alternatives { wait { name: 'none' condition {} } }"),
        std::string("alternatives { wait { name: 'none' undo {} } }"),
        std::string("alternatives { wait { name: 'none' then { set: 1 } "
                    "undo {} } }"),
        std::string("alternatives { read { name: 'none' min_bytes: 0 } }"),
        std::string("alternatives { completion_wait { name: 'none' } } "
                    "sleep: SLEEP_UNINTERRUPTIBLE"),
        std::string("alternatives { completion_wait { name: 'none' } } "
                    "timeout { seconds: -1 }")}) {
    EXPECT_THAT(Call<v1::WaitAnyRequest>(client(), text).status,
                FailsWith(kInvalid, "EINVAL"))
        << text;
  }
  // What is of the whole, said of one.
  for (const char* field :
       {"timeout {}", "nonblock: true", "sleep: SLEEP_KILLABLE", "caller: 'x'",
        "want_timing: true",
        "request_id: '01234567-89ab-cdef-0123-456789abcdef'",
        "server_epoch: 1"}) {
    for (const char* request : {"wait", "completion_wait", "read"}) {
      EXPECT_THAT(Call<v1::WaitAnyRequest>(
                      client(), absl::StrCat("alternatives { ", request,
                                             " { name: 'none' ", field, " } }"))
                      .status,
                  FailsWith(kInvalid, "EINVAL"))
          << request << " " << field;
    }
  }
  EXPECT_EQ(Call<v1::StatRequest>(client(), "name: 'none'").status.error_code(),
            grpc::StatusCode::NOT_FOUND)
      << "none of these has made anything";
}

TEST_P(WaitAnyTest, TheLimitOfAlternativesIsNamed) {
  const auto none = Call<v1::WaitAnyRequest>(client(), "");
  EXPECT_EQ(ParseErrorInfo(none.status)->metadata.at("limit"), "alternatives");
}

// Millions of them, of two bytes each, would be parsed before it is known that
// they are too many.
TEST_P(WaitAnyTest, LongOnesAreRefusedUnparsed) {
  v1::WaitAnyRequest request;
  while (request.ByteSizeLong() <= 64 << 10) request.add_alternatives();
  const auto any = Call(client(), request);
  EXPECT_THAT(any.status, FailsWith(kInvalid, "EMSGSIZE"));
  EXPECT_EQ(ParseErrorInfo(any.status)->metadata.at("limit"), "alternatives");
  SessionStream session(client(), "");
  v1::Operation operation;
  *operation.mutable_wait_any() = request;
  EXPECT_THAT(session.ResultOf(session.Do(operation)),
              IsFailure(kInvalid, "EMSGSIZE"));
  operation.mutable_wait_any()->clear_alternatives();
  EXPECT_THAT(session.ResultOf(session.Do(operation)),
              IsFailure(kInvalid, "EINVAL"));
}

TEST_P(WaitAnyTest, AHeldReadIsAcceptedByItsId) {
  WriteNow("p", "abc");
  const auto any = Call<v1::WaitAnyRequest>(
      client(), "alternatives { read { name: 'p' hold { seconds: 100 } } }");
  ASSERT_THAT(any.status, IsOk());
  EXPECT_NE(any.response.read().hold_id(), 0u);
  EXPECT_EQ(StatOf("p").pipe().held_bytes(), 3u);
  EXPECT_THAT(Call<v1::AcceptRequest>(
                  client(), absl::StrCat("name: 'p' hold_id: ",
                                         any.response.read().hold_id()))
                  .status,
              IsOk());
  EXPECT_EQ(StatOf("p").pipe().held_bytes(), 0u);
}

// --- In a session ------------------------------------------------------------

class WaitAnySessionTest : public WaitAnyTest {
 protected:
  static std::string InSession(const std::string& more = "") {
    return absl::StrCat("wait_any { ", kAll, more, " }");
  }
};
WAITQ_TEST_EVERYWHERE(WaitAnySessionTest);

TEST_P(WaitAnySessionTest, ItIsOneOperationWithOneResult) {
  SessionStream session(client(), "");
  const uint64_t any = session.Do(InSession());
  AwaitAsleep(3);
  Complete();
  const v1::Result result = session.ResultOf(any);
  EXPECT_EQ(result.wait_any().alternative(), 1u);
  EXPECT_TRUE(result.wait_any().has_completion_wait());
  EXPECT_FALSE(result.wait_any().has_server_epoch());
  AwaitAsleep(0);
  // And at once.
  Post();
  const v1::Result at_once = session.Call(InSession());
  EXPECT_EQ(at_once.wait_any().alternative(), 0u);
  EXPECT_FALSE(at_once.wait_any().slept());
  EXPECT_EQ(session.results(), 2u);
}

TEST_P(WaitAnySessionTest, AReadThatIsChosenIsHeldUntilItIsTaken) {
  SessionStream session(client(), "");
  const uint64_t any = session.Do(InSession());
  AwaitAsleep(3);
  WriteNow("p", "abcde");
  EXPECT_EQ(session.ResultOf(any).wait_any().read().data(), "abc");
  EXPECT_EQ(StatOf("p").pipe().held_bytes(), 3u);
  session.Send(absl::StrCat("taken_up_to: ", session.NumberOf(any)));
  EXPECT_TRUE(Await([&] { return StatOf("p").pipe().held_bytes() == 0; }));
  EXPECT_EQ(ReadNow("p").data(), "de");
}

TEST_P(WaitAnySessionTest, WhatIsReturnedUnusedIsGivenBack) {
  SessionStream session(client(), "");
  const uint64_t read = session.Do(InSession());
  AwaitAsleep(3);
  WriteNow("p", "abc");
  session.ResultOf(read);
  session.Send(absl::StrCat("returned: ", session.NumberOf(read)));
  EXPECT_TRUE(Await([&] { return StatOf("p").pipe().held_bytes() == 0; }));
  EXPECT_EQ(ReadNow("p").data(), "abc");
  const uint64_t done = session.Do(InSession());
  AwaitAsleep(3);
  Complete();
  session.ResultOf(done);
  ExpectDone(false);
  session.Send(absl::StrCat("returned: ", session.NumberOf(done)));
  EXPECT_TRUE(Await([&] {
    return Call<v1::DoneRequest>(client(), "name: 'd'").response.done();
  }));
}

TEST_P(WaitAnySessionTest, AGrantIsUndoneWithTheSession) {
  {
    SessionStream session(client(), "");
    const v1::Result result = session.Call(
        "wait_any { "
        "alternatives { completion_wait { name: 'd' } } "
        "alternatives { wait { name: 'lock' condition { equal: 0 } "
        "                      then { set: 1 } undo {} } } }");
    EXPECT_EQ(result.wait_any().alternative(), 1u);
    EXPECT_EQ(ValueOf("lock"), 1);
    EXPECT_EQ(StatOf("lock").wait_queue().grants(), 1u);
  }
  EXPECT_TRUE(Await([&] { return ValueOf("lock") == 0; }));
}

TEST_P(WaitAnySessionTest, WithoutAStreamItIsPassedByAndTestedAfterwards) {
  auto first = std::make_unique<SessionStream>(client(), "");
  // The first of them takes nothing, and would not be passed by.
  first->Do(
      "wait_any { alternatives { wait { name: 'v' condition { equal: 9 } } } "
      "alternatives { completion_wait { name: 'd' } } "
      "alternatives { read { name: 'p' max_bytes: 3 } } }");
  AwaitAsleep(3);
  first->Cancel();
  first->Finish();
  EXPECT_TRUE(Await([&] {
    uint64_t detached = 0;
    for (const v1::Task& task : Sleepers()) detached += task.detached();
    return detached == 3;
  }));
  WriteNow("p", "abc");
  Complete();
  AwaitAsleep(3);
  // In their order, not in that of what happened.
  SessionStream again(client(), *first, 0);
  const v1::Result result = again.NextResult();
  EXPECT_EQ(result.operation(), 1u);
  EXPECT_EQ(result.wait_any().alternative(), 1u);
  ExpectDone(false);
  EXPECT_EQ(ReadNow("p").data(), "abc");
}

TEST_P(WaitAnySessionTest, CancelsAndSignalsNameItByItsNumber) {
  SessionStream session(client(), "");
  const uint64_t cancelled = session.Do(InSession());
  const uint64_t killable = session.Do(InSession("sleep: SLEEP_KILLABLE"));
  AwaitAsleep(6);
  session.Send(absl::StrCat("cancels: ", cancelled));
  EXPECT_THAT(session.ResultOf(cancelled), IsFailure(kCancelled, "ECANCELED"));
  AwaitAsleep(3);
  session.Send(
      absl::StrCat("signals { operation: ", killable, " signal: SIGNAL_INT }"));
  session.Call("get { name: 'w' }");
  AwaitAsleep(3);
  session.Send(absl::StrCat("signals { operation: ", killable,
                            " signal: SIGNAL_TERM }"));
  EXPECT_THAT(session.ResultOf(killable), IsFailure(kAborted, "EINTR"));
  AwaitAsleep(0);
}

TEST_P(WaitAnySessionTest, AnUninterruptibleOneEndsWithItsSession) {
  {
    SessionStream session(client(), "");
    session.Do(InSession("sleep: SLEEP_UNINTERRUPTIBLE"));
    AwaitAsleep(3);
  }
  AwaitAsleep(0);
  Complete();
  ExpectDone(true);
}

TEST_P(WaitAnySessionTest, AHandleIsNotOfIt) {
  SessionStream session(client(), "");
  const uint64_t handle = session.Do("open { name: 'p' }");
  session.ResultOf(handle);
  EXPECT_THAT(session.Call(absl::StrCat("handle: ", handle, " ", InSession())),
              IsFailure(grpc::StatusCode::FAILED_PRECONDITION, "EBADF"));
}

TEST_P(WaitAnySessionTest, WrongOnesFailAlone) {
  SessionStream session(client(), "");
  EXPECT_THAT(session.Call("wait_any {}"), IsFailure(kInvalid, "EINVAL"));
  EXPECT_THAT(session.Call("wait_any { alternatives {} }"),
              IsFailure(kInvalid, "EINVAL"));
  EXPECT_EQ(session.Call(InSession("nonblock: true")).wait_any().outcome(),
            v1::OUTCOME_WOULD_BLOCK);
}

}  // namespace
}  // namespace waitq::test
