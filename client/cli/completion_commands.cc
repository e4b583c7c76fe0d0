// waitq complete, await, reinit.

#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/output.h"
#include "client/cli/parse.h"

namespace waitq::cli {
namespace {

void AddComplete(CLI::App& app, Command& command) {
  struct Arguments {
    std::string name;
    uint32_t nr = 1;
    bool all = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* complete = app.add_subcommand(
      "complete", "Say that something is done: lets one await go on");
  AddParsed(*complete, "NAME", arguments->name, ParseName, "The completion")
      ->required();
  auto* nr = AddParsed(*complete, "--nr", arguments->nr, ParseCount,
                       "How many times; 1 if not given")
                 ->type_name("N");
  complete
      ->add_flag("--all", arguments->all,
                 "For good: every await goes on, now and later, until reinit")
      ->excludes(nr);
  complete->footer(
      "Prints one line: woken=N done=N generation=G; done is how many more\n"
      "there are to take (\"all\" after --all).\n"
      "Example: waitq complete build");
  complete->callback([arguments, &command] {
    command = [arguments](Environment& e) {
      absl::StatusOr<CompleteResult> result =
          arguments->all
              ? e.client.CompleteAll(arguments->name, e.stop)
              : e.client.Complete(arguments->name, arguments->nr, e.stop);
      if (!result.ok()) return Report(arguments->name, result.status());
      return PrintAnswer(e, *result, CompleteLine(*result) + "\n");
    };
  });
}

void AddAwait(CLI::App& app, Command& command) {
  struct Arguments {
    std::string name;
    AwaitOptions options;
    bool killable = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* await =
      app.add_subcommand("await", "Sleep until something is done, and take it");
  AddParsed(*await, "NAME", arguments->name, ParseName, "The completion")
      ->required();
  AddParsed(*await, "--timeout", arguments->options.timeout, ParseTimeout,
            "How long to sleep at most: 200ms 1.5s 2m")
      ->type_name("D");
  await->add_flag("--nonblock", arguments->options.nonblock,
                  "Do not sleep: exit 11 instead");
  await->add_flag("--killable", arguments->killable,
                  "Only TERM and KILL end the sleep");
  await->add_flag("--timing", arguments->options.want_timing,
                  "Also print where the time went, as the server saw it");
  await->footer(
      "Prints one line: generation=G slept=yes|no [timing].\n"
      "Example: waitq await build --timeout 10m && deploy");
  await->callback([arguments, &command] {
    command = [arguments](Environment& e) {
      AwaitOptions& options = arguments->options;
      if (arguments->killable) options.sleep = Sleep::kKillable;
      absl::StatusOr<AwaitResult> result =
          e.client.Await(arguments->name, options, e.stop);
      if (!result.ok()) return Report(arguments->name, result.status());
      if (result->outcome == Outcome::kDone) {
        return PrintAnswer(e, *result, AwaitLine(*result) + "\n");
      }
      return ReportAnswer(e, arguments->name, *result,
                          End{.outcome = result->outcome},
                          OutcomeText(result->outcome, false, options.timeout) +
                              TimingText(result->timing));
    };
  });
}

void AddReinit(CLI::App& app, Command& command) {
  auto name = std::make_shared<std::string>();
  CLI::App* reinit =
      app.add_subcommand("reinit", "Forget what is done of a completion");
  AddParsed(*reinit, "NAME", *name, ParseName, "The completion")->required();
  reinit->footer(
      "Prints one line: generation=G. Sleepers stay asleep.\n"
      "Example: waitq reinit build");
  reinit->callback([name, &command] {
    command = [name](Environment& e) {
      absl::StatusOr<uint64_t> generation = e.client.Reinit(*name, e.stop);
      if (!generation.ok()) return Report(*name, generation.status());
      return Print(e.json ? JsonOfReinit(*generation) + "\n"
                          : absl::StrCat("generation=", *generation, "\n"));
    };
  });
}

}  // namespace

void AddCompletionCommands(CLI::App& app, Command& command) {
  AddComplete(app, command);
  AddAwait(app, command);
  AddReinit(app, command);
}

}  // namespace waitq::cli
