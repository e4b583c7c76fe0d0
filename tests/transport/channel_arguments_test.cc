#include "transport/channel_arguments.h"

#include <map>
#include <memory>
#include <string>

#include "grpcpp/generic/async_generic_service.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"

namespace waitq {
namespace {

// A server that knows no call.
std::unique_ptr<grpc::Server> StartServer(
    int port, int* selected_port, grpc::CallbackGenericService* service) {
  grpc::ServerBuilder builder;
  SetServerArguments(builder);
  builder.AddListeningPort("127.0.0.1:" + std::to_string(port),
                           grpc::InsecureServerCredentials(), selected_port);
  builder.RegisterCallbackGenericService(service);
  return builder.BuildAndStart();
}

TEST(ChannelArgumentsTest, SecondServerOnAPortDoesNotStart) {
  grpc::CallbackGenericService service, other_service;
  int port = 0;
  std::unique_ptr<grpc::Server> server = StartServer(0, &port, &service);
  ASSERT_NE(server, nullptr);
  int other_port = 0;
  EXPECT_EQ(StartServer(port, &other_port, &other_service), nullptr);
}

TEST(ChannelArgumentsTest, KeepaliveOfTheClientIsWhatTheServerAdmits) {
  const grpc::ChannelArguments arguments = ClientArguments();
  const grpc_channel_args list = arguments.c_channel_args();
  std::map<std::string, int> integers;
  for (size_t i = 0; i < list.num_args; ++i) {
    const grpc_arg& argument = list.args[i];
    if (argument.type != GRPC_ARG_INTEGER) continue;
    EXPECT_TRUE(integers.emplace(argument.key, argument.value.integer).second)
        << argument.key << " is set twice";
  }
  EXPECT_EQ(integers[GRPC_ARG_KEEPALIVE_TIME_MS], 10'000);
  EXPECT_EQ(integers[GRPC_ARG_KEEPALIVE_TIMEOUT_MS], 4'000);
  EXPECT_EQ(integers[GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA], 0);
  EXPECT_EQ(integers[GRPC_ARG_ENABLE_RETRIES], 0);
  EXPECT_GT(integers[GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH], kMaxMessageBytes);
}

}  // namespace
}  // namespace waitq
