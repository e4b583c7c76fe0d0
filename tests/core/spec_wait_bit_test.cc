// The specification's cases of waiting for variables and bits, by number.

#include <atomic>
#include <cerrno>
#include <csignal>
#include <vector>

#include "core/mutex.h"
#include "core/pause.h"
#include "core/task.h"
#include "core/wait_bit.h"
#include "core/wait_queue.h"
#include "gtest/gtest.h"
#include "tests/core/stage.h"

namespace waitq {
namespace {

using test::Actor;
using test::Stage;

class SpecWaitBitTest : public testing::Test {
 protected:
  static constexpr int kBit = 5;
  static constexpr uint64_t kMask = uint64_t{1} << kBit;

  void TearDown() override {
    stage_.Clear();
    EXPECT_FALSE(BitWaitqueue(&word_, kBit).HasSleeper());
    EXPECT_FALSE(stage_.timers().NextWork().has_value()) << "a timer is armed";
  }

  auto waits(TaskState mode) {
    return [this, mode] { return WaitOnBit(&word_, kBit, mode); };
  }
  auto locks(TaskState mode) {
    return [this, mode] { return WaitOnBitLock(&word_, kBit, mode); };
  }
  auto waits_timed(TaskState mode, Ticks timeout) {
    return [this, mode, timeout] {
      return WaitOnBitTimeout(&word_, kBit, mode, timeout);
    };
  }
  bool is_set() const { return (word_ & kMask) != 0; }

