#include "load/command_line.h"

#include <algorithm>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/time.h"
#include "cli/manual.h"
#include "client/client.h"
#include "load/scenario.h"

namespace waitq::load {
namespace {

constexpr char kDescription[] =
    "Puts load on a waitqd from any number of hosts, measures it, and checks "
    "that nothing was lost, doubled or out of order.";

constexpr char kFooter[] =
    "Examples:\n"
    "  waitq-load run load/scenarios/wake.load\n"
    "  waitq-load run load/scenarios/queue.load --seconds 30s --plot q.svg\n"
    "  waitq-load run load/scenarios/mixed.load --hosts 3 --server HOST:7411\n"
    "      on each of three machines: they start together, and host 0 reports\n"
    "  waitq-load keys        what a scenario may say\n"
    "Exit codes: 0 all checks passed and all bounds kept, 1 not so, or no "
    "server,\n"
    "or another host failed; 2 bad arguments or scenario; 130 Ctrl-C (143: "
    "TERM).";

constexpr char kKeysHelp[] =
    "A scenario is a text file of lines KEY = VALUE, or KEY VALUE; what "
    "follows "
    "a # is\nfor people. `kind` says what is done; times are written 500ms, "
    "2s, "
    "1m30s, sizes also\n64KiB, 1MiB. Besides:\n\n"
    "  require [SERIES.]METRIC <= VALUE    (or >=; as often as you like)\n"
    "             a bound: the run fails if it is missed. METRIC is p50 p90 "
    "p99 "
    "p99.9 max\n             mean, whose VALUE is a time, or rate "
    "(operations/s) "
    "bytes operations. SERIES\n             is a line of the table; without "
    "it, "
    "the first one.\n\n";

constexpr size_t kRunBytesMax = 100;

std::string KeysText() {
  std::string kinds = "Kinds:";
  for (const Kind kind : kKinds) absl::StrAppend(&kinds, " ", NameOf(kind));
  return absl::StrCat(kKeysHelp, kinds,
                      "\nKeys, and the kinds that have them:\n",
                      DescribeKeys());
}

bool IsRunName(const std::string& name) {
  return !name.empty() && name.size() <= kRunBytesMax &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-';
         });
}

struct Given {
  std::string scenario;
  std::string seconds;
};

void AddRun(CLI::App& app, CommandLine& line, Given& given) {
  CLI::App* run = app.add_subcommand(
      "run",
      "Runs a scenario. Started on N hosts with the same arguments and --hosts "
      "N, it is one run of all.");
  run->add_option("SCENARIO", given.scenario, "The scenario's file")
      ->required();
  run->add_option("--server", line.run.server,
                  "The server: HOST:PORT, [IPV6]:PORT or unix:PATH")
      ->type_name("ADDR")
      ->envname("WAITQ_SERVER")
      ->capture_default_str();
  run->add_option(
         "--hosts", line.run.hosts,
         "How many programs make up the run; each waits for the others")
      ->type_name("N")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  run->add_option("--host", line.run.host,
                  "Which of them this is, 0 to N-1; 0 reports. Not given: "
                  "whichever is free. All give it, or none")
      ->type_name("I")
      ->check(CLI::Range(0, 999));
  run->add_option("--run", line.run.run,
                  "What the hosts of this run know each other by, and what the "
                  "names of its objects on the server begin with; not given: "
                  "waitq-load.SCENARIO")
      ->type_name("NAME");
  run->add_option("--seconds", given.seconds,
                  "How long it measures: 30 or 30s or 5m; not given: as the "
                  "scenario says")
      ->type_name("S");
  run->add_option("--json", line.json,
                  "Write the result as one line of JSON; - is standard output, "
                  "in place of the table")
      ->type_name("FILE");
  run->add_option("--plot", line.plot,
                  "Draw latency by percentile and throughput over time, as SVG")
      ->type_name("FILE");
  run->add_flag("--quiet,-q", line.run.quiet,
                "No line each second on standard error");
}

absl::Status SetSeconds(std::string text, Scenario& scenario) {
  if (!text.empty() && absl::ascii_isdigit(text.back())) text += "s";
  if (!absl::ParseDuration(text, &scenario.seconds) ||
      scenario.seconds < absl::Milliseconds(100) ||
      scenario.seconds > absl::Hours(24)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--seconds: '", absl::CHexEscape(text),
                     "' is no time (accepted: 100ms to 24h)"));
  }
  return absl::OkStatus();
}

absl::Status Complete(const Given& given, CommandLine& line) {
  absl::StatusOr<Scenario> scenario = ReadScenario(given.scenario);
  if (!scenario.ok()) return scenario.status();
  line.run.scenario = *std::move(scenario);
  if (!given.seconds.empty()) {
    absl::Status set = SetSeconds(given.seconds, line.run.scenario);
    if (!set.ok()) return set;
  }
  if (line.run.run.empty()) {
    line.run.run = "waitq-load." + line.run.scenario.name;
  }
  if (!IsRunName(line.run.run)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--run: '", absl::CHexEscape(line.run.run),
        "' is no name (accepted: 1 to 100 bytes of A-Z a-z 0-9 . _ -)"));
  }
  if (line.run.host >= line.run.hosts) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--host: there is no host ", line.run.host, " of ", line.run.hosts,
        " (accepted: 0 to ", line.run.hosts - 1, ")"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CommandLine> ParseCommandLine(
    std::vector<std::string> arguments) {
  CommandLine line;
  line.run.server = kDefaultServer;
  Given given;
  CLI::App app(kDescription, "waitq-load");
  app.footer(kFooter);
  app.require_subcommand(1);
  AddRun(app, line, given);
  CLI::App* keys = app.add_subcommand(
      "keys", "Lists what a scenario may say: keys, units, ranges, defaults.");
  keys->footer(KeysText());
  const CLI::App* manual =
      app.add_subcommand("manual", "Prints the manual page, for man.");
  try {
    // CLI11 takes them from the back.
    std::reverse(arguments.begin(), arguments.end());
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    line.help = app.help();
    return line;
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(
        absl::StrReplaceAll(error.what(), {{"\n", " "}}));
  }
  if (keys->parsed()) {
    line.help = KeysText();
    return line;
  }
  if (manual->parsed()) {
    line.help = cli::ManualPage(
        app,
        {.description =
             {"The programs of a run find each other on the server itself: "
              "they start together through a barrier there, take shares of "
              "the work, and send their results to host 0 through a pipe.",
              "With a rate, latency counts from when an operation was due, so "
              "that a stall is not hidden; without one, the next begins when "
              "one ends."},
         .see_also = {"waitq(1)", "waitqd(8)"}});
    return line;
  }
  if (absl::Status status = Complete(given, line); !status.ok()) return status;
  return line;
}

}  // namespace waitq::load
