// The loads of streams.

#ifndef WAITQ_BENCH_STREAM_LOAD_H_
#define WAITQ_BENCH_STREAM_LOAD_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "bench/load_connection.h"
#include "bench/load_target.h"

namespace waitq::bench {

// Keeps `depth` messages of so many bytes under way on one stream that answers
// each, for so long; the round trips, shortest first.
std::vector<absl::Duration> RunSession(Target& target, Connection& connection,
                                       uint64_t depth, size_t message_bytes,
                                       absl::Duration duration);

// Sends `count` messages through a stream that another stream reads; how long
// until the reader had them all and the end.
absl::Duration RunRelay(Target& target, Connection& writer_connection,
                        Connection& reader_connection, uint64_t count,
                        size_t message_bytes);

}  // namespace waitq::bench

#endif  // WAITQ_BENCH_STREAM_LOAD_H_
