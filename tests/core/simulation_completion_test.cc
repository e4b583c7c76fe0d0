// Completions, simulated.
//
// The model is a counter. It is exact at every moment: a completion changes
// under its lock, where nobody pauses, and none of its methods pauses after it.

#include <algorithm>
#include <cstdint>

#include "absl/time/time.h"
#include "core/completion.h"
#include "core/task.h"
#include "gtest/gtest.h"
#include "tests/core/simulation.h"

namespace waitq {
namespace {

using test::Fibers;
using test::Simulate;
using test::World;

class CompletionWorld final : public World {
 public:
  explicit CompletionWorld(Fibers* fibers) : World(fibers) {
    all_ = OneIn(3);
    reinits_ = OneIn(3);
    for (int64_t n = Between(1, 6); n > 0; --n) {
      Start("waiter", [this] { WaitRepeatedly(); });
    }
    for (int64_t n = Between(1, 3); n > 0; --n) {
      Start("completer", [this] { CompleteRepeatedly(); });
    }
    StartNoise(OneIn(3) ? 0 : static_cast<int>(Between(1, 30)),
               [this] { LookAt(); });
  }

 private:
  // --- The model -------------------------------------------------------------

  bool done() const { return done_ > 0 || all_done_; }

  void Add() {
    completion_.Complete();
    if (!all_done_) ++done_;
  }
  void AddAll() {
    completion_.CompleteAll();
    all_done_ = true;
  }
  void Reinit() {
    completion_.Reinit();
    done_ = 0;
    all_done_ = false;
  }
  void Take() {
    Check(done(), "who succeeds has something to take");
    if (!all_done_) --done_;
  }

  void CheckAllMaySleep() override {
    Check(!done(), "nobody sleeps while something is done");
  }

  bool LetGo() override {
    OneIn(2) ? Add() : AddAll();
    return true;
  }

  void CheckEnd() override {
    Check(completion_.Done() == done(), "it is done as often as in the model");
    if (all_done_) return;
    for (; done_ > 0; Take()) {
      Check(completion_.TryWait(), "it is done as often as in the model");
    }
    Check(!completion_.TryWait(), "it is done as often as in the model");
  }

  // --- Fibers ----------------------------------------------------------------

  void LookAt() {
    Check(completion_.Done() == done(), "Done() is the model's");
    if (!OneIn(4)) return;
    const bool could = done();
    const bool taken = completion_.TryWait();
    Check(taken == could, "TryWait() takes if there is something");
    if (taken) Take();
  }

  void CompleteRepeatedly() {
    for (int64_t n = Between(1, 12); n > 0; --n) {
      Yield("next completion");
      if (reinits_ && OneIn(6)) {
        Reinit();
      } else if (all_ && OneIn(6)) {
        AddAll();
      } else {
        Add();
      }
    }
  }

  void WaitRepeatedly() {
    for (int64_t n = Between(1, 6); n > 0; --n) {
      Yield("next wait");
      OneIn(2) ? Wait() : WaitWithTimeout();
      Check(task().state() == kRunning, "who returned is running");
      if (OneIn(6)) LookAt();
      // Sometimes a signal stays pending for the next wait.
      if (!OneIn(4)) ClearSignals(task());
    }
  }

  void Wait() {
    switch (Between(0, 2)) {
      case 0:
        completion_.Wait();
        return Take();
      case 1:
        return CheckUntimed(kInterruptible, completion_.WaitInterruptible());
      case 2:
        return CheckUntimed(kKillable, completion_.WaitKillable());
    }
  }

  void WaitWithTimeout() {
    const Ticks timeout = OneIn(8) ? kMaxScheduleTimeout : Between(0, 20);
    const absl::Time deadline = task().DeadlineAfter(timeout);
    TaskState state = kUninterruptible;
    Ticks left = 0;
    switch (Between(0, 2)) {
      case 0:
        left = completion_.WaitTimeout(timeout);
        break;
      case 1:
        state = kInterruptible;
        left = completion_.WaitInterruptibleTimeout(timeout);
        break;
      case 2:
        state = kKillable;
        left = completion_.WaitKillableTimeout(timeout);
        break;
    }
    if (left < 0) return CheckUntimed(state, static_cast<int>(left));
    if (left == 0) {
      Check(!done(), "success beats the timeout");
      Check(Now() >= deadline, "nobody times out early");
      return;
    }
    Take();
    Check(left <= std::max<Ticks>(timeout, 1),
          "what is left is in the timeout");
    if (timeout == kMaxScheduleTimeout) {
      return Check(left == timeout, "what never ends comes back as it is");
    }
    // All, if it has not slept.
    Check(left == timeout ||
              left == std::max<Ticks>(
                          absl::Ceil(deadline - Now(), kTick) / kTick, 1),
          "what is left is what remains of the timeout");
  }

  void CheckUntimed(TaskState state, int result) {
    if (result == 0) return Take();
    Check(result == -kErestartsys, "the result is one of two");
    Check(!done(), "success beats a signal");
    Check(task().SignalPendingIn(state), "a signal was sent that ends it");
  }

  bool all_;
  bool reinits_;
  Completion completion_;
  uint32_t done_ = 0;
  bool all_done_ = false;
};

TEST(CompletionSimulationTest, NCompletesAdmitNWaits) {
  Simulate<CompletionWorld>("completions", 20'000);
}

}  // namespace
}  // namespace waitq
