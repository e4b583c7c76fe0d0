// Scenarios with a server of its own, over gRPC.

#ifndef WAITQ_TESTS_CLIENT_RPC_WORLD_H_
#define WAITQ_TESTS_CLIENT_RPC_WORLD_H_

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "client/client.h"
#include "gtest/gtest.h"
#include "server/rpc/server.h"
#include "tests/client/scenarios.h"

namespace waitq::test {

class RpcWorld final : public World {
 public:
  explicit RpcWorld(const std::string& listen) {
    auto started =
        rpc::Server::Start({.listen = listen, .limits = LimitsOfWorlds()});
    if (!started.ok()) {
      std::fprintf(stderr, "no server: %s\n",
                   started.status().ToString().c_str());
      std::abort();
    }
    server_ = *std::move(started);
    looking_ = NewClient({.caller = "looking"});
  }

  std::unique_ptr<Client> NewClient(const ClientOptions& options) override {
    ClientOptions ours = options;
    ours.server = server_->address();
    auto client = Client::Create(ours);
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }
  size_t Asleep(const std::string& object) override {
    const auto tasks = looking_->Tasks(object);
    EXPECT_TRUE(tasks.ok()) << tasks.status();
    return tasks->size();
  }
  size_t Signal(const std::string& object, TaskSignal signal) override {
    const auto tasks = looking_->Tasks(object);
    EXPECT_TRUE(tasks.ok()) << tasks.status();
    size_t ended = 0;
    for (const TaskInfo& task : *tasks) {
      const auto done = looking_->Signal(task.id, signal);
      EXPECT_TRUE(done.ok()) << done.status();
      if (done.ok() && *done) ++ended;
    }
    return ended;
  }

 private:
  std::unique_ptr<rpc::Server> server_;
  std::unique_ptr<Client> looking_;
};

}  // namespace waitq::test

#endif  // WAITQ_TESTS_CLIENT_RPC_WORLD_H_
