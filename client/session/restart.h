// What is read of an operation's own bytes: when it is begun anew, or fails.

#ifndef WAITQ_CLIENT_SESSION_RESTART_H_
#define WAITQ_CLIENT_SESSION_RESTART_H_

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace waitq {

// `operation`: the bytes of a v1::Operation. If its request has a timeout, that
// is less by `elapsed`, and 0 at least.
void RestartWithLess(absl::Duration elapsed, std::string& operation);

// How long such an operation may wait for its end: 0, if it is not to sleep;
// InfiniteDuration(), if it does not say.
absl::Duration TimeOf(const std::string& operation);

// The error of such an operation tells the object that its request names, if it
// does not say one.
void NameObject(const std::string& operation, absl::Status& error);

}  // namespace waitq

#endif  // WAITQ_CLIENT_SESSION_RESTART_H_
