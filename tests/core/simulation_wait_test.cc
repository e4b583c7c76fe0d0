// Everything that can sleep on a wait queue, simulated: takers of tokens.
//
// The condition takes a token where there is one. Each token comes with one
// wake-up for one, so a wake-up that nobody used leaves a token, and somebody
// asleep.

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "core/pause.h"
#include "core/poll_events.h"
#include "core/spin_lock.h"
#include "core/task.h"
#include "core/wait_event.h"
#include "core/wait_event_lock.h"
#include "core/wait_queue.h"
#include "core/wait_woken.h"
#include "gtest/gtest.h"
#include "tests/core/simulation.h"

namespace waitq {
namespace {

using test::Fibers;
using test::Simulate;
using test::World;

class TokenWorld final : public World {
 public:
  explicit TokenWorld(Fibers* fibers) : World(fibers) {
    exclusive_ = !OneIn(4);
    only_interruptible_ = OneIn(4);
    for (int64_t n = Between(1, 6); n > 0; --n) {
      Start("taker", [this] { TakeRepeatedly(); });
    }
    for (int64_t n = Between(1, 3); n > 0; --n) {
      Start("poster", [this] { PostRepeatedly(); });
    }
    StartNoise(OneIn(3) ? 0 : static_cast<int>(Between(1, 30)),
               [this] { WakeForNothing(); });
  }

 private:
  // One try to take a token, and what its result must agree with.
  struct Try {
    TaskState state;
    Ticks timeout = 0;
    absl::Time deadline = absl::InfiniteFuture();
    bool taken = false;
    absl::Time taken_at = {};
    bool armed = false;    // taken with its state set: it can still be chosen
    bool locked = false;   // its condition is tested with the queue locked
    int tests = 0;         // of the condition
    bool between = false;  // before() was called, after() not yet
  };

  // --- Takers ----------------------------------------------------------------

  void TakeRepeatedly() {
    for (int64_t n = Between(1, 6); n > 0; --n) {
      Yield("next try");
      if (only_interruptible_ || OneIn(2)) {
        TakeInterruptible();
      } else {
        TakeOtherwise();
      }
      Check(task().state() == kRunning, "who returned is running");
      // Sometimes a signal stays pending for the next try.
      if (!OneIn(4)) ClearSignals(task());
    }
  }

  auto Take(Try& t) {
    return [this, &t] {
      ++t.tests;
      Check(!t.taken, "a condition that was true is not asked again");
      Check(!t.between, "a condition is not asked around the sleep");
      if (tokens_ == 0) {
        // What comes between this test and the sleep must end the sleep. (Not
        // at entry, when the timeout has not begun.)
        if (!t.locked && t.tests > 1 && OneIn(2)) Yield("tested");
        return false;
      }
      --tokens_;
      ++taken_;
      t.taken = true;
      t.taken_at = Now();
      t.armed = task().state() != kRunning;
      return true;
    };
  }

  void TakeInterruptible() {
    Try t{.state = kInterruptible};
    const auto take = Take(t);
    switch (Between(0, exclusive_ ? 9 : 6)) {
      case 0:
        return OneIn(2) ? CheckUntimed(t, WaitEventInterruptible(queue_, take))
                        : TakeLocked(t);
      case 1:
        SetTimeout(t);
        return CheckTimed(
            t, WaitEventInterruptibleTimeout(queue_, take, t.timeout));
      case 2:
        SetTimeout(t);
        return CheckHrtimeout(
            t, WaitEventInterruptibleHrtimeout(queue_, take, Duration(t)));
      case 3:
        return TakeWoken(t);
      case 4:
        return TakeByHand(t);
      case 5: {
        // Not exclusive, and last: behind exclusive ones it may be missed.
        if (exclusive_) return TakeWoken(t);
        t.locked = true;
        SpinLockGuard guard(&queue_.lock());
        return CheckUntimed(t, WaitEventInterruptibleLocked(queue_, take));
      }
      case 6: {
        t.locked = true;
        SpinLockGuard guard(&queue_.lock());
        return CheckUntimed(
            t, WaitEventInterruptibleExclusiveLocked(queue_, take));
      }
      case 7:
        // The one form that wait_event() does not have.
        SetTimeout(t);
        return CheckTimed(
            t, internal::WaitEventTimeout(internal::ExclusivelyIn(queue_),
                                          kInterruptible, take, t.timeout));
      default:
        return CheckUntimed(t, WaitEventInterruptibleExclusive(queue_, take));
    }
  }

