// What each method answers when all is well.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fixture.h"

namespace waitq::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

class WaitQueuesTest : public EverywhereTest {};
WAITQ_TEST_EVERYWHERE(WaitQueuesTest);

TEST_P(WaitQueuesTest, ConditionThatHoldsIsASuccessAtOnce) {
  ASSERT_THAT(Call<v1::StoreRequest>(client(), "name: 'q' value: 5").status,
              IsOk());
  const auto wait = Call<v1::WaitRequest>(
      client(), "name: 'q' condition { greater: 4 } then { add: -5 }");
  ASSERT_THAT(wait.status, IsOk());
  EXPECT_EQ(wait.response.outcome(), v1::OUTCOME_DONE);
  EXPECT_EQ(wait.response.value_before(), 5);
  EXPECT_EQ(wait.response.value_after(), 0);
  EXPECT_FALSE(wait.response.slept());
  EXPECT_FALSE(wait.response.has_remaining());
  const auto get = Call<v1::GetRequest>(client(), "name: 'q'");
  EXPECT_EQ(get.response.value(), 0);
  EXPECT_EQ(get.response.generation(), wait.response.generation());
}

TEST_P(WaitQueuesTest, WakeUpEndsASleepWhoseConditionHolds) {
  Pending<v1::WaitRequest> sleeper(
      client(),
      "name: 'q' condition { equal: 3 } then { set: 7 } "
      "timeout { seconds: 1000 }");
  AwaitAsleep(1);
  const auto wake =
      Call<v1::WakeUpRequest>(client(), "name: 'q' update { set: 3 }");
  ASSERT_THAT(wake.status, IsOk());
  EXPECT_EQ(wake.response.woken(), 1u);
  EXPECT_EQ(wake.response.woken_exclusive(), 1u) << "`then` makes it exclusive";
  EXPECT_EQ(wake.response.value(), 7);
  ASSERT_THAT(sleeper.status(), IsOk());
  EXPECT_EQ(sleeper.response().outcome(), v1::OUTCOME_DONE);
  EXPECT_EQ(sleeper.response().value_before(), 3);
  EXPECT_EQ(sleeper.response().value_after(), 7);
  EXPECT_TRUE(sleeper.response().slept());
  EXPECT_GT(sleeper.response().remaining().seconds(), 0);
  EXPECT_EQ(sleeper.response().generation(), wake.response.generation());
}

TEST_P(WaitQueuesTest, WakeUpWhoseConditionDoesNotHoldWakesNobody) {
  Pending<v1::WaitRequest> sleeper(client(),
                                   "name: 'q' condition { equal: 3 }");
  AwaitAsleep(1);
  const auto wake = Call<v1::WakeUpRequest>(
      client(), "name: 'q' update { set: 2 } all: true");
  EXPECT_EQ(wake.response.woken(), 0u);
  EXPECT_EQ(wake.response.value(), 2);
  EXPECT_FALSE(sleeper.ended());
  AwaitAsleep(1);
}

TEST_P(WaitQueuesTest, WaitWithoutAConditionIsEndedByTheFirstWakeUp) {
  Pending<v1::WaitRequest> sleeper(client(), "name: 'q'");
  AwaitAsleep(1);
  const auto wake = Call<v1::WakeUpRequest>(client(), "name: 'q'");
  EXPECT_EQ(wake.response.woken(), 1u);
  EXPECT_EQ(wake.response.woken_exclusive(), 0u);
  EXPECT_THAT(sleeper.status(), IsOk());
}

TEST_P(WaitQueuesTest, NrBoundsOnlyExclusiveSleepers) {
  std::vector<std::unique_ptr<Pending<v1::WaitRequest>>> sleepers;
  for (int i = 0; i < 6; ++i) {
    sleepers.push_back(std::make_unique<Pending<v1::WaitRequest>>(
        client(), i % 2 == 0 ? "name: 'q' exclusive: true" : "name: 'q'"));
  }
  AwaitAsleep(6);
  auto wake = Call<v1::WakeUpRequest>(client(), "name: 'q' nr: 2");
  EXPECT_EQ(wake.response.woken(), 5u);
  EXPECT_EQ(wake.response.woken_exclusive(), 2u);
  wake = Call<v1::WakeUpRequest>(client(), "name: 'q' all: true");
  EXPECT_EQ(wake.response.woken(), 1u);
  for (auto& sleeper : sleepers) EXPECT_THAT(sleeper->status(), IsOk());
}

TEST_P(WaitQueuesTest, WakeUpOfTheInterruptiblePassesOverTheKillable) {
  Pending<v1::WaitRequest> killable(client(),
                                    "name: 'q' sleep: SLEEP_KILLABLE");
  AwaitAsleep(1);
  Pending<v1::WaitRequest> interruptible(client(), "name: 'q'");
  AwaitAsleep(2);
  const auto wake = Call<v1::WakeUpRequest>(
      client(), "name: 'q' mode: MODE_INTERRUPTIBLE all: true");
  EXPECT_EQ(wake.response.woken(), 1u);
  EXPECT_THAT(interruptible.status(), IsOk());
  EXPECT_FALSE(killable.ended());
}

