// What no program may do with the primitives: each mistake ends it, and says
// which rule was broken.

#include <memory>
#include <optional>

#include "core/completion.h"
#include "core/fifo.h"
#include "core/spin_lock.h"
#include "core/task.h"
#include "core/wait_event.h"
#include "core/wait_list.h"
#include "core/wait_queue.h"
#include "gtest/gtest.h"
#include "tests/core/sleeper.h"

namespace waitq {
namespace {

using test::Sleeper;

class BadUseDeathTest : public testing::Test {
 protected:
  // In a process of its own from the start: some of these need a thread, which
  // a copy of this process must not start when it has some already.
  BadUseDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

// --- Queues ------------------------------------------------------------------

TEST_F(BadUseDeathTest, AQueueIsNotDestroyedWithSleepers) {
  EXPECT_DEATH(
      {
        std::optional<WaitQueue> queue(std::in_place);
        Sleeper sleeper([&] {
          WaitEvent(*queue, [] { return false; });
          return 0;
        });
        sleeper.AwaitAsleep();
        queue.reset();
      },
      "a wait queue is destroyed with sleepers on it");
}

TEST_F(BadUseDeathTest, AnEntryForAddIsNotPreparedToWait) {
  // It would pass for queued, and sleep for ever.
  const char* const rule =
      "a wait entry that was made for Add\\(\\) is prepared to wait";
  WaitQueue queue;
  WaitEntry entry(WaitEntry::ForAdd{}, &Task::Current());
  EXPECT_DEATH(queue.PrepareToWait(entry, kUninterruptible), rule);
  EXPECT_DEATH(queue.PrepareToWaitExclusive(entry, kUninterruptible), rule);
  EXPECT_DEATH((void)queue.PrepareToWaitEvent(entry, kUninterruptible), rule);
  EXPECT_DEATH(queue.FinishWait(entry), rule);
}

TEST_F(BadUseDeathTest, AnEntryIsNotQueuedTwice) {
  const char* const rule = "a wait entry is queued twice";
  WaitQueue queue;
  WaitQueue other;
  WaitEntry entry(&Task::Current(), &DefaultWakeFunction);
  queue.Add(entry);
  EXPECT_DEATH(queue.Add(entry), rule);
  EXPECT_DEATH(queue.AddExclusive(entry), rule);
  EXPECT_DEATH(queue.AddPriority(entry), rule);
  EXPECT_DEATH(other.Add(entry), rule);
  EXPECT_DEATH((void)other.AddPriorityExclusive(entry), rule);
  EXPECT_DEATH((void)queue.AddPriorityExclusive(entry), rule);
  queue.Remove(entry);
}

TEST_F(BadUseDeathTest, AnEntryIsNotRemovedTwice) {
  const char* const rule = "a wait entry is removed that was not added";
  WaitQueue queue;
  WaitEntry entry(&Task::Current(), &AutoremoveWakeFunction);
  queue.Add(entry);
  queue.Remove(entry);
  EXPECT_DEATH(queue.Remove(entry), rule);

  WaitEntry never_added(WaitEntry::ForAdd{}, &Task::Current());
  EXPECT_DEATH(queue.Remove(never_added), rule);
}

TEST_F(BadUseDeathTest, AnEntryDoesNotDieWhileQueued) {
  EXPECT_DEATH(
      {
        WaitQueue queue;
        WaitEntry entry(&Task::Current(), &DefaultWakeFunction);
        queue.Add(entry);
      },
      "a wait entry dies while queued");
}

// --- Sleeping in a wake function ---------------------------------------------

WaitQueue other_queue;
Completion never_done;

int SleepOnAnotherQueue(WaitEntry&, TaskState, int, void*) {
  WaitEvent(other_queue, [] { return false; });
  return 0;
}

int AwaitACompletion(WaitEntry&, TaskState, int, void*) {
  never_done.Wait();
  return 0;
}

int ScheduleOnly(WaitEntry&, TaskState, int, void*) {
  Task::Current().Schedule();  // which would return at once
  return 0;
}

TEST_F(BadUseDeathTest, NobodySleepsInAWakeFunction) {
  for (const WakeFunction wake :
       {&SleepOnAnotherQueue, &AwaitACompletion, &ScheduleOnly}) {
    WaitQueue queue;
    WaitEntry entry(&Task::Current(), wake);
    queue.Add(entry);
    EXPECT_DEATH(queue.WakeUp(), "a thread sleeps in a wake function");
    queue.Remove(entry);
  }
}

TEST_F(BadUseDeathTest, NobodySleepsWithASpinLockHeld) {
  EXPECT_DEATH(
      {
        SpinLock lock;
        SpinLockGuard guard(&lock);
        Task::Current().Schedule();
      },
      "a thread sleeps in a wake function, or with a spin lock held");
}

// --- Waking one's own queue --------------------------------------------------

WaitQueue* own_queue = nullptr;

int WakeOwnQueue(WaitEntry&, TaskState, int, void*) {
  own_queue->WakeUp();
  return 0;
}

int LeaveOwnQueue(WaitEntry& entry, TaskState, int, void*) {
  own_queue->Remove(entry);
  return 0;
}

// Otherwise it would hang, and nobody could say why.
TEST_F(BadUseDeathTest, AWakeFunctionDoesNotLockItsOwnQueue) {
  for (const WakeFunction wake : {&WakeOwnQueue, &LeaveOwnQueue}) {
    WaitQueue queue;
    own_queue = &queue;
    WaitEntry entry(&Task::Current(), wake);
    queue.Add(entry);
    EXPECT_DEATH(queue.WakeUp(), "a thread takes a spin lock that it has");
    queue.Remove(entry);
  }
}

// --- Completions and FIFOs ---------------------------------------------------

TEST_F(BadUseDeathTest, ACompletionIsNotDestroyedWithWaiters) {
  EXPECT_DEATH(
      {
        std::optional<Completion> done(std::in_place);
        Sleeper waiter([&] {
          done->Wait();
          return 0;
        });
        waiter.AwaitAsleep();
        done.reset();
      },
      "a wait queue is destroyed with sleepers on it");
}

TEST_F(BadUseDeathTest, AFileIsNotOpenedTwice) {
  Fifo fifo;
  Fifo other;
  FifoFile file;
  ASSERT_EQ(fifo.Open(Fifo::kRead | Fifo::kWrite, file), 0);
  EXPECT_DEATH((void)fifo.Open(Fifo::kRead | Fifo::kWrite, file),
               "a file is opened twice");
  EXPECT_DEATH((void)other.Open(Fifo::kRead | Fifo::kNonblock, file),
               "a file is opened twice");
  file.Close();
  EXPECT_EQ(other.Open(Fifo::kRead | Fifo::kNonblock, file), 0);
  file.Close();
}

TEST_F(BadUseDeathTest, AFifoIsNotDestroyedWithOpenFiles) {
  EXPECT_DEATH(
      {
        auto fifo = std::make_unique<Fifo>();
        FifoFile file;
        (void)fifo->Open(Fifo::kRead | Fifo::kNonblock, file);
        fifo.reset();
      },
      "a FIFO is destroyed with files open on it");
}

TEST_F(BadUseDeathTest, ASignalThatDoesNotExistIsNotSent) {
  for (const int signal : {0, -1, 65}) {
    EXPECT_DEATH(Task::Current().SendSignal(signal), "there is no such signal");
  }
}

}  // namespace
}  // namespace waitq
