// Calls that are stopped, calls with callbacks, and when a result is whose.

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/error.h"
#include "gtest/gtest.h"
#include "tests/client/client_fixture.h"
#include "tests/client/fake_link.h"
#include "tests/support/wait_until.h"
#include "transport/channel_arguments.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq {
namespace {

using test::ClientTest;
using test::EveryCall;
using test::Failure;
using test::FakeServer;
using test::kDoneText;
using test::ReadOf;
using test::ResultFromText;
using test::WriteOf;

// --- Stopping ----------------------------------------------------------------

TEST_F(ClientTest, AStopThatCameBeforeTheCallMeansThatNothingIsSent) {
  std::stop_source stop;
  stop.request_stop();
  for (const absl::Status& status : EveryCall(client(), stop.get_token())) {
    EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
    EXPECT_EQ(ErrorReason(status), "ECANCELED");
    EXPECT_EQ(ErrorObject(status), "o");
    EXPECT_FALSE(OutcomeUnknown(status));
  }
  EXPECT_EQ(server_.connections(), 0);
}

TEST_F(ClientTest, AStopEndsASleepingCall) {
  std::stop_source stop;
  std::jthread stopper([&] {
    server_.AwaitOperation(1);
    server_.Settle();
    stop.request_stop();
    server_.AwaitCancel(1);
    server_.Answer(1, Failure(absl::StatusCode::kCancelled, "ECANCELED"));
  });
  const absl::Status status =
      client().Wait("flag", {}, stop.get_token()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(ErrorReason(status), "ECANCELED");
  EXPECT_FALSE(OutcomeUnknown(status)) << "the server has said it";
}

TEST_F(ClientTest, AnAnswerThatMeetsTheStopCounts) {
  std::stop_source stop;
  std::jthread stopper([&] {
    server_.AwaitOperation(1);
    server_.Settle();
    stop.request_stop();
    server_.AwaitCancel(1);
    server_.Answer(1, ResultFromText(kDoneText));
  });
  EXPECT_TRUE(client().Wait("flag", {}, stop.get_token()).ok());
}

TEST_F(ClientTest, AStopThatNobodyAnswersEndsTheCallAllTheSame) {
  std::stop_source stop;
  absl::Notification returned;
  std::jthread caller([&] {
    const absl::Status status =
        client().Wait("flag", {}, stop.get_token()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
    EXPECT_TRUE(OutcomeUnknown(status));
    returned.Notify();
  });
  server_.AwaitOperation(1);
  server_.Settle();
  stop.request_stop();
  server_.AwaitCancel(1);
  // The time that it is given runs from a moment that nobody sees.
  test::WaitUntil([&] {
    server_.Advance(absl::Milliseconds(250));
    return returned.HasBeenNotified();
  });
  // What comes of it all the same is given back.
  server_.AwaitReturned(server_.Answer(1, ResultFromText(kDoneText)));
}

TEST_F(ClientTest, WithoutAConnectionAStopEndsTheCallAtOnce) {
  std::stop_source stop;
  std::jthread stopper([&] {
    server_.AwaitOperation(1);
    server_.Settle();
    server_.Refuse(absl::UnavailableError("down"), /*sent=*/false);
    server_.Cut();
    server_.AwaitConnections(2);
    server_.Settle();
    stop.request_stop();
  });
  const absl::Status status =
      client().Wait("flag", {}, stop.get_token()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(OutcomeUnknown(status));
  // The server hears of it when it can.
  server_.Refuse(absl::OkStatus(), false);
  server_.Advance(absl::Seconds(2));
  server_.AwaitCancel(1);
}

TEST_F(ClientTest, AStopAfterTheCallDoesNothing) {
  AnswerAll(kDoneText);
  std::stop_source stop;
  EXPECT_TRUE(client().Wait("flag", {}, stop.get_token()).ok());
  stop.request_stop();
  server_.Advance(absl::Seconds(1));
  EXPECT_FALSE(server_.IsCancelled(1));
}

// --- Callbacks ---------------------------------------------------------------

// Starts the calls that have a callback; each counts down.
std::vector<CallId> StartAll(Client& client, std::atomic<int>& left,
                             absl::Notification& done,
                             absl::StatusCode expected) {
  const auto count = [&left, &done, expected](const auto& result) {
    EXPECT_EQ(result.status().code(), expected) << result.status();
    if (left.fetch_sub(1) == 1) done.Notify();
  };
  left = 7;
  return {
      client.Wait("o", {}, count),          client.WakeUp("o", {}, count),
      client.Await("o", {}, count),         client.Complete("o", 1, count),
      client.Read("o", {}, count),          client.Write("o", "x", {}, count),
      client.Poll("o", {.in = true}, count)};
}

TEST_F(ClientTest, CallbacksAreToldResultsOnTheClientsThread) {
  server_.set_script([](const v1::Operation& operation) {
    if (operation.has_wait()) return ResultFromText(kDoneText);
    if (operation.has_wake_up()) return ResultFromText("wake_up { woken: 2 }");
    if (operation.has_completion_wait()) {
      return ResultFromText("completion_wait { outcome: OUTCOME_DONE }");
    }
    if (operation.has_complete()) return ResultFromText("complete { done: 4 }");
    if (operation.has_read()) return ReadOf("abc", 1);
    if (operation.has_write()) return WriteOf(1);
    return ResultFromText("poll { outcome: OUTCOME_DONE in: true }");
  });
  const std::thread::id here = std::this_thread::get_id();
  std::atomic<int> left = 7;
  absl::Notification done;
  const auto told = [&](bool right) {
    EXPECT_TRUE(right);
    EXPECT_NE(std::this_thread::get_id(), here);
    if (left.fetch_sub(1) == 1) done.Notify();
  };
  Client& c = client();
  c.Wait("o", {}, [&](absl::StatusOr<WaitResult> result) {
    told(result->outcome == Outcome::kDone);
  });
  c.WakeUp("o", {}, [&](absl::StatusOr<WakeResult> result) {
    told(result->woken == 2);
  });
  c.Await("o", {}, [&](absl::StatusOr<AwaitResult> result) {
    told(result->outcome == Outcome::kDone);
  });
  c.Complete("o", 1, [&](absl::StatusOr<CompleteResult> result) {
    told(result->done == 4);
  });
  c.Read("o", {}, [&](absl::StatusOr<ReadResult> result) {
    told(result->data == "abc");
  });
  c.Write("o", "x", {}, [&](absl::StatusOr<WriteResult> result) {
    told(result->accepted_bytes == 1);
  });
  c.Poll("o", {.in = true},
         [&](absl::StatusOr<PollResult> result) { told(result->in); });
  done.WaitForNotification();
  // In the order of the calls.
  EXPECT_TRUE(server_.AwaitOperation(1).has_wait());
  EXPECT_TRUE(server_.AwaitOperation(7).has_poll());
}

TEST_F(ClientTest, CancelEndsTheCallThatItNames) {
  std::atomic<int> left;
  absl::Notification done;
  const std::vector<CallId> calls =
      StartAll(client(), left, done, absl::StatusCode::kCancelled);
  EXPECT_EQ(std::set<CallId>(calls.begin(), calls.end()).size(), calls.size());
  server_.AwaitOperation(calls.size());
  server_.Settle();
  for (size_t i = calls.size(); i > 0; --i) {
    client().Cancel(calls[i - 1]);
    server_.AwaitCancel(i);
    EXPECT_FALSE(server_.IsCancelled(i - 1));
    server_.Answer(i, Failure(absl::StatusCode::kCancelled, "ECANCELED"));
  }
  done.WaitForNotification();
  client().Cancel(calls[0]);  // has ended
  client().Cancel(0);
  client().Cancel(12345);
}

TEST_F(ClientTest, ACallThatWasNotSentIsCancelledWithoutAWord) {
  // While a callback runs nothing goes out.
  AnswerAll("wake_up {}");
  absl::Notification told;
  client().WakeUp("o", {}, [&](const auto&) {
    const CallId call = client().Wait("never", {}, [&](const auto& result) {
      EXPECT_EQ(ErrorReason(result.status()), "ECANCELED");
      EXPECT_FALSE(OutcomeUnknown(result.status()));
      told.Notify();
    });
    client().Cancel(call);
    EXPECT_FALSE(told.HasBeenNotified()) << "that is told after this callback";
  });
  told.WaitForNotification();
  server_.Advance(absl::Seconds(1));
  for (const v1::SessionRequest& request : server_.requests()) {
    EXPECT_FALSE(absl::StrContains(request.ShortDebugString(), "never"));
  }
}

TEST_F(ClientTest, ACallbackMayStartAndCancelCalls) {
  absl::Notification told;
  server_.set_script(
      [](const v1::Operation& operation) -> std::optional<v1::Result> {
        if (operation.has_wake_up()) return ResultFromText("wake_up {}");
        return std::nullopt;
      });
  std::vector<CallId> sleepers;
  client().WakeUp("o", {}, [&](const auto&) {
    for (int i = 0; i < 100; ++i) {
      sleepers.push_back(client().Wait("o", {}, [&, i](const auto& result) {
        EXPECT_EQ(ErrorReason(result.status()), "ECANCELED");
        if (i == 99) told.Notify();
      }));
    }
  });
  server_.AwaitOperation(101);
  // All in one message.
  EXPECT_EQ(server_.requests().back().operations_size(), 100);
  server_.Settle();
  for (int i = 0; i < 100; ++i) {
    client().Cancel(sleepers[i]);
    server_.AwaitCancel(i + 2);
    server_.Answer(i + 2, Failure(absl::StatusCode::kCancelled, "ECANCELED"));
  }
  told.WaitForNotification();
}

TEST_F(ClientTest, ACallThatWaitsInACallbackIsRefused) {
  AnswerAll("wake_up {}");
  absl::Notification told;
  client().WakeUp("o", {}, [&](const auto&) {
    for (const absl::Status& status : EveryCall(client(), {})) {
      EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
      EXPECT_EQ(ErrorReason(status), "EDEADLK");
      EXPECT_EQ(ErrorObject(status), "o");
    }
    told.Notify();
  });
  told.WaitForNotification();
  EXPECT_EQ(server_.operations(), 1u);
  EXPECT_TRUE(client().WakeUp("o").ok()) << "and afterwards it is not";
}

TEST_F(ClientTest, ACallbackMayWaitForACallOfAnotherClient) {
  AnswerAll("wake_up {}");
  FakeServer another_server;
  another_server.set_script(
      [](const v1::Operation&) { return ResultFromText("get { value: 3 }"); });
  const auto another = another_server.NewClient();
  absl::Notification told;
  client().WakeUp("o", {}, [&](const auto&) {
    EXPECT_EQ(another->Get("o")->value, 3);
    told.Notify();
  });
  told.WaitForNotification();
}

// --- Whose a result is -------------------------------------------------------

TEST_F(ClientTest, AResultIsTakenWhenItsCallHasReturned) {
  // The call is held between its answer and its return: it has to wait for its
  // own stop, which waits in the link.
  absl::Notification stopping, go_on;
  server_.set_before_write_returns([&](const v1::SessionRequest& request) {
    if (request.cancels_size() == 0) return;
    stopping.Notify();
    go_on.WaitForNotification();
  });
  std::stop_source stop;
  std::jthread caller([&] {
    EXPECT_EQ(client().Read("p", {}, stop.get_token())->data, "abc");
  });
  server_.AwaitOperation(1);
  server_.Settle();
  std::jthread stopper([&] { stop.request_stop(); });
  stopping.WaitForNotification();
  const uint64_t result = server_.Answer(1, ReadOf("abc", 0));
  server_.Settle();
  // What is said meanwhile does not say it.
  client().WakeUp("o", {}, [](const auto&) {});
  server_.AwaitOperation(2);
  server_.Advance(absl::Seconds(1));
  EXPECT_FALSE(server_.IsTaken(result));
  go_on.Notify();
  caller.join();
  server_.AwaitTaken(result);
}

TEST_F(ClientTest, AResultIsTakenWhenItsCallbackHasReturned) {
  absl::Notification called, go_on;
  client().Read("p", {}, [&](const absl::StatusOr<ReadResult>& result) {
    EXPECT_EQ(result->data, "abc");
    called.Notify();
    go_on.WaitForNotification();
  });
  server_.AwaitOperation(1);
  server_.Settle();
  const uint64_t result = server_.Answer(1, ReadOf("abc", 0));
  called.WaitForNotification();
  client().WakeUp("o", {}, [](const auto&) {});
  server_.AwaitOperation(2);
  EXPECT_FALSE(server_.IsTaken(result));
  go_on.Notify();
  server_.AwaitTaken(result);
}

TEST_F(ClientTest, WhatNobodyWaitsForIsSaidWithTheNextMessageOrALittleLater) {
  AnswerAll("wake_up {}");
  EXPECT_TRUE(client().WakeUp("o").ok());
  server_.Settle();
  EXPECT_FALSE(server_.IsTaken(1));
  EXPECT_TRUE(client().WakeUp("o").ok());
  EXPECT_TRUE(server_.IsTaken(1));
  EXPECT_FALSE(server_.IsTaken(2));
  server_.Advance(absl::Milliseconds(20));
  server_.AwaitTaken(2);
}

TEST_F(ClientTest, NoMessageIsLongerThanAServerTakes) {
  int reads = 0;
  server_.set_script([&](const v1::Operation& operation) {
    if (operation.has_open()) return test::OpenAt(0);
    if (operation.has_read()) return ReadOf("abc", reads++);
    if (operation.has_write()) return WriteOf(1);
    return ResultFromText("wake_up {}");
  });
  // As long as this is used, what is taken after it is said one by one.
  auto reader = client().OpenReader("p", {.window_bytes = 3}).value();
  EXPECT_EQ(reader->Read()->data, "abc");
  constexpr int kCalls = 900;
  absl::Notification told;
  client().WakeUp("o", {}, [&](const auto&) {
    for (int i = 1; i <= kCalls; ++i) {
      client().WakeUp("o", {}, [&, i](const auto&) {
        if (i == kCalls) told.Notify();
      });
    }
  });
  told.WaitForNotification();
  server_.Settle();
  const std::string data(kMaxMessageBytes - 1024, 'x');
  EXPECT_TRUE(client().Write("p", data).ok());
  for (const v1::SessionRequest& request : server_.requests()) {
    EXPECT_LE(request.ByteSizeLong(), size_t{kMaxMessageBytes});
  }
  EXPECT_FALSE(server_.IsTaken(2));
  EXPECT_TRUE(server_.IsTaken(kCalls));
}

TEST_F(ClientTest, TheGoodbyeSaysWhatWasTaken) {
  AnswerAll("wake_up {}");
  EXPECT_TRUE(client().WakeUp("o").ok());
  client_ = nullptr;
  EXPECT_TRUE(server_.requests().back().end());
  EXPECT_TRUE(server_.IsTaken(1));
}

TEST_F(ClientTest, TheClientsEndEndsCallsUnderWay) {
  std::atomic<int> left;
  absl::Notification done;
  const std::vector<CallId> calls =
      StartAll(client(), left, done, absl::StatusCode::kCancelled);
  server_.AwaitOperation(calls.size());
  server_.Settle();
  client_ = nullptr;
  EXPECT_TRUE(done.HasBeenNotified());
  EXPECT_TRUE(server_.requests().back().end());
}

TEST_F(ClientTest, CallbacksThatGoOnForEverDoNotKeepAClientAlive) {
  Client& going = client();
  std::atomic<int> told = 0;
  std::function<void()> wait = [&] {
    going.Wait("flag", {}, [&](const absl::StatusOr<WaitResult>&) {
      ++told;
      wait();
    });
  };
  wait();
  server_.AwaitOperation(1);
  server_.Answer(1, ResultFromText(kDoneText));
  server_.AwaitOperation(2);
  server_.Settle();
  client_.reset();
  EXPECT_EQ(told, 2);
}

TEST(ClientDeathTest, AClientThatIsDestroyedInItsCallbackSaysWhatIsForbidden) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  constexpr char kForbidden[] = "destroyed within a callback of its own";
  EXPECT_DEATH(
      {
        FakeServer server;
        std::unique_ptr<Client> client = server.NewClient();
        client->Wait("flag", {}, [&](const absl::StatusOr<WaitResult>&) {
          client.reset();
        });
        server.AwaitOperation(1);
        server.Answer(1, ResultFromText(kDoneText));
        absl::Notification().WaitForNotificationWithTimeout(absl::Minutes(1));
      },
      kForbidden);
  // Also on a thread of the program's, within its call.
  EXPECT_DEATH(
      {
        FakeServer server;
        server.set_mute(true);
        std::unique_ptr<Client> client = server.NewClient();
        const CallId call = client->Wait(
            "flag", {},
            [&](const absl::StatusOr<WaitResult>&) { client.reset(); });
        client->Cancel(call);
      },
      kForbidden);
}

TEST_F(ClientTest, AClientThatWasNotUsedSaysNothing) {
  client();
  client_ = nullptr;
  EXPECT_EQ(server_.connections(), 0);
}

}  // namespace
}  // namespace waitq
