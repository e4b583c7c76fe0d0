// A named pipe: bytes between writers and readers who wait for each other.
//
// Strict order: whoever comes stands in line, also if it could be served at
// once, and the first in line is never passed. Each change is followed by
// serving, writers and readers in turn, until neither line moves.

#ifndef WAITQ_SERVER_ENGINE_PIPE_OBJECT_H_
#define WAITQ_SERVER_ENGINE_PIPE_OBJECT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "core/pipe_ends.h"
#include "core/pipe_state.h"
#include "server/engine/object.h"
#include "server/engine/operation.h"

namespace waitq::engine {

class PipeObject;

struct PipeOptions {
  uint64_t capacity_bytes = 64 * 1024;
  uint64_t atomic_max_bytes = 4096;  // at most the capacity

  bool operator==(const PipeOptions&) const = default;
};

// An open end of a pipe, as a file descriptor is one. Must be closed, once,
// when no operation of it is asleep.
class PipeReader {
 public:
  explicit PipeReader(Ref<PipeObject> pipe, PipeEnds::Reader state)
      : pipe_(std::move(pipe)), state_(state) {}
  PipeObject& pipe() const { return *pipe_; }

 private:
  friend class PipeObject;
  const Ref<PipeObject> pipe_;
  PipeEnds::Reader state_;  // guarded by the pipe's lock
};

class PipeWriter {
 public:
  explicit PipeWriter(Ref<PipeObject> pipe, PipeEnds::Writer state)
      : pipe_(std::move(pipe)), state_(state) {}
  PipeObject& pipe() const { return *pipe_; }

 private:
  friend class PipeObject;
  const Ref<PipeObject> pipe_;
  PipeEnds::Writer state_;  // guarded by the pipe's lock
};

// Takes up to `max_bytes`, and sleeps while there are none.
class ReadOperation final : public Operation {
 public:
  // `reader`: the handle that reads, which outlives this; or nullptr.
  ReadOperation(uint64_t max_bytes, PipeReader* reader, Home* home,
                Caller* caller, std::shared_ptr<const CallerInfo> caller_info)
      : Operation(&OnWake, /*exclusive=*/true, home, caller,
                  std::move(caller_info)),
        max_bytes_(max_bytes),
        reader_(reader) {}

  // After its end: the bytes, and the pipe's offset before them.
  absl::Cord TakeData() { return std::move(data_); }
  uint64_t offset() const { return offset_; }
  // With kEndOfFile: a writer died.
  bool broken() const { return broken_; }

  std::string Describe() const override;

 private:
  friend class PipeObject;
  static int OnWake(waitq::WaitEntry& entry, TaskState mode, int wake_flags,
                    void* key);

  const uint64_t max_bytes_;
  PipeReader* const reader_;
  absl::Cord data_;
  uint64_t offset_ = 0;
  bool broken_ = false;
};

// Appends all of `data`, and sleeps while it does not fit.
class WriteOperation final : public Operation {
 public:
  // `writer`: the handle that writes, which outlives this; or nullptr.
  WriteOperation(absl::Cord data, PipeWriter* writer, Home* home,
                 Caller* caller, std::shared_ptr<const CallerInfo> caller_info)
      : Operation(&OnWake, /*exclusive=*/true, home, caller,
                  std::move(caller_info)),
        total_bytes_(data.size()),
        writer_(writer),
        left_(std::move(data)) {}

  // After its end, whatever ended it: how much is in the pipe, and the pipe's
  // offset after it.
  uint64_t accepted_bytes() const { return total_bytes_ - left_.size(); }
  uint64_t offset() const { return offset_; }
  bool moved_bytes() const override { return accepted_bytes() > 0; }

  std::string Describe() const override;

 private:
  friend class PipeObject;
  static int OnWake(waitq::WaitEntry& entry, TaskState mode, int wake_flags,
                    void* key);

  const uint64_t total_bytes_;
  PipeWriter* const writer_;
  absl::Cord left_;
  uint64_t turn_left_bytes_ = 0;  // of this turn at the head of the line
  uint64_t charged_bytes_ = 0;    // of bytes_asleep
  uint64_t offset_ = 0;
};

struct PipeStat {
  PipeOptions options;
  uint64_t generation;
  uint64_t unread_bytes;
  uint64_t read_offset;
  uint64_t write_offset;
  uint32_t readers;
  uint32_t writers;
};

class PipeObject final : public Object {
 public:
  static constexpr ObjectKind kKind = ObjectKind::kPipe;

  PipeObject(Shared* shared, std::string name, bool created,
             const PipeOptions& options);

  const PipeOptions& options() const { return options_; }

  // Nothing if the pipe was just removed: look it up again.
  std::unique_ptr<PipeReader> OpenReader() ABSL_LOCKS_EXCLUDED(mu_);
  std::unique_ptr<PipeWriter> OpenWriter() ABSL_LOCKS_EXCLUDED(mu_);
  void Close(std::unique_ptr<PipeReader> reader) ABSL_LOCKS_EXCLUDED(mu_);
  // Not clean: the writer died. The readers are told.
  void Close(std::unique_ptr<PipeWriter> writer, bool clean)
      ABSL_LOCKS_EXCLUDED(mu_);

  PipeStat Stat() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  friend class ReadOperation;
  friend class WriteOperation;
  struct Walk;

  WaitList& LineLocked(Operation& operation) override
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void TestLocked(Operation& operation, DoneList& done) override
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AfterLeaveLocked(DoneList& done) override
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    ServeLocked(done);
  }
  void NoteEndLocked(Operation& operation) override
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  const char* ChargeLocked(Operation& operation) override
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void UnchargeLocked(Operation& operation) override
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void OnRemovedLocked() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool RefusedByDrain(const Operation& operation) const override;
  bool BusyLocked() const override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return ends_.writers() > 0;
  }
  bool BlankLocked() const override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return bytes_.empty() && ends_.Idle();
  }
  std::vector<WaitList*> LinesLocked() override
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return {&readers_, &writers_};
  }

  // Serves both lines until neither moves.
  void ServeLocked(DoneList& done) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What the first in line gets; a wake function's result.
  int ServeReaderLocked(ReadOperation& op, Walk& walk)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  int ServeWriterLocked(WriteOperation& op, Walk& walk)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // EPIPE: the last reader has left.
  bool IsBrokenForLocked(const WriteOperation& op) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Moves the first `n` bytes of a write into the pipe.
  void AcceptLocked(WriteOperation& op, uint64_t n)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const PipeOptions options_;
  PipeState bytes_ ABSL_GUARDED_BY(mu_);
  PipeEnds ends_ ABSL_GUARDED_BY(mu_);
  uint64_t generation_ ABSL_GUARDED_BY(mu_);
  WaitList readers_ ABSL_GUARDED_BY(mu_);
  WaitList writers_ ABSL_GUARDED_BY(mu_);
};

}  // namespace waitq::engine

#endif  // WAITQ_SERVER_ENGINE_PIPE_OBJECT_H_
