// The little languages of the command line. Pure functions.
//
// An error's message is one line that quotes the text and names the accepted
// forms; the caller puts the argument's name before it.

#ifndef WAITQ_CLIENT_CLI_PARSE_H_
#define WAITQ_CLIENT_CLI_PARSE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/types.h"
#include "client/wait_any.h"

namespace waitq::cli {

// ==N !=N <N <=N >N >=N all:0xM any:0xM changed:G
absl::StatusOr<Condition> ParseCondition(const std::string& text);

// set:N add:N and:0xM or:0xM
absl::StatusOr<Action> ParseAction(const std::string& text);

// queue:NAME[,CONDITION[,ACTION]], completion:NAME, pipe:NAME[,SIZE]
absl::StatusOr<Alternative> ParseAlternative(const std::string& text);

// 200ms, 1.5s, 2m, 1h30m, 0; not negative, not for ever.
absl::StatusOr<absl::Duration> ParseTimeout(const std::string& text);

// 4096, 64KiB, 1MiB, 1GiB.
absl::StatusOr<uint64_t> ParseSize(const std::string& text);

// A signed 64-bit number: -5, 0x10.
absl::StatusOr<int64_t> ParseInteger(const std::string& text);

// A mask of 64 bits, not 0: 0x5, 5.
absl::StatusOr<uint64_t> ParseMask(const std::string& text);

// NAME:N, N at least 1.
struct SemaphoreName {
  std::string name;
  int64_t permits = 0;
};
absl::StatusOr<SemaphoreName> ParseSemaphore(const std::string& text);

// 1 to 9223372036854775807.
absl::StatusOr<int64_t> ParsePositive(const std::string& text);

// 1 to 4294967295.
absl::StatusOr<uint32_t> ParseCount(const std::string& text);

// 1 to 255 bytes of [A-Za-z0-9._/-].
absl::StatusOr<std::string> ParseName(const std::string& text);

// The same, or nothing: what names begin with.
absl::StatusOr<std::string> ParsePrefix(const std::string& text);

// A task's id, as ps shows it: 1 to 18446744073709551615.
absl::StatusOr<uint64_t> ParseTaskId(const std::string& text);

// INT, TERM, KILL, with or without SIG, in either case, or their numbers.
absl::StatusOr<TaskSignal> ParseTaskSignal(const std::string& text);

// queue, completion or pipe.
absl::StatusOr<ObjectKind> ParseKind(const std::string& text);

// fifo, queue or scull.
absl::StatusOr<PipeProfile> ParseProfile(const std::string& text);

}  // namespace waitq::cli

#endif  // WAITQ_CLIENT_CLI_PARSE_H_
