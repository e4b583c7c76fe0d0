#include "tests/client/scenarios.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"
#include "tests/client/scenario_lists.h"
#include "tests/support/wait_until.h"

namespace waitq::test {
namespace {

// A scenario takes milliseconds.
constexpr absl::Duration kHangs = absl::Seconds(60);

std::vector<Scenario> Join(
    std::initializer_list<const std::vector<Scenario>*> lists) {
  std::vector<Scenario> all;
  for (const auto* list : lists) {
    all.insert(all.end(), list->begin(), list->end());
  }
  return all;
}

// Ends the program if it is not destroyed in time.
class Watch {
 public:
  explicit Watch(const std::string& what)
      : thread_([this, what] {
          if (done_.WaitForNotificationWithTimeout(kHangs)) return;
          std::fprintf(stderr, "%s hangs\n", what.c_str());
          std::abort();
        }) {}
  ~Watch() {
    done_.Notify();
    thread_.join();
  }

 private:
  absl::Notification done_;
  std::thread thread_;
};

}  // namespace

engine::Limits LimitsOfWorlds() {
  engine::Limits limits;
  limits.operations_per_session = 256;
  limits.sleepers_per_object = 300;
  limits.pipe_bytes = 8 << 20;
  return limits;
}

void Scene::AwaitAsleep(const std::string& object, size_t n) const {
  WaitUntil([&] { return world.Asleep(object) == n; });
}

const std::vector<Scenario>& Scenarios() {
  static const auto* const all = new std::vector<Scenario>(
      Join({&WaitScenarios(), &PipeScenarios(), &ObjectScenarios(),
            &KitScenarios(), &PollerScenarios(), &AnyScenarios()}));
  return *all;
}

void RunScenario(World& world, const Scenario& scenario,
                 const std::string& what) {
  static std::atomic<int> runs = 0;
  SCOPED_TRACE(what);
  const Watch watch(absl::StrCat(scenario.name, ", ", what));
  const auto a = world.NewClient({.caller = "a"});
  const auto b = world.NewClient({.caller = "b"});
  Scene scene{.world = world,
              .a = *a,
              .b = *b,
              .prefix = absl::StrCat(scenario.name, "/", ++runs)};
  // The first call brings the session, and if that fails it is not repeated.
  for (Client* client : {&scene.a, &scene.b}) {
    EXPECT_FALSE(client->Get(scene.Name("nothing")).ok());
  }
  scenario.run(scene);
}

}  // namespace waitq::test
