// waitq.v1.Pipes, the unary methods: decode, call the engine, encode.

#include <algorithm>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/string_view.h"
#include "server/rpc/decode.h"
#include "server/rpc/read_stream.h"
#include "server/rpc/services.h"
#include "server/rpc/status_map.h"
#include "server/rpc/unary_call.h"
#include "server/rpc/write_stream.h"
#include "waitq/v1/pipes.pb.h"

namespace waitq::rpc {
namespace {

constexpr uint64_t kReadBytesDefault = 64 * 1024;

// What one answer carries at most: with the rest of it, what a client with
// gRPC's default settings takes, which is 4 MiB in all. Bytes that it refused
// would be gone.
constexpr uint64_t kReadBytesMax = (4 << 20) - 1024;

void AnswerRead(UnaryCall& call, engine::Operation& operation) {
  auto& op = static_cast<engine::ReadOperation&>(operation);
  v1::ReadResponse response;
  response.set_outcome(OutcomeOf(op.ending()));
  absl::CopyCordToString(op.TakeData(), response.mutable_data());
  response.set_offset(op.offset());
  response.set_incarnation(op.object().incarnation());
  response.set_broken(op.broken());
  response.set_slept(op.slept());
  call.Reply(response);
}

void Read(UnaryCall& call, const v1::ReadRequest& request) {
  engine::SleepOptions options;
  std::shared_ptr<const engine::CallerInfo> caller;
  if (!call.GetSleep(request, MaySleepOn::kNo, options, caller)) return;
  const uint64_t max_bytes = std::min(
      {request.has_max_bytes() ? request.max_bytes() : kReadBytesDefault,
       call.engine().limits().message_bytes, kReadBytesMax});
  auto op = engine::MakeRef<engine::ReadOperation>(
      max_bytes, /*reader=*/nullptr, call.home(), call.caller(),
      std::move(caller));
  call.Sleep(op, call.engine().Read(request.name(), op, options), &AnswerRead);
}

void AnswerWrite(UnaryCall& call, engine::Operation& operation) {
  auto& op = static_cast<engine::WriteOperation&>(operation);
  v1::WriteResponse response;
  response.set_outcome(OutcomeOf(op.ending()));
  if (op.moved_bytes() && op.ending() != engine::Ending::kDone) {
    response.set_outcome(v1::OUTCOME_DONE);
    response.set_ended_by(OutcomeOf(op.ending()));
    response.set_ended_by_error(ErrorNameOf(op));
  }
  response.set_accepted_bytes(op.accepted_bytes());
  response.set_offset(op.offset());
  response.set_incarnation(op.object().incarnation());
  response.set_slept(op.slept());
  call.Reply(response);
}

void Write(UnaryCall& call, const v1::WriteRequest& request) {
  engine::SleepOptions options;
  std::shared_ptr<const engine::CallerInfo> caller;
  if (!call.GetSleep(request, MaySleepOn::kYes, options, caller)) return;
  // Copied, into pieces of a few KB: the pipe may keep any part of it, which
  // would otherwise keep the whole message.
  auto op = engine::MakeRef<engine::WriteOperation>(
      absl::Cord(absl::string_view(request.data())), /*writer=*/nullptr,
      call.home(), call.caller(), std::move(caller));
  call.Sleep(op, call.engine().Write(request.name(), op, options),
             &AnswerWrite);
}

}  // namespace

ServiceMethods PipesMethods() {
  return {v1::ReadRequest::descriptor()->file()->FindServiceByName("Pipes"),
          {Unary<v1::ReadRequest, &Read>("Read"),
           Unary<v1::WriteRequest, &Write>("Write")},
          {{"ReadStream", &MakeReadStream}, {"WriteStream", &MakeWriteStream}}};
}

}  // namespace waitq::rpc