TEST_P(WaitQueuesTest, StoreWakesNobodyAndGetSeesIt) {
  Pending<v1::WaitRequest> sleeper(client(),
                                   "name: 'q' condition { equal: 1 }");
  AwaitAsleep(1);
  const auto store = Call<v1::StoreRequest>(client(), "name: 'q' value: 1");
  EXPECT_EQ(store.response.value_before(), 0);
  EXPECT_EQ(ValueOf("q"), 1);
  AwaitAsleep(1);
  const auto wake = Call<v1::WakeUpRequest>(client(), "name: 'q'");
  EXPECT_GT(wake.response.generation(), store.response.generation());
  EXPECT_THAT(sleeper.status(), IsOk());
}

TEST_P(WaitQueuesTest, TimeoutZeroTestsOnceAndNonblockBeatsIt) {
  auto wait = Call<v1::WaitRequest>(
      client(), "name: 'q' condition { equal: 1 } timeout {}");
  EXPECT_EQ(wait.response.outcome(), v1::OUTCOME_TIMED_OUT);
  EXPECT_TRUE(wait.response.has_remaining());
  EXPECT_FALSE(wait.response.slept());
  wait = Call<v1::WaitRequest>(
      client(), "name: 'q' condition { equal: 1 } timeout {} nonblock: true");
  EXPECT_EQ(wait.response.outcome(), v1::OUTCOME_WOULD_BLOCK);
  wait = Call<v1::WaitRequest>(
      client(), "name: 'q' condition { equal: 0 } then { set: 1 } timeout {}");
  EXPECT_EQ(wait.response.outcome(), v1::OUTCOME_DONE);
  EXPECT_GT(wait.response.remaining().nanos(), 0);
}

TEST_P(WaitQueuesTest, TimeoutEndsASleep) {
  const auto wait =
      Call<v1::WaitRequest>(client(),
                            "name: 'q' condition { equal: 1 } then { set: 9 } "
                            "timeout { nanos: 1000000 }");
  ASSERT_THAT(wait.status, IsOk());
  EXPECT_EQ(wait.response.outcome(), v1::OUTCOME_TIMED_OUT);
  EXPECT_TRUE(wait.response.slept());
  EXPECT_EQ(wait.response.value_before(), 0);
  EXPECT_EQ(wait.response.value_after(), 0);
  EXPECT_EQ(ValueOf("q"), 0);
}

TEST_P(WaitQueuesTest, LongestTimeoutOfTheWireIsTaken) {
  Pending<v1::WaitRequest> sleeper(
      client(), "name: 'q' timeout { seconds: 315576000000 }");
  Pending<v1::WaitRequest> absurd(
      client(), "name: 'q' timeout { seconds: 9223372036854775807 }");
  AwaitAsleep(2);
  EXPECT_THAT(Sleepers("q"), SizeIs(2));
  EXPECT_THAT(Call<v1::WakeUpRequest>(client(), "name: 'q'").status, IsOk());
  EXPECT_THAT(sleeper.status(), IsOk());
  EXPECT_THAT(absurd.status(), IsOk());
}

class CompletionsTest : public EverywhereTest {};
WAITQ_TEST_EVERYWHERE(CompletionsTest);

TEST_P(CompletionsTest, CompleteHandsOverToTheOldestSleeper) {
  Pending<v1::CompletionWaitRequest> first(client(), "name: 'c'");
  AwaitAsleep(1);
  Pending<v1::CompletionWaitRequest> second(client(), "name: 'c'");
  AwaitAsleep(2);
  const auto complete = Call<v1::CompleteRequest>(client(), "name: 'c'");
  EXPECT_EQ(complete.response.woken(), 1u);
  EXPECT_EQ(complete.response.done(), 0u);
  ASSERT_THAT(first.status(), IsOk());
  EXPECT_EQ(first.response().outcome(), v1::OUTCOME_DONE);
  EXPECT_TRUE(first.response().slept());
  EXPECT_EQ(first.response().generation(), complete.response.generation());
  EXPECT_FALSE(second.ended());
}

