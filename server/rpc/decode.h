// What messages say, in the engine's terms; and the few ways back that several
// services need.

#ifndef WAITQ_SERVER_RPC_DECODE_H_
#define WAITQ_SERVER_RPC_DECODE_H_

#include <algorithm>
#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "server/engine/engine.h"
#include "server/engine/operation.h"
#include "server/engine/word.h"
#include "waitq/v1/common.pb.h"
#include "waitq/v1/pipes.pb.h"
#include "waitq/v1/wait_queues.pb.h"

namespace waitq::rpc {

// All of these return INVALID_ARGUMENT (EINVAL), naming the field, for what the
// protos do not allow.

absl::Status Decode(const v1::Condition& message, engine::Condition& condition);
absl::Status Decode(const v1::Action& message, engine::Action& action);
// `then`: what is to be undone.
absl::Status Decode(const v1::Undo& message, const engine::Action& then,
                    engine::Undo& undo);
absl::Status Decode(const v1::PipeOptions& message,
                    engine::PipeOptionsRequest& options);

engine::PipeEvents Decode(const v1::Readiness& message);
void Encode(const engine::PipeEvents& events, v1::Readiness& message);

// Whether a call may be uninterruptible: one that takes would take for nobody.
enum class MaySleepOn { kNo, kYes };

absl::Status DecodeSleepState(v1::Sleep sleep, MaySleepOn may_sleep_on,
                              TaskState& state);
absl::Status DecodeTimeout(const google::protobuf::Duration& message,
                           std::optional<absl::Duration>& timeout);

// What an answer has besides a pipe's bytes, at most.
inline constexpr uint64_t kAnswerOverheadBytes = 1024;

// So many bytes has a WaitAnyRequest at most: several times what its 64
// alternatives can have. Each of millions that are two bytes long would take
// thirty times as much memory before it is known that they are too many.
inline constexpr size_t kWaitAnyBytesMax = 64 << 10;
// EMSGSIZE.
absl::Status WaitAnyTooLongError();

// How many bytes a read asks for, and may be given in one answer.
template <class Request>
uint64_t ReadBytesOf(const engine::Engine& engine, const Request& request) {
  constexpr uint64_t kDefault = 64 * 1024;
  return std::min({request.has_max_bytes() ? request.max_bytes() : kDefault,
                   engine.limits().message_bytes, engine::kAnswerBytesMax});
}

// How long a read holds what it gets.
absl::Status DecodeHold(const google::protobuf::Duration& message,
                        absl::Duration& hold);

// The fields timeout, nonblock and sleep of a request, and want_timing where
// there is one.
template <class Request>
absl::Status DecodeSleep(const Request& request, MaySleepOn may_sleep_on,
                         engine::SleepOptions& options) {
  options.nonblock = request.nonblock();
  if constexpr (requires { request.want_timing(); }) {
    options.want_timing = request.want_timing();
  }
  absl::Status status =
      DecodeSleepState(request.sleep(), may_sleep_on, options.state);
  if (status.ok() && request.has_timeout()) {
    status = DecodeTimeout(request.timeout(), options.timeout);
  }
  return status;
}

// `now`: when the answer is on its way.
void Encode(const engine::OperationTiming& timing, absl::Time now,
            v1::Timing& message);
v1::ObjectKind EncodeKind(engine::ObjectKind kind);
v1::PipeMode EncodeMode(engine::PipeMode mode);
v1::PipeProfile EncodeProfile(engine::PipeProfile profile);

// A page is full with so many bytes, if not before: with one more entry it is
// well below what a client takes.
inline constexpr size_t kPageBytes = 1 << 20;

// The page size of a list request: 1000 if 0.
absl::Status DecodePageSize(uint32_t page_size, size_t& size);

}  // namespace waitq::rpc

#endif  // WAITQ_SERVER_RPC_DECODE_H_
