// `waitq`: the client as a program.

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "client/cli/command_line.h"
#include "client/cli/signals.h"

namespace {

using waitq::cli::Print;
using waitq::cli::Report;

std::string CallerName() {
  char host[64] = "?";
  gethostname(host, sizeof(host) - 1);
  return absl::StrCat("waitq:", getpid(), "@", host);
}

// A standard descriptor that was closed would be the next file's that somebody
// opens: gRPC's, say, to which we would then write. Opened the wrong way round,
// so that it fails as a closed one does.
void FillStandardDescriptors() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    [[maybe_unused]] const int opened =
        open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

}  // namespace

int main(int argc, char** argv) {
  FillStandardDescriptors();
  // Debian's abseil checks the order of locks, at a price, and aborts.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  // An error is one line, ours; gRPC's log would add its own.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);

  auto line = waitq::cli::ParseCommandLine(
      std::vector<std::string>(argv + 1, argv + argc));
  if (!line.ok()) return Report("", line.status());
  if (!line->help.empty()) return Print(line->help);

  const std::stop_token stop = waitq::cli::StopOnSignals();
  auto client = waitq::Client::Create(
      {.server = line->server, .caller = CallerName(), .grace = line->grace});
  if (!client.ok()) return Report("", client.status());
  waitq::cli::Environment environment{.client = **client,
                                      .stop = stop,
                                      .json = line->json,
                                      .grace = line->grace};
  return line->command(environment);
}