  void TakeOtherwise() {
    Try t{.state = kUninterruptible};
    const auto take = Take(t);
    auto before = [&] { Check(!std::exchange(t.between, true), "in turn"); };
    auto after = [&] { Check(std::exchange(t.between, false), "in turn"); };
    switch (Between(0, exclusive_ ? 10 : 6)) {
      case 0:
        if (OneIn(2)) return TakeLocked(t);
        WaitEvent(queue_, take);
        return CheckUntimed(t, 0);
      case 1:
        SetTimeout(t);
        return CheckTimed(t, WaitEventTimeout(queue_, take, t.timeout));
      case 2:
        SetTimeout(t);
        return CheckHrtimeout(t, WaitEventHrtimeout(queue_, take, Duration(t)));
      case 3:
        WaitEventCmd(queue_, take, before, after);
        return CheckUntimed(t, 0);
      case 4:
        return TakeByHand(t);
      case 5:
        t.state = kKillable;
        return CheckUntimed(t, WaitEventKillable(queue_, take));
      case 6:
        t.state = kKillable;
        SetTimeout(t);
        return CheckTimed(t, WaitEventKillableTimeout(queue_, take, t.timeout));
      case 7:
        t.state = kKillable;
        return CheckUntimed(t, WaitEventKillableExclusive(queue_, take));
      case 8:
        WaitEventIdleExclusive(queue_, take);
        return CheckUntimed(t, 0);
      case 9:
        SetTimeout(t);
        return CheckTimed(
            t, WaitEventIdleExclusiveTimeout(queue_, take, t.timeout));
      default:
        WaitEventExclusiveCmd(queue_, take, before, after);
        return CheckUntimed(t, 0);
    }
  }

  // With the condition under a lock of the program's.
  void TakeLocked(Try& t) {
    t.locked = true;
    const auto take = Take(t);
    const auto take_locked = [&] {
      Check(lock_is_held_, "a condition is tested with the lock held");
      return take();
    };
    const Fibers::NoPauseAt with_lock(
        &fibers_, {PausePoint::kBeforeEnqueue, PausePoint::kStateSet,
                   PausePoint::kBeforeFinish});
    const bool interruptible = t.state == kInterruptible;
    const bool timed = OneIn(2);
    if (timed) SetTimeout(t);
    Ticks result = 0;
    {
      NotedLock& lock = lock_;
      lock.Lock();
      if (timed && interruptible) {
        result = WaitEventInterruptibleLockIrqTimeout(queue_, take_locked, lock,
                                                      t.timeout);
      } else if (timed) {
        result = WaitEventLockIrqTimeout(queue_, take_locked, lock, t.timeout);
      } else if (interruptible) {
        result = WaitEventInterruptibleLockIrq(queue_, take_locked, lock);
      } else {
        WaitEventLockIrqCmd(queue_, take_locked, lock, [this] {
          Check(!lock_is_held_, "the command is called without the lock");
        });
      }
      Check(lock_is_held_, "who returns has the lock");
      lock.Unlock();
    }
    timed ? CheckTimed(t, result) : CheckUntimed(t, static_cast<int>(result));
  }

  // The condition is tested while running, so that it may pause.
  void TakeWoken(Try& t) {
    const auto take = Take(t);
    WaitEntry entry(WaitEntry::ForAdd{}, &task(), &WokenWakeFunction);
    exclusive_&& OneIn(2) ? queue_.AddExclusive(entry) : queue_.Add(entry);
    SetTimeout(t);
    Ticks left = t.timeout;
    while (!take()) {
      Yield("tested");
      if (task().SignalPending() || left == 0) {
        // What came since is not for this one any more, unless it tests again.
        take();
        break;
      }
      left = WaitWoken(entry, kInterruptible, left);
      Check(left >= 0 && left <= t.timeout, "what is left is in the timeout");
    }
    Check(t.taken || task().SignalPending() || Now() >= t.deadline,
          "who gives up has a reason");
    queue_.Remove(entry);
  }

  void TakeByHand(Try& t) {
    const auto take = Take(t);
    WaitEntry entry(&task(),
                    OneIn(2) ? &AutoremoveWakeFunction : &DefaultWakeFunction);
    const bool exclusive = exclusive_ && OneIn(2);
    for (;;) {
      if (exclusive) {
        queue_.PrepareToWaitExclusive(entry, t.state);
      } else {
        queue_.PrepareToWait(entry, t.state);
      }
      if (take()) break;
      task().Schedule();
      if (take()) break;
      if (task().SignalPendingIn(t.state)) break;
    }
    queue_.FinishWait(entry);
    if (t.taken) PassOn(t);
  }

  void SetTimeout(Try& t) {
    t.timeout = OneIn(8) ? kMaxScheduleTimeout : Between(0, 20);
    t.deadline = task().DeadlineAfter(t.timeout);
  }

  static absl::Duration Duration(const Try& t) {
    return t.timeout == kMaxScheduleTimeout ? absl::InfiniteDuration()
                                            : t.timeout * kTick;
  }

  // A wake-up may choose who found its condition true before it slept, until it
  // has left the queue: see core/wait_event.h on exclusive sleepers.
  void PassOn(const Try& t) {
    if (t.armed && tokens_ > 0) WakeOne();
  }

  void CheckInterrupted(const Try& t) {
    Check(!t.taken, "an interrupted one takes nothing");
    Check(task().SignalPendingIn(t.state), "a signal was sent that ends it");
    // At entry, then before and after each sleep: so it was before one.
    Check(t.locked || t.tests % 2 == 0, "the condition had the last word");
  }

  void CheckUntimed(const Try& t, int result) {
    PassOn(t);
    if (result == -kErestartsys) return CheckInterrupted(t);
    Check(result == 0 && t.taken, "success is a token");
  }

