// waitq send, recv, poll: pipes of packets, and looking at pipes.

#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/file_io.h"
#include "client/cli/output.h"
#include "client/cli/parse.h"
#include "client/cli/signals.h"

namespace waitq::cli {
namespace {

constexpr size_t kBufferBytes = 64 << 10;
// Of one packet: what one answer carries.
constexpr uint64_t kPacketBytesMax = (4 << 20) - 1024;

// How long a packet may be on its way to standard output.
constexpr absl::Duration kHold = absl::Seconds(30);

const PipeOptions kPackets{.mode = PipeMode::kPacket};

// --- send --------------------------------------------------------------------

struct SendArguments {
  std::string name;
  std::vector<std::string> texts;
  bool raw = false;
  WriteOptions options;
};

// Sends one packet; the exit code.
int Send(const SendArguments& arguments, std::string_view packet,
         Environment& e) {
  if (packet.empty()) {
    return Report(arguments.name,
                  absl::InvalidArgumentError("there are no empty packets"));
  }
  const absl::StatusOr<WriteResult> result =
      e.client.Write(arguments.name, packet, arguments.options, e.stop);
  if (!result.ok()) return Report(arguments.name, result.status());
  if (result->outcome == Outcome::kDone) {
    return e.json ? Print(Json(*result) + "\n") : kExitOk;
  }
  return ReportAnswer(
      e, arguments.name, *result, End{.outcome = result->outcome},
      OutcomeText(result->outcome, false, arguments.options.timeout));
}

// Sends what comes from standard input: each line as it comes, or all of it.
int SendInput(const SendArguments& arguments, Environment& e) {
  const StopEvent stop(e.stop);
  const auto buffer = std::make_unique<char[]>(kBufferBytes);
  std::string pending;
  while (true) {
    const absl::StatusOr<size_t> bytes =
        ReadSome(STDIN_FILENO, buffer.get(), kBufferBytes, stop);
    if (!bytes.ok()) return Report(arguments.name, bytes.status());
    if (*bytes == 0) break;
    pending.append(buffer.get(), *bytes);
    if (arguments.raw) continue;
    size_t begin = 0;
    for (size_t end; (end = pending.find('\n', begin)) != std::string::npos;
         begin = end + 1) {
      const std::string_view line(pending.data() + begin, end - begin);
      if (line.empty()) continue;  // there are no empty packets
      if (const int code = Send(arguments, line, e); code != kExitOk) {
        return code;
      }
    }
    pending.erase(0, begin);
  }
  return pending.empty() ? kExitOk : Send(arguments, pending, e);
}

void AddSend(CLI::App& app, Command& command) {
  auto arguments = std::make_shared<SendArguments>();
  arguments->options.pipe = kPackets;
  CLI::App* send =
      app.add_subcommand("send", "Put packets into a queue for `recv`");
  AddParsed(*send, "NAME", arguments->name, ParseName,
            "The pipe; made as a queue of packets if it is not there")
      ->required();
  auto* texts = send->add_option("TEXT", arguments->texts,
                                 "Packets; if not given, each line of "
                                 "standard input is one")
                    ->type_name("");
  send->add_flag("--raw", arguments->raw,
                 "All of standard input is one packet, byte by byte")
      ->excludes(texts);
  send->add_flag_callback(
      "--uninterruptible",
      [arguments] { arguments->options.sleep = Sleep::kUninterruptible; },
      "No signal ends the sleep, and the packet is sent though this program "
      "dies");
  AddParsed(*send, "--timeout", arguments->options.timeout, ParseTimeout,
            "How long to sleep for room at most, each time: 200ms 1.5s 2m")
      ->type_name("D");
  send->add_flag("--nonblock", arguments->options.nonblock,
                 "Do not sleep: exit 11 instead");
  send->footer(
      "Empty lines are left out: there are no empty packets.\n"
      "Example: seq 100 | waitq send jobs");
  send->callback([arguments, &command] {
    command = [arguments](Environment& e) {
      if (arguments->texts.empty()) return SendInput(*arguments, e);
      for (const std::string& text : arguments->texts) {
        if (const int code = Send(*arguments, text, e); code != kExitOk) {
          return code;
        }
      }
      return kExitOk;
    };
  });
}

// --- recv --------------------------------------------------------------------

struct RecvArguments {
  std::string name;
  uint32_t count = 1;
  bool follow = false;
  bool raw = false;
  ReadOptions options;
};

// Prints a packet, which then is accepted; one that cannot be printed is put
// back for others. The exit code.
int PrintPacket(const RecvArguments& arguments, ReadResult& packet,
                const StopEvent& stop, Environment& e) {
  std::string line = e.json ? Json(packet) : std::move(packet.data);
  if (e.json || !arguments.raw) line += '\n';
  const absl::Status written = WriteAll(STDOUT_FILENO, line, stop);
  if (!written.ok()) {
    // Not with the stop token: it may be why.
    (void)e.client.Release(arguments.name, packet.hold_id);
    const End end{.status = written, .stop_signal = StopSignal()};
    // Quietly, as other tools whose reader has had enough.
    if (ExitCode(end) == kExitSignalBase + SIGPIPE) return ExitCode(end);
    return Report(arguments.name, end);
  }
  const absl::Status accepted = e.client.Accept(arguments.name, packet.hold_id);
  return accepted.ok() ? kExitOk : Report(arguments.name, accepted);
}

// One call for each packet, which is held until it is printed: should this
// program die before, it comes again.
int RunRecv(const RecvArguments& arguments, Environment& e) {
  const StopEvent stop(e.stop);
  for (uint32_t i = 0; arguments.follow || i < arguments.count; ++i) {
    absl::StatusOr<ReadResult> result =
        e.client.Read(arguments.name, arguments.options, e.stop);
    if (!result.ok()) return Report(arguments.name, result.status());
    if (result->outcome != Outcome::kDone) {
      const End end{.outcome = result->outcome, .broken = result->broken};
      const std::string what =
          ExitCode(end) == kExitOk
              ? ""
              : OutcomeText(end.outcome, end.broken, arguments.options.timeout);
      return ReportAnswer(e, arguments.name, *result, end, what);
    }
    const int code = PrintPacket(arguments, *result, stop, e);
    if (code != kExitOk) return code;
  }
  return kExitOk;
}

void AddRecv(CLI::App& app, Command& command) {
  auto arguments = std::make_shared<RecvArguments>();
  arguments->options.pipe = kPackets;
  arguments->options.max_bytes = kPacketBytesMax;
  arguments->options.hold = kHold;
  CLI::App* recv =
      app.add_subcommand("recv", "Take packets out of a queue, a line each");
  AddParsed(*recv, "NAME", arguments->name, ParseName,
            "The pipe; made as a queue of packets if it is not there")
      ->required();
  auto* count = AddParsed(*recv, "--count", arguments->count, ParseCount,
                          "How many; 1 if not given")
                    ->type_name("N");
  recv->add_flag("--follow", arguments->follow, "One after the other, for ever")
      ->excludes(count);
  recv->add_flag("--raw", arguments->raw, "Without an end of line after each");
  AddParsed(*recv, "--timeout", arguments->options.timeout, ParseTimeout,
            "How long to sleep at most, each time: 200ms 1.5s 2m")
      ->type_name("D");
  recv->add_flag("--nonblock", arguments->options.nonblock,
                 "Do not sleep: exit 11 instead");
  recv->footer(
      "Who calls first is served first, and each packet goes to one. One that\n"
      "was not printed, because this program died, comes again after 30 s.\n"
      "Example: waitq recv jobs --follow | while read -r job; do ...; done");
  recv->callback([arguments, &command] {
    command = [arguments](Environment& e) { return RunRecv(*arguments, e); };
  });
}

// --- poll --------------------------------------------------------------------

struct PollArguments {
  std::string name;
  PollOptions options;
};

int RunPoll(const PollArguments& arguments, Environment& e) {
  const absl::StatusOr<PollResult> result =
      e.client.Poll(arguments.name, arguments.options, e.stop);
  if (!result.ok()) return Report(arguments.name, result.status());
  if (result->outcome == Outcome::kDone) {
    return PrintAnswer(e, *result, PollLine(*result) + "\n");
  }
  return ReportAnswer(
      e, arguments.name, *result, End{.outcome = result->outcome},
      OutcomeText(result->outcome, false, arguments.options.timeout) +
          TimingText(result->timing));
}

void AddPoll(CLI::App& app, Command& command) {
  auto arguments = std::make_shared<PollArguments>();
  CLI::App* poll = app.add_subcommand(
      "poll", "Sleep until something can be done with a pipe");
  AddParsed(*poll, "NAME", arguments->name, ParseName, "The pipe")->required();
  poll->add_flag("--in", arguments->options.in, "Something can be read");
  poll->add_flag("--out", arguments->options.out, "Something can be written");
  AddParsed(*poll, "--timeout", arguments->options.timeout, ParseTimeout,
            "How long to sleep at most: 200ms 1.5s 2m")
      ->type_name("D");
  poll->add_flag("--timing", arguments->options.want_timing,
                 "Also print where the time went, as the server saw it");
  poll->add_flag("--nonblock", arguments->options.nonblock,
                 "Do not sleep: exit 11 instead");
  poll->footer(
      "Prints what there is: in, out, hup (the writers have gone), err (the\n"
      "readers have); the last two always count. Takes nothing.\n"
      "Example: waitq poll jobs --in && waitq recv jobs --nonblock");
  poll->callback([arguments, &command] {
    command = [arguments](Environment& e) { return RunPoll(*arguments, e); };
  });
}

}  // namespace

void AddMessageCommands(CLI::App& app, Command& command) {
  AddSend(app, command);
  AddRecv(app, command);
  AddPoll(app, command);
}

}  // namespace waitq::cli
