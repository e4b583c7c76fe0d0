// A named pipe: bytes between writers and readers who wait for each other.
//
// Strict order: whoever comes stands in line, also if it could be served at
// once, and the first in line is never passed. Each change is followed by
// serving, writers and readers in turn, until neither line moves.

#ifndef WAITQ_SERVER_ENGINE_PIPE_OBJECT_H_
#define WAITQ_SERVER_ENGINE_PIPE_OBJECT_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "core/pipe_ends.h"
#include "core/pipe_holds.h"
#include "core/pipe_state.h"
#include "core/timers.h"
#include "server/engine/limits.h"
#include "server/engine/object.h"
#include "server/engine/operation.h"
#include "server/engine/recycled.h"

namespace waitq::engine {

class PipeObject;

// What is between two writes: nothing, or the border of a packet.
enum class PipeMode : uint8_t { kStream, kPacket };

enum class PipeProfile : uint8_t {
  kFifo,   // ends of file, EPIPE
  kQueue,  // neither: a mailbox that outlives its readers and writers
  kScull,  // neither, and a ring: what "Linux Device Drivers" teaches
};

struct PipeOptions {
  uint64_t capacity_bytes = 64 * 1024;
  uint64_t atomic_max_bytes = 4096;  // at most the capacity
  PipeMode mode = PipeMode::kStream;
  PipeProfile profile = PipeProfile::kFifo;

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

// What a hold costs in memory, besides its bytes.
inline constexpr uint64_t kHoldCost = 256;

// How much a read wants. `min_bytes` is at most `max_bytes`; where an end
// stands, less will do. Of packets: one, of up to max_bytes.
struct ReadSize {
  ReadSize(uint64_t max, uint64_t min = 1) : max_bytes(max), min_bytes(min) {}
  uint64_t max_bytes;
  uint64_t min_bytes;
};

// What can be done with a pipe, as poll(2) has it.
struct PipeEvents {
  bool in = false;   // a byte is unread
  bool out = false;  // a write of up to atomic_max_bytes would not sleep
  bool hup = false;  // writers have been there, and none is
  bool err = false;  // the last reader has left: a write would be EPIPE

  bool operator==(const PipeEvents&) const = default;
};

// Base of what stands in a pipe's lines.
class PipeOperation : public Operation {
 protected:
  enum class Kind : uint8_t { kRead, kWrite, kPoll, kHandle };

  PipeOperation(Kind kind, WakeFunction wake, bool exclusive, Home* home,
                Caller* caller, std::shared_ptr<CallerInfo> caller_info)
      : Operation(wake, exclusive, home, caller, std::move(caller_info)),
        kind_(kind) {}

