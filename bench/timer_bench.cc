// What a timer costs, and how late it fires.

#include <algorithm>
#include <atomic>
#include <deque>
#include <random>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "bench/threads.h"
#include "benchmark/benchmark.h"
#include "core/clock.h"
#include "core/mutex.h"
#include "core/timers.h"

namespace waitq {
namespace {

struct IdleTimer : Timer {
  IdleTimer() : Timer([](Timer&) {}) {}
};

void BM_LockAndUnlock(benchmark::State& state) {
  BeMultiThreaded();
  Mutex mu;
  for (auto _ : state) {
    mu.Lock();
    benchmark::ClobberMemory();
    mu.Unlock();
  }
}
BENCHMARK(BM_LockAndUnlock);

// Deadlines within the next ten minutes, at random, as timeouts of remote
// calls.
void BM_ArmAndCancel(benchmark::State& state) {
  BeMultiThreaded();
  Timers timers(&Clock::Real());
  const absl::Time now = Clock::Real().Now() + absl::Hours(1);
  std::mt19937_64 random(1);
  const auto deadline = [&] {
    return now + absl::Microseconds(random() % 600'000'000);
  };
  std::deque<IdleTimer> armed(static_cast<size_t>(state.range(0)));
  for (IdleTimer& timer : armed) timers.Arm(timer, deadline());
  // Drawn beforehand: the generator is not what is measured.
  std::vector<absl::Time> deadlines(1 << 16);
  std::generate(deadlines.begin(), deadlines.end(), deadline);
  size_t next = 0;
  IdleTimer timer;
  for (auto _ : state) {
    timers.Arm(timer, deadlines[next++ % deadlines.size()]);
    timers.Cancel(timer);
  }
  for (IdleTimer& other : armed) timers.Cancel(other);
}
BENCHMARK(BM_ArmAndCancel)->Arg(0)->Arg(1'000'000);

// Ten thousand timers over a second, on the machine's clock.
struct LateTimer : Timer {
  LateTimer() : Timer(&OnFire) {}
  static void OnFire(Timer& timer) {
    auto& self = static_cast<LateTimer&>(timer);
    self.lateness = Clock::Real().Now() - self.deadline;
    self.left->fetch_sub(1);
  }
  absl::Time deadline;
  absl::Duration lateness;
  std::atomic<int>* left = nullptr;
};

void BM_Expiry(benchmark::State& state) {
  for (auto _ : state) {
    Timers timers(&Clock::Real());
    TimerThread thread(&timers);
    std::atomic<int> left{static_cast<int>(state.range(0))};
    std::deque<LateTimer> all(static_cast<size_t>(state.range(0)));
    std::mt19937_64 random(1);
    const absl::Time now = Clock::Real().Now();
    for (LateTimer& timer : all) {
      timer.left = &left;
      timer.deadline = now + absl::Milliseconds(50) +
                       absl::Nanoseconds(random() % 1'000'000'000);
      timers.Arm(timer, timer.deadline);
    }
    while (left > 0) absl::SleepFor(absl::Milliseconds(10));
    std::vector<absl::Duration> lateness;
    for (LateTimer& timer : all) {
      timers.CancelSync(timer);  // the last one may still be firing
      lateness.push_back(timer.lateness);
    }
    std::sort(lateness.begin(), lateness.end());
    state.counters["earliest_us"] =
        absl::ToDoubleMicroseconds(lateness.front());
    state.counters["p50_us"] =
        absl::ToDoubleMicroseconds(lateness[lateness.size() / 2]);
    state.counters["p99_us"] =
        absl::ToDoubleMicroseconds(lateness[lateness.size() * 99 / 100]);
    state.counters["max_us"] = absl::ToDoubleMicroseconds(lateness.back());
  }
}
BENCHMARK(BM_Expiry)->Arg(10'000)->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace waitq
