// How calls fail, and whether it is known that nothing happened.

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/error.h"
#include "gtest/gtest.h"
#include "tests/client/client_fixture.h"
#include "tests/client/fake_link.h"
#include "transport/channel_arguments.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq {
namespace {

using test::ClientTest;
using test::EveryCall;
using test::Failure;
using test::FakeServer;
using test::kDoneText;
using test::ResultFromText;
using test::StreamError;
using test::WriteOf;

TEST_F(ClientTest, EveryFailureKeepsItsCodeAndItsReason) {
  constexpr std::pair<absl::StatusCode, const char*> kFailures[] = {
      {absl::StatusCode::kCancelled, "ECANCELED"},
      {absl::StatusCode::kInvalidArgument, "EINVAL"},
      {absl::StatusCode::kDeadlineExceeded, "ETIME"},
      {absl::StatusCode::kNotFound, "ENOENT"},
      {absl::StatusCode::kAlreadyExists, "EEXIST"},
      {absl::StatusCode::kResourceExhausted, "ENOSPC"},
      {absl::StatusCode::kFailedPrecondition, "EPIPE"},
      {absl::StatusCode::kAborted, "EIDRM"},
      {absl::StatusCode::kOutOfRange, "ERANGE"},
  };
  for (const auto& [code, reason] : kFailures) {
    AnswerAll(Failure(code, reason));
    for (const absl::Status& status : {client().Wait("o").status(),
                                       client().WakeUp("o").status(),
                                       client().Get("o").status(),
                                       client().Store("o", 1).status(),
                                       client().Await("o").status(),
                                       client().TryWait("o").status(),
                                       client().Complete("o").status(),
                                       client().CompleteAll("o").status(),
                                       client().Reinit("o").status(),
                                       client().Done("o").status(),
                                       client().Read("o").status(),
                                       client().Accept("o", 1),
                                       client().Release("o", 1),
                                       client().Write("o", "x").status(),
                                       client().Poll("o", {}).status(),
                                       client().OpenReader("o").status(),
                                       client().OpenWriter("o").status(),
                                       client().CreateWaitQueue("o").status(),
                                       client().CreateCompletion("o").status(),
                                       client().CreatePipe("o").status(),
                                       client().Remove("o").status()}) {
      EXPECT_EQ(status.code(), code);
      EXPECT_EQ(status.message(), absl::StrCat("so it is: ", reason));
      EXPECT_EQ(ErrorReason(status), reason);
      EXPECT_EQ(ErrorObject(status), "o") << "the object of the call";
      EXPECT_FALSE(OutcomeUnknown(status)) << status;
    }
  }
}

TEST_F(ClientTest, WhatTheServerSaysOfAFailureArrives) {
  v1::Result result =
      Failure(absl::StatusCode::kResourceExhausted, "ENOSPC",
              {{"object", "another"}, {"limit", "sleepers"}, {"signal", "15"}});
  result.mutable_failure()->mutable_retry_after()->set_seconds(2);
  AnswerAll(result);
  const absl::Status status = client().Wait("flag").status();
  EXPECT_EQ(ErrorObject(status), "another");
  EXPECT_EQ(ErrorLimit(status), "sleepers");
  EXPECT_EQ(ErrorSignal(status), 15);
  EXPECT_EQ(ErrorRetryAfter(status), absl::Seconds(2));
  EXPECT_EQ(ErrorAcceptedBytes(status), std::nullopt);
}

TEST_F(ClientTest, FailedCallsLeaveRoomForOthers) {
  // With room for one at a time, one that was counted wrongly would be felt.
  server_.hello().set_operations_max(1);
  AnswerAll(Failure(absl::StatusCode::kNotFound, "ENOENT"));
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(ErrorReason(client().Get("flag").status()), "ENOENT");
    absl::Notification told;
    client().WakeUp("flag", {}, [&](const absl::StatusOr<WakeResult>& result) {
      EXPECT_EQ(ErrorReason(result.status()), "ENOENT");
      told.Notify();
    });
    told.WaitForNotification();
  }
  AnswerAll("get { value: 1 }");
  EXPECT_TRUE(client().Get("flag").ok());
}

