// Simple wait queues, simulated: takers of tokens, one wake-up for each.

#include <algorithm>

#include "absl/time/time.h"
#include "core/swait.h"
#include "core/task.h"
#include "gtest/gtest.h"
#include "tests/core/simulation.h"

namespace waitq {
namespace {

using test::Fibers;
using test::Simulate;
using test::World;

class SwaitWorld final : public World {
 public:
  explicit SwaitWorld(Fibers* fibers) : World(fibers) {
    for (int64_t n = Between(1, 6); n > 0; --n) {
      Start("taker", [this] { TakeRepeatedly(); });
    }
    for (int64_t n = Between(1, 3); n > 0; --n) {
      Start("poster", [this] { PostRepeatedly(); });
    }
    StartNoise(OneIn(3) ? 0 : static_cast<int>(Between(1, 30)),
               [this] { OneIn(2) ? queue_.WakeUpAll() : queue_.WakeUpOne(); });
  }

 private:
  struct Try {
    Ticks timeout = 0;
    absl::Time deadline = absl::InfiniteFuture();
    bool taken = false;
  };

  auto Take(Try& t) {
    return [this, &t] {
      Check(!t.taken, "a condition that was true is not asked again");
      if (tokens_ == 0) {
        if (OneIn(2)) Yield("tested");
        return false;
      }
      --tokens_;
      ++taken_;
      return t.taken = true;
    };
  }

  void TakeRepeatedly() {
    for (int64_t n = Between(1, 6); n > 0; --n) {
      Yield("next try");
      Take();
      Check(task().state() == kRunning, "who returned is running");
      if (!OneIn(4)) ClearSignals(task());
    }
  }

  void Take() {
    Try t;
    const auto take = Take(t);
    t.timeout = OneIn(8) ? kMaxScheduleTimeout : Between(0, 20);
    const absl::Time deadline = task().DeadlineAfter(t.timeout);
    switch (Between(0, 5)) {
      case 0:
        SwaitEventExclusive(queue_, take);
        return CheckUntimed(t, 0);
      case 1:
        SwaitEventIdleExclusive(queue_, take);
        return CheckUntimed(t, 0);
      case 2:
        t.deadline = deadline;
        return CheckTimed(t,
                          SwaitEventTimeoutExclusive(queue_, take, t.timeout));
      case 3:
        t.deadline = deadline;
        return CheckTimed(
            t, SwaitEventIdleTimeoutExclusive(queue_, take, t.timeout));
      case 4:
        t.deadline = deadline;
        return CheckTimed(t, SwaitEventInterruptibleTimeoutExclusive(
                                 queue_, take, t.timeout));
      default:
        return CheckUntimed(t, SwaitEventInterruptibleExclusive(queue_, take));
    }
  }

  // A wake-up may choose one whose condition was true by itself.
  void PassOn(const Try& t) {
    if (t.taken && tokens_ > 0) queue_.WakeUpOne();
  }

  void CheckUntimed(const Try& t, int result) {
    PassOn(t);
    if (result == -kErestartsys) return CheckInterrupted(t);
    Check(result == 0 && t.taken, "success is a token");
  }

  void CheckTimed(const Try& t, Ticks left) {
    PassOn(t);
    if (left == -kErestartsys) return CheckInterrupted(t);
    Check((left > 0) == t.taken, "success is a token");
    if (left == 0) Check(Now() >= t.deadline, "nobody times out early");
    Check(left <= std::max<Ticks>(t.timeout, 1), "what is left was given");
  }

  void CheckInterrupted(const Try& t) {
    Check(!t.taken, "an interrupted one takes nothing");
    Check(task().SignalPending(), "there was a signal");
  }

  void PostRepeatedly() {
    for (int64_t n = Between(1, 12); n > 0; --n) {
      Yield("next post");
      const int64_t tokens = OneIn(4) ? Between(2, 4) : 1;
      Add(tokens);
      Yield("posted");
      if (OneIn(3) && !queue_.HasSleeper()) continue;
      Yield("to wake");
      if (tokens > 1 && OneIn(2)) {
        queue_.WakeUpAll();
      } else {
        for (int64_t i = 0; i < tokens; ++i) queue_.WakeUpOne();
      }
    }
  }

  void Add(int64_t n) {
    posted_ += n;
    tokens_ += n;
  }

  void CheckAllMaySleep() override {
    Check(tokens_ == 0, "nobody sleeps while there is a token");
  }

  bool LetGo() override {
    Add(1);
    queue_.WakeUpOne();
    return true;
  }

  void CheckEnd() override {
    Check(posted_ == taken_ + tokens_, "what was posted was taken, or is left");
    Check(!queue_.HasSleeper(), "nobody is queued in the end");
  }

  SwaitQueue queue_;
  int64_t tokens_ = 0;
  int64_t posted_ = 0;
  int64_t taken_ = 0;
};

TEST(SwaitSimulationTest, NoWakeUpIsLostAndEveryResultIsRight) {
  Simulate<SwaitWorld>("simple wait queues", 40'000);
}

}  // namespace
}  // namespace waitq
