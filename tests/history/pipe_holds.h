// What became of what readers held, told by the accepts and releases.

#ifndef WAITQ_TESTS_HISTORY_PIPE_HOLDS_H_
#define WAITQ_TESTS_HISTORY_PIPE_HOLDS_H_

#include <string>
#include <vector>

#include "tests/history/history.h"

namespace waitq::history {

struct ResolvedHolds {
  // The reads and writes of one pipe. A read that is held has its `taken`,
  // `may_be_redelivered` and `put_back_by` set; if only its first bytes were
  // accepted, it is two or three of them.
  std::vector<PipeCall> calls;
  // What cannot be; "": nothing.
  std::string wrong;
  std::vector<PipeCall> wrong_calls;
};

// `calls`: all of one pipe. The rules:
//
// * A hold ends once: it is accepted as a whole, or released.
// * Nothing of it is accepted after its end was answered.
ResolvedHolds ResolveHolds(const std::vector<const PipeCall*>& calls);

}  // namespace waitq::history

#endif  // WAITQ_TESTS_HISTORY_PIPE_HOLDS_H_
