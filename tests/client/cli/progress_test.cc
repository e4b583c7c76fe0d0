#include "client/cli/progress.h"

#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace waitq::cli {
namespace {

TEST(ProgressLineTest, SaysHowMuchHowFastAndHowLongItWasBlocked) {
  EXPECT_EQ(ProgressLine(3 << 20, absl::Seconds(2), absl::Milliseconds(500)),
            "3.0 MiB  1.5 MiB/s  blocked 0.5s of 2.0s");
}

TEST(ProgressLineTest, CountsSmallThingsOneByOne) {
  EXPECT_EQ(ProgressLine(1000, absl::Seconds(1), absl::ZeroDuration()),
            "1000 B  1000 B/s  blocked 0.0s of 1.0s");
}

TEST(ProgressLineTest, HasARateFromTheStart) {
  EXPECT_EQ(ProgressLine(0, absl::ZeroDuration(), absl::ZeroDuration()),
            "0 B  0 B/s  blocked 0.0s of 0.0s");
}

}  // namespace
}  // namespace waitq::cli
