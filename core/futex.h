// Where a thread sleeps: futex(2), private to the process.

#ifndef WAITQ_CORE_FUTEX_H_
#define WAITQ_CORE_FUTEX_H_

#include <atomic>
#include <cstdint>

namespace waitq {

// Sleeps while `word` is `value`. May return for no reason; never returns for
// a Unix signal alone with anything lost: the caller loops anyway.
void FutexWait(const std::atomic<uint32_t>& word, uint32_t value);

// Lets the thread go on that sleeps at `word`. Uses the address only: the word
// may be gone, whose reuse then sees a wake-up for no reason.
void FutexWakeOne(const std::atomic<uint32_t>* word);

}  // namespace waitq

#endif  // WAITQ_CORE_FUTEX_H_
