#include "core/task.h"

#include <algorithm>
#include <cstdio>
#include <thread>

#include "core/atomic_context.h"
#include "core/check.h"
#include "core/cpu_relax.h"
#include "core/futex.h"
#include "core/pause.h"
#include "core/wake_batch.h"

namespace waitq {
namespace {

constexpr SignalSet kDefaultIgnored =
    SignalSet::Of(SIGCHLD) | SignalSet::Of(SIGCONT) | SignalSet::Of(SIGURG) |
    SignalSet::Of(SIGWINCH);
constexpr SignalSet kDefaultStop =
    SignalSet::Of(SIGSTOP) | SignalSet::Of(SIGTSTP) | SignalSet::Of(SIGTTIN) |
    SignalSet::Of(SIGTTOU);
constexpr SignalSet kDefaultCoreDump =
    SignalSet::Of(SIGQUIT) | SignalSet::Of(SIGILL) | SignalSet::Of(SIGTRAP) |
    SignalSet::Of(SIGABRT) | SignalSet::Of(SIGFPE) | SignalSet::Of(SIGSEGV) |
    SignalSet::Of(SIGBUS) | SignalSet::Of(SIGSYS) | SignalSet::Of(SIGXCPU) |
    SignalSet::Of(SIGXFSZ);

}  // namespace

ThreadTask& Task::Current() {
#ifdef WAITQ_PAUSE_HOOKS
  if (pause_hooks != nullptr) {
    if (ThreadTask* current = pause_hooks->Current()) return *current;
  }
#endif
  thread_local ThreadTask task;
  return task;
}

bool Task::TryToWake(TaskState mode) {
  // Partner of the one in SetState().
  std::atomic_thread_fence(std::memory_order_seq_cst);
  TaskState state = state_.load(std::memory_order_seq_cst);
  do {
    if ((state & mode) == 0) return false;
  } while (!state_.compare_exchange_weak(state, kRunning,
                                         std::memory_order_seq_cst));
  // A thread that sees "running" by itself may be gone by now, and its task
  // with it.
  if ((state & kParked) != 0) WakeBatch::Unpark(&state_);
  return true;
}

bool Task::IsIgnored(int signal) const {
  if (signal == SIGKILL || signal == SIGSTOP) return false;
  // A blocked signal stays pending even if ignored: the disposition may change
  // before it is unblocked.
  if (dispositions_->blocked.Has(signal)) return false;
  if (dispositions_->ignored.Has(signal)) return true;
  return kDefaultIgnored.Has(signal) && !dispositions_->handled.Has(signal);
}

// SIGKILL, and what terminates by default without a core dump.
bool Task::IsFatal(int signal) const {
  if (signal == SIGKILL) return true;
  if (dispositions_->blocked.Has(signal)) return false;
  if (dispositions_->handled.Has(signal)) return false;
  return !(kDefaultIgnored | kDefaultStop | kDefaultCoreDump).Has(signal);
}

SignalAction Task::ActionOf(int signal) const {
  if (signal == SIGKILL) return SignalAction::kEnds;
  if (signal == SIGSTOP) return SignalAction::kStops;
  if (dispositions_->ignored.Has(signal)) return SignalAction::kNothing;
  if (dispositions_->handled.Has(signal)) return SignalAction::kHandler;
  if (kDefaultIgnored.Has(signal)) return SignalAction::kNothing;
  if (kDefaultStop.Has(signal)) return SignalAction::kStops;
  return SignalAction::kEnds;
}

uint64_t Task::Deliverable() const {
  // SIGKILL and SIGSTOP cannot be blocked.
  const uint64_t always =
      (SignalSet::Of(SIGKILL) | SignalSet::Of(SIGSTOP)).bits();
  return pending_.load(std::memory_order_seq_cst) &
         (~dispositions_->blocked.bits() | always);
}

bool Task::PostSignal(int signal) {
  WAITQ_CHECK(signal >= 1 && signal <= 64, "there is no such signal");
  // Of stopping and going on, the last one counts; whatever else becomes of it.
  if (signal == SIGCONT) {
    pending_.fetch_and(~kDefaultStop.bits(), std::memory_order_seq_cst);
  } else if (kDefaultStop.Has(signal)) {
    ClearSignal(SIGCONT);
  }
  if (IsIgnored(signal)) return false;
  uint64_t bits = SignalSet::Of(signal).bits();
  // As the kernel: a fatal signal becomes a SIGKILL, which killable sleeps see.
  if (IsFatal(signal)) bits |= SignalSet::Of(SIGKILL).bits();
  // Pending first, then the state is read: a sleeper stores its state and then
  // looks for signals, so one of the two sees the other.
  pending_.fetch_or(bits, std::memory_order_seq_cst);
  return SignalPendingIn(state());
}

void Task::SendSignal(int signal) {
  const bool ends_sleep = PostSignal(signal);
  if (signal == SIGCONT) TryToWake(kStopBit);
  if (!ends_sleep) return;
  Pause(PausePoint::kSignalPosted);
  TryToWake(IsFatal(signal) ? kInterruptible | kWakeKill : kInterruptible);
}

bool Task::SignalPending() const { return Deliverable() != 0; }

bool Task::FatalSignalPending() const {
  return SignalSet(Deliverable()).Has(SIGKILL);
}

bool Task::SignalPendingIn(TaskState state) const {
  if ((state & (kInterruptible | kWakeKill)) == 0) return false;
  const uint64_t deliverable = Deliverable();
  if (deliverable == 0) return false;
  return (state & kInterruptible) != 0 || SignalSet(deliverable).Has(SIGKILL);
}

int Task::NextPendingSignal() const {
  const uint64_t deliverable = Deliverable();
  return deliverable == 0 ? 0 : __builtin_ctzll(deliverable) + 1;
}

bool Task::TakeSignal(int signal) {
  const uint64_t bit = SignalSet::Of(signal).bits();
  return (pending_.fetch_and(~bit, std::memory_order_seq_cst) & bit) != 0;
}

void ThreadTask::Schedule() {
  WAITQ_CHECK(!InAtomicContext(),
              "a thread sleeps in a wake function, or with a spin lock held");
  Pause(PausePoint::kBeforeSleep);
  const TaskState state = state_.load(std::memory_order_seq_cst);
  // Closes the race of a signal between the last look at signals and this
  // sleep: its sender made it pending before it read our state.
  if (state != kRunning && SignalPendingIn(state)) {
    SetRunning();
  } else {
    Pause(PausePoint::kBeforePark);
    Park();
  }
  Pause(PausePoint::kAfterSleep);
}

void ThreadTask::Spin() {
  for (int look = 0; look < spins_; ++look) {
    if (state_.load(std::memory_order_seq_cst) == kRunning) return;
    // Mostly for a waker on another processor, at last for one on this.
    if (look < spins_ - spins_ / 4) {
      CpuRelax();
    } else {
      std::this_thread::yield();
    }
  }
}

void ThreadTask::Park() {
  Spin();
  TaskState state = state_.load(std::memory_order_seq_cst);
  while (state != kRunning) {
#ifdef WAITQ_PAUSE_HOOKS
    if (pause_hooks != nullptr && pause_hooks->Park(*this)) {
      state = state_.load(std::memory_order_seq_cst);
      continue;
    }
#endif
    // Says so before it sleeps. A waker in between has made the state running,
    // so that the exchange, or the kernel's comparison, fails.
    if ((state & kParked) == 0 &&
        !state_.compare_exchange_strong(state, state | kParked,
                                        std::memory_order_seq_cst)) {
      continue;
    }
    FutexWait(state_, state | kParked);
    state = state_.load(std::memory_order_seq_cst);
  }
}

namespace {

// Ends a thread's timed sleep: process_timeout().
class SleepTimer : public Timer {
 public:
  explicit SleepTimer(Task* task) : Timer(&WakeUp), task_(*task) {}

