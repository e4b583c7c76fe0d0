#include "client/cli/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <functional>
#include <memory>
#include <utility>

#include "absl/time/time.h"
#include "client/cli/exit_code.h"
#include "client/cli/signals.h"

extern char** environ;

namespace waitq::cli {
namespace {

// What the guard is told when there is nothing to guard any more.
constexpr char kDone = 'd';

bool HasTerminal() { return tcgetpgrp(STDIN_FILENO) == getpgrp(); }

void GiveTerminalTo(pid_t group) {
  // Who is in the background is stopped for asking, unless he will not hear.
  sigset_t ttou, old;
  sigemptyset(&ttou);
  sigaddset(&ttou, SIGTTOU);
  pthread_sigmask(SIG_BLOCK, &ttou, &old);
  tcsetpgrp(STDIN_FILENO, group);
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
}

// The group that signals are handed on to; 0: there is none yet, and the last
// one is kept.
std::atomic<pid_t> handed_to{0};
std::atomic<int> kept_signal{0};

void HandOn(int signal) {
  const pid_t group = handed_to;
  const int error = errno;
  if (group == 0) {
    kept_signal = signal;
  } else if (signal == SIGTSTP) {
    // The terminal was ours, and so was the Ctrl-Z. Nobody would renew the lock
    // of a command that ran on.
    kill(-group, SIGSTOP);
    kill(getpid(), SIGSTOP);
    kill(-group, SIGCONT);  // continued
  } else {
    kill(-group, signal);
  }
  errno = error;
}

}  // namespace

// Hands signals on to a group for as long as it lives.
class SignalsToGroup {
 public:
  SignalsToGroup() {
    kept_signal = 0;
    struct sigaction action = {};
    action.sa_handler = HandOn;
    action.sa_flags = SA_RESTART;
    for (size_t i = 0; i < kSignals.size(); ++i) {
      sigaction(kSignals[i], nullptr, &old_[i]);
      // What is to be ignored (nohup) is.
      if (old_[i].sa_handler != SIG_IGN) {
        sigaction(kSignals[i], &action, nullptr);
      }
    }
  }
  void To(pid_t group) {
    handed_to = group;
    // The race with one that came before that.
    if (const int signal = kept_signal.exchange(0); signal != 0) HandOn(signal);
  }
  ~SignalsToGroup() {
    for (size_t i = 0; i < kSignals.size(); ++i) {
      sigaction(kSignals[i], &old_[i], nullptr);
    }
    handed_to = 0;
  }
  SignalsToGroup(const SignalsToGroup&) = delete;
  SignalsToGroup& operator=(const SignalsToGroup&) = delete;

 private:
  static constexpr std::array kSignals = {SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2,
                                          SIGTSTP};
  std::array<struct sigaction, kSignals.size()> old_;
};

namespace {

// The guard's whole life, in the child of a process with threads: nothing but
// what a signal handler might do.
[[noreturn]] void Guard(int fd, timespec patience) {
  // Nothing else of the parent's: above all no connection, which would look
  // alive; and no signals.
  handed_to = 0;
  dup2(fd, STDIN_FILENO);
  syscall(SYS_close_range, 1, ~0u, 0);
  setpgid(0, 0);  // Ctrl-C is for others
  const auto hear = [](void* what, size_t bytes) {
    ssize_t n;
    do {
      n = read(STDIN_FILENO, what, bytes);
    } while (n < 0 && errno == EINTR);
    return n;
  };
  pid_t group = 0;
  if (hear(&group, sizeof(group)) != sizeof(group)) _exit(0);
  char said = 0;
  const ssize_t n = hear(&said, 1);
  if (n == 1 && said == kDone) _exit(0);
  kill(-group, SIGTERM);
  kill(-group, SIGCONT);  // who is stopped would not hear it
  nanosleep(&patience, nullptr);
  kill(-group, SIGKILL);
  _exit(0);
}

}  // namespace

absl::StatusOr<pid_t> Spawn(const std::vector<std::string>& words,
                            bool own_group) {
  std::vector<char*> argv;
  for (const std::string& word : words) {
    argv.push_back(const_cast<char*>(word.c_str()));
  }
  argv.push_back(nullptr);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(
      &attributes,
      POSIX_SPAWN_SETSIGMASK | (own_group ? POSIX_SPAWN_SETPGROUP : 0));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (own_group && HasTerminal()) {
    posix_spawn_file_actions_addtcsetpgrp_np(&actions, STDIN_FILENO);
  }
  pid_t pid;
  const int error =
      posix_spawnp(&pid, argv[0], &actions, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    return absl::ErrnoToStatus(error, "cannot run the command");
  }
  return pid;
}

absl::Status AwaitEnd(pid_t pid) {
  siginfo_t ended;
  while (waitid(P_PID, pid, &ended, WEXITED | WNOWAIT) < 0) {
    if (errno != EINTR) return absl::ErrnoToStatus(errno, "waitid");
  }
  return absl::OkStatus();
}

absl::StatusOr<int> Reap(pid_t pid) {
  int status;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return absl::ErrnoToStatus(errno, "waitpid");
  }
  return WIFEXITED(status) ? WEXITSTATUS(status)
                           : kExitSignalBase + WTERMSIG(status);
}

