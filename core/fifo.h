// A FIFO for threads: open, read, write, poll and close as those of a FIFO that
// mkfifo(3) made.
//
// Results are Linux's: a count, or a negative errno; -kErestartsys where a
// signal has ended the call (a program would see EINTR, or a restart).
//   * It is full when it has no free slot, not no free byte: 16 slots of 4096
//     bytes by default. A write fills up the last slot only with its first
//     (n mod 4096) bytes, and only if they all fit.
//   * A write of up to kPipeBuf bytes is whole or nothing. A longer one may
//     interleave with others, and may be cut short by a signal.
//   * A read takes what is there. It waits only for the first byte; with no
//     writers it is the end of file, 0.
//   * A write without readers sends SIGPIPE to its thread's task and is -EPIPE,
//     or the count, if some bytes were written already. (SIGPIPE is fatal
//     unless the task handles, ignores or blocks it: its sleeps then end at
//     once.)
//   * Reading and writing wait exclusively, in line. Who slept and leaves
//     something behind wakes the next in line.
//   * Open waits for the other side to be opened; it need not stay open. The
//     contents go when the last one closes.
// Not here: packets (O_DIRECT), SIGIO and F_SETPIPE_SZ.
//
// After fs/pipe.c and fs/fcntl.c, 7.1.

#ifndef WAITQ_CORE_FIFO_H_
#define WAITQ_CORE_FIFO_H_

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/strings/cord.h"
#include "core/mutex.h"
#include "core/pipe_state.h"
#include "core/poll.h"
#include "core/wait_queue.h"

namespace waitq {

class FifoFile;

// What a name in the file system is to a FIFO.
//
// Thread safety: any thread.
// Destruction: when no file is open on it (a check failure).
class Fifo {
 public:
  static constexpr size_t kSlotBytes = 4096;
  static constexpr size_t kPipeBuf = 4096;

  enum Flags : uint32_t { kRead = 1, kWrite = 2, kNonblock = 4 };

  explicit Fifo(size_t slots = 16);
  ~Fifo();
  Fifo(const Fifo&) = delete;
  Fifo& operator=(const Fifo&) = delete;

  // open(): of kRead, kWrite or both, and kNonblock. Returns 0, and `file`,
  // which must not be open, is. To read, or to write, waits for the other side,
  // unless it is there; for both does not wait. With kNonblock: to read
  // succeeds at once; to write is -ENXIO without readers.
  [[nodiscard]] int Open(uint32_t flags, FifoFile& file)
      ABSL_LOCKS_EXCLUDED(mu_);

  // --- For tests and metrics ---
  uint32_t readers() const ABSL_LOCKS_EXCLUDED(mu_);
  uint32_t writers() const ABSL_LOCKS_EXCLUDED(mu_);
  WaitQueue& readers_queue() { return read_queue_; }
  WaitQueue& writers_queue() { return write_queue_; }

 private:
  friend class FifoFile;

  // Let go of mu_ while they wait.
  int OpenToRead(FifoFile& file) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  int OpenToWrite(FifoFile& file) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void OpenBoth() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // wait_for_partner(): until `opens` is not what it is now; false if a signal
  // came first.
  bool AwaitPartnerLocked(const uint32_t& opens)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Release(uint32_t flags) ABSL_LOCKS_EXCLUDED(mu_);
  void DropFileLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  int64_t Read(const FifoFile& file, char* buffer, size_t n)
      ABSL_LOCKS_EXCLUDED(mu_);
  int64_t Write(const FifoFile& file, const char* data, size_t n)
      ABSL_LOCKS_EXCLUDED(mu_);
  PollEvents Poll(const FifoFile& file, PollTable* table)
      ABSL_LOCKS_EXCLUDED(mu_);
  void SetNonblock(FifoFile& file, bool nonblock) ABSL_LOCKS_EXCLUDED(mu_);

  // To be called at each change, with the lock: what sleepers test without it.
  void NoteLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable Mutex mu_;
  PipeState state_ ABSL_GUARDED_BY(mu_);
  uint32_t readers_ ABSL_GUARDED_BY(mu_) = 0;
  uint32_t writers_ ABSL_GUARDED_BY(mu_) = 0;
  uint32_t files_ ABSL_GUARDED_BY(mu_) = 0;  // those that wait in Open() too
  // How often each side was opened: a partner that opened and closed at once
  // still lets the other side's open() go on.
  uint32_t reader_opens_ ABSL_GUARDED_BY(mu_) = 0;
  uint32_t writer_opens_ ABSL_GUARDED_BY(mu_) = 0;
  // Once polled, every write wakes, not only the one into an empty pipe:
  // edge-triggered pollers count on it.
  bool polled_ ABSL_GUARDED_BY(mu_) = false;

  std::atomic<bool> readable_{false};  // not empty, or no writers
  std::atomic<bool> writable_{false};  // not full, or no readers

  // Lock order: mu_ before a queue's own lock.
  WaitQueue read_queue_;
  WaitQueue write_queue_;
};

// A file that is open on a FIFO.
//
// Thread safety: any thread may read, write, poll and set_nonblock(); Close()
// when none does.
// Destruction closes it.
class FifoFile final : public Pollable {
 public:
  FifoFile() = default;
  ~FifoFile() { Close(); }
  FifoFile(const FifoFile&) = delete;
  FifoFile& operator=(const FifoFile&) = delete;

  bool is_open() const { return fifo_ != nullptr; }

  // read(), write(). 0 bytes are always 0. -EBADF if it is not open, or not
  // that way; -EAGAIN with kNonblock, where it would wait.
  [[nodiscard]] int64_t Read(char* buffer, size_t n) {
    return is_open() ? fifo_->Read(*this, buffer, n) : -EBADF;
  }
  [[nodiscard]] int64_t Write(const char* data, size_t n) {
    return is_open() ? fifo_->Write(*this, data, n) : -EBADF;
  }
  // kPollNval if it is not open.
  PollEvents Poll(PollTable* table) override {
    return is_open() ? fifo_->Poll(*this, table) : kPollNval;
  }

  // close(): wakes all of the other side if this was the last of its own. Does
  // nothing if the file is not open.
  void Close();

  // O_NONBLOCK from now on, or not; also for who sleeps, once woken. Nothing if
  // it is not open.
  void set_nonblock(bool nonblock) {
    if (is_open()) fifo_->SetNonblock(*this, nonblock);
  }

 private:
  friend class Fifo;

  Fifo* fifo_ = nullptr;
  // These are guarded by the FIFO's lock.
  uint32_t flags_ = 0;
  // Opened to read, with kNonblock and without writers: no HUP until one came.
  // The count of writers' opens at that moment, or none.
  uint32_t hup_after_opens_ = 0;
  bool hides_hup_ = false;
};

}  // namespace waitq

#endif  // WAITQ_CORE_FIFO_H_
