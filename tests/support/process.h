// Other programs, run by a test: started, watched, signalled, and gone with it.

#ifndef WAITQ_TESTS_SUPPORT_PROCESS_H_
#define WAITQ_TESTS_SUPPORT_PROCESS_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace waitq::test {

// How long a test waits for something that is sure to come. Generous: it is
// only ever used up by a failure, and machines may be slow.
inline constexpr absl::Duration kBound = absl::Seconds(60);

// Asks `state` again and again until it is true; false if `bound` passes first.
bool Await(const std::function<bool()>& state, absl::Duration bound = kBound);

struct ProcessOptions {
  // What the program reads: this file, or a pipe that WriteInput() feeds, or
  // else /dev/null.
  std::string input_file = {};
  bool input_pipe = false;
  // Where its standard output goes; otherwise into memory, for Output().
  std::string output_file = {};
  // Added to the environment of the test.
  std::vector<std::pair<std::string, std::string>> environment = {};
};

// One child process, in a process group of its own.
//
// Ownership: destruction kills what still runs, the group with it, and waits
//   for the child; should the test itself be killed, the kernel kills the
//   child.
// Thread safety: none.
// Blocking: only WaitFor and AwaitLine, up to their bounds.
// Errors: a test that cannot start a program dies with a message. A program
//   that cannot be executed ends with 127, as in a shell.
class Process {
 public:
  explicit Process(const std::vector<std::string>& command,
                   const ProcessOptions& options = {});
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }

  // False once the program has ended.
  bool IsRunning();

  // Waits for the end. Gives the exit code, 128 + N if signal N ended it;
  // nothing if it runs on after `bound`.
  std::optional<int> WaitFor(absl::Duration bound = kBound);

  void Signal(int signal);

  // Both only with `input_pipe`. False if the program no longer reads.
  bool WriteInput(std::string_view bytes);
  void CloseInput();

  // What it has written so far. Output() is empty with an `output_file`.
  std::string Output() const;
  std::string Errors() const;

  // Waits until the standard output has a whole line that contains `text` and
  // gives that line; nothing if the program ends or `bound` passes before.
  std::optional<std::string> AwaitLine(std::string_view text,
                                       absl::Duration bound = kBound);

 private:
  void Reap(bool block);

  pid_t pid_ = -1;
  std::optional<int> exit_code_;
  // The memory files behind standard output (-1 with an output_file) and
  // standard error: no pipe that could fill up, no thread to empty it.
  int output_ = -1;
  int errors_ = -1;
  int input_ = -1;
};

// What the kernel says about a running process.
struct ProcessFigures {
  int threads = 0;
  int64_t resident_kib = 0;
  int64_t peak_resident_kib = 0;
  // Of all its threads, those that have ended left out.
  absl::Duration cpu_time;
};

ProcessFigures FiguresOf(pid_t pid);

// Makes the peak of the process what it uses now.
void ResetPeak(pid_t pid);

// The path of a program that Bazel built, from its package and name:
// "server/waitqd".
std::string BuiltProgram(std::string_view path);

// A new, empty folder with a short name (socket files cannot have long ones),
// removed with all it holds.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string Path(std::string_view name) const;

 private:
  std::string path_;
};

}  // namespace waitq::test

#endif  // WAITQ_TESTS_SUPPORT_PROCESS_H_
