// Where a thread must not sleep: in a wake function, with a spin lock held.
//
// A wake function runs under its queue's lock. A sleep in it would keep every
// waker and sleeper of that queue out, and could wait for itself. The kernel's
// preempt_count(), as far as sleeping goes.

#ifndef WAITQ_CORE_ATOMIC_CONTEXT_H_
#define WAITQ_CORE_ATOMIC_CONTEXT_H_

namespace waitq {
namespace internal {
inline thread_local int atomic_depth = 0;
}  // namespace internal

// While one lives, its thread must not sleep. They nest. Also for regions of
// one's own: local_irq_disable(), non_block_start().
class AtomicContext {
 public:
  AtomicContext() { ++internal::atomic_depth; }
  ~AtomicContext() { --internal::atomic_depth; }
  AtomicContext(const AtomicContext&) = delete;
  AtomicContext& operator=(const AtomicContext&) = delete;
};

inline bool InAtomicContext() { return internal::atomic_depth != 0; }

}  // namespace waitq

#endif  // WAITQ_CORE_ATOMIC_CONTEXT_H_