Child::Child(absl::Duration patience) : patience_(patience) {}

Child::~Child() {
  // Whoever is still there is ended by the guard, who sees this closed.
  if (guard_fd_ >= 0) close(guard_fd_);
  if (wake_fd_ >= 0) close(wake_fd_);
  if (guard_ > 0) (void)Reap(guard_);
}

absl::Status Child::Start(const std::vector<std::string>& words) {
  wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_fd_ < 0) return absl::ErrnoToStatus(errno, "eventfd");
  // Both before it can be seen to run: who is killed then had no guard yet, and
  // the command ran on; and nobody's signal is to end us.
  const absl::Status status = StartGuard();
  if (!status.ok()) return status;
  signals_ = std::make_unique<SignalsToGroup>();
  const absl::StatusOr<pid_t> pid = Spawn(words, /*own_group=*/true);
  if (!pid.ok()) {
    signals_ = nullptr;
    return pid.status();
  }
  pid_ = *pid;
  // Cannot fail: the pipe is empty, and somebody reads it.
  [[maybe_unused]] const ssize_t n = write(guard_fd_, &pid_, sizeof(pid_));
  signals_->To(pid_);
  return absl::OkStatus();
}

absl::Status Child::StartGuard() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return absl::ErrnoToStatus(errno, "pipe");
  const timespec patience = absl::ToTimespec(patience_);
  guard_ = fork();
  if (guard_ == 0) {
    close(ends[1]);
    Guard(ends[0], patience);
  }
  const int error = errno;
  close(ends[0]);
  guard_fd_ = ends[1];
  return guard_ > 0 ? absl::OkStatus() : absl::ErrnoToStatus(error, "fork");
}

void Child::End() {
  absl::MutexLock lock(&mu_);
  if (over_ || kill_at_.has_value()) return;
  kill_at_ = Clock::now() + absl::ToChronoNanoseconds(patience_);
  kill(-pid_, SIGTERM);
  kill(-pid_, SIGCONT);
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = write(wake_fd_, &one, sizeof(one));
}

bool Child::was_ended() const {
  absl::MutexLock lock(&mu_);
  return kill_at_.has_value();
}

absl::StatusOr<int> Child::Wait(std::stop_token stop) {
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  const int signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0) return absl::ErrnoToStatus(errno, "signalfd");
  {
    const std::stop_callback hand_on(std::move(stop),
                                     [this] { kill(-pid_, StopSignal()); });
    while (!HasEnded() && !IsToBeKilled()) {
      pollfd fds[2] = {{signals, POLLIN, 0}, {wake_fd_, POLLIN, 0}};
      const int wait_ms = MillisecondsToKill();
      // When the wake is seen the time is known, and it need not be seen again.
      poll(fds, wait_ms < 0 ? 2 : 1, wait_ms);
      signalfd_siginfo seen;
      while (read(signals, &seen, sizeof(seen)) > 0) {
      }
    }
    signals_ = nullptr;
    absl::MutexLock lock(&mu_);
    over_ = true;
    // Not reaped yet: the group is still its own. Those who did not end with
    // their leader end now.
    if (kill_at_.has_value()) kill(-pid_, SIGKILL);
  }
  close(signals);
  [[maybe_unused]] const ssize_t n = write(guard_fd_, &kDone, 1);
  const absl::StatusOr<int> code = Reap(pid_);
  if (tcgetpgrp(STDIN_FILENO) == pid_) GiveTerminalTo(getpgrp());
  return code;
}

bool Child::HasEnded() {
  siginfo_t seen = {};
  if (waitid(P_PID, pid_, &seen, WSTOPPED | WNOHANG) == 0 &&
      seen.si_pid == pid_ && tcgetpgrp(STDIN_FILENO) == pid_) {
    StopWithIt();
  }
  seen = {};
  return waitid(P_PID, pid_, &seen, WEXITED | WNOHANG | WNOWAIT) != 0 ||
         seen.si_pid == pid_;
}

void Child::StopWithIt() {
  // Ctrl-Z: whoever has started us is to have the terminal, and to see a job
  // that is stopped. The lock is held on for as long as the server hears from
  // us, which is not for long.
  GiveTerminalTo(getpgrp());
  kill(getpid(), SIGSTOP);
  // Continued, in the foreground or behind it.
  if (HasTerminal()) GiveTerminalTo(pid_);
  kill(-pid_, SIGCONT);
}

bool Child::IsToBeKilled() const { return MillisecondsToKill() == 0; }

int Child::MillisecondsToKill() const {
  absl::MutexLock lock(&mu_);
  if (!kill_at_.has_value()) return -1;
  const auto left = *kill_at_ - Clock::now();
  if (left <= Clock::duration::zero()) return 0;
  return static_cast<int>(
             std::chrono::duration_cast<std::chrono::milliseconds>(left)
                 .count()) +
         1;
}

}  // namespace waitq::cli
