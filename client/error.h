// What a program can read from an error of the client.
//
// The canonical code says the kind of failure, the message is one line for
// people; what a program decides by is here.

#ifndef WAITQ_CLIENT_ERROR_H_
#define WAITQ_CLIENT_ERROR_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace waitq {

// The name of an errno: "EPIPE", "EIDRM". "" if the error does not come from
// the server's own code.
std::string ErrorReason(const absl::Status& status);

// The object that the error is about, and the limit that was reached. "" if the
// server named none.
std::string ErrorObject(const absl::Status& status);
std::string ErrorLimit(const absl::Status& status);

// With EINTR: the signal.
std::optional<int> ErrorSignal(const absl::Status& status);

// Of a write that an error cut short: how many bytes are in the pipe.
std::optional<uint64_t> ErrorAcceptedBytes(const absl::Status& status);

// When a repeat may succeed, if the server said so.
std::optional<absl::Duration> ErrorRetryAfter(const absl::Status& status);

// Whether the call may or may not have been executed: the connection was lost,
// or the deadline passed, while it was on its way.
bool OutcomeUnknown(const absl::Status& status);

// For those who make such errors: the keys of the payloads above.
inline constexpr char kReasonKey[] = "reason";
inline constexpr char kObjectKey[] = "object";
inline constexpr char kLimitKey[] = "limit";
inline constexpr char kSignalKey[] = "signal";
inline constexpr char kAcceptedBytesKey[] = "accepted_bytes";
inline constexpr char kRetryAfterKey[] = "retry_after";
inline constexpr char kUnknownKey[] = "outcome_unknown";

void SetErrorField(absl::Status& status, absl::string_view key,
                   absl::string_view value);
std::string ErrorField(const absl::Status& status, absl::string_view key);
absl::Status MakeError(absl::StatusCode code, absl::string_view reason,
                       absl::string_view object, absl::string_view message);

}  // namespace waitq

#endif  // WAITQ_CLIENT_ERROR_H_