 private:
  static void WakeUp(Timer& timer) {
    static_cast<SleepTimer&>(timer).task_.TryToWake(kNormal);
  }

  Task& task_;
};

}  // namespace

Ticks ThreadTask::ScheduleUntil(absl::Time deadline) {
  if (deadline == absl::InfiniteFuture()) {
    Schedule();
    return kMaxScheduleTimeout;
  }
  SleepTimer timer(this);
  timers_->Arm(timer, deadline);
  Schedule();
  timers_->CancelSync(timer);
  return TicksUntil(deadline);
}

Ticks ThreadTask::ScheduleTimeout(Ticks timeout) {
  if (timeout < 0) {
    std::fprintf(stderr, "waitq: a timeout of %lld ticks counts as passed\n",
                 static_cast<long long>(timeout));
    SetRunning();
    return 0;
  }
  return ScheduleUntil(DeadlineAfter(timeout));
}

bool ThreadTask::ScheduleHrtimeout(absl::Duration timeout) {
  return ScheduleUntil(timers_->clock().Now() + timeout) > 0;
}

absl::Time ThreadTask::DeadlineAfter(Ticks timeout) const {
  if (timeout == kMaxScheduleTimeout) return absl::InfiniteFuture();
  return timers_->clock().Now() + timeout * kTick;
}

Ticks ThreadTask::TicksUntil(absl::Time deadline) const {
  if (deadline == absl::InfiniteFuture()) return kMaxScheduleTimeout;
  // Up, so that a sleep which something else ended within its last tick is not
  // taken for one that has timed out.
  const absl::Duration left = deadline - timers_->clock().Now();
  return std::max<Ticks>(absl::Ceil(left, kTick) / kTick, 0);
}

void ThreadTask::StopFor(int signal) {
  Pause(PausePoint::kBeforeStop);
  SetState(kStopped);
  Pause(PausePoint::kStateSet);
  // SIGCONT takes the stop away before it reads the state: either it is gone
  // here, or the state is seen there.
  if (TakeSignal(signal)) Schedule();
  SetRunning();
}

}  // namespace waitq