TEST_P(CompletionsTest, WhatIsDoneIsRememberedAndTakenOnce) {
  auto complete = Call<v1::CompleteRequest>(client(), "name: 'c' nr: 2");
  EXPECT_EQ(complete.response.woken(), 0u);
  EXPECT_EQ(complete.response.done(), 2u);
  EXPECT_TRUE(Call<v1::DoneRequest>(client(), "name: 'c'").response.done());
  EXPECT_TRUE(Call<v1::TryWaitRequest>(client(), "name: 'c'").response.taken());
  const auto wait = Call<v1::CompletionWaitRequest>(client(), "name: 'c'");
  EXPECT_EQ(wait.response.outcome(), v1::OUTCOME_DONE);
  EXPECT_FALSE(wait.response.slept());
  EXPECT_FALSE(
      Call<v1::TryWaitRequest>(client(), "name: 'c'").response.taken());
  EXPECT_FALSE(Call<v1::DoneRequest>(client(), "name: 'c'").response.done());
}

TEST_P(CompletionsTest, CompleteAllIsForGoodUntilReinit) {
  EXPECT_EQ(Call<v1::CompleteRequest>(client(), "name: 'c' all: true")
                .response.done(),
            UINT32_MAX);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(
        Call<v1::TryWaitRequest>(client(), "name: 'c'").response.taken());
  }
  EXPECT_THAT(Call<v1::ReinitRequest>(client(), "name: 'c'").status, IsOk());
  EXPECT_FALSE(Call<v1::DoneRequest>(client(), "name: 'c'").response.done());
}

TEST_P(CompletionsTest, WaitTimesOutOrWouldBlock) {
  auto wait = Call<v1::CompletionWaitRequest>(
      client(), "name: 'c' timeout { nanos: 1000000 }");
  EXPECT_EQ(wait.response.outcome(), v1::OUTCOME_TIMED_OUT);
  EXPECT_TRUE(wait.response.slept());
  EXPECT_TRUE(wait.response.has_remaining());
  wait = Call<v1::CompletionWaitRequest>(client(), "name: 'c' nonblock: true");
  EXPECT_EQ(wait.response.outcome(), v1::OUTCOME_WOULD_BLOCK);
}

class PipesTest : public EverywhereTest {};
WAITQ_TEST_EVERYWHERE(PipesTest);

TEST_P(PipesTest, AnswersSayExactlyWhatMoved) {
  auto write = Call<v1::WriteRequest>(client(), "name: 'p' data: 'hello'");
  ASSERT_THAT(write.status, IsOk());
  EXPECT_EQ(write.response.outcome(), v1::OUTCOME_DONE);
  EXPECT_EQ(write.response.accepted_bytes(), 5u);
  EXPECT_EQ(write.response.offset(), 5u);
  EXPECT_EQ(write.response.ended_by(), v1::OUTCOME_UNSPECIFIED);
  EXPECT_EQ(write.response.ended_by_error(), "");
  EXPECT_FALSE(write.response.slept());
  write = Call<v1::WriteRequest>(client(), "name: 'p' data: ' world'");
  EXPECT_EQ(write.response.offset(), 11u);

  auto read = Call<v1::ReadRequest>(client(), "name: 'p' max_bytes: 7");
  ASSERT_THAT(read.status, IsOk());
  EXPECT_EQ(read.response.outcome(), v1::OUTCOME_DONE);
  EXPECT_EQ(read.response.data(), "hello w");
  EXPECT_EQ(read.response.offset(), 0u);
  EXPECT_FALSE(read.response.slept());
  read = Call<v1::ReadRequest>(client(), "name: 'p'");
  EXPECT_EQ(read.response.data(), "orld");
  EXPECT_EQ(read.response.offset(), 7u);
  EXPECT_EQ(read.response.incarnation(), write.response.incarnation());
  EXPECT_EQ(read.response.incarnation(), StatOf("p").incarnation());
}

TEST_P(PipesTest, ReadSleepsUntilThereAreBytes) {
  Pending<v1::ReadRequest> reader(client(), "name: 'p'");
  AwaitAsleep(1);
  WriteNow("p", "x");
  ASSERT_THAT(reader.status(), IsOk());
  EXPECT_EQ(reader.response().data(), "x");
  EXPECT_TRUE(reader.response().slept());
}

TEST_P(PipesTest, WriteSleepsUntilThereIsRoom) {
  ASSERT_THAT(
      Call<v1::CreateRequest>(client(), "name: 'p' pipe { capacity_bytes: 4 }")
          .status,
      IsOk());
  WriteNow("p", "abc");
  Pending<v1::WriteRequest> writer(client(), "name: 'p' data: 'de'");
  AwaitAsleep(1);
  EXPECT_EQ(ReadNow("p").data(), "abc");
  ASSERT_THAT(writer.status(), IsOk());
  EXPECT_EQ(writer.response().accepted_bytes(), 2u);
  EXPECT_TRUE(writer.response().slept());
  EXPECT_EQ(ReadNow("p").data(), "de");
}

