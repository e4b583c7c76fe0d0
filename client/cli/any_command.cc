// waitq wait-any.

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/output.h"
#include "client/cli/parse.h"

namespace waitq::cli {
namespace {

struct Arguments {
  std::vector<Alternative> alternatives;
  WaitAnyOptions options;
  bool killable = false;
};

int Run(Arguments& arguments, Environment& environment) {
  WaitAnyOptions& options = arguments.options;
  if (arguments.killable) options.sleep = Sleep::kKillable;
  absl::StatusOr<WaitAnyResult> result = environment.client.WaitAny(
      arguments.alternatives, options, environment.stop);
  if (!result.ok()) return Report("", result.status());
  if (result->result.index() == 0) {
    return ReportAnswer(environment, "", *result,
                        End{.outcome = result->outcome},
                        OutcomeText(result->outcome, false, options.timeout) +
                            TimingText(result->timing));
  }
  std::string text = WaitAnyLine(*result, arguments.alternatives) + "\n";
  const auto* const read = std::get_if<ReadResult>(&result->result);
  if (read != nullptr) text += read->data;
  if (const int code = PrintAnswer(environment, *result, text);
      code != kExitOk) {
    return code;
  }
  const bool broken = read != nullptr && read->broken;
  if (!broken) return kExitOk;
  return Report(arguments.alternatives[result->alternative].name,
                End{.outcome = result->outcome, .broken = true},
                OutcomeText(result->outcome, true, options.timeout));
}

}  // namespace

void AddAnyCommand(CLI::App& app, Command& command) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* any = app.add_subcommand(
      "wait-any", "Sleep until one of several things is there, and take that");
  any->add_option_function<std::vector<std::string>>(
         "TERM",
         [arguments](const std::vector<std::string>& texts) {
           for (const std::string& text : texts) {
             absl::StatusOr<Alternative> parsed = ParseAlternative(text);
             if (!parsed.ok()) {
               throw CLI::ValidationError(
                   "TERM", std::string(parsed.status().message()));
             }
             arguments->alternatives.push_back(*std::move(parsed));
           }
         },
         "queue:NAME[,COND[,ACTION]] completion:NAME pipe:NAME[,SIZE], with "
         "COND and ACTION as of `wait`; 1 to 64 of them")
      ->type_name("")
      ->required();
  AddParsed(*any, "--timeout", arguments->options.timeout, ParseTimeout,
            "How long to sleep at most: 200ms 1.5s 2m")
      ->type_name("D");
  any->add_flag("--nonblock", arguments->options.nonblock,
                "Do not sleep: exit 11 instead");
  any->add_flag("--killable", arguments->killable,
                "Only TERM and KILL end the sleep");
  any->add_flag("--timing", arguments->options.want_timing,
                "Also print where the time went, as the server saw it");
  any->footer(
      "Prints one line: alternative=N kind=KIND name=NAME, N from 0, and what\n"
      "`wait`, `await` print; of a pipe bytes=N, and behind the line the "
      "bytes.\n"
      "Nothing is taken from the others.\n"
      "Example: waitq wait-any pipe:work completion:shutdown "
      "'queue:lease,!=7'");
  any->callback([arguments, &command] {
    command = [arguments](Environment& e) { return Run(*arguments, e); };
  });
}

}  // namespace waitq::cli
