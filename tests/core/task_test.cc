#include "core/task.h"

#include <atomic>
#include <csignal>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "core/simulated_clock.h"
#include "gtest/gtest.h"
#include "tests/core/sleeper.h"
#include "tests/support/random.h"
#include "tests/support/rival.h"
#include "tests/support/wait_until.h"

namespace waitq {
namespace {

using test::Rival;
using test::Seed;
using test::Sleeper;
using test::Times;
using test::WaitUntil;

struct StateRow {
  const char* name;
  TaskState state;
  bool by_wake_up;
  bool by_wake_up_interruptible;
  bool by_signal;
  bool by_fatal_signal;
};

// The table of core/task.h.
constexpr StateRow kStates[] = {
    {"running", kRunning, false, false, false, false},
    {"interruptible", kInterruptible, true, true, true, true},
    {"uninterruptible", kUninterruptible, true, false, false, false},
    {"killable", kKillable, true, false, false, true},
    {"idle", kIdle, true, false, false, false},
};

constexpr SignalDispositions kDefaults;

// --- Wake-ups ----------------------------------------------------------------

class TaskStateTest : public testing::TestWithParam<StateRow> {};

TEST_P(TaskStateTest, IsEndedByTheWakeUpsOfTheTable) {
  for (const auto& [mode, wakes] :
       {std::pair(kNormal, GetParam().by_wake_up),
        std::pair(kInterruptible, GetParam().by_wake_up_interruptible)}) {
    Task task(&kDefaults);
    task.SetState(GetParam().state);
    EXPECT_EQ(task.TryToWake(mode), wakes) << "mode " << mode;
    EXPECT_EQ(task.state(), wakes ? kRunning : GetParam().state);
  }
}

TEST_P(TaskStateTest, IsEndedByTheSignalsOfTheTable) {
  for (const auto& [signal, ends] :
       {std::pair(SIGQUIT, GetParam().by_signal),  // dumps core: not fatal
        std::pair(SIGTERM, GetParam().by_fatal_signal),
        std::pair(SIGKILL, GetParam().by_fatal_signal)}) {
    SCOPED_TRACE(testing::Message() << "signal " << signal);
    Task posted(&kDefaults);
    posted.SetState(GetParam().state);
    EXPECT_EQ(posted.PostSignal(signal), ends);
    EXPECT_EQ(posted.state(), GetParam().state) << "posting wakes nobody";
    EXPECT_TRUE(posted.SignalPending());

    Task sent(&kDefaults);
    sent.SetState(GetParam().state);
    sent.SendSignal(signal);
    EXPECT_EQ(sent.state(), ends ? kRunning : GetParam().state);
    EXPECT_TRUE(sent.SignalPending());
  }
}

TEST_P(TaskStateTest, SeesSignalsThatCameBeforeIt) {
  for (const auto& [signal, seen] :
       {std::pair(SIGQUIT, GetParam().by_signal),
        std::pair(SIGTERM, GetParam().by_fatal_signal)}) {
    Task task(&kDefaults);
    EXPECT_FALSE(task.PostSignal(signal)) << "it is running";
    EXPECT_EQ(task.SignalPendingIn(GetParam().state), seen);
  }
}

INSTANTIATE_TEST_SUITE_P(, TaskStateTest, testing::ValuesIn(kStates),
                         [](const auto& row) { return row.param.name; });

TEST(TaskTest, IsWokenOnceForEachSleep) {
  Task task(&kDefaults);
  EXPECT_FALSE(task.TryToWake(kNormal));
  task.SetState(kInterruptible);
  EXPECT_TRUE(task.TryToWake(kNormal));
  EXPECT_FALSE(task.TryToWake(kNormal));
  task.SetState(kInterruptible);
  EXPECT_TRUE(task.TryToWake(kNormal));
}

// Guards the compare-and-swap in Task::TryToWake().
TEST(TaskTest, OfManyWakersAtOnceOneHasWokenIt) {
  constexpr int kWakers = 3;
  const int rounds = Times(20'000);
  Task task(&kDefaults);
  std::atomic<int> round = 0;
  std::atomic<int> over = 0;
  std::atomic<int> woken = 0;
  std::vector<std::thread> wakers;
  for (int i = 0; i < kWakers; ++i) {
    wakers.emplace_back([&] {
      for (int mine = 1; mine <= rounds; ++mine) {
        WaitUntil([&] { return round == mine; });
        if (task.TryToWake(kNormal)) ++woken;
        ++over;
      }
    });
  }
  for (int i = 1; i <= rounds; ++i) {
    task.SetState(kUninterruptible);
    round = i;
    WaitUntil([&] { return over == i * kWakers; });
  }
  for (std::thread& waker : wakers) waker.join();
  EXPECT_EQ(woken, rounds);
}

// --- Signals -----------------------------------------------------------------

// What a signal does to an interruptible and to a killable sleep.
struct SignalRow {
  const char* name;
  int signal;
  SignalDispositions dispositions;
  bool pending;
  bool ends_interruptible;
  bool ends_killable;
};

constexpr SignalSet kTerm = SignalSet::Of(SIGTERM);
constexpr SignalSet kKill = SignalSet::Of(SIGKILL);

constexpr SignalRow kSignals[] = {
    {"Term", SIGTERM, {}, true, true, true},
    {"Usr1", SIGUSR1, {}, true, true, true},
    {"Int", SIGINT, {}, true, true, true},
    {"RealTime", 40, {}, true, true, true},
    {"LastOfAll", 64, {}, true, true, true},
    {"Kill", SIGKILL, {}, true, true, true},
    {"HandledTerm",
     SIGTERM,
     {.blocked = {}, .ignored = {}, .handled = kTerm},
     true,
     true,
     false},
    {"IgnoredTerm",
     SIGTERM,
     {.blocked = {}, .ignored = kTerm, .handled = {}},
     false,
     false,
     false},
    {"BlockedTerm",
     SIGTERM,
     {.blocked = kTerm, .ignored = {}, .handled = {}},
     false,
     false,
     false},
    {"BlockedKill",
     SIGKILL,
     {.blocked = kKill, .ignored = {}, .handled = {}},
     true,
     true,
     true},
    {"IgnoredKill",
     SIGKILL,
     {.blocked = {}, .ignored = kKill, .handled = {}},
     true,
     true,
     true},
    {"HandledKill",
     SIGKILL,
     {.blocked = {}, .ignored = {}, .handled = kKill},
     true,
     true,
     true},
    {"BlockedStop",
     SIGSTOP,
     {.blocked = SignalSet::Of(SIGSTOP), .ignored = {}, .handled = {}},
     true,
     true,
     false},
    {"Quit", SIGQUIT, {}, true, true, false},
    {"Segv", SIGSEGV, {}, true, true, false},
    {"Abrt", SIGABRT, {}, true, true, false},
    {"Stop", SIGSTOP, {}, true, true, false},
    {"Tstp", SIGTSTP, {}, true, true, false},
    {"Chld", SIGCHLD, {}, false, false, false},
    {"Winch", SIGWINCH, {}, false, false, false},
    {"Urg", SIGURG, {}, false, false, false},
    {"HandledChld",
     SIGCHLD,
     {.blocked = {}, .ignored = {}, .handled = SignalSet::Of(SIGCHLD)},
     true,
     true,
     false},
};

class SignalTest : public testing::TestWithParam<SignalRow> {};

TEST_P(SignalTest, EndsTheSleepsThatItShould) {
  const SignalRow& row = GetParam();
  for (const auto& [state, ends] :
       {std::pair(kInterruptible, row.ends_interruptible),
        std::pair(kKillable, row.ends_killable),
        std::pair(kUninterruptible, false)}) {
    Task task(&row.dispositions);
    task.SetState(state);
    task.SendSignal(row.signal);
    EXPECT_EQ(task.state(), ends ? kRunning : state);
    EXPECT_EQ(task.SignalPending(), row.pending);
    EXPECT_EQ(task.SignalPendingIn(state), ends);
    EXPECT_EQ(task.FatalSignalPending(), row.ends_killable);
  }
}

INSTANTIATE_TEST_SUITE_P(, SignalTest, testing::ValuesIn(kSignals),
                         [](const auto& row) { return row.param.name; });

TEST(TaskTest, ABlockedSignalStaysPendingUntilItIsUnblocked) {
  SignalDispositions dispositions{
      .blocked = kTerm, .ignored = kTerm, .handled = {}};
  Task task(&dispositions);
  task.PostSignal(SIGTERM);
  EXPECT_FALSE(task.SignalPending());
  EXPECT_EQ(task.NextPendingSignal(), 0);
  // Ignored, too, when it came: the disposition counts when it is unblocked.
  dispositions = SignalDispositions();
  EXPECT_TRUE(task.SignalPending());
  EXPECT_EQ(task.NextPendingSignal(), SIGTERM);
}

TEST(TaskTest, AFatalSignalBecomesAKill) {
  Task task(&kDefaults);
  task.PostSignal(SIGTERM);
  EXPECT_TRUE(task.FatalSignalPending());
  EXPECT_EQ(task.NextPendingSignal(), SIGKILL);
  task.ClearSignal(SIGKILL);
  EXPECT_FALSE(task.FatalSignalPending());
  EXPECT_EQ(task.NextPendingSignal(), SIGTERM);
}

TEST(TaskTest, SignalsAreDeliveredLowestFirstAndOnce) {
  const SignalDispositions dispositions{
      .blocked = {},
      .ignored = {},
      .handled = SignalSet::Of(SIGUSR1) | SignalSet::Of(SIGINT)};
  Task task(&dispositions);
  EXPECT_EQ(task.NextPendingSignal(), 0);
  task.PostSignal(SIGUSR1);
  task.PostSignal(SIGINT);
  task.PostSignal(SIGINT);
  EXPECT_EQ(task.NextPendingSignal(), SIGINT);
  task.ClearSignal(SIGINT);
  EXPECT_EQ(task.NextPendingSignal(), SIGUSR1);
  task.ClearSignal(SIGUSR1);
  EXPECT_FALSE(task.SignalPending());
}

// --- Threads -----------------------------------------------------------------

class ThreadTaskTest : public testing::Test {
 protected:
  void TearDown() override {
    EXPECT_FALSE(clock_.timers().NextWork().has_value()) << "a timer is armed";
  }

  Timers& timers() { return clock_.timers(); }

  SimulatedClock clock_;
};

// Sets the state and sleeps, with no condition: what is under test is whether
// and how the sleep ends.
int64_t SleepOnce(TaskState state) {
  Task::Current().SetState(state);
  Task::Current().Schedule();
  return Task::Current().state();
}

Ticks SleepOnceFor(TaskState state, Ticks timeout) {
  Task::Current().SetState(state);
  return Task::Current().ScheduleTimeout(timeout);
}

TEST_F(ThreadTaskTest, EachThreadHasItsOwn) {
  Sleeper sleeper([] { return 0; });
  EXPECT_NE(&sleeper.task(), &Task::Current());
  EXPECT_EQ(&Task::Current(), &Task::Current());
  EXPECT_EQ(Task::Current().state(), kRunning);
}

TEST_F(ThreadTaskTest, ARunningThreadDoesNotSleep) {
  EXPECT_EQ(SleepOnce(kRunning), kRunning);
  Task::Current().set_timers(&timers());
  EXPECT_EQ(SleepOnceFor(kRunning, 7), 7);
  EXPECT_EQ(clock_.Advance(absl::Seconds(1)), 0) << "its timer is gone";
  Task::Current().set_timers(&Timers::Real());
}

TEST_F(ThreadTaskTest, AWakeBetweenStateAndSleepIsNotLost) {
  ThreadTask& task = Task::Current();
  task.SetState(kUninterruptible);
  ASSERT_TRUE(task.TryToWake(kNormal));
  task.Schedule();  // returns
  EXPECT_EQ(task.state(), kRunning);
}

TEST_F(ThreadTaskTest, IsWokenInEachState) {
  for (const TaskState state :
       {kInterruptible, kUninterruptible, kKillable, kIdle}) {
    Sleeper sleeper([state] { return SleepOnce(state); });
    sleeper.AwaitAsleep();
    EXPECT_EQ(sleeper.task().state(), state);
    EXPECT_TRUE(sleeper.task().TryToWake(kNormal));
    EXPECT_EQ(sleeper.Result(), kRunning);
  }
}

TEST_F(ThreadTaskTest, ASignalEndsASleepThatAdmitsIt) {
  for (const TaskState state : {kInterruptible, kKillable}) {
    Sleeper sleeper([state] { return SleepOnce(state); });
    sleeper.AwaitAsleep();
    sleeper.task().SendSignal(SIGCHLD);  // ignored
    EXPECT_TRUE(sleeper.asleep());
    sleeper.task().SendSignal(SIGKILL);
    EXPECT_EQ(sleeper.Result(), kRunning);
    EXPECT_EQ(sleeper.task().NextPendingSignal(), SIGKILL);
  }
}

TEST_F(ThreadTaskTest, NoSignalEndsAnUninterruptibleSleep) {
  Sleeper sleeper([] { return SleepOnce(kUninterruptible); });
  sleeper.AwaitAsleep();
  sleeper.task().SendSignal(SIGKILL);
  EXPECT_TRUE(sleeper.asleep());
  EXPECT_TRUE(sleeper.task().TryToWake(kNormal));
  EXPECT_EQ(sleeper.Result(), kRunning);
}

TEST_F(ThreadTaskTest, ASignalThatIsPendingAlreadyEndsTheSleepAtOnce) {
  ThreadTask& task = Task::Current();
  task.PostSignal(SIGTERM);
  EXPECT_EQ(SleepOnce(kInterruptible), kRunning);
  EXPECT_EQ(SleepOnce(kKillable), kRunning);
  task.set_timers(&timers());
  EXPECT_EQ(SleepOnceFor(kInterruptible, 9), 9);
  task.set_timers(&Timers::Real());
  task.ClearSignal(SIGTERM);
  task.ClearSignal(SIGKILL);
}

// Guards the look at signals in ThreadTask::Schedule(): without it a signal
// between the state and the sleep is lost, and the thread sleeps for ever.
TEST_F(ThreadTaskTest, ASignalAtTheMomentOfFallingAsleepIsNotLost) {
  Rival rival(Seed());
  ThreadTask* sleeper = nullptr;
  rival.Race([] {},
             [&] {
               sleeper = &Task::Current();
               sleeper->dispositions().handled = SignalSet::Of(SIGUSR1);
             });
  const int rounds = Times(10'000);
  for (int i = 0; i < rounds; ++i) {
    rival.Race([&] { sleeper->SendSignal(SIGUSR1); },
               [&] {
                 sleeper->SetState(kInterruptible);
                 sleeper->Schedule();
               },
               /*in_turns=*/false);
    sleeper->ClearSignal(SIGUSR1);
  }
}

// --- Timed sleeps ------------------------------------------------------------

TEST_F(ThreadTaskTest, ATimedSleepEndsAfterItsTicks) {
  Sleeper sleeper([] { return SleepOnceFor(kUninterruptible, 5); }, &timers());
  sleeper.AwaitAsleepWith(timers());
  EXPECT_EQ(clock_.Advance(5 * kTick - absl::Nanoseconds(1)), 0);
  EXPECT_TRUE(sleeper.asleep());
  EXPECT_EQ(clock_.Advance(absl::Nanoseconds(1)), 1);
  EXPECT_EQ(sleeper.Result(), 0);
  EXPECT_EQ(sleeper.task().state(), kRunning);
}

TEST_F(ThreadTaskTest, ATimedSleepThatBeginsWithinATickIsNotEarly) {
  clock_.Advance(kTick / 2);
  Sleeper sleeper([] { return SleepOnceFor(kUninterruptible, 5); }, &timers());
  sleeper.AwaitAsleepWith(timers());
  EXPECT_EQ(clock_.Advance(5 * kTick), 0);
  EXPECT_TRUE(sleeper.asleep());
  EXPECT_EQ(clock_.Advance(kTick / 2), 1);
  EXPECT_EQ(sleeper.Result(), 0);
}

TEST_F(ThreadTaskTest, AWakeBeforeTheTimeLeavesTheRest) {
  Sleeper sleeper([] { return SleepOnceFor(kInterruptible, 100); }, &timers());
  sleeper.AwaitAsleepWith(timers());
  clock_.Advance(40 * kTick);
  EXPECT_TRUE(sleeper.task().TryToWake(kInterruptible));
  EXPECT_EQ(sleeper.Result(), 60);
  EXPECT_FALSE(timers().NextWork().has_value());
}

TEST_F(ThreadTaskTest, ATimeoutOfNothingSleepsToTheNextTick) {
  clock_.Advance(kTick / 2);
  Sleeper sleeper([] { return SleepOnceFor(kUninterruptible, 0); }, &timers());
  sleeper.AwaitAsleepWith(timers());
  EXPECT_EQ(clock_.Advance(kTick / 2), 1);
  EXPECT_EQ(sleeper.Result(), 0);
}

TEST_F(ThreadTaskTest, ANegativeTimeoutHasPassed) {
  Task::Current().set_timers(&timers());
  EXPECT_EQ(SleepOnceFor(kUninterruptible, -3), 0);
  EXPECT_EQ(Task::Current().state(), kRunning);
  Task::Current().set_timers(&Timers::Real());
}

TEST_F(ThreadTaskTest, TheGreatestTimeoutArmsNoTimer) {
  Sleeper sleeper(
      [] { return SleepOnceFor(kUninterruptible, kMaxScheduleTimeout); },
      &timers());
  sleeper.AwaitAsleep();
  EXPECT_EQ(clock_.Advance(absl::Hours(24 * 365)), 0);
  EXPECT_TRUE(sleeper.asleep());
  EXPECT_TRUE(sleeper.task().TryToWake(kNormal));
  EXPECT_EQ(sleeper.Result(), kMaxScheduleTimeout);
}

TEST_F(ThreadTaskTest, ATimeoutBeyondAllTimeDoesNotOverflow) {
  Sleeper sleeper(
      [] { return SleepOnceFor(kUninterruptible, kMaxScheduleTimeout - 1); },
      &timers());
  sleeper.AwaitAsleepWith(timers());
  EXPECT_EQ(clock_.Advance(absl::Hours(24)), 0);
  EXPECT_TRUE(sleeper.asleep());
  EXPECT_TRUE(sleeper.task().TryToWake(kNormal));
  EXPECT_GT(sleeper.Result(), 0);
}

TEST_F(ThreadTaskTest, AfterAStallTheTimeHasPassedWhoeverWokeIt) {
  Sleeper sleeper([] { return SleepOnceFor(kInterruptible, 10); }, &timers());
  sleeper.AwaitAsleepWith(timers());
  clock_.AdvanceWithoutTimers(15 * kTick);
  sleeper.task().SendSignal(SIGTERM);
  EXPECT_EQ(sleeper.Result(), 0);
}

}  // namespace
}  // namespace waitq
