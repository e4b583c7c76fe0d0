// Wait queues: who sleeps, in what order, and how they are woken.
//
// One way to sleep for two kinds of sleeper. A WaitEntry is a node with a wake
// function; a thread's entry unparks the thread, a remote operation's entry
// runs the operation's continuation. Both stand in the same queue, obey the
// same order and count the same. After include/linux/wait.h and
// kernel/sched/wait.c (6.18 to 7.1).
//
// How to sleep: enqueue, set the state, test the condition, sleep; in this
// order, in a loop. How to wake: make the condition true, then walk. A wake-up
// is not latched: waking an empty queue does nothing, ever; the event lives in
// the condition. core/wait_event.h does all this for threads.

#ifndef WAITQ_CORE_WAIT_QUEUE_H_
#define WAITQ_CORE_WAIT_QUEUE_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "core/mutex.h"
#include "core/task.h"

namespace waitq {

class WaitEntry;

// What a walk does with an entry. Called under the queue's lock: it must not
// sleep, nor wake, add or remove any entry but its own (which it may unlink).
//   < 0: stop the walk; this entry was not woken
//     0: not woken (wrong state, condition false, key that does not match)
//   > 0: woken; if the entry is exclusive it uses up one of the walk's `nr`
using WakeFunction = int (*)(WaitEntry& entry, TaskState mode, int wake_flags,
                             void* key);

// Links of the circular list; also the list's head.
struct WaitLink {
  WaitLink* next;
  WaitLink* prev;
};

// A sleeper's node; 48 bytes. Embedded in whatever sleeps, or on its stack.
//
// Ownership: the sleeper's. It must not die while queued.
// Thread safety: guarded by the lock of the queue that it stands in.
class WaitEntry : private WaitLink {
 public:
  enum Flags : uint32_t {
    kExclusive = 0x01,
    kPriority = 0x10,
  };

  // init_wait_entry(): not queued. `task` may be nullptr if `wake` needs none.
  explicit WaitEntry(Task* task, WakeFunction wake, uint32_t flags = 0)
      : WaitLink{this, this}, flags_(flags), task_(task), wake_(wake) {}
  ~WaitEntry();
  WaitEntry(const WaitEntry&) = delete;
  WaitEntry& operator=(const WaitEntry&) = delete;

  bool queued() const { return next != this; }
  bool exclusive() const { return (flags_ & kExclusive) != 0; }
  Task* task() const { return task_; }

  uint32_t flags() const { return flags_; }
  void set_flags(uint32_t flags) { flags_ = flags; }

 private:
  friend class WaitList;

  uint32_t flags_;
  Task* const task_;
  WakeFunction const wake_;
};

// Wakes the entry's task if it sleeps in a state of `mode`; leaves the entry
// queued. default_wake_function().
int DefaultWakeFunction(WaitEntry& entry, TaskState mode, int wake_flags,
                        void* key);

// The same, and unlinks the entry if it woke the task; the sleeper's frame may
// be gone right after. autoremove_wake_function().
int AutoremoveWakeFunction(WaitEntry& entry, TaskState mode, int wake_flags,
                           void* key);

// The list of a wait queue, without a lock of its own: for objects that guard
// their condition and their sleepers with one lock.
//
// Thread safety: none; the caller holds the lock that guards it.
class WaitList {
 public:
  constexpr WaitList() : head_{&head_, &head_} {}
  // Nobody may be queued.
  ~WaitList();
  WaitList(const WaitList&) = delete;
  WaitList& operator=(const WaitList&) = delete;

  // waitqueue_active().
  bool empty() const { return head_.next == &head_; }

  // First among those without priority: so the newest of them is woken first.
  void AddHead(WaitEntry& entry);
  // Last: so the oldest of those is woken first.
  void AddTail(WaitEntry& entry);
  // Where its flags belong: exclusive entries last, others first.
  void Add(WaitEntry& entry) {
    entry.exclusive() ? AddTail(entry) : AddHead(entry);
  }
  // Does nothing if the entry is not queued.
  static void Remove(WaitEntry& entry);

  // __wake_up_common(): calls the wake functions first to last, and stops when
  // `nr` exclusive entries were woken (never if nr <= 0) or one says so.
  // Returns how many exclusive entries were woken.
  int Walk(TaskState mode, int nr, int wake_flags, void* key);

  // First in walk order, or nullptr; and the one after an entry of this list.
  WaitEntry* First() { return Next(&head_); }
  WaitEntry* After(WaitEntry& entry) { return Next(&entry); }

 private:
  WaitEntry* Next(WaitLink* link) {
    return link->next == &head_ ? nullptr : static_cast<WaitEntry*>(link->next);
  }

  WaitLink head_;
};

// wait_queue_head_t: a list and its lock.
//
// Thread safety: any thread may call any method.
// Blocking: never, but for its short lock. Wake functions run under the lock.
// Ordering: what a waker did before WakeUp() is visible to whom it wakes.
// Destruction: when nobody is queued and no waker is inside.
class WaitQueue {
 public:
  constexpr WaitQueue() = default;
  WaitQueue(const WaitQueue&) = delete;
  WaitQueue& operator=(const WaitQueue&) = delete;

  // add_wait_queue() and remove_wait_queue(): for entries of any wake function.
  // Add() puts exclusive entries last and others first.
  void Add(WaitEntry& entry) ABSL_LOCKS_EXCLUDED(mu_);
  void Remove(WaitEntry& entry) ABSL_LOCKS_EXCLUDED(mu_);

  // wake_up(): every non-exclusive sleeper, and the first `nr` exclusive ones
  // that could be woken; all for nr <= 0. Returns the number of exclusive ones.
  int WakeUp(int nr = 1) { return Wake(kNormal, nr, nullptr); }
  int WakeUpAll() { return Wake(kNormal, 0, nullptr); }
  // wake_up_interruptible(): passes over sleepers in other states.
  int WakeUpInterruptible(int nr = 1) {
    return Wake(kInterruptible, nr, nullptr);
  }
  int WakeUpInterruptibleAll() { return Wake(kInterruptible, 0, nullptr); }
  // __wake_up(): `key` goes to the wake functions.
  int Wake(TaskState mode, int nr, void* key) ABSL_LOCKS_EXCLUDED(mu_);

  // prepare_to_wait_event(): queues the entry unless it is queued, and sets the
  // state of its task, the caller's. Returns 0. If a signal is pending that
  // `state` admits it takes the entry out instead, leaves the state alone and
  // returns -kErestartsys.
  int PrepareToWaitEvent(WaitEntry& entry, TaskState state)
      ABSL_LOCKS_EXCLUDED(mu_);

  // finish_wait(): the task is running, and the entry is not queued.
  void FinishWait(WaitEntry& entry) ABSL_LOCKS_EXCLUDED(mu_);

  // wq_has_sleeper(): whether anybody is queued.
  bool HasSleeper() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  Mutex mu_;
  WaitList list_ ABSL_GUARDED_BY(mu_);
};

}  // namespace waitq

#endif  // WAITQ_CORE_WAIT_QUEUE_H_
