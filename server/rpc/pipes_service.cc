// waitq.v1.Pipes, the unary methods: decode, call the engine, encode.

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/engine/error.h"
#include "server/rpc/decode.h"
#include "server/rpc/operations.h"
#include "server/rpc/poll_stream.h"
#include "server/rpc/read_stream.h"
#include "server/rpc/services.h"
#include "server/rpc/status_map.h"
#include "server/rpc/unary_call.h"
#include "server/rpc/write_stream.h"
#include "waitq/v1/pipes.pb.h"

namespace waitq::rpc {

void AnswerRead(engine::Operation& operation, v1::ReadResponse& response) {
  auto& op = static_cast<engine::ReadOperation&>(operation);
  response.set_outcome(OutcomeOf(op.ending()));
  absl::CopyCordToString(op.data(), response.mutable_data());
  response.set_offset(op.offset());
  response.set_incarnation(op.object().incarnation());
  response.set_broken(op.broken());
  response.set_slept(op.slept());
  if (op.held()) response.set_hold_id(op.id());
  response.set_redelivered(op.redelivered());
}

namespace {

// Of a handle's pipe, which may have been removed.
absl::StatusOr<engine::Started> StartedOn(const engine::PipeObject& pipe,
                                          engine::Started started) {
  if (started == engine::Started::kGone) return RemovedError(pipe.name());
  return started;
}

}  // namespace

absl::StatusOr<engine::Ref<engine::ReadOperation>> MakeRead(
    Invocation& call, const v1::ReadRequest& request,
    std::shared_ptr<engine::CallerInfo> caller) {
  const uint64_t max_bytes = ReadBytesOf(call.engine(), request);
  const uint64_t min_bytes = request.has_min_bytes() ? request.min_bytes() : 1;
  if (min_bytes < 1 || (min_bytes > max_bytes && min_bytes > 1)) {
    return engine::MakeError(
        EINVAL, absl::StrCat("min_bytes: ", min_bytes, " is not in 1 to ",
                             max_bytes, ", what is read at most"));
  }
  auto op = engine::MakeRef<engine::ReadOperation>(
      engine::ReadSize(max_bytes, min_bytes), call.reader(), call.home(),
      call.caller(), std::move(caller));
  if (request.has_hold()) {
    absl::Duration hold;
    const absl::Status held = DecodeHold(request.hold(), hold);
    if (!held.ok()) return held;
    op->HoldFor(hold);
  } else if (call.session() != nullptr) {
    op->HoldUntilTaken();
  }
  return op;
}

absl::StatusOr<engine::Started> StartRead(
    Invocation& call, const v1::ReadRequest& request,
    const engine::Ref<engine::ReadOperation>& op,
    const engine::SleepOptions& options) {
  engine::PipeOptionsRequest pipe;
  const absl::Status status = Decode(request.options(), pipe);
  if (!status.ok()) return status;
  absl::StatusOr<engine::Started> started;
  if (call.reader() != nullptr) {
    const engine::PipeObject& of = call.reader()->pipe();
    const absl::Status served = engine::Engine::CheckServes(of, *op);
    if (!served.ok()) return served;
    started = StartedOn(of, call.engine().Read(*call.reader(), op, options));
  } else {
    started = call.engine().Read(request.name(), op, options, pipe);
  }
  if (started.ok() && request.has_hold() && call.session() != nullptr) {
    // By its own id, which the session's end does not know.
    call.session()->NoteHolds(engine::Ref<engine::Object>(&op->object()));
  }
  return started;
}

namespace {

void Read(Invocation& call, const v1::ReadRequest& request) {
  engine::SleepOptions options;
  std::shared_ptr<engine::CallerInfo> caller;
  if (!call.GetSleep(request, MaySleepOn::kNo, options, caller)) return;
  const auto op = MakeRead(call, request, std::move(caller));
  if (!op.ok()) return call.Fail(op.status());
  call.Sleep(*op, [&] { return StartRead(call, request, *op, options); });
}

void AnswerWrite(engine::Operation& operation, v1::WriteResponse& response) {
  auto& op = static_cast<engine::WriteOperation&>(operation);
  response.set_outcome(OutcomeOf(op.ending()));
  if (op.moved_bytes() && op.ending() != engine::Ending::kDone) {
    response.set_outcome(v1::OUTCOME_DONE);
    response.set_ended_by(OutcomeOf(op.ending()));
    response.set_ended_by_error(ErrorNameOf(op));
    if (op.ending() == engine::Ending::kInterrupted) {
      response.set_ended_by_signal(op.signal());
    }
  }
  response.set_accepted_bytes(op.accepted_bytes());
  response.set_offset(op.offset());
  response.set_incarnation(op.object().incarnation());
  response.set_slept(op.slept());
}

void Write(Invocation& call, const v1::WriteRequest& request) {
  engine::SleepOptions options;
  std::shared_ptr<engine::CallerInfo> caller;
  if (!call.GetSleep(request, MaySleepOn::kYes, options, caller)) return;
  engine::PipeOptionsRequest pipe;
  const absl::Status status = Decode(request.options(), pipe);
  if (!status.ok()) return call.Fail(status);
  // Copied, into pieces of a few KB: the pipe may keep any part of it, which
  // would otherwise keep the whole message.
  auto op = engine::MakeRef<engine::WriteOperation>(
      absl::Cord(absl::string_view(request.data())), call.writer(), call.home(),
      call.caller(), std::move(caller));
  call.Sleep(op, [&]() -> absl::StatusOr<engine::Started> {
    if (call.writer() != nullptr) {
      return StartedOn(call.writer()->pipe(),
                       call.engine().Write(*call.writer(), op, options));
    }
    return call.engine().Write(request.name(), op, options, pipe);
  });
}

void AnswerPoll(engine::Operation& operation, v1::PollResponse& response) {
  const auto& op = static_cast<engine::PollOperation&>(operation);
  response.set_outcome(OutcomeOf(op.ending()));
  response.set_in(op.events().in);
  response.set_out(op.events().out);
  response.set_hup(op.events().hup);
  response.set_err(op.events().err);
  response.set_slept(op.slept());
}

void Poll(Invocation& call, const v1::PollRequest& request) {
  engine::SleepOptions options;
  std::shared_ptr<engine::CallerInfo> caller;
  if (!call.GetSleep(request, MaySleepOn::kNo, options, caller)) return;
  auto op = engine::MakeRef<engine::PollOperation>(request.in(), request.out(),
                                                   call.home(), call.caller(),
                                                   std::move(caller));
  if (request.has_known()) op->SetKnown(Decode(request.known()));
  call.Sleep(op,
             [&] { return call.engine().Poll(request.name(), op, options); });
}

void Accept(Invocation& call, const v1::AcceptRequest& request) {
  std::optional<uint64_t> up_to;
  if (request.has_up_to_offset()) up_to = request.up_to_offset();
  const absl::Status status =
      call.engine().Accept(request.name(), request.hold_id(), up_to);
  if (!status.ok()) return call.Fail(status);
  call.Reply(v1::AcceptResponse());
}

void Release(Invocation& call, const v1::ReleaseRequest& request) {
  const absl::Status status =
      call.engine().Release(request.name(), request.hold_id());
  if (!status.ok()) return call.Fail(status);
  call.Reply(v1::ReleaseResponse());
}

}  // namespace

ServiceMethods PipesMethods() {
  return {v1::ReadRequest::descriptor()->file()->FindServiceByName("Pipes"),
          {Unary<v1::ReadRequest, &Read, &AnswerRead>("Read"),
           Unary<v1::WriteRequest, &Write, &AnswerWrite>("Write"),
           Unary<v1::PollRequest, &Poll, &AnswerPoll>("Poll"),
           Unary<v1::AcceptRequest, &Accept>("Accept"),
           Unary<v1::ReleaseRequest, &Release>("Release")},
          {{"ReadStream", &MakeReadStream},
           {"WriteStream", &MakeWriteStream},
           {"PollStream", &MakePollStream}}};
}

}  // namespace waitq::rpc
