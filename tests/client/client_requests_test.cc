// What each call says to the server, and what it returns.

#include <optional>
#include <string>
#include <variant>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/client_fixture.h"
#include "tests/client/fake_link.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq {
namespace {

using test::ClientTest;
using test::Failure;
using test::kDoneText;
using test::Says;

TEST_F(ClientTest, TheSessionIsAskedForAsTheOptionsSay) {
  AnswerAll(kDoneText);
  client_ = server_.NewClient({.caller = "a test", .grace = absl::Seconds(7)});
  EXPECT_EQ(server_.connections(), 0) << "before the first call";
  EXPECT_TRUE(client().Wait("flag").ok());
  const v1::SessionRequest::Hello hello = server_.requests().front().hello();
  EXPECT_EQ(hello.token(), "") << "a new one";
  EXPECT_EQ(hello.grace().seconds(), 7);
  EXPECT_EQ(hello.caller(), "a test");
  EXPECT_EQ(server_.connections(), 1);
}

TEST_F(ClientTest, WaitSaysAllAndReturnsAll) {
  AnswerAll(R"(wait { outcome: OUTCOME_DONE value_before: 3 value_after: 2
                      generation: 17 remaining { nanos: 7000000 } slept: true
                      timing { asleep { seconds: 2 } place: 4 } })");
  const absl::StatusOr<WaitResult> result = client().Wait(
      "flag", {.condition = Condition{Condition::Test::kGreaterOrEqual, 3},
               .then = Action::Add(-1),
               .exclusive = false,
               .then_wake = true,
               .key = 6,
               .seen_generation = 16,
               .timeout = absl::Milliseconds(1500),
               .nonblock = true,
               .sleep = Sleep::kKillable,
               .want_timing = true});
  EXPECT_THAT(got(), Says(R"(wait {
      name: 'flag' condition { greater_or_equal: 3 } then { add: -1 }
      exclusive: false then_wake: true key: 6 seen_generation: 16
      timeout { seconds: 1 nanos: 500000000 } nonblock: true
      sleep: SLEEP_KILLABLE want_timing: true })"));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->outcome, Outcome::kDone);
  EXPECT_EQ(result->value_before, 3);
  EXPECT_EQ(result->value_after, 2);
  EXPECT_EQ(result->generation, 17u);
  EXPECT_EQ(result->remaining, absl::Milliseconds(7));
  EXPECT_TRUE(result->slept);
  ASSERT_TRUE(result->timing.has_value());
  EXPECT_EQ(result->timing->asleep, absl::Seconds(2));
  EXPECT_EQ(result->timing->place, 4u);
}

TEST_F(ClientTest, WaitAnySaysAllAndReturnsAll) {
  AnswerAll(R"(wait_any { outcome: OUTCOME_DONE alternative: 3
                          remaining { nanos: 7000000 } slept: true
                          read { outcome: OUTCOME_DONE data: 'abc' offset: 4 }
                          timing { place: 4 } })");
  const absl::StatusOr<WaitAnyResult> result = client().WaitAny(
      {Alternative::Wait("flag", {.condition = Condition::Equal(3),
                                  .then = Action::Add(-1),
                                  .key = 6}),
       Alternative::Acquire(
           "lock", {.condition = Condition::Equal(0), .then = Action::Set(1)}),
       Alternative::Await("job"),
       Alternative::Read("pipe", {.max_bytes = 10, .min_bytes = 2})},
      {.timeout = absl::Milliseconds(1500),
       .nonblock = true,
       .sleep = Sleep::kKillable,
       .want_timing = true});
  EXPECT_THAT(got(), Says(R"(wait_any {
      alternatives { wait { name: 'flag' condition { equal: 3 }
                            then { add: -1 } key: 6 } }
      alternatives { wait { name: 'lock' condition { equal: 0 }
                            then { set: 1 } undo {} } }
      alternatives { completion_wait { name: 'job' } }
      alternatives { read { name: 'pipe' max_bytes: 10 min_bytes: 2 } }
      timeout { seconds: 1 nanos: 500000000 } nonblock: true
      sleep: SLEEP_KILLABLE want_timing: true })"));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->outcome, Outcome::kDone);
  EXPECT_EQ(result->alternative, 3u);
  EXPECT_EQ(std::get<ReadResult>(result->result).data, "abc");
  EXPECT_EQ(std::get<ReadResult>(result->result).offset, 4u);
  EXPECT_EQ(result->remaining, absl::Milliseconds(7));
  EXPECT_TRUE(result->slept);
  EXPECT_FALSE(result->grant.is_held());
  ASSERT_TRUE(result->timing.has_value());
  EXPECT_EQ(result->timing->place, 4u);
}

