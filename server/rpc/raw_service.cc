#include "server/rpc/raw_service.h"

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "grpcpp/impl/rpc_service_method.h"

namespace waitq::rpc {

RawService::RawService(const google::protobuf::ServiceDescriptor* descriptor)
    : descriptor_(descriptor) {
  for (int i = 0; i < descriptor->method_count(); ++i) {
    const google::protobuf::MethodDescriptor& method = *descriptor->method(i);
    paths_.push_back(
        absl::StrCat("/", descriptor->full_name(), "/", method.name()));
  }
  for (int i = 0; i < descriptor->method_count(); ++i) {
    const google::protobuf::MethodDescriptor& method = *descriptor->method(i);
    WAITQ_CHECK(method.client_streaming() == method.server_streaming(),
                "methods are unary or stream both ways");
    AddMethod(new grpc::internal::RpcServiceMethod(
        paths_[i].c_str(),
        method.client_streaming() ? grpc::internal::RpcMethod::BIDI_STREAMING
                                  : grpc::internal::RpcMethod::NORMAL_RPC,
        nullptr));
    MarkMethodRaw(i);
  }
}

}  // namespace waitq::rpc
