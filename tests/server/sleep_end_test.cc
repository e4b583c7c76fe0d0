// What ends the sleep of a unary call, and what it leaves behind.

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fixture.h"
#include "tests/server/wire.h"
#include "transport/error_info.h"

namespace waitq::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

CallTime In(absl::Duration duration) {
  return std::chrono::system_clock::now() +
         absl::ToChronoMicroseconds(duration);
}

std::vector<std::string> CallersOf(const std::vector<v1::Task>& tasks) {
  std::vector<std::string> callers;
  for (const v1::Task& task : tasks) callers.push_back(task.caller());
  return callers;
}

class SleepEndTest : public EverywhereTest {
 protected:
  // A pipe of one byte, which is full.
  void MakeFullPipe(const std::string& name) {
    ASSERT_THAT(Call<v1::CreateRequest>(
                    client(), "name: '" + name + "' pipe { capacity_bytes: 1 }")
                    .status,
                IsOk());
    WriteNow(name, "x");
  }

  // Waits until the server has heard all that a client has sent so far: its
  // connection is served in order.
  void AwaitHeard(Client& other) {
    const uint64_t asleep = server().engine().asleep();
    {
      Pending<v1::WaitRequest> last(other, "name: 'heard'");
      EXPECT_TRUE(Await([&] { return !Sleepers("heard").empty(); }));
    }
    EXPECT_TRUE(Await([&] { return Sleepers("heard").empty(); }));
    EXPECT_EQ(server().engine().asleep(), asleep);
  }
};
WAITQ_TEST_EVERYWHERE(SleepEndTest);

// --- The caller cancels ------------------------------------------------------

TEST_P(SleepEndTest, CancelledWaitIsGoneAndItsWakeUpGoesToTheNext) {
  Pending<v1::WaitRequest> first(
      client(),
      "name: 'q' condition { equal: 1 } then { set: 0 } caller: 'first'");
  AwaitAsleep(1);
  Pending<v1::WaitRequest> second(
      client(),
      "name: 'q' condition { equal: 1 } then { set: 0 } caller: 'second'");
  AwaitAsleep(2);
  EXPECT_THAT(CallersOf(Sleepers("q")), ElementsAre("first", "second"));

  first.Cancel();
  EXPECT_EQ(first.status().error_code(), grpc::StatusCode::CANCELLED);
  AwaitAsleep(1);
  EXPECT_THAT(CallersOf(Sleepers("q")), ElementsAre("second"));
  EXPECT_EQ(ValueOf("q"), 0);

  const auto wake =
      Call<v1::WakeUpRequest>(client(), "name: 'q' update { set: 1 }");
  EXPECT_EQ(wake.response.woken_exclusive(), 1u);
  ASSERT_THAT(second.status(), IsOk());
  EXPECT_EQ(second.response().outcome(), v1::OUTCOME_DONE);
  EXPECT_EQ(ValueOf("q"), 0);
}

TEST_P(SleepEndTest, CancelledCompletionWaitLeavesWhatIsDoneToTheNext) {
  Pending<v1::CompletionWaitRequest> first(client(), "name: 'c'");
  AwaitAsleep(1);
  Pending<v1::CompletionWaitRequest> second(client(), "name: 'c'");
  AwaitAsleep(2);
  first.Cancel();
  AwaitAsleep(1);
  EXPECT_EQ(Call<v1::CompleteRequest>(client(), "name: 'c'").response.woken(),
            1u);
  EXPECT_THAT(second.status(), IsOk());
}

TEST_P(SleepEndTest, CancelledReadLeavesTheBytesToTheNext) {
  Pending<v1::ReadRequest> first(client(), "name: 'p'");
  AwaitAsleep(1);
  Pending<v1::ReadRequest> second(client(), "name: 'p'");
  AwaitAsleep(2);
  first.Cancel();
  AwaitAsleep(1);
  WriteNow("p", "bytes");
  ASSERT_THAT(second.status(), IsOk());
  EXPECT_EQ(second.response().data(), "bytes");
}

