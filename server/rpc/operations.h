// Operations that requests ask for, made, started and answered apart: by their
// own methods, and as alternatives of Objects.WaitAny.

#ifndef WAITQ_SERVER_RPC_OPERATIONS_H_
#define WAITQ_SERVER_RPC_OPERATIONS_H_

#include <memory>

#include "absl/status/statusor.h"
#include "server/engine/engine.h"
#include "server/rpc/invocation.h"
#include "waitq/v1/completions.pb.h"
#include "waitq/v1/objects.pb.h"
#include "waitq/v1/pipes.pb.h"
#include "waitq/v1/wait_queues.pb.h"

namespace waitq::rpc {

// Make...(): not what the request says of sleeping, and who calls. EINVAL: the
// request is wrong. Start...(): the operation that was made of the same
// request.

absl::StatusOr<engine::Ref<engine::WaitOperation>> MakeWait(
    Invocation& call, const v1::WaitRequest& request,
    std::shared_ptr<engine::CallerInfo> caller);
absl::StatusOr<engine::Started> StartWait(
    Invocation& call, const v1::WaitRequest& request,
    const engine::Ref<engine::WaitOperation>& op,
    const engine::SleepOptions& options);
void AnswerWait(engine::Operation& operation, v1::WaitResponse& response);

absl::StatusOr<engine::Ref<engine::CompletionOperation>> MakeCompletionWait(
    Invocation& call, const v1::CompletionWaitRequest& request,
    std::shared_ptr<engine::CallerInfo> caller);
absl::StatusOr<engine::Started> StartCompletionWait(
    Invocation& call, const v1::CompletionWaitRequest& request,
    const engine::Ref<engine::CompletionOperation>& op,
    const engine::SleepOptions& options);
void AnswerCompletionWait(engine::Operation& operation,
                          v1::CompletionWaitResponse& response);

absl::StatusOr<engine::Ref<engine::ReadOperation>> MakeRead(
    Invocation& call, const v1::ReadRequest& request,
    std::shared_ptr<engine::CallerInfo> caller);
absl::StatusOr<engine::Started> StartRead(
    Invocation& call, const v1::ReadRequest& request,
    const engine::Ref<engine::ReadOperation>& op,
    const engine::SleepOptions& options);
void AnswerRead(engine::Operation& operation, v1::ReadResponse& response);

// Any of these.
void WaitAny(Invocation& call, const v1::WaitAnyRequest& request);
void AnswerWaitAny(engine::Operation& operation, v1::WaitAnyResponse& response);

}  // namespace waitq::rpc

#endif  // WAITQ_SERVER_RPC_OPERATIONS_H_
