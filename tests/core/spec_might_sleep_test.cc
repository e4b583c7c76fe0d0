// The specification's case of might_sleep(), by number.

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "core/atomic_context.h"
#include "core/completion.h"
#include "core/might_sleep.h"
#include "core/spin_lock.h"
#include "core/task.h"
#include "core/wait_event.h"
#include "core/wait_list.h"
#include "core/wait_queue.h"
#include "gtest/gtest.h"

namespace waitq {
namespace {

constexpr auto kTrue = [] { return true; };

class SpecMightSleepTest : public testing::Test {
 protected:
  SpecMightSleepTest() : before_(SetSleepReporter(&Note)) { reports.clear(); }
  ~SpecMightSleepTest() override {
    SetSleepReporter(before_);
    EXPECT_FALSE(InAtomicContext());
  }

  static void Note(const SleepReport& report) { reports.push_back(report); }

  // The reports since the last call, by kind.
  static std::vector<SleepReport::What> Reports() {
    std::vector<SleepReport::What> kinds;
    for (const SleepReport& report : reports) kinds.push_back(report.what);
    reports.clear();
    return kinds;
  }

  inline static std::vector<SleepReport> reports;
  const SleepReporter before_;
  WaitQueue queue_;
};

using Kinds = std::vector<SleepReport::What>;
const Kinds kNothing = {};
const Kinds kOneAtomic = {SleepReport::kAtomic};
const Kinds kOneNotRunning = {SleepReport::kNotRunning};

TEST_F(SpecMightSleepTest, Spec41_AConditionThatMaySleepIsReported) {
  WaitQueue inner;
  int tests = 0;
  // At entry the state is still running; before the sleep it is not.
  WaitEvent(queue_, [&] {
    WaitEvent(inner, kTrue);
    EXPECT_EQ(Reports(), tests == 0 ? kNothing : kOneNotRunning) << tests;
    return ++tests == 2;
  });
  EXPECT_EQ(tests, 2);
}

TEST_F(SpecMightSleepTest, Spec41_AWaitInAtomicContextIsReportedThoughItsTrue) {
  const AtomicContext interrupts_off;
  WaitEvent(queue_, kTrue);
  EXPECT_EQ(Reports(), kOneAtomic);
  EXPECT_EQ(WaitEventTimeout(queue_, kTrue, 7), 7);
  EXPECT_EQ(Reports(), kOneAtomic);
  EXPECT_EQ(WaitEventInterruptible(queue_, kTrue), 0);
  EXPECT_EQ(Reports(), kOneAtomic);
  Completion done;
  done.CompleteAll();
  done.Wait();
  EXPECT_EQ(Reports(), kOneAtomic);
}

TEST_F(SpecMightSleepTest, Spec41_WaitEventCmdIsNotReported) {
  const AtomicContext interrupts_off;
  const auto nothing = [] {};
  WaitEventCmd(queue_, kTrue, nothing, nothing);
  WaitEventExclusiveCmd(queue_, kTrue, nothing, nothing);
  EXPECT_EQ(Reports(), kNothing);
}

TEST_F(SpecMightSleepTest, ASpinLockAndAWakeFunctionAreAtomicContext) {
  MightSleep();
  EXPECT_EQ(Reports(), kNothing);
  SpinLock lock;
  {
    SpinLockGuard guard(&lock);
    MightSleep();
    EXPECT_EQ(reports.back().depth, 1);
    EXPECT_EQ(Reports(), kOneAtomic);
    const AtomicContext nested;
    MightSleep();
    EXPECT_EQ(reports.back().depth, 2);
    EXPECT_EQ(Reports(), kOneAtomic);
  }
  WaitEntry entry(&Task::Current(), [](WaitEntry&, TaskState, int, void*) {
    MightSleep();
    return 0;
  });
  queue_.Add(entry);
  queue_.WakeUp();
  EXPECT_EQ(Reports(), kOneAtomic);
  queue_.Remove(entry);
  MightSleep();
  EXPECT_EQ(Reports(), kNothing);
}

TEST_F(SpecMightSleepTest, AtomicContextIsTheThreads) {
  const AtomicContext mine;
  std::thread([] { MightSleep(); }).join();
  EXPECT_EQ(Reports(), kNothing);
}

TEST_F(SpecMightSleepTest, BothMistakesAtOnceAreTwoReports) {
  const AtomicContext atomic;
  Task::Current().SetState(kInterruptible);
  MightSleepIf(false);
  EXPECT_EQ(Reports(), kNothing);
  MightSleepIf(true);
  EXPECT_EQ(Reports(), (Kinds{SleepReport::kNotRunning, SleepReport::kAtomic}));
  Task::Current().SetRunning();
}

TEST_F(SpecMightSleepTest, ReportsAreCountedThoughNobodyTakesThem) {
  SetSleepReporter(nullptr);
  const int64_t before = SleepReports(SleepReport::kAtomic);
  const int64_t other = SleepReports(SleepReport::kNotRunning);
  const AtomicContext atomic;
  MightSleep();
  MightSleep();
  EXPECT_EQ(SleepReports(SleepReport::kAtomic), before + 2);
  EXPECT_EQ(SleepReports(SleepReport::kNotRunning), other);
}

TEST_F(SpecMightSleepTest, PrintedOnesAreFew) {
  SetSleepReporter(&PrintSleepReport);
  testing::internal::CaptureStderr();
  {
    const AtomicContext atomic;
    for (int i = 0; i < 100; ++i) MightSleep();
  }
  Task::Current().SetState(kUninterruptible);
  for (int i = 0; i < 100; ++i) MightSleep();
  Task::Current().SetRunning();
  const std::string printed = testing::internal::GetCapturedStderr();
  EXPECT_NE(printed.find("called from invalid context: atomic depth 1"),
            std::string::npos);
  EXPECT_NE(printed.find("not running: atomic depth 0, state 0x2"),
            std::string::npos);
  EXPECT_LT(std::count(printed.begin(), printed.end(), '\n'), 50);
}

TEST_F(SpecMightSleepTest, TheyMayBeFatal) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        SetSleepReporter(&DieOfSleepReport);
        const AtomicContext atomic;
        WaitEvent(queue_, kTrue);
      },
      "called from invalid context(.|\n)*nobody sleeps where one must not");
}

}  // namespace
}  // namespace waitq
