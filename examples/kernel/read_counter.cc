// A thread that sleeps until somebody reads the device, and counts the reads
// that woke it; the release of the device ends it.

#include <atomic>
#include <cstdio>
#include <thread>

#include "core/completion.h"
#include "core/wait_event.h"
#include "core/wait_queue.h"

namespace {

using namespace waitq;  // an example

class Device {
 public:
  Device() : thread_([this] { CountReads(); }) {}
  ~Device() {
    flag_ = kExit;
    queue_.WakeUp();
    thread_.join();
  }

  void Read() {
    flag_ = kRead;
    queue_.WakeUp();
    // Only so that the example prints in order: two reads in a row would be one
    // flag, and one line.
    counted_.Wait();
  }

 private:
  enum Flag { kNothing, kRead, kExit };

  void CountReads() {
    int reads = 0;
    for (;;) {
      // Takes what it finds in the same step: a read in between is not lost.
      Flag found = kNothing;
      WaitEvent(queue_, [&] {
        found = flag_.exchange(kNothing);
        return found != kNothing;
      });
      if (found == kExit) break;
      std::printf("thread: woken by read %d\n", ++reads);
      counted_.Complete();
    }
    std::printf("thread: the device is released, %d reads in all\n", reads);
  }

  WaitQueue queue_;
  std::atomic<Flag> flag_ = kNothing;
  Completion counted_;
  std::thread thread_;  // the last: it uses all that is above
};

}  // namespace

int main() {
  Device device;
  for (int i = 0; i < 3; ++i) {
    std::puts("main: read");
    device.Read();
  }
}
