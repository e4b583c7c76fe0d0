#include "client/status_map.h"

#include <cstddef>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/error.h"
#include "transport/error_info.h"

namespace waitq {
namespace {

// The two enumerations have the same members; a cast translates.
#define WAITQ_SAME_CODE(grpc_code, absl_code)                    \
  static_assert(static_cast<int>(grpc::StatusCode::grpc_code) == \
                static_cast<int>(absl::StatusCode::absl_code))
WAITQ_SAME_CODE(CANCELLED, kCancelled);
WAITQ_SAME_CODE(INVALID_ARGUMENT, kInvalidArgument);
WAITQ_SAME_CODE(DEADLINE_EXCEEDED, kDeadlineExceeded);
WAITQ_SAME_CODE(NOT_FOUND, kNotFound);
WAITQ_SAME_CODE(ALREADY_EXISTS, kAlreadyExists);
WAITQ_SAME_CODE(RESOURCE_EXHAUSTED, kResourceExhausted);
WAITQ_SAME_CODE(FAILED_PRECONDITION, kFailedPrecondition);
WAITQ_SAME_CODE(ABORTED, kAborted);
WAITQ_SAME_CODE(OUT_OF_RANGE, kOutOfRange);
WAITQ_SAME_CODE(UNIMPLEMENTED, kUnimplemented);
WAITQ_SAME_CODE(UNAVAILABLE, kUnavailable);
WAITQ_SAME_CODE(UNAUTHENTICATED, kUnauthenticated);
#undef WAITQ_SAME_CODE

constexpr size_t kMessageBytesMax = 1024;

// gRPC's texts name all causes, outermost first, and its source files; people
// want the innermost: "Connection refused".
std::string InnermostCause(const std::string& message) {
  const size_t colon = message.rfind(": ");
  return Printable(
      colon == std::string::npos ? message : message.substr(colon + 2),
      kMessageBytesMax);
}

absl::Status FromErrorInfo(absl::StatusCode code, const std::string& message,
                           const ErrorInfo& info) {
  absl::Status result(code, Printable(message, kMessageBytesMax));
  SetErrorField(result, kReasonKey, info.reason);
  for (const auto& [key, value] : info.metadata) {
    SetErrorField(result, key, Printable(value, kMessageBytesMax));
  }
  if (info.retry_after.has_value()) {
    SetErrorField(result, kRetryAfterKey,
                  absl::FormatDuration(*info.retry_after));
  }
  return result;
}

absl::Status FromTransport(absl::StatusCode code, const std::string& message,
                           const CallSite& site) {
  if (!site.sent && code == absl::StatusCode::kUnavailable) {
    return absl::Status(code, absl::StrCat("no server at ", site.server, ": ",
                                           InnermostCause(message)));
  }
  const std::string cause =
      absl::StrCat(absl::StatusCodeToString(code), " from ", site.server, ": ",
                   Printable(message, kMessageBytesMax));
  if (!site.sent || code == absl::StatusCode::kUnimplemented) {
    return absl::Status(code, cause);
  }
  absl::Status result(code, absl::StrCat("outcome unknown: ", cause));
  SetErrorField(result, kUnknownKey, "true");
  return result;
}

}  // namespace

absl::Status FromGrpcStatus(const grpc::Status& status, const CallSite& site) {
  if (status.ok()) return absl::OkStatus();
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  absl::Status result;
  if (std::optional<ErrorInfo> info = ParseErrorInfo(status)) {
    result = FromErrorInfo(code, status.error_message(), *info);
  } else if (site.stopped && code == absl::StatusCode::kCancelled) {
    result = absl::CancelledError("cancelled");
    SetErrorField(result, kReasonKey, "ECANCELED");
    // The cancellation may have met the answer on its way.
    if (site.sent) SetErrorField(result, kUnknownKey, "true");
  } else {
    result = FromTransport(code, status.error_message(), site);
  }
  if (ErrorObject(result).empty() && !site.object.empty()) {
    SetErrorField(result, kObjectKey, site.object);
  }
  return result;
}

}  // namespace waitq
