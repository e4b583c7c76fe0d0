// What the benches do to measure threads, and not what else they run on.

#ifndef WAITQ_BENCH_THREADS_H_
#define WAITQ_BENCH_THREADS_H_

#include <sched.h>
#include <unistd.h>

#include <thread>

namespace waitq {

// Makes the process one of several threads, as all are that need locks: glibc's
// mutexes use no atomic instruction as long as there is only one.
inline void BeMultiThreaded() {
  static const bool once = [] {
    std::thread([] {
      for (;;) pause();
    }).detach();
    return true;
  }();
  (void)once;
}

// Keeps the calling thread on the `n`th of the processors that the process may
// use, or on the last one. Without it two threads share a processor from one
// moment to the next, or do not, as the scheduler sees fit: a round trip takes
// 2 us or 40 then, whatever is measured.
class OnProcessor {
 public:
  explicit OnProcessor(int n) {
    sched_getaffinity(0, sizeof(before_), &before_);
    cpu_set_t one;
    CPU_ZERO(&one);
    int last = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE && n >= 0; ++cpu) {
      if (!CPU_ISSET(cpu, &before_)) continue;
      last = cpu;
      --n;
    }
    CPU_SET(last, &one);
    sched_setaffinity(0, sizeof(one), &one);
  }
  ~OnProcessor() { sched_setaffinity(0, sizeof(before_), &before_); }
  OnProcessor(const OnProcessor&) = delete;
  OnProcessor& operator=(const OnProcessor&) = delete;

 private:
  cpu_set_t before_;
};

}  // namespace waitq

#endif  // WAITQ_BENCH_THREADS_H_
