// The low-level sleep of scull's pipe, step by step: what wait_event() does, by
// hand. scull_getwritespace() of "Linux Device Drivers".

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "core/mutex.h"
#include "core/task.h"
#include "core/wait_list.h"
#include "core/wait_queue.h"

namespace {

using namespace waitq;  // an example

// A ring of 8 bytes, of which one is always free: full is not empty.
class Pipe {
 public:
  static constexpr size_t kSize = 8;

  // Waits until there is space, and returns 0 with the lock held; or an error,
  // without.
  int GetWriteSpace() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    mutex_.Lock();
    while (SpaceFree() == 0) {
      mutex_.Unlock();
      // 1. An entry on this stack, for this thread.
      WaitEntry entry(&Task::Current(), &AutoremoveWakeFunction);
      // 2. Into the queue, and "asleep" from now on: a wake-up from here on
      //    makes the state running again.
      queue_.PrepareToWait(entry, kInterruptible);
      // 3. Only now the test. Before step 2 a wake-up between test and sleep
      //    would be lost, and this thread sleep for ever.
      //    Without the mutex: waiting for that would end the state that
      //    step 2 has set.
      if (full_) {
        ++sleeps_;
        // 4. Sleeps, unless it was woken since step 2.
        Task::Current().Schedule();
      }
      // 5. Out of the queue, and running, however it came here.
      queue_.FinishWait(entry);
      if (Task::Current().SignalPending()) return -kErestartsys;
      // 6. Somebody else may have taken the space: the loop tests again.
      mutex_.Lock();
    }
    return 0;
  }

  // Writes one byte.
  int Write(char byte) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    const int error = GetWriteSpace();
    if (error != 0) return error;
    ring_[write_at_] = byte;
    write_at_ = (write_at_ + 1) % kSize;
    NoteFull();
    mutex_.Unlock();
    return 0;
  }

  // Reads one byte, if there is one.
  int Read() {
    int byte = -EAGAIN;
    {
      MutexLock lock(&mutex_);
      if (read_at_ == write_at_) return byte;
      byte = ring_[read_at_];
      read_at_ = (read_at_ + 1) % kSize;
      NoteFull();
    }
    // First the space, then the wake-up.
    queue_.WakeUpInterruptible();
    return byte;
  }

  int sleeps() const { return sleeps_; }

 private:
  size_t SpaceFree() const {
    return (read_at_ + kSize - write_at_ - 1) % kSize;
  }
  // Who holds the lock notes it for those who look without it.
  void NoteFull() { full_ = SpaceFree() == 0; }

  Mutex mutex_;
  std::array<char, kSize> ring_ = {};
  size_t read_at_ = 0;
  size_t write_at_ = 0;
  std::atomic<bool> full_ = false;
  WaitQueue queue_;
  std::atomic<int> sleeps_ = 0;
};

}  // namespace

int main() {
  Pipe pipe;
  for (char byte = '1'; byte <= '7'; ++byte) pipe.Write(byte);
  std::puts("7 of 8 bytes are written: the pipe is full");
  std::thread writer([&] { pipe.Write('8'); });
  while (pipe.sleeps() == 0) std::this_thread::yield();
  std::puts("the writer is in the queue");
  std::printf("reader: read %c\n", pipe.Read());
  writer.join();
  std::printf("writer: awake after %d sleep\n", pipe.sleeps());
  std::printf("left:");
  for (int byte = pipe.Read(); byte >= 0; byte = pipe.Read()) {
    std::printf(" %c", byte);
  }
  std::puts("");
}
