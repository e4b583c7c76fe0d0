// A thread that sleeps, seen from outside.

#ifndef WAITQ_TESTS_CORE_SLEEPER_H_
#define WAITQ_TESTS_CORE_SLEEPER_H_

#include <atomic>
#include <cstdint>
#include <thread>
#include <utility>

#include "core/task.h"
#include "core/timers.h"
#include "tests/support/wait_until.h"

namespace waitq::test {

// Runs `body`, which returns an integer, in a thread of its own.
//
// Destruction waits for the body to return.
class Sleeper {
 public:
  // With `timers`, the thread's timed sleeps are on them.
  template <class Body>
  explicit Sleeper(Body body, Timers* timers = nullptr)
      : thread_([this, timers, body = std::move(body)]() mutable {
          ThreadTask& own = Task::Current();
          if (timers != nullptr) own.set_timers(timers);
          task_ = &own;
          result_ = body();
          returned_ = true;
          // The task dies with its thread, and others may look at it still.
          released_.wait(false);
        }) {
    WaitUntil([this] { return task_ != nullptr; });
  }
  ~Sleeper() {
    WaitUntil([this] { return returned(); });
    released_ = true;
    released_.notify_all();
    thread_.join();
  }
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;

  ThreadTask& task() { return *task_; }
  bool returned() const { return returned_; }
  bool asleep() { return task().state() != kRunning; }

  // Until its state says that it sleeps: from then on no wake-up is lost. But
  // its condition may be about to be tested once more, and be found true.
  void AwaitAsleep() {
    WaitUntil([this] { return asleep(); });
  }
  // The same, and has asked the kernel to: nothing but a wake-up, or what ends
  // such a sleep, makes it go on after that.
  void AwaitParked() {
    WaitUntil([this] { return task().parked(); });
  }
  // As AwaitAsleep(), and its timer is armed. No other timer may be.
  void AwaitAsleepWith(const Timers& timers) {
    WaitUntil([&] { return asleep() && timers.NextWork().has_value(); });
  }

  // What the body returned.
  int64_t Result() {
    WaitUntil([this] { return returned(); });
    return result_;
  }

 private:
  std::atomic<ThreadTask*> task_{nullptr};
  std::atomic<int64_t> result_{0};
  std::atomic<bool> returned_{false};
  std::atomic<bool> released_{false};
  std::thread thread_;
};

}  // namespace waitq::test

#endif  // WAITQ_TESTS_CORE_SLEEPER_H_