TEST_F(ClientTest, WhatIsNotAskedForIsNotSaid) {
  AnswerAll("wait { outcome: OUTCOME_TIMED_OUT }");
  const absl::StatusOr<WaitResult> result = client().Wait("flag");
  EXPECT_THAT(got(), Says("wait { name: 'flag' }"));
  EXPECT_EQ(result->outcome, Outcome::kTimedOut);
  EXPECT_EQ(result->remaining, std::nullopt);
  EXPECT_EQ(result->timing, std::nullopt);
}

TEST_F(ClientTest, WakeUpAsksForOneOrAll) {
  AnswerAll("wake_up { woken: 3 woken_exclusive: 1 value: 5 generation: 9 }");
  const absl::StatusOr<WakeResult> result =
      client().WakeUp("flag", {.update = Action::Set(1)});
  EXPECT_THAT(got(), Says(R"(wake_up {
      name: 'flag' update { set: 1 } mode: MODE_NORMAL nr: 1 })"));
  EXPECT_EQ(result->woken, 3u);
  EXPECT_EQ(result->woken_exclusive, 1u);
  EXPECT_EQ(result->value, 5);
  EXPECT_EQ(result->generation, 9u);
  EXPECT_TRUE(
      client()
          .WakeUp("flag",
                  {.nr = 7, .interruptible_only = true, .sync = true, .key = 2})
          .ok());
  EXPECT_THAT(got(), Says(R"(wake_up {
      name: 'flag' mode: MODE_INTERRUPTIBLE nr: 7 sync: true key: 2 })"));
  EXPECT_TRUE(client().WakeUp("flag", {.nr = 7, .all = true}).ok());
  EXPECT_THAT(got(), Says("wake_up { name: 'flag' mode: MODE_NORMAL all: true "
                          "}"));
}

TEST_F(ClientTest, GetReturnsTheWord) {
  AnswerAll("get { value: -4 generation: 6 }");
  const absl::StatusOr<GetResult> result = client().Get("flag");
  EXPECT_THAT(got(), Says("get { name: 'flag' }"));
  EXPECT_EQ(result->value, -4);
  EXPECT_EQ(result->generation, 6u);
}

TEST_F(ClientTest, StoreReturnsTheWordBefore) {
  AnswerAll("store { value_before: 3 generation: 6 }");
  const absl::StatusOr<StoreResult> result = client().Store("flag", -1);
  EXPECT_THAT(got(), Says("store { name: 'flag' value: -1 }"));
  EXPECT_EQ(result->value_before, 3);
  EXPECT_EQ(result->generation, 6u);
}

TEST_F(ClientTest, AwaitSaysAllAndReturnsAll) {
  AnswerAll(R"(completion_wait { outcome: OUTCOME_DONE slept: true
                                 remaining { seconds: 3 } generation: 8
                                 redelivered: true timing { place: 1 } })");
  const absl::StatusOr<AwaitResult> result =
      client().Await("job", {.timeout = absl::Seconds(4),
                             .nonblock = true,
                             .sleep = Sleep::kKillable,
                             .want_timing = true});
  EXPECT_THAT(got(), Says(R"(completion_wait {
      name: 'job' timeout { seconds: 4 } nonblock: true sleep: SLEEP_KILLABLE
      want_timing: true })"));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->outcome, Outcome::kDone);
  EXPECT_EQ(result->remaining, absl::Seconds(3));
  EXPECT_EQ(result->generation, 8u);
  EXPECT_TRUE(result->slept);
  EXPECT_TRUE(result->redelivered);
  EXPECT_EQ(result->timing->place, 1u);
}

TEST_F(ClientTest, TheOtherCallsOfCompletions) {
  AnswerAll("try_wait { taken: true }");
  EXPECT_TRUE(client().TryWait("job").value());
  EXPECT_THAT(got(), Says("try_wait { name: 'job' }"));

  AnswerAll("done { done: true }");
  EXPECT_TRUE(client().Done("job").value());
  EXPECT_THAT(got(), Says("done { name: 'job' }"));

  AnswerAll("reinit { generation: 12 }");
  EXPECT_EQ(client().Reinit("job").value(), 12u);
  EXPECT_THAT(got(), Says("reinit { name: 'job' }"));

  AnswerAll("complete { woken: 2 done: 5 generation: 13 }");
  const absl::StatusOr<CompleteResult> result = client().Complete("job", 7);
  EXPECT_THAT(got(), Says("complete { name: 'job' nr: 7 }"));
  EXPECT_EQ(result->woken, 2u);
  EXPECT_EQ(result->done, 5u);
  EXPECT_EQ(result->generation, 13u);
  EXPECT_TRUE(client().CompleteAll("job").ok());
  EXPECT_THAT(got(), Says("complete { name: 'job' all: true }"));
}

