// waitq write, read.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/file_io.h"
#include "client/cli/output.h"
#include "client/cli/parse.h"
#include "client/cli/progress.h"
#include "client/cli/signals.h"

namespace waitq::cli {
namespace {

constexpr size_t kBufferBytes = 64 << 10;

struct WriteArguments {
  std::string name;
  std::string file;
  OpenWriterOptions options;
  bool quiet = false;
};

// What is left to read of `fd`, if it is a file whose size is known.
uint64_t SizeLeft(int fd) {
  struct stat info;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) return 0;
  const off_t position = lseek(fd, 0, SEEK_CUR);
  return position < 0 || position > info.st_size
             ? 0
             : static_cast<uint64_t>(info.st_size - position);
}

// Copies `fd` into the pipe. `read_bytes` counts what was read.
absl::StatusOr<Outcome> WriteFile(int fd, PipeWriter& writer,
                                  const StopEvent& stop, Progress& progress,
                                  uint64_t& read_bytes) {
  const auto buffer = std::make_unique<char[]>(kBufferBytes);
  while (true) {
    absl::StatusOr<size_t> bytes =
        ReadSome(fd, buffer.get(), kBufferBytes, stop);
    // Not closed, so that readers learn that something is missing.
    if (!bytes.ok()) return bytes.status();
    if (*bytes == 0) return writer.Close();
    read_bytes += *bytes;
    progress.BeginBlocking();
    absl::StatusOr<Outcome> sent =
        writer.Write(std::string_view(buffer.get(), *bytes));
    progress.EndBlocking();
    progress.Add(*bytes);
    if (!sent.ok() || *sent != Outcome::kDone) return sent;
  }
}

// The file to read, "-" being standard input. Not a directory, which can be
// opened but not read: then no pipe should have been opened for it.
absl::StatusOr<int> OpenInput(const std::string& file) {
  const int fd =
      file == "-" ? STDIN_FILENO : open(file.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat info;
  const bool known = fd >= 0 && fstat(fd, &info) == 0;
  if (known && !S_ISDIR(info.st_mode)) return fd;
  return absl::InvalidArgumentError(absl::StrCat(
      "cannot read the file: ", std::strerror(known ? EISDIR : errno)));
}

int RunWrite(const WriteArguments& arguments, Environment& environment) {
  const absl::StatusOr<int> input = OpenInput(arguments.file);
  if (!input.ok()) return Report(arguments.file, input.status());
  const int fd = *input;
  const uint64_t size = SizeLeft(fd);
  absl::StatusOr<std::unique_ptr<PipeWriter>> writer =
      environment.client.OpenWriter(arguments.name, arguments.options,
                                    environment.stop);
  if (!writer.ok()) return Report(arguments.name, writer.status());

  uint64_t read_bytes = 0;
  const StopEvent stop(environment.stop);
  absl::StatusOr<Outcome> result;
  {
    Progress progress(!arguments.quiet && CanShowProgress(fd));
    result = WriteFile(fd, **writer, stop, progress, read_bytes);
  }
  if (environment.json && result.ok()) {
    const std::string line = JsonOfWriter(*result, **writer) + "\n";
    if (const int code = Print(line); code != kExitOk) return code;
  }
  const uint64_t accepted = (*writer)->accepted_bytes();
  writer->reset();

  End end{.status = result.status(), .stop_signal = StopSignal()};
  if (result.ok()) end.outcome = *result;
  if (end.status.ok() && end.outcome == Outcome::kDone) {
    if (accepted == read_bytes) return kExitOk;
    end.status = absl::DataLossError("the server closed the pipe too early");
  }
  const std::string why =
      end.status.ok()
          ? OutcomeText(end.outcome, false, arguments.options.timeout)
          : ErrorText(arguments.name, end.status);
  return Report(arguments.name, end,
                absl::StrCat("wrote ", accepted, " of ",
                             std::max(read_bytes, size), " bytes: ", why));
}

void AddWrite(CLI::App& app, Command& command) {
  auto arguments = std::make_shared<WriteArguments>();
  CLI::App* write = app.add_subcommand(
      "write", "Write a file, or standard input, into a pipe");
  AddParsed(*write, "NAME", arguments->name, ParseName, "The pipe")->required();
  arguments->file = "-";
  write->add_option("FILE", arguments->file, "Standard input if not given")
      ->type_name("");
  AddParsed(*write, "--timeout", arguments->options.timeout, ParseTimeout,
            "How long to sleep for room at most, each time: 200ms 1.5s 2m")
      ->type_name("D");
  write->add_flag("--nonblock", arguments->options.nonblock,
                  "Do not sleep: exit 11 instead");
  write->add_flag_callback(
      "--uninterruptible",
      [arguments] { arguments->options.sleep = Sleep::kUninterruptible; },
      "No signal to the sleep ends it, and what was sent is written though "
      "this program dies");
  write->add_flag("--quiet", arguments->quiet,
                  "Show no progress, which a terminal is shown otherwise");
  write->footer(
      "Ends the file when the input ends; a write that is cut short leaves a\n"
      "broken end, and says `wrote N of M bytes`.\n"
      "Example: tar c . | waitq write backup");
  write->callback([arguments, &command] {
    command = [arguments](Environment& e) { return RunWrite(*arguments, e); };
  });
}

struct ReadArguments {
  std::string name;
  OpenReaderOptions options;
  bool quiet = false;
};

int RunRead(const ReadArguments& arguments, Environment& environment) {
  absl::StatusOr<std::unique_ptr<PipeReader>> reader =
      environment.client.OpenReader(arguments.name, arguments.options,
                                    environment.stop);
  if (!reader.ok()) return Report(arguments.name, reader.status());
  const StopEvent stop(environment.stop);
  std::optional<Progress> progress(
      std::in_place, !arguments.quiet && CanShowProgress(STDOUT_FILENO));
  while (true) {
    progress->BeginBlocking();
    absl::StatusOr<PipeChunk> chunk = (*reader)->Read();
    progress->EndBlocking();
    if (chunk.ok()) progress->Add(chunk->data.size());
    if (!chunk.ok() || chunk->end.has_value()) progress.reset();
    if (!chunk.ok()) return Report(arguments.name, chunk.status());
    if (chunk->end.has_value()) {
      const End end{.outcome = *chunk->end, .broken = chunk->broken};
      const std::string what =
          ExitCode(end) == kExitOk
              ? ""
              : OutcomeText(end.outcome, end.broken, arguments.options.timeout);
      return ReportAnswer(environment, arguments.name, *chunk, end, what);
    }
    absl::Status written =
        WriteAll(STDOUT_FILENO,
                 environment.json ? Json(*chunk) + "\n" : chunk->data, stop);
    if (written.ok()) continue;
    const End end{.status = written, .stop_signal = StopSignal()};
    // Quietly, as other tools whose reader has had enough.
    if (ExitCode(end) == kExitSignalBase + SIGPIPE) return ExitCode(end);
    return Report(arguments.name, end);
  }
}

void AddRead(CLI::App& app, Command& command) {
  auto arguments = std::make_shared<ReadArguments>();
  CLI::App* read = app.add_subcommand(
      "read", "Read a pipe to standard output, until its end of file");
  AddParsed(*read, "NAME", arguments->name, ParseName, "The pipe")->required();
  AddParsed(*read, "--max", arguments->options.max_bytes, ParseSize,
            "Read so many bytes in all: 4096 64KiB 1MiB")
      ->type_name("BYTES");
  AddParsed(*read, "--timeout", arguments->options.timeout, ParseTimeout,
            "How long to sleep for data at most, each time: 200ms 1.5s 2m")
      ->type_name("D");
  read->add_flag("--nonblock", arguments->options.nonblock,
                 "Do not sleep: exit 11 instead");
  read->add_flag("--quiet", arguments->quiet,
                 "Show no progress, which a terminal is shown otherwise");
  read->footer(
      "Exit 1 if a writer went away without closing: the file is broken.\n"
      "Example: waitq read backup | tar x");
  read->callback([arguments, &command] {
    command = [arguments](Environment& e) { return RunRead(*arguments, e); };
  });
}

}  // namespace

void AddPipeCommands(CLI::App& app, Command& command) {
  AddWrite(app, command);
  AddRead(app, command);
}

}  // namespace waitq::cli
