// A command line's manual page, out of what it says of itself with --help.

#ifndef WAITQ_CLI_MANUAL_H_
#define WAITQ_CLI_MANUAL_H_

#include <string>
#include <vector>

#include "CLI/CLI.hpp"

namespace waitq::cli {

struct ManualOptions {
  // Of the manual: 1 for commands, 8 for servers.
  int section = 1;
  // What the program is for, a paragraph each; the one-line description is
  // there already.
  std::vector<std::string> description = {};
  // "waitqd(8)".
  std::vector<std::string> see_also = {};
};

// The page in troff with the `man` macros (man(7)), the same at each call.
// `app`'s footer is printed as it is, under EXAMPLES AND EXIT STATUS.
std::string ManualPage(const CLI::App& app, const ManualOptions& options);

}  // namespace waitq::cli

#endif  // WAITQ_CLI_MANUAL_H_
