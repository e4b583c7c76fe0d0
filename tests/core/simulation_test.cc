// The simulation itself.

#include "tests/core/simulation.h"

#include <cstdint>
#include <memory>

#include "core/task.h"
#include "core/wait_event.h"
#include "core/wait_queue.h"
#include "gtest/gtest.h"
#include "tests/core/fibers.h"
#include "tests/support/random.h"

namespace waitq::test {
namespace {

// Some wait until all have come.
class MeetingWorld final : public World {
 public:
  explicit MeetingWorld(Fibers* fibers) : World(fibers) {
    const int64_t count = Between(3, 8);
    for (int64_t i = 0; i < count; ++i) {
      Start("guest", [this, count] {
        ++here_;
        queue_.WakeUpAll();
        while (WaitEventInterruptibleTimeout(
                   queue_, [&] { return here_ == count; }, Between(1, 10)) <=
               0) {
          ClearSignals(task());
        }
      });
    }
    StartNoise(20, [] {});
  }

 private:
  void CheckAllMaySleep() override {
    Check(here_ < fibers_.count() - 1, "nobody waits when all are here");
  }
  bool LetGo() override { return false; }

  WaitQueue queue_;
  int64_t here_ = 0;
};

TEST(SimulationTest, TheSameSeedIsTheSameRunAndAnotherIsNot) {
  const uint64_t seed = Seed();
  const MakeWorld make = [](Fibers* fibers) {
    return std::make_unique<MeetingWorld>(fibers);
  };
  for (uint64_t i = 0; i < 100; ++i) {
    const auto trace = TraceOf(seed + i, make);
    EXPECT_EQ(trace, TraceOf(seed + i, make));
    EXPECT_NE(trace, TraceOf(seed + i + 1, make));
  }
}

}  // namespace
}  // namespace waitq::test
