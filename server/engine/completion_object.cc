#include "server/engine/completion_object.h"

#include <cerrno>

#include "server/engine/error.h"

namespace waitq::engine {

struct CompletionObject::Walk {
  CompletionObject& completion;
  DoneList& done;
  uint64_t woken = 0;
};

int CompletionOperation::OnWake(waitq::WaitEntry& entry, TaskState, int,
                                void* key) {
  auto& op = Of<CompletionOperation>(entry);
  auto& walk = *static_cast<CompletionObject::Walk*>(key);
  walk.completion.mu_.AssertHeld();
  if (walk.completion.PassedByLocked(op, walk.done)) return 0;
  if (!walk.completion.TakeLocked()) return -1;  // nothing left for anybody
  walk.completion.FinishLocked(op, Ending::kDone, walk.done);
  ++walk.woken;
  return 1;
}

CompletionObject::CompletionObject(Shared* shared, std::string name,
                                   bool created)
    : Object(shared, kKind, std::move(name), created),
      generation_(incarnation()) {}

bool CompletionObject::TakeLocked() {
  if (done_ == 0) return false;
  if (done_ != kAll) --done_;
  generation_ = shared_.NextGeneration();
  return true;
}

void CompletionObject::TestLocked(Operation& operation, DoneList& done) {
  if (TakeLocked()) FinishLocked(operation, Ending::kDone, done);
}

void CompletionObject::NoteEndLocked(Operation& operation) {
  static_cast<CompletionOperation&>(operation).generation_ = generation_;
}

absl::Status CompletionObject::Complete(uint32_t nr, Result& result) {
  DoneList ended;
  {
    MutexLock lock(&mu_);
    if (RemovedLocked()) return MakeError(EIDRM, "removed");
    // Saturates: then it is done for good, as the kernel's.
    done_ = nr > kAll - done_ ? kAll : done_ + nr;
    generation_ = shared_.NextGeneration();
    Walk walk{*this, ended};
    line_.Walk(kNormal, /*nr=*/0, /*wake_flags=*/0, &walk);
    result = {walk.woken, done_, generation_};
    NoteIdleLocked();
  }
  DeliverAll(std::move(ended));
  return absl::OkStatus();
}

absl::Status CompletionObject::Reinit(Result& result) {
  MutexLock lock(&mu_);
  if (RemovedLocked()) return MakeError(EIDRM, "removed");
  done_ = 0;
  generation_ = shared_.NextGeneration();
  result = {0, done_, generation_};
  NoteIdleLocked();
  return absl::OkStatus();
}

absl::Status CompletionObject::TryWait(bool& taken) {
  MutexLock lock(&mu_);
  if (RemovedLocked()) return MakeError(EIDRM, "removed");
  taken = TakeLocked();
  NoteIdleLocked();
  return absl::OkStatus();
}

uint32_t CompletionObject::done() const {
  MutexLock lock(&mu_);
  return done_;
}

uint64_t CompletionObject::generation() const {
  MutexLock lock(&mu_);
  return generation_;
}

}  // namespace waitq::engine
