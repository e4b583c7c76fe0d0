// waitq.v1.Tasks: decode, call the engine, encode.

#include <cerrno>
#include <cstdint>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "google/protobuf/descriptor.h"
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
  message.set_detached(info.detached);
  if (info.alternative.has_value()) message.set_alternative(*info.alternative);
}

void List(Invocation& call, const v1::ListTasksRequest& request) {
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
  const auto tasks = call.engine().ListTasks(
      {.object = request.name(), .caller = request.caller(), .after = after},
      size);
  v1::ListTasksResponse response;
  size_t bytes = 0;
  uint64_t last = 0;
  for (const engine::TaskInfo& info : tasks) {
    // A page does not part the alternatives of one call.
    if (bytes >= kPageBytes && info.id != last) break;
    last = info.id;
    v1::Task& task = *response.add_tasks();
    Encode(info, task);
    bytes += task.ByteSizeLong();
  }
  if (tasks.size() >= size || bytes >= kPageBytes) {
    response.set_next_page_token(absl::StrCat(last));
  }
  call.Reply(response);
}

void Signal(Invocation& call, const v1::SignalRequest& request) {
  switch (request.signal()) {
    case v1::SignalRequest::SIGNAL_INT:
    case v1::SignalRequest::SIGNAL_KILL:
    case v1::SignalRequest::SIGNAL_TERM:
      break;
    default:
      return call.Fail(engine::MakeError(
          EINVAL, "signal: it is SIGNAL_INT, SIGNAL_KILL or SIGNAL_TERM"));
  }
  const auto ended = call.engine().SignalTask(request.id(), request.signal());
  if (!ended.ok()) return call.Fail(ended.status());
  v1::SignalResponse response;
  response.set_ended(*ended);
  call.Reply(response);
}

// Whether it is one of ours, "WaitQueues/Wait", and takes a request id.
bool HasRequestIds(const std::string& method) {
  const auto* const pool = google::protobuf::DescriptorPool::generated_pool();
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(method, absl::MaxSplits('/', 1));
  const auto* const found = pool->FindMethodByName(
      absl::StrCat("waitq.v1.", parts.first, ".", parts.second));
  return found != nullptr &&
         found->input_type()->FindFieldByName("request_id") != nullptr &&
         found->service()->name() != "Tasks";
}

void Cancel(Invocation& call, const v1::CancelRequest& request) {
  if (!HasRequestIds(request.method())) {
    return call.Fail(engine::MakeError(
        EINVAL, "method: it is one with request ids, as \"WaitQueues/Wait\""));
  }
  v1::CancelResponse response;
  response.set_cancelled(call.engine().repeats().Cancel(
      {request.request_id(), request.name(), request.method()}));
  call.Reply(response);
}

}  // namespace

ServiceMethods TasksMethods() {
  return {
      v1::ListTasksRequest::descriptor()->file()->FindServiceByName("Tasks"),
      {Unary<v1::ListTasksRequest, &List>("List"),
       Unary<v1::SignalRequest, &Signal>("Signal"),
       Unary<v1::CancelRequest, &Cancel>("Cancel")},
      {}};
}

}  // namespace waitq::rpc
