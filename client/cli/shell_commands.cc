// waitq shell-completion, manual; and what completion asks for.

#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "cli/completion.h"
#include "cli/manual.h"
#include "cli/shell_scripts.h"
#include "client/cli/commands.h"

namespace waitq::cli {
namespace {

// Whoever presses Tab does not wait for a server that is away.
constexpr absl::Duration kListPatience = absl::Milliseconds(500);

// The values of options that have few, by what the help calls them.
std::vector<std::string> WordsOf(std::string_view type) {
  if (type == "KIND") return {"queue", "completion", "pipe"};
  if (type == "PROFILE") return {"fifo", "queue", "scull"};
  if (type == "SIGNAL") return {"INT", "TERM", "KILL"};
  if (type == "HOW") return {"withdraw", "break", "count"};
  if (type == "SHELL") return {"bash", "zsh", "fish"};
  return {};
}

// The objects that a command's NAME can be.
bool IsFor(std::string_view command, ObjectKind kind) {
  const auto is_one_of = [&](const std::vector<std::string_view>& commands) {
    for (const std::string_view each : commands) {
      if (command == each) return true;
    }
    return false;
  };
  if (is_one_of({"complete", "await", "reinit"})) {
    return kind == ObjectKind::kCompletion;
  }
  if (is_one_of({"write", "read", "send", "recv", "poll"})) {
    return kind == ObjectKind::kPipe;
  }
  if (is_one_of({"wait", "wake", "get", "store", "run"})) {
    return kind == ObjectKind::kWaitQueue;
  }
  return is_one_of({"ls", "stat", "rm", "ps"});
}

std::vector<ObjectInfo> ObjectsOf(Environment& e, const std::string& prefix) {
  std::stop_source hurry;
  absl::Notification listed;
  std::jthread timer([&] {
    if (!listed.WaitForNotificationWithTimeout(kListPatience)) {
      hurry.request_stop();
    }
  });
  absl::StatusOr<std::vector<ObjectInfo>> objects =
      e.client.List(prefix, hurry.get_token());
  listed.Notify();
  if (!objects.ok()) return {};
  return *std::move(objects);
}

int PrintNames(Environment& e, const std::string& command,
               const std::string& typed) {
  std::string text;
  for (const ObjectInfo& object : ObjectsOf(e, typed)) {
    if (IsFor(command, object.kind))
      absl::StrAppend(&text, object.name, "\t\n");
  }
  return Print(text);
}

}  // namespace

Command CompleteWords(const CLI::App& app,
                      const std::vector<std::string>& words) {
  const Completion completion = Complete(app, words);
  std::string text;
  for (const Candidate& candidate : completion.candidates) {
    absl::StrAppend(&text, candidate.word, "\t", candidate.description, "\n");
  }
  if (const CLI::Option* value = completion.value) {
    const std::string name = value->get_name(/*positional=*/true);
    const std::string type = value->get_type_name();
    if (name == "NAME" || name == "PREFIX" || type == "NAME") {
      return [command = completion.command->get_name(),
              typed = completion.typed](Environment& e) {
        return PrintNames(e, command, typed);
      };
    }
    if (name == "FILE" || name == "CMD") text = absl::StrCat(kFilesWord, "\n");
    for (const std::string& word : WordsOf(type)) {
      if (!absl::StartsWith(word, completion.typed)) continue;
      absl::StrAppend(&text, word, "\t\n");
    }
  }
  return [text](Environment&) { return Print(text); };
}

void AddShellCommands(CLI::App& app, Command& command) {
  CLI::App* completion = app.add_subcommand(
      "shell-completion", "Print what makes a shell complete command lines");
  auto shell = std::make_shared<std::string>();
  completion->add_option("SHELL", *shell, "bash, zsh or fish")
      ->type_name("SHELL")
      ->required();
  completion->footer(
      "Names of objects are asked of the server, for half a second at most.\n"
      "Example: source <(waitq shell-completion bash)");
  completion->callback([shell, &command] {
    absl::StatusOr<std::string> script = CompletionScript(*shell, "waitq");
    if (!script.ok()) {
      throw CLI::ValidationError("SHELL",
                                 std::string(script.status().message()));
    }
    command = [script = *std::move(script)](Environment&) {
      return Print(script);
    };
  });

  CLI::App* manual =
      app.add_subcommand("manual", "Print the manual page, for man");
  manual->footer("Example: waitq manual | man -l -");
  manual->callback([&app, &command] {
    const std::string page = ManualPage(
        app,
        {.section = 1,
         .description =
             {"Wait queues, completions and pipes live in a server, waitqd(8), "
              "by their names. A command that waits sleeps there until what it "
              "waits for has come, its --timeout is over, or a signal ends it; "
              "it takes no more than it says it has taken.",
              "An object is made by its first use, and forgotten when it holds "
              "nothing and nobody uses it; `create` makes one that stays.",
              "Results go to standard output, in lines that are easy to read "
              "for programs or as JSON (--json); what went wrong goes to "
              "standard error, in one line."},
         .see_also = {"waitqd(8)", "waitq-load(1)"}});
    command = [page](Environment&) { return Print(page); };
  });
}

}  // namespace waitq::cli
