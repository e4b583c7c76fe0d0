// The client over gRPC, with a server that does not do what it should.

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/error.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "tests/support/wait_until.h"
#include "transport/channel_arguments.h"
#include "transport/duration.h"
#include "transport/error_info.h"
#include "waitq/v1/sessions.grpc.pb.h"

namespace waitq {
namespace {

using grpc::ServerContext;
using grpc::Status;
using Stream =
    grpc::ServerReaderWriter<v1::SessionResponse, v1::SessionRequest>;

// Serves streams as the test says, which runs in gRPC's threads.
class GrpcLinkTest : public testing::Test {
 protected:
  GrpcLinkTest() {
    int port = 0;
    grpc::ServerBuilder builder;
    SetServerArguments(builder);
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port);
    builder.RegisterService(&sessions_);
    server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port);
  }
  // Cancels what is still there.
  ~GrpcLinkTest() override { StopServer(); }

  // Its handlers have returned; what they use may go.
  void StopServer() {
    if (server_ == nullptr) return;
    server_->Shutdown(std::chrono::system_clock::now());
    server_ = nullptr;
  }

  std::unique_ptr<Client> NewClient() {
    return Client::Create({.server = address_}).value();
  }

  struct Sessions : v1::Sessions::Service {
    Status Attach(ServerContext* context, Stream* stream) override {
      return attach(*context, *stream);
    }
    std::function<Status(ServerContext&, Stream&)> attach;
  } sessions_;

  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

v1::SessionResponse Hello(absl::Duration grace) {
  v1::SessionResponse response;
  response.mutable_hello()->set_token("sixteen bytes ..");
  response.mutable_hello()->set_server_epoch(1);
  *response.mutable_hello()->mutable_grace() = ToWire(grace);
  response.mutable_hello()->set_operations_max(1000);
  return response;
}

// Returns what the client has said.
v1::SessionRequest SayHello(Stream& stream) {
  v1::SessionRequest request;
  EXPECT_TRUE(stream.Read(&request));
  EXPECT_TRUE(stream.Write(Hello(absl::Seconds(30))));
  return request;
}

// Until the client is gone, or says no more.
void ReadOn(Stream& stream) {
  v1::SessionRequest request;
  while (stream.Read(&request)) {
  }
}

TEST_F(GrpcLinkTest, AClientMayGoWhileItsHelloIsNotAnswered) {
  std::atomic<int> came = 0;
  sessions_.attach = [&](ServerContext&, Stream& stream) {
    v1::SessionRequest request;
    EXPECT_TRUE(stream.Read(&request));
    ++came;
    ReadOn(stream);
    return Status::OK;
  };
  for (int i = 0; i < 20; ++i) {
    absl::Notification told;
    auto client = NewClient();
    client->Wait("flag", {}, [&](const absl::StatusOr<WaitResult>& result) {
      EXPECT_EQ(ErrorReason(result.status()), "ECANCELED");
      told.Notify();
    });
    test::WaitUntil([&] { return came == i + 1; });
    client = nullptr;
    EXPECT_TRUE(told.HasBeenNotified());
  }
  StopServer();
}

TEST_F(GrpcLinkTest, AClientMayGoBeforeItsConnectionIsThere) {
  sessions_.attach = [&](ServerContext&, Stream& stream) {
    ReadOn(stream);
    return Status::OK;
  };
  for (int i = 0; i < 50; ++i) {
    NewClient()->Wait("flag", {}, [](const auto&) {});
  }
}

TEST_F(GrpcLinkTest, AClientThatNobodyHearsGoesAllTheSame) {
  absl::Notification came;
  sessions_.attach = [&](ServerContext&, Stream& stream) {
    SayHello(stream);
    came.Notify();
    ReadOn(stream);  // also over its goodbye
    return Status::OK;
  };
  auto client = NewClient();
  client->Wait("flag", {}, [](const auto&) {});
  came.WaitForNotification();
  client = nullptr;
}

TEST_F(GrpcLinkTest, AStreamThatTheServerEndsSaysWhy) {
  sessions_.attach = [](ServerContext&, Stream&) {
    return MakeStatus(grpc::StatusCode::RESOURCE_EXHAUSTED, "ENOSPC",
                      "too many sessions", {{"limit", "sessions"}});
  };
  const absl::Status status = NewClient()->WakeUp("flag").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ErrorReason(status), "ENOSPC");
  EXPECT_EQ(ErrorLimit(status), "sessions");
  EXPECT_EQ(ErrorObject(status), "flag");
  EXPECT_FALSE(OutcomeUnknown(status));
}

TEST_F(GrpcLinkTest, AStreamThatBreaksIsFollowedByAnother) {
  int streams = 0;
  std::string peer;
  sessions_.attach = [&](ServerContext& context, Stream& stream) {
    const v1::SessionRequest request = SayHello(stream);
    if (streams == 0) peer = context.peer();
    EXPECT_EQ(context.peer(), peer) << "the connection is as good as it was";
    if (++streams == 1) {
      EXPECT_EQ(request.operations_size(), 1);
      return Status(grpc::StatusCode::UNAVAILABLE, "Socket closed");
    }
    EXPECT_EQ(request.hello().token(), "sixteen bytes ..");
    EXPECT_EQ(request.hello().server_epoch(), 1u);
    v1::SessionRequest again;
    EXPECT_TRUE(stream.Read(&again));
    EXPECT_EQ(again.first_operation(), 1u) << "it was never received";
    v1::SessionResponse response;
    response.set_first_result(1);
    response.add_results()->set_operation(1);
    response.mutable_results(0)->mutable_wake_up()->set_woken(3);
    EXPECT_TRUE(stream.Write(response));
    ReadOn(stream);
    return Status::OK;
  };
  // It does not hear the goodbye, either.
  EXPECT_EQ(NewClient()->WakeUp("flag")->woken, 3u);
  EXPECT_EQ(streams, 2);
}

// Guards `stub_ = nullptr` in GrpcLink::Disconnect(): a connection that is dead
// without saying so takes streams, too, for as long as gRPC believes in it.
TEST_F(GrpcLinkTest, AConnectionThatFallsSilentIsFollowedByAnother) {
  absl::Mutex mu;
  std::set<std::string> peers;
  absl::Notification another;
  sessions_.attach = [&](ServerContext& context, Stream& stream) {
    v1::SessionRequest request;
    if (!stream.Read(&request)) return Status::OK;  // the client goes just then
    // Heartbeats, four in a grace, get no answer.
    stream.Write(Hello(absl::Seconds(2)));
    {
      absl::MutexLock lock(&mu);
      peers.insert(context.peer());
      if (peers.size() == 2 && !another.HasBeenNotified()) another.Notify();
    }
    ReadOn(stream);
    return Status::OK;
  };
  auto client = NewClient();
  client->Wait("flag", {}, [](const auto&) {});
  another.WaitForNotification();
  client = nullptr;
  StopServer();
}

}  // namespace
}  // namespace waitq