  BitWord word_ = kMask;
  Stage stage_;
};

// --- Variables ---------------------------------------------------------------

TEST_F(SpecWaitBitTest, Spec44_AWakeUpIsForItsAddressOnlyInASharedQueue) {
  // Two in one queue: there are more addresses than queues.
  std::vector<std::atomic<int>> variables(5'000);
  size_t other = 1;
  while (&VarWaitqueue(&variables[0]) != &VarWaitqueue(&variables[other])) {
    ASSERT_LT(++other, variables.size());
  }
  std::atomic<int>* const a = &variables[0];
  std::atomic<int>* const b = &variables[other];
  const auto waits_for = [](std::atomic<int>* variable) {
    return
        [variable] { WaitVarEvent(variable, [=] { return *variable != 0; }); };
  };
  Actor& for_a = stage_.EnterAsleep(waits_for(a));
  Actor& for_b = stage_.EnterAsleep(waits_for(b));
  *a = 1;
  *b = 1;
  WakeUpVar(a);
  EXPECT_EQ(for_a.Result(), 0);
  EXPECT_TRUE(for_b.asleep());
  EXPECT_EQ(for_b.sleeps(), 1);
  WakeUpVar(b);
  EXPECT_EQ(for_b.Result(), 0);
}

TEST_F(SpecWaitBitTest, VariablesAreWaitedForInAllForms) {
  std::atomic<int> users = 2;
  const auto none = [&] { return users == 0; };
  Actor& plain = stage_.EnterAsleep([&] { WaitVarEvent(&users, none); });
  Actor& killable =
      stage_.EnterAsleep([&] { return WaitVarEventKillable(&users, none); });
  Actor& timed =
      stage_.EnterAsleep([&] { return WaitVarEventTimeout(&users, none, 9); });
  Actor& signalled = stage_.EnterAsleep(
      [&] { return WaitVarEventInterruptible(&users, none); });
  signalled.task().SendSignal(SIGTERM);
  EXPECT_EQ(signalled.Result(), -kErestartsys);
  EXPECT_FALSE(AtomicDecAndWakeUp(&users));
  EXPECT_TRUE(plain.asleep());
  stage_.Pass(2);
  EXPECT_TRUE(AtomicDecAndWakeUp(&users));
  EXPECT_EQ(plain.Result(), 0);
  EXPECT_EQ(killable.Result(), 0);
  EXPECT_EQ(timed.Result(), 7);

  users = 1;
  Actor& stored = stage_.EnterAsleep([&] { WaitVarEvent(&users, none); });
  StoreReleaseWakeUp(&users, 0);
  EXPECT_EQ(stored.Result(), 0);
}

TEST_F(SpecWaitBitTest, AVariableMayBeGuardedByALock) {
  Mutex mutex;
  bool ready = false;
  Actor& waiter = stage_.EnterAsleep([&] {
    MutexLock lock(&mutex);
    return WaitVarEventAnyLock(
        &ready, [&] { return ready; }, mutex, kUninterruptible);
  });
  {
    MutexLock lock(&mutex);
    ready = true;
    WakeUpVarLocked(&ready, mutex);
  }
  EXPECT_EQ(waiter.Result(), 0);
}

// --- Bits --------------------------------------------------------------------

TEST_F(SpecWaitBitTest, Spec45_ASignalBeatsTheBit) {
  for (const bool signal_first : {true, false}) {
    word_ = kMask;
    Actor& waiter = stage_.EnterAsleep(waits(kInterruptible));
    waiter.StopAt(PausePoint::kAfterSleep);
    if (signal_first) waiter.task().SendSignal(SIGTERM);
    ClearAndWakeUpBit(&word_, kBit);
    if (!signal_first) waiter.task().SendSignal(SIGTERM);
    waiter.GoOn();
    EXPECT_EQ(waiter.Result(), -EINTR);
  }
}

TEST_F(SpecWaitBitTest, Spec45_TheBitBeatsASignalWhereItIsTaken) {
  for (const bool cleared : {true, false}) {
    word_ = kMask;
    Actor& locker = stage_.EnterAsleep(locks(kInterruptible));
    locker.StopAt(PausePoint::kAfterSleep);
    locker.task().SendSignal(SIGTERM);
    if (cleared) ClearAndWakeUpBit(&word_, kBit);
    locker.GoOn();
    EXPECT_EQ(locker.Result(), cleared ? 0 : -EINTR);
    EXPECT_TRUE(is_set()) << "set by the one, or left by the other";
  }
}

TEST_F(SpecWaitBitTest, Spec45_ATimeoutIsEagain) {
  Actor& waiter = stage_.EnterAsleep(waits_timed(kUninterruptible, 10));
  EXPECT_EQ(stage_.Pass(9), 0);
  EXPECT_TRUE(waiter.asleep());
  stage_.Pass(1);
  EXPECT_EQ(waiter.Result(), -EAGAIN);

  Actor& signalled = stage_.EnterAsleep(waits_timed(kInterruptible, 10));
  signalled.task().SendSignal(SIGTERM);
  EXPECT_EQ(signalled.Result(), -EINTR);

  Actor& late = stage_.EnterAsleep(waits_timed(kUninterruptible, 10));
  late.StopAt(PausePoint::kAfterSleep);
  stage_.Pass(10);
  ClearAndWakeUpBit(&word_, kBit);
  late.GoOn();
  EXPECT_EQ(late.Result(), 0) << "its time was over, and the bit is clear";
}

TEST_F(SpecWaitBitTest, AClearBitIsNotWaitedForAndASetOneIsNotTaken) {
  word_ = ~kMask;
  Actor& waiter = stage_.Enter(waits(kUninterruptible));
  EXPECT_EQ(waiter.Result(), 0);
  EXPECT_EQ(waiter.passages(PausePoint::kBeforeEnqueue), 0);
  Actor& locker = stage_.Enter(locks(kUninterruptible));
  EXPECT_EQ(locker.Result(), 0);
  EXPECT_EQ(word_, ~uint64_t{0});
  EXPECT_TRUE(TestAndClearWakeUpBit(&word_, kBit));
  EXPECT_FALSE(TestAndClearWakeUpBit(&word_, kBit));
  EXPECT_EQ(word_, ~kMask);
}

TEST_F(SpecWaitBitTest, OneWakeUpIsForAllWhoWaitAndOneWhoTakes) {
  Actor& first = stage_.EnterAsleep(locks(kUninterruptible));
  Actor& second = stage_.EnterAsleep(locks(kUninterruptible));
  std::vector<Actor*> waiters;
  for (int i = 0; i < 3; ++i) {
    waiters.push_back(&stage_.EnterAsleep(waits(kUninterruptible)));
  }
  first.StopAt(PausePoint::kAfterSleep);
  ClearAndWakeUpBit(&word_, kBit);
  for (Actor* waiter : waiters) EXPECT_EQ(waiter->Result(), 0);
  first.GoOn();
  EXPECT_EQ(first.Result(), 0);
  EXPECT_TRUE(second.asleep());
  EXPECT_EQ(second.sleeps(), 1);
  ClearAndWakeUpBit(&word_, kBit);
  EXPECT_EQ(second.Result(), 0);
}

// Another wake-up will come, from whoever has set it.
TEST_F(SpecWaitBitTest, ABitThatIsSetAgainWakesNobody) {
  Actor& waiter = stage_.EnterAsleep(waits(kUninterruptible));
  WakeUpBit(&word_, kBit);
  WakeUpBit(&word_, kBit + 1);
  EXPECT_TRUE(waiter.asleep());
  EXPECT_EQ(waiter.sleeps(), 1);
  ClearAndWakeUpBit(&word_, kBit);
  EXPECT_EQ(waiter.Result(), 0);
}

TEST_F(SpecWaitBitTest, AnActionOfOnesOwnDecidesHowToSleep) {
  EXPECT_EQ(WaitOnBitAction(
                &word_, kBit, [](TaskState) { return -EIO; }, kUninterruptible),
            -EIO);
  EXPECT_EQ(WaitOnBitLockAction(
                &word_, kBit, [](TaskState) { return -EIO; }, kUninterruptible),
            -EIO);
  EXPECT_EQ(Task::Current().state(), kRunning);
}

}  // namespace
}  // namespace waitq
