// Waiting for a state, never for a time.

#ifndef WAITQ_TESTS_SUPPORT_WAIT_UNTIL_H_
#define WAITQ_TESTS_SUPPORT_WAIT_UNTIL_H_

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace waitq::test {

// Lets other threads run until `state()` is true. It is sure to come: forty
// seconds without it are a failure, which ends the program, because the threads
// that hang cannot be joined.
template <class State>
void WaitUntil(State&& state, const char* file = __builtin_FILE(),
               int line = __builtin_LINE()) {
  const auto give_up =
      std::chrono::steady_clock::now() + std::chrono::seconds(40);
  while (!state()) {
    std::this_thread::yield();
    if (std::chrono::steady_clock::now() < give_up) continue;
    std::fprintf(stderr, "%s:%d: what this waits for never comes\n", file,
                 line);
    std::abort();
  }
}

}  // namespace waitq::test

#endif  // WAITQ_TESTS_SUPPORT_WAIT_UNTIL_H_
