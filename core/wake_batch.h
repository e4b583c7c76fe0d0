// Lets threads go on after the lock under which they were chosen is released.
//
// A thread that is let go on while its waker still holds the queue's lock runs
// into that lock, and sleeps a second time: that cost half of a wake-up when it
// was measured. After the kernel's wake_q (kernel/sched/core.c).

#ifndef WAITQ_CORE_WAKE_BATCH_H_
#define WAITQ_CORE_WAKE_BATCH_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace waitq {

// While one lives, Unpark() on its thread collects; its destruction calls the
// kernel for each. To be made before the lock is taken. Of nested ones the
// outermost collects.
class WakeBatch {
 public:
  WakeBatch() : outermost_(open_ == nullptr) {
    if (outermost_) open_ = this;
  }
  ~WakeBatch() {
    if (!outermost_) return;
    open_ = nullptr;
    if (size_ > 0) WakeAll();
  }
  WakeBatch(const WakeBatch&) = delete;
  WakeBatch& operator=(const WakeBatch&) = delete;

  // Lets the thread go on that sleeps at `word`, now or when this thread's
  // batch ends. The word may be gone by then.
  static void Unpark(const std::atomic<uint32_t>* word);

 private:
  // More are let go on at once: correct too, only slower.
  static constexpr size_t kCapacity = 16;

  void WakeAll();

  inline static thread_local WakeBatch* open_ = nullptr;

  const bool outermost_;
  size_t size_ = 0;
  std::array<const std::atomic<uint32_t>*, kCapacity> words_;
};

}  // namespace waitq

#endif  // WAITQ_CORE_WAKE_BATCH_H_
