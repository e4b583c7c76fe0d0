#include "core/epoll.h"

#include <cerrno>
#include <utility>

#include "core/might_sleep.h"
#include "core/pause.h"

namespace waitq {
namespace {

constexpr PollEvents kInOut = kPollIn | kPollOut;
constexpr PollEvents kAlways = kPollErr | kPollHup;
constexpr PollEvents kReadyEvents = kPollIn | kPollRdNorm;
// Not events: what is left of a kEpollOneshot item that has fired.
constexpr PollEvents kPrivate = kEpollEt | kEpollOneshot | kEpollExclusive;
constexpr PollEvents kWithExclusive =
    kInOut | kAlways | kEpollEt | kEpollExclusive;

// While an Epoll is added to another one: so that two do not make a loop.
constinit Mutex nesting_mutex;

// Whether a callback for an exclusive item has used up the waker's one:
// somebody was waiting, for the direction that was woken, or for any.
bool UsesUpWake(PollEvents happened, PollEvents events) {
  if ((happened & kPollFree) != 0) return false;
  switch (happened & kInOut) {
    case kPollIn:
      return (events & kPollIn) != 0;
    case kPollOut:
      return (events & kPollOut) != 0;
    default:
      return (happened & kInOut) == 0;
  }
}

}  // namespace

// --- Wake functions ----------------------------------------------------------

// Out of line even if it ran already: it has timed out, say, and will look.
int Epoll::WakeWaiter(WaitEntry& entry, TaskState mode, int wake_flags,
                      void* key) {
  const int woken = DefaultWakeFunction(entry, mode, wake_flags, key);
  Pause(PausePoint::kBeforeUnlink);
  WaitList::Remove(entry);
  return woken;
}

int Epoll::Callback(WaitEntry& entry, TaskState, int wake_flags, void* key) {
  auto& own = static_cast<Entry&>(entry);
  Epoll& epoll = own.item.epoll;
  const PollEvents happened = waitq::EventsOf(key);
  bool used_up = false;
  bool wake_pollers = false;
  {
    SpinLockGuard guard(&epoll.lock_);
    const PollEvents events = own.item.event.events;
    const bool is_exclusive = (events & kEpollExclusive) != 0;
    used_up = !is_exclusive;
    // One that has fired and is not armed has no events.
    if ((events & ~kPrivate) != 0 &&
        (happened == 0 || (happened & events) != 0)) {
      epoll.MakeReadyLocked(own.item);
      // Without a barrier: waiters enter under lock_, too.
      if (epoll.waiters_.WaitqueueActive()) {
        if (is_exclusive) used_up = UsesUpWake(happened, events);
        (wake_flags & kWakeSync) != 0 ? epoll.waiters_.WakeUpSync()
                                      : epoll.waiters_.WakeUp();
      }
      wake_pollers = epoll.pollers_.WaitqueueActive();
    }
  }
  if (wake_pollers) epoll.pollers_.WakeUpPoll(kPollIn);
  if ((happened & kPollFree) != 0) {
    WaitList::Remove(entry);
    own.queue.store(nullptr, std::memory_order_relaxed);  // pollfree_mutex()
  }
  return used_up ? 1 : 0;
}

void Epoll::MakeReadyLocked(Item& item) {
  if (std::exchange(item.ready, true)) return;
  ready_.splice(ready_.end(), idle_, item.self);
}

// --- What is watched ---------------------------------------------------------

// ep_ptable_queue_proc().
class Epoll::Entering final : public PollTable {
 public:
  Entering(Item* item, bool exclusive) : item_(*item), exclusive_(exclusive) {}

