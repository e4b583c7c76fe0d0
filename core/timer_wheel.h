// A hierarchical timing wheel: any number of timers, armed and cancelled in
// constant time.
//
// After Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987),
// scheme 7: eleven levels of 64 slots, so that every tick there is has a place.
// A timer moves down a level when its slot comes up, so that expiry is exact to
// the tick at any distance (Linux's wheel does not move timers, and is up to an
// eighth late on long ones).

#ifndef WAITQ_CORE_TIMER_WHEEL_H_
#define WAITQ_CORE_TIMER_WHEEL_H_

#include <cstdint>
#include <optional>

#include "absl/time/time.h"

namespace waitq {

// Time in ticks of kTick since the origin of Clock. The kernel's jiffies.
using Ticks = int64_t;
inline constexpr absl::Duration kTick = absl::Microseconds(100);

// A node that the owner embeds or keeps on its stack; 32 bytes.
//
// Ownership: the caller's. It must stay alive until it has fired or Cancel()
// has returned true; see Timers::CancelSync for one on a stack.
class Timer {
 public:
  using Fire = void (*)(Timer&);

  explicit Timer(Fire fire) : fire_(fire) {}
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

 private:
  friend class TimerWheel;
  friend class Timers;

  Timer* next_ = nullptr;  // nullptr: not armed
  Timer* prev_ = nullptr;
  Ticks expiry_ = 0;
  Fire const fire_;
};

// The wheel itself. Not thread-safe: Timers puts a lock around it.
class TimerWheel {
 public:
  // `now`: the tick at which it begins; PopExpired() never gets an earlier one.
  explicit TimerWheel(Ticks now);
  // No timer may be armed.
  ~TimerWheel();
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  // Lets `timer`, which must not be armed, expire at tick `expiry`; one in the
  // past expires at the next tick that PopExpired() is given.
  void Arm(Timer& timer, Ticks expiry);

  // Takes an armed timer out. False if it was not armed.
  bool Cancel(Timer& timer);

  // Takes out one timer whose expiry is not after `now`, or returns nullptr if
  // there is none. `now` never goes back. Timers of one tick come out in no
  // particular order; those of an earlier tick come out first.
  Timer* PopExpired(Ticks now);

  // A tick at which PopExpired() must be called next: that of the earliest
  // timer, or an earlier one if timers have to move down a level before.
  std::optional<Ticks> NextWork() const;

  bool empty() const { return count_ == 0; }

 private:
  static constexpr int kSlotBits = 6;
  static constexpr int kLevels = (63 + kSlotBits - 1) / kSlotBits;
  static constexpr int kSlots = 1 << kSlotBits;

  struct Position {
    int level;
    int slot;
  };
  Position PositionOf(Ticks expiry) const;
  void Link(Timer& timer);
  void Unlink(Timer& timer);
  // Spreads the first slot with timers above level 0, which now_ has reached,
  // over the levels below.
  void MoveDown();

  // All expiries in the wheel are >= now_; those in level l share with now_
  // all bits above that level's.
  Ticks now_;
  int64_t count_ = 0;
  uint64_t occupied_[kLevels] = {};
  Timer* slots_[kLevels][kSlots] = {};
};

}  // namespace waitq

#endif  // WAITQ_CORE_TIMER_WHEEL_H_
