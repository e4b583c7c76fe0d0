// `waitq-load`: load on a waitqd, from any number of hosts.

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "load/command_line.h"
#include "load/plot.h"
#include "load/result.h"
#include "load/run.h"

namespace {

// As those of `waitq`.
constexpr int kExitOk = 0;
constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;
constexpr int kExitSignalBase = 128;

// Written before the stop is requested, which orders it for whoever sees that.
std::atomic<int> stop_signal{0};

// The first SIGINT or SIGTERM requests the stop, the second ends the program.
// Before any other thread is started: the signals are blocked in all of them.
std::stop_token StopOnSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  static auto& stop = *new std::stop_source;
  std::thread([signals] {
    int signal;
    if (sigwait(&signals, &signal) != 0) return;
    stop_signal = signal;
    stop.request_stop();
    if (sigwait(&signals, &signal) == 0) _exit(kExitSignalBase + signal);
  }).detach();
  return stop.get_token();
}

int Report(const absl::Status& status) {
  const std::string text(status.message());
  std::cerr << absl::StrCat("waitq-load: ", text, "\n");
  if (stop_signal != 0) return kExitSignalBase + stop_signal;
  return absl::IsInvalidArgument(status) || absl::IsNotFound(status) ||
                 absl::IsOutOfRange(status)
             ? kExitUsage
             : kExitFailure;
}

absl::Status WriteFile(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  file.close();
  if (file) return absl::OkStatus();
  return absl::UnknownError(absl::StrCat(path, ": cannot be written"));
}

absl::Status Show(const waitq::load::CommandLine& line,
                  const waitq::load::RunResult& result) {
  absl::Status status;
  const std::string json = waitq::load::FormatJson(result) + "\n";
  if (line.json == "-") {
    std::cout << json << std::flush;
  } else {
    std::cout << waitq::load::FormatTable(result) << std::flush;
    if (!line.json.empty()) status.Update(WriteFile(line.json, json));
  }
  if (!line.plot.empty()) {
    status.Update(WriteFile(line.plot, waitq::load::PlotSvg(result)));
  }
  if (!std::cout)
    status.Update(absl::UnknownError("standard output is closed"));
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  // Debian's abseil checks the order of locks, at a price, and aborts.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  // An error is one line, ours; gRPC's log would add its own.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);

  const auto line = waitq::load::ParseCommandLine(
      std::vector<std::string>(argv + 1, argv + argc));
  if (!line.ok()) {
    Report(line.status());
    return kExitUsage;
  }
  if (!line->help.empty()) {
    std::cout << line->help << std::flush;
    return std::cout ? kExitOk : kExitFailure;
  }
  const std::stop_token stop = StopOnSignals();
  const auto outcome = waitq::load::RunHost(line->run, stop);
  if (!outcome.ok()) return Report(outcome.status());
  if (outcome->result.has_value()) {
    if (absl::Status shown = Show(*line, *outcome->result); !shown.ok()) {
      Report(shown);
      return kExitFailure;
    }
  } else if (!outcome->good) {
    std::cerr << "waitq-load: the run has failed; host 0 says why\n";
  }
  return outcome->good ? kExitOk : kExitFailure;
}
