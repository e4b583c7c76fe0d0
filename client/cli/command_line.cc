#include "client/cli/command_line.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "cli/completion.h"
#include "cli/shell_scripts.h"
#include "client/cli/parse.h"
#include "client/client.h"

namespace waitq::cli {
namespace {

constexpr char kFooter[] =
    "Examples:\n"
    "  waitq wait flag --until ==1 --then set:0    sleep until the flag is up\n"
    "  waitq wake flag --set 1                     raise it, wake one\n"
    "  waitq write p big.iso                       a file into a pipe\n"
    "  waitq read p > copy                         and out of it\n"
    "  seq 9 | waitq send jobs                     a job queue: put in\n"
    "  waitq recv jobs --follow                    and take out\n"
    "  waitq run --lock backup -- rsync ...        one at a time, anywhere\n"
    "  waitq ps                                    who sleeps\n"
    "Exit codes: 0 done, 1 failed, 2 bad arguments, 11 would block, 124 timed\n"
    "out, 128+N stopped by signal N (130: Ctrl-C), 141 no readers.";

absl::Status NoCommand(CLI::App& app) {
  std::string names;
  for (const CLI::App* command : app.get_subcommands(/*filter=*/nullptr)) {
    absl::StrAppend(&names, names.empty() ? "" : " ", command->get_name());
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", absl::CHexEscape(app.remaining().front()),
                   "' is not a command or option (accepted: ", names, ")"));
}

// Of a command line that is not complete.
std::string ServerOf(const CLI::App& app,
                     const std::vector<std::string>& words) {
  const std::string given = ValueOf(app, words, "--server");
  if (!given.empty()) return given;
  const char* set = getenv("WAITQ_SERVER");
  return set != nullptr && *set != '\0' ? set : kDefaultServer;
}

}  // namespace

absl::StatusOr<CommandLine> ParseCommandLine(
    std::vector<std::string> arguments) {
  CommandLine line{.server = kDefaultServer,
                   .grace = ClientOptions().grace,
                   .command = {},
                   .json = false,
                   .help = {}};
  CLI::App app("Linux's sleeping and waking between machines.", "waitq");
  app.footer(kFooter);
  // Options of `waitq` itself may also follow the command.
  app.fallthrough();
  app.require_subcommand(1);
  app.add_option("--server", line.server,
                 "The server: HOST:PORT, [IPV6]:PORT or unix:PATH")
      ->type_name("ADDR")
      ->envname("WAITQ_SERVER")
      ->capture_default_str();
  AddParsed(app, "--grace", line.grace, ParseTimeout,
            "How long the server keeps what this program has under way when it "
            "loses the connection, or dies: 30s if not given")
      ->type_name("D")
      ->envname("WAITQ_GRACE");
  app.add_flag("--json", line.json,
               "Print the server's answer, in protobuf's JSON mapping, one "
               "line for each");
  AddWaitQueueCommands(app, line.command);
  AddCompletionCommands(app, line.command);
  AddAnyCommand(app, line.command);
  AddPipeCommands(app, line.command);
  AddMessageCommands(app, line.command);
  AddObjectCommands(app, line.command);
  AddKitCommands(app, line.command);
  AddUntilCommand(app, line.command);
  AddShellCommands(app, line.command);
  if (!arguments.empty() && arguments.front() == kCompleteCommand) {
    arguments.erase(arguments.begin());
    line.server = ServerOf(app, arguments);
    line.command = CompleteWords(app, arguments);
    return line;
  }
  try {
    // CLI11 takes them from the back.
    std::reverse(arguments.begin(), arguments.end());
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    line.command = nullptr;
    line.help = app.help();
  } catch (const CLI::ParseError& error) {
    if (app.get_subcommands().empty() && !app.remaining().empty()) {
      return NoCommand(app);
    }
    return absl::InvalidArgumentError(
        absl::StrReplaceAll(error.what(), {{"\n", " "}}));
  }
  return line;
}

}  // namespace waitq::cli
