// One host's part of a run, from meeting the others to the outcome.

#ifndef WAITQ_LOAD_RUN_H_
#define WAITQ_LOAD_RUN_H_

#include <optional>
#include <stop_token>
#include <string>

#include "absl/status/statusor.h"
#include "load/result.h"
#include "load/scenario.h"

namespace waitq::load {

struct RunOptions {
  Scenario scenario;
  std::string server;
  std::string run;  // as HostGroupOptions
  int hosts = 1;
  int host = -1;
  bool quiet = false;
};

struct RunOutcome {
  bool good = false;
  // Of host 0.
  std::optional<RunResult> result = {};
};

// Returns when the run is over, on all hosts. Says on standard error, each
// second, how it goes.
// Errors: UNAVAILABLE, there is no server; ALREADY_EXISTS, as
//   HostGroup::Join(); CANCELLED, `stop` was requested; ABORTED, another host
//   has failed or died; any other error of the server's. What sleeps on the
//   server for this host ends before it returns.
absl::StatusOr<RunOutcome> RunHost(const RunOptions& options,
                                   std::stop_token stop);

}  // namespace waitq::load

#endif  // WAITQ_LOAD_RUN_H_
