#include "core/might_sleep.h"

#include <array>
#include <atomic>
#include <cstdio>

#include "absl/time/time.h"
#include "core/check.h"
#include "core/clock.h"

namespace waitq {
namespace {

std::atomic<SleepReporter> the_reporter = &PrintSleepReport;
std::array<std::atomic<int64_t>, 2> counts = {};

void Print(const SleepReport& report) {
  std::fprintf(stderr,
               report.what == SleepReport::kAtomic
                   ? "waitq: sleeping function called from invalid context: "
                     "atomic depth %d, state 0x%x\n"
                   : "waitq: do not call blocking ops when the task is not "
                     "running: atomic depth %d, state 0x%x\n",
               report.depth, report.state);
}

// Whether `last` is a second ago; it is now.
bool OnceASecond(std::atomic<int64_t>& last) {
  const int64_t now = absl::ToUnixMillis(Clock::Real().Now());
  int64_t before = last;
  return now - before >= 1000 && last.compare_exchange_strong(before, now);
}

}  // namespace

void PrintSleepReport(const SleepReport& report) {
  static std::atomic<int64_t> last_ms = -1000;
  static std::atomic<bool> said = false;
  if (report.what == SleepReport::kAtomic ? OnceASecond(last_ms)
                                          : !said.exchange(true)) {
    Print(report);
  }
}

void DieOfSleepReport(const SleepReport& report) {
  Print(report);
  WAITQ_CHECK(false, "nobody sleeps where one must not");
}

SleepReporter SetSleepReporter(SleepReporter reporter) {
  return the_reporter.exchange(reporter);
}

int64_t SleepReports(SleepReport::What what) { return counts[what]; }

namespace internal {

void ReportSleep() {
  const TaskState state = Task::Current().state();
  const auto report = [state](SleepReport::What what) {
    ++counts[what];
    if (const SleepReporter reporter = the_reporter) {
      reporter({.what = what, .depth = atomic_depth, .state = state});
    }
  };
  // In the kernel's order.
  if (state != kRunning) report(SleepReport::kNotRunning);
  if (InAtomicContext()) report(SleepReport::kAtomic);
}

}  // namespace internal
}  // namespace waitq