 private:
  friend class PipeObject;
  const Kind kind_;
};

// Takes what is there, and sleeps while that is too little.
class ReadOperation final : public PipeOperation,
                            public Recycled<ReadOperation> {
 public:
  // `reader`: the handle that reads, which outlives this; or nullptr.
  ReadOperation(ReadSize size, PipeReader* reader, Home* home, Caller* caller,
                std::shared_ptr<CallerInfo> caller_info)
      : PipeOperation(Kind::kRead, &OnWake, /*exclusive=*/true, home, caller,
                      std::move(caller_info)),
        size_(size),
        reader_(reader) {}
  // The bytes count as unsent for as long as it lives: keep it until the answer
  // is out.

  // Before its start: what it gets is not gone, but held, until it is accepted
  // (PipeObject::Accept) or, after that time, put back for others.
  void HoldFor(absl::Duration time) { hold_for_ = time; }
  bool holds() const { return hold_for_.has_value(); }
  // After its end: it has got bytes, and holds them by its id.
  bool held() const { return !until_taken_ && held_; }

  // Of a session's read, instead: held until Taken() or GiveBack(). (A scull
  // pipe knows no holds: it reads as if this was not said.)
  void HoldUntilTaken() {
    hold_for_ = absl::InfiniteDuration();
    until_taken_ = true;
  }
  bool until_taken() const { return until_taken_; }
  void GiveBack() override;
  uint64_t result_bytes() const override { return data_.size(); }

  // After its end: the bytes, and the pipe's offset before them.
  const absl::Cord& data() const { return data_; }
  uint64_t offset() const { return offset_; }
  // Somebody had them before, and did not accept them.
  bool redelivered() const { return redelivered_; }
  // With kEndOfFile: a writer died.
  bool broken() const { return broken_; }

  bool is_admitted() const override { return reader_ != nullptr; }
  std::string Describe() const override;

 private:
  friend class PipeObject;
  static int OnWake(waitq::WaitEntry& entry, TaskState mode, int wake_flags,
                    void* key);

  const ReadSize size_;
  PipeReader* const reader_;
  absl::Cord data_;
  std::optional<Charge> unsent_;         // of data_
  std::unique_ptr<Charge> hold_charge_;  // for the hold to take over
  std::optional<absl::Duration> hold_for_;
  bool until_taken_ = false;
  bool held_ = false;
  bool redelivered_ = false;
  uint64_t offset_ = 0;
  bool broken_ = false;
};

// Appends all of `data`, and sleeps while it does not fit.
class WriteOperation final : public PipeOperation,
                             public Recycled<WriteOperation> {
 public:
  // `writer`: the handle that writes, which outlives this; or nullptr.
  WriteOperation(absl::Cord data, PipeWriter* writer, Home* home,
                 Caller* caller, std::shared_ptr<CallerInfo> caller_info)
      : PipeOperation(Kind::kWrite, &OnWake, /*exclusive=*/true, home, caller,
                      std::move(caller_info)),
        total_bytes_(data.size()),
        writer_(writer),
        left_(std::move(data)) {}

  // After its end, whatever ended it: how much is in the pipe, and the pipe's
  // offset after it.
  uint64_t accepted_bytes() const {
    return total_bytes_ - left_.size() - dropped_bytes_;
  }
  uint64_t offset() const { return offset_; }
  bool moved_bytes() const override { return accepted_bytes() > 0; }
  bool gives() const override { return true; }
  bool takes() const override { return false; }
  // What is not in the pipe. There may be some though the write is done, of a
  // ring: partial writes are normal there.
  absl::Cord TakeRest() { return std::move(left_); }
  void DropUnused() override {
    dropped_bytes_ += left_.size();
    left_.Clear();
  }

  bool is_admitted() const override { return writer_ != nullptr; }
  std::string Describe() const override;

 private:
  friend class PipeObject;
  static int OnWake(waitq::WaitEntry& entry, TaskState mode, int wake_flags,
                    void* key);

  const uint64_t total_bytes_;
  PipeWriter* const writer_;
  absl::Cord left_;
  uint64_t dropped_bytes_ = 0;    // of it, that nobody asks for
  uint64_t turn_left_bytes_ = 0;  // of this turn at the head of the line
  std::optional<Charge> asleep_;  // of left_
  uint64_t offset_ = 0;
};

// Sleeps until one of the events is there that it asks for, or until they are
// others than its caller knows; `hup` and `err` are always asked for.
class PollOperation final : public PipeOperation {
 public:
  PollOperation(bool in, bool out, Home* home, Caller* caller,
                std::shared_ptr<CallerInfo> caller_info)
      : PipeOperation(Kind::kPoll, &OnWake, /*exclusive=*/false, home, caller,
                      std::move(caller_info)),
        in_(in),
        out_(out) {}

  // Before its start: its caller knows of these.
  void SetKnown(const PipeEvents& known) { known_ = known; }

  // After its end: those of the events that were there.
  const PipeEvents& events() const { return events_; }

  bool takes() const override { return false; }
  std::string Describe() const override;

 private:
  friend class PipeObject;
  static int OnWake(waitq::WaitEntry& entry, TaskState mode, int wake_flags,
                    void* key);

