#include "client/cli/file_io.h"

#include <limits.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <utility>

#include "client/error.h"

namespace waitq::cli {
namespace {

// How much may be written to a file that poll(2) calls ready without blocking.
size_t ReadyBytes(int fd) {
  struct stat info;
  const bool is_file = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
  return is_file ? SSIZE_MAX : PIPE_BUF;
}

void Signal(int fd) {
  const uint64_t one = 1;
  // It cannot fail: the counter is far from its end.
  [[maybe_unused]] const ssize_t written = write(fd, &one, sizeof(one));
}

}  // namespace

StopEvent::StopEvent(std::stop_token stop)
    : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      on_stop_(std::move(stop), [this] { Signal(fd_); }) {}

StopEvent::~StopEvent() { close(fd_); }

absl::Status StopEvent::WaitFor(int fd, short events) const {
  pollfd polled[] = {{.fd = fd, .events = events, .revents = 0},
                     {.fd = fd_, .events = POLLIN, .revents = 0}};
  while (poll(polled, 2, -1) < 0) {
    if (errno != EINTR) return absl::ErrnoToStatus(errno, "poll");
  }
  if (polled[1].revents != 0) return absl::CancelledError("cancelled");
  // Also with an error: read and write will say which.
  return absl::OkStatus();
}

bool StopEvent::SleepFor(absl::Duration duration) const {
  pollfd polled = {.fd = fd_, .events = POLLIN, .revents = 0};
  const timespec timeout = absl::ToTimespec(duration);
  return ppoll(&polled, 1, &timeout, nullptr) == 0;
}

absl::StatusOr<size_t> ReadSome(int fd, char* buffer, size_t size,
                                const StopEvent& stop) {
  while (true) {
    if (absl::Status s = stop.WaitFor(fd, POLLIN); !s.ok()) return s;
    const ssize_t bytes = read(fd, buffer, size);
    if (bytes >= 0) return static_cast<size_t>(bytes);
    if (errno != EINTR && errno != EAGAIN) {
      return absl::ErrnoToStatus(errno, "cannot read the input");
    }
  }
}

absl::Status WriteAll(int fd, std::string_view data, const StopEvent& stop) {
  const size_t ready_bytes = ReadyBytes(fd);
  while (!data.empty()) {
    if (absl::Status s = stop.WaitFor(fd, POLLOUT); !s.ok()) return s;
    const ssize_t bytes =
        write(fd, data.data(), std::min(data.size(), ready_bytes));
    if (bytes >= 0) {
      data.remove_prefix(static_cast<size_t>(bytes));
    } else if (errno != EINTR && errno != EAGAIN) {
      const int error_number = errno;
      absl::Status error =
          absl::ErrnoToStatus(error_number, "cannot write the output");
      if (error_number == EPIPE) SetErrorField(error, kReasonKey, "EPIPE");
      return error;
    }
  }
  return absl::OkStatus();
}

}  // namespace waitq::cli
