// The specification's case of interrupted calls, by number: every cell of the
// table, and timeouts that are not stretched.

#include <atomic>
#include <cerrno>
#include <csignal>
#include <vector>

#include "absl/time/time.h"
#include "core/pause.h"
#include "core/poll.h"
#include "core/restart.h"
#include "core/sleep.h"
#include "core/task.h"
#include "core/wait_event.h"
#include "gtest/gtest.h"
#include "tests/core/stage.h"

namespace waitq {
namespace {

using test::Actor;

class SpecRestartTest : public test::StageTest {
 protected:
  static void HandleSignals() {
    SignalDispositions& own = Task::Current().dispositions();
    own.handled = SignalSet::Of(SIGUSR1) | SignalSet::Of(SIGUSR2);
    own.restart = SignalSet::Of(SIGUSR2);
  }
  // An actor's body, with handlers for SIGUSR1 and, restarting, SIGUSR2.
  template <class Call>
  auto restartable(Call call) {
    return [this, call] {
      HandleSignals();
      return RestartableCall(call, [this](int) { ++handled_; });
    };
  }
  auto reads() {
    return restartable(
        [this] { return WaitEventInterruptible(queue_, condition()); });
  }

  std::atomic<int> handled_ = 0;
};

// --- The table ---------------------------------------------------------------

constexpr int kDone = 7;
constexpr int kRestarted = 8;

TEST_F(SpecRestartTest, Spec70_EveryCellOfTheTable) {
  constexpr int kNoSignal = 0;
  // What the program gets: kDone from the same call again, kRestarted by the
  // block.
  struct {
    int result;
    int restarting_handler;
    int handler;
    int no_handler;
  } const rows[] = {
      {-kErestartsys, kDone, -EINTR, kDone},
      {-kErestartnointr, kDone, kDone, kDone},
      {-kErestartnohand, -EINTR, -EINTR, kDone},
      {-kErestartRestartblock, -EINTR, -EINTR, kRestarted},
      {-EINTR, -EINTR, -EINTR, -EINTR},
      // The same for what is no restart at all: a count, another error.
      {3, 3, 3, 3},
      {-EAGAIN, -EAGAIN, -EAGAIN, -EAGAIN},
  };
  const auto call_once = [](int result, int signal) {
    return [=] {
      HandleSignals();
      ThreadTask& task = Task::Current();
      int calls = 0;
      return RestartableCall([&] {
        if (++calls > 1) return kDone;
        if (signal != kNoSignal) task.PostSignal(signal);
        // Stopped, and told to go on: no handler runs.
        if (signal == SIGTSTP) task.SendSignal(SIGCONT);
        task.restart_block().restart = [](const RestartBlock&) {
          return int64_t{kRestarted};
        };
        return result;
      });
    };
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.result);
    EXPECT_EQ(stage_.Enter(call_once(row.result, SIGUSR2)).Result(),
              row.restarting_handler);
    EXPECT_EQ(stage_.Enter(call_once(row.result, SIGUSR1)).Result(),
              row.handler);
    EXPECT_EQ(stage_.Enter(call_once(row.result, kNoSignal)).Result(),
              row.no_handler);
    EXPECT_EQ(stage_.Enter(call_once(row.result, SIGTSTP)).Result(),
              row.no_handler);
  }
}

// --- Timeouts ----------------------------------------------------------------

TEST_F(SpecRestartTest, Spec70_SignalsStretchARelativeTimeout) {
  Actor& waiter = stage_.EnterAsleep(restartable(
      [&] { return WaitEventInterruptibleTimeout(queue_, condition(), 10); }));
  for (int k = 1; k <= 5; ++k) {
    stage_.Pass(6);
    waiter.task().SendSignal(SIGUSR2);
    test::WaitUntil([&] { return waiter.sleeps() == k + 1; });
    waiter.AwaitAsleep();
  }
  EXPECT_EQ(stage_.Pass(9), 0) << "39 ticks, of 10";
  EXPECT_TRUE(waiter.asleep());
  stage_.Pass(1);
  EXPECT_EQ(waiter.Result(), 0);
  EXPECT_EQ(handled_, 5);
}

TEST_F(SpecRestartTest, Spec70_SignalsDoNotStretchADeadline) {
  Actor& waiter = stage_.EnterAsleep([&] {
    HandleSignals();
    return RestartableCallWithin(10, [&](Ticks left) {
      return WaitEventInterruptibleTimeout(queue_, condition(), left);
    });
  });
  for (int k = 1; k <= 3; ++k) {
    stage_.Pass(3);
    waiter.task().SendSignal(SIGUSR2);
    test::WaitUntil([&] { return waiter.sleeps() == k + 1; });
    waiter.AwaitAsleep();
  }
  EXPECT_TRUE(waiter.asleep());
  EXPECT_EQ(stage_.Pass(1), 1);
  EXPECT_EQ(waiter.Result(), 0);
}

// Poll() and Nanosleep() say when they would have ended; stopping is not seen.
TEST_F(SpecRestartTest, Spec70_ARestartBlockHasOneDeadline) {
  const auto polls = [] { return Poll({}, 10); };
  const auto sleeps = [] { return Nanosleep(10 * kTick); };
  for (Actor* sleeper : {&stage_.EnterAsleep(restartable(polls)),
                         &stage_.EnterAsleep(restartable(sleeps))}) {
    for (int k = 1; k <= 2; ++k) {
      sleeper->task().SendSignal(SIGSTOP);
      test::WaitUntil([&] { return sleeper->task().state() == kStopped; });
      sleeper->AwaitAsleep();
      sleeper->task().SendSignal(SIGCONT);
      test::WaitUntil([&] { return sleeper->sleeps() == 2 * k + 1; });
      sleeper->AwaitAsleep();
    }
  }
  EXPECT_EQ(stage_.Pass(9), 0);
  EXPECT_EQ(stage_.Pass(1), 2);
}

TEST_F(SpecRestartTest, Spec70_TimePassesWhileStopped) {
  for (const bool poll : {true, false}) {
    Actor& sleeper = stage_.EnterAsleep(restartable([poll]() -> int64_t {
      return poll ? Poll({}, 10) : Nanosleep(10 * kTick);
    }));
    stage_.Pass(4);
    sleeper.task().SendSignal(SIGSTOP);
    test::WaitUntil([&] { return sleeper.task().state() == kStopped; });
    sleeper.AwaitAsleep();
    stage_.Pass(4);
    sleeper.task().SendSignal(SIGCONT);
    test::WaitUntil([&] { return sleeper.sleeps() == 3; });
    sleeper.AwaitAsleep();
    EXPECT_EQ(stage_.Pass(2), 1);
    EXPECT_EQ(sleeper.Result(), 0);
  }
}

TEST_F(SpecRestartTest, Spec70_AHandlerEndsPollAndNanosleepAlsoARestartingOne) {
  for (const int signal : {SIGUSR1, SIGUSR2}) {
    absl::Duration left;
    Actor& poller =
        stage_.EnterAsleep(restartable([] { return Poll({}, 10); }));
    Actor& sleeper = stage_.EnterAsleep(
        restartable([&] { return Nanosleep(10 * kTick, &left); }));
    Actor& until = stage_.EnterAsleep(restartable(
        [this] { return NanosleepUntil(stage_.clock().Now() + 10 * kTick); }));
    Actor& pauses = stage_.EnterAsleep(restartable(&PauseForSignal));
    stage_.Pass(3);
    for (Actor* actor : {&poller, &sleeper, &until, &pauses}) {
      actor->task().SendSignal(signal);
      EXPECT_EQ(actor->Result(), -EINTR);
    }
    EXPECT_EQ(left, 7 * kTick);
  }
}

TEST_F(SpecRestartTest, Spec70_StoppingDoesNotEndSleepsForASignal) {
  for (const bool pause : {true, false}) {
    Actor& sleeper = stage_.EnterAsleep(restartable([&] {
      return pause ? PauseForSignal()
                   : NanosleepUntil(stage_.clock().Now() + 10 * kTick);
    }));
    sleeper.task().SendSignal(SIGSTOP);
    test::WaitUntil([&] { return sleeper.task().state() == kStopped; });
    sleeper.AwaitAsleep();
    sleeper.task().SendSignal(SIGCONT);
    test::WaitUntil([&] { return sleeper.sleeps() == 3; });
    sleeper.AwaitAsleep();
    sleeper.task().SendSignal(SIGUSR1);
    EXPECT_EQ(sleeper.Result(), -EINTR);
  }
}

// --- Signals -----------------------------------------------------------------

TEST_F(SpecRestartTest, TheFirstHandlerDecides) {
  struct {
    SignalSet restart;
    int64_t result;
  } const rows[] = {
      {SignalSet::Of(SIGUSR1), kDone},   // the lower number, restarting
      {SignalSet::Of(SIGUSR2), -EINTR},  // the higher one
  };
  for (const auto& row : rows) {
    std::vector<int> handled;
    Actor& actor = stage_.Enter([&] {
      HandleSignals();
      ThreadTask& task = Task::Current();
      task.dispositions().restart = row.restart;
      int calls = 0;
      return RestartableCall(
          [&] {
            if (++calls > 1) return kDone;
            task.PostSignal(SIGUSR2);
            task.PostSignal(SIGUSR1);
            return -kErestartsys;
          },
          [&](int signal) { handled.push_back(signal); });
    });
    EXPECT_EQ(actor.Result(), row.result);
    EXPECT_EQ(handled, (std::vector<int>{SIGUSR1, SIGUSR2}));
    EXPECT_FALSE(actor.task().SignalPending());
  }
}

// The condition had come true; the handler runs all the same.
TEST_F(SpecRestartTest, SignalsAreDeliveredAlsoAfterSuccess) {
  Actor& reader = stage_.EnterAsleep(reads());
  reader.StopAt(PausePoint::kAfterSleep);
  reader.task().SendSignal(SIGUSR1);
  MakeTrueAndWake();
  reader.GoOn();
  EXPECT_EQ(reader.Result(), 0);
  EXPECT_EQ(handled_, 1);
}

TEST_F(SpecRestartTest, AWaitIsRestartedOrInterrupted) {
  Actor& restarted = stage_.EnterAsleep(reads());
  restarted.task().SendSignal(SIGUSR2);
  test::WaitUntil([&] { return restarted.sleeps() == 2; });
  restarted.AwaitAsleep();
  restarted.task().SendSignal(SIGUSR1);
  EXPECT_EQ(restarted.Result(), -EINTR);
  EXPECT_EQ(handled_, 2);
}

TEST_F(SpecRestartTest, AFatalSignalIsLeftPending) {
  for (const int signal : {SIGKILL, SIGTERM, SIGQUIT}) {
    Actor& reader = stage_.EnterAsleep(reads());
    reader.task().SendSignal(signal);
    EXPECT_EQ(reader.Result(), -EINTR);
    EXPECT_TRUE(reader.task().SignalPending());
  }
  EXPECT_EQ(handled_, 0);
}

// --- Stopping ----------------------------------------------------------------

TEST_F(SpecRestartTest, AStoppedTaskIsWokenByNothingElse) {
  Actor& reader = stage_.EnterAsleep(reads());
  reader.task().SendSignal(SIGTSTP);
  test::WaitUntil([&] { return reader.task().state() == kStopped; });
  reader.AwaitAsleep();
  reader.task().SendSignal(SIGUSR1);
  MakeTrueAndWake();
  EXPECT_EQ(reader.task().state(), kStopped);
  EXPECT_TRUE(reader.asleep());
  reader.task().SendSignal(SIGCONT);
  // Its handler runs now, and interrupts what was to be called again.
  EXPECT_EQ(reader.Result(), -EINTR);
}

TEST_F(SpecRestartTest, AFatalSignalEndsAStop) {
  Actor& reader = stage_.EnterAsleep(reads());
  reader.task().SendSignal(SIGSTOP);
  test::WaitUntil([&] { return reader.task().state() == kStopped; });
  reader.AwaitAsleep();
  reader.task().SendSignal(SIGKILL);
  EXPECT_EQ(reader.Result(), -EINTR);
}

TEST_F(SpecRestartTest, AStopThatIsRevokedBeforeItBeganDoesNotBegin) {
  // Before it is delivered, and at the last moment.
  Actor& early = stage_.EnterAsleep(reads());
  early.StopAt(PausePoint::kAfterSleep);
  early.task().SendSignal(SIGSTOP);
  early.task().SendSignal(SIGCONT);
  early.GoOn();
  test::WaitUntil([&] { return early.sleeps() == 2; });
  early.AwaitAsleep();
  EXPECT_EQ(early.task().state(), kInterruptible);

  for (const PausePoint point :
       {PausePoint::kBeforeStop, PausePoint::kStateSet}) {
    Actor& late = stage_.EnterAsleep(reads());
    late.StopAt(point);
    late.task().SendSignal(SIGSTOP);
    late.AwaitStopped();
    late.task().SendSignal(SIGCONT);
    late.GoOn();
    test::WaitUntil([&] { return late.sleeps() == 2; });
    late.AwaitAsleep();
    EXPECT_EQ(late.task().state(), kInterruptible);
  }
  condition_ = true;
  queue_.WakeUpAll();
}

}  // namespace
}  // namespace waitq
