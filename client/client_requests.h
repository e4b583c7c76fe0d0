// The requests of Client's calls that may be alternatives of WaitAny, too.

#ifndef WAITQ_CLIENT_CLIENT_REQUESTS_H_
#define WAITQ_CLIENT_CLIENT_REQUESTS_H_

#include <string>

#include "absl/status/statusor.h"
#include "client/client_impl.h"
#include "client/types.h"
#include "waitq/v1/completions.pb.h"
#include "waitq/v1/pipes.pb.h"
#include "waitq/v1/wait_queues.pb.h"

namespace waitq {

// `undo`: of a grant; or nullptr.
void FillWait(const std::string& name, const WaitOptions& options,
              const Undo* undo, v1::WaitRequest& request);
void FillAwait(const std::string& name, const AwaitOptions& options,
               v1::CompletionWaitRequest& request);
void FillRead(const std::string& name, const ReadOptions& options,
              v1::ReadRequest& request);

// Whether such a wait may be begun anew when its session is lost.
bool IsRestartable(const WaitOptions& options, const Undo* undo);

// What the program sees of the answers.
absl::StatusOr<WaitResult> FromWire(const v1::WaitResponse& response);
absl::StatusOr<AwaitResult> FromWire(
    const v1::CompletionWaitResponse& response);
absl::StatusOr<ReadResult> FromWire(v1::ReadResponse& response);

}  // namespace waitq

#endif  // WAITQ_CLIENT_CLIENT_REQUESTS_H_
