#include "client/call.h"

#include <utility>

#include "client/status_map.h"

namespace waitq {
Call::Call(const ServerName& server, std::string object, std::stop_token stop)
    : server_(server),
      object_(std::move(object)),
      stop_(std::move(stop)),
      on_stop_(stop_, [this] { context_.TryCancel(); }) {}

absl::Status Call::ToStatus(const grpc::Status& status) const {
  if (status.ok()) return absl::OkStatus();
  // A call that found no connection has no peer but the channel's own target.
  return FromGrpcStatus(status,
                        CallSite{.server = server_.address,
                                 .object = object_,
                                 .sent = context_.peer() != server_.target,
                                 .stopped = stop_.stop_requested()});
}

}  // namespace waitq