TEST_F(ClientTest, AnOutcomeOfANewerServerIsAnError) {
  const auto is_internal = [&](const v1::Result& result, auto call) {
    AnswerAll(result);
    EXPECT_EQ(call().status().code(), absl::StatusCode::kInternal)
        << result.ShortDebugString();
  };
  constexpr auto kNew = static_cast<v1::Outcome>(99);
  v1::Result result;
  result.mutable_wait()->set_outcome(kNew);
  is_internal(result, [&] { return client().Wait("o"); });
  result.mutable_completion_wait()->set_outcome(kNew);
  is_internal(result, [&] { return client().Await("o"); });
  result.mutable_read()->set_outcome(kNew);
  is_internal(result, [&] { return client().Read("o"); });
  result.mutable_poll()->set_outcome(kNew);
  is_internal(result, [&] { return client().Poll("o", {}); });
  result.mutable_write()->set_outcome(kNew);
  is_internal(result, [&] { return client().Write("o", "x"); });
  result.mutable_write()->set_outcome(v1::OUTCOME_DONE);
  result.mutable_write()->set_ended_by(kNew);
  is_internal(result, [&] { return client().Write("o", "x"); });
  // And so is none at all.
  is_internal(v1::Result(), [&] { return client().Wait("o"); });
}

TEST_F(ClientTest, TheLargestWritePassesAndALargerOneIsNotSent) {
  AnswerAll(WriteOf(1));
  const std::string data(kMaxMessageBytes - 1024, 'x');
  EXPECT_TRUE(client().Write("p", data).ok());
  EXPECT_EQ(got().write().data().size(), data.size());
  const uint64_t before = server_.operations();
  const absl::Status status = client().Write("p", data + "x").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ErrorReason(status), "EMSGSIZE");
  EXPECT_EQ(ErrorObject(status), "p");
  EXPECT_TRUE(absl::StrContains(status.message(), "4193280")) << status;
  absl::Status told;
  EXPECT_EQ(client().Write("p", data + "x", {},
                           [&](const absl::StatusOr<WriteResult>& result) {
                             told = result.status();
                           }),
            0u);
  EXPECT_EQ(ErrorReason(told), "EMSGSIZE");
  EXPECT_EQ(server_.operations(), before);
}

// --- Whether it has happened -------------------------------------------------

TEST_F(ClientTest, ARefusedConnectionIsAnErrorThatLeavesNothingUnknown) {
  server_.Refuse(absl::UnavailableError("no server there"), /*sent=*/false);
  const absl::Status status = client().WakeUp("flag").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(status.message(), "no server there");
  EXPECT_EQ(ErrorObject(status), "flag");
  EXPECT_FALSE(OutcomeUnknown(status));
  // The next call tries again.
  server_.Refuse(absl::OkStatus(), false);
  AnswerAll("wake_up { woken: 1 }");
  EXPECT_TRUE(client().WakeUp("flag").ok());
}

TEST_F(ClientTest, AServerThatTakesNoSessionSaysWhy) {
  server_.Refuse(StreamError(absl::StatusCode::kResourceExhausted, "ENOSPC"),
                 true);
  const absl::Status status = client().WakeUp("flag").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ErrorReason(status), "ENOSPC");
  EXPECT_FALSE(OutcomeUnknown(status));
}

TEST_F(ClientTest, AConnectionLostBeforeTheSessionLeavesTheOutcomeUnknown) {
  server_.set_mute(true);
  std::jthread cutter([&] {
    server_.AwaitOperation(1);
    // The next one does not know of it.
    server_.RunOnClientThread([&] {
      server_.set_mute(false);
      server_.Cut();
    });
  });
  const absl::Status status = client().WakeUp("flag").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ErrorReason(status), "");
  EXPECT_TRUE(OutcomeUnknown(status));
}

