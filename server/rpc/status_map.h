// The one place where outcomes become gRPC statuses. (client/status_map.h is
// the one place that reads them.)

#ifndef WAITQ_SERVER_RPC_STATUS_MAP_H_
#define WAITQ_SERVER_RPC_STATUS_MAP_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grpcpp/support/status.h"
#include "server/engine/operation.h"
#include "waitq/v1/common.pb.h"

namespace waitq::rpc {

// What the answer of an operation says that ended as was to be expected:
// Done, TimedOut, WouldBlock, EndOfFile; unspecified for the other endings.
v1::Outcome OutcomeOf(engine::Ending ending);

// For the other endings, the error that the caller gets; OK for those above.
absl::Status FailureOf(const engine::Operation& op);

// The errno's name of an ending that is a failure, as "EPIPE"; "" for others.
std::string ErrorNameOf(const engine::Operation& op);

// Of a call whose caller has gone.
absl::Status CallerGoneError();
// A call means a server that was restarted since.
absl::Status OwnerDeadError();
// A stream means a session that is over.
absl::Status SessionGoneError();
// Of a call whose object was removed.
absl::Status RemovedError(const std::string& name);

// An error of the engine, with google.rpc.ErrorInfo; and with RetryInfo if
// waiting helps.
grpc::Status ToGrpcStatus(const absl::Status& status);
// When a repeat may succeed, if waiting helps.
std::optional<absl::Duration> RetryAfter(const absl::Status& status);

}  // namespace waitq::rpc

#endif  // WAITQ_SERVER_RPC_STATUS_MAP_H_
