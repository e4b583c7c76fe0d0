// A stack to run on, and the switch from one to another.
//
// Switching costs some nanoseconds: it saves what a function call must keep,
// and makes no system call (swapcontext() makes one each way). The sanitizers
// are told.

#ifndef WAITQ_TESTS_CORE_FIBER_STACK_H_
#define WAITQ_TESTS_CORE_FIBER_STACK_H_

#include <cstddef>

namespace waitq::test {

// Thread safety: none; all that switch to each other live on one thread.
class FiberStack {
 public:
  using Body = void (*)(void* argument);

  // The one that the thread already runs on.
  FiberStack();
  // A new one. The first switch to it calls `body`, which never returns.
  FiberStack(Body body, void* argument);
  // Whatever stands on it is forgotten, not destroyed.
  ~FiberStack();
  FiberStack(const FiberStack&) = delete;
  FiberStack& operator=(const FiberStack&) = delete;

  // To be called on this stack: goes on on `to`. Returns when another one
  // switches to this.
  void SwitchTo(FiberStack& to);

 private:
  static void Enter();
  void Prepare();
  void AfterSwitch(void* fake_stack);

  Body body_ = nullptr;
  void* argument_ = nullptr;
  char* memory_ = nullptr;   // with the guard page; nullptr: the thread's own
  void* machine_ = nullptr;  // where it stopped
  // For the thread sanitizer, and for the address sanitizer.
  [[maybe_unused]] void* tsan_fiber_ = nullptr;
  [[maybe_unused]] const void* bottom_ = nullptr;
  [[maybe_unused]] size_t size_ = 0;
};

}  // namespace waitq::test

#endif  // WAITQ_TESTS_CORE_FIBER_STACK_H_
