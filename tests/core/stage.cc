#include "tests/core/stage.h"

#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "tests/support/random.h"

namespace waitq::test {
namespace {

// Whether the kernel has put the thread to sleep: the "S" after the name in
// /proc/self/task/ID/stat.
bool SleepsInKernel(int thread_id) {
  std::ifstream file("/proc/self/task/" + std::to_string(thread_id) + "/stat");
  std::string line;
  std::getline(file, line);
  const size_t name_end = line.rfind(')');
  return name_end != std::string::npos && line.compare(name_end, 3, ") S") == 0;
}

}  // namespace

// --- Actor -------------------------------------------------------------------

Actor::Actor(std::function<int64_t()> body, Timers* timers,
             std::optional<PausePoint> stop)
    : body_(std::move(body)),
      timers_(timers),
      stop_(stop),
      thread_([this] { Run(); }) {
  WaitUntil([this] { return task_ != nullptr; });
}

Actor::~Actor() {
  {
    MutexLock lock(&mu_);
    stop_.reset();
    stopped_ = false;
    go_on_.NotifyAll();
  }
  WaitUntil([this] { return returned(); });
  {
    MutexLock lock(&mu_);
    released_ = true;
    go_on_.NotifyAll();
  }
  thread_.join();
}

void Actor::Run() {
  ThreadTask& own = Task::Current();
  own.set_timers(timers_);
  thread_id_ = gettid();
  task_ = &own;
  pause_hooks = this;
  result_ = body_();
  pause_hooks = nullptr;
  returned_ = true;
  // The task dies with its thread, and others may look at it still.
  MutexLock lock(&mu_);
  while (!released_) go_on_.Wait(&mu_);
}

void Actor::StopAt(PausePoint point, int nth) {
  MutexLock lock(&mu_);
  stop_ = point;
  passages_left_ = nth;
}

void Actor::AwaitStopped() {
  WaitUntil([this] {
    MutexLock lock(&mu_);
    return stopped_;
  });
}

void Actor::GoOn() {
  AwaitStopped();
  MutexLock lock(&mu_);
  stopped_ = false;
  go_on_.NotifyAll();
}

bool Actor::asleep() const {
  // In the same sleep before and after the look at the state: else the state
  // might be the one that is set for the next sleep.
  const int sleep = parked_;
  return sleep != 0 && task_.load()->state() != kRunning && parked_ == sleep;
}

void Actor::AwaitBlocked() {
  WaitUntil([this] {
    return returned() || (!in_hook_ && !asleep() && SleepsInKernel(thread_id_));
  });
}

void Actor::Pause(PausePoint point) {
  in_hook_ = true;
  if (point == PausePoint::kAfterSleep) parked_ = 0;
  ++passages_[Index(point)];
  StopIfTold(point);
  in_hook_ = false;
}

void Actor::StopIfTold(PausePoint point) {
  MutexLock lock(&mu_);
  if (stop_ != point || --passages_left_ > 0) return;
  stop_.reset();
  stopped_ = true;
  while (stopped_) go_on_.Wait(&mu_);
}

bool Actor::Park(ThreadTask&) {
  // Called again if the kernel lets it go on for nothing.
  if (parked_ == 0) parked_ = ++sleeps_;
  return false;
}

// --- The rest ----------------------------------------------------------------

bool Tokens::Take() {
  int have = left_;
  while (have > 0) {
    if (left_.compare_exchange_weak(have, have - 1)) return true;
  }
  return false;
}

int CountQueued(WaitQueue& queue) {
  // A walk that wakes nobody, because it is for no state, still passes the
  // point between wake and unlinking once for each.
  class Counter final : public PauseHooks {
   public:
    void Pause(PausePoint point) override {
      if (point == PausePoint::kBeforeUnlink) ++passed;
    }
    int passed = 0;
  };
  Counter counter;
  PauseHooks* const own = std::exchange(pause_hooks, &counter);
  queue.Wake(/*mode=*/0, /*nr=*/0, /*wake_flags=*/0, /*key=*/nullptr);
  pause_hooks = own;
  return counter.passed;
}

int Rounds(int n, int n_long) {
  return Times(std::getenv("WAITQ_LONG") == nullptr ? n : n_long);
}

void StageTest::TearDown() {
  stage_.Clear();
  EXPECT_FALSE(queue_.HasSleeper()) << "somebody is left";
  EXPECT_FALSE(stage_.timers().NextWork().has_value()) << "a timer is armed";
}

}  // namespace waitq::test
