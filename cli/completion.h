// What may stand at the end of an unfinished command line.

#ifndef WAITQ_CLI_COMPLETION_H_
#define WAITQ_CLI_COMPLETION_H_

#include <string>
#include <vector>

#include "CLI/CLI.hpp"

namespace waitq::cli {

struct Candidate {
  std::string word;
  std::string description;  // one line, for people
};

struct Completion {
  // Commands and options that begin with `typed`.
  std::vector<Candidate> candidates;
  // What has been typed of the last word.
  std::string typed;
  // The last word is a value of `value`, an option or a positional argument of
  // `command`: which ones there are is not ours to know. Not set: it is none.
  const CLI::Option* value = nullptr;
  const CLI::App* command = nullptr;
};

// `words`: those after the program's name; the last one is being typed and may
// be empty. What comes before it need not be right: it is not checked. Options
// of `app` are offered after a command too, as with CLI::App::fallthrough().
//
// The result points into `app`. Thread safety: as const of CLI::App.
Completion Complete(const CLI::App& app, const std::vector<std::string>& words);

// The value that `words` give to the option `name` ("--server"), the last one
// if there are several; "" if they do not.
std::string ValueOf(const CLI::App& app, const std::vector<std::string>& words,
                    const std::string& name);

}  // namespace waitq::cli

#endif  // WAITQ_CLI_COMPLETION_H_
