#include "client/cli/signals.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "client/cli/exit_code.h"

namespace waitq::cli {
namespace {

// Written by the waiting thread before it requests the stop, which orders it
// for those who see the request.
std::atomic<int> stop_signal{0};

void WaitForSignals(const sigset_t& signals, std::stop_source& stop) {
  int signal;
  if (sigwait(&signals, &signal) != 0) return;
  stop_signal = signal;
  stop.request_stop();
  if (sigwait(&signals, &signal) == 0) _exit(kExitSignalBase + signal);
}

}  // namespace

std::stop_token StopOnSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigset_t blocked = signals;
  sigaddset(&blocked, SIGCHLD);  // for whoever waits for a command (Child)
  pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
  // The thread waits until the process ends, and its state with it.
  static auto& stop = *new std::stop_source;
  std::thread([signals] { WaitForSignals(signals, stop); }).detach();
  return stop.get_token();
}

int StopSignal() { return stop_signal; }

}  // namespace waitq::cli
