// Client's calls on wait queues: what several files need of them.

#ifndef WAITQ_CLIENT_CLIENT_WORDS_H_
#define WAITQ_CLIENT_CLIENT_WORDS_H_

#include <string>

#include "absl/status/statusor.h"
#include "client/client_impl.h"
#include "client/types.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq {

Plan PlanWakeUp(const std::string& name, const WakeOptions& options);
absl::StatusOr<WakeResult> ReadWakeUp(v1::Result& result);

}  // namespace waitq

#endif  // WAITQ_CLIENT_CLIENT_WORDS_H_
