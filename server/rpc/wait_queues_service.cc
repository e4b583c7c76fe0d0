// waitq.v1.WaitQueues: decode, call the engine, encode.

#include <cerrno>

#include "server/engine/error.h"
#include "server/rpc/decode.h"
#include "server/rpc/operations.h"
#include "server/rpc/services.h"
#include "server/rpc/status_map.h"
#include "server/rpc/unary_call.h"
#include "transport/duration.h"
#include "waitq/v1/wait_queues.pb.h"

namespace waitq::rpc {

void AnswerWait(engine::Operation& operation, v1::WaitResponse& response) {
  const auto& op = static_cast<engine::WaitOperation&>(operation);
  response.set_outcome(OutcomeOf(op.ending()));
  response.set_value_before(op.value_before());
  response.set_value_after(op.value_after());
  response.set_generation(op.generation());
  if (const auto remaining = op.remaining()) {
    *response.mutable_remaining() = ToWire(*remaining);
  }
  response.set_slept(op.slept());
}

absl::StatusOr<engine::Ref<engine::WaitOperation>> MakeWait(
    Invocation& call, const v1::WaitRequest& request,
    std::shared_ptr<engine::CallerInfo> caller) {
  engine::WaitSpec spec;
  absl::Status status;
  if (request.has_condition()) {
    status = Decode(request.condition(), spec.condition);
  }
  if (status.ok() && request.has_then()) {
    status = Decode(request.then(), spec.then);
  }
  if (status.ok() && request.then_wake() && !request.has_then()) {
    status = engine::MakeError(EINVAL, "then_wake: without `then`");
  }
  engine::Undo undo;
  if (status.ok() && request.has_undo()) {
    status = Decode(request.undo(), spec.then, undo);
    if (status.ok() && call.session() == nullptr) {
      status = engine::MakeError(
          EINVAL, "undo: only in a session, whose end undoes it");
    }
  }
  if (!status.ok()) return status;

  spec.then_wake = request.then_wake();
  spec.exclusive =
      request.has_exclusive() ? request.exclusive() : request.has_then();
  spec.key = request.key();
  spec.seen_generation = request.seen_generation();
  auto op = engine::MakeRef<engine::WaitOperation>(
      spec, call.home(), call.caller(), std::move(caller));
  if (request.has_undo()) op->MakeGrant(undo);
  return op;
}

absl::StatusOr<engine::Started> StartWait(
    Invocation& call, const v1::WaitRequest& request,
    const engine::Ref<engine::WaitOperation>& op,
    const engine::SleepOptions& options) {
  auto started = call.engine().Wait(request.name(), op, options);
  if (started.ok() && request.has_undo()) {
    call.session()->NoteHolds(engine::Ref<engine::Object>(&op->object()));
  }
  return started;
}

namespace {

void Wait(Invocation& call, const v1::WaitRequest& request) {
  engine::SleepOptions options;
  std::shared_ptr<engine::CallerInfo> caller;
  if (!call.GetSleep(request, MaySleepOn::kNo, options, caller)) return;
  const auto op = MakeWait(call, request, std::move(caller));
  if (!op.ok()) return call.Fail(op.status());
  call.Sleep(*op, [&] { return StartWait(call, request, *op, options); });
}

void WakeUp(Invocation& call, const v1::WakeUpRequest& request) {
  engine::WakeOptions options;
  if (request.has_update()) {
    const absl::Status status = Decode(request.update(), options.update);
    if (!status.ok()) return call.Fail(status);
  }
  switch (request.mode()) {
    case v1::WakeUpRequest::MODE_UNSPECIFIED:
    case v1::WakeUpRequest::MODE_NORMAL:
      break;
    case v1::WakeUpRequest::MODE_INTERRUPTIBLE:
      options.mode = kInterruptible;
      break;
    default:
      return call.Fail(engine::MakeError(EINVAL, "mode: unknown value"));
  }
  if (request.has_nr()) {
    if (request.all()) {
      return call.Fail(engine::MakeError(EINVAL, "nr: not beside `all`"));
    }
    if (request.nr() == 0 || request.nr() > INT32_MAX) {
      return call.Fail(engine::MakeError(
          EINVAL, "nr: it is 1 to 2147483647; to wake all, say `all`"));
    }
    options.nr = static_cast<int>(request.nr());
  }
  if (request.all()) options.nr = 0;
  options.sync = request.sync();
  options.key = request.key();
  options.grant = request.grant();

  const auto result = call.engine().WakeUp(request.name(), options);
  if (!result.ok()) return call.Fail(result.status());
  v1::WakeUpResponse response;
  response.set_woken(result->woken);
  response.set_woken_exclusive(result->woken_exclusive);
  response.set_value(result->value);
  response.set_generation(result->generation);
  call.Reply(response);
}

void Get(Invocation& call, const v1::GetRequest& request) {
  const auto result = call.engine().Get(request.name());
  if (!result.ok()) return call.Fail(result.status());
  v1::GetResponse response;
  response.set_value(result->value);
  response.set_generation(result->generation);
  call.Reply(response);
}

void Store(Invocation& call, const v1::StoreRequest& request) {
  const auto result = call.engine().Store(request.name(), request.value());
  if (!result.ok()) return call.Fail(result.status());
  v1::StoreResponse response;
  response.set_value_before(result->value);
  response.set_generation(result->generation);
  call.Reply(response);
}

}  // namespace

ServiceMethods WaitQueuesMethods() {
  return {
      v1::WaitRequest::descriptor()->file()->FindServiceByName("WaitQueues"),
      {Unary<v1::WaitRequest, &Wait, &AnswerWait>("Wait"),
       Unary<v1::WakeUpRequest, &WakeUp>("WakeUp"),
       Unary<v1::GetRequest, &Get>("Get"),
       Unary<v1::StoreRequest, &Store>("Store")},
      {}};
}

}  // namespace waitq::rpc