TEST_F(ClientTest, WhatCannotHappenTwiceGoesOnWithAnotherSession) {
  server_.set_mute(true);
  std::jthread cutter([&] {
    server_.AwaitOperation(1);
    // In one step, as the client's thread sees it.
    server_.RunOnClientThread([&] {
      server_.set_mute(false);
      AnswerAll("get { value: 1 }");
      server_.Cut();
    });
  });
  EXPECT_EQ(client().Get("flag")->value, 1);
  EXPECT_EQ(server_.connections(), 2);
}

TEST_F(ClientTest, AfterADrainAServerIsLookedForUntilOneAnswers) {
  absl::Notification told;
  client().Wait("flag", {}, [&](const absl::StatusOr<WaitResult>& result) {
    EXPECT_TRUE(result.ok()) << result.status();
    told.Notify();
  });
  server_.AwaitOperation(1);
  server_.Settle();
  server_.Answer(1, Failure(absl::StatusCode::kUnavailable, "ESHUTDOWN"));
  const absl::Status stops =
      StreamError(absl::StatusCode::kUnavailable, "ESHUTDOWN");
  server_.Close(stops);
  server_.Settle();
  // Sessions that end before they have begun; and a server that says nothing.
  server_.Refuse(stops, /*sent=*/true);
  server_.Advance(absl::Seconds(5));
  EXPECT_GE(server_.connections(), 3);
  server_.Refuse(absl::OkStatus(), false);
  server_.set_mute(true);
  server_.Advance(absl::Seconds(40));
  EXPECT_FALSE(told.HasBeenNotified());
  server_.set_mute(false);
  AnswerAll("wait { outcome: OUTCOME_DONE }");
  server_.Advance(absl::Seconds(20));
  told.WaitForNotification();
}

TEST_F(ClientTest, ACallSurvivesItsConnection) {
  std::jthread cutter([&] {
    server_.AwaitOperation(1);
    server_.Settle();
    server_.Cut();
    server_.AwaitConnections(2);
    server_.Settle();
    server_.Answer(1, ResultFromText("wake_up { woken: 1 }"));
  });
  EXPECT_TRUE(client().WakeUp("flag").ok());
  uint64_t sent = 0;
  for (const v1::SessionRequest& request : server_.requests()) {
    sent += request.operations_size();
  }
  EXPECT_EQ(sent, 1u) << "the server has had it";
}

// What a call that was under way says when its session ends so.
absl::Status LostBy(absl::StatusCode code, const std::string& reason) {
  FakeServer server;
  const auto client = server.NewClient();
  std::jthread closer([&] {
    server.AwaitOperation(1);
    server.Settle();
    server.Close(StreamError(code, reason));
  });
  return client->WakeUp("flag").status();
}

TEST(ClientSessionTest, ALostSessionLeavesTheOutcomeUnknown) {
  for (const auto& [code, reason] :
       {std::pair(absl::StatusCode::kAborted, "EOWNERDEAD"),
        std::pair(absl::StatusCode::kFailedPrecondition, "ESTALE")}) {
    const absl::Status status = LostBy(code, reason);
    EXPECT_EQ(status.code(), absl::StatusCode::kAborted) << status;
    EXPECT_EQ(ErrorReason(status), reason);
    EXPECT_EQ(ErrorObject(status), "flag");
    EXPECT_TRUE(OutcomeUnknown(status)) << status;
  }
  // It has not said that it did not do it, and is no more.
  const absl::Status stopped =
      LostBy(absl::StatusCode::kUnavailable, "ESHUTDOWN");
  EXPECT_EQ(stopped.code(), absl::StatusCode::kAborted) << stopped;
  EXPECT_EQ(ErrorReason(stopped), "EOWNERDEAD");
  EXPECT_TRUE(OutcomeUnknown(stopped)) << stopped;
}

