// The insides of Client, shared by the files that implement it.

#ifndef WAITQ_CLIENT_CLIENT_IMPL_H_
#define WAITQ_CLIENT_CLIENT_IMPL_H_

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/call.h"
#include "client/client.h"
#include "client/idle_poller.h"
#include "grpcpp/channel.h"
#include "waitq/v1/completions.grpc.pb.h"
#include "waitq/v1/objects.grpc.pb.h"
#include "waitq/v1/pipes.grpc.pb.h"
#include "waitq/v1/tasks.grpc.pb.h"
#include "waitq/v1/wait_queues.grpc.pb.h"

namespace waitq {

// The services over one connection.
struct Stubs {
  explicit Stubs(const std::shared_ptr<grpc::Channel>& channel);

  const std::unique_ptr<v1::WaitQueues::StubInterface> wait_queues;
  const std::unique_ptr<v1::Completions::StubInterface> completions;
  const std::unique_ptr<v1::Pipes::StubInterface> pipes;
  const std::unique_ptr<v1::Objects::StubInterface> objects;
  const std::unique_ptr<v1::Tasks::StubInterface> tasks;
};

struct Client::Impl {
  Impl(ServerName name, std::string caller_name);

  const ServerName server;
  const std::string caller;
  // For calls that take, which may sleep in number; and for all the others,
  // among them those that wake the first. (A sleeping Write is woken by a Read,
  // which is in the first.)
  const Stubs taking;
  const Stubs giving;
  IdlePoller poller;
};

// A unary call: `method` of `stub`. Errors name the object that `request`
// names.
template <class Stub, class Request, class Response>
absl::StatusOr<Response> Invoke(
    const ServerName& server, Stub& stub,
    grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                 Response*),
    const Request& request, std::stop_token stop,
    std::optional<absl::Duration> timeout = {}) {
  std::string object;
  if constexpr (requires { request.name(); }) object = request.name();
  Call call(server, std::move(object), std::move(stop));
  call.SetTimeout(timeout);
  Response response;
  absl::Status status =
      call.ToStatus((stub.*method)(call.context(), request, &response));
  if (!status.ok()) return status;
  return response;
}

}  // namespace waitq

#endif  // WAITQ_CLIENT_CLIENT_IMPL_H_
