// The scenarios over a socket file.

#include "gtest/gtest.h"
#include "tests/client/rpc_world.h"
#include "tests/client/scenarios.h"
#include "tests/support/process.h"

namespace waitq::test {
namespace {

class ScenariosUnixTest : public testing::TestWithParam<Scenario> {};

TEST_P(ScenariosUnixTest, Holds) {
  const TemporaryFolder folder;
  RpcWorld world("unix:" + folder.Path("socket"));
  RunScenario(world, GetParam(), "over a socket file");
}

INSTANTIATE_TEST_SUITE_P(All, ScenariosUnixTest, testing::ValuesIn(Scenarios()),
                         NameOf);

}  // namespace
}  // namespace waitq::test
