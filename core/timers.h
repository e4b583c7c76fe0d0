// Timers for everybody: a timing wheel behind a lock, on a clock.
//
// Who sleeps with a deadline arms a Timer here; there is no thread per timer
// and no system timer. A real-time Timers is driven by one thread
// (TimerThread); a simulated one by its SimulatedClock.

#ifndef WAITQ_CORE_TIMERS_H_
#define WAITQ_CORE_TIMERS_H_

#include <optional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "core/clock.h"
#include "core/mutex.h"
#include "core/timer_wheel.h"

namespace waitq {

// Thread safety: any thread may call any method, unless it says otherwise.
// Blocking: only CancelSync() and Serve() block.
// Timers fire on the thread that runs RunExpired() or Serve(), one after the
// other, with no lock held: they may arm and cancel timers. Never early; late
// by one tick at most, plus what the thread takes to run.
class Timers {
 public:
  // `clock` must outlive this. No timer may be armed at destruction.
  explicit Timers(const Clock* clock);

  // Of the process, on Clock::Real(), with its thread running. Lives for ever.
  static Timers& Real();

  const Clock& clock() const { return clock_; }

  // The clock's time in whole ticks, rounded down: the kernel's jiffies.
  Ticks NowTicks() const;

  // Arms `timer`, which must not be armed, to fire at the first tick that is
  // not before `deadline`. One in the past fires soon. InfiniteFuture() never.
  void Arm(Timer& timer, absl::Time deadline) ABSL_LOCKS_EXCLUDED(mu_);
  void ArmTicks(Timer& timer, Ticks expiry) ABSL_LOCKS_EXCLUDED(mu_);

  // True: it was armed and will not fire. False: it was not armed, so it has
  // fired, or is firing at this moment on another thread, or never was armed.
  bool Cancel(Timer& timer) ABSL_LOCKS_EXCLUDED(mu_);

  // After it the timer is not armed and not firing: it may be destroyed. Not to
  // be called by the timer itself, nor with a lock held that it takes.
  bool CancelSync(Timer& timer) ABSL_LOCKS_EXCLUDED(mu_);

  // Fires all timers that are due; returns how many.
  int RunExpired() ABSL_LOCKS_EXCLUDED(mu_);

  // When RunExpired() must be called next. Nothing if no timer is armed.
  std::optional<absl::Time> NextWork() const ABSL_LOCKS_EXCLUDED(mu_);

  // Runs timers as they come due, on a real clock, until StopServing().
  void Serve() ABSL_LOCKS_EXCLUDED(mu_);
  void StopServing() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // Takes out a timer that is due and marks it as running, or returns nullptr.
  Timer* StartNextLocked(Ticks now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ServeOnceLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Clock& clock_;

  mutable Mutex mu_;
  TimerWheel wheel_ ABSL_GUARDED_BY(mu_);
  // The timer that fires now, and who waits for it to be over (CancelSync).
  Timer* running_ ABSL_GUARDED_BY(mu_) = nullptr;
  CondVar fired_;
  // The tick up to which Serve() sleeps: an earlier timer has to wake it.
  Ticks serving_until_ ABSL_GUARDED_BY(mu_) = 0;
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  CondVar serve_;
};

// A thread that serves a Timers on the real clock for as long as it lives.
class TimerThread {
 public:
  // `timers` must outlive this.
  explicit TimerThread(Timers* timers);
  // Stops serving and joins the thread.
  ~TimerThread();

 private:
  Timers& timers_;
  std::thread thread_;
};

}  // namespace waitq

#endif  // WAITQ_CORE_TIMERS_H_
