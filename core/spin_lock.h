// A lock under which its thread must not sleep: spinlock_t.
//
// It is built on a mutex (docs/decisions/0008): who waits for it may be put
// aside by the machine, which is not sleeping in the sense of this library. It
// knows its owner, so that what would wait for itself (a wake function that
// wakes its own queue) ends the program instead of hanging it.

#ifndef WAITQ_CORE_SPIN_LOCK_H_
#define WAITQ_CORE_SPIN_LOCK_H_

#include <atomic>

#include "absl/base/thread_annotations.h"
#include "core/atomic_context.h"
#include "core/check.h"
#include "core/mutex.h"

namespace waitq {

// Not recursive: taking it twice is a check failure. May be constinit.
//
// Thread safety: any thread; the one that locked it unlocks it.
class ABSL_LOCKABLE SpinLock {
 public:
  constexpr SpinLock() = default;
  SpinLock(const SpinLock&) = delete;
  SpinLock& operator=(const SpinLock&) = delete;

  void Lock()
      ABSL_EXCLUSIVE_LOCK_FUNCTION(this) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    // Relaxed: only this thread ever stores its own name.
    WAITQ_CHECK(owner_.load(std::memory_order_relaxed) != ThisThread(),
                "a thread takes a spin lock that it has; does a wake function "
                "wake its own queue?");
    mu_.Lock();
    owner_.store(ThisThread(), std::memory_order_relaxed);
    ++internal::atomic_depth;
  }
  void Unlock() ABSL_UNLOCK_FUNCTION(this) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    --internal::atomic_depth;
    owner_.store(nullptr, std::memory_order_relaxed);
    mu_.Unlock();
  }

  // Tells the analysis, not the program, that the caller holds the lock.
  void AssertHeld() const ABSL_ASSERT_EXCLUSIVE_LOCK() {}

 private:
  // Another address in each thread.
  static const void* ThisThread() { return &internal::atomic_depth; }

  Mutex mu_;
  std::atomic<const void*> owner_{nullptr};
};

// Holds a SpinLock for the length of a scope.
class ABSL_SCOPED_LOCKABLE SpinLockGuard {
 public:
  explicit SpinLockGuard(SpinLock* lock) ABSL_EXCLUSIVE_LOCK_FUNCTION(lock)
      : lock_(lock) {
    lock_->Lock();
  }
  ~SpinLockGuard() ABSL_UNLOCK_FUNCTION() { lock_->Unlock(); }
  SpinLockGuard(const SpinLockGuard&) = delete;
  SpinLockGuard& operator=(const SpinLockGuard&) = delete;

 private:
  SpinLock* const lock_;
};

}  // namespace waitq

#endif  // WAITQ_CORE_SPIN_LOCK_H_