  void Enter(WaitQueue& queue) override {
    Entry& entry = item_.entries.emplace_back(&item_, &queue);
    exclusive_ ? queue.AddExclusive(entry) : queue.Add(entry);
    // Partner of the barrier in WaitQueue::HasSleeper().
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  bool entering() const override { return true; }

 private:
  Item& item_;
  const bool exclusive_;
};

Epoll::~Epoll() {
  MutexLock lock(&mutex_);
  for (const auto& [file, item] : items_) Leave(*item);
}

int Epoll::Add(Pollable& file, const EpollEvent& event) {
  auto* const nested = dynamic_cast<Epoll*>(&file);
  if (nested == this) return -EINVAL;
  if ((event.events & kEpollExclusive) != 0 &&
      (nested != nullptr || (event.events & ~kWithExclusive) != 0)) {
    return -EINVAL;
  }
  if (nested == nullptr) return AddChecked(file, event);
  MutexLock lock(&nesting_mutex);
  return nested->Watches(*this) ? -ELOOP : AddChecked(file, event);
}

bool Epoll::Watches(const Epoll& other) {
  MutexLock lock(&mutex_);
  for (const auto& [file, item] : items_) {
    auto* const nested = dynamic_cast<Epoll*>(file);
    if (nested == nullptr) continue;
    if (nested == &other || nested->Watches(other)) return true;
  }
  return false;
}

int Epoll::AddChecked(Pollable& file, const EpollEvent& event) {
  MutexLock lock(&mutex_);
  const auto [place, is_new] = items_.try_emplace(&file);
  if (!is_new) return -EEXIST;
  Item* item = nullptr;
  {
    SpinLockGuard guard(&lock_);
    idle_.emplace_front(
        this, &file,
        EpollEvent{.events = event.events | kAlways, .data = event.data});
    item = &idle_.front();
    item->self = idle_.begin();
  }
  place->second = item;
  Entering entering(item, (event.events & kEpollExclusive) != 0);
  Look(*item, &entering);
  return 0;
}

int Epoll::Modify(Pollable& file, const EpollEvent& event) {
  if (&file == this) return -EINVAL;
  if ((event.events & kEpollExclusive) != 0) return -EINVAL;
  MutexLock lock(&mutex_);
  const auto found = items_.find(&file);
  if (found == items_.end()) return -ENOENT;
  Item& item = *found->second;
  {
    SpinLockGuard guard(&lock_);
    if ((item.event.events & kEpollExclusive) != 0) return -EINVAL;
    item.event = {.events = event.events | kAlways, .data = event.data};
  }
  // First the new events, for callbacks; then the look at what is there.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  Look(item, nullptr);
  return 0;
}

int Epoll::Remove(Pollable& file) {
  if (&file == this) return -EINVAL;
  MutexLock lock(&mutex_);
  const auto found = items_.find(&file);
  if (found == items_.end()) return -ENOENT;
  Item& item = *found->second;
  Leave(item);
  items_.erase(found);
  SpinLockGuard guard(&lock_);
  (item.ready ? ready_ : idle_).erase(item.self);
  return 0;
}

void Epoll::Leave(Item& item) {
  for (Entry& entry : item.entries) {
    // The queue does not go while this is held: see WakeUpPollfree().
    MutexLock life(&WaitQueue::pollfree_mutex());
    WaitQueue* const queue = entry.queue.load(std::memory_order_relaxed);
    if (queue != nullptr) queue->Remove(entry);
  }
}

PollEvents Epoll::EventsOfItem(Item& item, PollTable* table) {
  const PollEvents events = item.file.Poll(table);
  SpinLockGuard guard(&lock_);
  return events & item.event.events;
}

void Epoll::Look(Item& item, PollTable* table) {
  if (EventsOfItem(item, table) == 0) return;
  bool wake_pollers = false;
  {
    SpinLockGuard guard(&lock_);
    if (item.ready) return;
    MakeReadyLocked(item);
    if (waiters_.WaitqueueActive()) waiters_.WakeUp();
    wake_pollers = pollers_.WaitqueueActive();
  }
  if (wake_pollers) pollers_.WakeUpPoll(kPollIn);
}

// --- Waiting -----------------------------------------------------------------

template <class Found>
void Epoll::Scan(Found&& found) {
  size_t left = 0;
  {
    SpinLockGuard guard(&lock_);
    left = ready_.size();
    scanning_ = true;
  }
  for (bool go_on = true; go_on && left > 0; --left) {
    Item* item = nullptr;
    {
      // Idle before the look at the file: what happens after it makes it ready
      // again.
      SpinLockGuard guard(&lock_);
      item = &ready_.front();
      item->ready = false;
      idle_.splice(idle_.end(), ready_, item->self);
    }
    const PollEvents events = EventsOfItem(*item, nullptr);
    if (events == 0) continue;
    SpinLockGuard guard(&lock_);
    go_on = found(*item, events);
  }
  SpinLockGuard guard(&lock_);
  scanning_ = false;
  // For those who saw `scanning_`, and for what is left.
  if (!ready_.empty() && waiters_.WaitqueueActive()) waiters_.WakeUp();
}

int Epoll::Harvest(std::span<EpollEvent> events) {
  MutexLock lock(&mutex_);
  size_t count = 0;
  Scan([&](Item& item, PollEvents happened) {
    // Under lock_, which the analysis does not see here.
    lock_.AssertHeld();
    events[count++] = {.events = happened, .data = item.event.data};
    if ((item.event.events & kEpollOneshot) != 0) {
      item.event.events &= kPrivate;
    } else if ((item.event.events & kEpollEt) == 0) {
      MakeReadyLocked(item);  // until a look finds nothing
    }
    return count < events.size();
  });
  return static_cast<int>(count);
}

int Epoll::Wait(std::span<EpollEvent> events, Ticks timeout) {
  if (events.empty()) return -EINVAL;
  MightSleep();
  ThreadTask& task = Task::Current();
  const absl::Time deadline =
      task.DeadlineAfter(timeout < 0 ? kMaxScheduleTimeout : timeout);
  bool timed_out = timeout == 0;
  bool available = false;
  {
    SpinLockGuard guard(&lock_);
    available = AvailableLocked();
  }
  for (;;) {
    if (available && task.FatalSignalPending()) {
      // Who woke this one chose it: another has to see to what is there.
      SpinLockGuard guard(&lock_);
      if (AvailableLocked() && waiters_.WaitqueueActive()) waiters_.WakeUp();
      return -EINTR;
    }
    if (available) {
      const int count = Harvest(events);
      if (count > 0) return count;
    }
    if (timed_out) return 0;
    if (task.SignalPending()) return -EINTR;
    WaitEntry entry(&task, &WakeWaiter);
    Pause(PausePoint::kBeforeEnqueue);
    {
      SpinLockGuard guard(&lock_);
      task.SetState(kInterruptible);
      available = AvailableLocked();
      if (!available) {
        SpinLockGuard waiters_guard(&waiters_.lock());
        waiters_.AddExclusiveLocked(entry);
      }
    }
    Pause(PausePoint::kStateSet);
    if (!available) timed_out = task.ScheduleUntil(deadline) == 0;
    Pause(PausePoint::kBeforeFinish);
    task.SetRunning();
    SpinLockGuard guard(&lock_);
    // Timed out, and nobody has chosen it since: that is all. Who was chosen
    // has to harvest once more, or an event would wait for the next one.
    available = !(timed_out && entry.queued());
    SpinLockGuard waiters_guard(&waiters_.lock());
    WaitList::Remove(entry);
  }
}

PollEvents Epoll::Poll(PollTable* table) {
  if (table != nullptr) table->Enter(pollers_);
  Pause(PausePoint::kEnteredPoll);
  PollEvents result = 0;
  MutexLock lock(&mutex_);
  Scan([&](Item& item, PollEvents) {
    lock_.AssertHeld();
    // Back where it was, unless a callback was faster: looking takes nothing.
    if (!std::exchange(item.ready, true)) {
      ready_.splice(ready_.begin(), idle_, item.self);
    }
    result = kReadyEvents;
    return false;
  });
  return result;
}

}  // namespace waitq
