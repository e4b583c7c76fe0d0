// The one place that makes the client's errors from gRPC's.

#ifndef WAITQ_CLIENT_STATUS_MAP_H_
#define WAITQ_CLIENT_STATUS_MAP_H_

#include <string>

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace waitq {

// What is known about a call besides its status.
struct CallSite {
  // The server's address as the user wrote it.
  std::string server;
  // "" if the call is about no object.
  std::string object;
  // Whether the call was given to a connection. If not, it was not executed.
  bool sent = true;
  // Whether the caller stopped it.
  bool stopped = false;
};

// The code stays as it is. What the server's ErrorInfo says can be read by
// client/error.h. A status without one does not come from the server's own
// code, but from gRPC somewhere on the way, and says little: if the call may
// have been executed, the error is one of "outcome unknown".
absl::Status FromGrpcStatus(const grpc::Status& status, const CallSite& site);

}  // namespace waitq

#endif  // WAITQ_CLIENT_STATUS_MAP_H_
