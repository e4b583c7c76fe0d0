// waitq.v1.Objects.WaitAny: its alternatives are the operations of other
// methods.

#include <cerrno>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/engine/error.h"
#include "server/rpc/operations.h"
#include "server/rpc/status_map.h"
#include "transport/duration.h"

namespace waitq::rpc {
namespace {

using Alternative = engine::AnyOf::Alternative;

// What is the whole's.
template <class Request>
absl::Status CheckSaysNothingOfTheWhole(const Request& request) {
  if (!request.has_timeout() && !request.nonblock() &&
      request.sleep() == v1::SLEEP_UNSPECIFIED && request.caller().empty() &&
      !request.want_timing() && request.request_id().empty() &&
      request.server_epoch() == 0) {
    return absl::OkStatus();
  }
  return engine::MakeError(
      EINVAL, absl::StrCat("alternatives: ", request.name(),
                           ": timeout, nonblock, sleep, caller, want_timing, "
                           "request_id, server_epoch: not of one of several"));
}

// `make` and `start`: of operations.h. The request outlives what is returned.
template <auto kMake, auto kStart, class Request>
absl::StatusOr<Alternative> MakeAlternative(
    Invocation& call, const Request& request,
    const std::shared_ptr<engine::CallerInfo>& caller) {
  const absl::Status status = CheckSaysNothingOfTheWhole(request);
  if (!status.ok()) return status;
  auto op = kMake(call, request, caller);
  if (!op.ok()) return op.status();
  return Alternative{
      *op, [&call, &request, op = *op](const engine::SleepOptions& options) {
        return kStart(call, request, op, options);
      }};
}

absl::StatusOr<Alternative> MakeAlternative(
    Invocation& call, const v1::Alternative& message,
    const std::shared_ptr<engine::CallerInfo>& caller) {
  switch (message.request_case()) {
    case v1::Alternative::kWait:
      return MakeAlternative<&MakeWait, &StartWait>(call, message.wait(),
                                                    caller);
    case v1::Alternative::kCompletionWait:
      return MakeAlternative<&MakeCompletionWait, &StartCompletionWait>(
          call, message.completion_wait(), caller);
    case v1::Alternative::kRead:
      return MakeAlternative<&MakeRead, &StartRead>(call, message.read(),
                                                    caller);
    case v1::Alternative::REQUEST_NOT_SET:
      break;
  }
  return engine::MakeError(EINVAL, "alternatives: one that asks for nothing");
}

}  // namespace

void WaitAny(Invocation& call, const v1::WaitAnyRequest& request) {
  engine::SleepOptions options;
  std::shared_ptr<engine::CallerInfo> caller;
  if (!call.GetSleep(request, MaySleepOn::kNo, options, caller)) return;
  // Before anything is made of thousands.
  absl::Status status = engine::CheckAlternatives(request.alternatives_size());
  std::vector<Alternative> alternatives;
  for (int i = 0; status.ok() && i < request.alternatives_size(); ++i) {
    auto made = MakeAlternative(call, request.alternatives(i), caller);
    status = made.status();
    if (made.ok()) alternatives.push_back(*std::move(made));
  }
  if (!status.ok()) return call.Fail(status);
  const auto any_of = engine::MakeRef<engine::AnyOf>();
  // Of all of them the first stands for the call.
  const engine::Ref<engine::Operation> first = alternatives.front().operation;
  call.Sleep(first, [&] {
    return call.engine().WaitAny(*any_of, std::move(alternatives), options);
  });
}

void AnswerWaitAny(engine::Operation& op, v1::WaitAnyResponse& response) {
  response.set_outcome(OutcomeOf(op.ending()));
  if (const auto remaining = op.remaining()) {
    *response.mutable_remaining() = ToWire(*remaining);
  }
  response.set_slept(op.slept());
  if (op.ending() != engine::Ending::kDone &&
      op.ending() != engine::Ending::kEndOfFile) {
    return;
  }
  response.set_alternative(op.alternative());
  switch (op.object().kind()) {
    case engine::ObjectKind::kWaitQueue:
      return AnswerWait(op, *response.mutable_wait());
    case engine::ObjectKind::kCompletion:
      return AnswerCompletionWait(op, *response.mutable_completion_wait());
    case engine::ObjectKind::kPipe:
      return AnswerRead(op, *response.mutable_read());
  }
}

}  // namespace waitq::rpc
