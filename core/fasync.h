// Being told of data without sleeping for it: fasync, by a callback.
//
// Where the kernel sends SIGIO to the owner of a file, a callback is called. It
// runs on the thread that has made the data available, in atomic context: it
// must not sleep, nor change the list that calls it (a check failure).

#ifndef WAITQ_CORE_FASYNC_H_
#define WAITQ_CORE_FASYNC_H_

#include <algorithm>
#include <functional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "core/poll_events.h"
#include "core/spin_lock.h"

namespace waitq {

// Who is to be told. Must outlive its time in a list.
using FasyncCallback = std::function<void(PollEvents events)>;

// fasync_struct: those who are to be told.
//
// Thread safety: any thread may call any method.
class FasyncList {
 public:
  // fasync_helper(): from now on, or no longer. What is in already, or is not
  // in, stays as it is. After Remove() the callback is not called, nor running.
  void Add(const FasyncCallback* callback) ABSL_LOCKS_EXCLUDED(lock_) {
    SpinLockGuard guard(&lock_);
    if (std::count(callbacks_.begin(), callbacks_.end(), callback) == 0) {
      callbacks_.push_back(callback);
    }
  }
  void Remove(const FasyncCallback* callback) ABSL_LOCKS_EXCLUDED(lock_) {
    SpinLockGuard guard(&lock_);
    std::erase(callbacks_, callback);
  }

  // kill_fasync(): tells all.
  void Kill(PollEvents events) ABSL_LOCKS_EXCLUDED(lock_) {
    SpinLockGuard guard(&lock_);
    for (const FasyncCallback* callback : callbacks_) (*callback)(events);
  }

 private:
  SpinLock lock_;
  std::vector<const FasyncCallback*> callbacks_ ABSL_GUARDED_BY(lock_);
};

}  // namespace waitq

#endif  // WAITQ_CORE_FASYNC_H_
