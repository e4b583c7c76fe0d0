// The client's plain values as messages, and back.

#ifndef WAITQ_CLIENT_WIRE_H_
#define WAITQ_CLIENT_WIRE_H_

#include <optional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/types.h"
#include "google/protobuf/duration.pb.h"
#include "transport/duration.h"
#include "waitq/v1/common.pb.h"
#include "waitq/v1/objects.pb.h"
#include "waitq/v1/pipes.pb.h"
#include "waitq/v1/tasks.pb.h"
#include "waitq/v1/wait_queues.pb.h"

namespace waitq {

v1::Sleep ToWire(Sleep sleep);
v1::Condition ToWire(const Condition& condition);
v1::Action ToWire(const Action& action);
v1::Undo ToWire(const Undo& undo);
v1::PipeOptions ToWire(const PipeOptions& options);

v1::Outcome ToWire(Outcome outcome);
v1::Timing ToWire(const Timing& timing);
v1::ObjectStat ToWire(const ObjectInfo& object);
v1::Task ToWire(const TaskInfo& task);

// INTERNAL for what this client does not know: a newer server's.
absl::StatusOr<Outcome> FromWire(v1::Outcome outcome);
// What this client does not know is shown as the nearest thing that it knows.
ObjectInfo FromWire(const v1::ObjectStat& stat);
TaskInfo FromWire(const v1::Task& task);

// The fields that all blocking requests share.
template <class Options, class Request>
void SetSleep(const Options& options, Request& request) {
  if (options.timeout.has_value()) {
    *request.mutable_timeout() = ToWire(*options.timeout);
  }
  request.set_nonblock(options.nonblock);
  // The default goes without saying, a million times.
  if (options.sleep != Sleep::kInterruptible) {
    request.set_sleep(ToWire(options.sleep));
  }
  if constexpr (requires { options.want_timing; }) {
    request.set_want_timing(options.want_timing);
  }
}

// The `timing` of any message that has one.
Timing FromWire(const v1::Timing& timing);
template <class Message>
std::optional<Timing> TimingOf(const Message& message) {
  if (!message.has_timing()) return std::nullopt;
  return FromWire(message.timing());
}

// The `remaining` of any message that has one.
template <class Message>
std::optional<absl::Duration> RemainingOf(const Message& message) {
  if (!message.has_remaining()) return std::nullopt;
  return FromWire(message.remaining());
}

}  // namespace waitq

#endif  // WAITQ_CLIENT_WIRE_H_
