// What unary calls and streams have in common: their context, their caller,
// and bytes from and to messages.

#ifndef WAITQ_SERVER_RPC_CALL_H_
#define WAITQ_SERVER_RPC_CALL_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message_lite.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "server/engine/engine.h"
#include "server/rpc/call_queue.h"

namespace waitq::rpc {

// INVALID_ARGUMENT (EMSGSIZE) if a request is above the limit of one.
absl::Status CheckRequestSize(const engine::Engine& engine,
                              const grpc::ByteBuffer& bytes);
// Parses a request. INVALID_ARGUMENT if it is no such message (EINVAL) or above
// the limit of one (EMSGSIZE).
absl::Status ParseRequest(const engine::Engine& engine, grpc::ByteBuffer& bytes,
                          google::protobuf::MessageLite& message);

// What two requests have in common if, and as good as only if, they are the
// same.
uint64_t Fingerprint(const google::protobuf::MessageLite& message);

// "WaitQueues/Wait".
std::string MethodName(const google::protobuf::ServiceDescriptor& service,
                       absl::string_view method);

grpc::ByteBuffer Serialize(const google::protobuf::MessageLite& message);

// Who calls, for `ps`: the peer's address and the name it gives itself.
// INVALID_ARGUMENT if the name is too long.
absl::Status FindCaller(engine::Engine& engine,
                        const grpc::ServerContext& context,
                        const std::string& name,
                        std::shared_ptr<engine::CallerInfo>& info);

// When the call ends for its caller, on the engine's clock.
absl::Time CallDeadline(const grpc::ServerContext& context);

}  // namespace waitq::rpc

#endif  // WAITQ_SERVER_RPC_CALL_H_
