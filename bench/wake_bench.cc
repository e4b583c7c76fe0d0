// What a wake-up costs its waker: of nobody, of one among many, of all.

#include <algorithm>
#include <atomic>
#include <deque>
#include <numeric>
#include <random>
#include <vector>

#include "bench/threads.h"
#include "benchmark/benchmark.h"
#include "core/mutex.h"
#include "core/wait_queue.h"

namespace waitq {
namespace {

// --- Of nobody ---------------------------------------------------------------

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

void BM_WakeUpOfNobody(benchmark::State& state) {
  BeMultiThreaded();
  WaitQueue queue;
  for (auto _ : state) benchmark::DoNotOptimize(queue.WakeUp());
}
BENCHMARK(BM_WakeUpOfNobody);

void BM_FenceAndLoad(benchmark::State& state) {
  std::atomic<void*> word{nullptr};
  benchmark::DoNotOptimize(&word);
  for (auto _ : state) {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    benchmark::DoNotOptimize(word.load(std::memory_order_relaxed));
  }
}
BENCHMARK(BM_FenceAndLoad);

void BM_HasSleeperThenWakeUpOfNobody(benchmark::State& state) {
  BeMultiThreaded();
  WaitQueue queue;
  benchmark::DoNotOptimize(&queue);
  for (auto _ : state) {
    if (queue.HasSleeper()) queue.WakeUp();
  }
}
BENCHMARK(BM_HasSleeperThenWakeUpOfNobody);

// --- Of callback sleepers ----------------------------------------------------

// A remote operation in small: a task without a thread. Waking it claims it and
// takes it out of line.
constexpr SignalDispositions kDefaults;

struct Callback {
  Callback() : task(&kDefaults), entry(&task, &OnWake, WaitEntry::kExclusive) {}

  static int OnWake(WaitEntry& entry, TaskState mode, int, void*) {
    if (!entry.task()->TryToWake(mode)) return 0;
    WaitList::Remove(entry);
    return 1;
  }

  Task task;
  WaitEntry entry;
};

// In line in the order in which they were made, or in any order.
enum Order { kAsMade, kShuffled };

class Sleepers {
 public:
  Sleepers(size_t n, Order order) : callbacks_(n), order_(n) {
    std::iota(order_.begin(), order_.end(), 0);
    if (order == kShuffled) {
      std::shuffle(order_.begin(), order_.end(), std::mt19937_64(1));
    }
  }
  ~Sleepers() { queue.WakeUpAll(); }

  void PutAllToSleep() {
    for (const size_t i : order_) {
      queue.PrepareToWaitExclusive(callbacks_[i].entry, kInterruptible);
    }
  }
  size_t size() const { return order_.size(); }
  // The nth in line.
  Callback& At(size_t n) { return callbacks_[order_[n]]; }

  WaitQueue queue;

 private:
  std::vector<Callback> callbacks_;
  std::vector<size_t> order_;
};

// Wakes the first in line, which then queues again at the end: everybody's turn
// comes, so that with many each is cold. Touching the same ones in the same
// order shows what of it is the machine's memory.
void BM_WakeUpOneOf(benchmark::State& state) {
  BeMultiThreaded();
  Sleepers sleepers(static_cast<size_t>(state.range(0)), kAsMade);
  sleepers.PutAllToSleep();
  size_t next = 0;
  for (auto _ : state) {
    sleepers.queue.WakeUp();
    sleepers.queue.PrepareToWaitExclusive(sleepers.At(next).entry,
                                          kInterruptible);
    if (++next == sleepers.size()) next = 0;
  }
}
BENCHMARK(BM_WakeUpOneOf)->Arg(1)->Arg(1'000)->Arg(1'000'000);

// --- Of all ------------------------------------------------------------------

struct TouchedNode {
  TouchedNode* next = nullptr;
  std::atomic<int64_t> touched{0};
  char rest[sizeof(Callback) - 16];
};

void BM_WalkAndTouch(benchmark::State& state) {
  const size_t n = static_cast<size_t>(state.range(0));
  std::vector<TouchedNode> nodes(n);
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  if (state.range(1) == kShuffled) {
    std::shuffle(order.begin(), order.end(), std::mt19937_64(1));
  }
  for (size_t i = 0; i + 1 < n; ++i)
    nodes[order[i]].next = &nodes[order[i + 1]];
  for (auto _ : state) {
    for (TouchedNode* node = &nodes[order[0]]; node != nullptr;
         node = node->next) {
      node->touched.store(1, std::memory_order_relaxed);
    }
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_WalkAndTouch)
    ->Args({1'000'000, kAsMade})
    ->Args({1'000'000, kShuffled})
    ->Unit(benchmark::kMillisecond);

void BM_WakeUpAll(benchmark::State& state) {
  BeMultiThreaded();
  Sleepers sleepers(static_cast<size_t>(state.range(0)),
                    static_cast<Order>(state.range(1)));
  for (auto _ : state) {
    state.PauseTiming();
    sleepers.PutAllToSleep();
    state.ResumeTiming();
    sleepers.queue.WakeUpAll();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
  state.counters["entry_bytes"] = sizeof(WaitEntry);
}
BENCHMARK(BM_WakeUpAll)
    ->Args({1'000'000, kAsMade})
    ->Args({1'000'000, kShuffled})
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace waitq
