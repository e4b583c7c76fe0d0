// Whoever can sleep: a thread, or a remote operation.
//
// A task has a state and pending signals. It is woken, never "its queue": a
// waker calls TryToWake(), which changes the state back to running exactly
// once. After the kernel's task_struct as far as sleeping goes
// (kernel/sched/core.c, kernel/signal.c).
//
//   state            ended by WakeUp  by WakeUpInterruptible  by a signal
//   interruptible    yes              yes                     any deliverable
//   uninterruptible  yes              no                      none
//   killable         yes              no                      fatal ones
//   idle             yes              no                      none
//
// How a wake-up cannot be lost: the sleeper stores its state and then tests its
// condition; the waker stores the condition and then reads the state.
// SetState() has a full barrier behind its store and TryToWake() one before its
// load, so at least one of the two sees what the other did.
// docs/models/sleep_wake.pml proves it, and that it fails without either.

#ifndef WAITQ_CORE_TASK_H_
#define WAITQ_CORE_TASK_H_

#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include "absl/time/time.h"
#include "core/timers.h"

namespace waitq {

// Task states, the kernel's bits. A sleeping state, or a mask of them for a
// waker, is one or more of these.
using TaskState = uint32_t;
inline constexpr TaskState kRunning = 0;
inline constexpr TaskState kInterruptible = 0x001;
inline constexpr TaskState kUninterruptible = 0x002;
inline constexpr TaskState kWakeKill = 0x100;
inline constexpr TaskState kNoLoad = 0x400;
inline constexpr TaskState kKillable = kWakeKill | kUninterruptible;
inline constexpr TaskState kIdle = kUninterruptible | kNoLoad;
// By SIGSTOP: until SIGCONT or a fatal signal.
inline constexpr TaskState kStopBit = 0x004;
inline constexpr TaskState kStopped = kWakeKill | kStopBit;
// What an ordinary wake-up wakes: killable and idle sleepers too.
inline constexpr TaskState kNormal = kInterruptible | kUninterruptible;

// What interrupted calls return, negative: most sleeps -kErestartsys. They
// never leave the library or the server: whoever is outermost turns them into
// EINTR or a restart (core/restart.h).
inline constexpr int kErestartsys = 512;
inline constexpr int kErestartnointr = 513;
inline constexpr int kErestartnohand = 514;
inline constexpr int kErestartRestartblock = 516;

// A timeout that never ends a sleep (MAX_SCHEDULE_TIMEOUT).
inline constexpr Ticks kMaxScheduleTimeout = std::numeric_limits<Ticks>::max();

// A set of signals, by number 1 to 64.
class SignalSet {
 public:
  constexpr SignalSet() = default;
  constexpr explicit SignalSet(uint64_t bits) : bits_(bits) {}
  static constexpr SignalSet Of(int signal) {
    return SignalSet(uint64_t{1} << (signal - 1));
  }
  constexpr bool Has(int signal) const {
    return (bits_ & Of(signal).bits_) != 0;
  }
  constexpr SignalSet operator|(SignalSet other) const {
    return SignalSet(bits_ | other.bits_);
  }
  constexpr uint64_t bits() const { return bits_; }

 private:
  uint64_t bits_ = 0;
};

// What a task does with signals; all others have their default disposition.
struct SignalDispositions {
  SignalSet blocked;
  SignalSet ignored;
  SignalSet handled;
  SignalSet restart = {};  // of those that are handled: with SA_RESTART
};

// What a signal does to a task when it is delivered.
enum class SignalAction { kNothing, kHandler, kStops, kEnds };

// How a call that returned -kErestartRestartblock goes on, if no handler has
// run: restart_block.
struct RestartBlock {
  int64_t (*restart)(const RestartBlock& block) = nullptr;
  absl::Time deadline;
  void* data = nullptr;
  size_t size = 0;
};

// Destruction: when nobody can wake it or send it a signal any more, and its
// entries and timers are out of their queues. A thread's task goes with its
// thread: who sends it a signal has to keep the thread from ending.
//
// Thread safety: any thread may call TryToWake(), PostSignal(), SendSignal()
// and the readers; the rest is for the task itself (for the thread whose task
// it is; for a remote operation, under the lock of the object it sleeps on).
class Task {
 public:
  // A task without a thread: it is woken when its state becomes running, and
  // whoever woke it goes on with what it was for. `dispositions` must outlive
  // the task.
  explicit Task(const SignalDispositions* dispositions)
      : dispositions_(dispositions) {}
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  // The calling thread's.
  static class ThreadTask& Current();

  TaskState state() const {
    return state_.load(std::memory_order_seq_cst) & ~kParked;
  }

  // set_current_state(): a store and a full barrier.
  void SetState(TaskState state) {
    state_.store(state, std::memory_order_release);
    // Partner of the one in TryToWake(), and of that in HasSleeper().
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }

