// WAITQ_CHECK: ends the program when an invariant of its own is broken.
//
// For mistakes of the programmer, never for what a user or a peer can cause:
// those are absl::Status. The message says which rule was broken.

#ifndef WAITQ_CORE_CHECK_H_
#define WAITQ_CORE_CHECK_H_

namespace waitq {

// Prints the place, the condition and the rule to standard error, and aborts.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition,
                              const char* rule);

}  // namespace waitq

#define WAITQ_CHECK(condition, rule)                    \
  (__builtin_expect(static_cast<bool>(condition), true) \
       ? static_cast<void>(0)                           \
       : ::waitq::CheckFailed(__FILE__, __LINE__, #condition, rule))

#endif  // WAITQ_CORE_CHECK_H_
