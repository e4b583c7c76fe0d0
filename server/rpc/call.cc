#include "server/rpc/call.h"

#include <cerrno>
#include <chrono>
#include <utility>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "grpcpp/support/proto_buffer_reader.h"
#include "grpcpp/support/proto_buffer_writer.h"
#include "server/engine/error.h"

namespace waitq::rpc {

absl::Status CheckRequestSize(const engine::Engine& engine,
                              const grpc::ByteBuffer& bytes) {
  if (bytes.Length() > engine.limits().message_bytes) {
    return engine::MakeError(
        EMSGSIZE,
        absl::StrCat("a message of ", bytes.Length(), " bytes: the limit is ",
                     engine.limits().message_bytes, " bytes"),
        {{"limit", "message-bytes"}});
  }
  return absl::OkStatus();
}

absl::Status ParseRequest(const engine::Engine& engine, grpc::ByteBuffer& bytes,
                          google::protobuf::MessageLite& message) {
  if (absl::Status status = CheckRequestSize(engine, bytes); !status.ok()) {
    return status;
  }
  grpc::ProtoBufferReader reader(&bytes);
  if (!reader.status().ok() || !message.ParseFromZeroCopyStream(&reader)) {
    return engine::MakeError(EINVAL,
                             absl::StrCat("not a ", message.GetTypeName()));
  }
  return absl::OkStatus();
}

uint64_t Fingerprint(const google::protobuf::MessageLite& message) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&coded);
  }
  return absl::HashOf(bytes);
}

std::string MethodName(const google::protobuf::ServiceDescriptor& service,
                       absl::string_view method) {
  return absl::StrCat(service.name(), "/", method);
}

grpc::ByteBuffer Serialize(const google::protobuf::MessageLite& message) {
  grpc::ByteBuffer bytes;
  bool own_buffer;
  // Cannot fail: proto3 has no required fields, and no answer is near 2 GB.
  grpc::GenericSerialize<grpc::ProtoBufferWriter,
                         google::protobuf::MessageLite>(message, &bytes,
                                                        &own_buffer);
  return bytes;
}

absl::Status FindCaller(engine::Engine& engine,
                        const grpc::ServerContext& context,
                        const std::string& name,
                        std::shared_ptr<engine::CallerInfo>& info) {
  if (name.size() > engine::kCallerBytesMax) {
    return engine::MakeError(EINVAL,
                             absl::StrCat("a caller's name of ", name.size(),
                                          " bytes: the limit is ",
                                          engine::kCallerBytesMax, " bytes"),
                             {{"limit", "caller-bytes"}});
  }
  info = engine.FindCaller(context.peer(), name);
  return absl::OkStatus();
}

absl::Time CallDeadline(const grpc::ServerContext& context) {
  // Not deadline(), which is on the wall clock.
  const gpr_timespec deadline = context.raw_deadline();
  if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0) {
    return absl::InfiniteFuture();
  }
  const gpr_timespec monotonic =
      gpr_convert_clock_type(deadline, GPR_CLOCK_MONOTONIC);
  // gRPC's monotonic clock is ours: both are CLOCK_MONOTONIC.
  return absl::UnixEpoch() + absl::Seconds(monotonic.tv_sec) +
         absl::Nanoseconds(monotonic.tv_nsec);
}

}  // namespace waitq::rpc
