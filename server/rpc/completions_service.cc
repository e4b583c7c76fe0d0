// waitq.v1.Completions: decode, call the engine, encode.

#include <cerrno>

#include "server/engine/error.h"
#include "server/rpc/decode.h"
#include "server/rpc/operations.h"
#include "server/rpc/services.h"
#include "server/rpc/status_map.h"
#include "server/rpc/unary_call.h"
#include "transport/duration.h"
#include "waitq/v1/completions.pb.h"

namespace waitq::rpc {

void AnswerCompletionWait(engine::Operation& operation,
                          v1::CompletionWaitResponse& response) {
  const auto& op = static_cast<engine::CompletionOperation&>(operation);
  response.set_outcome(OutcomeOf(op.ending()));
  if (const auto remaining = op.remaining()) {
    *response.mutable_remaining() = ToWire(*remaining);
  }
  response.set_slept(op.slept());
  response.set_generation(op.generation());
  response.set_redelivered(op.redelivered());
}

absl::StatusOr<engine::Ref<engine::CompletionOperation>> MakeCompletionWait(
    Invocation& call, const v1::CompletionWaitRequest&,
    std::shared_ptr<engine::CallerInfo> caller) {
  return engine::MakeRef<engine::CompletionOperation>(
      call.home(), call.caller(), std::move(caller));
}

absl::StatusOr<engine::Started> StartCompletionWait(
    Invocation& call, const v1::CompletionWaitRequest& request,
    const engine::Ref<engine::CompletionOperation>& op,
    const engine::SleepOptions& options) {
  return call.engine().Wait(request.name(), op, options);
}

namespace {

void Wait(Invocation& call, const v1::CompletionWaitRequest& request) {
  engine::SleepOptions options;
  std::shared_ptr<engine::CallerInfo> caller;
  if (!call.GetSleep(request, MaySleepOn::kNo, options, caller)) return;
  const auto op = MakeCompletionWait(call, request, std::move(caller));
  call.Sleep(*op,
             [&] { return StartCompletionWait(call, request, *op, options); });
}

void AnswerTryWait(engine::Operation& operation,
                   v1::TryWaitResponse& response) {
  response.set_taken(operation.ending() == engine::Ending::kDone);
}

void TryWait(Invocation& call, const v1::TryWaitRequest& request) {
  if (call.session() != nullptr) {
    // An operation that does not sleep: then what it took can be given back.
    auto op = engine::MakeRef<engine::CompletionOperation>(
        call.home(), call.caller(), call.session()->caller_info());
    engine::SleepOptions options;
    options.nonblock = true;
    return call.Sleep(
        op, [&] { return call.engine().Wait(request.name(), op, options); });
  }
  const auto taken = call.engine().TryWait(request.name());
  if (!taken.ok()) return call.Fail(taken.status());
  v1::TryWaitResponse response;
  response.set_taken(*taken);
  call.Reply(response);
}

void Complete(Invocation& call, const v1::CompleteRequest& request) {
  uint32_t nr = request.has_nr() ? request.nr() : 1;
  if (nr == 0 || nr == engine::CompletionObject::kAll) {
    return call.Fail(engine::MakeError(
        EINVAL, "nr: it is 1 to 4294967294; for good, say `all`"));
  }
  if (request.all()) {
    if (request.has_nr()) {
      return call.Fail(engine::MakeError(EINVAL, "nr: not beside `all`"));
    }
    nr = engine::CompletionObject::kAll;
  }
  const auto result = call.engine().Complete(request.name(), nr);
  if (!result.ok()) return call.Fail(result.status());
  v1::CompleteResponse response;
  response.set_woken(result->woken);
  response.set_done(result->done);
  response.set_generation(result->generation);
  call.Reply(response);
}

void Reinit(Invocation& call, const v1::ReinitRequest& request) {
  const auto result = call.engine().Reinit(request.name());
  if (!result.ok()) return call.Fail(result.status());
  v1::ReinitResponse response;
  response.set_generation(result->generation);
  call.Reply(response);
}

void Done(Invocation& call, const v1::DoneRequest& request) {
  const auto done = call.engine().Done(request.name());
  if (!done.ok()) return call.Fail(done.status());
  v1::DoneResponse response;
  response.set_done(*done);
  call.Reply(response);
}

}  // namespace

ServiceMethods CompletionsMethods() {
  return {
      v1::CompletionWaitRequest::descriptor()->file()->FindServiceByName(
          "Completions"),
      {Unary<v1::CompletionWaitRequest, &Wait, &AnswerCompletionWait>("Wait"),
       Unary<v1::TryWaitRequest, &TryWait, &AnswerTryWait>("TryWait"),
       Unary<v1::CompleteRequest, &Complete>("Complete"),
       Unary<v1::ReinitRequest, &Reinit>("Reinit"),
       Unary<v1::DoneRequest, &Done>("Done")},
      {}};
}

}  // namespace waitq::rpc