TEST_F(ClientTest, ReadSaysAllAndReturnsAll) {
  AnswerAll(R"(read { outcome: OUTCOME_DONE data: 'abc' offset: 4
                      incarnation: 5 hold_id: 6 redelivered: true slept: true
                      timing { place: 2 } })");
  const absl::StatusOr<ReadResult> result =
      client().Read("p", {.max_bytes = 100,
                          .min_bytes = 3,
                          .pipe = PipeOptions{.capacity_bytes = 7,
                                              .atomic_max_bytes = 6,
                                              .mode = PipeMode::kPacket,
                                              .profile = PipeProfile::kQueue},
                          .hold = absl::Seconds(9),
                          .timeout = absl::Seconds(1),
                          .nonblock = true,
                          .sleep = Sleep::kKillable,
                          .want_timing = true});
  EXPECT_THAT(got(), Says(R"(read {
      name: 'p' max_bytes: 100 min_bytes: 3
      options { capacity_bytes: 7 atomic_max_bytes: 6 mode: PIPE_MODE_PACKET
                profile: PIPE_PROFILE_QUEUE }
      hold { seconds: 9 } timeout { seconds: 1 } nonblock: true
      sleep: SLEEP_KILLABLE want_timing: true })"));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->outcome, Outcome::kDone);
  EXPECT_EQ(result->data, "abc");
  EXPECT_EQ(result->offset, 4u);
  EXPECT_EQ(result->incarnation, 5u);
  EXPECT_EQ(result->hold_id, 6u);
  EXPECT_TRUE(result->redelivered);
  EXPECT_TRUE(result->slept);
  EXPECT_EQ(result->timing->place, 2u);
}

TEST_F(ClientTest, ReadTellsABrokenEndFromACleanOne) {
  AnswerAll("read { outcome: OUTCOME_END_OF_FILE broken: true }");
  EXPECT_TRUE(client().Read("p")->broken);
  EXPECT_THAT(got(), Says("read { name: 'p' max_bytes: 65536 }"));
  AnswerAll("read { outcome: OUTCOME_END_OF_FILE }");
  const absl::StatusOr<ReadResult> result = client().Read("p");
  EXPECT_EQ(result->outcome, Outcome::kEndOfFile);
  EXPECT_FALSE(result->broken);
}

TEST_F(ClientTest, HoldsAreNamedByTheirIds) {
  AnswerAll("accept {}");
  EXPECT_TRUE(client().Accept("p", 6).ok());
  EXPECT_THAT(got(), Says("accept { name: 'p' hold_id: 6 }"));
  EXPECT_TRUE(client().Accept("p", 6, 0).ok());
  EXPECT_THAT(got(), Says("accept { name: 'p' hold_id: 6 up_to_offset: 0 }"));
  AnswerAll("release {}");
  EXPECT_TRUE(client().Release("p", 6).ok());
  EXPECT_THAT(got(), Says("release { name: 'p' hold_id: 6 }"));
  AnswerAll(Failure(absl::StatusCode::kFailedPrecondition, "ESTALE"));
  EXPECT_EQ(ErrorReason(client().Accept("p", 6)), "ESTALE");
  EXPECT_EQ(ErrorReason(client().Release("p", 6)), "ESTALE");
}

TEST_F(ClientTest, WriteSaysAllAndReturnsAll) {
  AnswerAll(R"(write { outcome: OUTCOME_DONE accepted_bytes: 3 offset: 7
                       incarnation: 5 slept: true timing { place: 2 } })");
  const absl::StatusOr<WriteResult> result =
      client().Write("p", "abc",
                     {.pipe = PipeOptions{.capacity_bytes = 7},
                      .timeout = absl::Seconds(1),
                      .nonblock = true,
                      .sleep = Sleep::kUninterruptible,
                      .want_timing = true});
  EXPECT_THAT(got(), Says(R"(write {
      name: 'p' data: 'abc' options { capacity_bytes: 7 }
      timeout { seconds: 1 } nonblock: true sleep: SLEEP_UNINTERRUPTIBLE
      want_timing: true })"));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->outcome, Outcome::kDone);
  EXPECT_EQ(result->accepted_bytes, 3u);
  EXPECT_EQ(result->offset, 7u);
  EXPECT_EQ(result->incarnation, 5u);
  EXPECT_EQ(result->ended_by, std::nullopt);
  EXPECT_EQ(result->ended_by_error, "");
  EXPECT_TRUE(result->slept);
  EXPECT_EQ(result->timing->place, 2u);
}

