// From the arguments of `waitq` to what is to be done.

#ifndef WAITQ_CLIENT_CLI_COMMAND_LINE_H_
#define WAITQ_CLIENT_CLI_COMMAND_LINE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cli/commands.h"
#include "client/client.h"

namespace waitq::cli {

struct CommandLine {
  // Where the server is: --server, else WAITQ_SERVER, else the default.
  std::string server;
  // How long the server keeps what this program has under way: --grace, else
  // WAITQ_GRACE, else the client's default.
  absl::Duration grace = ClientOptions().grace;
  // Not set if there is only `help` to print.
  Command command;
  // Answers are to be printed as JSON.
  bool json = false;
  std::string help;
};

// `arguments` without the program's name. INVALID_ARGUMENT: one line that names
// the argument and what is accepted.
absl::StatusOr<CommandLine> ParseCommandLine(
    std::vector<std::string> arguments);

}  // namespace waitq::cli

#endif  // WAITQ_CLIENT_CLI_COMMAND_LINE_H_
