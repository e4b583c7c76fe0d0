// Many threads on one engine, in simulated time.

#ifndef WAITQ_TESTS_ENGINE_STRESS_FIXTURE_H_
#define WAITQ_TESTS_ENGINE_STRESS_FIXTURE_H_

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "core/simulated_clock.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "tests/engine/engine_fixture.h"
#include "tests/engine/homes.h"
#include "tests/support/random.h"

namespace waitq::engine {

// An engine and two homes, each with a thread. At the end nothing is left.
class StressTest : public testing::Test {
 protected:
  static constexpr int kThreads = 4;

  void TearDown() override {
    RemoveAll(engine_);
    homes_[0].AwaitIdle();
    homes_[1].AwaitIdle();
    ExpectNothingHeld(engine_, clock_);
  }

  // Runs `work` in all threads, each with its own random numbers, while time
  // goes on.
  template <class Work>
  void RunThreads(Work work) {
    const uint64_t seed = waitq::test::Seed();
    std::atomic<bool> stop = false;
    std::thread time([&] {
      waitq::test::Random random(seed);
      while (!stop) {
        clock_.Advance(absl::Microseconds(random.Below(500)));
        std::this_thread::yield();
      }
    });
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        waitq::test::Random random(seed + i);
        work(i, random);
      });
    }
    for (std::thread& thread : threads) thread.join();
    stop = true;
    time.join();
  }

  SimulatedClock clock_;
  ThreadHome homes_[2];
  Engine engine_{SmallLimits(), &clock_.timers(), kFirstGeneration};
};

}  // namespace waitq::engine

#endif  // WAITQ_TESTS_ENGINE_STRESS_FIXTURE_H_
