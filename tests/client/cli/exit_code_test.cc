#include "client/cli/exit_code.h"

#include <csignal>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "client/status_map.h"
#include "grpcpp/support/status.h"
#include "gtest/gtest.h"
#include "transport/error_info.h"

namespace waitq::cli {
namespace {

using grpc::StatusCode;

// As it arrives from the server.
End Failed(StatusCode code, const std::string& reason,
           const std::map<std::string, std::string>& metadata = {}) {
  return End{.status = FromGrpcStatus(
                 MakeStatus(code, reason, "what", metadata), CallSite{})};
}

TEST(ExitCodeTest, Outcomes) {
  EXPECT_EQ(ExitCode({.outcome = Outcome::kDone}), 0);
  EXPECT_EQ(ExitCode({.outcome = Outcome::kTimedOut}), 124);
  EXPECT_EQ(ExitCode({.outcome = Outcome::kWouldBlock}), 11);
  EXPECT_EQ(ExitCode({.outcome = Outcome::kEndOfFile}), 0);
  EXPECT_EQ(ExitCode({.outcome = Outcome::kEndOfFile, .broken = true}), 1);
}

TEST(ExitCodeTest, DeadlineOfTheCallIsATimeout) {
  EXPECT_EQ(ExitCode(Failed(StatusCode::DEADLINE_EXCEEDED, "ETIME")), 124);
  EXPECT_EQ(ExitCode({.status = absl::DeadlineExceededError("")}), 124);
}

TEST(ExitCodeTest, StoppedByTheUser) {
  const absl::Status cancelled = absl::CancelledError("cancelled");
  EXPECT_EQ(ExitCode({.status = cancelled, .stop_signal = SIGINT}), 130);
  EXPECT_EQ(ExitCode({.status = cancelled, .stop_signal = SIGTERM}), 143);
  EXPECT_EQ(ExitCode({.status = cancelled}), 130);
}

TEST(ExitCodeTest, StoppedTooLateIsAsItEnded) {
  EXPECT_EQ(ExitCode({.outcome = Outcome::kDone, .stop_signal = SIGINT}), 0);
}

TEST(ExitCodeTest, SignalOfATask) {
  EXPECT_EQ(ExitCode(Failed(StatusCode::ABORTED, "EINTR")), 130);
  EXPECT_EQ(ExitCode(Failed(StatusCode::ABORTED, "EINTR", {{"signal", "15"}})),
            143);
}

TEST(ExitCodeTest, NoReadersIsAsAShellShowsSigpipe) {
  EXPECT_EQ(ExitCode(Failed(StatusCode::FAILED_PRECONDITION, "EPIPE")), 141);
}

TEST(ExitCodeTest, FailuresAre1) {
  EXPECT_EQ(ExitCode(Failed(StatusCode::ABORTED, "EIDRM")), 1);
  EXPECT_EQ(ExitCode(Failed(StatusCode::ABORTED, "EOWNERDEAD")), 1);
  EXPECT_EQ(ExitCode(Failed(StatusCode::RESOURCE_EXHAUSTED, "ENOSPC")), 1);
  EXPECT_EQ(ExitCode(Failed(StatusCode::NOT_FOUND, "ENOENT")), 1);
  EXPECT_EQ(ExitCode(Failed(StatusCode::ALREADY_EXISTS, "EEXIST")), 1);
  EXPECT_EQ(ExitCode(Failed(StatusCode::FAILED_PRECONDITION, "ENXIO")), 1);
  EXPECT_EQ(ExitCode(Failed(StatusCode::FAILED_PRECONDITION, "EBUSY")), 1);
  EXPECT_EQ(ExitCode(Failed(StatusCode::UNAVAILABLE, "ESHUTDOWN")), 1);
  EXPECT_EQ(ExitCode({.status = absl::UnavailableError("no server")}), 1);
  EXPECT_EQ(ExitCode({.status = absl::InternalError("")}), 1);
}

TEST(ExitCodeTest, BadArgumentsAre2) {
  EXPECT_EQ(ExitCode(Failed(StatusCode::INVALID_ARGUMENT, "EINVAL")), 2);
  EXPECT_EQ(ExitCode(Failed(StatusCode::INVALID_ARGUMENT, "EMSGSIZE")), 2);
  EXPECT_EQ(ExitCode(Failed(StatusCode::OUT_OF_RANGE, "ERANGE")), 2);
}

}  // namespace
}  // namespace waitq::cli
