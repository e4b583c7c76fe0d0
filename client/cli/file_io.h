// Reading and writing files that may block, until told to stop.

#ifndef WAITQ_CLIENT_CLI_FILE_IO_H_
#define WAITQ_CLIENT_CLI_FILE_IO_H_

#include <cstddef>
#include <functional>
#include <optional>
#include <stop_token>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace waitq::cli {

// A file descriptor that becomes readable when a stop is requested. One that is
// blocked in read(2) would not hear of it.
class StopEvent {
 public:
  explicit StopEvent(std::stop_token stop);
  ~StopEvent();
  StopEvent(const StopEvent&) = delete;
  StopEvent& operator=(const StopEvent&) = delete;

  // Waits until `fd` is ready for `events` (as poll(2) has them): OK. Or until
  // the stop: CANCELLED.
  absl::Status WaitFor(int fd, short events) const;

  // Sleeps; false if the stop came first.
  bool SleepFor(absl::Duration duration) const;

 private:
  const int fd_;
  std::stop_callback<std::function<void()>> on_stop_;
};

// Reads up to `size` bytes as soon as there are any. 0: the end of the file.
absl::StatusOr<size_t> ReadSome(int fd, char* buffer, size_t size,
                                const StopEvent& stop);

// Writes all of `data`. An error with the reason EPIPE: nobody reads `fd` any
// more (where SIGPIPE is ignored; otherwise the process has ended by it).
absl::Status WriteAll(int fd, std::string_view data, const StopEvent& stop);

}  // namespace waitq::cli

#endif  // WAITQ_CLIENT_CLI_FILE_IO_H_