  const bool in_;
  const bool out_;
  std::optional<PipeEvents> known_;
  PipeEvents events_;
};

// Stands by an open handle while there is nothing that it waits for: ends when
// the pipe is removed and, of a writer, when the server drains; never by
// itself.
class HandleOperation final : public PipeOperation {
 public:
  HandleOperation(bool writes, Home* home, Caller* caller,
                  std::shared_ptr<CallerInfo> caller_info)
      : PipeOperation(Kind::kHandle, &OnWake, /*exclusive=*/false, home, caller,
                      std::move(caller_info)),
        writes_(writes) {}

  bool gives() const override { return writes_; }
  bool takes() const override { return false; }
  bool is_sleeper() const override { return false; }
  // Readers may go on until the pipe is empty.
  bool ends_on_drain() const override { return writes_; }
  std::string Describe() const override { return "handle"; }

  // The home lives until the end is delivered to it, which takes this off.
  void KeepHome(Ref<RefCounted> home) { kept_ = std::move(home); }
  Ref<RefCounted> TakeHome() { return std::move(kept_); }

 private:
  // No walk comes here.
  static int OnWake(waitq::WaitEntry&, TaskState, int, void*) { return 0; }

  const bool writes_;
  Ref<RefCounted> kept_;
};

struct PipeStat {
  PipeOptions options = {};
  uint64_t generation;
  uint64_t unread_bytes;
  uint64_t held_bytes;
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

  // Whether the least size of a read is one that this pipe may come to.
  bool CanEverServe(const ReadOperation& op) const {
    const bool bytes = options_.mode == PipeMode::kStream &&
                       options_.profile != PipeProfile::kScull;
    return op.size_.min_bytes <= (bytes ? options_.capacity_bytes : 1);
  }

  // Nothing if the pipe was just removed: look it up again.
  std::unique_ptr<PipeReader> OpenReader() ABSL_LOCKS_EXCLUDED(mu_);
  std::unique_ptr<PipeWriter> OpenWriter() ABSL_LOCKS_EXCLUDED(mu_);
  void Close(std::unique_ptr<PipeReader> reader) ABSL_LOCKS_EXCLUDED(mu_);
  // Not clean: the writer died. The readers are told.
  void Close(std::unique_ptr<PipeWriter> writer, bool clean)
      ABSL_LOCKS_EXCLUDED(mu_);

  // The bytes below `up_to` of what the read with that id holds are gone for
  // good; by default all. False: there is no such hold (any more), or `up_to`
  // is not in it, and nothing has changed.
  bool Accept(uint64_t hold_id, std::optional<uint64_t> up_to)
      ABSL_LOCKS_EXCLUDED(mu_);
  // What the read with that id holds is put back. False: there is no such hold.
  bool Release(uint64_t hold_id) ABSL_LOCKS_EXCLUDED(mu_);
  // Results of these reads are their caller's for good.
  void Taken(absl::Span<Operation* const> operations) override
      ABSL_LOCKS_EXCLUDED(mu_);
  // The bytes of a read that was not are put back.
  void GiveBack(ReadOperation& operation) ABSL_LOCKS_EXCLUDED(mu_);
  // What this caller's reads hold by their ids is put back.
  void ReleaseAllOf(const CallerInfo& caller) override ABSL_LOCKS_EXCLUDED(mu_);

  PipeStat Stat() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  friend class PollOperation;
  friend class ReadOperation;
  friend class WriteOperation;
  using Kind = PipeOperation::Kind;
  struct Walk;

