// Many threads on one queue, with everything that can end a sleep at once.

#include <atomic>
#include <csignal>
#include <deque>
#include <thread>

#include "absl/time/time.h"
#include "core/mutex.h"
#include "core/simulated_clock.h"
#include "core/task.h"
#include "core/wait_event.h"
#include "core/wait_queue.h"
#include "gtest/gtest.h"
#include "tests/core/sleeper.h"
#include "tests/support/random.h"
#include "tests/support/wait_until.h"

namespace waitq {
namespace {

using test::Random;
using test::Seed;
using test::Sleeper;
using test::Times;
using test::WaitUntil;

class WaitStressTest : public testing::Test {
 protected:
  void TearDown() override {
    EXPECT_FALSE(queue_.HasSleeper()) << "somebody is left";
    EXPECT_FALSE(clock_.timers().NextWork().has_value()) << "a timer is armed";
  }

  // Takes a token, if there is one. What takes may be a condition here: the
  // first time that it is true is the last time that it is called.
  bool Take() {
    int have = tokens_;
    while (have > 0) {
      if (tokens_.compare_exchange_weak(have, have - 1)) {
        ++taken_;
        return true;
      }
    }
    return false;
  }

  // Exclusive, interruptible, and with a timeout of `timeout` ticks: the one
  // form that wait_event() does not have. True if it has taken one.
  bool TakeWithTimeout(Ticks timeout) {
    return internal::WaitEventTimeout(
               internal::ExclusivelyIn(queue_), kInterruptible,
               [this] { return Take(); }, timeout) > 0;
  }

  // One taker. Whoever fails goes away until the next burst: it does not look
  // again by itself, so a wake-up that it swallowed stays swallowed.
  int64_t TakeUntilStopped(bool timed, uint64_t seed) {
    Random random(seed);
    while (!stop_) {
      const bool taken =
          timed && random.OneIn(2)
              ? TakeWithTimeout(1 + static_cast<Ticks>(random.Below(20)))
              : WaitEventInterruptibleExclusive(
                    queue_, [this] { return Take() || stop_; }) == 0;
      Task::Current().ClearSignal(SIGUSR1);
      if (taken) continue;
      int burst;
      {
        MutexLock lock(&mu_);
        burst = burst_;
        ++away_;
      }
      burst_.wait(burst);
    }
    return 0;
  }

  void NextBurst() {
    {
      MutexLock lock(&mu_);
      ++burst_;
      away_ = 0;
    }
    burst_.notify_all();
  }

  void Post() {
    ++posted_;
    ++tokens_;
    queue_.WakeUp();
  }

  SimulatedClock clock_;
  WaitQueue queue_;
  std::atomic<int> tokens_ = 0;
  std::atomic<int> taken_ = 0;
  Mutex mu_;  // for these two together
  std::atomic<int> burst_ = 0;
  std::atomic<int> away_ = 0;  // takers that have gone away in this burst
  std::atomic<bool> stop_ = false;
  int posted_ = 0;
};

// One wake-up for each token, into a crowd of exclusive sleepers whose sleeps
// are ended by signals and timeouts too. Between the bursts nothing stirs: a
// swallowed wake-up leaves a token, and somebody asleep.
//
// Guards the test of the condition after the sleep in WaitEventLoop(), before a
// signal counts.
TEST_F(WaitStressTest, EveryTokenIsTakenWhateverElseEndsTheSleeps) {
  constexpr int kTakers = 6;
  const uint64_t seed = Seed();
  Random random(seed);
  std::atomic<int> ready = 0;
  std::deque<Sleeper> takers;
  for (int i = 0; i < kTakers; ++i) {
    takers.emplace_back(
        [this, &ready, i, seed] {
          Task::Current().dispositions().handled = SignalSet::Of(SIGUSR1);
          ++ready;  // for signals
          return TakeUntilStopped(i % 2 == 0, seed + i);
        },
        &clock_.timers());
  }
  WaitUntil([&] { return ready == kTakers; });
  // A few disturbances a burst: somebody should be left asleep.
  std::atomic<int> noises = 0;
  std::thread noise([&, own = Random(seed + kTakers)]() mutable {
    while (!stop_) {
      if (noises == 0) {
        std::this_thread::yield();
        continue;
      }
      takers[own.Below(kTakers)].task().SendSignal(SIGUSR1);
      if (own.OneIn(4)) {
        clock_.Advance(static_cast<int64_t>(own.Below(10)) * kTick);
      }
      --noises;
    }
  });
  const int bursts = Times(10'000);
  for (int burst = 0; burst < bursts; ++burst) {
    NextBurst();
    // Mostly they are asleep when the tokens and the noise come.
    if (!random.OneIn(4)) {
      WaitUntil([&] {
        int asleep = 0;
        for (Sleeper& taker : takers) asleep += taker.asleep() ? 1 : 0;
        return asleep + away_ == kTakers;
      });
    }
    noises = static_cast<int>(random.Below(4));
    for (uint64_t n = random.Below(4); n > 0; --n) {
      Post();
      if (random.OneIn(3)) std::this_thread::yield();
    }
    WaitUntil([&] { return noises == 0; });
    WaitUntil([&] { return tokens_ == 0 || away_ == kTakers; });
    WaitUntil([&] { return taken_ + tokens_ == posted_; });
  }
  stop_ = true;
  noise.join();
  WaitUntil([&] {
    NextBurst();
    queue_.WakeUpAll();
    clock_.Advance(kTick);
    for (Sleeper& taker : takers) {
      if (!taker.returned()) return false;
    }
    return true;
  });
  EXPECT_EQ(taken_ + tokens_, posted_);
}

// Guards the lock in WaitQueue::FinishWait(): the entry is on a stack that is
// gone when it returns, and a waker may be in it. With the thread sanitizer.
TEST_F(WaitStressTest, AnEntryMayDieRightAfterItsWakeUp) {
  const int rounds = Times(10'000);
  std::atomic<int> round = 0;
  std::deque<Sleeper> sleepers;
  for (int i = 0; i < 3; ++i) {
    sleepers.emplace_back([&] {
      for (int mine = 1; mine <= rounds; ++mine) {
        WaitEvent(queue_, [&] { return round >= mine; });
      }
      return 0;
    });
  }
  for (int i = 1; i <= rounds; ++i) {
    round = i;
    queue_.WakeUpAll();
    if (i % 16 == 0) std::this_thread::yield();
  }
}

}  // namespace
}  // namespace waitq
