#include "tests/core/fiber_stack.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>

#include "core/check.h"

#if defined(__has_feature)
#define WAITQ_HAS_FEATURE(feature) __has_feature(feature)
#else
#define WAITQ_HAS_FEATURE(feature) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || WAITQ_HAS_FEATURE(address_sanitizer)
#define WAITQ_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__SANITIZE_THREAD__) || WAITQ_HAS_FEATURE(thread_sanitizer)
#define WAITQ_TSAN 1
#include <sanitizer/tsan_interface.h>
#endif

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace waitq::test {
namespace {

constexpr size_t kGuardBytes = 4096;
constexpr size_t kStackBytes = 256 * 1024;

// Both ends of the switch that is going on.
thread_local FiberStack* switching_from = nullptr;
thread_local FiberStack* switching_to = nullptr;

}  // namespace

#if defined(__x86_64__)

// Saves the registers that a call must keep and the stack pointer, and loads
// the other's.
extern "C" void waitq_test_switch_stack(void** from, void* to);
asm(R"(
.pushsection .text
.globl waitq_test_switch_stack
.type waitq_test_switch_stack, @function
waitq_test_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size waitq_test_switch_stack, . - waitq_test_switch_stack
.popsection
)");

namespace {

// Inline: for the thread sanitizer, which counts calls, it would begin in one
// fiber and end in another.
[[gnu::always_inline]] inline void SwitchMachine(void** from, void** to) {
  waitq_test_switch_stack(from, *to);
}

}  // namespace

void FiberStack::Prepare() {
  auto* top = reinterpret_cast<void**>(memory_ + kGuardBytes + kStackBytes);
  // Enter() has no caller; and a function expects the stack to be aligned to
  // 16 bytes before the call pushed where to return to.
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(&FiberStack::Enter);
  for (int saved = 0; saved < 6; ++saved) *--top = nullptr;
  machine_ = top;
}

#else

namespace {

// Slower: it saves the signal mask too, which takes a system call.
[[gnu::always_inline]] inline void SwitchMachine(void** from, void** to) {
  if (*from == nullptr) *from = new ucontext_t;  // the thread's own: for ever
  swapcontext(static_cast<ucontext_t*>(*from), static_cast<ucontext_t*>(*to));
}

}  // namespace

void FiberStack::Prepare() {
  auto* const context = new ucontext_t;  // tests only: for ever
  getcontext(context);
  context->uc_stack.ss_sp = memory_ + kGuardBytes;
  context->uc_stack.ss_size = kStackBytes;
  makecontext(context, &FiberStack::Enter, 0);
  machine_ = context;
}

#endif

FiberStack::FiberStack() {
#ifdef WAITQ_TSAN
  tsan_fiber_ = __tsan_get_current_fiber();
#endif
}

FiberStack::FiberStack(Body body, void* argument)
    : body_(body), argument_(argument) {
  void* const memory =
      mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  WAITQ_CHECK(memory != MAP_FAILED, "there is memory for a stack");
  memory_ = static_cast<char*>(memory);
  mprotect(memory_, kGuardBytes, PROT_NONE);
  bottom_ = memory_ + kGuardBytes;
  size_ = kStackBytes;
#ifdef WAITQ_TSAN
  tsan_fiber_ = __tsan_create_fiber(0);
#endif
  Prepare();
}

FiberStack::~FiberStack() {
  if (memory_ == nullptr) return;
#ifdef WAITQ_TSAN
  __tsan_destroy_fiber(tsan_fiber_);
#endif
#ifdef WAITQ_ASAN
  // What its frames have poisoned must not hit who gets this memory next.
  ASAN_UNPOISON_MEMORY_REGION(bottom_, size_);
#endif
  munmap(memory_, kGuardBytes + kStackBytes);
}

void FiberStack::SwitchTo(FiberStack& to) {
  switching_from = this;
  switching_to = &to;
  void* fake_stack = nullptr;
#ifdef WAITQ_ASAN
  __sanitizer_start_switch_fiber(&fake_stack, to.bottom_, to.size_);
#endif
#ifdef WAITQ_TSAN
  // As if the one had woken the other: what it did before is seen.
  __tsan_switch_to_fiber(to.tsan_fiber_, 0);
#endif
  SwitchMachine(&machine_, &to.machine_);
  AfterSwitch(fake_stack);
}

void FiberStack::AfterSwitch([[maybe_unused]] void* fake_stack) {
#ifdef WAITQ_ASAN
  // Of the thread's own stack this is how the place becomes known.
  __sanitizer_finish_switch_fiber(fake_stack, &switching_from->bottom_,
                                  &switching_from->size_);
#endif
}

void FiberStack::Enter() {
  FiberStack& self = *switching_to;
  self.AfterSwitch(nullptr);
  self.body_(self.argument_);
  std::abort();
}

}  // namespace waitq::test
