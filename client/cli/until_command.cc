// waitq until: polling, for what cannot signal.

#include <signal.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cli/child.h"
#include "client/cli/commands.h"
#include "client/cli/file_io.h"
#include "client/cli/output.h"
#include "client/cli/parse.h"
#include "client/cli/signals.h"

namespace waitq::cli {
namespace {

struct UntilArguments {
  absl::Duration every = absl::Milliseconds(100);
  std::optional<absl::Duration> timeout;
  std::vector<std::string> words;
};

// Runs the command to its end; its exit code, 128 + N if signal N ended it. A
// command that cannot be run at all is an error. A stop is handed on to it.
absl::StatusOr<int> RunOnce(const std::vector<std::string>& words,
                            std::stop_token stop) {
  const absl::StatusOr<pid_t> pid = Spawn(words);
  if (!pid.ok()) return pid.status();
  {
    const std::stop_callback hand_on(std::move(stop),
                                     [&] { kill(*pid, StopSignal()); });
    // Not reaped while a signal may be sent to it: its number could be another
    // process's by then.
    const absl::Status ended = AwaitEnd(*pid);
    if (!ended.ok()) return ended;
  }
  return Reap(*pid);
}

int RunUntil(const UntilArguments& arguments, Environment& e) {
  const StopEvent stop(e.stop);
  const absl::Time deadline = arguments.timeout.has_value()
                                  ? absl::Now() + *arguments.timeout
                                  : absl::InfiniteFuture();
  while (true) {
    // Asked before the command runs, as read_poll_timeout() does: it is run
    // once more after the time is over, so that a slow machine is not a
    // failure.
    const bool expired = absl::Now() >= deadline;
    const absl::StatusOr<int> code = RunOnce(arguments.words, e.stop);
    if (!code.ok()) {
      Report(arguments.words.front(), End{.status = code.status()},
             std::string(code.status().message()));
      return absl::IsNotFound(code.status()) ? kExitNotFound : kExitCannotRun;
    }
    if (*code == 0) return kExitOk;
    if (*code == kExitNotFound || *code == kExitCannotRun) return *code;
    if (StopSignal() != 0) return kExitSignalBase + StopSignal();
    if (expired) {
      return Report(arguments.words.front(), End{.outcome = Outcome::kTimedOut},
                    absl::StrCat("timed out after ",
                                 absl::FormatDuration(*arguments.timeout),
                                 "; it still fails, with ", *code));
    }
    const absl::Duration nap =
        std::min(arguments.every, deadline - absl::Now());
    if (!stop.SleepFor(std::max(nap, absl::ZeroDuration()))) {
      return kExitSignalBase + StopSignal();
    }
  }
}

}  // namespace

void AddUntilCommand(CLI::App& app, Command& command) {
  auto arguments = std::make_shared<UntilArguments>();
  CLI::App* until = app.add_subcommand(
      "until", "Run a command again and again until it succeeds");
  AddParsed(*until, "--every", arguments->every, ParseTimeout,
            "How long to sleep between two runs; 100ms if not given")
      ->type_name("D");
  AddParsed(*until, "--timeout", arguments->timeout, ParseTimeout,
            "How long to try: 200ms 1.5s 2m. It is run once more after that; a "
            "run is not cut off")
      ->type_name("D");
  until->add_option("CMD", arguments->words, "The command, after --")
      ->type_name("")
      ->required();
  until->footer(
      "For what cannot signal: a file, a port, a program of others. Exit 0 "
      "when\n"
      "CMD does; 124 if the time is over; 126 and 127 if CMD cannot be run.\n"
      "Example: waitq until --timeout 30s -- curl -fs http://localhost:8080/");
  until->callback([arguments, &command] {
    command = [arguments](Environment& e) { return RunUntil(*arguments, e); };
  });
}

}  // namespace waitq::cli
