// The commands, a file for each group of them.

#ifndef WAITQ_CLIENT_CLI_COMMANDS_H_
#define WAITQ_CLIENT_CLI_COMMANDS_H_

#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cli/exit_code.h"
#include "client/cli/json.h"
#include "client/client.h"

namespace waitq::cli {

// What a command has to work with.
struct Environment {
  Client& client;
  std::stop_token stop;
  bool json = false;     // answers are printed as JSON
  absl::Duration grace;  // of the client
};

// Does what was asked for; returns the exit code.
using Command = std::function<int(Environment&)>;

// Each adds its commands to `app`; the one that is chosen sets `command`, which
// must outlive the parsing.

// wait wake get store
void AddWaitQueueCommands(CLI::App& app, Command& command);
// complete await reinit
void AddCompletionCommands(CLI::App& app, Command& command);
// wait-any
void AddAnyCommand(CLI::App& app, Command& command);
// write read
void AddPipeCommands(CLI::App& app, Command& command);
// send recv poll
void AddMessageCommands(CLI::App& app, Command& command);
// run barrier
void AddKitCommands(CLI::App& app, Command& command);
// until
void AddUntilCommand(CLI::App& app, Command& command);
// create ls stat rm ps kill
void AddObjectCommands(CLI::App& app, Command& command);
// shell-completion manual
void AddShellCommands(CLI::App& app, Command& command);

// What prints the words that may stand in place of the last of `words`
// (cli/shell_scripts.h says how). `app` has all its commands.
Command CompleteWords(const CLI::App& app,
                      const std::vector<std::string>& words);

// Adds an argument that `parse` understands, to be stored in `value`. The usage
// error of one that it does not understand begins with the argument's name.
template <class T, class Value>
CLI::Option* AddParsed(CLI::App& app, const std::string& name, Value& value,
                       absl::StatusOr<T> (*parse)(const std::string&),
                       const std::string& description) {
  return app
      .add_option_function<std::string>(
          name,
          [&value, parse, name](const std::string& text) {
            absl::StatusOr<T> parsed = parse(text);
            if (!parsed.ok()) {
              throw CLI::ValidationError(
                  name, std::string(parsed.status().message()));
            }
            value = *std::move(parsed);
          },
          description)
      // Not "TEXT", which helps nobody.
      ->type_name("");
}

// Prints one line on standard error, if `end` is one that needs it; returns the
// exit code. `what`: for people, if the status does not say it.
int Report(const std::string& object, const End& end,
           const std::string& what = "");

// The same for a call that failed.
int Report(const std::string& object, const absl::Status& status);

// Prints a command's result. Returns the exit code: a result that cannot be
// written is a failure.
int Print(const std::string& text);

// Prints an answer: as JSON, if that was asked for, else as `text`.
template <class Result>
int PrintAnswer(const Environment& environment, const Result& result,
                const std::string& text) {
  return Print(environment.json ? Json(result) + "\n" : text);
}

// A blocking call has ended otherwise than done: prints the answer if JSON was
// asked for, and says on standard error what happened. Returns the exit code.
template <class Result>
int ReportAnswer(const Environment& environment, const std::string& object,
                 const Result& result, const End& end,
                 const std::string& what) {
  if (environment.json) {
    if (const int code = Print(Json(result) + "\n"); code != kExitOk) {
      return code;
    }
  }
  return Report(object, end, what);
}

}  // namespace waitq::cli

#endif  // WAITQ_CLIENT_CLI_COMMANDS_H_
