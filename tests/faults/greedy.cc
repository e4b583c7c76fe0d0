// What greedy clients cost an honest one: its latency beside them, and without.
//
//   ./bazelw run //tests/faults:greedy [-- --rounds 15] [--short]
//
// Each round has a new server, with the low limits of greedy_stage.h, and an
// honest client; rounds with a greedy client of all kinds, which is at all its
// limits and goes on asking, and rounds without one alternate. A row has the
// medians of the rounds' medians (and 99th percentiles), and as its ratio the
// median of the ratios of neighbours, which see the same machine. Exit 1 if a
// ratio of medians is above 2, or the server's memory above
// the limits' sum.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "tests/faults/greedy_stage.h"
#include "tests/support/process.h"
#include "tests/support/waitqd.h"

namespace waitq::test {
namespace {

using Job = HonestClient::Job;

constexpr double kRatioMax = 2;

struct Latency {
  double p50_us = 0;
  double p99_us = 0;
};

struct Round {
  std::map<Job, Latency> latencies;
  uint64_t more_kib = 0;  // of memory, than at the start
};

double At(std::vector<double>& all, double share) {
  if (all.empty()) return 0;
  const size_t at =
      std::min(all.size() - 1, static_cast<size_t>(share * all.size()));
  std::nth_element(all.begin(), all.begin() + at, all.end());
  return all[at];
}

Latency Measure(HonestClient& honest, Job job, absl::Duration time) {
  std::vector<double> all_us;
  const absl::Time end = absl::Now() + time;
  for (absl::Time begin = absl::Now(); begin < end;) {
    if (const absl::Status status = honest.Do(job); !status.ok()) {
      ADD_FAILURE() << "an honest client is refused: " << status;
      return {};
    }
    const absl::Time now = absl::Now();
    all_us.push_back(absl::ToDoubleMicroseconds(now - begin));
    begin = now;
  }
  return {.p50_us = At(all_us, 0.5), .p99_us = At(all_us, 0.99)};
}

Round Run(bool greedy, absl::Duration time) {
  const engine::Limits limits = GreedyLimits();
  Waitqd server("127.0.0.1:0", FlagsOf(limits));
  HonestClient honest(server.address());
  const int64_t before_kib = server.Figures().resident_kib;
  std::optional<GreedyClient> others;
  if (greedy) {
    others.emplace(server.address());
    others->AwaitFull();
  }
  Round round;
  for (const auto& [job, name] : HonestClient::Jobs()) {
    (void)Measure(honest, job, time / 5);  // warm
    round.latencies[job] = Measure(honest, job, time);
  }
  round.more_kib = static_cast<uint64_t>(
      std::max<int64_t>(0, server.Figures().peak_resident_kib - before_kib));
  return round;
}

// The medians over all rounds of one kind, and that of the neighbours' ratios.
struct Row {
  Latency without;
  Latency with;
  double p50_ratio;
  double p99_ratio;
};

Row RowOf(const std::vector<Round>& without, const std::vector<Round>& with,
          Job job) {
  std::vector<double> p50[3];
  std::vector<double> p99[3];
  for (size_t i = 0; i < with.size(); ++i) {
    const Latency& alone = without[i].latencies.at(job);
    const Latency& beside = with[i].latencies.at(job);
    p50[0].push_back(alone.p50_us);
    p50[1].push_back(beside.p50_us);
    p50[2].push_back(beside.p50_us / alone.p50_us);
    p99[0].push_back(alone.p99_us);
    p99[1].push_back(beside.p99_us);
    p99[2].push_back(beside.p99_us / alone.p99_us);
  }
  return {.without = {At(p50[0], 0.5), At(p99[0], 0.5)},
          .with = {At(p50[1], 0.5), At(p99[1], 0.5)},
          .p50_ratio = At(p50[2], 0.5),
          .p99_ratio = At(p99[2], 0.5)};
}

// False if something is beyond its bound.
bool Report(const std::vector<Round>& without, const std::vector<Round>& with,
            double ratio_max) {
  bool good = true;
  std::printf(
      "| %-28s | without: p50, p99 us | with: p50, p99 us | ratio of "
      "p50, of p99 |\n| --- | --- | --- | --- |\n",
      "round trip");
  for (const auto& [job, name] : HonestClient::Jobs()) {
    const Row row = RowOf(without, with, job);
    const bool held = row.p50_ratio <= ratio_max;
    good &= held;
    std::printf("| %-28s | %7.0f, %7.0f | %7.0f, %7.0f | %.2f, %.2f |%s\n",
                name, row.without.p50_us, row.without.p99_us, row.with.p50_us,
                row.with.p99_us, row.p50_ratio, row.p99_ratio,
                held ? "" : " <-- too slow");
  }
  uint64_t most_kib = 0;
  for (const Round& round : with) most_kib = std::max(most_kib, round.more_kib);
  const uint64_t sum_kib = SumOfLimitsBytes(GreedyLimits()) / 1024;
  const bool held = most_kib < sum_kib;
  std::printf(
      "memory beside what the server has at its start: %.1f MiB; the "
      "limits' sum: %.1f MiB%s\n",
      static_cast<double>(most_kib) / 1024, static_cast<double>(sum_kib) / 1024,
      held ? "" : " <-- above");
  return good && held;
}

int Main(int argc, char** argv) {
  int rounds = 15;
  bool is_short = false;
  CLI::App app("What greedy clients cost an honest one.", "greedy");
  app.add_option("--rounds", rounds, "Of each of the two")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_flag("--short", is_short, "Few short rounds, for CI");
  CLI11_PARSE(app, argc, argv);
  if (is_short) rounds = std::min(rounds, 5);
  const absl::Duration time = absl::Milliseconds(is_short ? 250 : 1000);
  std::vector<Round> without;
  std::vector<Round> with;
  for (int i = 0; i < rounds; ++i) {
    // Which is first alternates, too.
    for (const bool greedy : {i % 2 == 0, i % 2 != 0}) {
      (greedy ? with : without).push_back(Run(greedy, time));
      if (testing::Test::HasFailure()) return 1;
    }
  }
  return Report(without, with, kRatioMax) ? 0 : 1;
}

}  // namespace
}  // namespace waitq::test

int main(int argc, char** argv) { return waitq::test::Main(argc, argv); }
