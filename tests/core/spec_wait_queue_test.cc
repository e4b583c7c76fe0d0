// The specification's cases of the queue itself, by number: whom a walk wakes
// and in which order, and sleeping by hand.

#include <atomic>
#include <cerrno>
#include <deque>
#include <functional>
#include <string>

#include "core/pause.h"
#include "core/spin_lock.h"
#include "core/task.h"
#include "core/wait_event.h"
#include "core/wait_queue.h"
#include "core/wait_woken.h"
#include "gtest/gtest.h"
#include "tests/core/stage.h"

namespace waitq {
namespace {

using test::Actor;
using test::CountQueued;

constexpr SignalDispositions kDefaults;
constexpr uint32_t kExclusive = WaitEntry::kExclusive;

// What a walk has done: whom it called, in order, and how many said "woken".
struct Walk {
  std::string called;
  int woken = 0;
};

// Somebody asleep on a queue, without a thread. Notes that it is called.
class Dozer : public WaitEntry {
 public:
  using Wake = std::function<int(Dozer&, TaskState mode, void* key)>;

  Dozer(Walk* walk, char name, uint32_t flags = 0, Wake wake = &Autoremove)
      : WaitEntry(&own_task_, &OnWake, flags),
        walk_(*walk),
        name_(name),
        wake_(std::move(wake)) {}

  bool asleep() const { return own_task_.state() != kRunning; }

  static int Autoremove(Dozer& dozer, TaskState mode, void* key) {
    return AutoremoveWakeFunction(dozer, mode, 0, key);
  }

 private:
  static int OnWake(WaitEntry& entry, TaskState mode, int, void* key) {
    auto& self = static_cast<Dozer&>(entry);
    self.walk_.called += self.name_;
    const int result = self.wake_(self, mode, key);
    if (result > 0) ++self.walk_.woken;
    return result;
  }

  Task own_task_{&kDefaults};
  Walk& walk_;
  const char name_;
  const Wake wake_;
};

class SpecWaitQueueTest : public test::StageTest {
 protected:
  Dozer& Make(char name, uint32_t flags = 0,
              Dozer::Wake wake = &Dozer::Autoremove) {
    return dozers_.emplace_back(&walk_, name, flags, std::move(wake));
  }
  Dozer& Doze(char name, uint32_t flags = 0,
              Dozer::Wake wake = &Dozer::Autoremove) {
    Dozer& dozer = Make(name, flags, std::move(wake));
    EXPECT_EQ(queue_.PrepareToWaitEvent(dozer, kInterruptible), 0);
    return dozer;
  }
  // Whom a walk calls that wakes nobody, because it is for no state.
  std::string Order() {
    walk_ = {};
    queue_.Wake(/*mode=*/0, /*nr=*/0, /*wake_flags=*/0, /*key=*/nullptr);
    return walk_.called;
  }
  void FinishAll() {
    for (Dozer& dozer : dozers_) queue_.FinishWait(dozer);
    dozers_.clear();
    walk_ = {};
  }
  void TearDown() override {
    FinishAll();
    StageTest::TearDown();
  }

  // For an actor: sleeps once, exclusively.
  auto sleep_once(WakeFunction wake, TaskState state) {
    return [this, wake, state] {
      WaitEntry entry(&Task::Current(), wake);
      queue_.PrepareToWaitExclusive(entry, state);
      Task::Current().Schedule();
      queue_.FinishWait(entry);
    };
  }

