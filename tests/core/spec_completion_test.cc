// The specification's cases of completions, by number.

#include <array>
#include <atomic>
#include <csignal>
#include <memory>
#include <thread>

#include "core/completion.h"
#include "core/pause.h"
#include "core/task.h"
#include "gtest/gtest.h"
#include "tests/core/stage.h"
#include "tests/support/wait_until.h"

namespace waitq {
namespace {

using test::Actor;
using test::Rounds;
using test::Stage;
using test::WaitUntil;

class SpecCompletionTest : public test::StageTest {
 protected:
  auto wait() {
    return [this] { done_.Wait(); };
  }

  Completion done_;
};

TEST_F(SpecCompletionTest, Spec48_CompletesAreRememberedAndCounted) {
  for (int i = 0; i < 3; ++i) done_.Complete();
  for (int i = 0; i < 3; ++i) {
    Actor& waiter = stage_.Enter(wait());
    EXPECT_EQ(waiter.Result(), 0);
    EXPECT_EQ(waiter.sleeps(), 0);
  }
  EXPECT_FALSE(done_.Done());
  Actor& fourth = stage_.EnterAsleep(wait());
  done_.Complete();
  EXPECT_EQ(fourth.Result(), 0);
  EXPECT_FALSE(done_.Done());
}

TEST_F(SpecCompletionTest, Spec49_AWokenWaiterThatIsTooLateGoesLast) {
  Actor& first = stage_.EnterAsleep(wait());
  Actor& second = stage_.EnterAsleep(wait());
  Actor& third = stage_.EnterAsleep(wait());
  first.StopAt(PausePoint::kAfterSleep);
  done_.Complete();
  first.AwaitStopped();
  EXPECT_TRUE(second.asleep());
  EXPECT_TRUE(third.asleep());
  EXPECT_TRUE(done_.TryWait()) << "whoever comes first takes it";
  first.GoOn();
  first.AwaitAsleep();
  EXPECT_EQ(first.sleeps(), 2);
  for (Actor* next : {&second, &third, &first}) {
    EXPECT_TRUE(next->asleep());
    done_.Complete();
    EXPECT_EQ(next->Result(), 0);
  }
}

TEST_F(SpecCompletionTest, Spec50_CompleteAllIsForGood) {
  std::array<Actor*, 3> waiters;
  for (Actor*& waiter : waiters) waiter = &stage_.EnterAsleep(wait());
  done_.CompleteAll();
  for (Actor* waiter : waiters) {
    EXPECT_EQ(waiter->Result(), 0);
    EXPECT_EQ(waiter->sleeps(), 1);
  }
  // One more would make it none at all, if this counted.
  done_.Complete();
  EXPECT_TRUE(done_.Done());
  for (int i = 0; i < 3; ++i) {
    Actor& later = stage_.Enter(wait());
    EXPECT_EQ(later.Result(), 0);
    EXPECT_EQ(later.sleeps(), 0);
    EXPECT_TRUE(done_.TryWait());
    EXPECT_TRUE(done_.Done());
  }
  done_.Complete();
  EXPECT_TRUE(done_.Done());
}

TEST_F(SpecCompletionTest, Spec51_ReinitMakesEvenAWokenWaiterSleepAgain) {
  Actor& drained = stage_.EnterAsleep(wait());
  done_.CompleteAll();
  EXPECT_EQ(drained.Result(), 0);
  done_.Reinit();
  Actor& waiter = stage_.EnterAsleep(wait());

  waiter.StopAt(PausePoint::kAfterSleep);
  done_.CompleteAll();
  waiter.AwaitStopped();
  done_.Reinit();
  waiter.GoOn();
  waiter.AwaitAsleep();
  EXPECT_EQ(waiter.sleeps(), 2);
  EXPECT_FALSE(done_.Done());
  done_.Complete();
  EXPECT_EQ(waiter.Result(), 0);
}

TEST_F(SpecCompletionTest, Spec52_ATimeoutOfNothingLastsUntilTheNextTick) {
  const auto wait_a_tick = [this] { return done_.WaitTimeout(0); };
  stage_.clock().Advance(kTick / 2);
  Actor& waiter = stage_.EnterAsleep(wait_a_tick);
  EXPECT_EQ(stage_.clock().Advance(kTick / 2 - Stage::kInstant), 0);
  EXPECT_TRUE(waiter.asleep());
  stage_.clock().Advance(Stage::kInstant);
  EXPECT_EQ(waiter.Result(), 0);
  EXPECT_EQ(waiter.sleeps(), 1);

  done_.Complete();
  Actor& admitted = stage_.Enter(wait_a_tick);
  EXPECT_EQ(admitted.Result(), 1);
  EXPECT_EQ(admitted.sleeps(), 0);
  EXPECT_FALSE(done_.Done());
}

TEST_F(SpecCompletionTest, Spec53_SuccessBeatsTimeoutAndSignal) {
  {
    Actor& waiter = stage_.EnterAsleep([&] { return done_.WaitTimeout(10); });
    waiter.StopAt(PausePoint::kAfterSleep);
    EXPECT_EQ(stage_.Pass(10), 1);
    waiter.AwaitStopped();
    done_.Complete();
    waiter.GoOn();
    EXPECT_EQ(waiter.Result(), 1);
    EXPECT_FALSE(done_.Done());
  }
  for (const bool signal_first : {true, false}) {
    Actor& waiter =
        stage_.EnterAsleep([&] { return done_.WaitInterruptible(); });
    waiter.StopAt(PausePoint::kAfterSleep);
    if (signal_first) waiter.task().SendSignal(SIGTERM);
    done_.Complete();
    if (!signal_first) waiter.task().SendSignal(SIGTERM);
    waiter.GoOn();
    EXPECT_EQ(waiter.Result(), 0) << signal_first;
    EXPECT_FALSE(done_.Done()) << "it has taken what it was woken for";
  }
  Actor& waiter = stage_.EnterAsleep([&] { return done_.WaitInterruptible(); });
  waiter.task().SendSignal(SIGTERM);
  EXPECT_EQ(waiter.Result(), -kErestartsys);
  EXPECT_FALSE(done_.Done());
  done_.Complete();
  EXPECT_TRUE(done_.TryWait()) << "the one that comes later is kept";
}

TEST_F(SpecCompletionTest, Spec54_DoneSaysNothingAboutWaitersAndTakesNothing) {
  EXPECT_FALSE(done_.Done()) << "nobody waits, and nothing is done";
  done_.Complete();
  EXPECT_TRUE(done_.Done());
  EXPECT_TRUE(done_.Done());
  EXPECT_TRUE(done_.TryWait());
  EXPECT_FALSE(done_.Done());
}

TEST_F(SpecCompletionTest, Spec55_WhoReturnsFromAWaitMayFreeItAtOnce) {
  // Counted, and the waiter woken, but the completer is not through.
  for (const bool waiter_first : {true, false}) {
    auto done = std::make_unique<Completion>();
    Actor& waiter = stage_.EnterUpTo(PausePoint::kBeforeSleep, [&] {
      done->Wait();
      done.reset();
    });
    Actor& completer =
        stage_.EnterUpTo(PausePoint::kBeforeUnlink,
                         [completion = done.get()] { completion->Complete(); });
    EXPECT_EQ(waiter.task().state(), kRunning);
    if (waiter_first) {
      waiter.GoOn();
      waiter.AwaitBlocked();
      EXPECT_FALSE(waiter.returned());
      completer.GoOn();
    } else {
      Actor& observer = stage_.Enter(
          [completion = done.get()] { return completion->Done(); });
      observer.AwaitBlocked();
      EXPECT_FALSE(observer.returned()) << "who sees it done may free it too";
      completer.GoOn();
      EXPECT_TRUE(observer.Result());
      waiter.GoOn();
    }
    EXPECT_EQ(waiter.Result(), 0);
    EXPECT_EQ(completer.Result(), 0);
    EXPECT_EQ(done, nullptr);
  }
  // On the heap, where both sanitizers see that something is gone.
  const int rounds = Rounds(20'000, 1'000'000);
  std::atomic<Completion*> offered = nullptr;
  Actor& waiter = stage_.Enter([&] {
    for (int round = 0; round < rounds; ++round) {
      auto done = std::make_unique<Completion>();
      offered = done.get();
      done->Wait();
    }
  });
  for (int round = 0; round < rounds; ++round) {
    Completion* done = nullptr;
    WaitUntil([&] {
      done = offered.exchange(nullptr);
      return done != nullptr;
    });
    done->Complete();
  }
  EXPECT_EQ(waiter.Result(), 0);
}

}  // namespace
}  // namespace waitq