TEST_P(PipesTest, WriteThatIsCutShortSaysHowMuchAndByWhat) {
  ASSERT_THAT(
      Call<v1::CreateRequest>(
          client(), "name: 'p' pipe { capacity_bytes: 4 atomic_max_bytes: 1 }")
          .status,
      IsOk());
  auto write = Call<v1::WriteRequest>(
      client(), "name: 'p' data: 'abcdef' nonblock: true");
  EXPECT_EQ(write.response.outcome(), v1::OUTCOME_DONE);
  EXPECT_EQ(write.response.accepted_bytes(), 4u);
  EXPECT_EQ(write.response.ended_by(), v1::OUTCOME_WOULD_BLOCK);
  EXPECT_EQ(ReadNow("p").data(), "abcd");
  write = Call<v1::WriteRequest>(
      client(), "name: 'p' data: 'ghijklm' timeout { nanos: 1000000 }");
  EXPECT_EQ(write.response.outcome(), v1::OUTCOME_DONE);
  EXPECT_EQ(write.response.accepted_bytes(), 4u);
  EXPECT_EQ(write.response.ended_by(), v1::OUTCOME_TIMED_OUT);
  EXPECT_EQ(write.response.offset(), 8u);
  EXPECT_EQ(ReadNow("p").data(), "ghij");
}

TEST_P(PipesTest, NoBytesAreDoneAtOnce) {
  const auto read = Call<v1::ReadRequest>(client(), "name: 'p' max_bytes: 0");
  EXPECT_EQ(read.response.outcome(), v1::OUTCOME_DONE);
  const auto write = Call<v1::WriteRequest>(client(), "name: 'p'");
  EXPECT_EQ(write.response.outcome(), v1::OUTCOME_DONE);
  EXPECT_EQ(write.response.accepted_bytes(), 0u);
}

TEST_P(PipesTest, ReadTimesOutOrWouldBlock) {
  auto read =
      Call<v1::ReadRequest>(client(), "name: 'p' timeout { nanos: 1000000 }");
  EXPECT_EQ(read.response.outcome(), v1::OUTCOME_TIMED_OUT);
  EXPECT_TRUE(read.response.slept());
  read = Call<v1::ReadRequest>(client(), "name: 'p' nonblock: true");
  EXPECT_EQ(read.response.outcome(), v1::OUTCOME_WOULD_BLOCK);
}

