// A completion that is used again and again: what is left over has to go before
// the next time.

#include <cstdio>
#include <thread>

#include "core/completion.h"
#include "core/task.h"

namespace {

using namespace waitq;  // an example

// A device that says that it is done, sometimes too late for who waited, and
// sometimes twice.
class Device {
 public:
  void Start(int times_done) {
    std::thread([this, times_done] {
      for (int i = 0; i < times_done; ++i) done_.Complete();
    }).join();
  }
  Completion& done() { return done_; }

 private:
  Completion done_;
};

}  // namespace

int main() {
  Device device;
  device.Start(/*times_done=*/2);
  device.done().Wait();
  std::printf("first command: done; one more is left over: %s\n",
              device.done().Done() ? "yes" : "no");

  // Without Reinit() the next wait ends before its command has begun.
  device.done().Wait();
  std::puts("second command: \"done\", though it was never started");

  device.Start(/*times_done=*/2);
  device.done().Wait();
  device.done().Reinit();
  std::printf("third command: done; after Reinit() one is left over: %s\n",
              device.done().Done() ? "yes" : "no");

  const Ticks left = device.done().WaitTimeout(10);
  std::printf("fourth command: not started, so the wait times out: %lld\n",
              static_cast<long long>(left));

  device.done().CompleteAll();
  device.done().Wait();
  device.done().Wait();
  device.done().Reinit();
  std::printf("CompleteAll() is for all and for good, until Reinit(): %s\n",
              device.done().Done() ? "done" : "not done");
}