TEST_P(SleepEndTest, CancelledWriteLeavesNoByteAndItsPlaceToTheNext) {
  MakeFullPipe("p");
  Pending<v1::WriteRequest> first(client(), "name: 'p' data: '1'");
  AwaitAsleep(1);
  Pending<v1::WriteRequest> second(client(), "name: 'p' data: '2'");
  AwaitAsleep(2);
  first.Cancel();
  AwaitAsleep(1);
  EXPECT_EQ(ReadNow("p").data(), "x");
  EXPECT_THAT(second.status(), IsOk());
  EXPECT_EQ(ReadNow("p").data(), "2");
}

TEST_P(SleepEndTest, CancelBeforeTheServerHasAnsweredIsHarmless) {
  for (int i = 0; i < 50; ++i) {
    Pending<v1::WaitRequest> sleeper(
        client(), "name: 'q' condition { equal: 1 } then { set: 0 }");
    sleeper.Cancel();
    EXPECT_EQ(sleeper.status().error_code(), grpc::StatusCode::CANCELLED);
  }
  AwaitAsleep(0);
}

// --- The connection dies -----------------------------------------------------

TEST_P(SleepEndTest, SleepersOfADeadConnectionAreGoneAndHaveTakenNothing) {
  constexpr int kSleepers = 100;
  Wire wire(server().address());
  const auto far = ClientOf(wire.address());
  ASSERT_THAT(Call<v1::CreateRequest>(client(), "name: 'p' pipe {}").status,
              IsOk());
  std::vector<std::unique_ptr<Pending<v1::WaitRequest>>> waits;
  std::vector<std::unique_ptr<Pending<v1::ReadRequest>>> reads;
  for (int i = 0; i < kSleepers / 2; ++i) {
    waits.push_back(std::make_unique<Pending<v1::WaitRequest>>(
        *far, "name: 'q' condition { equal: 1 } then { set: 0 }"));
    reads.push_back(
        std::make_unique<Pending<v1::ReadRequest>>(*far, "name: 'p'"));
  }
  Pending<v1::WaitRequest> near(client(),
                                "name: 'q' condition { equal: 1 } "
                                "then { set: 0 } caller: 'near'");
  AwaitAsleep(kSleepers + 1);

  wire.Cut();
  AwaitAsleep(1);
  EXPECT_THAT(CallersOf(Sleepers()), ElementsAre("near"));
  for (auto& wait : waits) {
    EXPECT_EQ(wait->status().error_code(), grpc::StatusCode::UNAVAILABLE);
  }
  for (auto& read : reads) {
    EXPECT_EQ(read->status().error_code(), grpc::StatusCode::UNAVAILABLE);
  }
  // One wake-up is enough: none is used up by the dead.
  EXPECT_EQ(Call<v1::WakeUpRequest>(client(), "name: 'q' update { set: 1 }")
                .response.woken(),
            1u);
  EXPECT_THAT(near.status(), IsOk());
  WriteNow("p", "all of it");
  EXPECT_EQ(ReadNow("p").data(), "all of it");
}

// --- The call's deadline -----------------------------------------------------

TEST_P(SleepEndTest, CallsAreAnsweredBeforeTheirDeadlines) {
  MakeFullPipe("full");
  // The answer comes 2 % before it: here, a tenth of a second.
  const CallTime deadline = In(absl::Seconds(5));
  Pending<v1::WaitRequest> wait(
      client(), "name: 'q' condition { equal: 1 } then { set: 0 }", deadline);
  Pending<v1::CompletionWaitRequest> completion(client(), "name: 'c'",
                                                deadline);
  Pending<v1::ReadRequest> read(client(), "name: 'p'", deadline);
  Pending<v1::WriteRequest> write(client(), "name: 'full' data: 'y'", deadline);
  ReadStream reader(client(), "name: 'p'", deadline);
  WriteStream writer(client(), "name: 'full'", deadline);
  writer.Write("y");
  AwaitAsleep(6);
  // Nothing is tested at that time: it could not be told any more.
  ASSERT_THAT(Call<v1::StoreRequest>(client(), "name: 'q' value: 1").status,
              IsOk());

  ASSERT_THAT(wait.status(), IsOk());
  EXPECT_EQ(wait.response().outcome(), v1::OUTCOME_TIMED_OUT);
  EXPECT_EQ(ValueOf("q"), 1);
  ASSERT_THAT(completion.status(), IsOk());
  EXPECT_EQ(completion.response().outcome(), v1::OUTCOME_TIMED_OUT);
  ASSERT_THAT(read.status(), IsOk());
  EXPECT_EQ(read.response().outcome(), v1::OUTCOME_TIMED_OUT);
  ASSERT_THAT(write.status(), IsOk());
  EXPECT_EQ(write.response().outcome(), v1::OUTCOME_TIMED_OUT);
  EXPECT_THAT(reader.Finish(), IsOk());
  EXPECT_EQ(reader.last().outcome(), v1::OUTCOME_TIMED_OUT);
  EXPECT_THAT(writer.Finish(), IsOk());
  EXPECT_EQ(writer.last().outcome(), v1::OUTCOME_TIMED_OUT);
  EXPECT_EQ(ReadNow("full").data(), "x");
}

