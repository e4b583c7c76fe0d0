// The messages of a session's streams: what they bring is done, what goes back
// is built. Knows no stream: any transport may carry them.

#ifndef WAITQ_SERVER_RPC_SESSION_MESSAGES_H_
#define WAITQ_SERVER_RPC_SESSION_MESSAGES_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/engine/engine.h"
#include "server/engine/session.h"
#include "server/rpc/session_input.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq::rpc {

// What one response message has at most, but for a single result that is
// longer: so that a wake does not wait behind megabytes.
inline constexpr uint64_t kSessionMessageBytes = 128 << 10;

// Takes a message apart. INVALID_ARGUMENT: it is none (EINVAL), has a hello in
// the wrong place (EINVAL), or too many of something (EMSGSIZE): the end of the
// stream and, if it has one, of its session. The bytes must outlive `input`.
absl::Status ParseSessionMessage(absl::string_view bytes, bool first,
                                 SessionInput& input);

// The session that a first message asks for, made or found. Errors: the status
// with which the stream is to end.
absl::StatusOr<engine::Ref<engine::Session>> FindSession(
    engine::Engine& engine, const v1::SessionRequest& first,
    const std::string& peer);

// Attaches the stream to the session that its first message asks for. Within
// Session::Run(); 0 as Session::Attach().
uint64_t AttachSession(engine::Session& session,
                       const v1::SessionRequest& first,
                       engine::Ref<engine::SessionTransport> transport,
                       const std::string& peer);

// Does what a message brings. Within Session::Run(). An error is the client's,
// and the session's end: Session::End() has been called with it. `more`: false
// after the last message.
absl::Status ServeSessionMessage(engine::Engine& engine,
                                 engine::Session& session, uint64_t stream,
                                 const SessionInput& message, bool& more);

// The bytes of a v1::SessionResponse. On any thread.
std::string EncodeSessionMessage(engine::Engine& engine,
                                 const engine::Session& session,
                                 const engine::SessionMessage& message);

}  // namespace waitq::rpc

#endif  // WAITQ_SERVER_RPC_SESSION_MESSAGES_H_
