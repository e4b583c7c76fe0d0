// The calls that only look at the server, which are no session's: against a
// server whose answers the test writes.

#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "client/client.h"
#include "client/error.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "transport/channel_arguments.h"
#include "transport/error_info.h"
#include "waitq/v1/objects.grpc.pb.h"
#include "waitq/v1/tasks.grpc.pb.h"

namespace waitq {
namespace {

using grpc::ServerContext;
using grpc::Status;

// Handlers run in gRPC's threads, and are set before the calls.
template <class Request, class Response>
using Handler = std::function<Status(const Request&, Response&)>;

class LookingTest : public testing::Test {
 protected:
  LookingTest() {
    int port = 0;
    grpc::ServerBuilder builder;
    SetServerArguments(builder);
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port);
    builder.RegisterService(&objects_);
    builder.RegisterService(&tasks_);
    server_ = builder.BuildAndStart();
    client_ =
        Client::Create({.server = absl::StrCat("127.0.0.1:", port)}).value();
  }
  ~LookingTest() override {
    // Cancels what is still there: a failed test must not hang here.
    server_->Shutdown(std::chrono::system_clock::now());
    server_ = nullptr;
  }

  struct Objects : v1::Objects::Service {
    Status Stat(ServerContext*, const v1::StatRequest* request,
                v1::StatResponse* response) override {
      return stat(*request, *response);
    }
    Status List(ServerContext*, const v1::ListObjectsRequest* request,
                v1::ListObjectsResponse* response) override {
      return list(*request, *response);
    }
    Handler<v1::StatRequest, v1::StatResponse> stat;
    Handler<v1::ListObjectsRequest, v1::ListObjectsResponse> list;
  } objects_;

  struct Tasks : v1::Tasks::Service {
    Status List(ServerContext*, const v1::ListTasksRequest* request,
                v1::ListTasksResponse* response) override {
      return list(*request, *response);
    }
    Status Signal(ServerContext*, const v1::SignalRequest* request,
                  v1::SignalResponse* response) override {
      return signal(*request, *response);
    }
    Handler<v1::ListTasksRequest, v1::ListTasksResponse> list;
    Handler<v1::SignalRequest, v1::SignalResponse> signal;
  } tasks_;

  // Handlers wait on these: they are there until the server is gone.
  absl::Notification asleep_, ended_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Client> client_;
};

TEST_F(LookingTest, StatReturnsTheObject) {
  objects_.stat = [](const v1::StatRequest& request,
                     v1::StatResponse& response) {
    EXPECT_EQ(request.name(), "p");
    response.mutable_object()->set_name("p");
    response.mutable_object()->set_kind(v1::OBJECT_KIND_PIPE);
    response.mutable_object()->set_sleepers(3);
    response.mutable_object()->mutable_pipe()->set_unread_bytes(7);
    return Status::OK;
  };
  const auto object = client_->Stat("p");
  ASSERT_TRUE(object.ok()) << object.status();
  EXPECT_EQ(object->kind, ObjectKind::kPipe);
  EXPECT_EQ(object->sleepers, 3u);
  EXPECT_EQ(std::get<PipeInfo>(object->state).unread_bytes, 7u);
}

TEST_F(LookingTest, ListsFetchAllPages) {
  // Three pages of one each: "", "x", "xx".
  objects_.list = [](const v1::ListObjectsRequest& request,
                     v1::ListObjectsResponse& response) {
    EXPECT_EQ(request.prefix(), "a/");
    const std::string& token = request.page_token();
    response.add_objects()->set_name(absl::StrCat("a/", token));
    if (token != "xx") response.set_next_page_token(token + "x");
    return Status::OK;
  };
  tasks_.list = [](const v1::ListTasksRequest& request,
                   v1::ListTasksResponse& response) {
    EXPECT_EQ(request.name(), "flag");
    response.add_tasks()->set_id(request.page_token().size());
    if (request.page_token() != "xx") {
      response.set_next_page_token(request.page_token() + "x");
    }
    return Status::OK;
  };
  const auto objects = client_->List("a/");
  ASSERT_TRUE(objects.ok()) << objects.status();
  ASSERT_EQ(objects->size(), 3u);
  EXPECT_EQ((*objects)[2].name, "a/xx");
  const auto tasks = client_->Tasks("flag");
  ASSERT_TRUE(tasks.ok()) << tasks.status();
  ASSERT_EQ(tasks->size(), 3u);
  EXPECT_EQ((*tasks)[2].id, 2u);
}

TEST_F(LookingTest, SignalSaysWhetherTheSleepIsOver) {
  tasks_.signal = [](const v1::SignalRequest& request,
                     v1::SignalResponse& response) {
    EXPECT_EQ(request.id(), 5u);
    response.set_ended(request.signal() != v1::SignalRequest::SIGNAL_INT);
    return Status::OK;
  };
  EXPECT_FALSE(client_->Signal(5, TaskSignal::kInt).value());
  EXPECT_TRUE(client_->Signal(5, TaskSignal::kTerm).value());
  EXPECT_TRUE(client_->Signal(5, TaskSignal::kKill).value());
}

TEST_F(LookingTest, AFailureKeepsItsCodeAndItsReason) {
  const Status failure =
      MakeStatus(grpc::StatusCode::NOT_FOUND, "ENOENT", "there is none",
                 {{"object", "p"}, {"limit", "objects"}});
  objects_.stat = [&](const auto&, auto&) { return failure; };
  objects_.list = [&](const auto&, auto&) { return failure; };
  tasks_.list = [&](const auto&, auto&) { return failure; };
  tasks_.signal = [&](const auto&, auto&) { return failure; };
  for (const absl::Status& status :
       {client_->Stat("p").status(), client_->List().status(),
        client_->Tasks().status(),
        client_->Signal(1, TaskSignal::kInt).status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(ErrorReason(status), "ENOENT");
    EXPECT_EQ(ErrorObject(status), "p");
    EXPECT_EQ(ErrorLimit(status), "objects");
    EXPECT_FALSE(OutcomeUnknown(status));
  }
}

TEST_F(LookingTest, AStopEndsACallThatIsUnderWay) {
  objects_.stat = [this](const auto&, auto&) {
    asleep_.Notify();
    ended_.WaitForNotification();
    return Status::OK;
  };
  std::stop_source stop;
  std::jthread stopper([&] {
    asleep_.WaitForNotification();
    stop.request_stop();
  });
  const absl::Status status = client_->Stat("p", stop.get_token()).status();
  ended_.Notify();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(ErrorReason(status), "ECANCELED");
}

TEST_F(LookingTest, AServerWithoutSessionsIsNoServerOfOurs) {
  const absl::Status status = client_->Get("flag").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << status;
  EXPECT_FALSE(OutcomeUnknown(status)) << status;
}

}  // namespace
}  // namespace waitq
