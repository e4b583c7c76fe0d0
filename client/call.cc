#include "client/call.h"

#include <utility>

#include "absl/time/clock.h"
#include "client/status_map.h"

namespace waitq {
namespace {

// What the server's answer "timed out" has left to arrive in: some seconds, and
// for long sleeps a share, because the server hands nothing to a call in the
// last 2 % before its deadline.
absl::Duration AnswerTime(absl::Duration timeout) {
  return absl::Seconds(5) + timeout / 32;
}

// gRPC cuts deadlines to a few years; longer timeouts are the server's alone.
constexpr absl::Duration kLongestDeadline = absl::Hours(24 * 365);

}  // namespace

Call::Call(const ServerName& server, std::string object, std::stop_token stop)
    : server_(server),
      object_(std::move(object)),
      stop_(std::move(stop)),
      on_stop_(stop_, [this] { context_.TryCancel(); }) {}

void Call::SetTimeout(std::optional<absl::Duration> timeout) {
  if (!timeout.has_value() || *timeout > kLongestDeadline) return;
  context_.set_deadline(
      absl::ToChronoTime(absl::Now() + *timeout + AnswerTime(*timeout)));
}

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
