// What is left of a history when all has been taken out that is not needed to
// see that it cannot be.

#ifndef WAITQ_TESTS_HISTORY_SHRINK_H_
#define WAITQ_TESTS_HISTORY_SHRINK_H_

#include <string>

#include "tests/history/history.h"

namespace waitq::history {

// A history of that object alone, which is refused as the whole one is, and
// whose refusal proves that of the whole one: calls that change nothing are
// left out; so is what came after some moment, and what was under way then has
// an unknown outcome. Of a history that is not refused: all of the object.
// Times begin with 0.
History Shrink(const History& history, const std::string& object,
               const CheckOptions& options = {});

}  // namespace waitq::history

#endif  // WAITQ_TESTS_HISTORY_SHRINK_H_
