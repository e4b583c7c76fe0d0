// Calls with a request id, over the wire.

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/client.h"
#include "tests/server/fixture.h"
#include "tests/server/wire.h"

namespace waitq::test {
namespace {

constexpr char kId[] = "request_id: '6f1c2a4e-0b1d-4c7e-9d55-1f0a8e3b2c11' ";
constexpr char kOtherId[] =
    "request_id: '00000000-0000-4000-8000-000000000000' ";

class RepeatedCallTest : public EverywhereTest {
 protected:
  static std::string Take(const std::string& more = kId) {
    return more +
           "name: 'q' condition { equal: 1 } then { set: 0 } caller: 'me'";
  }
  static std::string Cancel(const std::string& method) {
    return std::string(kId) + "name: 'q' method: '" + method + "'";
  }
};
WAITQ_TEST_EVERYWHERE(RepeatedCallTest);

TEST_P(RepeatedCallTest, EveryKindOfCallIsDoneOnce) {
  const std::string q = std::string(kId) + "name: 'q' ";
  for (int i = 0; i < 3; ++i) {
    const auto wake =
        Call<v1::WakeUpRequest>(client(), q + "update { add: 1 }");
    ASSERT_THAT(wake.status, IsOk());
    EXPECT_EQ(wake.response.value(), 1);
    EXPECT_EQ(Call<v1::StoreRequest>(client(), q + "value: 7")
                  .response.value_before(),
              1)
        << "another method: another call";
  }
  EXPECT_EQ(ValueOf("q"), 7);
  const std::string c = std::string(kId) + "name: 'c' ";
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Call<v1::CompleteRequest>(client(), c).response.done(), 1u);
    EXPECT_TRUE(Call<v1::TryWaitRequest>(client(), c).response.taken());
    EXPECT_EQ(Call<v1::CompletionWaitRequest>(client(), c + "nonblock: true")
                  .response.outcome(),
              v1::OUTCOME_WOULD_BLOCK);
    EXPECT_THAT(Call<v1::ReinitRequest>(client(), c).status, IsOk());
  }
  const std::string p = std::string(kId) + "name: 'p' ";
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(
        Call<v1::CreateRequest>(client(), p + "pipe {}").response.created());
    EXPECT_EQ(Call<v1::WriteRequest>(client(), p + "data: 'abc'")
                  .response.accepted_bytes(),
              3u);
    const auto read =
        Call<v1::ReadRequest>(client(), p + "max_bytes: 2 hold {}");
    EXPECT_EQ(read.response.data(), "ab");
    v1::AcceptRequest accept = FromText<v1::AcceptRequest>(p);
    accept.set_hold_id(read.response.hold_id());
    EXPECT_THAT(Call(client(), accept).status, IsOk());
  }
  EXPECT_EQ(StatOf("p").pipe().unread_bytes(), 1u);
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(Call<v1::RemoveRequest>(client(), p).status, IsOk());
  }
}

TEST_P(RepeatedCallTest, FailuresOfTheCallAreKeptToo) {
  Call<v1::StoreRequest>(client(), "name: 'q' value: 9223372036854775807");
  const std::string add = std::string(kId) + "name: 'q' update { add: 1 }";
  EXPECT_THAT(Call<v1::WakeUpRequest>(client(), add).status,
              FailsWith(grpc::StatusCode::OUT_OF_RANGE, "ERANGE"));
  Call<v1::StoreRequest>(client(), "name: 'q' value: 1");
  EXPECT_THAT(Call<v1::WakeUpRequest>(client(), add).status,
              FailsWith(grpc::StatusCode::OUT_OF_RANGE, "ERANGE"));
  EXPECT_EQ(ValueOf("q"), 1);
}

TEST_P(RepeatedCallTest, ASleepingCallIsTakenUpAgainAfterACut) {
  Wire wire(server().address());
  auto far = ClientOf(wire.address());
  Pending<v1::WaitRequest> first(*far, Take());
  AwaitAsleep(1);
  Pending<v1::WaitRequest> behind(client(), Take(kOtherId));
  AwaitAsleep(2);
  wire.Cut();
  EXPECT_FALSE(first.status().ok());
  EXPECT_EQ(Sleepers("q").size(), 2u) << "it keeps its place";
  Pending<v1::WaitRequest> again(client(), Take());
  // With a timeout that the first one had not: it may differ.
  Call<v1::WakeUpRequest>(client(), "name: 'q' update { set: 1 }");
  // Handed to whoever was there: the first in line if it was back by then.
  ASSERT_TRUE(Await([&] { return again.ended() || behind.ended(); }));
  Call<v1::WakeUpRequest>(client(), "name: 'q' update { set: 1 }");
  EXPECT_EQ(again.response().outcome(), v1::OUTCOME_DONE);
  EXPECT_EQ(behind.response().outcome(), v1::OUTCOME_DONE);
  EXPECT_EQ(ValueOf("q"), 0);
}

TEST_P(RepeatedCallTest, ACancelledCallSleepsOnAndTakesNothing) {
  {
    Pending<v1::WaitRequest> gone(client(), Take());
    AwaitAsleep(1);
    gone.Cancel();
    EXPECT_EQ(gone.status().error_code(), grpc::StatusCode::CANCELLED);
  }
  EXPECT_EQ(Call<v1::WakeUpRequest>(client(), "name: 'q' update { set: 1 }")
                .response.woken(),
            0u);
  EXPECT_EQ(ValueOf("q"), 1);
  const auto again = Call<v1::WaitRequest>(client(), Take());
  EXPECT_EQ(again.response.outcome(), v1::OUTCOME_DONE);
  EXPECT_EQ(ValueOf("q"), 0);
}

