#include "tests/client/fake_server.h"

#include "transport/channel_arguments.h"

namespace waitq {
namespace {

template <class Function, class... Arguments>
grpc::Status Run(const Function& function, Arguments*... arguments) {
  if (function) return function(arguments...);
  return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "");
}

}  // namespace

struct FakeServer::Services {
  struct WaitQueues : v1::WaitQueues::Service {
    explicit WaitQueues(FakeServer& f) : fake(f) {}
    grpc::Status Wait(grpc::ServerContext* c, const v1::WaitRequest* request,
                      v1::WaitResponse* response) override {
      return Run(fake.wait, c, request, response);
    }
    grpc::Status WakeUp(grpc::ServerContext* c,
                        const v1::WakeUpRequest* request,
                        v1::WakeUpResponse* response) override {
      return Run(fake.wake_up, c, request, response);
    }
    grpc::Status Get(grpc::ServerContext* c, const v1::GetRequest* request,
                     v1::GetResponse* response) override {
      return Run(fake.get, c, request, response);
    }
    FakeServer& fake;
  };

  struct Pipes : v1::Pipes::Service {
    explicit Pipes(FakeServer& f) : fake(f) {}
    grpc::Status Read(grpc::ServerContext* c, const v1::ReadRequest* request,
                      v1::ReadResponse* response) override {
      return Run(fake.read, c, request, response);
    }
    grpc::Status Write(grpc::ServerContext* c, const v1::WriteRequest* request,
                       v1::WriteResponse* response) override {
      return Run(fake.write, c, request, response);
    }
    grpc::Status ReadStream(
        grpc::ServerContext* c,
        grpc::ServerReaderWriter<v1::ReadStreamResponse, v1::ReadStreamRequest>*
            stream) override {
      return Run(fake.read_stream, c, stream);
    }
    grpc::Status WriteStream(
        grpc::ServerContext* c,
        grpc::ServerReaderWriter<v1::WriteStreamResponse,
                                 v1::WriteStreamRequest>* stream) override {
      return Run(fake.write_stream, c, stream);
    }
    FakeServer& fake;
  };

  struct Objects : v1::Objects::Service {
    explicit Objects(FakeServer& f) : fake(f) {}
    grpc::Status Create(grpc::ServerContext* c,
                        const v1::CreateRequest* request,
                        v1::CreateResponse* response) override {
      return Run(fake.create, c, request, response);
    }
    grpc::Status List(grpc::ServerContext* c,
                      const v1::ListObjectsRequest* request,
                      v1::ListObjectsResponse* response) override {
      return Run(fake.list_objects, c, request, response);
    }
    FakeServer& fake;
  };

  struct Tasks : v1::Tasks::Service {
    explicit Tasks(FakeServer& f) : fake(f) {}
    grpc::Status List(grpc::ServerContext* c,
                      const v1::ListTasksRequest* request,
                      v1::ListTasksResponse* response) override {
      return Run(fake.list_tasks, c, request, response);
    }
    FakeServer& fake;
  };

  explicit Services(FakeServer& fake)
      : wait_queues(fake), pipes(fake), objects(fake), tasks(fake) {}

  WaitQueues wait_queues;
  Pipes pipes;
  Objects objects;
  Tasks tasks;
};

FakeServer::FakeServer() : services_(std::make_unique<Services>(*this)) {
  int port = 0;
  grpc::ServerBuilder builder;
  SetServerArguments(builder);
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                           &port);
  builder.RegisterService(&services_->wait_queues);
  builder.RegisterService(&services_->pipes);
  builder.RegisterService(&services_->objects);
  builder.RegisterService(&services_->tasks);
  server_ = builder.BuildAndStart();
  address_ = "127.0.0.1:" + std::to_string(port);
}

FakeServer::~FakeServer() {
  // Cancels what is still there: a failed test must not hang here.
  server_->Shutdown(std::chrono::system_clock::now());
}

}  // namespace waitq
