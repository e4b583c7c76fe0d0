#include "core/timer_wheel.h"

#include <algorithm>

#include "core/check.h"

namespace waitq {

Timer::~Timer() { WAITQ_CHECK(next_ == nullptr, "a timer dies while armed"); }

TimerWheel::TimerWheel(Ticks now) : now_(now) {}

TimerWheel::~TimerWheel() {
  WAITQ_CHECK(count_ == 0, "a timer wheel dies with timers armed");
}

TimerWheel::Position TimerWheel::PositionOf(Ticks expiry) const {
  const uint64_t differing = static_cast<uint64_t>(expiry ^ now_);
  if (differing < kSlots) return {0, static_cast<int>(expiry & (kSlots - 1))};
  const int level = (63 - __builtin_clzll(differing)) / kSlotBits;
  return {level,
          static_cast<int>((expiry >> (level * kSlotBits)) & (kSlots - 1))};
}

void TimerWheel::Link(Timer& timer) {
  const Position at = PositionOf(timer.expiry_);
  Timer*& first = slots_[at.level][at.slot];
  if (first == nullptr) {
    first = timer.next_ = timer.prev_ = &timer;
    occupied_[at.level] |= uint64_t{1} << at.slot;
    return;
  }
  timer.next_ = first;
  timer.prev_ = first->prev_;
  first->prev_->next_ = &timer;
  first->prev_ = &timer;
}

void TimerWheel::Unlink(Timer& timer) {
  // The position has not changed since Link: a slot is emptied when now_
  // reaches it, and until then the same bit is the highest that differs.
  const Position at = PositionOf(timer.expiry_);
  Timer*& first = slots_[at.level][at.slot];
  if (timer.next_ == &timer) {
    first = nullptr;
    occupied_[at.level] &= ~(uint64_t{1} << at.slot);
  } else {
    timer.prev_->next_ = timer.next_;
    timer.next_->prev_ = timer.prev_;
    if (first == &timer) first = timer.next_;
  }
  timer.next_ = timer.prev_ = nullptr;
}

void TimerWheel::Arm(Timer& timer, Ticks expiry) {
  WAITQ_CHECK(timer.next_ == nullptr, "a timer is armed twice");
  timer.expiry_ = std::max(expiry, now_);
  Link(timer);
  ++count_;
}

bool TimerWheel::Cancel(Timer& timer) {
  if (timer.next_ == nullptr) return false;
  Unlink(timer);
  --count_;
  return true;
}

std::optional<Ticks> TimerWheel::NextWork() const {
  // What stands in a lower level is always due before what stands in a higher
  // one, because it shares more of its leading bits with now_.
  for (int level = 0; level < kLevels; ++level) {
    if (occupied_[level] == 0) continue;
    const int slot = __builtin_ctzll(occupied_[level]);
    const int shift = level * kSlotBits;
    return (((now_ >> shift) & ~Ticks{kSlots - 1}) | slot) << shift;
  }
  return std::nullopt;
}

Timer* TimerWheel::PopExpired(Ticks now) {
  for (;;) {
    const std::optional<Ticks> work = NextWork();
    if (!work.has_value() || *work > now) {
      now_ = std::max(now_, now);
      return nullptr;
    }
    now_ = std::max(now_, *work);
    if (occupied_[0] != 0) {
      Timer* timer = slots_[0][__builtin_ctzll(occupied_[0])];
      Cancel(*timer);
      return timer;
    }
    MoveDown();
  }
}

void TimerWheel::MoveDown() {
  int level = 1;
  while (occupied_[level] == 0) ++level;
  const int slot = __builtin_ctzll(occupied_[level]);
  Timer* const first = slots_[level][slot];
  slots_[level][slot] = nullptr;
  occupied_[level] &= ~(uint64_t{1} << slot);
  Timer* timer = first;
  do {
    Timer* const next = timer->next_;
    Link(*timer);
    timer = next;
  } while (timer != first);
}

}  // namespace waitq
