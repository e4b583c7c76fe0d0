// The scenarios with a connection that is cut, once in each run, at each place.

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/client/local_world.h"
#include "tests/client/scenarios.h"

namespace waitq::test {
namespace {

class ScenariosCutTest : public testing::TestWithParam<Scenario> {};

TEST_P(ScenariosCutTest, HoldsWhereverAConnectionIsCut) {
  LocalWorld world(/*is_calm=*/false);
  bool cut = true;
  // Until a run had not so many messages.
  for (uint64_t k = 1; cut; k += GetParam().is_long ? 1 + k / 4 : 1) {
    cut = false;
    for (const bool lost : {true, false}) {
      for (const bool told : {true, false}) {
        world.server().SetCut(
            {.message = k, .lost = lost, .server_told = told});
        RunScenario(
            world, GetParam(),
            absl::StrCat("cut at message ", k, lost ? ", lost" : ", arrived",
                         told ? ", told" : ", not told"));
        cut |= world.server().HasCut();
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

TEST_P(ScenariosCutTest, HoldsWhenEveryFewMessagesAConnectionIsCut) {
  LocalWorld world(/*is_calm=*/false);
  // A call needs four, and two of them are for the connection.
  for (const uint64_t every : {6, 7, 8, 9, 11, 13}) {
    for (const bool lost : {true, false}) {
      world.server().SetCut({.message = 2 + every,
                             .every = every,
                             .lost = lost,
                             .server_told = every % 2 == 0});
      RunScenario(world, GetParam(),
                  absl::StrCat("cut every ", every, " messages",
                               lost ? ", lost" : ", arrived"));
      if (testing::Test::HasFailure()) return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, ScenariosCutTest, testing::ValuesIn(Scenarios()),
                         NameOf);

}  // namespace
}  // namespace waitq::test
