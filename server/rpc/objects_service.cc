// waitq.v1.Objects: decode, call the engine, encode.

#include <cerrno>
#include <string>
#include <variant>

#include "server/engine/error.h"
#include "server/rpc/decode.h"
#include "server/rpc/operations.h"
#include "server/rpc/services.h"
#include "server/rpc/unary_call.h"
#include "waitq/v1/objects.pb.h"

namespace waitq::rpc {
namespace {

// Each kind's part of the answer.
struct EncodeState {
  v1::ObjectStat& message;

  void operator()(const engine::WordResult& word) {
    message.mutable_wait_queue()->set_value(word.value);
    message.mutable_wait_queue()->set_grants(word.grants);
  }
  void operator()(const engine::CompletionObject::Result& completion) {
    message.mutable_completion()->set_done(completion.done);
  }
  void operator()(const engine::PipeStat& pipe) {
    v1::PipeStat& stat = *message.mutable_pipe();
    stat.set_capacity_bytes(pipe.options.capacity_bytes);
    stat.set_atomic_max_bytes(pipe.options.atomic_max_bytes);
    stat.set_unread_bytes(pipe.unread_bytes);
    stat.set_held_bytes(pipe.held_bytes);
    stat.set_read_offset(pipe.read_offset);
    stat.set_write_offset(pipe.write_offset);
    stat.set_readers(pipe.readers);
    stat.set_writers(pipe.writers);
    stat.set_mode(EncodeMode(pipe.options.mode));
    stat.set_profile(EncodeProfile(pipe.options.profile));
  }
};

void Encode(const engine::ObjectStat& stat, v1::ObjectStat& message) {
  message.set_name(stat.name);
  message.set_kind(EncodeKind(stat.kind));
  message.set_incarnation(stat.incarnation);
  message.set_generation(stat.generation);
  message.set_created(stat.created);
  message.set_sleepers(stat.sleepers);
  std::visit(EncodeState{message}, stat.state);
}

void Create(Invocation& call, const v1::CreateRequest& request) {
  engine::CreateOptions options;
  switch (request.options_case()) {
    case v1::CreateRequest::kWaitQueue:
      options.kind = engine::ObjectKind::kWaitQueue;
      break;
    case v1::CreateRequest::kCompletion:
      options.kind = engine::ObjectKind::kCompletion;
      break;
    case v1::CreateRequest::kPipe: {
      options.kind = engine::ObjectKind::kPipe;
      const absl::Status status = Decode(request.pipe(), options.pipe);
      if (!status.ok()) return call.Fail(status);
      break;
    }
    case v1::CreateRequest::OPTIONS_NOT_SET:
      return call.Fail(engine::MakeError(
          EINVAL, "options: they say the kind; none are set"));
  }
  const auto created = call.engine().Create(request.name(), options);
  if (!created.ok()) return call.Fail(created.status());
  const auto stat = call.engine().Stat(request.name());
  if (!stat.ok()) return call.Fail(stat.status());
  v1::CreateResponse response;
  response.set_created(*created);
  Encode(*stat, *response.mutable_object());
  call.Reply(response);
}

void Stat(Invocation& call, const v1::StatRequest& request) {
  const auto stat = call.engine().Stat(request.name());
  if (!stat.ok()) return call.Fail(stat.status());
  v1::StatResponse response;
  Encode(*stat, *response.mutable_object());
  call.Reply(response);
}

void List(Invocation& call, const v1::ListObjectsRequest& request) {
  engine::Page page;
  absl::Status status = DecodePageSize(request.page_size(), page.size);
  if (status.ok() && !request.page_token().empty() &&
      !engine::CheckName(request.page_token()).ok()) {
    status = engine::MakeError(EINVAL, "page_token: not one of ours");
  }
  if (!status.ok()) return call.Fail(status);
  page.after = request.page_token();
  const auto objects = call.engine().List(request.prefix(), page);
  v1::ListObjectsResponse response;
  size_t bytes = 0;
  for (const engine::ObjectStat& object : objects) {
    v1::ObjectStat& added = *response.add_objects();
    Encode(object, added);
    bytes += added.ByteSizeLong();
    if (bytes >= kPageBytes) break;
  }
  if (objects.size() == page.size || bytes >= kPageBytes) {
    response.set_next_page_token(
        response.objects(response.objects_size() - 1).name());
  }
  call.Reply(response);
}

void Remove(Invocation& call, const v1::RemoveRequest& request) {
  const auto ended = call.engine().Remove(request.name(), request.force());
  if (!ended.ok()) return call.Fail(ended.status());
  v1::RemoveResponse response;
  response.set_ended(*ended);
  call.Reply(response);
}

}  // namespace

ServiceMethods ObjectsMethods() {
  return {v1::CreateRequest::descriptor()->file()->FindServiceByName("Objects"),
          {Unary<v1::CreateRequest, &Create>("Create"),
           Unary<v1::StatRequest, &Stat>("Stat"),
           Unary<v1::ListObjectsRequest, &List>("List"),
           Unary<v1::RemoveRequest, &Remove>("Remove"),
           Unary<v1::WaitAnyRequest, &WaitAny, &AnswerWaitAny>("WaitAny")},
          {}};
}

}  // namespace waitq::rpc
