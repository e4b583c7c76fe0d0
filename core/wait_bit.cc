#include "core/wait_bit.h"

#include <cerrno>
#include <cstddef>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"

namespace waitq {
namespace {

using internal::WaitBitEntry;
using internal::WaitBitKey;

constexpr int kHashBits = 8;

WaitQueue& QueueOf(uint64_t value) {
  // Never destroyed: a thread may sleep in one when the program ends.
  static WaitQueue* const queues = new WaitQueue[size_t{1} << kHashBits];
  // hash_64(): the golden ratio spreads neighbours.
  return queues[(value * 0x61c8864680b583eb) >> (64 - kHashBits)];
}

uint64_t MaskOf(int bit) {
  WAITQ_CHECK(bit >= 0 && bit < 64, "a word has bits 0 to 63");
  return uint64_t{1} << bit;
}

// Acquire: what was done before the bit was cleared is visible.
bool IsSet(const BitWord* word, int bit) {
  return (word->load(std::memory_order_acquire) & MaskOf(bit)) != 0;
}

bool TestAndSet(BitWord* word, int bit) {
  return (word->fetch_or(MaskOf(bit), std::memory_order_seq_cst) &
          MaskOf(bit)) != 0;
}

const WaitBitKey& KeyOf(const WaitEntry& entry) {
  return static_cast<const WaitBitEntry&>(entry).key;
}

// No key: who knows.
bool Matches(const WaitEntry& entry, void* key) {
  const auto* woken = static_cast<const WaitBitKey*>(key);
  return woken == nullptr || (woken->address == KeyOf(entry).address &&
                              woken->bit == KeyOf(entry).bit);
}

// wake_bit_function().
int WakeBit(WaitEntry& entry, TaskState mode, int wake_flags, void* key) {
  if (!Matches(entry, key)) return 0;
  // Somebody was faster, and has set it again: another wake-up will come.
  const WaitBitKey& own = KeyOf(entry);
  if (IsSet(static_cast<const BitWord*>(own.address), own.bit)) return 0;
  return AutoremoveWakeFunction(entry, mode, wake_flags, key);
}

void WakeKey(WaitQueue& queue, WaitBitKey key) {
  if (queue.WaitqueueActive()) queue.Wake(kNormal, 1, 0, &key);
}

int InterruptedIn(TaskState mode) {
  return Task::Current().SignalPendingIn(mode) ? -EINTR : 0;
}

// bit_wait(). A signal beats the bit: nobody looks at it after this.
int Sleep(TaskState mode) {
  Task::Current().Schedule();
  return InterruptedIn(mode);
}

// Sleeps where the bit is set; returns what ends the wait, or 0.
using Action = absl::FunctionRef<int()>;

// __wait_on_bit().
int WaitUntilClear(const BitWord* word, int bit, TaskState mode,
                   Action action) {
  WaitQueue& queue = BitWaitqueue(word, bit);
  WaitBitEntry entry({word, bit}, &WakeBit, 0);
  int result = 0;
  do {
    queue.PrepareToWait(entry, mode);
    if (IsSet(word, bit)) result = action();
  } while (IsSet(word, bit) && result == 0);
  queue.FinishWait(entry);
  return result;
}

// __wait_on_bit_lock().
int WaitUntilGot(BitWord* word, int bit, TaskState mode, Action action) {
  WaitQueue& queue = BitWaitqueue(word, bit);
  WaitBitEntry entry({word, bit}, &WakeBit, WaitEntry::kExclusive);
  for (;;) {
    queue.PrepareToWaitExclusive(entry, mode);
    int result = 0;
    if (IsSet(word, bit)) {
      result = action();
      // Out of line before the last look at the bit: a wake-up that has chosen
      // this one is then seen by it, and a later one takes the next.
      if (result != 0) queue.FinishWait(entry);
    }
    if (!TestAndSet(word, bit)) {
      if (result == 0) queue.FinishWait(entry);
      return 0;
    }
    if (result != 0) return result;
  }
}

}  // namespace

WaitQueue& VarWaitqueue(const void* variable) {
  return QueueOf(reinterpret_cast<uintptr_t>(variable));
}

WaitQueue& BitWaitqueue(const BitWord* word, int bit) {
  return QueueOf((reinterpret_cast<uintptr_t>(word) << 6) |
                 static_cast<uint64_t>(bit));
}

namespace internal {

int WakeVar(WaitEntry& entry, TaskState mode, int wake_flags, void* key) {
  if (!Matches(entry, key)) return 0;
  return AutoremoveWakeFunction(entry, mode, wake_flags, key);
}

}  // namespace internal

void WakeUpVar(const void* variable) {
  WakeKey(VarWaitqueue(variable), {variable, -1});
}

void WakeUpBit(const BitWord* word, int bit) {
  WakeKey(BitWaitqueue(word, bit), {word, bit});
}

void ClearAndWakeUpBit(BitWord* word, int bit) {
  word->fetch_and(~MaskOf(bit), std::memory_order_seq_cst);
  // Between the change and the look for sleepers; see the header.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  WakeUpBit(word, bit);
}

bool TestAndClearWakeUpBit(BitWord* word, int bit) {
  const uint64_t before =
      word->fetch_and(~MaskOf(bit), std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);  // as above
  if ((before & MaskOf(bit)) == 0) return false;
  WakeUpBit(word, bit);
  return true;
}

int WaitOnBit(const BitWord* word, int bit, TaskState mode) {
  return WaitOnBitAction(word, bit, &Sleep, mode);
}

int WaitOnBitAction(const BitWord* word, int bit, BitAction action,
                    TaskState mode) {
  MightSleep();
  if (!IsSet(word, bit)) return 0;
  return WaitUntilClear(word, bit, mode, [&] { return action(mode); });
}

int WaitOnBitTimeout(const BitWord* word, int bit, TaskState mode,
                     Ticks timeout) {
  MightSleep();
  if (!IsSet(word, bit)) return 0;
  ThreadTask& task = Task::Current();
  const absl::Time deadline = task.DeadlineAfter(timeout);
  // bit_wait_timeout().
  return WaitUntilClear(word, bit, mode, [&] {
    if (task.timers().clock().Now() >= deadline) return -EAGAIN;
    task.ScheduleUntil(deadline);
    return InterruptedIn(mode);
  });
}

int WaitOnBitLock(BitWord* word, int bit, TaskState mode) {
  return WaitOnBitLockAction(word, bit, &Sleep, mode);
}

int WaitOnBitLockAction(BitWord* word, int bit, BitAction action,
                        TaskState mode) {
  MightSleep();
  if (!TestAndSet(word, bit)) return 0;
  return WaitUntilGot(word, bit, mode, [&] { return action(mode); });
}

}  // namespace waitq