TEST_P(SleepEndTest, NothingIsHandedToACallThatEndsWithin20Ms) {
  ASSERT_THAT(Call<v1::StoreRequest>(client(), "name: 'q' value: 1").status,
              IsOk());
  ASSERT_THAT(Call<v1::CompleteRequest>(client(), "name: 'c'").status, IsOk());
  WriteNow("p", "bytes");
  // Well within: gRPC's clients round what they send up, by a millisecond or
  // two, and count it from a clock that they have read a little earlier.
  for (const int ms : {0, 1, 2, 5, 10}) {
    const auto wait = Call<v1::WaitRequest>(
        client(), "name: 'q' condition { equal: 1 } then { set: 0 }",
        In(absl::Milliseconds(ms)));
    if (wait.status.ok()) {
      EXPECT_EQ(wait.response.outcome(), v1::OUTCOME_TIMED_OUT);
    } else {
      EXPECT_EQ(wait.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
    }
    Call<v1::CompletionWaitRequest>(client(), "name: 'c'",
                                    In(absl::Milliseconds(ms)));
    Call<v1::ReadRequest>(client(), "name: 'p'", In(absl::Milliseconds(ms)));
  }
  AwaitHeard(client());
  EXPECT_EQ(ValueOf("q"), 1);
  EXPECT_EQ(StatOf("c").completion().done(), 1u);
  EXPECT_EQ(ReadNow("p").data(), "bytes");
}

TEST_P(SleepEndTest, TimeoutThatComesBeforeTheDeadlineIsTheTimeout) {
  Pending<v1::WaitRequest> sleeper(
      client(),
      "name: 'q' condition { equal: 1 } then { set: 5 } "
      "timeout { nanos: 300000000 }",
      In(absl::Seconds(60)));
  AwaitAsleep(1);
  // Its timeout tests once more; so it was not the deadline.
  ASSERT_THAT(Call<v1::StoreRequest>(client(), "name: 'q' value: 1").status,
              IsOk());
  ASSERT_THAT(sleeper.status(), IsOk());
  EXPECT_EQ(sleeper.response().outcome(), v1::OUTCOME_DONE);
  EXPECT_EQ(ValueOf("q"), 5);
}

// --- Uninterruptible ---------------------------------------------------------

TEST_P(SleepEndTest, UninterruptibleWriteOutlivesItsCancelledCaller) {
  MakeFullPipe("p");
  const auto other = NewClient();
  Pending<v1::WriteRequest> writer(
      *other, "name: 'p' data: 'y' sleep: SLEEP_UNINTERRUPTIBLE");
  AwaitAsleep(1);
  writer.Cancel();
  EXPECT_EQ(writer.status().error_code(), grpc::StatusCode::CANCELLED);
  AwaitHeard(*other);
  const std::vector<v1::Task> tasks = Sleepers("p");
  ASSERT_THAT(tasks, SizeIs(1));
  EXPECT_EQ(tasks[0].state(), v1::SLEEP_UNINTERRUPTIBLE);

  EXPECT_EQ(ReadNow("p").data(), "x");
  AwaitAsleep(0);
  EXPECT_EQ(ReadNow("p").data(), "y");
}

TEST_P(SleepEndTest, UninterruptibleWriteOutlivesItsDeadline) {
  MakeFullPipe("p");
  Pending<v1::WriteRequest> write(
      client(), "name: 'p' data: 'y' sleep: SLEEP_UNINTERRUPTIBLE",
      In(absl::Milliseconds(100)));
  EXPECT_EQ(write.status().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_THAT(Sleepers("p"), SizeIs(1));
  EXPECT_EQ(ReadNow("p").data(), "x");
  AwaitAsleep(0);
  EXPECT_EQ(ReadNow("p").data(), "y");
}

TEST_P(SleepEndTest, UninterruptibleWriteOutlivesItsConnection) {
  MakeFullPipe("p");
  Wire wire(server().address());
  const auto far = ClientOf(wire.address());
  Pending<v1::WriteRequest> writer(
      *far, "name: 'p' data: 'y' sleep: SLEEP_UNINTERRUPTIBLE");
  Pending<v1::WaitRequest> beside(*far, "name: 'q'");
  AwaitAsleep(2);
  wire.Cut();
  AwaitAsleep(1);
  EXPECT_EQ(ReadNow("p").data(), "x");
  AwaitAsleep(0);
  EXPECT_EQ(ReadNow("p").data(), "y");
}

TEST_P(SleepEndTest, UninterruptibleWriteWithoutACallerStillTimesOut) {
  MakeFullPipe("p");
  Pending<v1::WriteRequest> writer(
      client(),
      "name: 'p' data: 'y' sleep: SLEEP_UNINTERRUPTIBLE "
      "timeout { nanos: 200000000 }");
  AwaitAsleep(1);
  writer.Cancel();
  AwaitAsleep(0);
  EXPECT_EQ(ReadNow("p").data(), "x");
  EXPECT_EQ(ReadNow("p").outcome(), v1::OUTCOME_WOULD_BLOCK);
}

TEST_P(SleepEndTest, UninterruptibleWriteWithoutACallerIsEndedByRemove) {
  MakeFullPipe("p");
  Pending<v1::WriteRequest> writer(
      client(), "name: 'p' data: 'y' sleep: SLEEP_UNINTERRUPTIBLE");
  AwaitAsleep(1);
  writer.Cancel();
  AwaitHeard(client());
  EXPECT_EQ(Call<v1::RemoveRequest>(client(), "name: 'p'").response.ended(),
            1u);
  AwaitAsleep(0);
}

// --- Remove ------------------------------------------------------------------

TEST_P(SleepEndTest, RemoveEndsEveryKindOfSleep) {
  MakeFullPipe("full");
  Pending<v1::WaitRequest> wait(client(), "name: 'q'");
  Pending<v1::CompletionWaitRequest> completion(client(), "name: 'c'");
  Pending<v1::ReadRequest> read(client(), "name: 'p'");
  Pending<v1::WriteRequest> write(client(), "name: 'full' data: 'y'");
  AwaitAsleep(4);
  for (const char* name :
       {"name: 'q'", "name: 'c'", "name: 'p'", "name: 'full'"}) {
    const auto remove = Call<v1::RemoveRequest>(client(), name);
    ASSERT_THAT(remove.status, IsOk());
    EXPECT_EQ(remove.response.ended(), 1u);
  }
  const auto removed = FailsWith(grpc::StatusCode::ABORTED, "EIDRM");
  EXPECT_THAT(wait.status(), removed);
  EXPECT_THAT(completion.status(), removed);
  EXPECT_THAT(read.status(), removed);
  EXPECT_THAT(write.status(), removed);
  EXPECT_EQ(ParseErrorInfo(wait.status())->metadata.at("object"), "q");
  EXPECT_THAT(Call<v1::ListObjectsRequest>(client(), "").response.objects(),
              IsEmpty());
}

TEST_P(SleepEndTest, WriteThatHasMovedBytesSaysSoWhenThePipeIsRemoved) {
  ASSERT_THAT(
      Call<v1::CreateRequest>(
          client(), "name: 'p' pipe { capacity_bytes: 4 atomic_max_bytes: 1 }")
          .status,
      IsOk());
  Pending<v1::WriteRequest> writer(client(), "name: 'p' data: 'abcdef'");
  AwaitAsleep(1);
  ASSERT_THAT(Call<v1::RemoveRequest>(client(), "name: 'p'").status, IsOk());
  ASSERT_THAT(writer.status(), IsOk());
  EXPECT_EQ(writer.response().outcome(), v1::OUTCOME_DONE);
  EXPECT_EQ(writer.response().accepted_bytes(), 4u);
  EXPECT_EQ(writer.response().ended_by(), v1::OUTCOME_UNSPECIFIED);
  EXPECT_EQ(writer.response().ended_by_error(), "EIDRM");
}

}  // namespace
}  // namespace waitq::test
