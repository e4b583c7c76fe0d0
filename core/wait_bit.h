// Waiting for a variable, or for a bit of a word, without a queue of one's own:
// wait_var_event(), wait_on_bit().
//
// There are 256 queues for the whole program. Who waits stands in the one that
// the address (and the bit) hashes to, and a wake-up reaches only those who
// wait for the same address and bit. So a structure of which there are many can
// be waited for without making it larger. The price: a walk passes over
// strangers.
//
//   std::atomic<int> users;
//   WaitVarEvent(&users, [] { return users == 0; });          // one thread
//   if (--users == 0) WakeUpVar(&users);                      // another
//
// WakeUpVar() and WakeUpBit() first look whether anybody is there, without a
// lock: the caller's change must be followed by a full barrier, as a
// sequentially consistent read-modify-write is (of a plain store, on x86 too,
// the machine may do the look first, and the sleeper is missed for ever).
// ClearAndWakeUpBit(), TestAndClearWakeUpBit(), AtomicDecAndWakeUp(),
// StoreReleaseWakeUp() and WakeUpVarLocked() bring it along.
//
// Results are those of core/wait_event.h for variables. For bits: 0; -EINTR for
// a signal that `mode` admits, which here *beats* the bit; -EAGAIN at the end
// of a timeout. WaitOnBitLock() is 0 if it got the bit, signal or not.
//
// Thread safety: any thread; each sleeps as its own Task::Current(). The
// variable must outlive the waits for it and the calls that wake them.
// After include/linux/wait_bit.h and kernel/sched/wait_bit.c, 7.1.

#ifndef WAITQ_CORE_WAIT_BIT_H_
#define WAITQ_CORE_WAIT_BIT_H_

#include <atomic>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "core/might_sleep.h"
#include "core/task.h"
#include "core/wait_event_lock.h"
#include "core/wait_event_loop.h"
#include "core/wait_list.h"
#include "core/wait_queue.h"

namespace waitq {

// What bits are waited for in; bits are numbered from 0.
using BitWord = std::atomic<uint64_t>;

// __var_waitqueue(), bit_waitqueue(): one of the 256. They live for ever.
WaitQueue& VarWaitqueue(const void* variable);
WaitQueue& BitWaitqueue(const BitWord* word, int bit);

namespace internal {

struct WaitBitKey {
  const void* address;
  int bit;  // -1: the variable
};

// wait_bit_queue_entry.
struct WaitBitEntry : WaitEntry {
  WaitBitEntry(const WaitBitKey& key_in, WakeFunction wake, uint32_t flags)
      : WaitEntry(&Task::Current(), wake, flags), key(key_in) {}
  const WaitBitKey key;
};

// var_wake_function(): as AutoremoveWakeFunction(), if the key is the same.
int WakeVar(WaitEntry& entry, TaskState mode, int wake_flags, void* key);

struct VarPlace {
  explicit VarPlace(const void* variable_in)
      : queue(VarWaitqueue(variable_in)), variable(variable_in) {}
  WaitBitEntry Entry() const {
    return WaitBitEntry({variable, -1}, &WakeVar, 0);
  }
  int Prepare(WaitEntry& entry, TaskState state) const {
    return queue.PrepareToWaitEvent(entry, state);
  }
  void Finish(WaitEntry& entry) const { queue.FinishWait(entry); }

  WaitQueue& queue;
  const void* variable;
};

}  // namespace internal

// --- Variables ---------------------------------------------------------------

// wait_var_event().
template <class Condition>
void WaitVarEvent(const void* variable, Condition&& condition) {
  MightSleep();
  internal::WaitEvent(internal::VarPlace(variable), kUninterruptible,
                      condition);
}

// wait_var_event_interruptible().
template <class Condition>
[[nodiscard]] int WaitVarEventInterruptible(const void* variable,
                                            Condition&& condition) {
  MightSleep();
  return internal::WaitEvent(internal::VarPlace(variable), kInterruptible,
                             condition);
}

// wait_var_event_killable().
template <class Condition>
[[nodiscard]] int WaitVarEventKillable(const void* variable,
                                       Condition&& condition) {
  MightSleep();
  return internal::WaitEvent(internal::VarPlace(variable), kKillable,
                             condition);
}

// wait_var_event_timeout().
template <class Condition>
Ticks WaitVarEventTimeout(const void* variable, Condition&& condition,
                          Ticks timeout) {
  MightSleep();
  return internal::WaitEventTimeout(internal::VarPlace(variable),
                                    kUninterruptible, condition, timeout);
}

// wait_var_event_any_lock(), and with it wait_var_event_spinlock() and
// wait_var_event_mutex(): `lock`, a Mutex or a SpinLock, is held at entry, in
// each test and at return.
template <class Condition, class Lock>
[[nodiscard]] int WaitVarEventAnyLock(const void* variable,
                                      Condition&& condition, Lock& lock,
                                      TaskState state)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock) {
  return internal::WaitEvent(internal::VarPlace(variable), state, condition,
                             internal::Unlocked(lock, internal::kNoCommand));
}

// wake_up_var(): the first exclusive sleeper and all others. See above for the
// barrier that is the caller's.
void WakeUpVar(const void* variable);

// wake_up_var_locked(): for a change that was made with the lock which the
// sleepers give to WaitVarEventAnyLock(), and which the caller still holds.
template <class Lock>
void WakeUpVarLocked(const void* variable, [[maybe_unused]] Lock& lock)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  WakeUpVar(variable);
}

// store_release_wake_up().
template <class T, class U>
void StoreReleaseWakeUp(std::atomic<T>* variable, U value) {
  variable->store(value, std::memory_order_release);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  WakeUpVar(variable);
}

// atomic_dec_and_wake_up(): wakes, and returns true, if it becomes 0.
template <class T>
bool AtomicDecAndWakeUp(std::atomic<T>* variable) {
  if (variable->fetch_sub(1, std::memory_order_seq_cst) != 1) return false;
  std::atomic_thread_fence(std::memory_order_seq_cst);
  WakeUpVar(variable);
  return true;
}

// --- Bits --------------------------------------------------------------------

// What is done where the bit is set: the sleep itself, and what ends the wait
// although it is: returns 0 to go on.
using BitAction = int (*)(TaskState mode);

// wait_on_bit(), wait_on_bit_action(): until the bit is clear.
[[nodiscard]] int WaitOnBit(const BitWord* word, int bit, TaskState mode);
[[nodiscard]] int WaitOnBitAction(const BitWord* word, int bit,
                                  BitAction action, TaskState mode);
// wait_on_bit_timeout(): so many ticks at most.
[[nodiscard]] int WaitOnBitTimeout(const BitWord* word, int bit, TaskState mode,
                                   Ticks timeout);

// wait_on_bit_lock(), wait_on_bit_lock_action(): until it was clear and this
// call has set it. Exclusive.
[[nodiscard]] int WaitOnBitLock(BitWord* word, int bit, TaskState mode);
[[nodiscard]] int WaitOnBitLockAction(BitWord* word, int bit, BitAction action,
                                      TaskState mode);

// wake_up_bit(): the first exclusive sleeper and all others, unless the bit is
// set again. See above for the barrier that is the caller's.
void WakeUpBit(const BitWord* word, int bit);

// clear_and_wake_up_bit().
void ClearAndWakeUpBit(BitWord* word, int bit);
// test_and_clear_wake_up_bit(): wakes, and returns true, if it was set.
bool TestAndClearWakeUpBit(BitWord* word, int bit);

}  // namespace waitq

#endif  // WAITQ_CORE_WAIT_BIT_H_
