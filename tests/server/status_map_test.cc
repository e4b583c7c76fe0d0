#include "server/rpc/status_map.h"

#include <csignal>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/time/time.h"
#include "core/simulated_clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/rpc/decode.h"
#include "tests/server/client.h"
#include "transport/error_info.h"

namespace waitq::test {
namespace {

using engine::Ending;
using ::testing::ElementsAre;
using ::testing::Pair;

// Where operations that have slept come home to.
class Box final : public engine::Home {
 public:
  void Deliver(engine::DoneList done) override {
    while (!done.empty()) ended.push_back(done.Pop());
  }

  std::vector<engine::Ref<engine::Operation>> ended;
};

class StatusMapTest : public testing::Test {
 protected:
  StatusMapTest() {
    limits_.sleepers_per_object = 1;
    limits_.pipe_bytes = limits_.pipe_bytes_in_all = 1000;
  }

  void TearDown() override { EXPECT_EQ(engine().asleep(), 0u); }

  engine::Engine& engine() {
    if (engine_ == nullptr) {
      engine_ = std::make_unique<engine::Engine>(limits_, &clock_.timers(), 1);
    }
    return *engine_;
  }

  engine::Ref<engine::WaitOperation> MakeWait(engine::Action then = {}) {
    const engine::WaitSpec spec{
        .condition = {engine::Condition::Test::kEqual, 1},
        .then = then,
        .exclusive = true};
    return engine::MakeRef<engine::WaitOperation>(
        spec, &box_, nullptr,
        std::make_shared<engine::CallerInfo>("", "", limits_));
  }
  engine::Ref<engine::ReadOperation> MakeRead() {
    return engine::MakeRef<engine::ReadOperation>(
        10, nullptr, &box_, nullptr,
        std::make_shared<engine::CallerInfo>("", "", limits_));
  }
  engine::Ref<engine::WriteOperation> MakeWrite(size_t bytes) {
    return engine::MakeRef<engine::WriteOperation>(
        absl::Cord(std::string(bytes, 'x')), nullptr, &box_, nullptr,
        std::make_shared<engine::CallerInfo>("", "", limits_));
  }
  // Starts it; it sleeps.
  void Sleep(const engine::Ref<engine::WaitOperation>& op) {
    EXPECT_EQ(*engine().Wait("object", op, {}), engine::Started::kAsleep);
  }

  engine::Limits limits_;
  SimulatedClock clock_;
  Box box_;

