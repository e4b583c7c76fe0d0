// The scenarios without a network in between.

#include "gtest/gtest.h"
#include "tests/client/local_world.h"
#include "tests/client/scenarios.h"

namespace waitq::test {
namespace {

class ScenariosLocalTest : public testing::TestWithParam<Scenario> {};

TEST_P(ScenariosLocalTest, Holds) {
  LocalWorld world;
  RunScenario(world, GetParam(), "in one process");
}

INSTANTIATE_TEST_SUITE_P(All, ScenariosLocalTest,
                         testing::ValuesIn(Scenarios()), NameOf);

}  // namespace
}  // namespace waitq::test
