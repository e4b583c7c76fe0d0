#include "tests/server/fixture.h"

#include <cstdio>
#include <cstdlib>
#include <utility>
#include <variant>

#include "absl/time/clock.h"
#include "grpc/grpc.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "transport/channel_arguments.h"

namespace waitq::test {

ServerTest::ServerTest() {
  // gRPC stays up between tests. When its last object goes it stops all that it
  // has, which takes it up to 10 s if a socket has been full.
  static const bool up = [] {
    grpc_init();
    return true;
  }();
  static_cast<void>(up);
  options_.listen = "127.0.0.1:0";
}

void ServerTest::TearDown() {
  if (server_ == nullptr) return;
  // What tests have dropped, the server hears of a little later.
  EXPECT_TRUE(Await([&] { return server().engine().asleep() == 0; }))
      << server().engine().asleep() << " operations are left asleep";
  EXPECT_TRUE(Await([&] { return NoHandleIsOpen(); }))
      << "handles are left open";
  StopServer(absl::Now() + kBound);
}

rpc::Server& ServerTest::server() {
  if (server_ == nullptr) {
    auto started = rpc::Server::Start(options_);
    if (!started.ok()) {
      std::fprintf(stderr, "no server: %s\n",
                   started.status().ToString().c_str());
      std::abort();
    }
    server_ = *std::move(started);
  }
  return *server_;
}

void ServerTest::StopServer(absl::Time deadline) {
  if (server_ == nullptr) return;
  server_->Shutdown(deadline);
  server_ = nullptr;
}

Client& ServerTest::client() {
  if (client_ == nullptr) client_ = NewClient();
  return *client_;
}

std::unique_ptr<Client> ServerTest::NewClient() {
  return ClientOf(server().address());
}

std::unique_ptr<Client> ServerTest::ClientOf(const std::string& address) {
  return std::make_unique<Client>(grpc::CreateCustomChannel(
      address, grpc::InsecureChannelCredentials(), ClientArguments()));
}

void ServerTest::AwaitAsleep(uint64_t n) {
  EXPECT_TRUE(Await([&] { return server().engine().asleep() == n; }))
      << server().engine().asleep() << " operations are asleep, not " << n;
}

std::vector<v1::Task> ServerTest::Sleepers(const std::string& name) {
  v1::ListTasksRequest request;
  request.set_name(name);
  const auto answer = Call(client(), request);
  EXPECT_THAT(answer.status, IsOk());
  return {answer.response.tasks().begin(), answer.response.tasks().end()};
}

v1::ObjectStat ServerTest::StatOf(const std::string& name) {
  v1::StatRequest request;
  request.set_name(name);
  const auto answer = Call(client(), request);
  EXPECT_THAT(answer.status, IsOk());
  return answer.response.object();
}

void ServerTest::AwaitHandles(const std::string& name, uint32_t readers,
                              uint32_t writers) {
  EXPECT_TRUE(Await([&] {
    const v1::PipeStat stat = StatOf(name).pipe();
    return stat.readers() == readers && stat.writers() == writers;
  })) << StatOf(name).DebugString();
}

int64_t ServerTest::ValueOf(const std::string& name) {
  v1::GetRequest request;
  request.set_name(name);
  const auto answer = Call(client(), request);
  EXPECT_THAT(answer.status, IsOk());
  return answer.response.value();
}

void ServerTest::WriteNow(const std::string& name, const std::string& data) {
  v1::WriteRequest request;
  request.set_name(name);
  request.set_data(data);
  request.set_nonblock(true);
  const auto answer = Call(client(), request);
  EXPECT_THAT(answer.status, IsOk());
  EXPECT_EQ(answer.response.accepted_bytes(), data.size());
}

v1::ReadResponse ServerTest::ReadNow(const std::string& name) {
  v1::ReadRequest request;
  request.set_name(name);
  request.set_nonblock(true);
  const auto answer = Call(client(), request);
  EXPECT_THAT(answer.status, IsOk());
  return answer.response;
}

bool ServerTest::NoHandleIsOpen() {
  for (const auto& object :
       server().engine().List("", {.size = 100'000, .after = ""})) {
    const auto* pipe = std::get_if<engine::PipeStat>(&object.state);
    if (pipe != nullptr && (pipe->readers > 0 || pipe->writers > 0)) {
      return false;
    }
  }
  return true;
}

}  // namespace waitq::test
