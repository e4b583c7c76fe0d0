#include "load/progress.h"

#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "load/result.h"

namespace waitq::load {

Progress::Progress(Recorder& recorder, std::string prefix)
    : recorder_(recorder),
      prefix_(std::move(prefix)),
      thread_([this] { Run(); }) {}

Progress::~Progress() {
  stop_.Notify();
  thread_.join();
}

void Progress::Run() {
  const absl::Time start = absl::Now();
  absl::Time last = start;
  while (!stop_.WaitForNotificationWithTimeout(absl::Seconds(1))) {
    const absl::Time now = absl::Now();
    std::string line = absl::StrFormat("%s%3.0fs", prefix_,
                                       absl::ToDoubleSeconds(now - start));
    for (Series& series : recorder_.series()) {
      const Histogram recent = series.TakeRecent();
      absl::StrAppendFormat(
          &line, "  %s %.0f/s p50 %s p99 %s", series.name(),
          static_cast<double>(recent.count()) /
              absl::ToDoubleSeconds(now - last),
          FormatNanoseconds(static_cast<double>(recent.Quantile(0.5))),
          FormatNanoseconds(static_cast<double>(recent.Quantile(0.99))));
    }
    if (recorder_.findings().failed()) absl::StrAppend(&line, "  CHECKS FAIL");
    absl::StrAppend(&line, "\n");
    std::fputs(line.c_str(), stderr);
    last = now;
  }
}

}  // namespace waitq::load
