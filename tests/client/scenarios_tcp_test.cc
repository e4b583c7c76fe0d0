// The scenarios over a port.

#include "gtest/gtest.h"
#include "tests/client/rpc_world.h"
#include "tests/client/scenarios.h"

namespace waitq::test {
namespace {

class ScenariosTcpTest : public testing::TestWithParam<Scenario> {};

TEST_P(ScenariosTcpTest, Holds) {
  RpcWorld world("127.0.0.1:0");
  RunScenario(world, GetParam(), "over a port");
}

INSTANTIATE_TEST_SUITE_P(All, ScenariosTcpTest, testing::ValuesIn(Scenarios()),
                         NameOf);

}  // namespace
}  // namespace waitq::test
