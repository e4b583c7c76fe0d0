// waitq.v1.Sessions; and the operations that there are only in sessions.

#include "server/rpc/invocation.h"
#include "server/rpc/services.h"
#include "server/rpc/session_call.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq::rpc {
namespace {

void Open(Invocation& call, const v1::OpenRequest& request) {
  engine::Session& session = *call.session();
  engine::PipeOptionsRequest options;
  absl::Status status = Decode(request.options(), options);
  if (!status.ok()) return call.Fail(status);
  constexpr uint8_t kField = v1::Operation::kOpenFieldNumber;
  const uint64_t number = call.operation();
  v1::OpenResponse response;
  const auto stand = [&](const engine::PipeObject& pipe, bool at_its_end) {
    const engine::PipeStat stat = pipe.Stat();
    response.set_offset(at_its_end ? stat.write_offset : stat.read_offset);
    response.set_incarnation(pipe.incarnation());
    response.set_mode(EncodeMode(pipe.options().mode));
  };
  if (request.write()) {
    status = session.OpenWriter(number, kField, request.name(), options);
    if (status.ok()) stand(session.FindWriter(number)->pipe(), true);
  } else {
    status = session.OpenReader(number, kField, request.name(), options);
    if (status.ok()) stand(session.FindReader(number)->pipe(), false);
  }
  if (!status.ok()) return call.Fail(status);
  call.Reply(response);
}

void Close(Invocation& call, const v1::CloseRequest& request) {
  const absl::Status status = call.session()->CloseHandle(
      request.handle(), request.broken(), request.when_idle());
  if (!status.ok()) return call.Fail(status);
  call.Reply(v1::CloseResponse());
}

}  // namespace

ServiceMethods SessionsMethods() {
  return {
      v1::SessionRequest::descriptor()->file()->FindServiceByName("Sessions"),
      {},
      {{"Attach", nullptr, &ArmSessionCall}},
      {MakeMethod<v1::OpenRequest, &Open, nullptr>(),
       MakeMethod<v1::CloseRequest, &Close, nullptr>()}};
}

}  // namespace waitq::rpc
