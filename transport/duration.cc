#include "transport/duration.h"

#include <algorithm>
#include <cstdint>

namespace waitq {
namespace {

// The range that google/protobuf/duration.proto allows.
constexpr absl::Duration kMax = absl::Seconds(315'576'000'000);

}  // namespace

google::protobuf::Duration ToWire(absl::Duration duration) {
  absl::Duration rest = std::clamp(duration, -kMax, kMax);
  google::protobuf::Duration wire;
  wire.set_seconds(absl::IDivDuration(rest, absl::Seconds(1), &rest));
  wire.set_nanos(static_cast<int32_t>(
      absl::IDivDuration(rest, absl::Nanoseconds(1), &rest)));
  return wire;
}

absl::Duration FromWire(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) +
         absl::Nanoseconds(duration.nanos());
}

}  // namespace waitq
