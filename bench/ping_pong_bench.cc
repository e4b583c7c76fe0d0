// Two threads that wake each other in turn: what a sleep and a wake-up cost.
//
// Each contender waits for its turn in its own way; a turn is an atomic word in
// all of them. None spins, except where the name says so. One iteration is a
// round trip: two sleeps, two wake-ups.

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "bench/threads.h"
#include "benchmark/benchmark.h"
#include "core/futex.h"
#include "core/task.h"
#include "core/wait_event.h"
#include "core/wait_queue.h"

namespace waitq {
namespace {

// --- Contenders: Pass() gives the turn to a side, Await() waits for it
// --------

// The least there is: what our Task does, without queue, state or lock. As in
// any use of a futex, the one who sleeps says so, or each Pass() would call the
// kernel.
class BareFutex {
 public:
  void Pass(uint32_t side) {
    Side& to = sides_[side];
    if (to.word.exchange(kMyTurn) == kAsleep) FutexWakeOne(&to.word);
  }
  void Await(uint32_t side) {
    std::atomic<uint32_t>& word = sides_[side].word;
    uint32_t value = kNotMyTurn;
    if (word.compare_exchange_strong(value, kAsleep)) {
      do {
        FutexWait(word, kAsleep);
      } while (word.load() == kAsleep);
    }
    word.store(kNotMyTurn);
  }

 private:
  static constexpr uint32_t kNotMyTurn = 0, kMyTurn = 1, kAsleep = 2;
  struct alignas(64) Side {
    std::atomic<uint32_t> word{kNotMyTurn};
  };
  Side sides_[2];
};

class StdConditionVariable {
 public:
  void Pass(uint32_t side) {
    Side& to = sides_[side];
    {
      std::lock_guard<std::mutex> lock(to.mu);
      to.turn = true;
    }
    to.cv.notify_one();
  }
  void Await(uint32_t side) {
    Side& own = sides_[side];
    std::unique_lock<std::mutex> lock(own.mu);
    own.cv.wait(lock, [&] { return own.turn; });
    own.turn = false;
  }

 private:
  struct alignas(64) Side {
    std::mutex mu;
    std::condition_variable cv;
    bool turn = false;
  };
  Side sides_[2];
};

class AbslCondVar {
 public:
  void Pass(uint32_t side) {
    Side& to = sides_[side];
    {
      absl::MutexLock lock(&to.mu);
      to.turn = true;
    }
    to.cv.Signal();
  }
  void Await(uint32_t side) {
    Side& own = sides_[side];
    absl::MutexLock lock(&own.mu);
    while (!own.turn) own.cv.Wait(&own.mu);
    own.turn = false;
  }

 private:
  struct alignas(64) Side {
    absl::Mutex mu;
    absl::CondVar cv;
    bool turn = false;
  };
  Side sides_[2];
};

// libstdc++'s looks sixteen times before it sleeps.
class StdAtomicWaitWhichSpins {
 public:
  void Pass(uint32_t side) {
    sides_[side].turn.store(1);
    sides_[side].turn.notify_one();
  }
  void Await(uint32_t side) {
    sides_[side].turn.wait(0);
    sides_[side].turn.store(0);
  }

 private:
  struct alignas(64) Side {
    std::atomic<int> turn{0};
  };
  Side sides_[2];
};

class WaitqWaitQueue {
 public:
  void Pass(uint32_t side) {
    sides_[side].turn.store(true, std::memory_order_relaxed);
    sides_[side].queue.WakeUp();
  }
  void Await(uint32_t side) {
    Side& own = sides_[side];
    WaitEvent(own.queue,
              [&] { return own.turn.load(std::memory_order_relaxed); });
    own.turn.store(false, std::memory_order_relaxed);
  }

 private:
  struct alignas(64) Side {
    WaitQueue queue;
    std::atomic<bool> turn{false};
  };
  Side sides_[2];
};

class WaitqWaitQueueWhichSpins : public WaitqWaitQueue {
 public:
  void Await(uint32_t side) {
    Task::Current().set_spins(16);
    WaitqWaitQueue::Await(side);
    Task::Current().set_spins(0);
  }
};

template <class Contender>
void BM_PingPong(benchmark::State& state) {
  Contender contender;
  std::atomic<bool> stop{false};
  std::thread pong([&] {
    const OnProcessor second(1);
    for (;;) {
      contender.Await(1);
      if (stop) return;
      contender.Pass(0);
    }
  });
  const OnProcessor first(0);
  for (auto _ : state) {
    contender.Pass(1);
    contender.Await(0);
  }
  stop = true;
  contender.Pass(1);
  pong.join();
}
BENCHMARK(BM_PingPong<BareFutex>)->UseRealTime();
BENCHMARK(BM_PingPong<StdConditionVariable>)->UseRealTime();
BENCHMARK(BM_PingPong<AbslCondVar>)->UseRealTime();
BENCHMARK(BM_PingPong<StdAtomicWaitWhichSpins>)->UseRealTime();
BENCHMARK(BM_PingPong<WaitqWaitQueue>)->UseRealTime();
BENCHMARK(BM_PingPong<WaitqWaitQueueWhichSpins>)->UseRealTime();

}  // namespace
}  // namespace waitq
