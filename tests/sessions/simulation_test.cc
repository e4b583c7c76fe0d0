// Many small worlds, one after the other, each with a seed of its own.
//
//   WAITQ_SEED=7          begin with that world
//   WAITQ_TIMES=100       a hundred times as many
//   WAITQ_OPERATIONS=n    of each world

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "tests/core/fifo_script.h"
#include "tests/sessions/script.h"
#include "tests/sessions/world.h"
#include "tests/support/random.h"

namespace waitq::sim {
namespace {

int OperationsOf(uint64_t seed) {
  if (const char* given = std::getenv("WAITQ_OPERATIONS")) {
    return std::atoi(given);
  }
  // Short ones are found, and understood, more easily.
  static constexpr int kSizes[] = {100, 300, 1000, 3000};
  return kSizes[seed % 4];
}

void Report(uint64_t seed, const Setting& setting, const Script& script,
            const std::string& rule) {
  const std::function<bool(const Script&)> fails = [&](const Script& less) {
    return RunScript(setting, less).rule() == rule;
  };
  const Script shrunk = test::Shrink(script, fails);
  const RunResult again = RunScript(setting, shrunk, {.trace = true});
  std::string text = "WAITQ_SEED=" + std::to_string(seed) + "\n" +
                     again.failure + "\nThe shortest script that fails so:\n";
  for (const Step& step : shrunk) text += "  " + ToString(step) + "\n";
  text += "What happened:\n";
  for (const std::string& line : again.trace) text += "  " + line + "\n";
  ADD_FAILURE() << text;
}

TEST(SessionSimulationTest, NothingIsLostAndNothingHappensTwice) {
  const uint64_t first = test::Seed();
  const int worlds = test::Times(300);
  RunResult all;
  for (int i = 0; i < worlds; ++i) {
    const uint64_t seed = first + static_cast<uint64_t>(i);
    const Setting setting = RandomSetting(seed);
    const Script script = RandomScript(seed, setting, OperationsOf(seed));
    const RunResult result = RunScript(setting, script);
    all.operations += result.operations;
    all.done += result.done;
    all.unknown += result.unknown;
    all.events += result.events;
    all.undecided += result.undecided;
    if (!result.failure.empty()) {
      Report(seed, setting, script, result.rule());
      break;
    }
  }
  // Nothing is known of these: one in 200 worlds has one.
  EXPECT_LE(all.undecided, 3 + worlds / 50);
  std::printf(
      "%d worlds, %lld operations (%lld done, %lld unknown), %lld events, "
      "%lld histories undecided\n",
      worlds, static_cast<long long>(all.operations),
      static_cast<long long>(all.done), static_cast<long long>(all.unknown),
      static_cast<long long>(all.events),
      static_cast<long long>(all.undecided));
}

TEST(SessionSimulationTest, TheSameSeedIsTheSameWorld) {
  const uint64_t seed = test::Seed();
  const Setting setting = RandomSetting(seed);
  const Script script = RandomScript(seed, setting, 500);
  const RunResult one = RunScript(setting, script, {.trace = true});
  const RunResult two = RunScript(setting, script, {.trace = true});
  for (size_t i = 0; i < std::min(one.trace.size(), two.trace.size()); ++i) {
    if (absl::StrContains(one.trace[i], "hello")) continue;  // random names
    // A status shows its payloads in no order.
    const auto same = [](const std::string& line) {
      return line.substr(0, line.find(" [waitq/"));
    };
    ASSERT_EQ(same(one.trace[i]), same(two.trace[i]))
        << "line " << i << ", after\n"
        << (i == 0 ? "" : one.trace[i - 1]);
  }
  ASSERT_EQ(one.trace.size(), two.trace.size());
  EXPECT_EQ(one.events, two.events);
  EXPECT_EQ(one.done, two.done);
}

}  // namespace
}  // namespace waitq::sim
