#include "tests/support/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "absl/strings/str_cat.h"

namespace waitq::test {
namespace {

constexpr std::chrono::milliseconds kPollInterval(2);

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "%s: %s\n", what.c_str(), std::strerror(errno));
  std::abort();
}

int OpenOrDie(const std::string& path, int flags) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC, 0600);
  if (fd < 0) Die(absl::StrCat("open ", path));
  return fd;
}

int MemoryFile(const char* name) {
  const int fd = memfd_create(name, MFD_CLOEXEC);
  if (fd < 0) Die("memfd_create");
  return fd;
}

std::string Contents(int fd) {
  std::string contents;
  char buffer[4096];
  ssize_t got;
  while ((got = pread(fd, buffer, sizeof buffer,
                      static_cast<off_t>(contents.size()))) > 0) {
    contents.append(buffer, static_cast<size_t>(got));
  }
  return contents;
}

// The environment of this test, the additions in place of what they replace.
std::vector<std::string> Environment(const ProcessOptions& options) {
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    environment.emplace_back(*entry);
  }
  for (const auto& [name, value] : options.environment) {
    const std::string start = absl::StrCat(name, "=");
    std::erase_if(environment, [&start](const std::string& entry) {
      return entry.starts_with(start);
    });
    environment.push_back(start + value);
  }
  return environment;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& string : strings) pointers.push_back(string.data());
  pointers.push_back(nullptr);
  return pointers;
}

// The child, between fork and exec. The test may have threads: only functions
// that are safe in a signal handler.
[[noreturn]] void Become(char* const* arguments, char* const* environment,
                         int input, int output, int errors) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGPIPE, SIG_DFL);  // as a shell would start it
  dup2(input, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(errors, STDERR_FILENO);
  execvpe(arguments[0], arguments, environment);
  constexpr char kMessage[] = "cannot execute the program\n";
  [[maybe_unused]] const ssize_t ignored =
      write(STDERR_FILENO, kMessage, sizeof kMessage - 1);
  _exit(127);
}

// A line of /proc/PID/status, as "Threads:", in its own unit.
int64_t StatusField(pid_t pid, std::string_view field) {
  std::ifstream status(absl::StrCat("/proc/", pid, "/status"));
  std::string name;
  int64_t value = 0;
  for (std::string line; std::getline(status, line);) {
    std::istringstream words(line);
    if (words >> name && name == field && words >> value) return value;
  }
  return 0;
}

}  // namespace

bool Await(const std::function<bool()>& state, absl::Duration bound) {
  // Not absl::Now(), which somebody may set.
  const auto end =
      std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(bound);
  while (!state()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(kPollInterval);
  }
  return true;
}

Process::Process(const std::vector<std::string>& command,
                 const ProcessOptions& options) {
  int input = -1;
  if (options.input_pipe) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) Die("pipe2");
    input = ends[0];
    input_ = ends[1];
    signal(SIGPIPE, SIG_IGN);  // WriteInput() reports it instead
  } else {
    input =
        OpenOrDie(options.input_file.empty() ? "/dev/null" : options.input_file,
                  O_RDONLY);
  }
  int output_file = -1;
  if (options.output_file.empty()) {
    output_ = MemoryFile("output");
  } else {
    output_file = OpenOrDie(options.output_file, O_WRONLY | O_CREAT | O_TRUNC);
  }
  errors_ = MemoryFile("errors");

  std::vector<std::string> words = command;
  std::vector<std::string> environment = Environment(options);
  const std::vector<char*> word_pointers = Pointers(words);
  const std::vector<char*> environment_pointers = Pointers(environment);
  pid_ = fork();
  if (pid_ < 0) Die("fork");
  if (pid_ == 0) {
    Become(word_pointers.data(), environment_pointers.data(), input,
           output_file >= 0 ? output_file : output_, errors_);
  }
  setpgid(pid_, pid_);  // whoever of the two is first
  close(input);
  if (output_file >= 0) close(output_file);
}

Process::~Process() {
  if (IsRunning()) {
    kill(-pid_, SIGKILL);
    Reap(/*block=*/true);
  } else {
    kill(-pid_, SIGKILL);  // what the program itself left behind
  }
  CloseInput();
  if (output_ >= 0) close(output_);
  close(errors_);
}

void Process::Reap(bool block) {
  if (exit_code_.has_value()) return;
  int status = 0;
  pid_t got;
  do {
    got = waitpid(pid_, &status, block ? 0 : WNOHANG);
  } while (got < 0 && errno == EINTR);
  if (got < 0) Die("waitpid");
  if (got == 0) return;
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool Process::IsRunning() {
  Reap(/*block=*/false);
  return !exit_code_.has_value();
}

std::optional<int> Process::WaitFor(absl::Duration bound) {
  Await([this] { return !IsRunning(); }, bound);
  return exit_code_;
}

void Process::Signal(int signal) {
  // A process that has been waited for has no number any more.
  if (IsRunning()) kill(pid_, signal);
}

bool Process::WriteInput(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(input_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

void Process::CloseInput() {
  if (input_ >= 0) close(input_);
  input_ = -1;
}

std::string Process::Output() const {
  return output_ >= 0 ? Contents(output_) : std::string();
}

std::string Process::Errors() const { return Contents(errors_); }

std::optional<std::string> Process::AwaitLine(std::string_view text,
                                              absl::Duration bound) {
  std::optional<std::string> found;
  Await(
      [&] {
        const bool is_running = IsRunning();  // before the output is read
        std::istringstream lines(Output());
        // A last line without its newline may still grow.
        for (std::string line; std::getline(lines, line) && !lines.eof();) {
          if (line.find(text) == std::string::npos) continue;
          found = line;
          return true;
        }
        return !is_running;
      },
      bound);
  return found;
}

ProcessFigures FiguresOf(pid_t pid) {
  ProcessFigures figures;
  figures.threads = static_cast<int>(StatusField(pid, "Threads:"));
  figures.resident_kib = StatusField(pid, "VmRSS:");
  figures.peak_resident_kib = StatusField(pid, "VmHWM:");
  std::error_code error;
  for (const auto& thread : std::filesystem::directory_iterator(
           absl::StrCat("/proc/", pid, "/task"), error)) {
    // The first number: nanoseconds on a processor.
    std::ifstream schedstat(thread.path() / "schedstat");
    int64_t nanoseconds = 0;
    if (schedstat >> nanoseconds) {
      figures.cpu_time += absl::Nanoseconds(nanoseconds);
    }
  }
  return figures;
}

void ResetPeak(pid_t pid) {
  std::ofstream(absl::StrCat("/proc/", pid, "/clear_refs")) << "5";
}

std::string BuiltProgram(std::string_view path) {
  // A test starts in the folder of its runfiles, where data files have the
  // names that they have in the workspace.
  std::error_code error;
  return std::filesystem::absolute(std::filesystem::path(path), error).string();
}

TemporaryFolder::TemporaryFolder() {
  std::string name = "/tmp/waitq-test.XXXXXX";
  if (mkdtemp(name.data()) == nullptr) Die("mkdtemp");
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

std::string TemporaryFolder::Path(std::string_view name) const {
  return (std::filesystem::path(path_) / name).string();
}

}  // namespace waitq::test
