// What gRPC's own tools expect of every server: health checking, reflection.

#include <signal.h>

#include "gtest/gtest.h"
#include "tests/e2e/fixture.h"
#include "tests/e2e/raw_call.h"

namespace waitq::test {
namespace {

constexpr char kHealthCheck[] = "/grpc.health.v1.Health/Check";

class StandardServicesTest : public WaitqTest {};

TEST_F(StandardServicesTest, ReflectionListsAllServices) {
  // ServerReflectionRequest{list_services: ""}
  const RawAnswer answer =
      RawCall(channel(),
              "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
              std::string("\x3a\x00", 2));
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  for (const char* service :
       {"waitq.v1.WaitQueues", "waitq.v1.Pipes", "waitq.v1.Objects",
        "waitq.v1.Tasks", "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection"}) {
    EXPECT_NE(answer.bytes.find(service), std::string::npos) << service;
  }
}

TEST_F(StandardServicesTest, ReflectionDescribesTheMessages) {
  // ServerReflectionRequest{file_containing_symbol: "waitq.v1.WaitQueues"}
  const RawAnswer answer =
      RawCall(channel(),
              "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
              std::string("\x22\x13") + "waitq.v1.WaitQueues");
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_NE(answer.bytes.find("WaitRequest"), std::string::npos);
}

TEST_F(StandardServicesTest, HealthSaysServing) {
  // HealthCheckResponse{status: SERVING}
  const RawAnswer answer = RawCall(channel(), kHealthCheck, "");
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.bytes, "\x08\x01");
}

TEST_F(StandardServicesTest, HealthSaysNotServingWhileTheServerDrains) {
  StartServer("127.0.0.1:0", {"--grace", "1h"});
  WaitqOk({"write", "pipe"}, "words");  // it waits for their reader
  server().process().Signal(SIGTERM);
  // HealthCheckResponse{status: NOT_SERVING}
  EXPECT_TRUE(Await([this] {
    return RawCall(channel(), kHealthCheck, "").bytes == "\x08\x02";
  }));
  EXPECT_EQ(WaitqOk({"read", "pipe"}), "words");
  EXPECT_EQ(server().process().WaitFor(), 0);
  ForgetServer();
}

TEST_F(StandardServicesTest, HealthOfAnUnknownServiceIsNotFound) {
  const RawAnswer answer = RawCall(channel(), kHealthCheck, "\x0a\x05other");
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::NOT_FOUND);
}

}  // namespace
}  // namespace waitq::test
