// The methods of each service; one .cc each. The server checks at its start
// that every method of every service is there.

#ifndef WAITQ_SERVER_RPC_SERVICES_H_
#define WAITQ_SERVER_RPC_SERVICES_H_

#include <memory>
#include <vector>

#include "google/protobuf/descriptor.h"
#include "server/rpc/stream_call.h"
#include "server/rpc/unary_call.h"

namespace waitq::rpc {

struct ServiceMethods {
  const google::protobuf::ServiceDescriptor* descriptor;
  std::vector<UnaryMethod> unary;
  std::vector<StreamMethod> streams;
  // Operations that there are only in sessions.
  std::vector<Method> session_only = {};
};

ServiceMethods WaitQueuesMethods();
ServiceMethods CompletionsMethods();
ServiceMethods PipesMethods();
ServiceMethods ObjectsMethods();
ServiceMethods TasksMethods();
ServiceMethods SessionsMethods();

}  // namespace waitq::rpc

#endif  // WAITQ_SERVER_RPC_SERVICES_H_