 private:
  std::unique_ptr<engine::Engine> engine_;
};

// What the caller of an operation gets that ended as a failure.
struct Failure {
  grpc::StatusCode code;
  std::string reason;
  std::map<std::string, std::string> metadata;
  bool retry = false;
};

void ExpectFailure(const engine::Operation& op, Ending ending,
                   const Failure& expected) {
  ASSERT_EQ(op.ending(), ending);
  EXPECT_EQ(rpc::OutcomeOf(ending), v1::OUTCOME_UNSPECIFIED);
  EXPECT_EQ(rpc::ErrorNameOf(op), expected.reason);
  const grpc::Status status = rpc::ToGrpcStatus(rpc::FailureOf(op));
  EXPECT_THAT(status, FailsWith(expected.code, expected.reason));
  const std::optional<ErrorInfo> info = ParseErrorInfo(status);
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->metadata, expected.metadata);
  EXPECT_EQ(info->retry_after.has_value(), expected.retry);
}

// The answer says how it ended; there is no error.
void ExpectOutcome(const engine::Operation& op, Ending ending,
                   v1::Outcome outcome) {
  ASSERT_EQ(op.ending(), ending);
  EXPECT_EQ(rpc::OutcomeOf(op.ending()), outcome);
  EXPECT_TRUE(rpc::FailureOf(op).ok());
  EXPECT_EQ(rpc::ErrorNameOf(op), "");
}

TEST_F(StatusMapTest, DoneIsAnOutcome) {
  ASSERT_TRUE(engine().Store("object", 1).ok());
  const auto op = MakeWait();
  ASSERT_EQ(*engine().Wait("object", op, {}), engine::Started::kEnded);
  ExpectOutcome(*op, Ending::kDone, v1::OUTCOME_DONE);
}

TEST_F(StatusMapTest, TimedOutIsAnOutcome) {
  const auto op = MakeWait();
  engine::SleepOptions options;
  options.timeout = absl::Seconds(1);
  ASSERT_EQ(*engine().Wait("object", op, options), engine::Started::kAsleep);
  clock_.Advance(absl::Seconds(2));
  ExpectOutcome(*op, Ending::kTimedOut, v1::OUTCOME_TIMED_OUT);
}

TEST_F(StatusMapTest, WouldBlockIsAnOutcome) {
  const auto op = MakeWait();
  engine::SleepOptions options;
  options.nonblock = true;
  ASSERT_EQ(*engine().Wait("object", op, options), engine::Started::kEnded);
  ExpectOutcome(*op, Ending::kWouldBlock, v1::OUTCOME_WOULD_BLOCK);
}

TEST_F(StatusMapTest, EndOfFileIsAnOutcome) {
  auto writer = *engine().OpenWriter("object", {});
  engine::PipeObject& pipe = writer->pipe();
  pipe.Close(std::move(writer), /*clean=*/true);
  const auto op = MakeRead();
  ASSERT_EQ(*engine().Read("object", op, {}), engine::Started::kEnded);
  ExpectOutcome(*op, Ending::kEndOfFile, v1::OUTCOME_END_OF_FILE);
}

TEST_F(StatusMapTest, CallerGoneIsCancelled) {
  const auto op = MakeWait();
  Sleep(op);
  engine().CallerGone(*op);
  ExpectFailure(*op, Ending::kCallerGone,
                {grpc::StatusCode::CANCELLED, "ECANCELED", {}});
}

TEST_F(StatusMapTest, InterruptedIsAbortedAndNamesTheSignal) {
  const auto op = MakeWait();
  Sleep(op);
  engine().Signal(*op, SIGTERM);
  ExpectFailure(*op, Ending::kInterrupted,
                {grpc::StatusCode::ABORTED,
                 "EINTR",
                 {{"object", "object"}, {"signal", "15"}}});
}

TEST_F(StatusMapTest, RemovedIsAborted) {
  const auto op = MakeWait();
  Sleep(op);
  ASSERT_TRUE(engine().Remove("object", /*force=*/false).ok());
  ExpectFailure(*op, Ending::kRemoved,
                {grpc::StatusCode::ABORTED, "EIDRM", {{"object", "object"}}});
}

TEST_F(StatusMapTest, DrainingIsUnavailableAndSaysWhenToRetry) {
  const auto op = MakeWait();
  Sleep(op);
  engine().Drain();
  ExpectFailure(*op, Ending::kDraining,
                {grpc::StatusCode::UNAVAILABLE,
                 "ESHUTDOWN",
                 {{"object", "object"}},
                 /*retry=*/true});
}

TEST_F(StatusMapTest, NoReadersIsAFailedPrecondition) {
  auto reader = *engine().OpenReader("object", {});
  engine::PipeObject& pipe = reader->pipe();
  pipe.Close(std::move(reader));
  const auto op = MakeWrite(1);
  ASSERT_EQ(*engine().Write("object", op, {}), engine::Started::kEnded);
  ExpectFailure(
      *op, Ending::kNoReaders,
      {grpc::StatusCode::FAILED_PRECONDITION, "EPIPE", {{"object", "object"}}});
}

TEST_F(StatusMapTest, OverflowIsOutOfRange) {
  ASSERT_TRUE(engine().Store("object", 1).ok());
  const auto op = MakeWait({engine::Action::Change::kAdd, INT64_MAX});
  ASSERT_EQ(*engine().Wait("object", op, {}), engine::Started::kEnded);
  ExpectFailure(
      *op, Ending::kOverflow,
      {grpc::StatusCode::OUT_OF_RANGE, "ERANGE", {{"object", "object"}}});
}

TEST_F(StatusMapTest, LimitOfSleepersIsExhaustedAndNamed) {
  const auto first = MakeWait();
  Sleep(first);
  const auto op = MakeWait();
  ASSERT_EQ(*engine().Wait("object", op, {}), engine::Started::kEnded);
  ExpectFailure(*op, Ending::kLimit,
                {grpc::StatusCode::RESOURCE_EXHAUSTED,
                 "ENOSPC",
                 {{"object", "object"}, {"limit", "sleepers-per-object"}},
                 /*retry=*/true});
  engine().CallerGone(*first);
}

TEST_F(StatusMapTest, LimitOfBytesIsExhaustedAndNamed) {
  const auto full = MakeWrite(1000);
  ASSERT_EQ(*engine().Write("other", full, {}), engine::Started::kEnded);
  const auto op = MakeWrite(1);
  ASSERT_EQ(*engine().Write("object", op, {}), engine::Started::kEnded);
  ExpectFailure(*op, Ending::kLimit,
                {grpc::StatusCode::RESOURCE_EXHAUSTED,
                 "ENOSPC",
                 {{"object", "object"}, {"limit", "pipe-bytes-in-all"}},
                 /*retry=*/true});
}

// --- Errors of calls that do not sleep ---------------------------------------

TEST_F(StatusMapTest, EveryErrorOfTheEngineIsReadByClients) {
  limits_.objects = 2;
  ASSERT_TRUE(engine().Store("queue", INT64_MAX).ok());
  auto writer = *engine().OpenWriter("pipe", {});
  engine::WakeOptions overflow;
  overflow.update = {engine::Action::Change::kAdd, 1};
  struct Row {
    absl::Status status;
    grpc::StatusCode code;
    const char* reason;
    std::map<std::string, std::string> metadata;
    bool retry = false;
  };
  const Row rows[] = {
      {engine().Get("bad name").status(),
       grpc::StatusCode::INVALID_ARGUMENT,
       "EINVAL",
       {{"object", "bad name"}, {"limit", "name-bytes"}}},
      {engine().Get("none").status(),
       grpc::StatusCode::NOT_FOUND,
       "ENOENT",
       {{"object", "none"}}},
      {engine().Get("pipe").status(),
       grpc::StatusCode::FAILED_PRECONDITION,
       "ENXIO",
       {{"object", "pipe"}}},
      {engine()
           .Create("pipe", {engine::ObjectKind::kPipe,
                            {.capacity_bytes = 7, .atomic_max_bytes = {}}})
           .status(),
       grpc::StatusCode::ALREADY_EXISTS,
       "EEXIST",
       {{"object", "pipe"}}},
      {engine().Remove("pipe", /*force=*/false).status(),
       grpc::StatusCode::FAILED_PRECONDITION,
       "EBUSY",
       {{"object", "pipe"}}},
      {engine().WakeUp("queue", overflow).status(),
       grpc::StatusCode::OUT_OF_RANGE,
       "ERANGE",
       {{"object", "queue"}}},
      {engine().Store("third", 1).status(),
       grpc::StatusCode::RESOURCE_EXHAUSTED,
       "ENOSPC",
       {{"object", "third"}, {"limit", "objects"}},
       /*retry=*/true},
  };
  for (const Row& row : rows) {
    const grpc::Status status = rpc::ToGrpcStatus(row.status);
    EXPECT_THAT(status, FailsWith(row.code, row.reason));
    const std::optional<ErrorInfo> info = ParseErrorInfo(status);
    ASSERT_TRUE(info.has_value()) << row.status;
    EXPECT_EQ(info->metadata, row.metadata) << row.reason;
    EXPECT_EQ(info->retry_after.has_value(), row.retry) << row.reason;
    EXPECT_NE(status.error_message(), "") << row.reason;
  }
  engine::PipeObject& pipe = writer->pipe();
  pipe.Close(std::move(writer), /*clean=*/true);
}

TEST_F(StatusMapTest, StreamsGetTheSameErrors) {
  EXPECT_THAT(rpc::ToGrpcStatus(rpc::CallerGoneError()),
              FailsWith(grpc::StatusCode::CANCELLED, "ECANCELED"));
  const grpc::Status removed = rpc::ToGrpcStatus(rpc::RemovedError("pipe"));
  EXPECT_THAT(removed, FailsWith(grpc::StatusCode::ABORTED, "EIDRM"));
  EXPECT_THAT(ParseErrorInfo(removed)->metadata,
              ElementsAre(Pair("object", "pipe")));
}

TEST_F(StatusMapTest, NamesOfStrangersStayPrintableAndShort) {
  const std::string name(100'000, '\n');
  const grpc::Status status = rpc::ToGrpcStatus(engine().Get(name).status());
  EXPECT_THAT(status, FailsWith(grpc::StatusCode::INVALID_ARGUMENT, "EINVAL"));
  const std::string all = status.error_message() + status.error_details();
  EXPECT_LT(all.size(), 4096u);
  for (const char c : status.error_message()) {
    EXPECT_TRUE(c >= ' ' && c <= '~') << int{c};
  }
}

TEST_F(StatusMapTest, RetryIsOnlySaidWhereWaitingHelps) {
  for (const auto code :
       {absl::StatusCode::kResourceExhausted, absl::StatusCode::kUnavailable}) {
    const auto info = ParseErrorInfo(rpc::ToGrpcStatus({code, "later"}));
    ASSERT_TRUE(info.has_value());
    EXPECT_GT(info->retry_after.value_or(absl::ZeroDuration()),
              absl::ZeroDuration());
  }
  for (const auto code :
       {absl::StatusCode::kInvalidArgument, absl::StatusCode::kAborted,
        absl::StatusCode::kFailedPrecondition}) {
    const auto info = ParseErrorInfo(rpc::ToGrpcStatus({code, "never"}));
    ASSERT_TRUE(info.has_value());
    EXPECT_EQ(info->retry_after, std::nullopt);
  }
}

}  // namespace
}  // namespace waitq::test
