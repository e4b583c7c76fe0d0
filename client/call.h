// One call on the wire: its context, what can stop it, and how it failed.

#ifndef WAITQ_CLIENT_CALL_H_
#define WAITQ_CLIENT_CALL_H_

#include <functional>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/status.h"

namespace waitq {

// The server that calls go to.
struct ServerName {
  std::string address;  // as the user wrote it
  std::string target;   // as gRPC has it
};

// Thread safety: stopping apart, one thread.
class Call {
 public:
  // A request to stop `stop` cancels the call, also one made before it starts.
  // `object`: for error messages; may be "". All must outlive this.
  Call(const ServerName& server, std::string object, std::stop_token stop);
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  grpc::ClientContext* context() { return &context_; }

  // What `status`, by which this call ended, says to the program.
  absl::Status ToStatus(const grpc::Status& status) const;

 private:
  const ServerName& server_;
  const std::string object_;
  const std::stop_token stop_;
  grpc::ClientContext context_;
  // Last, so that it is gone before the context is.
  std::stop_callback<std::function<void()>> on_stop_;
};

}  // namespace waitq

#endif  // WAITQ_CLIENT_CALL_H_
