// A line of sleepers, and how a waker walks it. Without a lock of its own.
//
// Threads and callbacks (remote operations) stand in the same line, in the same
// order, and count the same. After include/linux/wait.h and kernel/sched/wait.c
// (6.18 to 7.1).

#ifndef WAITQ_CORE_WAIT_LIST_H_
#define WAITQ_CORE_WAIT_LIST_H_

#include <atomic>
#include <cstdint>

#include "core/check.h"
#include "core/task.h"

namespace waitq {

class WaitEntry;

// Flags of a walk, for its wake functions.
inline constexpr int kWakeSync = 0x10;  // the waker is about to sleep: a hint

// What a walk does with an entry. Called under the line's lock: it must not
// sleep, nor wake, add or remove any entry but its own (which it may unlink).
//   < 0: stop the walk; this entry was not woken
//     0: not woken (wrong state, condition false, key that does not match)
//   > 0: woken; if the entry is exclusive it uses up one of the walk's `nr`
// To wake its own queue is a check failure (core/spin_lock.h).
using WakeFunction = int (*)(WaitEntry& entry, TaskState mode, int wake_flags,
                             void* key);

// Wakes the entry's task if it sleeps in a state of `mode`; leaves the entry
// queued. default_wake_function().
int DefaultWakeFunction(WaitEntry& entry, TaskState mode, int wake_flags,
                        void* key);

// The same, and unlinks the entry if it woke the task; the sleeper's frame may
// be gone right after. autoremove_wake_function().
int AutoremoveWakeFunction(WaitEntry& entry, TaskState mode, int wake_flags,
                           void* key);

// Links of the circular list; also the list's head. Written under the lock;
// read without it by the tests for emptiness.
struct WaitLink {
  std::atomic<WaitLink*> next;
  std::atomic<WaitLink*> prev;
};

// A sleeper's node; 40 bytes. Embedded in whatever sleeps, or on its stack.
//
// Ownership: the sleeper's. It must not die while queued.
// Thread safety: guarded by the lock of the line that it stands in.
class WaitEntry : private WaitLink {
 public:
  enum Flags : uint32_t {
    kExclusive = 0x01,
    kWoken = 0x02,   // WokenWakeFunction() was here (core/wait_woken.h)
    kCustom = 0x04,  // for wake functions of one's own, as kDone
    kDone = 0x08,
    kPriority = 0x10,  // woken before all that have it not
  };

  // init_wait_entry(): not queued. `task` may be nullptr if `wake` needs none.
  explicit WaitEntry(Task* task, WakeFunction wake, uint32_t flags = 0)
      : WaitLink{this, this}, flags_(flags), task_(task), wake_(wake) {}

  // DECLARE_WAITQUEUE(): an entry for WaitQueue::Add…() and Remove() only. Its
  // links are null; the functions that enqueue what is not queued refuse it.
  struct ForAdd {};
  WaitEntry(ForAdd, Task* task, WakeFunction wake = &DefaultWakeFunction)
      : WaitLink{nullptr, nullptr}, flags_(0), task_(task), wake_(wake) {}

  ~WaitEntry() { WAITQ_CHECK(!queued(), "a wait entry dies while queued"); }
  WaitEntry(const WaitEntry&) = delete;
  WaitEntry& operator=(const WaitEntry&) = delete;

  bool queued() const {
    const WaitLink* const link = next.load(std::memory_order_relaxed);
    return link != this && link != nullptr;
  }
  bool exclusive() const { return (flags() & kExclusive) != 0; }
  Task* task() const { return task_; }

  uint32_t flags() const { return flags_.load(std::memory_order_relaxed); }
  void set_flags(uint32_t flags) {
    flags_.store(flags, std::memory_order_relaxed);
  }

  // The latch of core/wait_woken.h, which the sleeper handles without the lock.
  void LatchWoken() { flags_.fetch_or(kWoken, std::memory_order_seq_cst); }
  void ClearWoken() { flags_.fetch_and(~kWoken, std::memory_order_seq_cst); }
  bool Woken() const {
    return (flags_.load(std::memory_order_seq_cst) & kWoken) != 0;
  }

 private:
  friend class WaitList;
  friend class WaitQueue;

  std::atomic<uint32_t> flags_;
  Task* const task_;
  WakeFunction const wake_;
};

// Thread safety: none; the caller holds the lock that guards it, except for
// empty() and UnlinkedCarefully().
class WaitList {
 public:
  constexpr WaitList() : head_{&head_, &head_} {}
  // Nobody may be queued.
  ~WaitList() {
    WAITQ_CHECK(empty(), "a wait queue is destroyed with sleepers on it");
  }
  WaitList(const WaitList&) = delete;
  WaitList& operator=(const WaitList&) = delete;

  // waitqueue_active(). Without the lock it needs a full barrier before it: see
  // WaitQueue::HasSleeper().
  bool empty() const {
    return head_.next.load(std::memory_order_relaxed) == &head_;
  }

  // list_is_singular().
  bool single() const {
    const WaitLink* const first = head_.next.load(std::memory_order_relaxed);
    return first != &head_ &&
           first == head_.prev.load(std::memory_order_relaxed);
  }

  // First among those without priority: so the newest of them is woken first.
  void AddHead(WaitEntry& entry);
  // Before all others, whoever they are.
  void AddFirst(WaitEntry& entry);
  // Last: so the oldest of those is woken first.
  void AddTail(WaitEntry& entry);
  // Where its flags belong: exclusive entries last, others first.
  void Add(WaitEntry& entry) {
    entry.exclusive() ? AddTail(entry) : AddHead(entry);
  }
  // Moves all entries of `other` here, in their order; this list was empty.
  void TakeAll(WaitList& other);
  // Does nothing if the entry is not queued. After it the entry may be gone, if
  // its owner asks UnlinkedCarefully().
  static void Remove(WaitEntry& entry);

  // Whether the entry is not queued, and whoever unlinked it has left it for
  // good: then it may die without the lock. list_empty_careful().
  static bool UnlinkedCarefully(const WaitEntry& entry) {
    // Partner of the release store in Remove(), a waker's last access.
    return entry.next.load(std::memory_order_acquire) == &entry;
  }

  // An entry that was made for Add(), before and after its time in a queue.
  static bool IsNull(const WaitEntry& entry) {
    return entry.next.load(std::memory_order_relaxed) == nullptr;
  }
  static void SetNull(WaitEntry& entry) {
    entry.next.store(nullptr, std::memory_order_relaxed);
    entry.prev.store(nullptr, std::memory_order_relaxed);
  }

  // __wake_up_common(): calls the wake functions first to last, and stops when
  // `nr` exclusive entries were woken (never if nr <= 0) or one says so.
  // Returns how many exclusive entries were woken.
  int Walk(TaskState mode, int nr, int wake_flags, void* key);

  // First in walk order, or nullptr; and the one after an entry of this list.
  WaitEntry* First() { return Next(&head_); }
  WaitEntry* After(WaitEntry& entry) { return Next(&entry); }

 private:
  WaitEntry* Next(WaitLink* link) {
    WaitLink* const next = link->next.load(std::memory_order_relaxed);
    return next == &head_ ? nullptr : static_cast<WaitEntry*>(next);
  }

  WaitLink head_;
};

}  // namespace waitq

#endif  // WAITQ_CORE_WAIT_LIST_H_
