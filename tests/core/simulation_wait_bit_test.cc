// Bits that are taken and given back, and a variable that counts them,
// simulated.

#include <array>
#include <atomic>
#include <cerrno>
#include <utility>

#include "absl/time/time.h"
#include "core/task.h"
#include "core/wait_bit.h"
#include "gtest/gtest.h"
#include "tests/core/simulation.h"

namespace waitq {
namespace {

using test::Fibers;
using test::Simulate;
using test::World;

class BitWorld final : public World {
 public:
  explicit BitWorld(Fibers* fibers) : World(fibers) {
    for (int64_t n = Between(1, 5); n > 0; --n) {
      ++lockers_;
      Start("locker", [this] { LockRepeatedly(); });
    }
    for (int64_t n = Between(0, 3); n > 0; --n) {
      Start("waiter", [this] { WaitRepeatedly(); });
    }
    for (int64_t n = Between(0, 2); n > 0; --n) {
      Start("last", [this] { AwaitTheEnd(); });
    }
    StartNoise(OneIn(3) ? 0 : static_cast<int>(Between(1, 30)), [this] {
      WakeUpBit(&word_, RandomBit());
      WakeUpVar(&lockers_);
    });
  }

 private:
  static constexpr int kBits = 2;

  int RandomBit() { return static_cast<int>(Between(0, kBits - 1)); }
  TaskState RandomState() {
    return OneIn(2) ? kInterruptible : OneIn(2) ? kKillable : kUninterruptible;
  }
  bool is_set(int bit) const { return (word_ >> bit & 1) != 0; }

  void LockRepeatedly() {
    for (int64_t n = Between(1, 6); n > 0; --n) {
      Yield("next lock");
      Lock(RandomBit());
      if (!OneIn(4)) ClearSignals(task());
    }
    // The last one wakes.
    AtomicDecAndWakeUp(&lockers_);
  }

  void Lock(int bit) {
    const TaskState state = RandomState();
    sleeps_for_[fibers_.current()] = bit;
    const int result = WaitOnBitLock(&word_, bit, state);
    Check(task().state() == kRunning, "who returned is running");
    if (result != 0) {
      Check(result == -EINTR && task().SignalPendingIn(state),
            "only a signal ends it");
      return;
    }
    Check(!std::exchange(taken_[bit], true), "one at a time has a bit");
    Check(is_set(bit), "who has it has set it");
    Yield("has the bit");
    taken_[bit] = false;
    OneIn(2) ? ClearAndWakeUpBit(&word_, bit)
             : static_cast<void>(TestAndClearWakeUpBit(&word_, bit));
  }

  void WaitRepeatedly() {
    for (int64_t n = Between(1, 6); n > 0; --n) {
      Yield("next wait");
      const int bit = RandomBit();
      const TaskState state = RandomState();
      const Ticks timeout = Between(0, 20);
      const absl::Time deadline = Now() + timeout * kTick;
      const bool timed = OneIn(2);
      sleeps_for_[fibers_.current()] = bit;
      const int result = timed ? WaitOnBitTimeout(&word_, bit, state, timeout)
                               : WaitOnBit(&word_, bit, state);
      if (result == -EINTR) {
        Check(task().SignalPendingIn(state), "there was a signal");
      } else if (result == -EAGAIN) {
        Check(timed && Now() >= deadline, "nobody times out early");
      } else {
        Check(result == 0, "else the bit was clear");
      }
      if (!OneIn(4)) ClearSignals(task());
    }
  }

  void AwaitTheEnd() {
    Yield("waits for the end");
    sleeps_for_[fibers_.current()] = kBits;
    const auto over = [this] {
      const bool is_over = lockers_ == 0;
      if (!is_over && OneIn(2)) Yield("tested");
      return is_over;
    };
    if (OneIn(2)) {
      WaitVarEvent(&lockers_, over);
      Check(lockers_ == 0, "success is the condition");
    } else {
      Check(WaitVarEventInterruptible(&lockers_, over) == 0
                ? lockers_ == 0
                : task().SignalPending(),
            "else there was a signal");
    }
  }

  void CheckAllMaySleep() override {
    for (int fiber = 0; fiber < fibers_.count(); ++fiber) {
      if (!fibers_.asleep(fiber)) continue;
      const int bit = sleeps_for_[fiber];
      Check(bit == kBits ? lockers_ != 0 : is_set(bit),
            "nobody sleeps for what is there");
    }
  }

  bool LetGo() override { return false; }

  BitWord word_ = 0;
  std::atomic<int> lockers_ = 0;
  std::array<bool, kBits> taken_ = {};
  std::array<int, 64> sleeps_for_ = {};
};

TEST(WaitBitSimulationTest, NobodySleepsForWhatIsThere) {
  Simulate<BitWorld>("bits", 40'000);
}

}  // namespace
}  // namespace waitq
