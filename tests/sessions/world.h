// Runs a script in a simulated world, and looks whether anything was lost,
// happened twice, or was left over.

#ifndef WAITQ_TESTS_SESSIONS_WORLD_H_
#define WAITQ_TESTS_SESSIONS_WORLD_H_

#include <cstdint>
#include <string>
#include <vector>

#include "tests/sessions/script.h"

namespace waitq::sim {

struct RunOptions {
  bool trace = false;
  bool check_history = true;
};

struct RunResult {
  // "rule: what was seen"; "" if all was well.
  std::string failure;
  std::vector<std::string> trace;
  int64_t operations = 0;
  int64_t done = 0;  // of these
  int64_t unknown = 0;
  int64_t events = 0;
  int64_t undecided = 0;  // objects whose history was too hard to explain

  // What is before the colon.
  std::string rule() const { return failure.substr(0, failure.find(':')); }
};

RunResult RunScript(const Setting& setting, const Script& script,
                    const RunOptions& options = {});

}  // namespace waitq::sim

#endif  // WAITQ_TESTS_SESSIONS_WORLD_H_
