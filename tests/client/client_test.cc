#include "client/client.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "client/error.h"
#include "gtest/gtest.h"
#include "tests/client/fake_server.h"
#include "transport/channel_arguments.h"
#include "transport/duration.h"
#include "transport/error_info.h"

namespace waitq {
namespace {

using grpc::ServerContext;
using grpc::Status;

std::unique_ptr<Client> NewClient(const std::string& server) {
  return Client::Create({.server = server, .caller = "a test"}).value();
}

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

TEST(ClientTest, NoServerIsAnErrorAtOnceThatNamesTheAddress) {
  const DeadPort dead;
  const auto client = NewClient(dead.address());
  const absl::Status status = client->Wait("flag").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(status.message(), absl::StrCat("no server at ", dead.address(),
                                           ": Connection refused"));
  EXPECT_EQ(ErrorObject(status), "flag");
  EXPECT_FALSE(OutcomeUnknown(status));
}

TEST(ClientTest, NoServerAtASocketFileOrForAStreamIsTheSame) {
  const std::string address = "unix:/nonexistent/waitq.sock";
  const auto client = NewClient(address);
  for (const absl::Status& status :
       {client->Get("flag").status(), client->OpenReader("p").status(),
        client->OpenWriter("p").status()}) {
    EXPECT_EQ(status.message(), absl::StrCat("no server at ", address,
                                             ": No such file or directory"));
    EXPECT_FALSE(OutcomeUnknown(status));
  }
}

TEST(ClientTest, AMalformedAddressIsRefusedBeforeAnyCall) {
  EXPECT_EQ(Client::Create({.server = "nowhere"}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(ClientTest, WaitSaysAllAndReturnsAll) {
  FakeServer server;
  server.wait = [](ServerContext*, const v1::WaitRequest* request,
                   v1::WaitResponse* response) {
    EXPECT_EQ(request->name(), "flag");
    EXPECT_EQ(request->condition().greater_or_equal(), 3);
    EXPECT_EQ(request->then().add(), -1);
    EXPECT_TRUE(request->has_exclusive() && !request->exclusive());
    EXPECT_EQ(FromWire(request->timeout()), absl::Milliseconds(1500));
    EXPECT_TRUE(request->nonblock());
    EXPECT_EQ(request->sleep(), v1::SLEEP_KILLABLE);
    EXPECT_EQ(request->caller(), "a test");
    response->set_outcome(v1::OUTCOME_DONE);
    response->set_value_before(3);
    response->set_value_after(2);
    response->set_generation(17);
    *response->mutable_remaining() = ToWire(absl::Milliseconds(7));
    response->set_slept(true);
    return Status::OK;
  };
  const absl::StatusOr<WaitResult> result =
      NewClient(server.address())
          ->Wait("flag",
                 {.condition = Condition{Condition::Test::kGreaterOrEqual, 3},
                  .then = Action::Add(-1),
                  .exclusive = false,
                  .timeout = absl::Milliseconds(1500),
                  .nonblock = true,
                  .sleep = Sleep::kKillable});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->outcome, Outcome::kDone);
  EXPECT_EQ(result->value_before, 3);
  EXPECT_EQ(result->value_after, 2);
  EXPECT_EQ(result->generation, 17u);
  EXPECT_EQ(result->remaining, absl::Milliseconds(7));
  EXPECT_TRUE(result->slept);
}

TEST(ClientTest, TheCallsDeadlineLeavesTheServerTimeToAnswer) {
  FakeServer server;
  std::chrono::system_clock::duration left;
  server.wait = [&left](ServerContext* context, const v1::WaitRequest*,
                        v1::WaitResponse* response) {
    left = context->deadline() - std::chrono::system_clock::now();
    response->set_outcome(v1::OUTCOME_TIMED_OUT);
    return Status::OK;
  };
  const auto client = NewClient(server.address());
  for (const int seconds : {0, 1, 1000, 100'000}) {
    const absl::Duration timeout = absl::Seconds(seconds);
    EXPECT_EQ(client->Wait("flag", {.timeout = timeout})->outcome,
              Outcome::kTimedOut);
    // Even after the 2 % in which the server hands out nothing.
    EXPECT_GT(absl::FromChrono(left) * 0.98, timeout + absl::Seconds(1));
    EXPECT_LT(absl::FromChrono(left), timeout * 1.1 + absl::Seconds(6));
  }
}

TEST(ClientTest, WithoutATimeoutACallHasNoDeadline) {
  FakeServer server;
  server.wait = [](ServerContext* context, const v1::WaitRequest* request,
                   v1::WaitResponse* response) {
    EXPECT_FALSE(request->has_timeout());
    EXPECT_EQ(context->deadline(),
              std::chrono::system_clock::time_point::max());
    response->set_outcome(v1::OUTCOME_DONE);
    return Status::OK;
  };
  EXPECT_TRUE(NewClient(server.address())->Wait("flag").ok());
}

TEST(ClientTest, AStopEndsASleepingCall) {
  // The handler waits on these until the server is gone.
  absl::Notification asleep, ended;
  FakeServer server;
  server.wait = [&](ServerContext*, const v1::WaitRequest*, v1::WaitResponse*) {
    asleep.Notify();
    ended.WaitForNotification();
    return Status::OK;
  };
  const auto client = NewClient(server.address());
  std::stop_source stop;
  std::jthread stopper([&] {
    asleep.WaitForNotification();
    stop.request_stop();
  });
  const absl::Status status =
      client->Wait("flag", {}, stop.get_token()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(ErrorReason(status), "ECANCELED");
  ended.Notify();
}

TEST(ClientTest, AStopThatCameBeforeTheCallEndsItToo) {
  FakeServer server;
  std::stop_source stop;
  stop.request_stop();
  const auto client = NewClient(server.address());
  EXPECT_EQ(client->Get("flag", stop.get_token()).status().code(),
            absl::StatusCode::kCancelled);
  EXPECT_EQ(client->OpenReader("p", {}, stop.get_token()).status().code(),
            absl::StatusCode::kCancelled);
  EXPECT_EQ(client->OpenWriter("p", {}, stop.get_token()).status().code(),
            absl::StatusCode::kCancelled);
}

TEST(ClientTest, ReasonObjectAndLimitArrive) {
  FakeServer server;
  server.wait = [](ServerContext*, const v1::WaitRequest*, v1::WaitResponse*) {
    return MakeStatus(grpc::StatusCode::RESOURCE_EXHAUSTED, "ENOSPC",
                      "too many sleepers",
                      {{"object", "flag"}, {"limit", "sleepers"}});
  };
  const absl::Status status =
      NewClient(server.address())->Wait("flag").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ErrorReason(status), "ENOSPC");
  EXPECT_EQ(ErrorObject(status), "flag");
  EXPECT_EQ(ErrorLimit(status), "sleepers");
}

TEST(ClientTest, AnErrorOfTheTransportLeavesTheOutcomeUnknown) {
  FakeServer server;
  server.wake_up = [](ServerContext*, const v1::WakeUpRequest*,
                      v1::WakeUpResponse*) {
    return Status(grpc::StatusCode::UNAVAILABLE, "Socket closed");
  };
  EXPECT_TRUE(
      OutcomeUnknown(NewClient(server.address())->WakeUp("flag").status()));
}

TEST(ClientTest, AnOutcomeOfANewerServerIsAnError) {
  FakeServer server;
  server.wait = [](ServerContext*, const v1::WaitRequest*,
                   v1::WaitResponse* response) {
    response->set_outcome(static_cast<v1::Outcome>(99));
    return Status::OK;
  };
  EXPECT_EQ(NewClient(server.address())->Wait("flag").status().code(),
            absl::StatusCode::kInternal);
}

TEST(ClientTest, WakersDoNotShareTheConnectionOfSleepers) {
  FakeServer server;
  std::string sleepers, wakers, writers;
  server.wait = [&](ServerContext* context, const v1::WaitRequest*,
                    v1::WaitResponse* response) {
    sleepers = context->peer();
    response->set_outcome(v1::OUTCOME_DONE);
    return Status::OK;
  };
  server.wake_up = [&](ServerContext* context, const v1::WakeUpRequest*,
                       v1::WakeUpResponse*) {
    wakers = context->peer();
    return Status::OK;
  };
  server.write = [&](ServerContext* context, const v1::WriteRequest*,
                     v1::WriteResponse* response) {
    writers = context->peer();
    response->set_outcome(v1::OUTCOME_DONE);
    return Status::OK;
  };
  const auto client = NewClient(server.address());
  EXPECT_TRUE(client->Wait("flag").ok());
  EXPECT_TRUE(client->WakeUp("flag").ok());
  EXPECT_TRUE(client->Write("p", "x").ok());
  EXPECT_NE(sleepers, wakers);
  EXPECT_NE(sleepers, writers);
}

TEST(ClientTest, WakeUpAsksForOneOrAll) {
  FakeServer server;
  v1::WakeUpRequest got;
  server.wake_up = [&](ServerContext*, const v1::WakeUpRequest* request,
                       v1::WakeUpResponse* response) {
    got = *request;
    response->set_woken(3);
    response->set_woken_exclusive(1);
    return Status::OK;
  };
  const auto client = NewClient(server.address());
  const absl::StatusOr<WakeResult> result =
      client->WakeUp("flag", {.update = Action::Set(1)});
  EXPECT_EQ(result->woken, 3u);
  EXPECT_EQ(result->woken_exclusive, 1u);
  EXPECT_EQ(got.update().set(), 1);
  EXPECT_EQ(got.nr(), 1u);
  EXPECT_FALSE(got.all());
  EXPECT_TRUE(client->WakeUp("flag", {.all = true}).ok());
  EXPECT_TRUE(got.all());
  EXPECT_FALSE(got.has_nr());
}

TEST(ClientTest, TheLargestMessagePassesBothWays) {
  FakeServer server;
  server.write = [](ServerContext*, const v1::WriteRequest* request,
                    v1::WriteResponse* response) {
    response->set_outcome(v1::OUTCOME_DONE);
    response->set_accepted_bytes(request->data().size());
    return Status::OK;
  };
  server.read = [](ServerContext*, const v1::ReadRequest* request,
                   v1::ReadResponse* response) {
    response->set_outcome(v1::OUTCOME_DONE);
    response->set_data(std::string(request->max_bytes(), 'x'));
    return Status::OK;
  };
  const auto client = NewClient(server.address());
  const std::string data(kMaxMessageBytes, 'x');
  EXPECT_EQ(client->Write("p", data)->accepted_bytes, data.size());
  EXPECT_EQ(client->Read("p", {.max_bytes = kMaxMessageBytes})->data, data);
}

TEST(ClientTest, ALargerWriteIsRefusedWithTheLimit) {
  FakeServer server;
  const absl::Status status =
      NewClient(server.address())
          ->Write("p", std::string(kMaxMessageBytes + 1, 'x'))
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ErrorReason(status), "EMSGSIZE");
  EXPECT_TRUE(absl::StrContains(status.message(), "4194304")) << status;
}

TEST(ClientTest, AWriteThatWasCutShortSaysByWhat) {
  FakeServer server;
  server.write = [](ServerContext*, const v1::WriteRequest*,
                    v1::WriteResponse* response) {
    response->set_outcome(v1::OUTCOME_DONE);
    response->set_accepted_bytes(2);
    response->set_ended_by(v1::OUTCOME_TIMED_OUT);
    return Status::OK;
  };
  const absl::StatusOr<WriteResult> result =
      NewClient(server.address())->Write("p", "abc");
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->outcome, Outcome::kDone);
  EXPECT_EQ(result->accepted_bytes, 2u);
  EXPECT_EQ(result->ended_by, Outcome::kTimedOut);
}

TEST(ClientTest, ListsFetchAllPages) {
  FakeServer server;
  // Three pages of one each: "0", "1", "2".
  server.list_objects = [](ServerContext*,
                           const v1::ListObjectsRequest* request,
                           v1::ListObjectsResponse* response) {
    EXPECT_EQ(request->prefix(), "a/");
    const std::string& token = request->page_token();
    response->add_objects()->set_name(absl::StrCat("a/", token));
    if (token != "xx") response->set_next_page_token(token + "x");
    return Status::OK;
  };
  server.list_tasks = [](ServerContext*, const v1::ListTasksRequest* request,
                         v1::ListTasksResponse* response) {
    EXPECT_EQ(request->name(), "flag");
    response->add_tasks()->set_id(request->page_token().size());
    if (request->page_token() != "xx") {
      response->set_next_page_token(request->page_token() + "x");
    }
    return Status::OK;
  };
  const auto client = NewClient(server.address());
  const auto objects = client->List("a/");
  ASSERT_TRUE(objects.ok()) << objects.status();
  ASSERT_EQ(objects->size(), 3u);
  EXPECT_EQ((*objects)[2].name, "a/xx");
  const auto tasks = client->Tasks("flag");
  ASSERT_TRUE(tasks.ok()) << tasks.status();
  ASSERT_EQ(tasks->size(), 3u);
  EXPECT_EQ((*tasks)[2].id, 2u);
}

TEST(ClientTest, CreateSaysTheKindAndItsOptions) {
  FakeServer server;
  v1::CreateRequest got;
  server.create = [&](ServerContext*, const v1::CreateRequest* request,
                      v1::CreateResponse* response) {
    got = *request;
    response->set_created(true);
    return Status::OK;
  };
  const auto client = NewClient(server.address());
  EXPECT_TRUE(client->CreateWaitQueue("q")->created);
  EXPECT_TRUE(got.has_wait_queue());
  EXPECT_TRUE(client->CreateCompletion("c")->created);
  EXPECT_TRUE(got.has_completion());
  EXPECT_TRUE(client->CreatePipe("p", {.capacity_bytes = 100})->created);
  EXPECT_EQ(got.pipe().capacity_bytes(), 100u);
  EXPECT_FALSE(got.pipe().has_atomic_max_bytes());
}

}  // namespace
}  // namespace waitq
