// Durations on the wire (google.protobuf.Duration) and in programs.

#ifndef WAITQ_TRANSPORT_DURATION_H_
#define WAITQ_TRANSPORT_DURATION_H_

#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"

namespace waitq {

// Rounded towards zero to whole nanoseconds; what is longer than the wire's
// range of 10,000 years becomes its end.
google::protobuf::Duration ToWire(absl::Duration duration);

// Any message gives a duration, also one outside the wire's range.
absl::Duration FromWire(const google::protobuf::Duration& duration);

}  // namespace waitq

#endif  // WAITQ_TRANSPORT_DURATION_H_
