// Commands that `waitq` runs.

#ifndef WAITQ_CLIENT_CLI_CHILD_H_
#define WAITQ_CLIENT_CLI_CHILD_H_

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace waitq::cli {

// As a shell has them.
inline constexpr int kExitCannotRun = 126;
inline constexpr int kExitNotFound = 127;

// Starts the command, with no signal blocked (they are in all our threads).
// `own_group`: it leads a process group of its own, which has the terminal if
// ours had it.
absl::StatusOr<pid_t> Spawn(const std::vector<std::string>& words,
                            bool own_group = false);

// Waits until it has ended, and does not reap it: its number stays its own.
absl::Status AwaitEnd(pid_t pid);
// Reaps it: its exit code, 128 + N if signal N ended it.
absl::StatusOr<int> Reap(pid_t pid);

class SignalsToGroup;

// A command in a process group of its own, none of which outlives the right to
// run: neither when End() says so, nor when this process dies. (A second one
// watches for that.) What is left of the group when the command itself, its
// leader, has ended is let be.
//
// Thread safety: any thread may call End() once Start() has returned; the rest
//   is for one.
class Child {
 public:
  // `patience`: between TERM and KILL.
  explicit Child(absl::Duration patience);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // Not OK: the command cannot be run.
  absl::Status Start(const std::vector<std::string>& words);

  // The group is to end: it gets TERM at once, and later KILL. Returns at once.
  void End();
  // Whether End() was called before the command was over.
  bool was_ended() const;

  // Waits until the command is over; its exit code. A stop is handed on to the
  // group as the signal that it came by, and so are SIGHUP, SIGQUIT, SIGUSR1
  // and SIGUSR2 from Start() on: one Child at a time. If the terminal stops one
  // of the two (Ctrl-Z) the other is stopped, too. SIGCHLD is blocked in all
  // threads (StopOnSignals()).
  absl::StatusOr<int> Wait(std::stop_token stop);

 private:
  absl::Status StartGuard();
  // Looks at it; stops with it if the terminal has stopped it.
  bool HasEnded();
  void StopWithIt();
  // Till KILL; -1: that is not to come.
  int MillisecondsToKill() const;
  bool IsToBeKilled() const;

  const absl::Duration patience_;
  std::unique_ptr<SignalsToGroup> signals_;
  pid_t pid_ = 0;      // and of its group
  pid_t guard_ = 0;    // who ends the group if this process dies
  int guard_fd_ = -1;  // which he reads, and which is closed then
  int wake_fd_ = -1;   // tells Wait() of End()

  mutable absl::Mutex mu_;
  bool over_ ABSL_GUARDED_BY(mu_) = false;
  // Were it set, KILL might come later than the end of the lock.
  using Clock = std::chrono::steady_clock;
  std::optional<Clock::time_point> kill_at_ ABSL_GUARDED_BY(mu_);
};

}  // namespace waitq::cli

#endif  // WAITQ_CLIENT_CLI_CHILD_H_