  Walk walk_;
  std::deque<Dozer> dozers_;
};

// --- Whom a walk wakes -------------------------------------------------------

TEST_F(SpecWaitQueueTest, Spec21_AWalkWakesAllNonExclusiveAndNrExclusive) {
  struct {
    std::function<int()> wake;
    int exclusive;
  } const rows[] = {
      {[&] { return queue_.WakeUp(); }, 1},
      {[&] { return queue_.WakeUpNr(2); }, 2},
      {[&] { return queue_.WakeUpAll(); }, 3},
      {[&] { return queue_.WakeUpNr(0); }, 3},
      {[&] { return queue_.WakeUpNr(99); }, 3},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.exclusive);
    for (const char name : {'X', 'Y', 'Z'}) Doze(name, kExclusive);
    for (const char name : {'a', 'b', 'c', 'd', 'e'}) Doze(name);
    EXPECT_EQ(row.wake(), row.exclusive) << "it returns the exclusive ones";
    EXPECT_EQ(walk_.woken, 5 + row.exclusive);
    for (int i = 0; i < 8; ++i) {
      const bool woken = i >= 3 || i < row.exclusive;
      EXPECT_EQ(dozers_[i].asleep(), !woken) << i;
      EXPECT_EQ(dozers_[i].queued(), !woken) << i;
    }
    FinishAll();
  }
}

TEST_F(SpecWaitQueueTest, Spec22_NonExclusiveAreNewestFirstExclusiveOldest) {
  for (const char name : {'A', 'B', 'C'}) Doze(name);
  EXPECT_EQ(Order(), "CBA");
  FinishAll();
  for (const char name : {'A', 'B', 'C'}) Doze(name, kExclusive);
  EXPECT_EQ(Order(), "ABC");
  FinishAll();
  // The same by add_wait_queue() and by prepare_to_wait().
  for (const char name : {'A', 'B', 'C'}) queue_.Add(Make(name));
  for (const char name : {'X', 'Y', 'Z'}) queue_.AddExclusive(Make(name));
  EXPECT_EQ(Order(), "CBAXYZ");
  for (Dozer& dozer : dozers_) queue_.Remove(dozer);
  dozers_.clear();
  for (const char name : {'A', 'B', 'C'}) {
    queue_.PrepareToWait(Make(name), kInterruptible);
  }
  for (const char name : {'X', 'Y', 'Z'}) {
    queue_.PrepareToWaitExclusive(Make(name), kInterruptible);
  }
  EXPECT_EQ(Order(), "CBAXYZ");
}

TEST_F(SpecWaitQueueTest, Spec23_PriorityGoesFirstAndOneExclusiveHasItAlone) {
  Doze('N');
  queue_.AddPriority(Make('1'));
  queue_.AddPriority(Make('2'));
  EXPECT_EQ(Order(), "12N");
  FinishAll();

  Doze('N');
  EXPECT_EQ(queue_.AddPriorityExclusive(Make('1')), 0);
  Dozer& second = Make('2');
  EXPECT_EQ(queue_.AddPriorityExclusive(second), -EBUSY);
  EXPECT_FALSE(second.queued());
  EXPECT_EQ(Order(), "1N");
}

TEST_F(SpecWaitQueueTest, Spec24_ALockedWaiterBehindAnExclusiveOneIsMissed) {
  const auto exclusive = [this] {
    SpinLockGuard guard(&queue_.lock());
    return WaitEventInterruptibleExclusiveLocked(queue_, condition());
  };
  const auto shared = [this] {
    SpinLockGuard guard(&queue_.lock());
    return WaitEventInterruptibleLocked(queue_, condition());
  };
  for (const bool all : {false, true}) {
    condition_ = false;
    Actor& x = stage_.EnterAsleep(exclusive);
    Actor& n = stage_.EnterAsleep(shared);
    condition_ = true;
    {
      SpinLockGuard guard(&queue_.lock());
      EXPECT_EQ(all ? queue_.WakeUpAllLocked() : queue_.WakeUpLocked(), 1);
    }
    EXPECT_EQ(x.Result(), 0);
    if (!all) {
      EXPECT_TRUE(n.asleep());
      EXPECT_EQ(CountQueued(queue_), 1);
      queue_.WakeUp();
    }
    EXPECT_EQ(n.Result(), 0);
    EXPECT_EQ(n.sleeps(), 1);
  }
}

TEST_F(SpecWaitQueueTest, Spec25_TwoQuickWakeUpsWakeTwoExclusiveWaiters) {
  for (const WakeFunction wake :
       {&DefaultWakeFunction, &AutoremoveWakeFunction}) {
    Actor& x1 = stage_.EnterAsleep(sleep_once(wake, kUninterruptible));
    Actor& x2 = stage_.EnterAsleep(sleep_once(wake, kUninterruptible));
    for (Actor* x : {&x1, &x2}) x->StopAt(PausePoint::kAfterSleep);
    EXPECT_EQ(queue_.WakeUp(), 1);
    EXPECT_FALSE(x1.asleep());
    EXPECT_TRUE(x2.asleep());
    EXPECT_EQ(queue_.WakeUp(), 1);
    EXPECT_FALSE(x2.asleep());
    EXPECT_EQ(queue_.WakeUp(), 0) << "one each";
    for (Actor* x : {&x1, &x2}) x->GoOn();
    for (Actor* x : {&x1, &x2}) x->Result();
  }
}

TEST_F(SpecWaitQueueTest, Spec26_AWakeUpPassesOverWhoRunsAlready) {
  Actor& x1 =
      stage_.EnterAsleep(sleep_once(&DefaultWakeFunction, kUninterruptible));
  Actor& x2 =
      stage_.EnterAsleep(sleep_once(&DefaultWakeFunction, kUninterruptible));
  x1.StopAt(PausePoint::kAfterSleep);
  EXPECT_TRUE(x1.task().TryToWake(kNormal)) << "by somebody else";
  x1.AwaitStopped();
  EXPECT_TRUE(queue_.HasSleeper());
  EXPECT_EQ(queue_.WakeUp(), 1);
  EXPECT_EQ(x2.Result(), 0);
  EXPECT_TRUE(queue_.HasSleeper()) << "X1 has not left yet";
  x1.GoOn();
}

TEST_F(SpecWaitQueueTest, Spec27_AnInterruptibleWakeUpPassesOverDeeperSleeps) {
  for (const TaskState state : {kUninterruptible, kKillable}) {
    Actor& deep =
        stage_.EnterAsleep(sleep_once(&AutoremoveWakeFunction, state));
    Actor& light =
        stage_.EnterAsleep(sleep_once(&AutoremoveWakeFunction, kInterruptible));
    EXPECT_EQ(queue_.WakeUpInterruptible(), 1);
    EXPECT_EQ(light.Result(), 0);
    EXPECT_TRUE(deep.asleep());
    EXPECT_EQ(deep.task().state(), state);
    EXPECT_EQ(CountQueued(queue_), 1);
    EXPECT_EQ(queue_.WakeUp(), 1);
    EXPECT_EQ(deep.Result(), 0);
  }
}

TEST_F(SpecWaitQueueTest, Spec28_AWakeFunctionMayStopTheWalkOrRefuse) {
  const auto stop = [](Dozer&, TaskState, void*) { return -1; };
  const auto refuse = [](Dozer& dozer, TaskState mode, void* key) {
    return key == &dozer ? Dozer::Autoremove(dozer, mode, key) : 0;
  };
  Doze('A', kExclusive, stop);
  Doze('B', kExclusive);
  EXPECT_EQ(queue_.WakeUpAll(), 0);
  EXPECT_EQ(walk_.called, "A") << "nobody else is called";
  FinishAll();

  Doze('A', kExclusive, refuse);
  Doze('B', kExclusive, refuse);
  Dozer& third = Doze('C', kExclusive, refuse);
  Dozer& fourth = Doze('D', kExclusive);
  EXPECT_EQ(queue_.Wake(kNormal, 1, 0, /*key=*/&third), 1);
  EXPECT_EQ(walk_.called, "ABC") << "the one wake-up is used up";
  EXPECT_FALSE(third.asleep());
  EXPECT_TRUE(dozers_[0].asleep());
  EXPECT_TRUE(dozers_[1].asleep());
  EXPECT_TRUE(fourth.asleep());
}

TEST_F(SpecWaitQueueTest, Spec29_AnEntryThatUnlinksItselfEndsNoWalk) {
  const auto unlink = [](Dozer& dozer, TaskState, void*) {
    WaitList::Remove(dozer);
    return 1;
  };
  const auto stay = [](Dozer&, TaskState, void*) { return 1; };
  for (const std::string unlinking : {"A", "B", "C", "AB", "BC", "ABC"}) {
    std::string rest;
    for (const char name : {'A', 'B', 'C'}) {
      if (unlinking.find(name) != std::string::npos) {
        Doze(name, kExclusive, unlink);
      } else {
        Doze(name, kExclusive, stay);
        rest += name;
      }
    }
    EXPECT_EQ(queue_.WakeUpAll(), 3);
    EXPECT_EQ(walk_.called, "ABC") << unlinking;
    EXPECT_EQ(Order(), rest) << unlinking;
    FinishAll();
  }
}

// --- Sleeping by hand --------------------------------------------------------

TEST_F(SpecWaitQueueTest, Spec35_PreparingSaysWhetherOneIsTheFirstInLine) {
  Dozer& first = Make('A');
  Dozer& second = Make('B');
  EXPECT_TRUE(queue_.PrepareToWaitExclusive(first, kUninterruptible));
  EXPECT_FALSE(queue_.PrepareToWaitExclusive(second, kUninterruptible));
  EXPECT_FALSE(queue_.PrepareToWaitExclusive(first, kUninterruptible));
  queue_.FinishWait(second);
  EXPECT_FALSE(queue_.PrepareToWaitExclusive(first, kUninterruptible))
      << "alone, but queued already";
}

TEST_F(SpecWaitQueueTest, Spec36_AnExclusiveWaiterThatFindsNothingGoesLast) {
  const auto wait = [this] {
    return WaitEventInterruptibleExclusive(queue_, take());
  };
  Actor& x1 = stage_.EnterAsleep(wait);
  Actor& x2 = stage_.EnterAsleep(wait);
  EXPECT_EQ(queue_.WakeUp(), 1);
  x1.AwaitAsleep();
  EXPECT_EQ(x1.sleeps(), 2) << "it was woken for nothing";
  EXPECT_EQ(PostAndWake(), 1);
  EXPECT_EQ(x2.Result(), 0);
  EXPECT_TRUE(x1.asleep());
  EXPECT_EQ(PostAndWake(), 1);
  EXPECT_EQ(x1.Result(), 0);
}

TEST_F(SpecWaitQueueTest, Spec37_FinishingMayBeRepeatedAndAwaitsTheWaker) {
  Dozer& left = Doze('A');
  Doze('B');
  for (int time = 0; time < 2; ++time) {
    queue_.FinishWait(left);
    EXPECT_FALSE(left.queued());
    EXPECT_FALSE(left.asleep());
    EXPECT_EQ(Order(), "B");
  }
  FinishAll();

  // The waker has woken it and is about to unlink the entry, which is in the
  // waiter's frame. The waiter runs, and wants to leave.
  Actor& waiter =
      stage_.EnterUpTo(PausePoint::kBeforeSleep,
                       sleep_once(&AutoremoveWakeFunction, kUninterruptible));
  Actor& waker = stage_.EnterUpTo(PausePoint::kBeforeUnlink,
                                  [this] { return queue_.WakeUp(); });
  EXPECT_EQ(waiter.task().state(), kRunning);
  waiter.StopAt(PausePoint::kBeforeFinish);
  waiter.GoOn();
  waiter.AwaitStopped();
  waiter.GoOn();
  waiter.AwaitBlocked();
  EXPECT_FALSE(waiter.returned());
  waker.GoOn();
  EXPECT_EQ(waker.Result(), 1);
  EXPECT_EQ(waiter.Result(), 0);
}

TEST(SpecWaitQueueDeathTest, Spec38_AnEntryForAddMayNotBePrepared) {
  WaitQueue queue;
  WaitEntry entry(WaitEntry::ForAdd{}, &Task::Current());
  const char* const rule =
      "a wait entry that was made for Add\\(\\) is prepared to wait";
  EXPECT_DEATH(queue.PrepareToWait(entry, kInterruptible), rule);
  EXPECT_DEATH(queue.PrepareToWaitExclusive(entry, kInterruptible), rule);
  EXPECT_DEATH((void)queue.PrepareToWaitEvent(entry, kInterruptible), rule);
}

TEST_F(SpecWaitQueueTest, Spec40_AWakeUpWhileRunningIsLatchedOnce) {
  std::atomic<Ticks> first = -1, second = -1;
  std::atomic<bool> cleared = false;
  Actor& waiter = stage_.EnterUpTo(PausePoint::kBeforeEnqueue, [&] {
    WaitEntry entry(WaitEntry::ForAdd{}, &Task::Current(), &WokenWakeFunction);
    queue_.Add(entry);
    Pause(PausePoint::kBeforeEnqueue);  // while it tests its condition, say
    first = WaitWoken(entry, kInterruptible, 7);
    cleared = !entry.Woken();
    second = WaitWoken(entry, kInterruptible, 7);
    EXPECT_FALSE(entry.Woken());
    EXPECT_EQ(Task::Current().state(), kRunning);
    queue_.Remove(entry);
  });
  queue_.WakeUp();
  waiter.GoOn();
  waiter.AwaitAsleep();
  EXPECT_EQ(first, 7);
  EXPECT_TRUE(cleared);
  EXPECT_EQ(waiter.sleeps(), 1);
  EXPECT_EQ(waiter.passages(PausePoint::kBeforeSleep), 1);
  stage_.Pass(3);
  queue_.WakeUp();
  EXPECT_EQ(waiter.Result(), 0);
  EXPECT_EQ(second, 4);
}

}  // namespace
}  // namespace waitq
