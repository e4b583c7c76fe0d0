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
  if (walk.pipe.EndIfNearDeadlineLocked(op, walk.done)) return 0;
  return walk.pipe.ServeReaderLocked(op, walk);
}

int WriteOperation::OnWake(waitq::WaitEntry& entry, TaskState, int, void* key) {
  auto& walk = *static_cast<PipeObject::Walk*>(key);
  walk.pipe.mu_.AssertHeld();
  auto& op = Of<WriteOperation>(entry);
  if (walk.pipe.EndIfNearDeadlineLocked(op, walk.done)) return 0;
  return walk.pipe.ServeWriterLocked(op, walk);
}

std::string ReadOperation::Describe() const {
  return absl::StrCat("read ", max_bytes_, " bytes");
}

std::string WriteOperation::Describe() const {
  return absl::StrCat("write ", left_.size(), " of ", total_bytes_, " bytes");
}

// --- Lines -------------------------------------------------------------------

PipeObject::PipeObject(Shared* shared, std::string name, bool created,
                       const PipeOptions& options)
    : Object(shared, kKind, std::move(name), created),
      options_(options),
      bytes_({.capacity_bytes = options.capacity_bytes, .slot_bytes = 1}),
      generation_(incarnation()) {}

void PipeObject::OnRemovedLocked() {
  shared_.pipe_bytes.Return(bytes_.Take(bytes_.unread_bytes()).size());
}

namespace {

bool IsRead(const Operation& op) {
  return dynamic_cast<const ReadOperation*>(&op) != nullptr;
}

}  // namespace

WaitList& PipeObject::LineLocked(Operation& op) {
  return IsRead(op) ? readers_ : writers_;
}

bool PipeObject::RefusedByDrain(const Operation& op) const {
  return !IsRead(op);
}

void PipeObject::TestLocked(Operation& operation, DoneList& done) {
  // What asks for nothing, or for what cannot be, does not stand in line.
  if (IsRead(operation)) {
    auto& op = static_cast<ReadOperation&>(operation);
    if (op.max_bytes_ == 0) return FinishLocked(op, Ending::kDone, done);
    // An end may be there for it, whose handle is older, and not for those
    // ahead of it. There are no bytes in which it could pass them.
    Walk walk{*this, done};
    if (bytes_.empty() && ServeReaderLocked(op, walk) > 0) {
      ends_.MarkSeen(bytes_.read_offset());
      ServeLocked(done);
      return;
    }
  } else {
    auto& op = static_cast<WriteOperation&>(operation);
    if (op.total_bytes_ == 0) return FinishLocked(op, Ending::kDone, done);
    if (IsBrokenForLocked(op)) {
      return FinishLocked(op, Ending::kNoReaders, done);
    }
  }
  ServeLocked(done);
}

bool PipeObject::IsBrokenForLocked(const WriteOperation& op) const {
  return ends_.IsBrokenFor(op.writer_ == nullptr ? nullptr
                                                 : &op.writer_->state_);
}

const char* PipeObject::ChargeLocked(Operation& operation) {
  if (IsRead(operation)) return nullptr;
  auto& op = static_cast<WriteOperation&>(operation);
  if (!shared_.bytes_asleep.Take(op.left_.size())) {
    return shared_.bytes_asleep.name();
  }
  op.charged_bytes_ = op.left_.size();
  return nullptr;
}

void PipeObject::UnchargeLocked(Operation& operation) {
  if (IsRead(operation)) return;
  auto& op = static_cast<WriteOperation&>(operation);
  shared_.bytes_asleep.Return(std::exchange(op.charged_bytes_, 0));
}

void PipeObject::NoteEndLocked(Operation& operation) {
  if (IsRead(operation)) {
    auto& op = static_cast<ReadOperation&>(operation);
    op.offset_ = bytes_.read_offset() - op.data_.size();
    return;
  }
  auto& op = static_cast<WriteOperation&>(operation);
  if (op.accepted_bytes() == 0) op.offset_ = bytes_.write_offset();
}

// --- Serving -----------------------------------------------------------------

void PipeObject::ServeLocked(DoneList& done) {
  if (RemovedLocked()) return;
  Walk walk{*this, done};
  do {
    walk.moved = false;
    writers_.Walk(kNormal, /*nr=*/0, /*wake_flags=*/0, &walk);
    readers_.Walk(kNormal, /*nr=*/0, /*wake_flags=*/0, &walk);
    // After the walk, so that all who sleep at the end have been told.
    if (std::exchange(walk.told_end, false)) {
      ends_.MarkSeen(bytes_.read_offset());
    }
  } while (walk.moved);
}

int PipeObject::ServeReaderLocked(ReadOperation& op, Walk& walk) {
  const uint64_t at = bytes_.read_offset();
  const uint64_t readable = ends_.ReadLimit(bytes_.write_offset()) - at;
  if (readable > 0) {
    op.data_ = bytes_.Take(std::min(op.max_bytes_, readable));
    shared_.pipe_bytes.Return(op.data_.size());
    generation_ = shared_.NextGeneration();
    FinishLocked(op, Ending::kDone, walk.done);
    walk.moved = true;
    return 1;
  }
  PipeEnds::Reader* const reader =
      op.reader_ == nullptr ? nullptr : &op.reader_->state_;
  const PipeEnd end = ends_.EndAt(at, bytes_.empty(), reader);
  // Nor for those behind it: who sleeps at an end has been told of it when it
  // came, or (TestLocked) when the sleeper did.
  if (end == PipeEnd::kNone) return -1;
  ends_.Tell(at, reader);
  walk.told_end = true;
  op.broken_ = end == PipeEnd::kBroken;
  FinishLocked(op, Ending::kEndOfFile, walk.done);
  walk.moved = true;
  return 1;
}

int PipeObject::ServeWriterLocked(WriteOperation& op, Walk& walk) {
  if (IsBrokenForLocked(op)) {
    FinishLocked(op, Ending::kNoReaders, walk.done);
    walk.moved = true;
    return 1;
  }
  const bool whole = op.total_bytes_ <= options_.atomic_max_bytes;
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
  if (!shared_.pipe_bytes.Take(n)) {
    FinishAtLimitLocked(op, shared_.pipe_bytes.name(), walk.done);
    return 1;
  }
  AcceptLocked(op, n);
  if (op.left_.empty()) {
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
  bytes_.Append(op.left_.Subcord(0, n), /*first=*/true);
  op.left_.RemovePrefix(n);
  op.offset_ = bytes_.write_offset();
  const uint64_t charged = std::min(n, op.charged_bytes_);
  op.charged_bytes_ -= charged;
  shared_.bytes_asleep.Return(charged);
  generation_ = shared_.NextGeneration();
}

// --- Handles -----------------------------------------------------------------

std::unique_ptr<PipeReader> PipeObject::OpenReader() {
  MutexLock lock(&mu_);
  if (RemovedLocked()) return nullptr;
  return std::make_unique<PipeReader>(Ref<PipeObject>(this),
                                      ends_.OpenReader());
}

std::unique_ptr<PipeWriter> PipeObject::OpenWriter() {
  MutexLock lock(&mu_);
  if (RemovedLocked()) return nullptr;
  return std::make_unique<PipeWriter>(Ref<PipeObject>(this),
                                      ends_.OpenWriter());
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
          .unread_bytes = bytes_.unread_bytes(),
          .read_offset = bytes_.read_offset(),
          .write_offset = bytes_.write_offset(),
          .readers = ends_.readers(),
          .writers = ends_.writers()};
}

}  // namespace waitq::engine
