#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "client/error.h"
#include "grpcpp/grpcpp.h"
#include "load/queue_port.h"
#include "transport/channel_arguments.h"
#include "waitq/v1/pipes.grpc.pb.h"
#include "waitq/v1/pipes.pb.h"

namespace waitq::load {
namespace {

// gRPC's codes are abseil's. Whatever is no answer of the server's own leaves
// open whether it was done.
absl::Status ToAbsl(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status error(static_cast<absl::StatusCode>(status.error_code()),
                     status.error_message());
  if (status.error_details().empty() &&
      status.error_code() != grpc::StatusCode::CANCELLED) {
    SetErrorField(error, kUnknownKey, "1");
  }
  return error;
}

class UnaryPort final : public QueuePort {
 public:
  UnaryPort(const std::string& server, const std::string& name,
            uint64_t message_bytes)
      : stub_(v1::Pipes::NewStub(grpc::CreateCustomChannel(
            server, grpc::InsecureChannelCredentials(), ClientArguments()))),
        name_(name),
        message_bytes_(message_bytes) {}

  ~UnaryPort() override {
    Stop();
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(
        +[](absl::flat_hash_set<grpc::ClientContext*>* calls) {
          return calls->empty();
        },
        &calls_));
  }

  void Push(const std::string& bytes, Callback<WriteResult> done) override {
    auto call = std::make_shared<Call<v1::WriteRequest, v1::WriteResponse>>();
    call->request.set_name(name_);
    call->request.set_data(bytes);
    if (!Begin(&call->context)) return done(absl::CancelledError("stopped"));
    stub_->async()->Write(
        &call->context, &call->request, &call->response,
        [this, call,
         done = std::make_shared<Callback<WriteResult>>(std::move(done))](
            const grpc::Status& status) {
          if (status.ok()) {
            (*done)(
                WriteResult{.accepted_bytes = call->response.accepted_bytes(),
                            .offset = call->response.offset()});
          } else {
            (*done)(ToAbsl(status));
          }
          End(&call->context);
        });
  }

  void Pop(Callback<ReadResult> done) override {
    auto call = std::make_shared<Call<v1::ReadRequest, v1::ReadResponse>>();
    call->request.set_name(name_);
    call->request.set_max_bytes(message_bytes_);
    if (!Begin(&call->context)) return done(absl::CancelledError("stopped"));
    stub_->async()->Read(
        &call->context, &call->request, &call->response,
        [this, call,
         done = std::make_shared<Callback<ReadResult>>(std::move(done))](
            const grpc::Status& status) {
          if (status.ok()) {
            (*done)(
                ReadResult{.data = std::move(*call->response.mutable_data()),
                           .offset = call->response.offset()});
          } else {
            (*done)(ToAbsl(status));
          }
          End(&call->context);
        });
  }

  void Stop() override {
    absl::MutexLock lock(&mu_);
    stopped_ = true;
    for (grpc::ClientContext* call : calls_) call->TryCancel();
  }

 private:
  template <class Request, class Response>
  struct Call {
    grpc::ClientContext context;
    Request request;
    Response response;
  };

  bool Begin(grpc::ClientContext* call) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    if (stopped_) return false;
    calls_.insert(call);
    return true;
  }
  void End(grpc::ClientContext* call) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    calls_.erase(call);
  }

  const std::unique_ptr<v1::Pipes::Stub> stub_;
  const std::string name_;
  const uint64_t message_bytes_;
  absl::Mutex mu_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  absl::flat_hash_set<grpc::ClientContext*> calls_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<QueuePort>> UnaryQueuePort(
    const std::string& server, const std::string& name,
    uint64_t message_bytes) {
  return std::make_unique<UnaryPort>(server, name, message_bytes);
}

}  // namespace waitq::load
