// A server whose answers a test writes itself.

#ifndef WAITQ_TESTS_CLIENT_FAKE_SERVER_H_
#define WAITQ_TESTS_CLIENT_FAKE_SERVER_H_

#include <functional>
#include <memory>
#include <string>

#include "grpcpp/grpcpp.h"
#include "waitq/v1/objects.grpc.pb.h"
#include "waitq/v1/pipes.grpc.pb.h"
#include "waitq/v1/tasks.grpc.pb.h"
#include "waitq/v1/wait_queues.grpc.pb.h"

namespace waitq {

// A method's stand-in. Without one, the method is UNIMPLEMENTED.
template <class Request, class Response>
using Handler = std::function<grpc::Status(grpc::ServerContext*, const Request*,
                                           Response*)>;

template <class Request, class Response>
using StreamHandler = std::function<grpc::Status(
    grpc::ServerContext*, grpc::ServerReaderWriter<Response, Request>*)>;

// Handlers run in gRPC's threads and may block; they must return before the
// server is destroyed. Set them before the calls.
class FakeServer {
 public:
  FakeServer();
  ~FakeServer();

  // "127.0.0.1:PORT".
  const std::string& address() const { return address_; }

  Handler<v1::WaitRequest, v1::WaitResponse> wait;
  Handler<v1::WakeUpRequest, v1::WakeUpResponse> wake_up;
  Handler<v1::GetRequest, v1::GetResponse> get;
  Handler<v1::ReadRequest, v1::ReadResponse> read;
  Handler<v1::WriteRequest, v1::WriteResponse> write;
  StreamHandler<v1::ReadStreamRequest, v1::ReadStreamResponse> read_stream;
  StreamHandler<v1::WriteStreamRequest, v1::WriteStreamResponse> write_stream;
  Handler<v1::CreateRequest, v1::CreateResponse> create;
  Handler<v1::ListObjectsRequest, v1::ListObjectsResponse> list_objects;
  Handler<v1::ListTasksRequest, v1::ListTasksResponse> list_tasks;

 private:
  struct Services;

  const std::unique_ptr<Services> services_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

}  // namespace waitq

#endif  // WAITQ_TESTS_CLIENT_FAKE_SERVER_H_
