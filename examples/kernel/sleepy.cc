// The sleepy device of "Linux Device Drivers": who reads it sleeps, who writes
// to it wakes the readers. In the book's form, with its race; and without.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <thread>

#include "core/task.h"
#include "core/wait_event.h"
#include "core/wait_queue.h"

namespace {

using namespace waitq;  // an example

// As the book has it: each write lets "one" reader go.
class SleepyDevice {
 public:
  void Read() {
    // Mistake 1: the result is thrown away. A signal ends the sleep too.
    (void)WaitEventInterruptible(queue_, [this] { return flag_ != 0; });
    // Mistake 2: between the test and this line others may test, too. The sleep
    // stands for whatever a machine may do here.
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    flag_ = 0;
  }
  void Write() {
    flag_ = 1;
    queue_.WakeUpInterruptible();
  }

 private:
  WaitQueue queue_;
  std::atomic<int> flag_ = 0;
};

// Mended: who finds the flag set takes it in the same step, and a signal is
// told.
class MendedDevice {
 public:
  int Read() {
    return WaitEventInterruptible(queue_,
                                  [this] { return flag_.exchange(0) != 0; });
  }
  void Write() {
    flag_ = 1;
    queue_.WakeUpInterruptible();
  }

 private:
  WaitQueue queue_;
  std::atomic<int> flag_ = 0;
};

// A thread that reads once, and what is seen of it.
template <class Device>
class Reader {
 public:
  explicit Reader(Device* device)
      : thread_([this, device] {
          task_ = &Task::Current();
          device->Read();
          returned_ = true;
          while (!released_) std::this_thread::yield();
        }) {
    while (task_ == nullptr) std::this_thread::yield();
  }
  ~Reader() {
    released_ = true;
    thread_.join();
  }
  bool returned() const { return returned_; }
  bool asleep() const { return task_.load()->state() != kRunning; }
  void Signal() { task_.load()->SendSignal(SIGINT); }
  void Settle() const {
    while (!returned() && !asleep()) std::this_thread::yield();
  }

 private:
  std::atomic<Task*> task_ = nullptr;
  std::atomic<bool> returned_ = false;
  std::atomic<bool> released_ = false;
  std::thread thread_;
};

// How many of two readers one write lets go.
template <class Device>
int ReadersThatOneWriteLetsGo() {
  Device device;
  Reader<Device> first(&device);
  Reader<Device> second(&device);
  first.Settle();
  second.Settle();
  device.Write();
  first.Settle();
  second.Settle();
  const int let_go = first.returned() + second.returned();
  while (!first.returned() || !second.returned()) {
    device.Write();
    std::this_thread::yield();
  }
  return let_go;
}

}  // namespace

int main() {
  // It is a race: on a busy machine it may take several tries.
  while (ReadersThatOneWriteLetsGo<SleepyDevice>() != 2) {
  }
  std::puts("sleepy: one write has let two readers go");

  int most = 0;
  for (int i = 0; i < 200; ++i) {
    most = std::max(most, ReadersThatOneWriteLetsGo<MendedDevice>());
  }
  std::printf("mended: 200 times, one write has let %d reader go\n", most);

  SleepyDevice sleepy;
  Reader<SleepyDevice> fooled(&sleepy);
  fooled.Settle();
  fooled.Signal();
  fooled.Settle();
  while (!fooled.returned()) std::this_thread::yield();
  std::puts("sleepy: a signal, and the reader believes that it was a write");

  std::thread([] {
    MendedDevice mended;
    Task::Current().PostSignal(SIGINT);
    std::printf("mended: a signal, and the reader is told: %d\n",
                mended.Read());
  }).join();
}
