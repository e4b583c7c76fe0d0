// Locks and their like when the session is lost just then.

#include <optional>
#include <stop_token>
#include <thread>

#include "absl/status/status.h"
#include "client/barrier.h"
#include "client/error.h"
#include "client/lock.h"
#include "gtest/gtest.h"
#include "tests/client/client_fixture.h"
#include "tests/client/fake_link.h"

namespace waitq {
namespace {

using test::ClientTest;
using test::ResultFromText;
using test::StreamError;

class KitFailuresTest : public ClientTest {
 protected:
  void LoseSession() {
    server_.Settle();
    server_.Close(StreamError(absl::StatusCode::kFailedPrecondition, "ESTALE"));
  }
};

// Guards OnLost() in Barrier::WaitFor(): the wait can be begun anew, but its
// arrival is undone.
TEST_F(KitFailuresTest, WhoseArrivalIsLostDoesNotWaitOnAtTheBarrier) {
  for (const OnDeath on_death :
       {OnDeath::kWithdraw, OnDeath::kBreak, OnDeath::kCount}) {
    test::FakeServer server;
    // The wait may be in the next session already when it is given up.
    server.EndWhatIsCancelled();
    const auto client = server.NewClient();
    absl::StatusOr<BarrierResult> result;
    std::thread party(
        [&] { result = Barrier(client.get(), "b", 2, on_death).Arrive(); });
    server.AwaitOperation(1);
    server.Answer(1, ResultFromText("get { value: 2 }"));
    EXPECT_EQ(server.AwaitOperation(2).wait().condition().less(), 4);
    server.Answer(2, ResultFromText("wait { outcome: OUTCOME_DONE "
                                    "value_before: 2 value_after: 3 "
                                    "generation: 7 }"));
    EXPECT_EQ(server.AwaitOperation(3).wait().condition().greater_or_equal(),
              4);
    server.Settle();
    server.Close(StreamError(absl::StatusCode::kFailedPrecondition, "ESTALE"));
    party.join();
    EXPECT_EQ(ErrorReason(result.status()), "ESTALE") << result.status();
    EXPECT_TRUE(OutcomeUnknown(result.status())) << "he counts still";
  }
}

// Guards the outcome in Barrier::Arrive(): a grant that is lost before it is
// looked at is no reason to arrive once more.
TEST_F(KitFailuresTest, WhoseArrivalIsLostAtOnceDoesNotArriveTwice) {
  absl::StatusOr<BarrierResult> result;
  std::thread party([&] { result = Barrier(&client(), "b", 2).Arrive(); });
  server_.AwaitOperation(1);
  server_.Answer(1, ResultFromText("get { value: 0 }"));
  server_.AwaitOperation(2);
  server_.Answer(2, ResultFromText("wait { outcome: OUTCOME_DONE "
                                   "value_after: 1 generation: 7 }"));
  LoseSession();
  party.join();
  EXPECT_EQ(ErrorReason(result.status()), "ESTALE") << result.status();
  EXPECT_TRUE(OutcomeUnknown(result.status()));
}

// Guards `is_undone` in PlanWait(): it may have counted, and count twice.
TEST_F(KitFailuresTest, AnArrivalIsNotBegunAnew) {
  absl::StatusOr<BarrierResult> result;
  std::thread party([&] { result = Barrier(&client(), "b", 2).Arrive(); });
  server_.AwaitOperation(1);
  server_.Answer(1, ResultFromText("get { value: 0 }"));
  server_.AwaitOperation(2);
  LoseSession();
  party.join();
  EXPECT_EQ(ErrorReason(result.status()), "ESTALE");
  EXPECT_TRUE(OutcomeUnknown(result.status()));
}

TEST_F(KitFailuresTest, WhoWaitsForALockWaitsOnInTheNextSession) {
  absl::StatusOr<Grant> grant = absl::UnknownError("");
  std::thread party([&] { grant = Lock(&client(), "l").Acquire(); });
  server_.AwaitOperation(1);
  LoseSession();
  server_.AwaitConnections(2);
  server_.AwaitOperation(1);
  server_.Answer(1, ResultFromText("wait { outcome: OUTCOME_DONE "
                                   "value_after: 1 generation: 9 }"));
  party.join();
  ASSERT_TRUE(grant.ok()) << grant.status();
  EXPECT_EQ(grant->token(), 9u);
  // Lost before it is given back.
  absl::Status why;
  grant->OnLost([&](const absl::Status& status) { why = status; });
  LoseSession();
  server_.Settle();
  EXPECT_EQ(ErrorReason(why), "ESTALE");
  EXPECT_FALSE(grant->is_held());
  EXPECT_EQ(ErrorReason(grant->GiveBack().status()), "ESTALE");
}

// Guards Keep() in Barrier::WaitFor(): taken back, the arrival would break the
// barrier that somebody has reset.
TEST_F(KitFailuresTest, WhoIsToldThatItIsBrokenDoesNotBreakItAgain) {
  absl::StatusOr<BarrierResult> result;
  std::thread party(
      [&] { result = Barrier(&client(), "b", 2, OnDeath::kBreak).Arrive(); });
  server_.AwaitOperation(1);
  server_.Answer(1, ResultFromText("get { value: 0 }"));
  server_.AwaitOperation(2);
  server_.Answer(2, ResultFromText("wait { outcome: OUTCOME_DONE "
                                   "value_after: 1 generation: 7 }"));
  server_.AwaitOperation(3);
  server_.Answer(3, ResultFromText("wait { outcome: OUTCOME_DONE "
                                   "value_after: 9223372036854775807 }"));
  party.join();
  EXPECT_EQ(ErrorReason(result.status()), "EOWNERDEAD");
  const auto kept = server_.AwaitOperation(4).wake_up();
  EXPECT_EQ(kept.grant(), 7u);
  EXPECT_TRUE(kept.has_update());
  EXPECT_EQ(kept.update().add(), 0);
}

// Guards the look for EIDRM in Barrier::WaitFor(): the next barrier of that
// name would have one party too few.
TEST_F(KitFailuresTest, WhoCountsAtARemovedBarrierTakesNothingBackFromTheNext) {
  // What must not come would be answered.
  server_.set_script([](const v1::Operation& operation) {
    return operation.wait().then().add() == -1
               ? std::optional(ResultFromText("wait { outcome: OUTCOME_DONE }"))
               : std::nullopt;
  });
  absl::StatusOr<BarrierResult> result;
  std::thread party(
      [&] { result = Barrier(&client(), "b", 2, OnDeath::kCount).Arrive(); });
  server_.AwaitOperation(1);
  server_.Answer(1, ResultFromText("get { value: 0 }"));
  server_.AwaitOperation(2);
  server_.Answer(2, ResultFromText("wait { outcome: OUTCOME_DONE "
                                   "value_after: 1 generation: 7 }"));
  server_.AwaitOperation(3);
  server_.Answer(3, test::Failure(absl::StatusCode::kAborted, "EIDRM"));
  party.join();
  EXPECT_EQ(ErrorReason(result.status()), "EIDRM");
  const auto kept = server_.AwaitOperation(4).wake_up();
  EXPECT_EQ(kept.grant(), 7u) << "it is a wake-up of the grant, and no wait";
  server_.Settle();
  EXPECT_EQ(server_.operations(), 4u);
}

// Guards `seen_generation` in Barrier: a barrier may be removed, and another
// one be there, between any two of its calls. (Found by tests/faults:rounds:
// who had come to the one slept at the other for a round that he was not
// counted in.)
TEST_F(KitFailuresTest, WhoComesMeansOneBarrierInAllThatHeDoes) {
  absl::StatusOr<BarrierResult> result;
  std::stop_source leave;
  std::thread party([&] {
    result = Barrier(&client(), "b", 2, OnDeath::kCount)
                 .Arrive({}, leave.get_token());
  });
  server_.AwaitOperation(1);
  server_.Answer(1, ResultFromText("get { value: 2 generation: 5 }"));
  EXPECT_EQ(server_.AwaitOperation(2).wait().seen_generation(), 5u);
  // It was removed meanwhile: he comes to the next one.
  server_.Answer(2, test::Failure(absl::StatusCode::kAborted, "EIDRM"));
  server_.AwaitOperation(3);
  server_.Answer(3, ResultFromText("get { value: 0 generation: 6 }"));
  EXPECT_EQ(server_.AwaitOperation(4).wait().seen_generation(), 6u);
  server_.Answer(4, ResultFromText("wait { outcome: OUTCOME_DONE "
                                   "value_after: 1 generation: 7 }"));
  EXPECT_EQ(server_.AwaitOperation(5).wait().seen_generation(), 7u);
  server_.EndWhatIsCancelled();
  leave.request_stop();
  // What he takes back is his own arrival.
  server_.AwaitOperation(6);  // the grant is kept
  const auto back = server_.AwaitOperation(7).wait();
  EXPECT_EQ(back.then().add(), -1);
  EXPECT_EQ(back.seen_generation(), 7u);
  server_.Answer(6, ResultFromText("wake_up { }"));
  server_.Answer(7, ResultFromText("wait { outcome: OUTCOME_DONE "
                                   "value_before: 1 generation: 8 }"));
  party.join();
  EXPECT_EQ(ErrorReason(result.status()), "ECANCELED") << result.status();
}

// Guards Grant::GiveBack(): the grant is nobody's any more when it is called.
TEST_F(KitFailuresTest, WhoIsStoppedOrMayNotWaitGivesItBackAllTheSame) {
  for (const bool in_callback : {false, true}) {
    test::FakeServer server;
    const auto client = server.NewClient();
    absl::StatusOr<Grant> grant = absl::UnknownError("");
    std::thread party([&] { grant = Lock(client.get(), "l").Acquire(); });
    server.AwaitOperation(1);
    server.Answer(1, ResultFromText("wait { outcome: OUTCOME_DONE "
                                    "value_after: 1 generation: 9 }"));
    party.join();
    ASSERT_TRUE(grant.ok()) << grant.status();
    if (in_callback) {
      absl::Status back;
      client->Wait("x", {}, [&](const absl::StatusOr<WaitResult>&) {
        back = grant->GiveBack().status();
      });
      server.AwaitOperation(2);
      server.Answer(2, ResultFromText("wait { outcome: OUTCOME_DONE }"));
      EXPECT_EQ(server.AwaitOperation(3).wake_up().grant(), 9u);
      server.Settle();
      EXPECT_EQ(ErrorReason(back), "EDEADLK");
    } else {
      std::stop_source stop;
      stop.request_stop();
      EXPECT_TRUE(
          absl::IsCancelled(grant->GiveBack({}, stop.get_token()).status()));
      EXPECT_EQ(server.AwaitOperation(2).wake_up().grant(), 9u);
    }
  }
}

// The last one came at the moment at which this one was stopped.
TEST_F(KitFailuresTest, WhoIsStoppedWhenTheRoundIsPassedHasPassedIt) {
  absl::StatusOr<BarrierResult> result;
  std::stop_source stop;
  std::thread party([&] {
    result = Barrier(&client(), "b", 2).Arrive({}, stop.get_token());
  });
  server_.AwaitOperation(1);
  server_.Answer(1, ResultFromText("get { value: 0 }"));
  server_.AwaitOperation(2);
  server_.Answer(2, ResultFromText("wait { outcome: OUTCOME_DONE "
                                   "value_after: 1 generation: 7 }"));
  server_.AwaitOperation(3);
  stop.request_stop();
  server_.AwaitCancel(3);
  server_.Answer(3, test::Failure(absl::StatusCode::kCancelled, "ECANCELED"));
  EXPECT_EQ(server_.AwaitOperation(4).wake_up().grant(), 7u);
  server_.Answer(4, ResultFromText("wake_up { value: 2 }"));
  party.join();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->outcome, Outcome::kDone);
}

}  // namespace
}  // namespace waitq
