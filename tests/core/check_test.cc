#include "core/check.h"

#include "gtest/gtest.h"

namespace waitq {
namespace {

TEST(CheckTest, DoesNothingWhenTheConditionHolds) {
  int evaluated = 0;
  WAITQ_CHECK(++evaluated == 1, "it counts");
  EXPECT_EQ(evaluated, 1);
}

TEST(CheckDeathTest, SaysWhereAndWhichRule) {
  const bool kept = false;
  EXPECT_DEATH(WAITQ_CHECK(kept, "promises are kept"),
               "check_test\\.cc:[0-9]+: check failed: promises are kept "
               "\\(kept\\)");
}

}  // namespace
}  // namespace waitq
