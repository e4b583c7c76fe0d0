// Ctrl-C.

#ifndef WAITQ_CLIENT_CLI_SIGNALS_H_
#define WAITQ_CLIENT_CLI_SIGNALS_H_

#include <stop_token>

namespace waitq::cli {

// From now on, the first SIGINT or SIGTERM requests `stop`; the second ends the
// program at once. Call it once, before any other thread is started: the
// signals are blocked in all threads, and one more thread waits for them.
std::stop_token StopOnSignals();

// The signal that came, or 0.
int StopSignal();

}  // namespace waitq::cli

#endif  // WAITQ_CLIENT_CLI_SIGNALS_H_
