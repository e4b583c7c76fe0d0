// cpu_relax(): for the body of a spin loop.

#ifndef WAITQ_CORE_CPU_RELAX_H_
#define WAITQ_CORE_CPU_RELAX_H_

#include <atomic>

namespace waitq {

// A hint to the processor that this is a spin loop, and a barrier for the
// compiler, which has to read again what the loop waits for. Lets no other
// thread run, and orders nothing for other processors.
inline void CpuRelax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

}  // namespace waitq

#endif  // WAITQ_CORE_CPU_RELAX_H_
