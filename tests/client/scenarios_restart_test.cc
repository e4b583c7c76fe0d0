// The server is lost in the middle, and another one comes that knows nothing.

#include "gtest/gtest.h"
#include "tests/client/local_world.h"
#include "tests/client/scenarios.h"

namespace waitq::test {
namespace {

class ScenariosRestartTest : public testing::TestWithParam<Scenario> {};

TEST_P(ScenariosRestartTest, Holds) {
  LocalWorld world;
  RunScenario(world, GetParam(), "with a server that is restarted");
}

INSTANTIATE_TEST_SUITE_P(All, ScenariosRestartTest,
                         testing::ValuesIn(RestartScenarios()), NameOf);

}  // namespace
}  // namespace waitq::test
