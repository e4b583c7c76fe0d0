// What a host says while it runs.

#ifndef WAITQ_LOAD_PROGRESS_H_
#define WAITQ_LOAD_PROGRESS_H_

#include <string>
#include <thread>

#include "absl/synchronization/notification.h"
#include "load/recorder.h"

namespace waitq::load {

// A line each second on standard error, from its making to its destruction.
class Progress {
 public:
  // `prefix` begins each line.
  Progress(Recorder& recorder, std::string prefix);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

 private:
  void Run();

  Recorder& recorder_;
  const std::string prefix_;
  absl::Notification stop_;
  std::thread thread_;
};

}  // namespace waitq::load

#endif  // WAITQ_LOAD_PROGRESS_H_
