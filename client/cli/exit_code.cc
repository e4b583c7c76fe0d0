#include "client/cli/exit_code.h"

#include <csignal>
#include <string>

#include "client/error.h"

namespace waitq::cli {
namespace {

int OutcomeCode(Outcome outcome, bool broken) {
  switch (outcome) {
    case Outcome::kDone:
      return kExitOk;
    case Outcome::kTimedOut:
      return kExitTimedOut;
    case Outcome::kWouldBlock:
      return kExitWouldBlock;
    case Outcome::kEndOfFile:
      return broken ? kExitFailure : kExitOk;
  }
  return kExitFailure;
}

}  // namespace

int ExitCode(const End& end) {
  if (end.status.ok()) return OutcomeCode(end.outcome, end.broken);
  const std::string reason = ErrorReason(end.status);
  if (reason == "EPIPE") return kExitSignalBase + SIGPIPE;
  if (reason == "EINTR") {
    return kExitSignalBase + ErrorSignal(end.status).value_or(SIGINT);
  }
  switch (end.status.code()) {
    case absl::StatusCode::kCancelled:
      return kExitSignalBase +
             (end.stop_signal == 0 ? SIGINT : end.stop_signal);
    case absl::StatusCode::kDeadlineExceeded:
      return kExitTimedOut;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return kExitUsage;
    default:
      return kExitFailure;
  }
}

}  // namespace waitq::cli
