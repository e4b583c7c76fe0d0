// A thread that waits by looking again and again, and its cure.

#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>

#include "absl/time/time.h"
#include "core/cpu_relax.h"
#include "core/iopoll.h"
#include "core/wait_event.h"
#include "core/wait_queue.h"

namespace {

using namespace waitq;  // an example

// Something that takes a while in another thread, and counts who looks at it.
class Work {
 public:
  Work()
      : thread_([this] {
          std::this_thread::sleep_for(std::chrono::milliseconds(100));
          done_ = true;
          queue_.WakeUp();
        }) {}
  ~Work() { thread_.join(); }

  bool Look() {
    ++looks_;
    return done_;
  }
  const char* looks() const {
    return looks_ <= 3      ? "at most 3 times"
           : looks_ <= 1000 ? "at most 1000 times"
                            : "more than 1000 times";
  }
  WaitQueue& queue() { return queue_; }

 private:
  std::atomic<bool> done_ = false;
  long looks_ = 0;
  WaitQueue queue_;
  std::thread thread_;
};

}  // namespace

int main() {
  {
    // The processor does nothing else meanwhile.
    Work work;
    while (!work.Look()) CpuRelax();
    std::printf("busy: looked %s\n", work.looks());
  }
  {
    // What cannot wake: look now and then, and sleep in between.
    Work work;
    bool done = false;
    const int result = ReadPollTimeout(
        [&] { return work.Look(); }, done, [](bool is_done) { return is_done; },
        /*sleep=*/absl::Milliseconds(10), /*timeout=*/absl::Seconds(60));
    std::printf("polling: %d, looked %s\n", result, work.looks());
  }
  {
    // The cure: sleep until who knows it says so.
    Work work;
    WaitEvent(work.queue(), [&] { return work.Look(); });
    std::printf("asleep: looked %s\n", work.looks());
  }
}