TEST_P(RepeatedCallTest, TheNewerCallEvictsTheOlder) {
  Pending<v1::WaitRequest> older(client(), Take());
  AwaitAsleep(1);
  const auto second = NewClient();
  Pending<v1::WaitRequest> newer(*second, Take());
  EXPECT_THAT(older.status(),
              FailsWith(grpc::StatusCode::CANCELLED, "ECANCELED"));
  EXPECT_EQ(Sleepers("q").size(), 1u);
  Call<v1::WakeUpRequest>(client(), "name: 'q' update { set: 1 }");
  EXPECT_EQ(newer.response().outcome(), v1::OUTCOME_DONE);
}

TEST_P(RepeatedCallTest, CancelByIdEndsAndForgets) {
  Pending<v1::WaitRequest> sleeper(client(), Take());
  AwaitAsleep(1);
  EXPECT_FALSE(Call<v1::CancelRequest>(client(), Cancel("Pipes/Read"))
                   .response.cancelled());
  EXPECT_TRUE(Call<v1::CancelRequest>(client(), Cancel("WaitQueues/Wait"))
                  .response.cancelled());
  EXPECT_THAT(sleeper.status(),
              FailsWith(grpc::StatusCode::CANCELLED, "ECANCELED"));
  AwaitAsleep(0);
  for (int i = 1; i <= 2; ++i) {
    EXPECT_EQ(Call<v1::WakeUpRequest>(
                  client(), std::string(kId) + "name: 'q' update { add: 1 }")
                  .response.value(),
              i);
    EXPECT_TRUE(Call<v1::CancelRequest>(client(), Cancel("WaitQueues/WakeUp"))
                    .response.cancelled())
        << "the answer is forgotten";
  }
  for (const char* method : {"", "Wait", "WaitQueues/Dance", "Tasks/Cancel",
                             "WaitQueues/Get", "Pipes/ReadStream"}) {
    EXPECT_THAT(Call<v1::CancelRequest>(client(), Cancel(method)).status,
                FailsWith(grpc::StatusCode::INVALID_ARGUMENT, "EINVAL"))
        << method;
  }
}

TEST_P(RepeatedCallTest, OtherArgumentsAndBadIdsAreRefused) {
  const std::string q = std::string(kId) + "name: 'q' ";
  ASSERT_THAT(Call<v1::WakeUpRequest>(client(), q + "update { add: 1 }").status,
              IsOk());
  EXPECT_THAT(Call<v1::WakeUpRequest>(client(), q + "update { add: 2 }").status,
              FailsWith(grpc::StatusCode::INVALID_ARGUMENT, "EINVAL"));
  for (const char* id : {"x", "6f1c2a4e-0b1d-4c7e-9d55-1f0a8e3b2c1",
                         "6f1c2a4e-0b1d-4c7e-9d55-1f0a8e3b2c1g",
                         "6f1c2a4e00b1d-4c7e-9d55-1f0a8e3b2c11"}) {
    EXPECT_THAT(Call<v1::StoreRequest>(
                    client(), std::string("name: 'q' request_id: '") + id + "'")
                    .status,
                FailsWith(grpc::StatusCode::INVALID_ARGUMENT, "EINVAL"))
        << id;
  }
  EXPECT_EQ(ValueOf("q"), 1);
}

TEST_P(RepeatedCallTest, TheTimeoutMayDifferAndTheAnswerDoesNot) {
  const auto first =
      Call<v1::WaitRequest>(client(), Take() + " timeout { nanos: 1000000 }");
  EXPECT_EQ(first.response.outcome(), v1::OUTCOME_TIMED_OUT);
  Call<v1::StoreRequest>(client(), "name: 'q' value: 1");
  const auto again =
      Call<v1::WaitRequest>(client(), Take() + " timeout { seconds: 10 }");
  EXPECT_EQ(again.response.outcome(), v1::OUTCOME_TIMED_OUT);
}

TEST_P(RepeatedCallTest, ARestartedServerSaysThatItIsAnother) {
  const auto stored = Call<v1::StoreRequest>(client(), "name: 'q' value: 5");
  const uint64_t epoch = stored.response.server_epoch();
  EXPECT_GT(epoch, 0u);
  v1::WakeUpRequest wake = FromText<v1::WakeUpRequest>(
      std::string(kId) + "name: 'q' update { add: 1 }");
  wake.set_server_epoch(epoch);
  EXPECT_THAT(Call(client(), wake).status, IsOk());
  wake.set_server_epoch(epoch - 1);  // of the server that was here before
  EXPECT_THAT(Call(client(), wake).status,
              FailsWith(grpc::StatusCode::ABORTED, "EOWNERDEAD"));
  wake.clear_request_id();
  EXPECT_THAT(Call(client(), wake).status,
              FailsWith(grpc::StatusCode::ABORTED, "EOWNERDEAD"));
  EXPECT_EQ(ValueOf("q"), 6);
}

TEST_P(RepeatedCallTest, AFullStoreRefusesBeforeItRuns) {
  options().limits.kept_answers = 1;
  Call<v1::WakeUpRequest>(client(),
                          std::string(kId) + "name: 'q' update { add: 1 }");
  const auto refused = Call<v1::WakeUpRequest>(
      client(), std::string(kOtherId) + "name: 'q' update { add: 1 }");
  EXPECT_THAT(refused.status,
              FailsWith(grpc::StatusCode::RESOURCE_EXHAUSTED, "ENOSPC"));
  EXPECT_EQ(ValueOf("q"), 1);
}

// A server that goes with detached calls asleep does not wait for them.
TEST_P(RepeatedCallTest, AServerStopsThoughCallsAreDetached) {
  {
    Pending<v1::WaitRequest> gone(client(), Take());
    AwaitAsleep(1);
  }
  StopServer();
}

}  // namespace
}  // namespace waitq::test