  void CheckTimed(const Try& t, Ticks left) {
    PassOn(t);
    if (left == -kErestartsys) return CheckInterrupted(t);
    if (left == 0) {
      Check(!t.taken, "who timed out takes nothing");
      Check(Now() >= t.deadline, "nobody times out early");
      return;
    }
    Check(t.taken, "success is a token");
    if (t.timeout == kMaxScheduleTimeout) {
      return Check(left == t.timeout, "what never ends comes back as it is");
    }
    Check(left >= 1 && left <= std::max<Ticks>(t.timeout, 1),
          "what is left is in the timeout");
    // Tested at entry, then in turn before and after each sleep. Before a sleep
    // it is still what was left after the last one.
    const Ticks exact =
        std::max<Ticks>(absl::Ceil(t.deadline - t.taken_at, kTick) / kTick, 1);
    Check(t.tests % 2 == 0 ? left >= exact : left == exact,
          "what is left is what remains of the timeout");
  }

  void CheckHrtimeout(const Try& t, int result) {
    PassOn(t);
    if (result == -kErestartsys) return CheckInterrupted(t);
    if (result == 0) return Check(t.taken, "success is a token");
    Check(result == -ETIME && !t.taken, "else it timed out");
    Check(Now() >= t.deadline, "nobody times out early");
  }

  // --- Posters ---------------------------------------------------------------

  void PostRepeatedly() {
    for (int64_t n = Between(1, 12); n > 0; --n) {
      Yield("next post");
      OneIn(4) ? PostMany() : PostOne();
    }
  }

  void AddTokens(int n) {
    posted_ += n;
    tokens_ += n;
  }

  void PostOne() {
    if (OneIn(8)) {
      lock_.Lock();
      AddTokens(1);
      lock_.Unlock();
      WakeOne();
      return;
    }
    if (!only_interruptible_ && OneIn(8)) {
      SpinLockGuard guard(&queue_.lock());
      AddTokens(1);
      queue_.WakeUpLocked();
      return;
    }
    AddTokens(1);
    Yield("posted");
    if (OneIn(3)) {
      if (!queue_.HasSleeper()) return;
      Yield("saw a sleeper");
    }
    Check(WakeOne() <= 1, "one wake-up is for one");
  }

  int WakeOne() {
    if (only_interruptible_ || OneIn(64)) {
      // Where all are interruptible it is the same; elsewhere it is for nothing
      // and the real one follows.
      const int woken = WakeOneInterruptible();
      if (only_interruptible_) return woken;
      Yield("woke some");
    }
    switch (Between(0, 4)) {
      case 0:
        return queue_.WakeUpSync();
      case 1:
        return queue_.WakeUpPoll(kPollIn);
      case 2:
        return queue_.WakeUpNr(1);
      default:
        return queue_.WakeUp();
    }
  }

  int WakeOneInterruptible() {
    switch (Between(0, 3)) {
      case 0:
        return queue_.WakeUpInterruptibleSync();
      case 1:
        return queue_.WakeUpInterruptibleNr(1);
      default:
        return queue_.WakeUpInterruptible();
    }
  }

  void PostMany() {
    const auto n = static_cast<int>(Between(2, 4));
    AddTokens(n);
    Yield("posted many");
    if (OneIn(4)) {
      only_interruptible_ ? queue_.WakeUpInterruptibleAll()
                          : queue_.WakeUpAll();
    } else {
      Check((only_interruptible_ ? queue_.WakeUpInterruptibleNr(n)
                                 : queue_.WakeUpNr(n)) <= n,
            "a wake-up for some is for no more");
    }
  }

  void WakeForNothing() { OneIn(4) ? queue_.WakeUpAll() : queue_.WakeUp(); }

  // --- The model -------------------------------------------------------------

  void CheckAllMaySleep() override {
    Check(tokens_ == 0, "nobody sleeps while there is a token");
  }

  bool LetGo() override {
    AddTokens(1);
    WakeOne();
    return true;
  }

  void CheckEnd() override {
    Check(posted_ == taken_ + tokens_, "what was posted was taken, or is left");
    Check(!queue_.HasSleeper(), "nobody is queued in the end");
  }

  // A spin lock that tells whether somebody has it.
  class ABSL_LOCKABLE NotedLock {
   public:
    explicit NotedLock(bool* is_held) : is_held_(*is_held) {}
    void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      lock_.Lock();
      is_held_ = true;
    }
    void Unlock() ABSL_UNLOCK_FUNCTION() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      is_held_ = false;
      lock_.Unlock();
    }

   private:
    SpinLock lock_;
    bool& is_held_;
  };

  bool exclusive_;
  bool only_interruptible_;
  WaitQueue queue_;
  bool lock_is_held_ = false;
  NotedLock lock_{&lock_is_held_};
  int tokens_ = 0;
  int posted_ = 0;
  int taken_ = 0;
};

TEST(WaitQueueSimulationTest, NoWakeUpIsLostAndEveryResultIsRight) {
  Simulate<TokenWorld>("wait queues", 60'000);
}

}  // namespace
}  // namespace waitq
