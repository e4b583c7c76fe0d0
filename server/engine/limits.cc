#include "server/engine/limits.h"

#include <limits>

#include "absl/strings/str_cat.h"

namespace waitq::engine {
namespace {

constexpr uint64_t kNoMost = std::numeric_limits<uint64_t>::max();
// What a stream sends at a time is 64 KiB, and its frame beside that.
constexpr uint64_t kMessageBytesMin = 128 << 10;
constexpr uint64_t kMessageBytesMax = 1 << 30;

struct Row {
  const char* name;
  uint64_t value;
  uint64_t least;
  uint64_t most;
};

struct Pair {
  const char* small_name;
  uint64_t small;
  const char* large_name;
  uint64_t large;
};

}  // namespace

absl::Status Limits::Check() const {
  const Row rows[] = {
      {"objects", objects, 1, kNoMost},
      {"sleepers-per-object", sleepers_per_object, 1, kNoMost},
      {"sleepers-per-caller", sleepers_per_caller, 1, kNoMost},
      {"kept-answers", kept_answers, 1, kNoMost},
      {"sessions", sessions, 1, kNoMost},
      {"operations-per-session", operations_per_session, 1, kNoMost},
      {"results-per-session", results_per_session, 1, kNoMost},
      {"result-bytes-per-session", result_bytes_per_session, 1, kNoMost},
      {"pipe-bytes", pipe_bytes, 1, kNoMost},
      {"message-bytes", message_bytes, kMessageBytesMin, kMessageBytesMax},
  };
  for (const Row& row : rows) {
    if (row.value < row.least) {
      return absl::InvalidArgumentError(
          absl::StrCat("limit ", row.name, " is ", row.value,
                       ": it is at least ", row.least));
    }
    if (row.value > row.most) {
      return absl::InvalidArgumentError(absl::StrCat(
          "limit ", row.name, " is ", row.value, ": it is at most ", row.most));
    }
  }
  const Pair pairs[] = {
      {"sleepers-per-object", sleepers_per_object, "sleepers", sleepers},
      {"sleepers-per-caller", sleepers_per_caller, "sleepers", sleepers},
      {"pipe-bytes", pipe_bytes, "pipe-bytes-in-all", pipe_bytes_in_all},
      {"message-bytes", message_bytes, "bytes-per-caller", bytes_per_caller},
      {"message-bytes", message_bytes, "bytes-asleep", bytes_asleep},
      {"message-bytes", message_bytes, "bytes-unsent", bytes_unsent},
      {"message-bytes", message_bytes, "kept-bytes", kept_bytes},
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
