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
  if (walk.completion.done_ == 0) return -1;  // nothing left for anybody
  if (!walk.completion.TakeLocked(&op)) return 0;
  walk.completion.FinishLocked(op, Ending::kDone, walk.done);
  ++walk.woken;
  return 1;
}

CompletionObject::CompletionObject(Shared* shared, std::string name,
                                   bool created)
    : Object(shared, kKind, std::move(name), created),
      generation_(incarnation()) {}

bool CompletionObject::TakeLocked(CompletionOperation* op) {
  if (done_ == 0) return false;
  if (op != nullptr && !ClaimLocked(*op)) return false;
  if (done_ != kAll) {
    --done_;
    // One is as good as another: who takes one now may have somebody else's.
    if (returned_ > 0) {
      --returned_;
      if (op != nullptr) op->redelivered_ = true;
    }
  }
  generation_ = shared_.NextGeneration();
  return true;
}

void CompletionObject::TestLocked(Operation& operation, DoneList& done) {
  if (TakeLocked(static_cast<CompletionOperation*>(&operation))) {
    FinishLocked(operation, Ending::kDone, done);
  }
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
    const uint64_t woken = WakeLocked(ended);
    result = {woken, done_, generation_};
    NoteIdleLocked();
  }
  DeliverAll(std::move(ended));
  return absl::OkStatus();
}

uint64_t CompletionObject::WakeLocked(DoneList& ended) {
  generation_ = shared_.NextGeneration();
  Walk walk{*this, ended};
  line_.Walk(kNormal, /*nr=*/0, /*wake_flags=*/0, &walk);
  return walk.woken;
}

void CompletionObject::GiveBack(uint64_t taken_at) {
  DoneList ended;
  {
    MutexLock lock(&mu_);
    // What was forgotten since stays so; for good is for good.
    if (RemovedLocked() || done_ == kAll || taken_at < reinit_generation_) {
      return;
    }
    ++done_;
    ++returned_;
    WakeLocked(ended);
    NoteIdleLocked();
  }
  DeliverAll(std::move(ended));
}

void CompletionOperation::GiveBack() {
  if (ending() != Ending::kDone) return;
  static_cast<CompletionObject&>(object()).GiveBack(generation_);
}

absl::Status CompletionObject::Reinit(Result& result) {
  MutexLock lock(&mu_);
  if (RemovedLocked()) return MakeError(EIDRM, "removed");
  done_ = returned_ = 0;
  generation_ = reinit_generation_ = shared_.NextGeneration();
  result = {0, done_, generation_};
  NoteIdleLocked();
  return absl::OkStatus();
}

absl::Status CompletionObject::TryWait(bool& taken) {
  MutexLock lock(&mu_);
  if (RemovedLocked()) return MakeError(EIDRM, "removed");
  taken = TakeLocked(nullptr);
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
