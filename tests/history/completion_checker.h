// Whether what was seen of completions can be explained by one count each, and
// nothing was taken twice.

#ifndef WAITQ_TESTS_HISTORY_COMPLETION_CHECKER_H_
#define WAITQ_TESTS_HISTORY_COMPLETION_CHECKER_H_

#include "tests/history/history.h"

namespace waitq::history {

// Checks history.completions. The model:
//
// * Complete adds to the count (which stays at the top, "for good", once it is
//   there), followed by the steps of exactly as many Waits as it woke, all in
//   one moment, after which `done` are left.
// * A Wait that is DONE, a TryWait that has taken, takes one. A Wait that
//   TIMED_OUT, WOULD_BLOCK or was interrupted had a moment with nothing done.
// * What an unknown call took, or one that may_be_redelivered, may come back
//   once, at any later time in the same life of the server. A taker is
//   `redelivered` at most as often as such a one took something before.
// * Generations rise from one change to the next, also over a restart. Those
//   that are 0 are not looked at.
// * A restart makes the count 0.
//
// Not checked: the order among sleepers; that what is taken back is given to
// anybody, or marked.
Report CheckCompletions(const History& history,
                        const CheckOptions& options = {});

}  // namespace waitq::history

#endif  // WAITQ_TESTS_HISTORY_COMPLETION_CHECKER_H_
