// A gRPC service made from its descriptor, whose methods get bytes.
//
// The generated AsyncService parses requests before our code sees the call, and
// answers those that do not parse with UNIMPLEMENTED. Here we parse, and say
// what was wrong. It also lets one class serve every method.

#ifndef WAITQ_SERVER_RPC_RAW_SERVICE_H_
#define WAITQ_SERVER_RPC_RAW_SERVICE_H_

#include <string>
#include <vector>

#include "google/protobuf/descriptor.h"
#include "grpcpp/completion_queue.h"
#include "grpcpp/impl/service_type.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/async_stream.h"
#include "grpcpp/support/async_unary_call.h"
#include "grpcpp/support/byte_buffer.h"

namespace waitq::rpc {

using UnaryResponder = grpc::ServerAsyncResponseWriter<grpc::ByteBuffer>;
using StreamResponder =
    grpc::ServerAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>;

// Thread safety: any thread may request calls, between the server's start and
// its shutdown. Must outlive the server.
class RawService final : public grpc::Service {
 public:
  // All methods are unary or bidirectional.
  explicit RawService(const google::protobuf::ServiceDescriptor* descriptor);

  const google::protobuf::ServiceDescriptor& descriptor() const {
    return *descriptor_;
  }

  // Asks for the next call of the method: `tag` comes back when there is one,
  // or with ok == false when there will be none.
  void RequestUnary(int method, grpc::ServerContext* context,
                    grpc::ByteBuffer* request, UnaryResponder* responder,
                    grpc::ServerCompletionQueue* queue, void* tag) {
    RequestAsyncUnary(method, context, request, responder, queue, queue, tag);
  }
  void RequestStream(int method, grpc::ServerContext* context,
                     StreamResponder* responder,
                     grpc::ServerCompletionQueue* queue, void* tag) {
    RequestAsyncBidiStreaming(method, context, responder, queue, queue, tag);
  }

 private:
  const google::protobuf::ServiceDescriptor* const descriptor_;
  std::vector<std::string> paths_;  // gRPC keeps pointers to them
};

}  // namespace waitq::rpc

#endif  // WAITQ_SERVER_RPC_RAW_SERVICE_H_
