#include "server/engine/pipe_object.h"

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"

namespace waitq::engine {

// What serving the lines hands to the wake functions.
struct PipeObject::Walk {
  PipeObject& pipe;
  DoneList& done;
  bool moved = false;     // bytes, or an operation out of line
  bool told_end = false;  // a reader was told of an end
};

// --- Operations --------------------------------------------------------------

int ReadOperation::OnWake(waitq::WaitEntry& entry, TaskState, int, void* key) {
  auto& walk = *static_cast<PipeObject::Walk*>(key);
  walk.pipe.mu_.AssertHeld();
  auto& op = Of<ReadOperation>(entry);
  if (walk.pipe.PassedByLocked(op, walk.done)) return 0;
  return walk.pipe.ServeReaderLocked(op, walk);
}

int WriteOperation::OnWake(waitq::WaitEntry& entry, TaskState, int, void* key) {
  auto& walk = *static_cast<PipeObject::Walk*>(key);
  walk.pipe.mu_.AssertHeld();
  auto& op = Of<WriteOperation>(entry);
  if (walk.pipe.PassedByLocked(op, walk.done)) return 0;
  return walk.pipe.ServeWriterLocked(op, walk);
}

int PollOperation::OnWake(waitq::WaitEntry& entry, TaskState, int, void* key) {
  auto& walk = *static_cast<PipeObject::Walk*>(key);
  walk.pipe.mu_.AssertHeld();
  auto& op = Of<PollOperation>(entry);
  if (walk.pipe.PassedByLocked(op, walk.done)) return 0;
  return walk.pipe.TryPollLocked(op, walk.done) ? 1 : 0;
}

std::string PollOperation::Describe() const {
  return absl::StrCat("poll", in_ ? " in" : "", out_ ? " out" : "");
}

std::string ReadOperation::Describe() const {
  if (size_.min_bytes <= 1) {
    return absl::StrCat("read ", size_.max_bytes, " bytes");
  }
  return absl::StrCat("read ", size_.min_bytes, " to ", size_.max_bytes,
                      " bytes");
}

std::string WriteOperation::Describe() const {
  return absl::StrCat("write ", left_.size(), " of ", total_bytes_, " bytes");
}

// --- Lines -------------------------------------------------------------------

PipeObject::PipeObject(Shared* shared, std::string name, bool created,
                       const PipeOptions& options)
    : Object(shared, kKind, std::move(name), created),
      options_(options),
      bytes_({.capacity_bytes = options.capacity_bytes,
              .slot_bytes = 1,
              .ring = options.profile == PipeProfile::kScull,
              .packets = options.mode == PipeMode::kPacket}),
      ends_(/*has_ends=*/options.profile == PipeProfile::kFifo),
      generation_(incarnation()) {}

void PipeObject::OnRemovedLocked() {
  shared_.pipe_bytes.Return(bytes_.used_bytes());
  bytes_.Clear();
  CancelHoldTimerLocked();
  holds_.Clear();
  hold_ends_.clear();
  hold_infos_.clear();
}

Line& PipeObject::LineLocked(Operation& op) {
  switch (KindOf(op)) {
    case Kind::kRead:
      return readers_;
    case Kind::kWrite:
      return writers_;
    case Kind::kPoll:
      return pollers_;
    case Kind::kHandle:
      break;
  }
  return handles_;
}

bool PipeObject::RefusedByDrain(const Operation& op) const {
  return KindOf(op) == Kind::kWrite;
}

void PipeObject::TestLocked(Operation& operation, DoneList& done) {
  // What asks for nothing, or for what cannot be, does not stand in line.
  switch (KindOf(operation)) {
    case Kind::kRead: {
      auto& op = static_cast<ReadOperation&>(operation);
      if (op.size_.max_bytes == 0) {
        if (ClaimLocked(op)) FinishLocked(op, Ending::kDone, done);
        return;
      }
      // An end may be there for it, whose handle is older, and not for those
      // ahead of it. There are no bytes in which it could pass them.
      Walk walk{*this, done};
      if (bytes_.empty() && holds_.empty() && ServeReaderLocked(op, walk) > 0) {
        ends_.MarkSeen(bytes_.read_offset());
      }
      break;
    }
    case Kind::kWrite: {
      auto& op = static_cast<WriteOperation&>(operation);
      if (op.total_bytes_ == 0) return FinishLocked(op, Ending::kDone, done);
      if (IsBrokenForLocked(op)) {
        return FinishLocked(op, Ending::kNoReaders, done);
      }
      if (options_.mode == PipeMode::kPacket &&
          op.total_bytes_ > PacketBytesMax()) {
        return FinishLocked(op, Ending::kTooLong, done);  // it would never fit
      }
      break;
    }
    case Kind::kPoll:
      TryPollLocked(static_cast<PollOperation&>(operation), done);
      return;
    case Kind::kHandle:
      return;
  }
  ServeLocked(done);
}

bool PipeObject::IsBrokenForLocked(const WriteOperation& op) const {
  return ends_.IsBrokenFor(op.writer_ == nullptr ? nullptr
                                                 : &op.writer_->state_);
}

const char* PipeObject::ChargeLocked(Operation& operation) {
  if (KindOf(operation) != Kind::kWrite) return nullptr;
  auto& op = static_cast<WriteOperation&>(operation);
  op.asleep_.emplace(&shared_.bytes_asleep, &op.caller_info().bytes());
  return op.asleep_->Take(op.left_.size());
}

void PipeObject::UnchargeLocked(Operation& operation) {
  if (KindOf(operation) != Kind::kWrite) return;
  static_cast<WriteOperation&>(operation).asleep_->ReturnAll();
}

void PipeObject::NoteEndLocked(Operation& operation) {
  switch (KindOf(operation)) {
    case Kind::kRead: {
      auto& op = static_cast<ReadOperation&>(operation);
      if (op.data_.empty()) op.offset_ = bytes_.read_offset();
      break;
    }
    case Kind::kWrite: {
      auto& op = static_cast<WriteOperation&>(operation);
      if (op.accepted_bytes() == 0) op.offset_ = bytes_.write_offset();
      break;
    }
    case Kind::kPoll:
    case Kind::kHandle:
      break;
  }
}

// --- Polling -----------------------------------------------------------------

PipeEvents PipeObject::EventsLocked() const {
  // As much as is written whole; of packets, as much as fits at all.
  uint64_t room = options_.atomic_max_bytes;
  if (options_.mode == PipeMode::kPacket) {
    room = std::min(room, PacketBytesMax());
  } else if (options_.profile == PipeProfile::kScull) {
    room = 1;
  }
  return {.in = !bytes_.empty() || holds_.returned_bytes() > 0,
          .out = bytes_.Room(room, /*whole=*/true, /*first=*/true) > 0,
          .hup = ends_.HungUp(),
          .err = ends_.IsBrokenFor(nullptr)};
}

bool PipeObject::TryPollLocked(PollOperation& op, DoneList& done) {
  PipeEvents events = EventsLocked();
  events.in = events.in && op.in_;
  events.out = events.out && op.out_;
  // (Nothing is what everybody knows who has not been told of anything.)
  if (events == op.known_.value_or(PipeEvents())) return false;
  op.events_ = events;
  FinishLocked(op, Ending::kDone, done);
  return true;
}

// --- Serving -----------------------------------------------------------------

void PipeObject::ServeLocked(DoneList& done) {
  if (RemovedLocked()) return;
  Walk walk{*this, done};
  do {
    walk.moved = false;
    // Pollers before readers, as in the kernel: they see what readers then
    // take.
    for (Line* const line : {&writers_, &pollers_, &readers_}) {
      if (!line->empty()) line->Walk(kNormal, /*nr=*/0, /*flags=*/0, &walk);
    }
    // After the walk, so that all who sleep at the end have been told.
    if (std::exchange(walk.told_end, false)) {
      ends_.MarkSeen(bytes_.read_offset());
    }
  } while (walk.moved);
}

int PipeObject::ServeReaderLocked(ReadOperation& op, Walk& walk) {
  if (holds_.returned_bytes() > 0) return ServeReturnedLocked(op, walk);
  const uint64_t at = bytes_.read_offset();
  const uint64_t readable = ends_.ReadLimit(bytes_.write_offset()) - at;
  if (readable > 0) {
    if (bytes_.first_packet_bytes() > op.size_.max_bytes) {
      if (!ClaimLocked(op)) return 0;
      FinishLocked(op, Ending::kTooLong, walk.done);  // and the packet stays
      walk.moved = true;
      return 1;
    }
    const uint64_t n = PortionLocked(op, readable);
    if (n == 0) return -1;  // the first in line is never passed
    if (!ClaimLocked(op)) return 0;
    if (ChargeAnswerLocked(op, n, walk)) {
      GiveLocked(op, {at, bytes_.Take(n)}, /*charged=*/false, walk);
    }
    return 1;
  }
  // What is held may be put back: the end is not there yet.
  if (!holds_.empty()) return -1;
  PipeEnds::Reader* const reader =
      op.reader_ == nullptr ? nullptr : &op.reader_->state_;
  const PipeEnd end = ends_.EndAt(at, bytes_.empty(), reader);
  // Nor for those behind it: who sleeps at an end has been told of it when it
  // came, or (TestLocked) when the sleeper did.
  if (end == PipeEnd::kNone) return -1;
  if (!ClaimLocked(op)) return 0;
  ends_.Tell(at, reader);
  walk.told_end = true;
  op.broken_ = end == PipeEnd::kBroken;
  FinishLocked(op, Ending::kEndOfFile, walk.done);
  walk.moved = true;
  return 1;
}

// What was put back goes first, one place at a time; it may be less than the
// read's min_bytes.
int PipeObject::ServeReturnedLocked(ReadOperation& op, Walk& walk) {
  if (!ClaimLocked(op)) return 0;
  uint64_t n = holds_.first_returned_bytes();
  if (n > op.size_.max_bytes) {
    if (options_.mode == PipeMode::kPacket) {
      FinishLocked(op, Ending::kTooLong, walk.done);
      walk.moved = true;
      return 1;
    }
    n = op.size_.max_bytes;
  }
  if (ChargeAnswerLocked(op, n, walk)) {
    op.redelivered_ = true;
    GiveLocked(op, holds_.TakeReturned(n), /*charged=*/true, walk);
  }
  return 1;
}

bool PipeObject::ChargeAnswerLocked(ReadOperation& op, uint64_t n, Walk& walk) {
  op.unsent_.emplace(&shared_.bytes_unsent, &op.caller_info().bytes());
  const char* limit = op.unsent_->Take(n);
  // One that is held until it is taken costs its session one of its results.
  if (limit == nullptr && WillHold(op) && !op.until_taken_) {
    op.hold_charge_ = std::make_unique<Charge>(&shared_.bytes_unsent,
                                               &op.caller_info().bytes());
    limit = op.hold_charge_->Take(kHoldCost);
  }
  if (limit == nullptr) return true;
  FinishAtLimitLocked(op, limit, walk.done);
  walk.moved = true;
  return false;
}

void PipeObject::GiveLocked(ReadOperation& op, PipeHolds::Chunk chunk,
                            bool charged, Walk& walk) {
  const uint64_t cost = chunk.data.size() + WriteCost();
  op.offset_ = chunk.offset;
  if (!charged) bytes_.Charge(cost);
  if (WillHold(op)) {
    StartHoldLocked(op, std::move(chunk));
  } else {
    op.data_ = std::move(chunk.data);
    FreeLocked(cost);
  }
  generation_ = shared_.NextGeneration();
  FinishLocked(op, Ending::kDone, walk.done);
  walk.moved = true;
}

void PipeObject::FreeLocked(uint64_t n) {
  bytes_.Discharge(n);
  shared_.pipe_bytes.Return(n);
}

uint64_t PipeObject::PortionLocked(const ReadOperation& op,
                                   uint64_t readable) const {
  const uint64_t n = std::min(op.size_.max_bytes, readable);
  if (n >= op.size_.min_bytes) return n;
  // Too little, unless there is an end behind it: no more will come before
  // that.
  const uint64_t behind = bytes_.read_offset() + readable;
  const PipeEnd end =
      ends_.EndAt(behind, /*empty=*/behind == bytes_.write_offset(),
                  op.reader_ == nullptr ? nullptr : &op.reader_->state_);
  return end == PipeEnd::kNone ? 0 : n;
}

int PipeObject::ServeWriterLocked(WriteOperation& op, Walk& walk) {
  if (IsBrokenForLocked(op)) {
    FinishLocked(op, Ending::kNoReaders, walk.done);
    walk.moved = true;
    return 1;
  }
  const bool whole = options_.mode == PipeMode::kPacket ||
                     (op.total_bytes_ <= options_.atomic_max_bytes &&
                      options_.profile != PipeProfile::kScull);
  const bool alone = writers_.First() == &EntryOf(op) &&
                     writers_.After(EntryOf(op)) == nullptr;
  const bool in_turns = !whole && !alone;
  if (in_turns && op.turn_left_bytes_ == 0) {
    op.turn_left_bytes_ =
        std::max(options_.atomic_max_bytes, options_.capacity_bytes / 4);
  }
  const uint64_t want = in_turns
                            ? std::min(op.left_.size(), op.turn_left_bytes_)
                            : op.left_.size();
  const uint64_t n = bytes_.Room(want, whole, /*first=*/true);
  if (n == 0) return -1;  // the first in line is never passed
  walk.moved = true;
  if (!shared_.pipe_bytes.Take(n + WriteCost())) {
    FinishAtLimitLocked(op, shared_.pipe_bytes.name(), walk.done);
    return 1;
  }
  AcceptLocked(op, n);
  if (op.left_.empty() || options_.profile == PipeProfile::kScull) {
    FinishLocked(op, Ending::kDone, walk.done);
    return 1;
  }
  op.turn_left_bytes_ -= std::min(op.turn_left_bytes_, n);
  if (!in_turns || op.turn_left_bytes_ > 0) return -1;
  // Its turn is over and others wait: to the tail, where this walk comes to it
  // once more.
  WaitList::Remove(EntryOf(op));
  writers_.AddTail(EntryOf(op));
  return 0;
}

void PipeObject::AcceptLocked(WriteOperation& op, uint64_t n) {
  if (n == op.left_.size()) {
    bytes_.Append(std::exchange(op.left_, absl::Cord()), /*first=*/true);
  } else {
    bytes_.Append(op.left_.Subcord(0, n), /*first=*/true);
    op.left_.RemovePrefix(n);
  }
  op.offset_ = bytes_.write_offset();
  if (op.asleep_) op.asleep_->Return(n);
  generation_ = shared_.NextGeneration();
}

// --- Handles -----------------------------------------------------------------

std::unique_ptr<PipeReader> PipeObject::OpenReader() {
  DoneList done;
  std::unique_ptr<PipeReader> reader;
  {
    MutexLock lock(&mu_);
    if (RemovedLocked()) return nullptr;
    reader =
        std::make_unique<PipeReader>(Ref<PipeObject>(this), ends_.OpenReader());
    // Who knows that the last reader has left is told that there is one.
    if (!pollers_.empty()) ServeLocked(done);
  }
  DeliverAll(std::move(done));
  return reader;
}

std::unique_ptr<PipeWriter> PipeObject::OpenWriter() {
  DoneList done;
  std::unique_ptr<PipeWriter> writer;
  {
    MutexLock lock(&mu_);
    if (RemovedLocked()) return nullptr;
    writer =
        std::make_unique<PipeWriter>(Ref<PipeObject>(this), ends_.OpenWriter());
    if (!pollers_.empty()) ServeLocked(done);
  }
  DeliverAll(std::move(done));
  return writer;
}

void PipeObject::Close(std::unique_ptr<PipeReader> /*reader*/) {
  DoneList done;
  {
    MutexLock lock(&mu_);
    if (ends_.CloseReader()) ServeLocked(done);  // EPIPE for sleeping writers
    NoteIdleLocked();
  }
  DeliverAll(std::move(done));
}

void PipeObject::Close(std::unique_ptr<PipeWriter> /*writer*/, bool clean) {
  DoneList done;
  {
    MutexLock lock(&mu_);
    if (ends_.CloseWriter(clean, bytes_.write_offset())) ServeLocked(done);
    NoteIdleLocked();
  }
  DeliverAll(std::move(done));
}

PipeStat PipeObject::Stat() const {
  MutexLock lock(&mu_);
  return {.options = options_,
          .generation = generation_,
          .unread_bytes = bytes_.unread_bytes() + holds_.returned_bytes(),
          .held_bytes = holds_.held_bytes(),
          .read_offset = bytes_.read_offset(),
          .write_offset = bytes_.write_offset(),
          .readers = ends_.readers(),
          .writers = ends_.writers()};
}

}  // namespace waitq::engine
