// The lock of core and engine: std::mutex with Clang's annotations.
//
// Not absl::Mutex: Debian's abseil is not instrumented, so TSan would report
// every field under one as a race.

#ifndef WAITQ_CORE_MUTEX_H_
#define WAITQ_CORE_MUTEX_H_

#include <condition_variable>
#include <mutex>

#include "absl/base/thread_annotations.h"
#include "core/cpu_relax.h"

namespace waitq {

// A mutual exclusion lock. Not recursive. May be constinit.
class ABSL_LOCKABLE Mutex {
 public:
  constexpr Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() {
    if (!mu_.try_lock()) LockContended();
  }
  void Unlock() ABSL_UNLOCK_FUNCTION() { mu_.unlock(); }

  // Tells the analysis, not the program, that the caller holds the lock: for
  // functions that are reached through a pointer under it.
  void AssertHeld() const ABSL_ASSERT_EXCLUSIVE_LOCK() {}

 private:
  friend class CondVar;

  // Critical sections here take less than a microsecond, and to sleep and be
  // woken takes many: first it is worth to look for as long as one lasts.
  // (Without it two threads that moved 200,000 messages a second through a pipe
  // were seen to make 58,000 futex calls for that.)
  void LockContended() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    constexpr int kLooks = 40;
    for (int i = 0; i < kLooks; ++i) {
      CpuRelax();
      if (mu_.try_lock()) return;
    }
    mu_.lock();
  }

  std::mutex mu_;
};

// Holds a Mutex for the length of a scope.
class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex* mu) ABSL_EXCLUSIVE_LOCK_FUNCTION(mu) : mu_(mu) {
    mu_->Lock();
  }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mu_->Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex* const mu_;
};

// A condition variable for housekeeping threads. (Sleepers use wait queues.)
class CondVar {
 public:
  // As std::condition_variable: may return without a notification.
  void Wait(Mutex* mu) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    std::unique_lock<std::mutex> lock(mu->mu_, std::adopt_lock);
    cv_.wait(lock);
    lock.release();
  }
  template <class TimePoint>
  void WaitUntil(Mutex* mu, TimePoint deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    std::unique_lock<std::mutex> lock(mu->mu_, std::adopt_lock);
    cv_.wait_until(lock, deadline);
    lock.release();
  }
  void NotifyOne() { cv_.notify_one(); }
  void NotifyAll() { cv_.notify_all(); }

 private:
  std::condition_variable cv_;
};

}  // namespace waitq

#endif  // WAITQ_CORE_MUTEX_H_