  Line& LineLocked(Operation& operation) override
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
    return ends_.writers() > 0 || holds_.holds() > 0;
  }
  bool BlankLocked() const override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return bytes_.empty() && holds_.empty() && ends_.Idle();
  }
  std::vector<Line*> LinesLocked() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return {&readers_, &writers_, &pollers_};
  }
  Line* HandlesLocked() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return &handles_;
  }

  static Kind KindOf(const Operation& operation) {
    return static_cast<const PipeOperation&>(operation).kind_;
  }

  PipeEvents EventsLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // True if it has ended.
  bool TryPollLocked(PollOperation& op, DoneList& done)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Serves the lines until none moves.
  void ServeLocked(DoneList& done) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What the first in line gets; a wake function's result.
  int ServeReaderLocked(ReadOperation& op, Walk& walk)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The same where something was put back.
  int ServeReturnedLocked(ReadOperation& op, Walk& walk)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  int ServeWriterLocked(WriteOperation& op, Walk& walk)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What one write costs besides its bytes, also of the bytes in all pipes.
  uint64_t WriteCost() const {
    return options_.mode == PipeMode::kPacket ? PipeState::kPacketCost : 0;
  }
  // The longest packet that fits the pipe, and an answer.
  uint64_t PacketBytesMax() const {
    return std::min(options_.capacity_bytes - PipeState::kPacketCost,
                    kAnswerBytesMax);
  }
  // What a read gets of `readable` bytes before the next end; 0: it sleeps on.
  uint64_t PortionLocked(const ReadOperation& op, uint64_t readable) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether its answer may have so many bytes; otherwise it has ended at a
  // limit.
  bool ChargeAnswerLocked(ReadOperation& op, uint64_t n, Walk& walk)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Ends the read with these bytes: to hold, or for good. `charged`: they were
  // held before, and count as such.
  void GiveLocked(ReadOperation& op, PipeHolds::Chunk chunk, bool charged,
                  Walk& walk) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // So much of what was taken and is charged is gone.
  void FreeLocked(uint64_t n) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Holds (pipe_object_holds.cc).
  bool WillHold(const ReadOperation& op) const {
    return op.holds() && options_.profile != PipeProfile::kScull;
  }
  void StartHoldLocked(ReadOperation& op, PipeHolds::Chunk chunk)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void EndHoldLocked(uint64_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Something was put back.
  void AfterPutBackLocked(DoneList& done) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ArmHoldTimerLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CancelHoldTimerLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  static void OnHoldTimer(waitq::Timer& timer);

  // EPIPE: the last reader has left.
  bool IsBrokenForLocked(const WriteOperation& op) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Moves the first `n` bytes of a write into the pipe.
  void AcceptLocked(WriteOperation& op, uint64_t n)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const PipeOptions options_;
  PipeState bytes_ ABSL_GUARDED_BY(mu_);
  PipeHolds holds_ ABSL_GUARDED_BY(mu_);
  // When the holds end, soonest first.
  absl::btree_set<std::pair<absl::Time, uint64_t>> hold_ends_
      ABSL_GUARDED_BY(mu_);
  // By id. What a hold costs besides its bytes counts for its caller.
  struct HoldInfo {
    absl::Time end;
    std::shared_ptr<CallerInfo>
        caller;  // before the charge, which points to it
    std::unique_ptr<Charge> charge;
  };
  absl::flat_hash_map<uint64_t, HoldInfo> hold_infos_ ABSL_GUARDED_BY(mu_);
  struct HoldTimer : waitq::Timer {
    explicit HoldTimer(PipeObject* pipe_in)
        : waitq::Timer(&OnHoldTimer), pipe(*pipe_in) {}
    PipeObject& pipe;
  };
  HoldTimer hold_timer_{this};
  // It is armed for then; it owns a reference to this while it is.
  std::optional<absl::Time> hold_timer_at_ ABSL_GUARDED_BY(mu_);
  PipeEnds ends_ ABSL_GUARDED_BY(mu_);
  uint64_t generation_ ABSL_GUARDED_BY(mu_);
  Line readers_ ABSL_GUARDED_BY(mu_);
  Line writers_ ABSL_GUARDED_BY(mu_);
  Line pollers_ ABSL_GUARDED_BY(mu_);
  Line handles_ ABSL_GUARDED_BY(mu_);
};

}  // namespace waitq::engine

#endif  // WAITQ_SERVER_ENGINE_PIPE_OBJECT_H_
