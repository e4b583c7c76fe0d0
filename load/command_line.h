// The command line of `waitq-load`.

#ifndef WAITQ_LOAD_COMMAND_LINE_H_
#define WAITQ_LOAD_COMMAND_LINE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "load/run.h"

namespace waitq::load {

struct CommandLine {
  RunOptions run = {};
  std::string json = {};  // a file, "-" for standard output, "" for none
  std::string plot = {};  // a file
  // What to print instead of doing anything.
  std::string help = {};
};

// `arguments` without the program's name. Reads the scenario.
// INVALID_ARGUMENT, NOT_FOUND: one line that says what is wrong.
absl::StatusOr<CommandLine> ParseCommandLine(
    std::vector<std::string> arguments);

}  // namespace waitq::load

#endif  // WAITQ_LOAD_COMMAND_LINE_H_
