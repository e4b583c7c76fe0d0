// Bytes in bulk, through what is between two connections of one process, with a
// thread that writes and one that reads.

#ifndef WAITQ_BENCH_BULK_LOAD_H_
#define WAITQ_BENCH_BULK_LOAD_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace waitq::bench {

struct BulkLoad {
  uint64_t bytes;
  size_t write_bytes;  // with each call
};

// Through a new pipe of waitqd's, with a client at each end, and PipeWriter and
// PipeReader. The time from the first write until the reader has the end.
absl::Duration RunPipeBulk(const std::string& address, uint64_t capacity_bytes,
                           const BulkLoad& load);

// Through a relay of TCP connections, from whoever connects to `in` to whoever
// connects, after that, to `out`.
absl::Duration RunTcpBulk(const std::string& in, const std::string& out,
                          const BulkLoad& load);

}  // namespace waitq::bench

#endif  // WAITQ_BENCH_BULK_LOAD_H_
