// Nothing that a client sends ends the server, or what others do there.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <random>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"
#include "tests/e2e/fixture.h"
#include "tests/e2e/raw_call.h"
#include "waitq/v1/pipes.grpc.pb.h"

namespace waitq::test {
namespace {

using ::testing::HasSubstr;

// What our own limit is, unless set otherwise.
constexpr size_t kMessageLimit = 4 << 20;

class HostileClientTest : public WaitqTest {
 protected:
  void SetUp() override {
    WaitqTest::SetUp();
    sleeper_ = &StartWaitq({"wait", "flag", "--until", "==1"});
    AwaitSleepers("flag", 1);
  }

  // Somebody else has slept through it all, and wakes as if nothing had been.
  void TearDown() override {
    AwaitSleepers("flag", 1);
    WaitqOk({"wake", "flag", "--set", "1"});
    EXPECT_EQ(sleeper_->WaitFor(), 0) << sleeper_->Errors();
    WaitqTest::TearDown();
  }

  grpc::Status Write(const std::string& name, size_t size,
                     bool nonblock = true) {
    const auto stub = v1::Pipes::NewStub(channel());
    grpc::ClientContext context;
    v1::WriteRequest request;
    request.set_name(name);
    request.set_data(std::string(size, 'x'));
    request.set_nonblock(nonblock);
    v1::WriteResponse response;
    return stub->Write(&context, request, &response);
  }

 private:
  Process* sleeper_ = nullptr;
};

// The reason that our handlers give with every error.
std::string ReasonOf(const grpc::Status& status) {
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  if (!details.ParseFromString(status.error_details())) return "";
  for (const auto& detail : details.details()) {
    if (detail.UnpackTo(&info) && info.domain() == "waitq") {
      return info.reason();
    }
  }
  return "";
}

TEST_F(HostileClientTest, MessageJustAboveTheLimitIsRefusedByUs) {
  const grpc::Status status = Write("pipe", kMessageLimit + 1);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("4194304"));
  EXPECT_EQ(ReasonOf(status), "EMSGSIZE");
  EXPECT_EQ(Stat("pipe").pipe().write_offset(), 0u);
}

TEST_F(HostileClientTest, MessageFarAboveTheLimitIsRefusedByTheTransport) {
  const grpc::Status status = Write("pipe", 64 << 20);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(Stat("pipe").pipe().write_offset(), 0u);
}

TEST_F(HostileClientTest, OversizeMessageInAStreamBreaksOnlyThatStream) {
  const auto stub = v1::Pipes::NewStub(channel());
  grpc::ClientContext context;
  const auto stream = stub->WriteStream(&context);
  v1::WriteStreamRequest request;
  request.mutable_open()->set_name("pipe");
  EXPECT_TRUE(stream->Write(request));
  request.set_data(std::string(kMessageLimit + 1, 'x'));
  stream->Write(request);
  stream->WritesDone();
  v1::WriteStreamResponse response;
  while (stream->Read(&response)) {
  }
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ReasonOf(status), "EMSGSIZE");
  EXPECT_EQ(Stat("pipe").pipe().writers(), 0u);
}

TEST_F(HostileClientTest, BytesThatAreNoMessageAreRefused) {
  for (const char* method :
       {"WaitQueues/Wait", "WaitQueues/WakeUp", "Pipes/Read", "Pipes/Write",
        "Pipes/ReadStream", "Pipes/WriteStream", "Objects/Create",
        "Tasks/List"}) {
    const RawAnswer answer =
        RawCall(channel(), std::string("/waitq.v1.") + method,
                "\xff\xff\xff\xff no message of ours");
    EXPECT_FALSE(answer.status.ok()) << method;
  }
}

TEST_F(HostileClientTest, EmptyMessagesAreRefused) {
  for (const char* method :
       {"WaitQueues/Wait", "WaitQueues/WakeUp", "WaitQueues/Get",
        "WaitQueues/Store", "Pipes/Read", "Pipes/Write", "Pipes/ReadStream",
        "Pipes/WriteStream", "Objects/Create", "Objects/Stat",
        "Objects/Remove"}) {
    const RawAnswer answer =
        RawCall(channel(), std::string("/waitq.v1.") + method, "");
    EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT)
        << method;
    EXPECT_EQ(ReasonOf(answer.status), "EINVAL") << method;
  }
}

TEST_F(HostileClientTest, UnknownMethodsAreUnimplemented) {
  for (const char* method :
       {"/waitq.v1.WaitQueues/Dance", "/waitq.v9.Pipes/Read", "/", ""}) {
    EXPECT_EQ(RawCall(channel(), method, "").status.error_code(),
              grpc::StatusCode::UNIMPLEMENTED)
        << method;
  }
}

// Opens a plain connection to the server, sends `bytes`, and goes.
void SendBytes(const std::string& address, std::string_view bytes) {
  const std::vector<std::string> parts = absl::StrSplit(address, ':');
  int port = 0;
  ASSERT_TRUE(absl::SimpleAtoi(parts.back(), &port));
  sockaddr_in there = {};
  there.sin_family = AF_INET;
  there.sin_port = htons(static_cast<uint16_t>(port));
  inet_pton(AF_INET, "127.0.0.1", &there.sin_addr);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&there), sizeof there), 0);
  send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  shutdown(fd, SHUT_WR);
  // Until the server closes it too, or has nothing to say for a while.
  timeval pause = {.tv_sec = 1, .tv_usec = 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &pause, sizeof pause);
  char buffer[4096];
  while (recv(fd, buffer, sizeof buffer, 0) > 0) {
  }
  close(fd);
}

TEST_F(HostileClientTest, BytesThatAreNotHttp2AreIgnored) {
  constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  std::mt19937 noise(1);
  std::string garbage(10'000, '\0');
  for (char& byte : garbage) byte = static_cast<char>(noise());
  SendBytes(server().address(), "");
  SendBytes(server().address(), "GET / HTTP/1.1\r\nHost: here\r\n\r\n");
  SendBytes(server().address(), garbage);
  SendBytes(server().address(), kPreface);
  SendBytes(server().address(), std::string(kPreface) + garbage);
}

}  // namespace
}  // namespace waitq::test
