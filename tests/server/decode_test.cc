#include "server/rpc/decode.h"

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/rpc/status_map.h"
#include "tests/server/client.h"
#include "waitq/v1/common.pb.h"
#include "waitq/v1/objects.pb.h"
#include "waitq/v1/pipes.pb.h"
#include "waitq/v1/wait_queues.pb.h"

namespace waitq::test {
namespace {

using engine::Action;
using engine::Condition;
using ::testing::HasSubstr;

constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

// INVALID_ARGUMENT (EINVAL), in a message that names the field.
void ExpectRefused(const absl::Status& status, const std::string& field) {
  EXPECT_THAT(rpc::ToGrpcStatus(status),
              FailsWith(grpc::StatusCode::INVALID_ARGUMENT, "EINVAL"));
  EXPECT_THAT(std::string(status.message()), HasSubstr(field));
}

TEST(DecodeConditionTest, EveryTestComesThroughWithItsOperand) {
  using T = Condition::Test;
  struct Row {
    const char* text;
    T test;
    int64_t operand;
  };
  const Row rows[] = {
      {"equal: 0", T::kEqual, 0},
      {"equal: -9223372036854775808", T::kEqual, kMin},
      {"not_equal: 9223372036854775807", T::kNotEqual, kMax},
      {"less: -1", T::kLess, -1},
      {"less_or_equal: 2", T::kLessOrEqual, 2},
      {"greater: 3", T::kGreater, 3},
      {"greater_or_equal: 4", T::kGreaterOrEqual, 4},
      {"all_bits: 5", T::kAllBits, 5},
      {"all_bits: 18446744073709551615", T::kAllBits, -1},
      {"any_bits: 9223372036854775808", T::kAnyBits, kMin},
      {"changed_since: 0", T::kChangedSince, 0},
      {"changed_since: 18446744073709551615", T::kChangedSince, -1},
  };
  for (const Row& row : rows) {
    Condition condition;
    const absl::Status status =
        rpc::Decode(FromText<v1::Condition>(row.text), condition);
    EXPECT_TRUE(status.ok()) << row.text << ": " << status;
    EXPECT_EQ(condition.test, row.test) << row.text;
    EXPECT_EQ(condition.operand, row.operand) << row.text;
  }
}

TEST(DecodeConditionTest, NoTestOrAnEmptyMaskIsRefused) {
  for (const char* text : {"", "all_bits: 0", "any_bits: 0"}) {
    Condition condition;
    ExpectRefused(rpc::Decode(FromText<v1::Condition>(text), condition),
                  "condition");
  }
}

TEST(DecodeConditionTest, EveryTestOfTheMessageIsKnown) {
  const auto& tests = *v1::Condition::descriptor()->FindOneofByName("test");
  for (int i = 0; i < tests.field_count(); ++i) {
    Condition condition;
    const std::string text = tests.field(i)->name() + ": 1";
    EXPECT_TRUE(rpc::Decode(FromText<v1::Condition>(text), condition).ok())
        << text;
  }
}

TEST(DecodeActionTest, EveryChangeComesThroughWithItsOperand) {
  using C = Action::Change;
  struct Row {
    const char* text;
    C change;
    int64_t operand;
  };
  const Row rows[] = {
      {"set: 0", C::kSet, 0},
      {"set: -9223372036854775808", C::kSet, kMin},
      {"add: -1", C::kAdd, -1},
      {"add: 0", C::kAdd, 0},
      {"and_bits: 0", C::kAnd, 0},
      {"and_bits: 18446744073709551614", C::kAnd, -2},
      {"or_bits: 9223372036854775808", C::kOr, kMin},
  };
  for (const Row& row : rows) {
    Action action;
    const absl::Status status =
        rpc::Decode(FromText<v1::Action>(row.text), action);
    EXPECT_TRUE(status.ok()) << row.text << ": " << status;
    EXPECT_EQ(action.change, row.change) << row.text;
    EXPECT_EQ(action.operand, row.operand) << row.text;
  }
}

TEST(DecodeActionTest, NoChangeIsRefused) {
  Action action;
  ExpectRefused(rpc::Decode(v1::Action(), action), "action");
}

TEST(DecodeActionTest, EveryChangeOfTheMessageIsKnown) {
  const auto& changes = *v1::Action::descriptor()->FindOneofByName("change");
  for (int i = 0; i < changes.field_count(); ++i) {
    Action action;
    const std::string text = changes.field(i)->name() + ": 1";
    EXPECT_TRUE(rpc::Decode(FromText<v1::Action>(text), action).ok()) << text;
  }
}

TEST(DecodePipeOptionsTest, WhatIsAbsentStaysAbsentAndZeroIsNotAbsent) {
  engine::PipeOptionsRequest none;
  ASSERT_TRUE(rpc::Decode(v1::PipeOptions(), none).ok());
  EXPECT_EQ(none.capacity_bytes, std::nullopt);
  EXPECT_EQ(none.atomic_max_bytes, std::nullopt);
  EXPECT_EQ(none.mode, std::nullopt);
  EXPECT_EQ(none.profile, std::nullopt);
  engine::PipeOptionsRequest both;
  ASSERT_TRUE(rpc::Decode(FromText<v1::PipeOptions>(
                              "capacity_bytes: 0 atomic_max_bytes: 7"),
                          both)
                  .ok());
  EXPECT_EQ(both.capacity_bytes, 0u);
  EXPECT_EQ(both.atomic_max_bytes, 7u);
}

TEST(DecodePipeOptionsTest, EveryModeAndProfileIsKnownAndNoOther) {
  for (const auto& [mode, profile] :
       {std::pair(v1::PIPE_MODE_STREAM, v1::PIPE_PROFILE_FIFO),
        std::pair(v1::PIPE_MODE_PACKET, v1::PIPE_PROFILE_QUEUE),
        std::pair(v1::PIPE_MODE_STREAM, v1::PIPE_PROFILE_SCULL)}) {
    v1::PipeOptions message;
    message.set_mode(mode);
    message.set_profile(profile);
    engine::PipeOptionsRequest options;
    ASSERT_TRUE(rpc::Decode(message, options).ok());
    EXPECT_EQ(rpc::EncodeMode(options.mode.value()), mode);
    EXPECT_EQ(rpc::EncodeProfile(options.profile.value()), profile);
  }
  engine::PipeOptionsRequest options;
  v1::PipeOptions unknown;
  unknown.set_mode(static_cast<v1::PipeMode>(3));
  EXPECT_FALSE(rpc::Decode(unknown, options).ok());
  unknown.Clear();
  unknown.set_profile(static_cast<v1::PipeProfile>(4));
  EXPECT_FALSE(rpc::Decode(unknown, options).ok());
}

TEST(DecodeSleepStateTest, EveryStateIsKnown) {
  struct Row {
    v1::Sleep sleep;
    TaskState state;
  };
  const Row rows[] = {
      {v1::SLEEP_UNSPECIFIED, kInterruptible},
      {v1::SLEEP_INTERRUPTIBLE, kInterruptible},
      {v1::SLEEP_KILLABLE, kKillable},
  };
  for (const auto may : {rpc::MaySleepOn::kNo, rpc::MaySleepOn::kYes}) {
    for (const Row& row : rows) {
      TaskState state = 0;
      EXPECT_TRUE(rpc::DecodeSleepState(row.sleep, may, state).ok());
      EXPECT_EQ(state, row.state) << v1::Sleep_Name(row.sleep);
    }
  }
}

TEST(DecodeSleepStateTest, UninterruptibleIsOnlyForCallsThatGive) {
  TaskState state = 0;
  ExpectRefused(rpc::DecodeSleepState(v1::SLEEP_UNINTERRUPTIBLE,
                                      rpc::MaySleepOn::kNo, state),
                "sleep");
  EXPECT_TRUE(rpc::DecodeSleepState(v1::SLEEP_UNINTERRUPTIBLE,
                                    rpc::MaySleepOn::kYes, state)
                  .ok());
  EXPECT_EQ(state, kUninterruptible);
}

TEST(DecodeSleepStateTest, NumbersThatAreNoStateAreRefused) {
  for (const int number : {-1, 4, 1000}) {
    TaskState state = 0;
    ExpectRefused(rpc::DecodeSleepState(static_cast<v1::Sleep>(number),
                                        rpc::MaySleepOn::kYes, state),
                  "sleep");
  }
}

TEST(DecodeTimeoutTest, DurationsComeThroughToTheNanosecond) {
  struct Row {
    const char* text;
    absl::Duration timeout;
  };
  const Row rows[] = {
      {"", absl::ZeroDuration()},
      {"nanos: 1", absl::Nanoseconds(1)},
      {"seconds: 1 nanos: 500000000", absl::Milliseconds(1500)},
      {"seconds: 315576000000 nanos: 999999999",
       absl::Seconds(315576000000) + absl::Nanoseconds(999999999)},
      {"seconds: 9223372036854775807", absl::Seconds(kMax)},
  };
  for (const Row& row : rows) {
    std::optional<absl::Duration> timeout;
    EXPECT_TRUE(rpc::DecodeTimeout(
                    FromText<google::protobuf::Duration>(row.text), timeout)
                    .ok())
        << row.text;
    EXPECT_EQ(timeout, row.timeout) << row.text;
  }
}

TEST(DecodeTimeoutTest, NegativeOnesAreRefused) {
  for (const char* text :
       {"nanos: -1", "seconds: -1", "seconds: -9223372036854775808"}) {
    std::optional<absl::Duration> timeout;
    ExpectRefused(
        rpc::DecodeTimeout(FromText<google::protobuf::Duration>(text), timeout),
        "timeout");
  }
}

TEST(DecodeSleepTest, AbsentFieldsMeanForEverAndInterruptible) {
  engine::SleepOptions options;
  EXPECT_TRUE(
      rpc::DecodeSleep(v1::WaitRequest(), rpc::MaySleepOn::kNo, options).ok());
  EXPECT_EQ(options.timeout, std::nullopt);
  EXPECT_FALSE(options.nonblock);
  EXPECT_EQ(options.state, kInterruptible);
}

TEST(DecodeSleepTest, AllFieldsComeThrough) {
  engine::SleepOptions options;
  EXPECT_TRUE(rpc::DecodeSleep(FromText<v1::WriteRequest>(
                                   "timeout { seconds: 3 } nonblock: true "
                                   "sleep: SLEEP_UNINTERRUPTIBLE"),
                               rpc::MaySleepOn::kYes, options)
                  .ok());
  EXPECT_EQ(options.timeout, absl::Seconds(3));
  EXPECT_TRUE(options.nonblock);
  EXPECT_EQ(options.state, kUninterruptible);
}

TEST(DecodeSleepTest, OneBadFieldIsEnough) {
  for (const char* text :
       {"timeout { seconds: -3 }", "sleep: SLEEP_UNINTERRUPTIBLE",
        "sleep: SLEEP_KILLABLE timeout { nanos: -1 }"}) {
    engine::SleepOptions options;
    ExpectRefused(rpc::DecodeSleep(FromText<v1::ReadRequest>(text),
                                   rpc::MaySleepOn::kNo, options),
                  "");
  }
}

TEST(EncodeKindTest, EveryKindHasItsName) {
  EXPECT_EQ(rpc::EncodeKind(engine::ObjectKind::kWaitQueue),
            v1::OBJECT_KIND_WAIT_QUEUE);
  EXPECT_EQ(rpc::EncodeKind(engine::ObjectKind::kCompletion),
            v1::OBJECT_KIND_COMPLETION);
  EXPECT_EQ(rpc::EncodeKind(engine::ObjectKind::kPipe), v1::OBJECT_KIND_PIPE);
}

TEST(DecodePageSizeTest, ZeroIsAThousand) {
  size_t size = 7;
  EXPECT_TRUE(rpc::DecodePageSize(0, size).ok());
  EXPECT_EQ(size, 1000u);
}

TEST(DecodePageSizeTest, OneToTenThousandComeThrough) {
  for (const uint32_t asked : {1u, 2u, 999u, 10000u}) {
    size_t size = 0;
    EXPECT_TRUE(rpc::DecodePageSize(asked, size).ok()) << asked;
    EXPECT_EQ(size, asked);
  }
}

TEST(DecodePageSizeTest, MoreIsRefused) {
  for (const uint32_t asked : {10001u, std::numeric_limits<uint32_t>::max()}) {
    size_t size = 0;
    ExpectRefused(rpc::DecodePageSize(asked, size), "page_size");
  }
}

}  // namespace
}  // namespace waitq::test
