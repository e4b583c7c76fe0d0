#include "server/rpc/status_map.h"

#include <cerrno>
#include <map>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/engine/error.h"
#include "server/engine/object.h"
#include "transport/error_info.h"

namespace waitq::rpc {

using engine::Ending;
using engine::MakeError;

// The codes are the same numbers.
static_assert(static_cast<int>(absl::StatusCode::kCancelled) ==
              grpc::StatusCode::CANCELLED);
static_assert(static_cast<int>(absl::StatusCode::kInvalidArgument) ==
              grpc::StatusCode::INVALID_ARGUMENT);
static_assert(static_cast<int>(absl::StatusCode::kResourceExhausted) ==
              grpc::StatusCode::RESOURCE_EXHAUSTED);
static_assert(static_cast<int>(absl::StatusCode::kAborted) ==
              grpc::StatusCode::ABORTED);
static_assert(static_cast<int>(absl::StatusCode::kUnavailable) ==
              grpc::StatusCode::UNAVAILABLE);

v1::Outcome OutcomeOf(Ending ending) {
  switch (ending) {
    case Ending::kDone:
      return v1::OUTCOME_DONE;
    case Ending::kTimedOut:
      return v1::OUTCOME_TIMED_OUT;
    case Ending::kWouldBlock:
      return v1::OUTCOME_WOULD_BLOCK;
    case Ending::kEndOfFile:
      return v1::OUTCOME_END_OF_FILE;
    default:
      return v1::OUTCOME_UNSPECIFIED;
  }
}

absl::Status CallerGoneError() {
  return MakeError(ECANCELED, "the caller has gone");
}

absl::Status OwnerDeadError() {
  return MakeError(EOWNERDEAD,
                   "the server has been restarted; what became of the call is "
                   "not known");
}

absl::Status SessionGoneError() {
  return MakeError(ESTALE, "there is no such session (any more)");
}

absl::Status RemovedError(const std::string& name) {
  return MakeError(EIDRM, absl::StrCat(name, ": was removed"),
                   {{"object", name}});
}

std::string ErrorNameOf(const engine::Operation& op) {
  return engine::DetailsOf(FailureOf(op)).reason;
}

absl::Status FailureOf(const engine::Operation& op) {
  if (OutcomeOf(op.ending()) != v1::OUTCOME_UNSPECIFIED) {
    return absl::OkStatus();
  }
  const std::string& name = op.object().name();
  std::map<std::string, std::string> metadata = {{"object", name}};
  switch (op.ending()) {
    case Ending::kInterrupted:
      metadata["signal"] = absl::StrCat(op.signal());
      return MakeError(
          EINTR, absl::StrCat(name, ": interrupted by signal ", op.signal()),
          metadata);
    case Ending::kRemoved:
      return RemovedError(name);
    case Ending::kDraining:
      return MakeError(ESHUTDOWN, absl::StrCat(name, ": the server drains"),
                       metadata);
    case Ending::kNoReaders:
      return MakeError(EPIPE, absl::StrCat(name, ": the last reader has left"),
                       metadata);
    case Ending::kOverflow:
      return MakeError(ERANGE,
                       absl::StrCat(name, ": `then` would overflow the word"),
                       metadata);
    case Ending::kTooLong:
      return MakeError(
          EMSGSIZE,
          absl::StrCat(name, ": a packet is longer than ",
                       op.gives() ? "the pipe holds, or an answer carries"
                                  : "was asked for"),
          metadata);
    case Ending::kLimit:
      metadata["limit"] = op.limit();
      return MakeError(
          ENOSPC, absl::StrCat(name, ": the limit ", op.limit(), " is reached"),
          metadata);
    case Ending::kCallerGone:
      return CallerGoneError();
    default:
      return absl::OkStatus();
  }
}

std::optional<absl::Duration> RetryAfter(const absl::Status& status) {
  if (status.code() == absl::StatusCode::kResourceExhausted ||
      status.code() == absl::StatusCode::kUnavailable) {
    return absl::Seconds(1);
  }
  return std::nullopt;
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  const engine::ErrorDetails details = engine::DetailsOf(status);
  return MakeStatus(static_cast<grpc::StatusCode>(status.code()),
                    details.reason, std::string(status.message()),
                    details.metadata, RetryAfter(status));
}

}  // namespace waitq::rpc
