#include "client/cli/json.h"

#include <variant>

#include "client/wire.h"
#include "google/protobuf/util/json_util.h"
#include "transport/duration.h"
#include "waitq/v1/completions.pb.h"
#include "waitq/v1/objects.pb.h"
#include "waitq/v1/pipes.pb.h"
#include "waitq/v1/tasks.pb.h"
#include "waitq/v1/wait_queues.pb.h"

namespace waitq::cli {
namespace {

std::string ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  // A script that looks for `slept` finds it, also when it is false.
  options.always_print_primitive_fields = true;
  std::string json;
  // Cannot fail: no message of ours has an Any, or a duration out of range.
  (void)google::protobuf::util::MessageToJsonString(message, &json, options);
  return json;
}

// What blocking calls share.
template <class Result, class Message>
void SetEnd(const Result& result, Message& message) {
  message.set_outcome(ToWire(result.outcome));
  message.set_slept(result.slept);
  if (result.timing.has_value()) {
    *message.mutable_timing() = ToWire(*result.timing);
  }
}

template <class Result, class Message>
void SetRemaining(const Result& result, Message& message) {
  if (result.remaining.has_value()) {
    *message.mutable_remaining() = ToWire(*result.remaining);
  }
}

v1::WaitResponse ToMessage(const WaitResult& result) {
  v1::WaitResponse message;
  SetEnd(result, message);
  SetRemaining(result, message);
  message.set_value_before(result.value_before);
  message.set_value_after(result.value_after);
  message.set_generation(result.generation);
  return message;
}

v1::CompletionWaitResponse ToMessage(const AwaitResult& result) {
  v1::CompletionWaitResponse message;
  SetEnd(result, message);
  SetRemaining(result, message);
  message.set_generation(result.generation);
  message.set_redelivered(result.redelivered);
  return message;
}

v1::ReadResponse ToMessage(const ReadResult& result) {
  v1::ReadResponse message;
  SetEnd(result, message);
  message.set_data(result.data);
  message.set_offset(result.offset);
  message.set_incarnation(result.incarnation);
  message.set_broken(result.broken);
  message.set_hold_id(result.hold_id);
  message.set_redelivered(result.redelivered);
  return message;
}

}  // namespace

std::string Json(const WaitResult& result) { return ToJson(ToMessage(result)); }

std::string Json(const WakeResult& result) {
  v1::WakeUpResponse message;
  message.set_woken(result.woken);
  message.set_woken_exclusive(result.woken_exclusive);
  message.set_value(result.value);
  message.set_generation(result.generation);
  return ToJson(message);
}

std::string Json(const GetResult& result) {
  v1::GetResponse message;
  message.set_value(result.value);
  message.set_generation(result.generation);
  return ToJson(message);
}

std::string Json(const StoreResult& result) {
  v1::StoreResponse message;
  message.set_value_before(result.value_before);
  message.set_generation(result.generation);
  return ToJson(message);
}

std::string Json(const AwaitResult& result) {
  return ToJson(ToMessage(result));
}

std::string Json(const CompleteResult& result) {
  v1::CompleteResponse message;
  message.set_woken(result.woken);
  message.set_done(result.done);
  message.set_generation(result.generation);
  return ToJson(message);
}

std::string Json(const ReadResult& result) { return ToJson(ToMessage(result)); }

std::string Json(const WriteResult& result) {
  v1::WriteResponse message;
  SetEnd(result, message);
  message.set_accepted_bytes(result.accepted_bytes);
  if (result.ended_by.has_value()) {
    message.set_ended_by(ToWire(*result.ended_by));
  }
  message.set_ended_by_error(result.ended_by_error);
  message.set_offset(result.offset);
  message.set_incarnation(result.incarnation);
  return ToJson(message);
}

std::string Json(const PollResult& result) {
  v1::PollResponse message;
  SetEnd(result, message);
  message.set_in(result.in);
  message.set_out(result.out);
  message.set_hup(result.hup);
  message.set_err(result.err);
  return ToJson(message);
}

std::string Json(const WaitAnyResult& result) {
  v1::WaitAnyResponse message;
  SetEnd(result, message);
  SetRemaining(result, message);
  if (result.result.index() != 0) message.set_alternative(result.alternative);
  if (const auto* wait = std::get_if<WaitResult>(&result.result)) {
    *message.mutable_wait() = ToMessage(*wait);
  } else if (const auto* await = std::get_if<AwaitResult>(&result.result)) {
    *message.mutable_completion_wait() = ToMessage(*await);
  } else if (const auto* read = std::get_if<ReadResult>(&result.result)) {
    *message.mutable_read() = ToMessage(*read);
  }
  return ToJson(message);
}

std::string Json(const PipeChunk& chunk) {
  v1::ReadStreamResponse message;
  message.set_data(chunk.data);
  message.set_offset(chunk.offset);
  message.set_incarnation(chunk.incarnation);
  if (chunk.end.has_value()) message.set_outcome(ToWire(*chunk.end));
  message.set_broken(chunk.broken);
  return ToJson(message);
}

std::string Json(const CreateResult& result) {
  v1::CreateResponse message;
  message.set_created(result.created);
  *message.mutable_object() = ToWire(result.object);
  return ToJson(message);
}

std::string Json(const ObjectInfo& object) {
  v1::StatResponse message;
  *message.mutable_object() = ToWire(object);
  return ToJson(message);
}

std::string Json(const std::vector<ObjectInfo>& objects) {
  v1::ListObjectsResponse message;
  for (const ObjectInfo& object : objects) {
    *message.add_objects() = ToWire(object);
  }
  return ToJson(message);
}

std::string Json(const std::vector<TaskInfo>& tasks) {
  v1::ListTasksResponse message;
  for (const TaskInfo& task : tasks) *message.add_tasks() = ToWire(task);
  return ToJson(message);
}

std::string JsonOfReinit(uint64_t generation) {
  v1::ReinitResponse message;
  message.set_generation(generation);
  return ToJson(message);
}

std::string JsonOfRemove(uint64_t ended) {
  v1::RemoveResponse message;
  message.set_ended(ended);
  return ToJson(message);
}

std::string JsonOfSignal(bool ended) {
  v1::SignalResponse message;
  message.set_ended(ended);
  return ToJson(message);
}

std::string JsonOfWriter(Outcome outcome, const PipeWriter& writer) {
  v1::WriteStreamResponse message;
  message.set_outcome(ToWire(outcome));
  message.set_accepted_bytes(writer.accepted_bytes());
  message.set_offset(writer.offset());
  message.set_incarnation(writer.incarnation());
  message.set_sleeps(writer.sleeps());
  return ToJson(message);
}

}  // namespace waitq::cli
