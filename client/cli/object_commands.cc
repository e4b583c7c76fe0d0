// waitq create, ls, stat, rm, ps, kill.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/output.h"
#include "client/cli/parse.h"

namespace waitq::cli {
namespace {

struct CreateArguments {
  std::string name;
  ObjectKind kind = ObjectKind::kWaitQueue;
  PipeOptions pipe;
};

absl::StatusOr<CreateResult> Create(const CreateArguments& arguments,
                                    Environment& e) {
  switch (arguments.kind) {
    case ObjectKind::kCompletion:
      return e.client.CreateCompletion(arguments.name, e.stop);
    case ObjectKind::kPipe:
      return e.client.CreatePipe(arguments.name, arguments.pipe, e.stop);
    default:
      return e.client.CreateWaitQueue(arguments.name, e.stop);
  }
}

void AddCreate(CLI::App& app, Command& command) {
  auto arguments = std::make_shared<CreateArguments>();
  CLI::App* create = app.add_subcommand(
      "create", "Make an object that stays until it is removed");
  AddParsed(*create, "NAME", arguments->name, ParseName, "The object")
      ->required();
  AddParsed(*create, "--kind", arguments->kind, ParseKind,
            "queue, completion or pipe")
      ->type_name("KIND")
      ->required();
  AddParsed(*create, "--capacity", arguments->pipe.capacity_bytes, ParseSize,
            "How much the pipe holds; 64KiB if not given")
      ->type_name("BYTES");
  AddParsed(*create, "--atomic-max", arguments->pipe.atomic_max_bytes,
            ParseSize,
            "Up to this size a write is whole or nothing; 4KiB if not given")
      ->type_name("BYTES");
  create->add_flag_callback(
      "--packets", [arguments] { arguments->pipe.mode = PipeMode::kPacket; },
      "Of packets: each write is one, and each read");
  AddParsed(*create, "--profile", arguments->pipe.profile, ParseProfile,
            "fifo (with ends of file), queue (a mailbox, for --packets) or "
            "scull (a ring)")
      ->type_name("PROFILE");
  create->footer(
      "Prints one line: created=yes, or no if it was there already with these\n"
      "options.\n"
      "Example: waitq create jobs --kind pipe --capacity 1MiB");
  create->callback([arguments, &command] {
    const PipeOptions& pipe = arguments->pipe;
    const char* const of_pipes = pipe.capacity_bytes     ? "--capacity"
                                 : pipe.atomic_max_bytes ? "--atomic-max"
                                 : pipe.mode             ? "--packets"
                                 : pipe.profile          ? "--profile"
                                                         : nullptr;
    if (arguments->kind != ObjectKind::kPipe && of_pipes != nullptr) {
      throw CLI::ValidationError(of_pipes, "only a pipe has it (--kind pipe)");
    }
    command = [arguments](Environment& e) {
      absl::StatusOr<CreateResult> result = Create(*arguments, e);
      if (!result.ok()) return Report(arguments->name, result.status());
      return PrintAnswer(e, *result,
                         result->created ? "created=yes\n" : "created=no\n");
    };
  });
}

void AddLs(CLI::App& app, Command& command) {
  auto prefix = std::make_shared<std::string>();
  CLI::App* ls = app.add_subcommand("ls", "List the objects");
  AddParsed(*ls, "PREFIX", *prefix, ParsePrefix,
            "Only those whose names begin so");
  ls->footer("Example: waitq ls build/");
  ls->callback([prefix, &command] {
    command = [prefix](Environment& e) {
      absl::StatusOr<std::vector<ObjectInfo>> objects =
          e.client.List(*prefix, e.stop);
      if (!objects.ok()) return Report(*prefix, objects.status());
      return PrintAnswer(e, *objects, ObjectTable(*objects));
    };
  });
}

void AddStat(CLI::App& app, Command& command) {
  auto name = std::make_shared<std::string>();
  CLI::App* stat = app.add_subcommand("stat", "Show all about an object");
  AddParsed(*stat, "NAME", *name, ParseName, "The object")->required();
  stat->footer("Example: waitq stat jobs --json | jq .object.sleepers");
  stat->callback([name, &command] {
    command = [name](Environment& e) {
      absl::StatusOr<ObjectInfo> object = e.client.Stat(*name, e.stop);
      if (!object.ok()) return Report(*name, object.status());
      return PrintAnswer(e, *object, ObjectText(*object));
    };
  });
}

void AddRm(CLI::App& app, Command& command) {
  struct Arguments {
    std::string name;
    bool force = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* rm = app.add_subcommand(
      "rm", "Remove an object; who sleeps on it ends with an error");
  AddParsed(*rm, "NAME", arguments->name, ParseName, "The object")->required();
  rm->add_flag("--force", arguments->force, "Also a pipe with open writers");
  rm->footer(
      "Prints one line: ended=N, how many sleepers that were.\n"
      "Example: waitq rm jobs --force");
  rm->callback([arguments, &command] {
    command = [arguments](Environment& e) {
      absl::StatusOr<uint64_t> ended =
          e.client.Remove(arguments->name, arguments->force, e.stop);
      if (!ended.ok()) return Report(arguments->name, ended.status());
      return Print(e.json ? JsonOfRemove(*ended) + "\n"
                          : absl::StrCat("ended=", *ended, "\n"));
    };
  });
}

void AddPs(CLI::App& app, Command& command) {
  auto name = std::make_shared<std::string>();
  CLI::App* ps = app.add_subcommand("ps", "List the calls that sleep");
  AddParsed(*ps, "NAME", *name, ParseName, "Only those on this object");
  ps->footer(
      "STATE is S (any signal ends the sleep), K (only TERM and KILL) or D\n"
      "(none), and d behind it if the caller has gone but may come back. PLACE "
      "0\n"
      "is the next in line.\n"
      "Example: waitq ps jobs");
  ps->callback([name, &command] {
    command = [name](Environment& e) {
      absl::StatusOr<std::vector<TaskInfo>> tasks =
          e.client.Tasks(*name, e.stop);
      if (!tasks.ok()) return Report(*name, tasks.status());
      return PrintAnswer(e, *tasks, TaskTable(*tasks));
    };
  });
}

void AddKill(CLI::App& app, Command& command) {
  struct Arguments {
    std::vector<uint64_t> ids;
    TaskSignal signal = TaskSignal::kTerm;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* kill =
      app.add_subcommand("kill", "Send a signal to calls that sleep");
  kill->add_option_function<std::vector<std::string>>(
          "ID",
          [arguments](const std::vector<std::string>& texts) {
            for (const std::string& text : texts) {
              absl::StatusOr<uint64_t> id = ParseTaskId(text);
              if (!id.ok()) {
                throw CLI::ValidationError("ID",
                                           std::string(id.status().message()));
              }
              arguments->ids.push_back(*id);
            }
          },
          "Their ids, as ps shows them")
      ->type_name("")
      ->required();
  AddParsed(*kill, "-s,--signal", arguments->signal, ParseTaskSignal,
            "INT, TERM or KILL; TERM if not given")
      ->type_name("SIGNAL");
  kill->footer(
      "A call that it ends fails with EINTR. Prints one line for each ID:\n"
      "ended=yes, or ended=no if the call does not listen to this signal.\n"
      "Example: waitq kill -s INT 17");
  kill->callback([arguments, &command] {
    command = [arguments](Environment& e) {
      int code = kExitOk;
      for (const uint64_t id : arguments->ids) {
        absl::StatusOr<bool> ended =
            e.client.Signal(id, arguments->signal, e.stop);
        int own;
        if (!ended.ok()) {
          own = Report(absl::StrCat(id), ended.status());
        } else if (e.json) {
          own = Print(JsonOfSignal(*ended) + "\n");
        } else {
          own = Print(*ended ? "ended=yes\n" : "ended=no\n");
        }
        if (code == kExitOk) code = own;
      }
      return code;
    };
  });
}

}  // namespace

void AddObjectCommands(CLI::App& app, Command& command) {
  AddCreate(app, command);
  AddLs(app, command);
  AddStat(app, command);
  AddRm(app, command);
  AddPs(app, command);
  AddKill(app, command);
}

}  // namespace waitq::cli
