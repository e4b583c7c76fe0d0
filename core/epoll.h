// Watching many files at once: epoll(7), for threads.
//
// Unlike Poll(), an Epoll stands in the queues of its files all the time, and
// keeps a list of those that may be ready: to wait costs the files that are
// ready, not those that are watched.
//
//   Epoll epoll;
//   epoll.Add(file, {kPollIn, /*data=*/1});
//   EpollEvent events[8];
//   int n = epoll.Wait(events, kMaxScheduleTimeout);
//
// A file is ready while its events are there; with kEpollEt when they come;
// with kEpollOneshot once, until Modify(). kPollErr and kPollHup are always
// watched.
//
// With kEpollExclusive, of several Epolls that watch one file an event wakes
// only one that somebody waits on, the first to have added it; all have the
// file ready. For Add() only, and only with kPollIn, kPollOut, kPollErr,
// kPollHup and kEpollEt.
//
// Threads that wait on one Epoll are woken newest first, one for each event.
//
// After fs/eventpoll.c, 7.1.

#ifndef WAITQ_CORE_EPOLL_H_
#define WAITQ_CORE_EPOLL_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <list>
#include <span>
#include <unordered_map>

#include "absl/base/thread_annotations.h"
#include "core/mutex.h"
#include "core/poll.h"
#include "core/poll_events.h"
#include "core/spin_lock.h"
#include "core/task.h"
#include "core/wait_list.h"
#include "core/wait_queue.h"

namespace waitq {

struct EpollEvent {
  PollEvents events;
  uint64_t data;  // comes back with the events
};

// Thread safety: any thread may call any method.
// Lifetimes: a file is removed before it goes; closing it does not. Queues of a
// file may go before it, after WaitQueue::WakeUpPollfree().
// Destruction: when nobody waits on it (a check failure), nobody polls it and
// no other Epoll watches it.
class Epoll final : public Pollable {
 public:
  Epoll() = default;
  ~Epoll();
  Epoll(const Epoll&) = delete;
  Epoll& operator=(const Epoll&) = delete;

  // epoll_ctl(): 0, or
  //   -EEXIST  Add() of what is watched already
  //   -ENOENT  Modify(), Remove() of what is not
  //   -EINVAL  kEpollExclusive where it may not be, also Modify() of such a
  //            file; or this Epoll itself
  //   -ELOOP   an Epoll that watches this one, by others perhaps
  [[nodiscard]] int Add(Pollable& file, const EpollEvent& event)
      ABSL_LOCKS_EXCLUDED(mutex_, lock_);
  [[nodiscard]] int Modify(Pollable& file, const EpollEvent& event)
      ABSL_LOCKS_EXCLUDED(mutex_, lock_);
  [[nodiscard]] int Remove(Pollable& file) ABSL_LOCKS_EXCLUDED(mutex_, lock_);

  // epoll_wait(): waits until a file is ready, `timeout` ticks at most
  // (negative, or kMaxScheduleTimeout: for ever; 0: only looks). Returns how
  // many of `events` it has set, in the order in which the files became ready;
  // 0 if it timed out; -EINTR if nothing is ready and a signal is pending;
  // -EINVAL if `events` is empty.
  [[nodiscard]] int Wait(std::span<EpollEvent> events, Ticks timeout)
      ABSL_LOCKS_EXCLUDED(mutex_, lock_);

  // kPollIn while a file is ready.
  PollEvents Poll(PollTable* table) override ABSL_LOCKS_EXCLUDED(mutex_, lock_);

 private:
  struct Item;
  using Items = std::list<Item>;

  // In one of a file's queues, for an item.
  struct Entry : WaitEntry {
    Entry(Item* item_in, WaitQueue* queue_in)
        : WaitEntry(ForAdd{}, nullptr, &Callback),
          item(*item_in),
          queue(queue_in) {}
    Item& item;
    std::atomic<WaitQueue*> queue;  // nullptr: that one is gone
  };

  // A file that is watched: epitem.
  struct Item {
    Item(Epoll* epoll_in, Pollable* file_in, const EpollEvent& event_in)
        : epoll(*epoll_in), file(*file_in), event(event_in) {}
    Epoll& epoll;
    Pollable& file;
    EpollEvent event;           // guarded by lock_
    bool ready = false;         // in ready_, not idle_; guarded by lock_
    Items::iterator self;       // constant
    std::deque<Entry> entries;  // guarded by mutex_
  };

  class Entering;

  // ep_poll_callback().
  static int Callback(WaitEntry& entry, TaskState mode, int wake_flags,
                      void* key);
  // ep_autoremove_wake_function().
  static int WakeWaiter(WaitEntry& entry, TaskState mode, int wake_flags,
                        void* key);

  bool Watches(const Epoll& other) ABSL_LOCKS_EXCLUDED(mutex_);
  int AddChecked(Pollable& file, const EpollEvent& event)
      ABSL_LOCKS_EXCLUDED(mutex_, lock_);
  // Looks whether the item is ready now, and if so wakes.
  void Look(Item& item, PollTable* table) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  PollEvents EventsOfItem(Item& item, PollTable* table)
      ABSL_LOCKS_EXCLUDED(lock_);
  // Takes an item's entries out of their queues: no callback comes after it.
  void Leave(Item& item) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Goes through those that are ready now, and have been since before; for each
  // calls `found(item, events)` under lock_, which says whether to go on.
  template <class Found>
  void Scan(Found&& found) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int Harvest(std::span<EpollEvent> events) ABSL_LOCKS_EXCLUDED(mutex_, lock_);

  void MakeReadyLocked(Item& item) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  bool AvailableLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    // While it is scanned what is ready may be on neither list.
    return !ready_.empty() || scanning_;
  }

  // Lock order: mutex_, a file's own locks, the lock of a file's queue, lock_,
  // the locks of waiters_ and pollers_.
  Mutex mutex_;  // who changes what is watched, or harvests
  std::unordered_map<Pollable*, Item*> items_ ABSL_GUARDED_BY(mutex_);
  SpinLock lock_;
  Items idle_ ABSL_GUARDED_BY(lock_);
  Items ready_ ABSL_GUARDED_BY(lock_);
  bool scanning_ ABSL_GUARDED_BY(lock_) = false;
  WaitQueue waiters_;  // in Wait(); entered and left under lock_ only
  WaitQueue pollers_;
};

}  // namespace waitq

#endif  // WAITQ_CORE_EPOLL_H_
