// Errors on the wire, for programs: a gRPC status whose google.rpc.ErrorInfo
// (domain "waitq") says the reason, the object and the limit. Clients read
// that, never the message.

#ifndef WAITQ_TRANSPORT_ERROR_INFO_H_
#define WAITQ_TRANSPORT_ERROR_INFO_H_

#include <map>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "grpcpp/support/status.h"

namespace waitq {

struct ErrorInfo {
  // An errno's name: "EPIPE".
  std::string reason;
  // "object", "limit", "signal", "accepted_bytes": those that apply.
  std::map<std::string, std::string> metadata;
  // When a repeat may succeed, if the server said so.
  std::optional<absl::Duration> retry_after;
};

// A status with an ErrorInfo, and a RetryInfo if `retry_after` is given.
//
// Message and details together stay under 4 KB of printable ASCII: what is too
// long is cut and ends in "...", metadata that does not fit is left out, other
// characters become '?'. (A status that is too long for the receiver's limit
// costs it all calls of the connection.)
grpc::Status MakeStatus(grpc::StatusCode code, std::string reason,
                        std::string message,
                        const std::map<std::string, std::string>& metadata = {},
                        std::optional<absl::Duration> retry_after = {});

// What a status made by MakeStatus says; nothing if it comes from elsewhere,
// as from gRPC itself.
std::optional<ErrorInfo> ParseErrorInfo(const grpc::Status& status);

// Cuts `text` to `max_bytes` and makes it printable ASCII, as above.
std::string Printable(std::string text, size_t max_bytes);

}  // namespace waitq

#endif  // WAITQ_TRANSPORT_ERROR_INFO_H_
