// Actors on a stage: threads that stop where they are told to.
//
// An actor runs up to a moment of its sleep and stops there; the test does what
// races with it, and lets it go on. So each order of a race is played, and none
// is left to chance. For binaries with the hooked libraries (core/pause.h).

#ifndef WAITQ_TESTS_CORE_STAGE_H_
#define WAITQ_TESTS_CORE_STAGE_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "core/mutex.h"
#include "core/pause.h"
#include "core/simulated_clock.h"
#include "core/task.h"
#include "core/timers.h"
#include "core/wait_queue.h"
#include "gtest/gtest.h"
#include "tests/support/wait_until.h"

namespace waitq::test {

// A thread that runs a body of its own, seen and directed from outside.
//
// Thread safety: for one directing thread.
// Destruction lets it go on from wherever it was stopped, and waits for the
// body to return.
class Actor final : private PauseHooks {
 public:
  // Timed sleeps are on `timers`. Stops at `stop`, if given, the first time.
  Actor(std::function<int64_t()> body, Timers* timers,
        std::optional<PausePoint> stop);
  ~Actor();
  Actor(const Actor&) = delete;
  Actor& operator=(const Actor&) = delete;

  ThreadTask& task() { return *task_; }

  // --- Stopping --------------------------------------------------------------

  // To be stopped when it passes `point` for the `nth` time from now on. While
  // it is stopped or asleep, that is: else "now" means nothing.
  void StopAt(PausePoint point, int nth = 1);
  void AwaitStopped();
  // Waits for it to be stopped, and lets it go on.
  void GoOn();
  // How often it has passed `point`.
  int passages(PausePoint point) const { return passages_[Index(point)]; }

  // --- Sleeping --------------------------------------------------------------

  // Its thread has nothing more to do until its state changes: its timer, if
  // any, is armed. Nothing but a wake-up, or what ends such a sleep, makes it
  // go on.
  bool asleep() const;
  void AwaitAsleep() {
    WaitUntil([this] { return asleep(); });
  }
  // How often it has slept; a Schedule() that returns at once does not count.
  int sleeps() const { return sleeps_; }
  // Until a lock that somebody else has makes it wait, or it has returned.
  void AwaitBlocked();

  // --- Returning -------------------------------------------------------------

  bool returned() const { return returned_; }
  // What the body returned.
  int64_t Result() {
    WaitUntil([this] { return returned(); });
    return result_;
  }

 private:
  static constexpr size_t kPoints = 16;
  static size_t Index(PausePoint point) { return static_cast<size_t>(point); }

  void Run();
  void Pause(PausePoint point) override;
  bool Park(ThreadTask& task) override;
  void StopIfTold(PausePoint point);

  const std::function<int64_t()> body_;
  Timers* const timers_;
  std::atomic<ThreadTask*> task_{nullptr};
  std::atomic<int> thread_id_{0};

  std::array<std::atomic<int>, kPoints> passages_{};
  std::atomic<bool> in_hook_{false};
  std::atomic<int> sleeps_{0};
  std::atomic<int> parked_{0};  // the sleep it is in, counted from 1, or 0
  std::atomic<int64_t> result_{0};
  std::atomic<bool> returned_{false};

  Mutex mu_;
  CondVar go_on_;
  std::optional<PausePoint> stop_ ABSL_GUARDED_BY(mu_);
  int passages_left_ ABSL_GUARDED_BY(mu_) = 1;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  bool released_ ABSL_GUARDED_BY(mu_) = false;

  std::thread thread_;
};

// The actors of a test, and their time.
class Stage {
 public:
  SimulatedClock& clock() { return clock_; }
  Timers& timers() { return clock_.timers(); }
  // Lets `ticks` pass; returns how many timers fired.
  int Pass(Ticks ticks) { return clock_.Advance(ticks * kTick); }
  // Less than a tick, as little as there is.
  static constexpr absl::Duration kInstant = absl::Nanoseconds(1);

  // A new actor, at work at once. A body that returns nothing results in 0.
  template <class Body>
  Actor& Enter(Body body, std::optional<PausePoint> stop = std::nullopt) {
    auto with_result = [body = std::move(body)]() mutable -> int64_t {
      if constexpr (std::is_void_v<std::invoke_result_t<Body&>>) {
        body();
        return 0;
      } else {
        return body();
      }
    };
    return actors_.emplace_back(std::move(with_result), &timers(), stop);
  }
  // The same, which is now stopped at `point`.
  template <class Body>
  Actor& EnterUpTo(PausePoint point, Body body) {
    Actor& actor = Enter(std::move(body), point);
    actor.AwaitStopped();
    return actor;
  }
  // The same, which now sleeps.
  template <class Body>
  Actor& EnterAsleep(Body body) {
    Actor& actor = Enter(std::move(body));
    actor.AwaitAsleep();
    return actor;
  }

  // Waits for all to return.
  void Clear() { actors_.clear(); }

 private:
  SimulatedClock clock_;
  std::deque<Actor> actors_;
};

// What a waker adds and one sleeper takes.
//
// Thread safety: any thread.
class Tokens {
 public:
  void Add(int n = 1) { left_ += n; }
  // As a condition: the first time that it is true is the last time that it is
  // called.
  bool Take();
  int left() const { return left_; }

 private:
  std::atomic<int> left_{0};
};

// How many entries of AutoremoveWakeFunction() stand in the queue.
int CountQueued(WaitQueue& queue);

// How often a race is repeated: `n`, or `n_long` if WAITQ_LONG is set. Times
// WAITQ_TIMES.
int Rounds(int n, int n_long);

// One queue, a condition, and a stage around them. Nothing is left asleep.
class StageTest : public testing::Test {
 protected:
  void TearDown() override;

  auto condition() {
    return [this] { return condition_.load(); };
  }
  int MakeTrueAndWake() {
    condition_ = true;
    return queue_.WakeUp();
  }
  auto take() {
    return [this] { return tokens_.Take(); };
  }
  int PostAndWake() {
    tokens_.Add();
    return queue_.WakeUp();
  }

  WaitQueue queue_;
  std::atomic<bool> condition_ = false;
  Tokens tokens_;
  Stage stage_;
};

}  // namespace waitq::test

#endif  // WAITQ_TESTS_CORE_STAGE_H_
