// What the protos do not allow is refused, each with its reason, and changes
// nothing.

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fixture.h"
#include "transport/channel_arguments.h"
#include "transport/error_info.h"

namespace waitq::test {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

class BadRequestTest : public EverywhereTest {
 protected:
  template <class Request>
  void ExpectInvalid(const std::string& text,
                     const std::string& reason = "EINVAL") {
    EXPECT_THAT(Call<Request>(client(), text).status,
                FailsWith(grpc::StatusCode::INVALID_ARGUMENT, reason))
        << text;
  }
  // As the first message of a stream.
  void ExpectNotOpened(const std::string& open) {
    ReadStream reader(client());
    reader.Send("open { " + open + " }");
    EXPECT_THAT(reader.Finish(),
                FailsWith(grpc::StatusCode::INVALID_ARGUMENT, "EINVAL"))
        << open;
    WriteStream writer(client());
    writer.Send("open { " + open + " }");
    EXPECT_THAT(writer.Finish(),
                FailsWith(grpc::StatusCode::INVALID_ARGUMENT, "EINVAL"))
        << open;
  }
  void ExpectNoObjects() {
    const auto list = Call<v1::ListObjectsRequest>(client(), "");
    EXPECT_THAT(list.status, IsOk());
    EXPECT_THAT(list.response.objects(), IsEmpty())
        << list.response.DebugString();
  }
  // A write whose message has so many bytes.
  v1::WriteRequest WriteOfMessageBytes(size_t bytes) {
    v1::WriteRequest request;
    request.set_name("p");
    request.set_nonblock(true);
    request.set_data(std::string(bytes, 'x'));
    request.mutable_data()->resize(2 * bytes - request.ByteSizeLong());
    EXPECT_EQ(request.ByteSizeLong(), bytes);
    return request;
  }
};
WAITQ_TEST_EVERYWHERE(BadRequestTest);

TEST_P(BadRequestTest, NamesOutsideTheRulesAreRefusedEverywhere) {
  for (const std::string& name :
       {std::string(), std::string("a b"), std::string("a\\tb"),
        std::string("a:b"), std::string("*"), std::string("\\303\\244"),
        std::string("a\\000b"), std::string(256, 'x')}) {
    const std::string named = absl::StrCat("name: '", name, "' ");
    ExpectInvalid<v1::WaitRequest>(named);
    ExpectInvalid<v1::WakeUpRequest>(named);
    ExpectInvalid<v1::GetRequest>(named);
    ExpectInvalid<v1::StoreRequest>(named);
    ExpectInvalid<v1::CompletionWaitRequest>(named);
    ExpectInvalid<v1::TryWaitRequest>(named);
    ExpectInvalid<v1::CompleteRequest>(named);
    ExpectInvalid<v1::ReinitRequest>(named);
    ExpectInvalid<v1::DoneRequest>(named);
    ExpectInvalid<v1::ReadRequest>(named);
    ExpectInvalid<v1::WriteRequest>(named);
    ExpectInvalid<v1::CreateRequest>(named + "pipe {}");
    ExpectInvalid<v1::StatRequest>(named);
    ExpectInvalid<v1::RemoveRequest>(named);
    if (!name.empty()) ExpectInvalid<v1::ListTasksRequest>(named);
    ExpectNotOpened(named);
  }
  ExpectNoObjects();
}

TEST_P(BadRequestTest, LongestNameAndEveryAllowedByteAreTaken) {
  for (const std::string& name :
       {std::string(255, 'x'), std::string("/a/b//.-_"),
        std::string("0123456789"), std::string(".")}) {
    v1::StoreRequest request;
    request.set_name(name);
    EXPECT_THAT(Call(client(), request).status, IsOk()) << name;
  }
}

TEST_P(BadRequestTest, CallersNameHasALimit) {
  const std::string fits(128, 'x');
  for (const std::string& name : {fits, std::string()}) {
    v1::WaitRequest request =
        FromText<v1::WaitRequest>("name: 'q' nonblock: true");
    request.set_caller(name);
    EXPECT_THAT(Call(client(), request).status, IsOk()) << name;
  }
  const std::string bad =
      absl::StrCat("name: 'none' nonblock: true caller: '", fits, "x'");
  ExpectInvalid<v1::WaitRequest>(bad);
  ExpectInvalid<v1::CompletionWaitRequest>(bad);
  ExpectInvalid<v1::ReadRequest>(bad);
  ExpectInvalid<v1::WriteRequest>(bad);
  ExpectNotOpened(bad);
}

TEST_P(BadRequestTest, NegativeTimeoutsAreRefused) {
  for (const char* timeout : {"seconds: -1", "nanos: -1"}) {
    const std::string text =
        absl::StrCat("name: 'none' timeout { ", timeout, " }");
    ExpectInvalid<v1::WaitRequest>(text);
    ExpectInvalid<v1::CompletionWaitRequest>(text);
    ExpectInvalid<v1::ReadRequest>(text);
    ExpectInvalid<v1::WriteRequest>(text);
    ExpectNotOpened(text);
  }
  ExpectNoObjects();
}

TEST_P(BadRequestTest, CallsThatTakeAreNeverUninterruptible) {
  const std::string text = "name: 'none' sleep: SLEEP_UNINTERRUPTIBLE";
  ExpectInvalid<v1::WaitRequest>(text);
  ExpectInvalid<v1::CompletionWaitRequest>(text);
  ExpectInvalid<v1::ReadRequest>(text);
  ReadStream reader(client());
  reader.Send("open { " + text + " }");
  EXPECT_THAT(reader.Finish(),
              FailsWith(grpc::StatusCode::INVALID_ARGUMENT, "EINVAL"));
  ExpectNoObjects();
}

TEST_P(BadRequestTest, UnknownNumbersOfEnumsAreRefused) {
  for (const int number : {-1, 4, 99}) {
    v1::WaitRequest wait;
    wait.set_name("none");
    wait.set_nonblock(true);
    wait.set_sleep(static_cast<v1::Sleep>(number));
    EXPECT_THAT(Call(client(), wait).status,
                FailsWith(grpc::StatusCode::INVALID_ARGUMENT, "EINVAL"));
    v1::WakeUpRequest wake;
    wake.set_name("none");
    wake.set_mode(static_cast<v1::WakeUpRequest::Mode>(number));
    EXPECT_THAT(Call(client(), wake).status,
                FailsWith(grpc::StatusCode::INVALID_ARGUMENT, "EINVAL"));
  }
  ExpectNoObjects();
}

TEST_P(BadRequestTest, NrIsOneOrMoreAndNotBesideAll) {
  for (const char* text : {"name: 'none' nr: 0", "name: 'none' nr: 0 all: true",
                           "name: 'none' nr: 1 all: true"}) {
    ExpectInvalid<v1::WakeUpRequest>(text);
    ExpectInvalid<v1::CompleteRequest>(text);
  }
  ExpectNoObjects();
  for (const char* text :
       {"name: 'n' nr: 1", "name: 'n' nr: 1000000", "name: 'n' all: true"}) {
    EXPECT_THAT(Call<v1::WakeUpRequest>(client(), text).status, IsOk()) << text;
  }
}

TEST_P(BadRequestTest, ConditionsAndChangesMustBeSaid) {
  for (const char* text : {"condition {}", "condition { all_bits: 0 }",
                           "condition { any_bits: 0 }", "then {}",
                           "condition { equal: 0 } then {}"}) {
    ExpectInvalid<v1::WaitRequest>(
        absl::StrCat("name: 'none' nonblock: true ", text));
  }
  ExpectInvalid<v1::WakeUpRequest>("name: 'none' update {}");
  ExpectNoObjects();
}

TEST_P(BadRequestTest, ThenThatOverflowsChangesNothing) {
  ASSERT_THAT(
      Call<v1::StoreRequest>(client(), "name: 'q' value: 9223372036854775807")
          .status,
      IsOk());
  EXPECT_THAT(
      Call<v1::WaitRequest>(
          client(), "name: 'q' condition { greater: 0 } then { add: 1 }")
          .status,
      FailsWith(grpc::StatusCode::OUT_OF_RANGE, "ERANGE"));
  EXPECT_THAT(
      Call<v1::WakeUpRequest>(client(), "name: 'q' update { add: 1 }").status,
      FailsWith(grpc::StatusCode::OUT_OF_RANGE, "ERANGE"));
  EXPECT_EQ(ValueOf("q"), INT64_MAX);
}

TEST_P(BadRequestTest, PipeOptionsHaveTheirRanges) {
  for (const char* text :
       {"capacity_bytes: 0", "capacity_bytes: 67108865", "atomic_max_bytes: 0",
        "capacity_bytes: 10 atomic_max_bytes: 11",
        "capacity_bytes: 18446744073709551615"}) {
    ExpectInvalid<v1::CreateRequest>(
        absl::StrCat("name: 'none' pipe { ", text, " }"));
    ExpectNotOpened(absl::StrCat("name: 'none' options { ", text, " }"));
  }
  ExpectInvalid<v1::CreateRequest>("name: 'none'");
  ExpectNoObjects();
}

TEST_P(BadRequestTest, PagesHaveTheirRanges) {
  ExpectInvalid<v1::ListTasksRequest>("page_size: 10001");
  ExpectInvalid<v1::ListObjectsRequest>("page_size: 10001");
  ExpectInvalid<v1::ListTasksRequest>("page_token: 'x'");
  ExpectInvalid<v1::ListObjectsRequest>("page_token: '?'");
  ExpectInvalid<v1::ListTasksRequest>("page_token: '-1'");
}

TEST_P(BadRequestTest, AnotherKindOfObjectIsRefusedByEveryMethod) {
  for (const char* text : {"name: 'q' wait_queue {}", "name: 'c' completion {}",
                           "name: 'p' pipe {}"}) {
    ASSERT_THAT(Call<v1::CreateRequest>(client(), text).status, IsOk());
  }
  const auto wrong_kind =
      FailsWith(grpc::StatusCode::FAILED_PRECONDITION, "ENXIO");
  for (const char* name : {"name: 'c'", "name: 'p'"}) {
    EXPECT_THAT(Call<v1::WaitRequest>(client(), name).status, wrong_kind);
    EXPECT_THAT(Call<v1::WakeUpRequest>(client(), name).status, wrong_kind);
    EXPECT_THAT(Call<v1::GetRequest>(client(), name).status, wrong_kind);
    EXPECT_THAT(Call<v1::StoreRequest>(client(), name).status, wrong_kind);
  }
  for (const char* name : {"name: 'q'", "name: 'p'"}) {
    EXPECT_THAT(Call<v1::CompletionWaitRequest>(client(), name).status,
                wrong_kind);
    EXPECT_THAT(Call<v1::TryWaitRequest>(client(), name).status, wrong_kind);
    EXPECT_THAT(Call<v1::CompleteRequest>(client(), name).status, wrong_kind);
    EXPECT_THAT(Call<v1::ReinitRequest>(client(), name).status, wrong_kind);
    EXPECT_THAT(Call<v1::DoneRequest>(client(), name).status, wrong_kind);
  }
  for (const std::string name : {"name: 'q'", "name: 'c'"}) {
    EXPECT_THAT(Call<v1::ReadRequest>(client(), name).status, wrong_kind);
    EXPECT_THAT(Call<v1::WriteRequest>(client(), name).status, wrong_kind);
    ReadStream reader(client());
    reader.Send("open { " + name + " }");
    EXPECT_THAT(reader.Finish(), wrong_kind);
    WriteStream writer(client());
    writer.Send("open { " + name + " }");
    EXPECT_THAT(writer.Finish(), wrong_kind);
  }
  EXPECT_THAT(
      Call<v1::CreateRequest>(client(), "name: 'q' completion {}").status,
      wrong_kind);
}

TEST_P(BadRequestTest, WhatOnlyLooksMakesNothing) {
  const auto not_there = FailsWith(grpc::StatusCode::NOT_FOUND, "ENOENT");
  EXPECT_THAT(Call<v1::GetRequest>(client(), "name: 'none'").status, not_there);
  EXPECT_THAT(Call<v1::DoneRequest>(client(), "name: 'none'").status,
              not_there);
  EXPECT_THAT(Call<v1::StatRequest>(client(), "name: 'none'").status,
              not_there);
  EXPECT_THAT(Call<v1::RemoveRequest>(client(), "name: 'none'").status,
              not_there);
  EXPECT_THAT(Call<v1::ListTasksRequest>(client(), "name: 'none'").status,
              IsOk());
  ExpectNoObjects();
}

TEST_P(BadRequestTest, CreateWithOtherOptionsIsRefused) {
  ASSERT_THAT(
      Call<v1::CreateRequest>(client(), "name: 'p' pipe { capacity_bytes: 10 }")
          .status,
      IsOk());
  EXPECT_THAT(
      Call<v1::CreateRequest>(client(), "name: 'p' pipe { capacity_bytes: 11 }")
          .status,
      FailsWith(grpc::StatusCode::ALREADY_EXISTS, "EEXIST"));
}

// --- Messages that are too long ----------------------------------------------

TEST_P(BadRequestTest, MessageOfExactlyTheLimitIsTaken) {
  ASSERT_THAT(Call<v1::CreateRequest>(
                  client(), "name: 'p' pipe { capacity_bytes: 8388608 }")
                  .status,
              IsOk());
  const auto write = Call(client(), WriteOfMessageBytes(kMaxMessageBytes));
  EXPECT_THAT(write.status, IsOk());
  EXPECT_GT(write.response.accepted_bytes(), 4'000'000u);
}

TEST_P(BadRequestTest, MessageAboveTheLimitIsRefusedByUs) {
  for (const size_t bytes : {kMaxMessageBytes + 1, kMaxReceiveBytes}) {
    const auto write = Call(client(), WriteOfMessageBytes(bytes));
    EXPECT_THAT(write.status,
                FailsWith(grpc::StatusCode::INVALID_ARGUMENT, "EMSGSIZE"));
    EXPECT_EQ(ParseErrorInfo(write.status)->metadata.at("limit"),
              "message-bytes");
  }
  ExpectNoObjects();
}

TEST_P(BadRequestTest, MessageAboveGrpcsLimitIsRefusedByIt) {
  EXPECT_THAT(Call(client(), WriteOfMessageBytes(kMaxReceiveBytes + 1)).status,
              FailsWith(grpc::StatusCode::RESOURCE_EXHAUSTED, ""));
  ExpectNoObjects();
  // The connection has not suffered.
  EXPECT_THAT(Call(client(), WriteOfMessageBytes(100)).status, IsOk());
}

TEST_P(BadRequestTest, LowerLimitOfMessagesIsKept) {
  options().limits.message_bytes = 131072;
  EXPECT_THAT(Call(client(), WriteOfMessageBytes(131072)).status, IsOk());
  EXPECT_THAT(Call(client(), WriteOfMessageBytes(131073)).status,
              FailsWith(grpc::StatusCode::INVALID_ARGUMENT, "EMSGSIZE"));
}

// The limit is ours to raise: gRPC's own must not be in its way.
TEST_P(BadRequestTest, HigherLimitOfMessagesIsKept) {
  options().limits.message_bytes = 8 << 20;
  ASSERT_THAT(Call<v1::CreateRequest>(
                  client(), "name: 'p' pipe { capacity_bytes: 16777216 }")
                  .status,
              IsOk());
  EXPECT_THAT(Call(client(), WriteOfMessageBytes(8 << 20)).status, IsOk());
  EXPECT_THAT(Call(client(), WriteOfMessageBytes((8 << 20) + 1)).status,
              FailsWith(grpc::StatusCode::INVALID_ARGUMENT, "EMSGSIZE"));
}

TEST_P(BadRequestTest, TooLongMessageInAStreamEndsItWithWhatWasAccepted) {
  WriteStream writer(client(), "name: 'p'");
  ASSERT_TRUE(writer.Write("abc"));
  writer.Write(std::string(kMaxMessageBytes, 'x'));
  EXPECT_THAT(writer.Finish(),
              FailsWith(grpc::StatusCode::INVALID_ARGUMENT, "EMSGSIZE"));
  EXPECT_EQ(writer.last().accepted_bytes(), 3u);
  EXPECT_THAT(ReadNow("p").data(), SizeIs(3));
}

TEST_P(BadRequestTest, StreamMessageAboveGrpcsLimitEndsTheStream) {
  WriteStream writer(client(), "name: 'p'");
  ASSERT_TRUE(writer.Write("abc"));
  ASSERT_TRUE(writer.AwaitAccepted(3));
  writer.Write(std::string(kMaxReceiveBytes, 'x'));
  EXPECT_FALSE(writer.Finish().ok());
  AwaitHandles("p", 0, 0);
  EXPECT_EQ(ReadNow("p").data(), "abc");
  // The writer did not close: its file is broken.
  const v1::ReadResponse end = ReadNow("p");
  EXPECT_EQ(end.outcome(), v1::OUTCOME_END_OF_FILE);
  EXPECT_TRUE(end.broken());
}

// --- Limits of the engine ----------------------------------------------------

class LimitsTest : public EverywhereTest {
 protected:
  // RESOURCE_EXHAUSTED, with the limit's name, and when to try again.
  void ExpectLimit(const grpc::Status& status, const std::string& limit) {
    EXPECT_THAT(status,
                FailsWith(grpc::StatusCode::RESOURCE_EXHAUSTED, "ENOSPC"));
    const auto info = ParseErrorInfo(status);
    ASSERT_TRUE(info.has_value());
    EXPECT_EQ(info->metadata.at("limit"), limit);
    EXPECT_TRUE(info->retry_after.has_value());
  }
};
WAITQ_TEST_EVERYWHERE(LimitsTest);

TEST_P(LimitsTest, ObjectsHaveALimit) {
  options().limits.objects = 2;
  EXPECT_THAT(Call<v1::StoreRequest>(client(), "name: 'a'").status, IsOk());
  EXPECT_THAT(Call<v1::StoreRequest>(client(), "name: 'b'").status, IsOk());
  ExpectLimit(Call<v1::StoreRequest>(client(), "name: 'c'").status, "objects");
  ReadStream reader(client());
  reader.Send("open { name: 'c' }");
  ExpectLimit(reader.Finish(), "objects");
  EXPECT_THAT(Call<v1::RemoveRequest>(client(), "name: 'a'").status, IsOk());
  EXPECT_THAT(Call<v1::StoreRequest>(client(), "name: 'c'").status, IsOk());
}

TEST_P(LimitsTest, SleepersHaveALimitOnEachObjectAndInAll) {
  options().limits.sleepers_per_object = 1;
  options().limits.sleepers = options().limits.sleepers_per_caller = 2;
  Pending<v1::WaitRequest> first(client(), "name: 'a'");
  AwaitAsleep(1);
  ExpectLimit(Call<v1::WaitRequest>(client(), "name: 'a'").status,
              "sleepers-per-object");
  {
    Pending<v1::ReadRequest> second(client(), "name: 'b'");
    AwaitAsleep(2);
    ExpectLimit(Call<v1::CompletionWaitRequest>(client(), "name: 'c'").status,
                "sleepers");
    ReadStream reader(client());
    ASSERT_TRUE(reader.Send("open { name: 'd' }"));
    ExpectLimit(reader.Finish(), "sleepers");
    // Who need not sleep is served all the same.
    EXPECT_THAT(
        Call<v1::WaitRequest>(client(), "name: 'a' condition { equal: 0 }")
            .status,
        IsOk());
  }
  AwaitAsleep(1);
  Pending<v1::ReadRequest> third(client(), "name: 'b'");
  AwaitAsleep(2);
}

TEST_P(LimitsTest, BytesOfSleepingWritesHaveALimit) {
  options().limits.message_bytes = options().limits.bytes_asleep = 131072;
  ASSERT_THAT(
      Call<v1::CreateRequest>(
          client(), "name: 'p' pipe { capacity_bytes: 1 atomic_max_bytes: 1 }")
          .status,
      IsOk());
  WriteNow("p", "x");
  v1::WriteRequest request;
  request.set_name("p");
  request.set_data(std::string(80'000, 'x'));
  Pending<v1::WriteRequest> first(client(), request);
  AwaitAsleep(1);
  ExpectLimit(Call(client(), request).status, "bytes-asleep");
  WriteStream writer(client(), "name: 'p'");
  writer.Write(request.data());
  ExpectLimit(writer.Finish(), "bytes-asleep");
}

}  // namespace
}  // namespace waitq::test
