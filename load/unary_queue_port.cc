#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
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
        +[](Calls* calls) { return calls->empty(); }, &calls_));
  }

  void Push(const std::string& bytes, Callback<WriteResult> done) override {
    auto* const call = new Call<v1::WriteRequest, v1::WriteResponse>();
    call->request.set_name(name_);
    call->request.set_data(bytes);
    if (!Begin(call)) return done(absl::CancelledError("stopped"));
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
          Leave(*call);
        });
    Leave(*call);
  }

  void Pop(Callback<ReadResult> done) override {
    auto* const call = new Call<v1::ReadRequest, v1::ReadResponse>();
    call->request.set_name(name_);
    call->request.set_max_bytes(message_bytes_);
    if (!Begin(call)) return done(absl::CancelledError("stopped"));
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
          Leave(*call);
        });
    Leave(*call);
  }

  void Stop() override {
    absl::MutexLock lock(&mu_);
    stopped_ = true;
    for (const auto& [call, owned] : calls_) call->context.TryCancel();
  }

 private:
  struct AnyCall {
    virtual ~AnyCall() = default;
    grpc::ClientContext context;
    // Of its two parts, what starts it and its callback, so many are under way.
    std::atomic<int> parts{2};
  };
  template <class Request, class Response>
  struct Call final : AnyCall {
    Request request;
    Response response;
  };
  using Calls = absl::flat_hash_map<AnyCall*, std::unique_ptr<AnyCall>>;

  // Takes the call; false: it is not to begin.
  bool Begin(AnyCall* call) ABSL_LOCKS_EXCLUDED(mu_) {
    std::unique_ptr<AnyCall> owned(call);
    std::vector<std::unique_ptr<AnyCall>> ended;  // freed without the lock
    absl::MutexLock lock(&mu_);
    ended.swap(ended_);
    if (stopped_) return false;
    calls_.emplace(call, std::move(owned));
    return true;
  }

  // The callback may have come, on another thread, before what has started the
  // call is out of the stub: with the first of the two the stub could go. Nor
  // is the call freed here: it has a reference to its channel, and gRPC's
  // threads must not be the ones that drop the last of these (they would wait
  // for themselves).
  void Leave(AnyCall& call) ABSL_LOCKS_EXCLUDED(mu_) {
    if (--call.parts > 0) return;
    absl::MutexLock lock(&mu_);
    const auto it = calls_.find(&call);
    ended_.push_back(std::move(it->second));
    calls_.erase(it);
  }

  const std::unique_ptr<v1::Pipes::Stub> stub_;  // outlives its calls
  const std::string name_;
  const uint64_t message_bytes_;
  absl::Mutex mu_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  Calls calls_ ABSL_GUARDED_BY(mu_);
  std::vector<std::unique_ptr<AnyCall>> ended_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<QueuePort>> UnaryQueuePort(
    const std::string& server, const std::string& name,
    uint64_t message_bytes) {
  return std::make_unique<UnaryPort>(server, name, message_bytes);
}

}  // namespace waitq::load