  // To be running again without having been woken. If a waker was faster, what
  // it did before is visible: it has chosen this task, and may have passed
  // others by.
  void SetRunning() { state_.exchange(kRunning, std::memory_order_acq_rel); }

  // If the task sleeps in a state of `mode`: makes it running, lets its thread
  // go on, and returns true. Otherwise changes nothing. Of many callers, one
  // gets true for each sleep. Begins with a full barrier: what the caller has
  // stored is seen by the sleeper's test, or the sleeper's state is seen here.
  bool TryToWake(TaskState mode);

  // Marks a signal, 1 to 64, as pending, unless it is ignored. True if it ends
  // a sleep in the state that the task is in: the caller then has to wake it.
  bool PostSignal(int signal);

  // Sends a signal: PostSignal(), and wakes the task if that ends its sleep.
  // SIGCONT makes a stopped task go on, and takes pending stop signals away.
  void SendSignal(int signal);

  // signal_pending(), fatal_signal_pending(), signal_pending_state().
  bool SignalPending() const;
  bool FatalSignalPending() const;
  bool SignalPendingIn(TaskState state) const;

  // The pending signal of the lowest number that is not blocked; 0 if none.
  int NextPendingSignal() const;
  SignalAction ActionOf(int signal) const;

  // Takes a pending signal away, as its delivery would. One that is fatal has
  // made SIGKILL pending too, which stays: a task goes on living only after
  // signals that it handles, ignores or blocks (SIGPIPE: see core/fifo.h).
  void ClearSignal(int signal) { (void)TakeSignal(signal); }
  // The same; whether it was pending.
  bool TakeSignal(int signal);

 protected:
  // Beside a state: the thread sleeps in the kernel, or is about to. A waker
  // that does not see it need not call the kernel.
  static constexpr TaskState kParked = 0x80000000;

  // Also the word that the task's thread sleeps on.
  std::atomic<TaskState> state_{kRunning};

 private:
  bool IsIgnored(int signal) const;
  bool IsFatal(int signal) const;
  uint64_t Deliverable() const;

  std::atomic<uint64_t> pending_{0};
  const SignalDispositions* const dispositions_;
};

// A thread's task.
class alignas(64) ThreadTask : public Task {
 public:
  ThreadTask() : Task(&own_dispositions_) {}

  // To be set by the thread itself while no signal can come.
  SignalDispositions& dispositions() { return own_dispositions_; }

  // Where this thread's timed sleeps arm their timers; Timers::Real() unless a
  // test sets another one, which must outlive those sleeps. For the thread.
  Timers& timers() { return *timers_; }
  void set_timers(Timers* timers) { timers_ = timers; }

  // How often Schedule() looks at the state, for a wake-up that is about to
  // come, before it calls the kernel: 0, the default, as the kernel's own; 16
  // is what std::atomic::wait() does. Burns a processor for lower latency.
  void set_spins(int looks) { spins_ = looks; }

  // Whether the thread sleeps in the kernel, or is about to.
  bool parked() const {
    return (state_.load(std::memory_order_relaxed) & kParked) != 0;
  }

  // schedule(): sleeps until the state is running. Returns at once if it is
  // already, or if a signal is pending that the state admits. A check failure
  // in a wake function or with a spin lock held (core/atomic_context.h).
  void Schedule();

  // The same, but at the latest until `deadline`; the state is then running.
  // Returns the ticks that are left, rounded up: 0 only when it has passed,
  // whoever ended the sleep.
  Ticks ScheduleUntil(absl::Time deadline);

  // schedule_timeout(): the same for `timeout` ticks from now.
  // kMaxScheduleTimeout never ends, and comes back as it is; a negative timeout
  // counts as passed, and is reported on standard error.
  Ticks ScheduleTimeout(Ticks timeout);

  // schedule_hrtimeout(): the same for `timeout` from now; false if it has
  // passed. InfiniteDuration() never ends.
  bool ScheduleHrtimeout(absl::Duration timeout);

  // When `timeout` ticks from now have passed; InfiniteFuture() if never.
  absl::Time DeadlineAfter(Ticks timeout) const;
  // The ticks from now to `deadline`, rounded up; 0 if it has passed,
  // kMaxScheduleTimeout if it never will.
  Ticks TicksUntil(absl::Time deadline) const;

  // Delivers a pending signal that stops: sleeps until SIGCONT, which may have
  // come already, or a fatal signal.
  void StopFor(int signal);

  RestartBlock& restart_block() { return restart_block_; }

 private:
  void Park();
  void Spin();

  SignalDispositions own_dispositions_;
  RestartBlock restart_block_;
  int spins_ = 0;
  Timers* timers_ = &Timers::Real();
};

}  // namespace waitq

#endif  // WAITQ_CORE_TASK_H_
