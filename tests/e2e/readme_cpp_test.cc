// The C++ of README.md, as it is there, but for the server's address.

#include <string>

#include "client/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/fixture.h"

namespace waitq::test {
namespace {

class ReadmeCppTest : public WaitqTest {};

TEST_F(ReadmeCppTest, TakesTheFlagAsItSays) {
  WaitqOk({"store", "flag", "1"});
  const std::string address = server().address();
#include "tests/e2e/readme_example.inc"
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->outcome, Outcome::kDone);
  EXPECT_EQ(WaitqOk({"get", "flag"}), "0\n");
}

}  // namespace
}  // namespace waitq::test
