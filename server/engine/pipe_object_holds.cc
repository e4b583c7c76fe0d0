// PipeObject: what readers hold, until they accept it or it is put back.

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/engine/pipe_object.h"

namespace waitq::engine {

bool PipeObject::Accept(uint64_t hold_id, std::optional<uint64_t> up_to) {
  DoneList done;
  {
    MutexLock lock(&mu_);
    if (!up_to.has_value()) up_to = holds_.EndOf(hold_id);
    if (!up_to.has_value()) return false;
    const std::optional<size_t> accepted = holds_.Accept(hold_id, *up_to);
    if (!accepted.has_value()) return false;
    FreeLocked(*accepted);
    if (!holds_.EndOf(hold_id).has_value()) {  // all of it
      FreeLocked(WriteCost());
      EndHoldLocked(hold_id);
    }
    generation_ = shared_.NextGeneration();
    ServeLocked(done);  // there is room, and perhaps the end of the file
    NoteIdleLocked();
  }
  DeliverAll(std::move(done));
  return true;
}

bool PipeObject::Release(uint64_t hold_id) {
  DoneList done;
  {
    MutexLock lock(&mu_);
    if (!holds_.PutBack(hold_id)) return false;
    EndHoldLocked(hold_id);
    AfterPutBackLocked(done);
  }
  DeliverAll(std::move(done));
  return true;
}

void PipeObject::ReleaseAllOf(const CallerInfo& caller) {
  DoneList done;
  {
    MutexLock lock(&mu_);
    std::vector<uint64_t> ids;
    for (const auto& [id, info] : hold_infos_) {
      if (info.caller.get() == &caller) ids.push_back(id);
    }
    if (ids.empty()) return;
    std::sort(ids.begin(), ids.end());  // the map keeps no order
    for (const uint64_t id : ids) {
      holds_.PutBack(id);
      EndHoldLocked(id);
    }
    AfterPutBackLocked(done);
  }
  DeliverAll(std::move(done));
}

void PipeObject::AfterPutBackLocked(DoneList& done) {
  generation_ = shared_.NextGeneration();
  ServeLocked(done);
  NoteIdleLocked();
}

void PipeObject::Taken(absl::Span<Operation* const> operations) {
  DoneList done;
  {
    MutexLock lock(&mu_);
    if (RemovedLocked()) return;
    bool freed = false;
    for (Operation* const operation : operations) {
      if (KindOf(*operation) != Kind::kRead) continue;
      auto& op = static_cast<ReadOperation&>(*operation);
      if (!op.until_taken_ || !std::exchange(op.held_, false)) continue;
      holds_.AcceptElsewhere(op.data_.size());
      FreeLocked(op.data_.size() + WriteCost());
      freed = true;
    }
    if (!freed) return;
    generation_ = shared_.NextGeneration();
    ServeLocked(done);  // there is room, and perhaps the end of the file
    NoteIdleLocked();
  }
  DeliverAll(std::move(done));
}

void PipeObject::GiveBack(ReadOperation& op) {
  if (!op.until_taken_) {
    // Nobody knows the id that it was to be accepted by.
    if (op.held_) Release(op.id());
    return;
  }
  DoneList done;
  {
    MutexLock lock(&mu_);
    if (RemovedLocked() || !std::exchange(op.held_, false)) return;
    holds_.PutBackElsewhere({op.offset_, op.data_});
    AfterPutBackLocked(done);
  }
  DeliverAll(std::move(done));
}

void ReadOperation::GiveBack() {
  static_cast<PipeObject&>(object()).GiveBack(*this);
}

void PipeObject::StartHoldLocked(ReadOperation& op, PipeHolds::Chunk chunk) {
  if (!op.until_taken_) op.data_ = chunk.data;
  // A few bytes must not keep all those that they were written with. (A packet
  // is just those.)
  if (options_.mode != PipeMode::kPacket &&
      chunk.data.EstimatedMemoryUsage() > 2 * chunk.data.size() + kHoldCost) {
    chunk.data = absl::Cord(std::string(chunk.data));
  }
  op.held_ = true;
  if (op.until_taken_) {
    // With its result, which the session keeps.
    holds_.HoldElsewhere(chunk.data.size());
    op.data_ = std::move(chunk.data);
    return;
  }
  holds_.Hold(op.id(), std::move(chunk));
  const absl::Time end = shared_.Now() + *op.hold_for_;
  hold_ends_.emplace(end, op.id());
  hold_infos_.emplace(op.id(), HoldInfo{end, op.shared_caller_info(),
                                        std::move(op.hold_charge_)});
  ArmHoldTimerLocked();
}

void PipeObject::EndHoldLocked(uint64_t id) {
  const auto it = hold_infos_.find(id);
  hold_ends_.erase({it->second.end, id});
  hold_infos_.erase(it);
}

void PipeObject::ArmHoldTimerLocked() {
  if (hold_ends_.empty()) return;
  const absl::Time first = hold_ends_.begin()->first;
  if (hold_timer_at_.has_value()) {
    if (*hold_timer_at_ <= first) return;  // it looks then, and arms again
    // If it is firing at this moment, it will look when we are out of the lock.
    if (!shared_.timers.Cancel(hold_timer_)) return;
  } else {
    AddRef();  // the timer's
  }
  hold_timer_at_ = first;
  shared_.timers.Arm(hold_timer_, first);
}

void PipeObject::CancelHoldTimerLocked() {
  if (!hold_timer_at_.has_value() || !shared_.timers.Cancel(hold_timer_)) {
    return;
  }
  hold_timer_at_.reset();
  DropRef();  // the timer's; whoever removes the pipe has another
}

void PipeObject::OnHoldTimer(waitq::Timer& timer) {
  // The reference that arming has taken.
  const auto pipe =
      Ref<PipeObject>::Adopt(&static_cast<HoldTimer&>(timer).pipe);
  DoneList done;
  {
    MutexLock lock(&pipe->mu_);
    pipe->hold_timer_at_.reset();
    const absl::Time now = pipe->shared_.Now();
    bool put_back = false;
    while (!pipe->hold_ends_.empty() &&
           pipe->hold_ends_.begin()->first <= now) {
      const uint64_t id = pipe->hold_ends_.begin()->second;
      pipe->holds_.PutBack(id);
      pipe->EndHoldLocked(id);
      put_back = true;
    }
    pipe->ArmHoldTimerLocked();
    if (put_back) pipe->AfterPutBackLocked(done);
  }
  DeliverAll(std::move(done));
}

}  // namespace waitq::engine
