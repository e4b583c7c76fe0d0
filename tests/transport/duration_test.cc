#include "transport/duration.h"

#include <cstdint>
#include <limits>

#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace waitq {
namespace {

google::protobuf::Duration Wire(int64_t seconds, int32_t nanos) {
  google::protobuf::Duration wire;
  wire.set_seconds(seconds);
  wire.set_nanos(nanos);
  return wire;
}

TEST(DurationTest, GoesThereAndBackUnchanged) {
  for (const absl::Duration duration :
       {absl::ZeroDuration(), absl::Nanoseconds(1), absl::Microseconds(100),
        absl::Milliseconds(1500), absl::Seconds(-1), absl::Milliseconds(-1500),
        absl::Hours(1'000'000)}) {
    EXPECT_EQ(FromWire(ToWire(duration)), duration) << duration;
  }
}

TEST(DurationTest, SecondsAndNanosecondsHaveTheSameSign) {
  const google::protobuf::Duration wire = ToWire(absl::Milliseconds(-1500));
  EXPECT_EQ(wire.seconds(), -1);
  EXPECT_EQ(wire.nanos(), -500'000'000);
}

TEST(DurationTest, PartsOfANanosecondAreDropped) {
  EXPECT_EQ(FromWire(ToWire(absl::Nanoseconds(7) / 4)), absl::Nanoseconds(1));
}

TEST(DurationTest, WhatIsBeyondTheWiresRangeBecomesItsEnd) {
  EXPECT_EQ(ToWire(absl::InfiniteDuration()).seconds(), 315'576'000'000);
  EXPECT_EQ(ToWire(-absl::InfiniteDuration()).seconds(), -315'576'000'000);
}

TEST(DurationTest, AnyMessageIsReadable) {
  EXPECT_EQ(FromWire(Wire(1, -500'000'000)), absl::Milliseconds(500));
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  EXPECT_GT(FromWire(Wire(kMax, 999'999'999)), absl::Hours(1));
  EXPECT_LT(FromWire(Wire(-kMax, -999'999'999)), absl::ZeroDuration());
}

}  // namespace
}  // namespace waitq
