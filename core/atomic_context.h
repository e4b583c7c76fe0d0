// Where a thread must not sleep: in a wake function.
//
// A wake function runs under its queue's lock. A sleep in it would keep every
// waker and sleeper of that queue out, and could wait for itself.

#ifndef WAITQ_CORE_ATOMIC_CONTEXT_H_
#define WAITQ_CORE_ATOMIC_CONTEXT_H_

namespace waitq {
namespace internal {
inline thread_local int atomic_depth = 0;
}  // namespace internal

// While one lives, its thread must not sleep. They nest.
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
