// waitq wait, wake, get, store.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/output.h"
#include "client/cli/parse.h"

namespace waitq::cli {
namespace {

struct WaitArguments {
  std::string name;
  WaitOptions options;
  bool shared = false;
  bool killable = false;
  bool uninterruptible = false;
};

int RunWait(WaitArguments& arguments, Environment& environment) {
  WaitOptions& options = arguments.options;
  if (arguments.shared) options.exclusive = false;
  if (arguments.killable) options.sleep = Sleep::kKillable;
  if (arguments.uninterruptible) options.sleep = Sleep::kUninterruptible;
  absl::StatusOr<WaitResult> result =
      environment.client.Wait(arguments.name, options, environment.stop);
  if (!result.ok()) return Report(arguments.name, result.status());
  if (result->outcome == Outcome::kDone) {
    return PrintAnswer(environment, *result,
                       WaitLine(*result, options.then.has_value()) + "\n");
  }
  return ReportAnswer(
      environment, arguments.name, *result, End{.outcome = result->outcome},
      absl::StrCat(OutcomeText(result->outcome, false, options.timeout),
                   ", value=", result->value_after, " generation=",
                   result->generation, TimingText(result->timing)));
}

void AddWait(CLI::App& app, Command& command) {
  auto arguments = std::make_shared<WaitArguments>();
  CLI::App* wait = app.add_subcommand(
      "wait", "Sleep until a condition on a wait queue's word holds");
  AddParsed(*wait, "NAME", arguments->name, ParseName, "The wait queue")
      ->required();
  AddParsed(*wait, "--until", arguments->options.condition, ParseCondition,
            "==N !=N <N <=N >N >=N all:0xM any:0xM changed:G. Without it: "
            "until a wake comes")
      ->type_name("COND");
  AddParsed(*wait, "--then", arguments->options.then, ParseAction,
            "Change the word in the same step: set:N add:N and:0xM or:0xM")
      ->type_name("ACTION");
  wait->add_flag("--then-wake", arguments->options.then_wake,
                 "After --then, wake whoever waits for what it made true");
  AddParsed(*wait, "--key", arguments->options.key, ParseMask,
            "Only wakes with one of these bits, or with no key, reach it")
      ->type_name("0xM");
  wait->add_flag("--shared", arguments->shared,
                 "Use up none of a wake's --nr, even with --then");
  AddParsed(*wait, "--timeout", arguments->options.timeout, ParseTimeout,
            "How long to sleep at most: 200ms 1.5s 2m")
      ->type_name("D");
  wait->add_flag("--nonblock", arguments->options.nonblock,
                 "Do not sleep: exit 11 instead");
  wait->add_flag("--timing", arguments->options.want_timing,
                 "Also print where the time went, as the server saw it");
  auto* killable = wait->add_flag("--killable", arguments->killable,
                                  "Only TERM and KILL end the sleep");
  wait->add_flag("--uninterruptible", arguments->uninterruptible,
                 "No signal ends the sleep; `ps` shows D")
      ->excludes(killable);
  wait->footer(
      "Prints one line: value=N [before=N] generation=G slept=yes|no "
      "[timing].\n"
      "Example: waitq wait flag --until ==1 --then set:0 --timeout 30s");
  wait->callback([arguments, &command] {
    command = [arguments](Environment& e) { return RunWait(*arguments, e); };
  });
}

struct WakeArguments {
  std::string name;
  std::optional<int64_t> set;
  std::optional<int64_t> add;
  WakeOptions options;
};

int RunWake(WakeArguments& arguments, Environment& environment) {
  if (arguments.set) arguments.options.update = Action::Set(*arguments.set);
  if (arguments.add) arguments.options.update = Action::Add(*arguments.add);
  absl::StatusOr<WakeResult> result = environment.client.WakeUp(
      arguments.name, arguments.options, environment.stop);
  if (!result.ok()) return Report(arguments.name, result.status());
  return PrintAnswer(environment, *result, WakeLine(*result) + "\n");
}

void AddWake(CLI::App& app, Command& command) {
  auto arguments = std::make_shared<WakeArguments>();
  CLI::App* wake = app.add_subcommand(
      "wake", "Change the word and wake those whose condition holds");
  AddParsed(*wake, "NAME", arguments->name, ParseName, "The wait queue")
      ->required();
  auto* set = AddParsed(*wake, "--set", arguments->set, ParseInteger,
                        "Make it the word first")
                  ->type_name("N");
  AddParsed(*wake, "--add", arguments->add, ParseInteger,
            "Add it to the word first")
      ->type_name("N")
      ->excludes(set);
  auto* nr = AddParsed(*wake, "--nr", arguments->options.nr, ParseCount,
                       "How many exclusive sleepers at most; 1 if not given")
                 ->type_name("N");
  wake->add_flag("--all", arguments->options.all, "All of them")->excludes(nr);
  AddParsed(*wake, "--key", arguments->options.key, ParseMask,
            "Only sleepers with one of these bits, or with no key")
      ->type_name("0xM");
  wake->add_flag("--sync", arguments->options.sync,
                 "This caller is about to sleep: a hint");
  wake->add_flag("--interruptible", arguments->options.interruptible_only,
                 "Leave killable sleepers asleep");
  wake->footer(
      "Prints one line: woken=N exclusive=N value=N generation=G.\n"
      "Example: waitq wake flag --set 1");
  wake->callback([arguments, &command] {
    command = [arguments](Environment& e) { return RunWake(*arguments, e); };
  });
}

void AddGet(CLI::App& app, Command& command) {
  auto name = std::make_shared<std::string>();
  CLI::App* get = app.add_subcommand("get", "Print a wait queue's word");
  AddParsed(*get, "NAME", *name, ParseName, "The wait queue")->required();
  get->footer("Example: waitq get flag");
  get->callback([name, &command] {
    command = [name](Environment& e) {
      absl::StatusOr<GetResult> result = e.client.Get(*name, e.stop);
      if (!result.ok()) return Report(*name, result.status());
      return PrintAnswer(e, *result, absl::StrCat(result->value, "\n"));
    };
  });
}

void AddStore(CLI::App& app, Command& command) {
  struct Arguments {
    std::string name;
    int64_t value = 0;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* store =
      app.add_subcommand("store", "Change a wait queue's word and wake nobody");
  AddParsed(*store, "NAME", arguments->name, ParseName, "The wait queue")
      ->required();
  AddParsed(*store, "N", arguments->value, ParseInteger, "The word")
      ->required();
  store->footer(
      "Prints one line: before=N generation=G.\n"
      "Example: waitq store flag 1");
  store->callback([arguments, &command] {
    command = [arguments](Environment& e) {
      absl::StatusOr<StoreResult> result =
          e.client.Store(arguments->name, arguments->value, e.stop);
      if (!result.ok()) return Report(arguments->name, result.status());
      return PrintAnswer(
          e, *result,
          absl::StrCat("before=", result->value_before,
                       " generation=", result->generation, "\n"));
    };
  });
}

}  // namespace

void AddWaitQueueCommands(CLI::App& app, Command& command) {
  AddWait(app, command);
  AddWake(app, command);
  AddGet(app, command);
  AddStore(app, command);
}

}  // namespace waitq::cli
