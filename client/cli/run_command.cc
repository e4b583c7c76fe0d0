// waitq run: a command while a lock or a permit is held. waitq barrier.

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/barrier.h"
#include "client/cli/child.h"
#include "client/cli/commands.h"
#include "client/cli/output.h"
#include "client/cli/parse.h"
#include "client/lock.h"
#include "client/semaphore.h"

namespace waitq::cli {
namespace {

// What was to be run under a grant is not run, or was ended, because of that.
constexpr int kExitLost = 125;

struct RunArguments {
  std::optional<std::string> lock;
  std::optional<SemaphoreName> semaphore;
  AcquireOptions options;
  std::vector<std::string> words;

  const std::string& name() const { return lock ? *lock : semaphore->name; }
};

absl::StatusOr<Grant> Acquire(const RunArguments& arguments, Environment& e) {
  if (arguments.lock) {
    return Lock(&e.client, *arguments.lock).Acquire(arguments.options, e.stop);
  }
  return Semaphore(&e.client, arguments.semaphore->name,
                   arguments.semaphore->permits)
      .Acquire(arguments.options, 1, e.stop);
}

int RunRun(const RunArguments& arguments, Environment& e) {
  absl::StatusOr<Grant> grant = Acquire(arguments, e);
  if (!grant.ok()) return Report(arguments.name(), grant.status());
  const Outcome outcome = grant->result().outcome;
  if (outcome != Outcome::kDone) {
    return Report(arguments.name(), End{.outcome = outcome},
                  OutcomeText(outcome, false, arguments.options.timeout));
  }
  if (!grant->is_held()) {
    Report(arguments.name(), End{.status = grant->GiveBack().status()},
           "it was lost before the command began");
    return kExitLost;
  }
  // For what it writes to, which can refuse an older one.
  setenv("WAITQ_TOKEN", absl::StrCat(grant->token()).c_str(), /*overwrite=*/1);
  // A tenth of the grace is left when this is told; half of it for TERM.
  const auto child = std::make_shared<Child>(/*patience=*/e.grace / 20);
  if (const absl::Status started = child->Start(arguments.words);
      !started.ok()) {
    Report(arguments.words.front(), End{.status = started},
           std::string(started.message()));
    return absl::IsNotFound(started) ? kExitNotFound : kExitCannotRun;
  }
  grant->OnLost([child](const absl::Status&) { child->End(); });
  const absl::StatusOr<int> code = child->Wait(e.stop);
  // Who was stopped does not wait for this: the session's end gives it back.
  const absl::Status given = grant->GiveBack({}, e.stop).status();
  if (child->was_ended()) {
    Report(arguments.name(), End{.status = given},
           "it was lost, and the command was ended");
    return kExitLost;
  }
  if (!code.ok()) return Report(arguments.words.front(), code.status());
  return *code;
}

void AddRun(CLI::App& app, Command& command) {
  auto arguments = std::make_shared<RunArguments>();
  CLI::App* run = app.add_subcommand(
      "run", "Run a command while holding a lock or a semaphore");
  auto* lock =
      AddParsed(*run, "--lock", arguments->lock, ParseName,
                "One at a time, on whichever machine: the lock of this name")
          ->type_name("NAME");
  AddParsed(*run, "--sem", arguments->semaphore, ParseSemaphore,
            "At most N at a time, of those that say this name")
      ->type_name("NAME:N")
      ->excludes(lock);
  AddParsed(*run, "--timeout", arguments->options.timeout, ParseTimeout,
            "How long to wait for it at most: 200ms 1.5s 2m")
      ->type_name("D");
  run->add_flag("--nonblock", arguments->options.nonblock,
                "Do not wait for it: exit 11 instead");
  run->add_option("CMD", arguments->words, "The command, after --")
      ->type_name("")
      ->required();
  run->footer(
      "Exit code: CMD's; 124 if the time is over before it could begin; 125 if "
      "the\n"
      "lock was lost while it ran (the server was not heard of for 0.9 of the\n"
      "grace, or restarted): its process group has got TERM, and KILL a "
      "twentieth\n"
      "of the grace later, before another can have the lock. 126 and 127 if "
      "CMD\n"
      "cannot be run. WAITQ_TOKEN tells CMD its fencing token. CMD gets the "
      "signals\n"
      "INT and TERM (a second one ends waitq, and with it CMD), HUP, QUIT, "
      "USR1 "
      "and\n"
      "USR2; Ctrl-Z stops it, too. When CMD has ended the lock is given back, "
      "whatever\n"
      "it has left in the background.\n"
      "Example: waitq run --lock backup --timeout 1h -- rsync -a /data /mnt");
  run->callback([arguments, &command] {
    if (!arguments->lock && !arguments->semaphore) {
      throw CLI::RequiredError("--lock or --sem");
    }
    command = [arguments](Environment& e) { return RunRun(*arguments, e); };
  });
}

struct BarrierArguments {
  std::string name;
  int64_t parties = 0;
  AcquireOptions options;
  OnDeath on_death = OnDeath::kWithdraw;
};

absl::StatusOr<OnDeath> ParseOnDeath(const std::string& text) {
  if (text == "withdraw") return OnDeath::kWithdraw;
  if (text == "break") return OnDeath::kBreak;
  if (text == "count") return OnDeath::kCount;
  return absl::InvalidArgumentError(
      absl::StrCat("'", text, "' is not withdraw, break or count"));
}

int RunBarrier(const BarrierArguments& arguments, Environment& e) {
  Barrier barrier(&e.client, arguments.name, arguments.parties,
                  arguments.on_death);
  const absl::StatusOr<BarrierResult> result =
      barrier.Arrive(arguments.options, e.stop);
  if (!result.ok()) return Report(arguments.name, result.status());
  if (result->outcome != Outcome::kDone) {
    return Report(
        arguments.name, End{.outcome = result->outcome},
        OutcomeText(result->outcome, false, arguments.options.timeout));
  }
  return Print(
      absl::StrCat("round=", result->round, " place=", result->place, "\n"));
}

void AddBarrier(CLI::App& app, Command& command) {
  auto arguments = std::make_shared<BarrierArguments>();
  CLI::App* barrier =
      app.add_subcommand("barrier", "Sleep until N have come to a barrier");
  AddParsed(*barrier, "NAME", arguments->name, ParseName, "The barrier")
      ->required();
  AddParsed(*barrier, "N", arguments->parties, ParsePositive,
            "How many come; all say the same")
      ->required();
  AddParsed(*barrier, "--timeout", arguments->options.timeout, ParseTimeout,
            "How long to wait for the others at most: 200ms 1.5s 2m")
      ->type_name("D");
  AddParsed(*barrier, "--on-death", arguments->on_death, ParseOnDeath,
            "When one who waits dies: he has not come (withdraw, if not "
            "given); all fail (break); he counts (count)")
      ->type_name("HOW");
  barrier->footer(
      "Prints one line: round=R place=P, the manieth of its round, both from "
      "0.\n"
      "Example: waitq barrier start 4 --timeout 1m && ./measure");
  barrier->callback([arguments, &command] {
    command = [arguments](Environment& e) { return RunBarrier(*arguments, e); };
  });
}

}  // namespace

void AddKitCommands(CLI::App& app, Command& command) {
  AddRun(app, command);
  AddBarrier(app, command);
}

}  // namespace waitq::cli
