// What two clients do with one server, from end to end: one list, for every way
// in which they may be connected.

#ifndef WAITQ_TESTS_CLIENT_SCENARIOS_H_
#define WAITQ_TESTS_CLIENT_SCENARIOS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/types.h"
#include "gtest/gtest.h"
#include "server/engine/limits.h"

namespace waitq::test {

// Where a scenario happens.
class World {
 public:
  virtual ~World() = default;

  virtual std::unique_ptr<Client> NewClient(const ClientOptions& options) = 0;
  // How many calls sleep on the object.
  virtual size_t Asleep(const std::string& object) = 0;
  // Sends it to all that sleep there; returns how many it ended.
  virtual size_t Signal(const std::string& object, TaskSignal signal) = 0;
  // No connection is lost: who is asleep can be woken at once.
  virtual bool is_calm() const { return true; }

  // Of worlds whose server can be lost.
  virtual void StopServer() {}
  virtual void StartServer() {}
};

// The limits of the servers: low enough for scenarios to reach them.
engine::Limits LimitsOfWorlds();

struct Scene {
  World& world;
  Client& a;
  Client& b;
  // Objects of this one's own.
  std::string prefix;

  std::string Name(absl::string_view name) const {
    return absl::StrCat(prefix, "/", name);
  }
  // Waits until so many calls sleep on the object.
  void AwaitAsleep(const std::string& object, size_t n) const;
};

struct Scenario {
  const char* name;  // the claim
  void (*run)(Scene& scene);
  // It has so many messages that not each of them is cut.
  bool is_long = false;
};
inline void PrintTo(const Scenario& scenario, std::ostream* out) {
  *out << scenario.name;
}
inline std::string NameOf(const testing::TestParamInfo<Scenario>& info) {
  return info.param.name;
}

const std::vector<Scenario>& Scenarios();
// Those in which the server is lost.
const std::vector<Scenario>& RestartScenarios();

// Runs it between two new clients. One that hangs ends the program, and says
// what it was.
void RunScenario(World& world, const Scenario& scenario,
                 const std::string& what);

}  // namespace waitq::test

#endif  // WAITQ_TESTS_CLIENT_SCENARIOS_H_
