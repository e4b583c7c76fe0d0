#include "core/timers.h"

#include <chrono>
#include <limits>

#include "core/check.h"

namespace waitq {
namespace {

constexpr Ticks kNever = std::numeric_limits<Ticks>::max();

constexpr int64_t kTickNanoseconds = 100'000;
static_assert(absl::Nanoseconds(kTickNanoseconds) == kTick);

Ticks FloorTicks(absl::Time time) {
  return absl::Floor(time - absl::UnixEpoch(), kTick) / kTick;
}

// By hand where 64 bits of nanoseconds are enough (292 years): a division of
// Durations takes longer than all else in Arm().
Ticks CeilTicks(absl::Time time) {
  const absl::Duration since = time - absl::UnixEpoch();
  int64_t nanoseconds = absl::ToInt64Nanoseconds(since);
  if (nanoseconds < 0 || nanoseconds == std::numeric_limits<int64_t>::max()) {
    return absl::Ceil(since, kTick) / kTick;
  }
  if (absl::Nanoseconds(nanoseconds) < since) ++nanoseconds;
  return nanoseconds / kTickNanoseconds +
         (nanoseconds % kTickNanoseconds != 0 ? 1 : 0);
}

absl::Time TimeOf(Ticks ticks) { return absl::UnixEpoch() + ticks * kTick; }

}  // namespace

Timers::Timers(const Clock* clock)
    : clock_(*clock), wheel_(FloorTicks(clock->Now())) {}

Timers& Timers::Real() {
  // Leaked, with its thread: sleepers may outlive main().
  struct Served {
    Timers timers{&Clock::Real()};
    TimerThread thread{&timers};
  };
  static Served* const real = new Served;
  return real->timers;
}

Ticks Timers::NowTicks() const { return FloorTicks(clock_.Now()); }

void Timers::Arm(Timer& timer, absl::Time deadline) {
  if (deadline == absl::InfiniteFuture()) return;
  // Up, not down: a timer that fires within its tick would be early.
  ArmTicks(timer, CeilTicks(deadline));
}

void Timers::ArmTicks(Timer& timer, Ticks expiry) {
  bool earlier;
  {
    MutexLock lock(&mu_);
    wheel_.Arm(timer, expiry);
    earlier = expiry < serving_until_;
    // Until Serve() has run, nobody else needs to wake it.
    if (earlier) serving_until_ = expiry;
  }
  if (earlier) serve_.NotifyOne();
}

bool Timers::Cancel(Timer& timer) {
  MutexLock lock(&mu_);
  return wheel_.Cancel(timer);
}

bool Timers::CancelSync(Timer& timer) {
  MutexLock lock(&mu_);
  const bool cancelled = wheel_.Cancel(timer);
  while (running_ == &timer) fired_.Wait(&mu_);
  return cancelled;
}

Timer* Timers::StartNextLocked(Ticks now) {
  WAITQ_CHECK(running_ == nullptr, "timers are run by two threads at once");
  return running_ = wheel_.PopExpired(now);
}

int Timers::RunExpired() {
  const Ticks now = NowTicks();
  int fired = 0;
  mu_.Lock();
  while (Timer* timer = StartNextLocked(now)) {
    mu_.Unlock();
    // Between here and the next lock the timer may be destroyed by whoever it
    // ends the sleep of; only its address is used after that.
    timer->fire_(*timer);
    ++fired;
    mu_.Lock();
    running_ = nullptr;
    fired_.NotifyAll();
  }
  mu_.Unlock();
  return fired;
}

std::optional<absl::Time> Timers::NextWork() const {
  MutexLock lock(&mu_);
  const std::optional<Ticks> work = wheel_.NextWork();
  if (!work.has_value()) return std::nullopt;
  return TimeOf(*work);
}

void Timers::Serve() {
  for (;;) {
    RunExpired();
    MutexLock lock(&mu_);
    if (stop_) break;
    ServeOnceLocked();
    if (stop_) break;
  }
  MutexLock lock(&mu_);
  stop_ = false;
}

void Timers::ServeOnceLocked() {
  // A timer armed from here on finds serving_until_ and cuts the wait short.
  const Ticks until = wheel_.NextWork().value_or(kNever);
  serving_until_ = until;
  if (until == kNever) {
    serve_.Wait(&mu_);
  } else {
    serve_.WaitUntil(&mu_, std::chrono::steady_clock::time_point(
                               absl::ToChronoNanoseconds(until * kTick)));
  }
  serving_until_ = 0;
}

void Timers::StopServing() {
  MutexLock lock(&mu_);
  stop_ = true;
  serve_.NotifyAll();
}

TimerThread::TimerThread(Timers* timers)
    : timers_(*timers), thread_([timers] { timers->Serve(); }) {}

TimerThread::~TimerThread() {
  timers_.StopServing();
  thread_.join();
}

}  // namespace waitq
