// The scull pipe of "Linux Device Drivers", for threads: what the book teaches,
// with what it leaves out left out.
//
//   * A ring: one byte less than its size, 4000 by default, fits; reads and
//     writes stop where it wraps. Partial ones are normal; nothing is atomic.
//   * No end of file and no broken pipe: without writers a reader waits.
//   * Every open loses what was unread; so does the last release.
//   * Nobody waits in line: each wake-up wakes all; all but one sleep again.
//   * A read that is interrupted when data is there returns the data. A write
//     that is interrupted when space is there returns -kErestartsys.
//   * Who has asked for it is told of each write (core/fasync.h); nobody is
//   told
//     of space.
//
// After scull/pipe.c of LDD3.

#ifndef WAITQ_CORE_SCULL_PIPE_H_
#define WAITQ_CORE_SCULL_PIPE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "core/fasync.h"
#include "core/mutex.h"
#include "core/pipe_state.h"
#include "core/poll.h"
#include "core/wait_queue.h"

namespace waitq {

// Thread safety: any thread.
// Destruction: when nobody sleeps in it (a check failure).
class ScullPipe final : public Pollable {
 public:
  enum Flags : uint32_t { kRead = 1, kWrite = 2 };

  explicit ScullPipe(size_t size_bytes = 4000);

  // open(): begins anew, and counts. Sleepers go on sleeping. Never waits for
  // the other side. release(): counts, and `callback` is told no longer. Who
  // reads and writes without need not open it.
  void Open(uint32_t flags = kRead | kWrite) ABSL_LOCKS_EXCLUDED(mu_);
  void Release(uint32_t flags = kRead | kWrite,
               const FasyncCallback* callback = nullptr)
      ABSL_LOCKS_EXCLUDED(mu_);

  // fasync(): whether `callback` is told, with kPollIn, of each write.
  void Fasync(const FasyncCallback* callback, bool on);

  // A count; -EAGAIN with `nonblock` where it would wait; -kErestartsys. Unlike
  // a FIFO's, a read or write of 0 bytes waits as others do.
  [[nodiscard]] int64_t Read(char* buffer, size_t n, bool nonblock = false)
      ABSL_LOCKS_EXCLUDED(mu_);
  [[nodiscard]] int64_t Write(const char* data, size_t n, bool nonblock = false)
      ABSL_LOCKS_EXCLUDED(mu_);

  // kPollIn if not empty, kPollOut if not full; never kPollHup or kPollErr.
  PollEvents Poll(PollTable* table) override ABSL_LOCKS_EXCLUDED(mu_);

  // --- For tests ---
  uint32_t readers() const ABSL_LOCKS_EXCLUDED(mu_);
  uint32_t writers() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void NoteLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable Mutex mu_;
  PipeState state_ ABSL_GUARDED_BY(mu_);
  uint32_t readers_ ABSL_GUARDED_BY(mu_) = 0;
  uint32_t writers_ ABSL_GUARDED_BY(mu_) = 0;
  std::atomic<bool> readable_{false};
  std::atomic<bool> writable_{true};

  // Lock order: mu_ before a queue's own lock.
  WaitQueue in_queue_;
  WaitQueue out_queue_;
  FasyncList fasync_;
};

}  // namespace waitq

#endif  // WAITQ_CORE_SCULL_PIPE_H_
