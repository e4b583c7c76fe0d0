#include "core/fifo.h"

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "absl/strings/string_view.h"
#include "core/check.h"
#include "core/might_sleep.h"
#include "core/pause.h"
#include "core/task.h"
#include "core/wait_event.h"

namespace waitq {
namespace {

constexpr PollEvents kInEvents = kPollIn | kPollRdNorm;
constexpr PollEvents kOutEvents = kPollOut | kPollWrNorm;

void CopyTo(const absl::Cord& cord, char* buffer) {
  for (const absl::string_view chunk : cord.Chunks()) {
    buffer = std::copy(chunk.begin(), chunk.end(), buffer);
  }
}

}  // namespace

Fifo::Fifo(size_t slots)
    : state_({.capacity_bytes = slots * kSlotBytes, .slot_bytes = kSlotBytes}) {
  MutexLock lock(&mu_);
  NoteLocked();
}

Fifo::~Fifo() {
  MutexLock lock(&mu_);
  WAITQ_CHECK(files_ == 0, "a FIFO is destroyed with files open on it");
}

void Fifo::NoteLocked() {
  // Before the wake that follows, which takes the queue's lock.
  readable_.store(!state_.empty() || writers_ == 0, std::memory_order_seq_cst);
  writable_.store(!state_.full() || readers_ == 0, std::memory_order_seq_cst);
}

uint32_t Fifo::readers() const {
  MutexLock lock(&mu_);
  return readers_;
}

uint32_t Fifo::writers() const {
  MutexLock lock(&mu_);
  return writers_;
}

// --- Opening and closing -----------------------------------------------------

int Fifo::Open(uint32_t flags, FifoFile& file) {
  WAITQ_CHECK(!file.is_open(), "a file is opened twice");
  MightSleep();
  int result = 0;
  {
    MutexLock lock(&mu_);
    file.flags_ = flags;
    file.hides_hup_ = false;
    ++files_;
    switch (flags & (kRead | kWrite)) {
      case kRead:
        result = OpenToRead(file);
        break;
      case kWrite:
        result = OpenToWrite(file);
        break;
      case kRead | kWrite:
        OpenBoth();
        break;
      default:
        result = -EINVAL;
    }
    if (result != 0) DropFileLocked();
    NoteLocked();
  }
  if (result == 0) file.fifo_ = this;
  return result;
}

// Whoever waits for a partner waits in the readers' queue; the first of a side
// wakes all there. Test, enqueue and wake are all under mu_, so testing first
// loses nothing.

int Fifo::OpenToRead(FifoFile& file) {
  ++reader_opens_;
  if (readers_++ == 0) read_queue_.WakeUpInterruptibleAll();
  NoteLocked();
  if (writers_ > 0) return 0;
  if ((file.flags_ & kNonblock) != 0) {
    file.hides_hup_ = true;
    file.hup_after_opens_ = writer_opens_;
    return 0;
  }
  if (AwaitPartnerLocked(writer_opens_)) return 0;
  if (--readers_ == 0) {
    NoteLocked();
    write_queue_.WakeUpInterruptible();
  }
  return -kErestartsys;
}

int Fifo::OpenToWrite(FifoFile& file) {
  if ((file.flags_ & kNonblock) != 0 && readers_ == 0) return -ENXIO;
  ++writer_opens_;
  if (writers_++ == 0) read_queue_.WakeUpInterruptibleAll();
  NoteLocked();
  if (readers_ > 0 || AwaitPartnerLocked(reader_opens_)) return 0;
  if (--writers_ == 0) {
    NoteLocked();
    read_queue_.WakeUpInterruptibleAll();
  }
  return -kErestartsys;
}

void Fifo::OpenBoth() {
  ++reader_opens_;
  ++writer_opens_;
  ++readers_;
  ++writers_;
  if (readers_ == 1 || writers_ == 1) read_queue_.WakeUpInterruptibleAll();
}

bool Fifo::AwaitPartnerLocked(const uint32_t& opens) {
  ThreadTask& task = Task::Current();
  const uint32_t before = opens;
  WaitEntry entry(&task, &AutoremoveWakeFunction);
  while (opens == before) {
    read_queue_.PrepareToWait(entry, kInterruptible);
    mu_.Unlock();
    task.Schedule();
    read_queue_.FinishWait(entry);
    mu_.Lock();
    if (task.SignalPending()) break;
  }
  // A partner that came beats a signal that came too.
  return opens != before;
}

void FifoFile::Close() {
  if (fifo_ == nullptr) return;
  fifo_->Release(flags_);
  fifo_ = nullptr;
}

void Fifo::SetNonblock(FifoFile& file, bool nonblock) {
  MutexLock lock(&mu_);
  file.flags_ = (file.flags_ & ~uint32_t{kNonblock}) |
                (nonblock ? uint32_t{kNonblock} : 0);
}

void Fifo::Release(uint32_t flags) {
  MutexLock lock(&mu_);
  if ((flags & kRead) != 0) --readers_;
  if ((flags & kWrite) != 0) --writers_;
  // One side is empty, and the other is not: it is the end for that one.
  if ((readers_ == 0) != (writers_ == 0)) {
    NoteLocked();
    read_queue_.WakeUpInterruptibleAll();
    write_queue_.WakeUpInterruptibleAll();
  }
  DropFileLocked();
  NoteLocked();
}

void Fifo::DropFileLocked() {
  if (--files_ > 0) return;
  state_.Clear();
  polled_ = false;
}

// --- Reading and writing -----------------------------------------------------

int64_t Fifo::Read(const FifoFile& file, char* buffer, size_t n) {
  MightSleep();
  int64_t result = 0;
  bool slept = false;
  bool freed_slot = false;
  mu_.Lock();
  if ((file.flags_ & kRead) == 0 || n == 0) {
    result = (file.flags_ & kRead) == 0 ? -EBADF : 0;
    mu_.Unlock();
    return result;
  }
  for (;;) {
    if (!state_.empty()) {
      const bool was_full = state_.full();
      const absl::Cord taken = state_.Take(n);
      CopyTo(taken, buffer);
      result = static_cast<int64_t>(taken.size());
      freed_slot = was_full && !state_.full();
      NoteLocked();
      break;
    }
    if (writers_ == 0) break;  // the end of file beats "would block"
    if ((file.flags_ & kNonblock) != 0) {
      result = -EAGAIN;
      break;
    }
    mu_.Unlock();
    Pause(PausePoint::kUnlocked);
    // In line: one writer's wake-up is for one reader. An interrupted one may
    // leave at once: see PrepareToWaitEvent().
    if (WaitEventInterruptibleExclusive(
            read_queue_, [&] { return readable_.load(); }) != 0) {
      return -kErestartsys;
    }
    mu_.Lock();
    slept = true;
  }
  // The chain: the wake-up that ended this sleep was for all that was written;
  // what is left of it is for the next in line.
  const bool wake_next = slept && !state_.empty();
  mu_.Unlock();
  Pause(PausePoint::kBeforeWake);
  // Writers sleep only while no slot is free, so only that has to wake one.
  if (freed_slot) write_queue_.WakeUpInterruptibleSyncPoll(kOutEvents);
  if (wake_next) read_queue_.WakeUpInterruptibleSyncPoll(kInEvents);
  return result;
}

int64_t Fifo::Write(const FifoFile& file, const char* data, size_t n) {
  MightSleep();
  ThreadTask& task = Task::Current();
  const bool whole = n <= kPipeBuf;
  size_t written = 0;
  int64_t error = 0;
  bool slept = false;
  bool first = true;
  mu_.Lock();
  if ((file.flags_ & kWrite) == 0 || n == 0) {
    error = (file.flags_ & kWrite) == 0 ? -EBADF : 0;
    mu_.Unlock();
    return error;
  }
  bool was_empty = state_.empty();
  for (;;) {
    if (readers_ == 0) {
      task.SendSignal(SIGPIPE);
      error = -EPIPE;
      break;
    }
    const size_t room = state_.Room(n - written, whole, first);
    if (room > 0) {
      state_.Append(absl::Cord(absl::string_view(data + written, room)), first);
      written += room;
      NoteLocked();
      if (written == n) break;
    }
    first = false;
    if ((file.flags_ & kNonblock) != 0) {
      error = -EAGAIN;
      break;
    }
    // Before the sleep, not after: space beats a signal.
    if (task.SignalPending()) {
      error = -kErestartsys;
      break;
    }
    mu_.Unlock();
    Pause(PausePoint::kUnlocked);
    if (was_empty) read_queue_.WakeUpInterruptibleSyncPoll(kInEvents);
    (void)WaitEventInterruptibleExclusive(write_queue_,
                                          [&] { return writable_.load(); });
    mu_.Lock();
    was_empty = state_.empty();
    slept = true;
  }
  // The chain, as in Read().
  const bool wake_next = slept && !state_.full();
  const bool wake_reader = was_empty || polled_;
  mu_.Unlock();
  Pause(PausePoint::kBeforeWake);
  // Readers sleep only while it is empty, so only the first bytes wake one.
  if (wake_reader) read_queue_.WakeUpInterruptibleSyncPoll(kInEvents);
  if (wake_next) write_queue_.WakeUpInterruptibleSyncPoll(kOutEvents);
  return written > 0 ? static_cast<int64_t>(written) : error;
}

PollEvents Fifo::Poll(const FifoFile& file, PollTable* table) {
  bool reads;
  bool writes;
  {
    MutexLock lock(&mu_);
    reads = (file.flags_ & kRead) != 0;
    writes = (file.flags_ & kWrite) != 0;
    polled_ = true;
  }
  // First enter, then look.
  if (table != nullptr && reads) table->Enter(read_queue_);
  if (table != nullptr && writes) table->Enter(write_queue_);
  Pause(PausePoint::kEnteredPoll);
  MutexLock lock(&mu_);
  PollEvents events = 0;
  if (reads) {
    if (!state_.empty()) events |= kInEvents;
    const bool hidden =
        file.hides_hup_ && file.hup_after_opens_ == writer_opens_;
    if (writers_ == 0 && !hidden) events |= kPollHup;
  }
  if (writes) {
    if (!state_.full()) events |= kOutEvents;
    if (readers_ == 0) events |= kPollErr;
  }
  return events;
}

}  // namespace waitq
