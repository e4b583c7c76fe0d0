// A writer handle of a named pipe.

#ifndef WAITQ_CLIENT_PIPE_WRITER_H_
#define WAITQ_CLIENT_PIPE_WRITER_H_

#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "client/types.h"

namespace waitq {

// While it is there, readers do not see an end of file. Made by
// Client::OpenWriter, which it must not outlive.
//
// Thread safety: one thread at a time. The stop token that it was opened with
//   may be used by any.
// Blocking: Write while the pipe is full, Close until all is accepted.
// Ends: the stream ends by Close, by one of its sleeps timing out or being
//   refused (nonblock), or by an error. Whatever it is, every later call
//   returns the same.
// Callbacks: Write and Close wait, and so are refused in a callback of the same
//   client (EDEADLK); destruction does not.
// Packets: in a pipe of packets each Write is one, 4 MiB - 1 KiB at most: a
//   longer one is EMSGSIZE, and has changed nothing.
// Memory: one write of 128 KiB or one packet, twice, however much is written.
class PipeWriter {
 public:
  class Impl;

  explicit PipeWriter(std::unique_ptr<Impl> impl);
  // Without a Close before, the stream is cut off: readers see a broken end.
  // Does not wait.
  ~PipeWriter();
  PipeWriter(const PipeWriter&) = delete;
  PipeWriter& operator=(const PipeWriter&) = delete;

  // Sends `data`. kDone says that all of it is on its way, and not yet that it
  // is in the pipe: Close says that. kTimedOut, kWouldBlock: the stream has
  // ended so.
  // Errors: FAILED_PRECONDITION (EPIPE), the last reader has left; ABORTED
  // (EINTR, EIDRM); CANCELLED by the stop token.
  absl::StatusOr<Outcome> Write(std::string_view data);

  // Ends the file cleanly, once all of it is in the pipe. kDone: it is.
  // Otherwise as Write.
  absl::StatusOr<Outcome> Close();

  // How much of what was written is known to be in the pipe, or to have gone
  // through it. Exact after the end, unless the connection was lost.
  uint64_t accepted_bytes() const;
  // The pipe's offset after the last of it, and which pipe of this name it is:
  // the generation of its creation.
  uint64_t offset() const;
  uint64_t incarnation() const;
  // How often the server has put this stream to sleep for room.
  uint64_t sleeps() const;

 private:
  const std::unique_ptr<Impl> impl_;
};

}  // namespace waitq

#endif  // WAITQ_CLIENT_PIPE_WRITER_H_
