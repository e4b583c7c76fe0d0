// All checkers at once.

#ifndef WAITQ_TESTS_HISTORY_CHECK_H_
#define WAITQ_TESTS_HISTORY_CHECK_H_

#include "tests/history/completion_checker.h"
#include "tests/history/history.h"
#include "tests/history/pipe_checker.h"
#include "tests/history/word_checker.h"

namespace waitq::history {

inline Report Check(const History& history, const CheckOptions& options = {}) {
  Report report = CheckWords(history, options);
  report.Add(CheckCompletions(history, options));
  report.Add(CheckPipes(history, options));
  return report;
}

}  // namespace waitq::history

#endif  // WAITQ_TESTS_HISTORY_CHECK_H_
