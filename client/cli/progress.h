// How far a copy has come, on a terminal: bytes, rate, time blocked.

#ifndef WAITQ_CLIENT_CLI_PROGRESS_H_
#define WAITQ_CLIENT_CLI_PROGRESS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace waitq::cli {

// "1.5 MiB  512.0 KiB/s  blocked 2.0s of 3.0s", for a copy that has taken
// `took`, and of that slept `blocked`.
std::string ProgressLine(uint64_t bytes, absl::Duration took,
                         absl::Duration blocked);

// Writes that line to standard error, over the one before, twice a second and
// at its end. Has a thread of its own, since a copy that is blocked does not
// come by.
//
// Thread safety: one thread copies.
class Progress {
 public:
  // Silent unless `show`.
  explicit Progress(bool show);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Around a call that may sleep.
  void BeginBlocking() ABSL_LOCKS_EXCLUDED(mu_);
  void EndBlocking() ABSL_LOCKS_EXCLUDED(mu_);
  void Add(uint64_t bytes) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Run() ABSL_LOCKS_EXCLUDED(mu_);
  void ShowLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const absl::Time started_;
  absl::Mutex mu_;
  uint64_t bytes_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Duration blocked_ ABSL_GUARDED_BY(mu_);
  std::optional<absl::Time> blocked_since_ ABSL_GUARDED_BY(mu_);
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;  // if it shows anything
};

// Whether a copy from or to `data_fd` should show its progress: on a terminal,
// and not into the middle of what is typed or shown on that.
bool CanShowProgress(int data_fd);

}  // namespace waitq::cli

#endif  // WAITQ_CLIENT_CLI_PROGRESS_H_
