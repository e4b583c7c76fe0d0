// Whether what was seen of wait queues can be explained by one 64-bit word
// each, to which everything happens one after the other.

#ifndef WAITQ_TESTS_HISTORY_WORD_CHECKER_H_
#define WAITQ_TESTS_HISTORY_WORD_CHECKER_H_

#include "tests/history/history.h"

namespace waitq::history {

// Checks history.words. The model:
//
// * A Wait that is DONE is one step, at which its condition held and `then`
//   was done. One that TIMED_OUT, WOULD_BLOCK or was interrupted had a moment
//   at which its condition was false.
// * A WakeUp is its update, followed by the steps of exactly as many waits as
//   it woke, all in one moment: they were invoked before it was answered, and
//   nothing comes between. A wait for "a wake" is done nowhere else, except
//   after a WakeUp with an unknown outcome or a `then_wake`, in the same
//   moment; and when another's wake is passed on, because nobody took its
//   result: of one whose outcome is unknown, or which may be passed on; once,
//   at any time after it.
// * A Wait with `undo` is a grant: given back by a WakeUp that names it, or
//   undone, once. An `add` is undone by its opposite, a `set` by what was there
//   before, unless the word was changed since; a walk follows that wakes nobody
//   knows how many.
// * Generations rise from one change to the next, also over a restart, and what
//   only looked at the word tells the last change's. Those that are 0 are not
//   looked at.
// * A restart makes the word 0, and no grants are out.
//
// Not checked: which of several sleepers is woken (keys, order, exclusive ones
// and `nr`), and that nobody sleeps on when it ought to be woken, beyond what a
// timeout shows.
Report CheckWords(const History& history, const CheckOptions& options = {});

}  // namespace waitq::history

#endif  // WAITQ_TESTS_HISTORY_WORD_CHECKER_H_
