// Scenarios in one process, without gRPC.

#ifndef WAITQ_TESTS_CLIENT_LOCAL_WORLD_H_
#define WAITQ_TESTS_CLIENT_LOCAL_WORLD_H_

#include <memory>
#include <string>

#include "tests/client/local_link.h"
#include "tests/client/scenarios.h"

namespace waitq::test {

class LocalWorld final : public World {
 public:
  // Calm as long as no connection is cut.
  explicit LocalWorld(bool is_calm = true)
      : is_calm_(is_calm), server_(LimitsOfWorlds()) {}

  LocalServer& server() { return server_; }

  std::unique_ptr<Client> NewClient(const ClientOptions& options) override {
    return server_.NewClient(options);
  }
  size_t Asleep(const std::string& object) override {
    size_t asleep = 0;
    server_.Run([&](engine::Engine& engine) {
      asleep = engine.ListTasks({.object = object}, 10'000).size();
    });
    return asleep;
  }
  size_t Signal(const std::string& object, TaskSignal signal) override {
    size_t ended = 0;
    server_.Run([&](engine::Engine& engine) {
      for (const auto& task : engine.ListTasks({.object = object}, 10'000)) {
        const auto done = engine.SignalTask(task.id, static_cast<int>(signal));
        if (done.ok() && *done) ++ended;
      }
    });
    return ended;
  }
  bool is_calm() const override { return is_calm_; }
  void StopServer() override { server_.Stop(); }
  void StartServer() override { server_.Start(); }

 private:
  const bool is_calm_;
  LocalServer server_;
};

}  // namespace waitq::test

#endif  // WAITQ_TESTS_CLIENT_LOCAL_WORLD_H_
