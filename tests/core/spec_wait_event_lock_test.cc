// The specification's case of waits with a caller's lock, by number.

#include <atomic>
#include <csignal>

#include "absl/base/thread_annotations.h"
#include "core/mutex.h"
#include "core/pause.h"
#include "core/spin_lock.h"
#include "core/task.h"
#include "core/wait_event_lock.h"
#include "gtest/gtest.h"
#include "tests/core/stage.h"

namespace waitq {
namespace {

using test::Actor;

// A lock that knows who has it.
class ABSL_LOCKABLE OwnedLock {
 public:
  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    lock_.Lock();
    owner_ = &Task::Current();
  }
  void Unlock() ABSL_UNLOCK_FUNCTION() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    owner_ = nullptr;
    lock_.Unlock();
  }
  bool mine() const { return owner_ == &Task::Current(); }

 private:
  SpinLock lock_;
  std::atomic<Task*> owner_ = nullptr;
};

class SpecWaitEventLockTest : public test::StageTest {
 protected:
  // With the lock, as it has to be tested.
  auto locked_condition() {
    return [this] {
      EXPECT_TRUE(lock_.mine());
      ++tests_;
      return condition_.load();
    };
  }
  // Takes the lock, waits, and gives it back.
  template <class Wait>
  auto with_lock(Wait wait) {
    return [this, wait]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      lock_.Lock();
      const int64_t result = wait();
      EXPECT_TRUE(lock_.mine());
      lock_.Unlock();
      return result;
    };
  }
  auto waits() {
    return with_lock([this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      WaitEventLockIrq(queue_, locked_condition(), lock_);
      return 0;
    });
  }
  auto waits_interruptibly() {
    return with_lock([this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      return WaitEventInterruptibleLockIrq(queue_, locked_condition(), lock_);
    });
  }

  OwnedLock lock_;
  std::atomic<int> tests_ = 0;
};

TEST_F(SpecWaitEventLockTest, Spec43_TheLockIsHeldInEachTestAndAtReturn) {
  for (const bool interruptible : {false, true}) {
    condition_ = false;
    tests_ = 0;
    Actor& waiter = interruptible ? stage_.EnterAsleep(waits_interruptibly())
                                  : stage_.EnterAsleep(waits());
    // During the sleep anybody can take it.
    lock_.Lock();
    EXPECT_EQ(queue_.WakeUp(), 0);
    lock_.Unlock();
    test::WaitUntil([&] { return waiter.sleeps() == 2; });
    waiter.AwaitAsleep();
    lock_.Lock();
    condition_ = true;
    queue_.WakeUp();
    lock_.Unlock();
    EXPECT_EQ(waiter.Result(), 0);
    EXPECT_GE(tests_, 4);
  }
}

TEST_F(SpecWaitEventLockTest, Spec43_AlsoAtReturnForASignal) {
  Actor& waiter = stage_.EnterAsleep(waits_interruptibly());
  waiter.task().SendSignal(SIGTERM);
  EXPECT_EQ(waiter.Result(), -kErestartsys);

  Actor& never_slept = stage_.Enter([&] {
    Task::Current().PostSignal(SIGTERM);
    return waits_interruptibly()();
  });
  EXPECT_EQ(never_slept.Result(), -kErestartsys);
  EXPECT_EQ(never_slept.sleeps(), 0);

  Actor& uninterruptible = stage_.EnterAsleep(waits());
  uninterruptible.task().SendSignal(SIGKILL);
  EXPECT_TRUE(uninterruptible.asleep());
  MakeTrueAndWake();
}

// A waker that holds the lock comes wholly before a test or after the
// enqueuing.
TEST_F(SpecWaitEventLockTest, Spec43_AWakeUpBeforeTheSleepIsNotLost) {
  Actor& waiter = stage_.EnterUpTo(PausePoint::kBeforeSleep, waits());
  lock_.Lock();
  MakeTrueAndWake();
  lock_.Unlock();
  waiter.GoOn();
  EXPECT_EQ(waiter.Result(), 0);
  EXPECT_EQ(waiter.sleeps(), 0);
}

TEST_F(SpecWaitEventLockTest, TimeoutsEndAsThoseOfWaitEvent) {
  const auto timed = [this](Ticks timeout) {
    return with_lock([this, timeout]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      return WaitEventLockIrqTimeout(queue_, locked_condition(), lock_,
                                     timeout);
    });
  };
  EXPECT_EQ(stage_.Enter(timed(0)).Result(), 0);
  Actor& late = stage_.EnterAsleep(timed(10));
  stage_.Pass(10);
  EXPECT_EQ(late.Result(), 0);
  Actor& in_time = stage_.EnterAsleep(timed(10));
  stage_.Pass(4);
  MakeTrueAndWake();
  EXPECT_EQ(in_time.Result(), 6);
  EXPECT_EQ(stage_.Enter(timed(7)).Result(), 7);

  condition_ = false;
  Actor& signalled =
      stage_.EnterAsleep(with_lock([this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
        return WaitEventInterruptibleLockIrqTimeout(queue_, locked_condition(),
                                                    lock_, 10);
      }));
  signalled.task().SendSignal(SIGTERM);
  EXPECT_EQ(signalled.Result(), -kErestartsys);
}

TEST_F(SpecWaitEventLockTest, ACommandRunsUnlockedBeforeEachSleep) {
  std::atomic<int> commands = 0;
  const auto command = [&] {
    EXPECT_FALSE(lock_.mine());
    ++commands;
  };
  const auto waits_cmd = with_lock([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return WaitEventInterruptibleLockIrqCmd(queue_, locked_condition(), lock_,
                                            command);
  });
  Actor& waiter = stage_.EnterAsleep(waits_cmd);
  EXPECT_EQ(commands, 1);
  queue_.WakeUp();
  test::WaitUntil([&] { return waiter.sleeps() == 2; });
  EXPECT_EQ(commands, 2);
  waiter.AwaitAsleep();
  MakeTrueAndWake();
  EXPECT_EQ(waiter.Result(), 0);
  EXPECT_EQ(stage_.Enter(waits_cmd).Result(), 0);
  EXPECT_EQ(commands, 2) << "it did not sleep";
}

TEST_F(SpecWaitEventLockTest, AMutexWillDoToo) {
  Mutex mutex;
  condition_ = true;
  MutexLock lock(&mutex);
  WaitEventLockIrq(queue_, condition(), mutex);
}

}  // namespace
}  // namespace waitq
