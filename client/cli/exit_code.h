// What `waitq` tells the shell.

#ifndef WAITQ_CLIENT_CLI_EXIT_CODE_H_
#define WAITQ_CLIENT_CLI_EXIT_CODE_H_

#include "absl/status/status.h"
#include "client/types.h"

namespace waitq::cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;         // bad arguments
inline constexpr int kExitWouldBlock = 11;   // EAGAIN
inline constexpr int kExitTimedOut = 124;    // as timeout(1)
inline constexpr int kExitSignalBase = 128;  // plus the signal, as shells do

// How a command's call ended.
struct End {
  absl::Status status = absl::OkStatus();
  // If the status is OK.
  Outcome outcome = Outcome::kDone;
  bool broken = false;
  // The signal by which the user stopped this program, or 0.
  int stop_signal = 0;
};

int ExitCode(const End& end);

}  // namespace waitq::cli

#endif  // WAITQ_CLIENT_CLI_EXIT_CODE_H_