TEST_P(PipesTest, ReadOfMoreThanAMessageHoldsIsCutToIt) {
  options().limits.message_bytes = 131072;
  ASSERT_THAT(Call<v1::CreateRequest>(
                  client(), "name: 'p' pipe { capacity_bytes: 200000 }")
                  .status,
              IsOk());
  WriteNow("p", std::string(100'000, 'x'));
  WriteNow("p", std::string(100'000, 'x'));
  const auto read = Call<v1::ReadRequest>(
      client(), "name: 'p' max_bytes: 18446744073709551615");
  EXPECT_THAT(read.response.data(), SizeIs(131072));
}

TEST_P(PipesTest, LargestMessageGoesInAndComesOut) {
  ASSERT_THAT(Call<v1::CreateRequest>(
                  client(), "name: 'p' pipe { capacity_bytes: 8388608 }")
                  .status,
              IsOk());
  const std::string data((4 << 20) - 100, 'x');
  WriteNow("p", data);
  WriteNow("p", data);
  const auto read =
      Call<v1::ReadRequest>(client(), "name: 'p' max_bytes: 8388608");
  EXPECT_THAT(read.status, IsOk());
  EXPECT_THAT(read.response.data(), SizeIs((4 << 20) - 1024));
}

class ObjectsTest : public EverywhereTest {};
WAITQ_TEST_EVERYWHERE(ObjectsTest);

TEST_P(ObjectsTest, CreateMakesEachKindOnce) {
  struct Row {
    const char* text;
    v1::ObjectKind kind;
  };
  for (const Row& row :
       {Row{"name: 'q' wait_queue {}", v1::OBJECT_KIND_WAIT_QUEUE},
        Row{"name: 'c' completion {}", v1::OBJECT_KIND_COMPLETION},
        Row{"name: 'p' pipe {}", v1::OBJECT_KIND_PIPE}}) {
    auto create = Call<v1::CreateRequest>(client(), row.text);
    ASSERT_THAT(create.status, IsOk());
    EXPECT_TRUE(create.response.created());
    EXPECT_EQ(create.response.object().kind(), row.kind);
    EXPECT_TRUE(create.response.object().created());
    create = Call<v1::CreateRequest>(client(), row.text);
    ASSERT_THAT(create.status, IsOk());
    EXPECT_FALSE(create.response.created());
  }
}

TEST_P(ObjectsTest, CreateMakesAnObjectOfFirstUseStay) {
  ASSERT_THAT(Call<v1::StoreRequest>(client(), "name: 'q'").status, IsOk());
  EXPECT_FALSE(StatOf("q").created());
  const auto create =
      Call<v1::CreateRequest>(client(), "name: 'q' wait_queue {}");
  EXPECT_FALSE(create.response.created());
  EXPECT_TRUE(create.response.object().created());
}

TEST_P(ObjectsTest, StatTellsTheStateOfEachKind) {
  ASSERT_THAT(Call<v1::StoreRequest>(client(), "name: 'q' value: -3").status,
              IsOk());
  Pending<v1::WaitRequest> sleeper(client(), "name: 'q'");
  AwaitAsleep(1);
  const v1::ObjectStat queue = StatOf("q");
  EXPECT_EQ(queue.name(), "q");
  EXPECT_EQ(queue.wait_queue().value(), -3);
  EXPECT_EQ(queue.sleepers(), 1u);
  EXPECT_GT(queue.generation(), queue.incarnation());

  ASSERT_THAT(Call<v1::CompleteRequest>(client(), "name: 'c' nr: 4").status,
              IsOk());
  EXPECT_EQ(StatOf("c").completion().done(), 4u);

  ASSERT_THAT(
      Call<v1::CreateRequest>(
          client(), "name: 'p' pipe { capacity_bytes: 10 atomic_max_bytes: 2 }")
          .status,
      IsOk());
  WriteNow("p", "abc");
  ASSERT_THAT(Call<v1::ReadRequest>(client(), "name: 'p' max_bytes: 1").status,
              IsOk());
  ReadStream reader(client(), "name: 'p' max_bytes: 100 window_bytes: 1");
  WriteStream writer(client(), "name: 'p'");
  EXPECT_EQ(reader.ReadBytes(1), "b");
  const v1::PipeStat pipe = StatOf("p").pipe();
  EXPECT_EQ(pipe.capacity_bytes(), 10u);
  EXPECT_EQ(pipe.atomic_max_bytes(), 2u);
  EXPECT_EQ(pipe.unread_bytes(), 1u);
  EXPECT_EQ(pipe.read_offset(), 2u);
  EXPECT_EQ(pipe.write_offset(), 3u);
  EXPECT_EQ(pipe.readers(), 1u);
  EXPECT_EQ(pipe.writers(), 1u);
}

TEST_P(ObjectsTest, ListGivesNamesInOrderAndInPages) {
  for (const char* name : {"b/2", "a", "b/1", "b", "b/3", "c"}) {
    v1::StoreRequest store;
    store.set_name(name);
    ASSERT_THAT(Call(client(), store).status, IsOk());
  }
  v1::ListObjectsRequest request;
  request.set_prefix("b");
  request.set_page_size(2);
  std::vector<std::vector<std::string>> pages;
  do {
    const auto list = Call(client(), request);
    ASSERT_THAT(list.status, IsOk());
    pages.emplace_back();
    for (const auto& object : list.response.objects()) {
      pages.back().push_back(object.name());
    }
    request.set_page_token(list.response.next_page_token());
  } while (!request.page_token().empty());
  // A full page may be the last: the next one is empty then.
  EXPECT_THAT(pages, ElementsAre(ElementsAre("b", "b/1"),
                                 ElementsAre("b/2", "b/3"), IsEmpty()));
}

TEST_P(ObjectsTest, RemoveEndsWhoSleepsThere) {
  Pending<v1::WaitRequest> sleeper(client(), "name: 'q'");
  AwaitAsleep(1);
  const auto remove = Call<v1::RemoveRequest>(client(), "name: 'q'");
  ASSERT_THAT(remove.status, IsOk());
  EXPECT_EQ(remove.response.ended(), 1u);
  EXPECT_THAT(sleeper.status(), FailsWith(grpc::StatusCode::ABORTED, "EIDRM"));
  EXPECT_THAT(Call<v1::StatRequest>(client(), "name: 'q'").status,
              FailsWith(grpc::StatusCode::NOT_FOUND, "ENOENT"));
}

TEST_P(WaitQueuesTest, KeysChooseWhomAWakeReaches) {
  Pending<v1::WaitRequest> one(client(), "name: 'q' key: 1");
  Pending<v1::WaitRequest> two(client(), "name: 'q' key: 2");
  AwaitAsleep(2);
  const auto wake = Call<v1::WakeUpRequest>(client(), "name: 'q' key: 6");
  EXPECT_EQ(wake.response.woken(), 1u);
  EXPECT_THAT(two.status(), IsOk());
  Call<v1::WakeUpRequest>(client(), "name: 'q' key: 1 sync: true");
  EXPECT_THAT(one.status(), IsOk());
}

TEST_P(WaitQueuesTest, ThenWakeWakesWhoWaitedForWhatThenDid) {
  Pending<v1::WaitRequest> second(client(), "name: 'q' condition { equal: 2 }");
  AwaitAsleep(1);
  const auto first = Call<v1::WaitRequest>(
      client(),
      "name: 'q' condition { equal: 0 } then { set: 2 } then_wake: true");
  EXPECT_THAT(first.status, IsOk());
  EXPECT_THAT(second.status(), IsOk());
  EXPECT_THAT(
      Call<v1::WaitRequest>(client(), "name: 'q' then_wake: true").status,
      FailsWith(grpc::StatusCode::INVALID_ARGUMENT, "EINVAL"));
}

// --- Pipes of packets, profiles, poll ----------------------------------------

TEST_P(PipesTest, PacketsComeOneByOneAndWhole) {
  const std::string packets = " options { mode: PIPE_MODE_PACKET }";
  for (const char* data : {"one", "three"}) {
    const auto write = Call<v1::WriteRequest>(
        client(), absl::StrCat("name: 'jobs' data: '", data, "'", packets));
    ASSERT_THAT(write.status, IsOk());
  }
  EXPECT_EQ(Call<v1::ReadRequest>(client(), "name: 'jobs'").response.data(),
            "one");
  EXPECT_THAT(
      Call<v1::ReadRequest>(client(), "name: 'jobs' max_bytes: 4").status,
      FailsWith(grpc::StatusCode::INVALID_ARGUMENT, "EMSGSIZE"));
  EXPECT_EQ(Call<v1::ReadRequest>(client(), "name: 'jobs'").response.data(),
            "three");
  const v1::PipeStat stat = StatOf("jobs").pipe();
  EXPECT_EQ(stat.mode(), v1::PIPE_MODE_PACKET);
  EXPECT_EQ(stat.profile(), v1::PIPE_PROFILE_QUEUE);
  EXPECT_THAT(Call<v1::ReadRequest>(
                  client(), "name: 'jobs' options { mode: PIPE_MODE_STREAM }")
                  .status,
              FailsWith(grpc::StatusCode::ALREADY_EXISTS, "EEXIST"));
}

TEST_P(PipesTest, StreamsOfPacketsKeepTheirBorders) {
  WriteStream writer(client(), "name: 'p' options { mode: PIPE_MODE_PACKET }");
  for (const size_t n : {size_t{1}, size_t{7}, size_t{60'000}}) {
    ASSERT_TRUE(writer.Write(std::string(n, 'x')));
  }
  ReadStream reader(client(), "name: 'p' max_bytes: 60008");
  std::vector<size_t> sizes;
  while (const auto response = reader.Next()) {
    if (!response->data().empty()) sizes.push_back(response->data().size());
  }
  EXPECT_THAT(sizes, ElementsAre(1u, 7u, 60'000u));
  EXPECT_THAT(reader.Finish(), IsOk());
  EXPECT_THAT(writer.Close(), IsOk());
}

TEST_P(PipesTest, AStreamIntoARingWritesItAllInParts) {
  const std::string options =
      "name: 'ring' options { profile: PIPE_PROFILE_SCULL capacity_bytes: 7 }";
  WriteStream writer(client(), options);
  const std::string text = "all of this goes through six bytes";
  ASSERT_TRUE(writer.Write(text));
  std::string read;
  while (read.size() < text.size()) {
    const auto part = Call<v1::ReadRequest>(client(), "name: 'ring'");
    ASSERT_THAT(part.status, IsOk());
    ASSERT_LE(part.response.data().size(), 6u);
    read += part.response.data();
  }
  EXPECT_EQ(read, text);
  EXPECT_THAT(writer.Close(), IsOk());
  EXPECT_EQ(writer.last().accepted_bytes(), text.size());
}

TEST_P(PipesTest, ReadWaitsForItsLeastSize) {
  Pending<v1::ReadRequest> read(client(), "name: 'p' min_bytes: 4");
  AwaitAsleep(1);
  WriteNow("p", "abc");
  WriteNow("p", "de");
  ASSERT_THAT(read.status(), IsOk());
  EXPECT_EQ(read.response().data(), "abcde");
  for (const char* text :
       {"name: 'p' min_bytes: 0", "name: 'p' min_bytes: 5 max_bytes: 4",
        "name: 'p' min_bytes: 65537 max_bytes: 100000"}) {
    EXPECT_THAT(Call<v1::ReadRequest>(client(), text).status,
                FailsWith(grpc::StatusCode::INVALID_ARGUMENT, "EINVAL"));
  }
}

TEST_P(PipesTest, WhatAReadHoldsIsAcceptedOrReadAgain) {
  WriteNow("p", "abcdef");
  const auto held =
      Call<v1::ReadRequest>(client(), "name: 'p' max_bytes: 4 hold {}");
  ASSERT_THAT(held.status, IsOk());
  EXPECT_EQ(held.response.data(), "abcd");
  EXPECT_GT(held.response.hold_id(), 0u);
  EXPECT_FALSE(held.response.redelivered());
  EXPECT_EQ(StatOf("p").pipe().held_bytes(), 4u);

  v1::AcceptRequest accept;
  accept.set_name("p");
  accept.set_hold_id(held.response.hold_id());
  accept.set_up_to_offset(3);
  EXPECT_THAT(Call(client(), accept).status, IsOk());
  v1::ReleaseRequest release;
  release.set_name("p");
  release.set_hold_id(held.response.hold_id());
  EXPECT_THAT(Call(client(), release).status, IsOk());
  EXPECT_THAT(Call(client(), release).status,
              FailsWith(grpc::StatusCode::FAILED_PRECONDITION, "ESTALE"));
  accept.clear_up_to_offset();
  EXPECT_THAT(Call(client(), accept).status,
              FailsWith(grpc::StatusCode::FAILED_PRECONDITION, "ESTALE"));

  const v1::ReadResponse again = ReadNow("p");
  EXPECT_EQ(again.data(), "d");
  EXPECT_EQ(again.offset(), 3u);
  EXPECT_EQ(again.hold_id(), 0u) << "this one does not hold";
  EXPECT_TRUE(again.redelivered());
  EXPECT_EQ(ReadNow("p").data(), "ef");
}

TEST_P(PipesTest, AHoldEndsByItself) {
  WriteNow("p", "abc");
  const auto held =
      Call<v1::ReadRequest>(client(), "name: 'p' hold { nanos: 50000000 }");
  EXPECT_EQ(held.response.data(), "abc");
  Pending<v1::ReadRequest> next(client(), "name: 'p'");
  EXPECT_EQ(next.response().data(), "abc");
  EXPECT_TRUE(next.response().redelivered());
}

TEST_P(PipesTest, TimesOfHoldsThatCannotBeAreRefused) {
  for (const char* hold : {"seconds: -1", "nanos: -1", "seconds: 86401"}) {
    EXPECT_THAT(Call<v1::ReadRequest>(
                    client(), std::string("name: 'p' hold { ") + hold + " }")
                    .status,
                FailsWith(grpc::StatusCode::INVALID_ARGUMENT, "EINVAL"))
        << hold;
  }
}

TEST_P(PipesTest, PollSleepsUntilSomethingCanBeDone) {
  Pending<v1::PollRequest> poll(client(), "name: 'p' in: true");
  AwaitAsleep(1);
  EXPECT_EQ(Sleepers("p").at(0).condition(), "poll in");
  WriteNow("p", "x");
  ASSERT_THAT(poll.status(), IsOk());
  EXPECT_TRUE(poll.response().in());
  EXPECT_FALSE(poll.response().out()) << "it was not asked for";
  EXPECT_TRUE(poll.response().slept());
  EXPECT_EQ(ReadNow("p").data(), "x");
  const auto none =
      Call<v1::PollRequest>(client(), "name: 'p' in: true nonblock: true");
  EXPECT_EQ(none.response.outcome(), v1::OUTCOME_WOULD_BLOCK);
  WriteStream writer(client(), "name: 'p'");
  EXPECT_THAT(writer.Close(), IsOk());
  const auto hup = Call<v1::PollRequest>(client(), "name: 'p' in: true");
  EXPECT_TRUE(hup.response.hup());
}

class TasksTest : public EverywhereTest {};
WAITQ_TEST_EVERYWHERE(TasksTest);

TEST_P(TasksTest, ListTellsWhoSleepsOnWhat) {
  Pending<v1::WaitRequest> wait(
      client(),
      "name: 'q' condition { equal: 1 } then { set: 0 } sleep: SLEEP_KILLABLE "
      "caller: 'me' timeout { seconds: 1000 }");
  AwaitAsleep(1);
  Pending<v1::CompletionWaitRequest> completion(client(), "name: 'c'");
  AwaitAsleep(2);
  Pending<v1::ReadRequest> read(client(), "name: 'p' max_bytes: 9");
  AwaitAsleep(3);
  ReadStream stream(client(), "name: 'p' caller: 'stream'");
  AwaitAsleep(4);

  const std::vector<v1::Task> tasks = Sleepers();
  ASSERT_THAT(tasks, SizeIs(4));
  EXPECT_EQ(tasks[0].object(), "q");
  EXPECT_EQ(tasks[0].kind(), v1::OBJECT_KIND_WAIT_QUEUE);
  EXPECT_EQ(tasks[0].state(), v1::SLEEP_KILLABLE);
  EXPECT_EQ(tasks[0].caller(), "me");
  EXPECT_EQ(tasks[0].condition(), "value == 1");
  EXPECT_TRUE(tasks[0].exclusive());
  EXPECT_TRUE(tasks[0].has_age());
  EXPECT_GT(tasks[0].remaining().seconds(), 0);
  EXPECT_THAT(
      tasks[0].peer(),
      StartsWith(GetParam() == Setup::kPort ? "ipv4:127.0.0.1:" : "unix:"));
  EXPECT_EQ(tasks[1].object(), "c");
  EXPECT_EQ(tasks[1].kind(), v1::OBJECT_KIND_COMPLETION);
  EXPECT_EQ(tasks[1].state(), v1::SLEEP_INTERRUPTIBLE);
  EXPECT_FALSE(tasks[1].has_remaining());
  EXPECT_EQ(tasks[2].object(), "p");
  EXPECT_EQ(tasks[2].place(), 0u);
  EXPECT_EQ(tasks[3].caller(), "stream");
  EXPECT_EQ(tasks[3].place(), 1u);
  EXPECT_LT(tasks[0].id(), tasks[1].id());
  EXPECT_LT(tasks[1].id(), tasks[2].id());
  EXPECT_LT(tasks[2].id(), tasks[3].id());
  EXPECT_THAT(Sleepers("c"), SizeIs(1));
  EXPECT_THAT(Sleepers("none"), IsEmpty());
}

TEST_P(TasksTest, PagesHaveEachTaskOnce) {
  std::vector<std::unique_ptr<Pending<v1::WaitRequest>>> sleepers;
  for (int i = 0; i < 7; ++i) {
    sleepers.push_back(
        std::make_unique<Pending<v1::WaitRequest>>(client(), "name: 'q'"));
  }
  AwaitAsleep(7);
  v1::ListTasksRequest request;
  request.set_page_size(3);
  std::vector<uint64_t> ids;
  do {
    const auto list = Call(client(), request);
    ASSERT_THAT(list.status, IsOk());
    EXPECT_LE(list.response.tasks_size(), 3);
    for (const auto& task : list.response.tasks()) ids.push_back(task.id());
    request.set_page_token(list.response.next_page_token());
  } while (!request.page_token().empty());
  ASSERT_THAT(ids, SizeIs(7));
  EXPECT_TRUE(std::is_sorted(ids.begin(), ids.end()));
  EXPECT_EQ(std::unique(ids.begin(), ids.end()), ids.end());
}

TEST_P(TasksTest, PagesAreBoundedInBytesToo) {
  // Their callers' names alone are more than a page.
  const std::string caller(128, 'c');
  std::vector<std::unique_ptr<Pending<v1::WaitRequest>>> sleepers;
  constexpr int kSleepers = 2'000;
  const std::string name = std::string(255, 'n');
  for (int i = 0; i < kSleepers; ++i) {
    sleepers.push_back(std::make_unique<Pending<v1::WaitRequest>>(
        client(), "name: '" + name + "' caller: '" + caller + "'"));
  }
  AwaitAsleep(kSleepers);
  v1::ListTasksRequest request;
  request.set_page_size(10'000);
  size_t listed = 0;
  do {
    const auto list = Call(client(), request);
    ASSERT_THAT(list.status, IsOk());
    EXPECT_LE(list.response.ByteSizeLong(), (1u << 20) + 1024);
    listed += list.response.tasks_size();
    request.set_page_token(list.response.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(listed, size_t{kSleepers});
}

TEST_P(TasksTest, SignalEndsWhatListensToIt) {
  Pending<v1::WaitRequest> wait(
      client(), "name: 'q' condition { equal: 1 } sleep: SLEEP_KILLABLE");
  AwaitAsleep(1);
  v1::SignalRequest request;
  request.set_id(Sleepers().at(0).id());
  request.set_signal(v1::SignalRequest::SIGNAL_INT);
  auto answer = Call(client(), request);
  ASSERT_THAT(answer.status, IsOk());
  EXPECT_FALSE(answer.response.ended());
  request.set_signal(v1::SignalRequest::SIGNAL_TERM);
  answer = Call(client(), request);
  ASSERT_THAT(answer.status, IsOk());
  EXPECT_TRUE(answer.response.ended());
  EXPECT_THAT(wait.status(), FailsWith(grpc::StatusCode::ABORTED, "EINTR"));
  EXPECT_THAT(Call(client(), request).status,
              FailsWith(grpc::StatusCode::NOT_FOUND, "ESRCH"));
  for (const int unknown : {0, 1, 19, -1}) {
    request.set_signal(static_cast<v1::SignalRequest::Signal>(unknown));
    EXPECT_THAT(Call(client(), request).status,
                FailsWith(grpc::StatusCode::INVALID_ARGUMENT, "EINVAL"));
  }
}

TEST_P(TasksTest, ListTakesACaller) {
  Pending<v1::WaitRequest> mine(client(), "name: 'q' caller: 'me'");
  Pending<v1::WaitRequest> other(client(), "name: 'q' caller: 'you'");
  AwaitAsleep(2);
  const auto list = Call<v1::ListTasksRequest>(client(), "caller: 'you'");
  ASSERT_THAT(list.status, IsOk());
  ASSERT_EQ(list.response.tasks_size(), 1);
  EXPECT_EQ(list.response.tasks(0).caller(), "you");
}

}  // namespace
}  // namespace waitq::test