TEST_F(ClientTest, WithoutAnAnswerTheSessionIsGivenUpBeforeItsGraceEnds) {
  absl::Notification told;
  client().WakeUp("flag", {}, [&](const absl::StatusOr<WakeResult>& result) {
    EXPECT_EQ(ErrorReason(result.status()), "ESTALE");
    EXPECT_TRUE(OutcomeUnknown(result.status()));
    told.Notify();
  });
  server_.AwaitOperation(1);
  server_.Settle();
  server_.Refuse(absl::UnavailableError("down"), /*sent=*/false);
  server_.Cut();
  server_.Settle();
  server_.Advance(absl::Seconds(26));
  EXPECT_FALSE(told.HasBeenNotified());
  server_.Advance(absl::Seconds(1));
  told.WaitForNotification();
}

TEST_F(ClientTest, WhatCannotHappenTwiceIsBegunAnewWithWhatIsLeftOfItsTime) {
  absl::Notification told;
  client().Wait(
      "flag", {.condition = Condition::Equal(1), .timeout = absl::Seconds(100)},
      [&](const absl::StatusOr<WaitResult>& result) {
        EXPECT_EQ(result->outcome, Outcome::kDone);
        told.Notify();
      });
  const auto is_lost = [](const absl::StatusOr<WaitResult>& result) {
    EXPECT_EQ(ErrorReason(result.status()), "ESTALE");
    EXPECT_TRUE(OutcomeUnknown(result.status()));
  };
  client().Wait("flag",
                {.condition = Condition::Equal(0), .then = Action::Set(1)},
                is_lost);
  // The wake that it is for may have come.
  client().Wait("flag", {}, is_lost);
  // Of several, if none of them may have happened.
  const Alternative look =
      Alternative::Wait("flag", {.condition = Condition::Equal(1)});
  absl::Notification any_told;
  client().WaitAny({look, Alternative::Await("job"), Alternative::Read("pipe")},
                   {.timeout = absl::Seconds(100)},
                   [&](const absl::StatusOr<WaitAnyResult>& result) {
                     EXPECT_EQ(result->alternative, 1u);
                     any_told.Notify();
                   });
  client().WaitAny(
      {look, Alternative::Wait("flag", {.condition = Condition::Equal(0),
                                        .then = Action::Set(1)})},
      {}, [&](const absl::StatusOr<WaitAnyResult>& result) {
        EXPECT_EQ(ErrorReason(result.status()), "ESTALE");
      });
  server_.AwaitOperation(5);
  server_.Advance(absl::Seconds(40));
  server_.Close(StreamError(absl::StatusCode::kFailedPrecondition, "ESTALE"));
  server_.AwaitConnections(2);
  server_.Settle();
  EXPECT_EQ(server_.operations(), 2u) << "what acts may have happened";
  EXPECT_EQ(server_.AwaitOperation(1).wait().timeout().seconds(), 60);
  EXPECT_EQ(server_.AwaitOperation(2).wait_any().timeout().seconds(), 60);
  server_.Answer(1, ResultFromText(kDoneText));
  server_.Answer(2, ResultFromText("wait_any { outcome: OUTCOME_DONE "
                                   "alternative: 1 completion_wait { "
                                   "outcome: OUTCOME_DONE } }"));
  told.WaitForNotification();
  any_told.WaitForNotification();
}

TEST_F(ClientTest, WhatMeetsARestartedServerOnItsWayIsUnknownToo) {
  absl::Notification told;
  client().Wait("flag", {.condition = Condition::Equal(1)},
                [&](const absl::StatusOr<WaitResult>& result) {
                  EXPECT_EQ(ErrorReason(result.status()), "EOWNERDEAD");
                  EXPECT_TRUE(OutcomeUnknown(result.status()))
                      << result.status();
                  told.Notify();
                });
  server_.AwaitOperation(1);
  server_.Settle();
  server_.hello().set_server_epoch(2);
  server_.Close(StreamError(absl::StatusCode::kFailedPrecondition, "ESTALE"));
  told.WaitForNotification();
}

