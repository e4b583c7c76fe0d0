// waitq.v1.Tasks: decode, call the engine, encode.

#include <cerrno>
#include <cstdint>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/engine/error.h"
#include "server/rpc/decode.h"
#include "server/rpc/services.h"
#include "server/rpc/unary_call.h"
#include "transport/duration.h"
#include "waitq/v1/tasks.pb.h"

namespace waitq::rpc {
namespace {

v1::Sleep SleepOf(TaskState state) {
  switch (state) {
    case kKillable:
      return v1::SLEEP_KILLABLE;
    case kUninterruptible:
      return v1::SLEEP_UNINTERRUPTIBLE;
    default:
      return v1::SLEEP_INTERRUPTIBLE;
  }
}

void Encode(const engine::TaskInfo& info, v1::Task& message) {
  message.set_id(info.id);
  message.set_peer(info.peer);
  message.set_caller(info.caller);
  message.set_state(SleepOf(info.state));
  message.set_object(info.object);
  message.set_kind(EncodeKind(info.kind));
  message.set_condition(info.condition);
  *message.mutable_age() = ToWire(info.age);
  if (info.remaining.has_value()) {
    *message.mutable_remaining() = ToWire(*info.remaining);
  }
  message.set_place(info.place);
  message.set_exclusive(info.exclusive);
}

void List(UnaryCall& call, const v1::ListTasksRequest& request) {
  size_t size;
  absl::Status status = DecodePageSize(request.page_size(), size);
  if (status.ok() && !request.name().empty()) {
    status = engine::CheckName(request.name());
  }
  uint64_t after = 0;
  if (status.ok() && !request.page_token().empty() &&
      !absl::SimpleAtoi(request.page_token(), &after)) {
    status = engine::MakeError(EINVAL, "page_token: not one of ours");
  }
  if (!status.ok()) return call.Fail(status);
  const auto tasks = call.engine().ListTasks(request.name(), after, size);
  v1::ListTasksResponse response;
  for (const engine::TaskInfo& info : tasks) {
    Encode(info, *response.add_tasks());
  }
  if (tasks.size() == size) {
    response.set_next_page_token(absl::StrCat(tasks.back().id));
  }
  call.Reply(response);
}

}  // namespace

ServiceMethods TasksMethods() {
  return {
      v1::ListTasksRequest::descriptor()->file()->FindServiceByName("Tasks"),
      {Unary<v1::ListTasksRequest, &List>("List")},
      {}};
}

}  // namespace waitq::rpc
