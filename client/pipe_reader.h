// A reader handle of a named pipe.

#ifndef WAITQ_CLIENT_PIPE_READER_H_
#define WAITQ_CLIENT_PIPE_READER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "client/types.h"

namespace waitq {

// Data, or the end of the stream.
struct PipeChunk {
  std::string data;
  // Where in the pipe `data` begins; at the end, where the reader stands.
  uint64_t offset = 0;
  // Which pipe of this name it is: the generation of its creation.
  uint64_t incarnation = 0;
  // Set at the end, and then `data` is empty: kEndOfFile, kDone (`max_bytes`
  // were read), kTimedOut or kWouldBlock.
  std::optional<Outcome> end = {};
  // With kEndOfFile: a writer went away without closing.
  bool broken = false;
};

// While it is there, writers do not see EPIPE. Made by Client::OpenReader,
// which it must not outlive.
//
// Thread safety: one thread at a time. The stop token that it was opened with
//   may be used by any.
// Callbacks: Read waits, and so is refused in a callback of the same client
//   (EDEADLK); destruction does not.
// Memory: what the program has, and one read ahead: 128 KiB or one packet.
class PipeReader {
 public:
  class Impl;

  explicit PipeReader(std::unique_ptr<Impl> impl);
  // Before the end: closes the handle. What the last Read returned has been
  // used; what was read ahead is given back for others. Does not wait.
  ~PipeReader();
  PipeReader(const PipeReader&) = delete;
  PipeReader& operator=(const PipeReader&) = delete;

  // The next data, as it comes: sleeps while there is none. Asking for more
  // says that what came before has been used, which moves `window_bytes` on:
  // until then it takes up room in the pipe, and is given to somebody else
  // should the program die. After the end: the end again. Errors: ABORTED
  // (EINTR, EIDRM); CANCELLED by the stop token.
  absl::StatusOr<PipeChunk> Read();

  // How often the server has put this stream to sleep for data, so far as is
  // known.
  uint64_t sleeps() const;

 private:
  const std::unique_ptr<Impl> impl_;
};

}  // namespace waitq

#endif  // WAITQ_CLIENT_PIPE_READER_H_