TEST_F(ClientTest, ACallIsGivenUpSomeTimeAfterItsTimeout) {
  for (const int seconds : {0, 1, 1000}) {
    absl::Notification told;
    const uint64_t number = server_.operations() + 1;
    client().Wait("flag", {.timeout = absl::Seconds(seconds)},
                  [&](const absl::StatusOr<WaitResult>& result) {
                    const absl::Status& status = result.status();
                    EXPECT_EQ(status.code(),
                              absl::StatusCode::kDeadlineExceeded);
                    EXPECT_EQ(ErrorReason(status), "ETIME");
                    EXPECT_TRUE(OutcomeUnknown(status));
                    told.Notify();
                  });
    server_.AwaitOperation(number);
    server_.Advance(absl::Seconds(seconds + 4));
    EXPECT_FALSE(told.HasBeenNotified()) << seconds;
    server_.Advance(absl::Seconds(2 + seconds / 30));
    EXPECT_TRUE(told.HasBeenNotified()) << seconds;
    EXPECT_TRUE(server_.IsCancelled(number));
    // What it took, after all, is given back.
    server_.AwaitReturned(server_.Answer(number, ResultFromText(kDoneText)));
  }
}

TEST_F(ClientTest, ACallWithoutATimeoutIsNeverGivenUp) {
  absl::Notification told;
  client().Wait("flag", {}, [&](const absl::StatusOr<WaitResult>& result) {
    EXPECT_TRUE(result.ok()) << result.status();
    told.Notify();
  });
  server_.AwaitOperation(1);
  server_.Advance(absl::Hours(1));
  EXPECT_FALSE(told.HasBeenNotified());
  EXPECT_EQ(server_.connections(), 1);
  server_.Answer(1, ResultFromText(kDoneText));
  told.WaitForNotification();
}

// --- Over gRPC ---------------------------------------------------------------

// A port that is taken, and where nobody listens.
class DeadPort {
 public:
  DeadPort() : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(bind(socket_, generic, size), 0);
    EXPECT_EQ(getsockname(socket_, generic, &size), 0);
    address_ = absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
  }
  ~DeadPort() { close(socket_); }
  const std::string& address() const { return address_; }

 private:
  const int socket_;
  std::string address_;
};

TEST(ClientAddressTest, NoServerIsAnErrorAtOnceThatNamesTheAddress) {
  const DeadPort dead;
  const auto client = Client::Create({.server = dead.address()}).value();
  for (int i = 0; i < 3; ++i) {
    const absl::Status status = client->Wait("flag").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(status.message(), absl::StrCat("no server at ", dead.address(),
                                             ": Connection refused"));
    EXPECT_EQ(ErrorObject(status), "flag");
    EXPECT_FALSE(OutcomeUnknown(status));
  }
}

TEST(ClientAddressTest, NoServerAtASocketFileIsTheSameForAllCalls) {
  const std::string address = "unix:/nonexistent/waitq.sock";
  const auto client = Client::Create({.server = address}).value();
  std::vector<absl::Status> statuses = EveryCall(*client, {});
  statuses.push_back(client->Stat("o").status());
  statuses.push_back(client->List().status());
  statuses.push_back(client->Tasks().status());
  statuses.push_back(client->Signal(1, TaskSignal::kInt).status());
  for (const absl::Status& status : statuses) {
    EXPECT_EQ(status.message(), absl::StrCat("no server at ", address,
                                             ": No such file or directory"));
    EXPECT_FALSE(OutcomeUnknown(status));
  }
}

TEST(ClientAddressTest, AMalformedAddressIsRefusedBeforeAnyCall) {
  EXPECT_EQ(Client::Create({.server = "nowhere"}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace waitq
