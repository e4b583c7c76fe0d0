#include "server/engine/limits.h"

#include "absl/strings/str_cat.h"

namespace waitq::engine {
namespace {

struct Pair {
  const char* small_name;
  uint64_t small;
  const char* large_name;
  uint64_t large;
};

}  // namespace

absl::Status Limits::Check() const {
  const Pair pairs[] = {
      {"1", 1, "objects", objects},
      {"1", 1, "sleepers-per-object", sleepers_per_object},
      {"sleepers-per-object", sleepers_per_object, "sleepers", sleepers},
      {"1", 1, "pipe-bytes", pipe_bytes},
      {"pipe-bytes", pipe_bytes, "pipe-bytes-in-all", pipe_bytes_in_all},
      {"65536", 65536, "message-bytes", message_bytes},
      {"message-bytes", message_bytes, "bytes-asleep", bytes_asleep},
      {"message-bytes", message_bytes, "1073741824", 1 << 30},
  };
  for (const Pair& pair : pairs) {
    if (pair.small <= pair.large) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("limit ", pair.small_name, " (", pair.small, ") is above ",
                     pair.large_name, " (", pair.large, ")"));
  }
  return absl::OkStatus();
}

}  // namespace waitq::engine
