// A server that runs out of descriptors: who is connected stays, and who comes
// when there is room again is served.

#include <chrono>
#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/client.h"
#include "tests/support/process.h"

namespace waitq::test {
namespace {

constexpr int kDescriptors = 64;

std::unique_ptr<Client> Connect(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 100);
  return std::make_unique<Client>(grpc::CreateCustomChannel(
      address, grpc::InsecureChannelCredentials(), arguments));
}

// gRPC's listener would never accept again after it once had no descriptor.
TEST(FewDescriptorsTest, TooManyConnectionsAreRefusedAndLaterOnesServed) {
  // waitqd raises its soft limit to the hard one.
  Process server({"/bin/sh", "-c", "ulimit -n \"$1\" && shift && exec \"$@\"",
                  "sh", std::to_string(kDescriptors),
                  BuiltProgram("server/waitqd"), "--listen", "127.0.0.1:0"});
  const auto line = server.AwaitLine("listening on ");
  ASSERT_TRUE(line.has_value()) << server.Errors();
  const std::string address = line->substr(line->rfind(' ') + 1);

  const auto first = Connect(address);
  Pending<v1::WaitRequest> sleeper(*first,
                                   "name: 'flag' condition { equal: 1 }");
  ASSERT_TRUE(Await([&] {
    return Call<v1::ListTasksRequest>(*first, "").response.tasks_size() == 1;
  }));
  {
    // More than there are descriptors.
    std::vector<std::unique_ptr<Client>> crowd;
    int refused = 0;
    for (int i = 0; i < kDescriptors; ++i) {
      crowd.push_back(Connect(address));
      const auto get = Call<v1::StoreRequest>(
          *crowd.back(), "name: 'word'",
          std::chrono::system_clock::now() + std::chrono::seconds(10));
      if (!get.status.ok()) ++refused;
      if (refused == 3) break;
    }
    EXPECT_EQ(refused, 3) << "the limit was never reached";
    // Who is there is served.
    EXPECT_THAT(Call<v1::StoreRequest>(*first, "name: 'word'").status, IsOk());
  }
  // There is room again.
  const auto late = Connect(address);
  ASSERT_TRUE(late->channel()->WaitForConnected(
      std::chrono::system_clock::now() + absl::ToChronoSeconds(kBound)));
  EXPECT_THAT(
      Call<v1::WakeUpRequest>(*late, "name: 'flag' update { set: 1 }").status,
      IsOk());
  EXPECT_THAT(sleeper.status(), IsOk());
  server.Signal(SIGTERM);
  EXPECT_EQ(server.WaitFor(), 0) << server.Errors();
}

}  // namespace
}  // namespace waitq::test