TEST_F(ClientTest, AWriteThatWasCutShortSaysByWhat) {
  AnswerAll(R"(write { outcome: OUTCOME_DONE accepted_bytes: 2
                       ended_by: OUTCOME_TIMED_OUT })");
  absl::StatusOr<WriteResult> result = client().Write("p", "abc");
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->outcome, Outcome::kDone);
  EXPECT_EQ(result->accepted_bytes, 2u);
  EXPECT_EQ(result->ended_by, Outcome::kTimedOut);

  AnswerAll(R"(write { outcome: OUTCOME_DONE accepted_bytes: 2
                       ended_by_error: 'EINTR' ended_by_signal: 15 })");
  result = client().Write("p", "abc");
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->ended_by, std::nullopt);
  EXPECT_EQ(result->ended_by_error, "EINTR");
  EXPECT_EQ(result->ended_by_signal, 15);
}

TEST_F(ClientTest, PollSaysAllAndReturnsAll) {
  AnswerAll(R"(poll { outcome: OUTCOME_DONE in: true hup: true slept: true
                      timing { place: 2 } })");
  absl::StatusOr<PollResult> result =
      client().Poll("p", {.in = true,
                          .timeout = absl::Seconds(1),
                          .nonblock = true,
                          .sleep = Sleep::kKillable,
                          .want_timing = true});
  EXPECT_THAT(got(), Says(R"(poll {
      name: 'p' in: true timeout { seconds: 1 } nonblock: true
      sleep: SLEEP_KILLABLE want_timing: true })"));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->in && result->hup && result->slept);
  EXPECT_FALSE(result->out || result->err);
  EXPECT_EQ(result->timing->place, 2u);
  AnswerAll("poll { outcome: OUTCOME_DONE out: true err: true }");
  result = client().Poll("p", {.out = true});
  EXPECT_TRUE(result->out && result->err);
  EXPECT_FALSE(result->in || result->hup);
}

TEST_F(ClientTest, CreateSaysTheKindAndItsOptions) {
  AnswerAll(R"(create { created: true object { name: 'p'
                        kind: OBJECT_KIND_PIPE pipe { capacity_bytes: 100 } } })");
  EXPECT_TRUE(client().CreateWaitQueue("q")->created);
  EXPECT_THAT(got(), Says("create { name: 'q' wait_queue {} }"));
  EXPECT_TRUE(client().CreateCompletion("c")->created);
  EXPECT_THAT(got(), Says("create { name: 'c' completion {} }"));
  const absl::StatusOr<CreateResult> result =
      client().CreatePipe("p", {.capacity_bytes = 100});
  EXPECT_THAT(got(), Says("create { name: 'p' pipe { capacity_bytes: 100 } }"));
  EXPECT_EQ(result->object.name, "p");
  EXPECT_EQ(std::get<PipeInfo>(result->object.state).capacity_bytes, 100u);
}

TEST_F(ClientTest, RemoveReturnsWhoWasEnded) {
  AnswerAll("remove { ended: 3 }");
  EXPECT_EQ(client().Remove("p").value(), 3u);
  EXPECT_THAT(got(), Says("remove { name: 'p' }"));
  EXPECT_TRUE(client().Remove("p", /*force=*/true).ok());
  EXPECT_THAT(got(), Says("remove { name: 'p' force: true }"));
}

TEST_F(ClientTest, AnOpenedPipeIsReadAndWrittenByItsHandle) {
  server_.set_script([](const v1::Operation& operation) {
    return operation.has_open() ? std::optional(test::OpenAt(0)) : std::nullopt;
  });
  const auto reader =
      client().OpenReader("p", {.pipe = PipeOptions{.capacity_bytes = 7}});
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_THAT(server_.AwaitOperation(1),
              Says("open { name: 'p' options { capacity_bytes: 7 } }"));
  EXPECT_EQ(server_.AwaitOperation(2).handle(), 1u);
  EXPECT_EQ(server_.AwaitOperation(2).read().name(), "");
  const auto writer = client().OpenWriter("p");
  ASSERT_TRUE(writer.ok()) << writer.status();
  EXPECT_THAT(server_.AwaitOperation(3),
              Says("open { name: 'p' write: true }"));
}

}  // namespace
}  // namespace waitq
