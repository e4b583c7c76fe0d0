// What makes a shell ask a program how an unfinished command line may go on.

#ifndef WAITQ_CLI_SHELL_SCRIPTS_H_
#define WAITQ_CLI_SHELL_SCRIPTS_H_

#include <string>

#include "absl/status/statusor.h"

namespace waitq::cli {

// What a script calls: `PROGRAM __complete WORD...` prints a line for each word
// that may stand in place of the last one, "WORD<tab>DESCRIPTION", or only
// kFilesWord if it may be the name of any file.
inline constexpr char kCompleteCommand[] = "__complete";
inline constexpr char kFilesWord[] = ":files";

// The script that completes `program` in `shell`. INVALID_ARGUMENT: it is not
// one of bash, zsh and fish.
absl::StatusOr<std::string> CompletionScript(const std::string& shell,
                                             const std::string& program);

}  // namespace waitq::cli

#endif  // WAITQ_CLI_SHELL_SCRIPTS_H_
