// PipeObject: what readers hold, until they accept it or it is put back.

#include <optional>
#include <utility>

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
    generation_ = shared_.NextGeneration();
    ServeLocked(done);
  }
  DeliverAll(std::move(done));
  return true;
}

void PipeObject::StartHoldLocked(uint64_t id, PipeHolds::Chunk chunk,
                                 absl::Duration time) {
  holds_.Hold(id, std::move(chunk));
  const absl::Time end = shared_.Now() + time;
  hold_ends_.emplace(end, id);
  hold_end_of_.emplace(id, end);
  ArmHoldTimerLocked();
}

void PipeObject::EndHoldLocked(uint64_t id) {
  const auto it = hold_end_of_.find(id);
  hold_ends_.erase({it->second, id});
  hold_end_of_.erase(it);
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
    if (put_back) {
      pipe->generation_ = pipe->shared_.NextGeneration();
      pipe->ServeLocked(done);
    }
  }
  DeliverAll(std::move(done));
}

}  // namespace waitq::engine
