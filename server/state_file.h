// The generation of a server's last change, kept across its restarts.
//
// Generations rise across a restart by the wall clock alone, as long as nobody
// sets it back. With a state file they rise anyway: the file holds a number
// above all that were given. It is written seldom, because it is ahead.

#ifndef WAITQ_SERVER_STATE_FILE_H_
#define WAITQ_SERVER_STATE_FILE_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace waitq {

// Thread safety: for one thread.
// Blocking: Open(), KeepAhead() and Close() write to the disk.
class StateFile {
 public:
  // Reads the file, which need not be there, and reserves what comes next. An
  // error is one line for people: the file cannot be read or written, or holds
  // something else than a number.
  static absl::StatusOr<StateFile> Open(const std::string& path);

  // Above all that a server with this file has given.
  uint64_t first_generation() const { return first_; }

  // To be called about once a second with the last generation that was given:
  // writes the file when half of what was reserved is used up.
  absl::Status KeepAhead(uint64_t generation);

  // The server has stopped: it gives none after this one.
  absl::Status Close(uint64_t generation);

 private:
  // Ten minutes of a million changes a second; of the wall clock, 0.6 s.
  static constexpr uint64_t kReserve = 600'000'000;

  StateFile(std::string path, uint64_t first)
      : path_(std::move(path)), first_(first) {}
  absl::Status Write(uint64_t generation);

  std::string path_;
  uint64_t first_;
  uint64_t reserved_ = 0;  // what the file says
};

}  // namespace waitq

#endif  // WAITQ_SERVER_STATE_FILE_H_
