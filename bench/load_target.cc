#include "bench/load_target.h"

#include <unistd.h>

#include "bench/bare.grpc.pb.h"
#include "bench/load_connection.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/proto_buffer_reader.h"
#include "waitq/v1/objects.grpc.pb.h"
#include "waitq/v1/pipes.pb.h"
#include "waitq/v1/wait_queues.grpc.pb.h"

namespace waitq::bench {
namespace {

constexpr char kHerd[] = "herd";

// A pipe that no run before has put anything in.
std::string Pipe() { return "relay." + std::to_string(getpid()); }

grpc::ByteBuffer Bytes(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

grpc::ByteBuffer Bytes(const google::protobuf::MessageLite& message) {
  return Bytes(message.SerializeAsString());
}

v1::WakeUpRequest WakeNobody() {
  v1::WakeUpRequest request;
  request.set_name("nobody");
  return request;
}

v1::WaitRequest WaitForOne() {
  v1::WaitRequest request;
  request.set_name(kHerd);
  request.mutable_condition()->set_equal(1);
  return request;
}

class Waitq final : public Target {
 public:
  explicit Waitq(const std::shared_ptr<grpc::Channel>& control)
      : queues_(v1::WaitQueues::NewStub(control)),
        objects_(v1::Objects::NewStub(control)) {}

  Job Unary() override {
    return {"/waitq.v1.WaitQueues/WakeUp", Bytes(WakeNobody())};
  }

  Job Sleep() override {
    grpc::ClientContext context;
    v1::StoreRequest request;
    request.set_name(kHerd);
    v1::StoreResponse response;
    DieUnlessOk(queues_->Store(&context, request, &response), "Store");
    return {"/waitq.v1.WaitQueues/Wait", Bytes(WaitForOne())};
  }

  uint64_t Asleep() override {
    grpc::ClientContext context;
    v1::StatRequest request;
    request.set_name(kHerd);
    v1::StatResponse response;
    DieUnlessOk(objects_->Stat(&context, request, &response), "Stat");
    return response.object().sleepers();
  }

  void WakeAll(uint64_t count) override {
    grpc::ClientContext context;
    v1::WakeUpRequest request;
    request.set_name(kHerd);
    request.mutable_update()->set_set(1);
    request.set_all(true);
    v1::WakeUpResponse response;
    DieUnlessOk(queues_->WakeUp(&context, request, &response), "WakeUp");
    if (response.woken() != count) Die("WakeUp woke another number");
  }

  StreamJob Session(size_t) override { Die("waitqd has no sessions"); }

  StreamJob RelayWriter(size_t bytes) override {
    v1::WriteStreamRequest open, data, end;
    open.mutable_open()->set_name(Pipe());
    data.set_data(std::string(bytes, 'x'));
    end.mutable_end();
    return {"/waitq.v1.Pipes/WriteStream", Bytes(open), Bytes(data),
            Bytes(end)};
  }

  StreamJob RelayReader() override {
    v1::ReadStreamRequest open;
    open.mutable_open()->set_name(Pipe());
    return {"/waitq.v1.Pipes/ReadStream", Bytes(open)};
  }

  bool IsWhole(uint64_t bytes, const grpc::ByteBuffer& last,
               uint64_t payload) override {
    grpc::ByteBuffer copy = last;
    grpc::ProtoBufferReader reader(&copy);
    v1::ReadStreamResponse response;
    return bytes >= payload && response.ParseFromZeroCopyStream(&reader) &&
           response.outcome() == v1::OUTCOME_END_OF_FILE &&
           !response.broken() && response.offset() == payload;
  }

 private:
  const std::unique_ptr<v1::WaitQueues::Stub> queues_;
  const std::unique_ptr<v1::Objects::Stub> objects_;
};

// Its requests are those of waitqd, so that both get as many bytes.
class BareTarget final : public Target {
 public:
  explicit BareTarget(const std::shared_ptr<grpc::Channel>& control)
      : stub_(Bare::NewStub(control)) {}

  Job Unary() override {
    return {"/waitq.bench.Bare/Echo", Bytes(WakeNobody())};
  }

  Job Sleep() override {
    return {"/waitq.bench.Bare/Sleep", Bytes(WaitForOne())};
  }

  uint64_t Asleep() override {
    grpc::ClientContext context;
    CountAsleepResponse response;
    DieUnlessOk(stub_->CountAsleep(&context, {}, &response), "CountAsleep");
    return response.asleep();
  }

  void WakeAll(uint64_t) override {
    grpc::ClientContext context;
    ReleaseAllResponse response;
    DieUnlessOk(stub_->ReleaseAll(&context, {}, &response), "ReleaseAll");
  }

  StreamJob Session(size_t bytes) override {
    return {.method = "/waitq.bench.Bare/Session",
            .message = Bytes(std::string(bytes, 'x'))};
  }

  StreamJob RelayWriter(size_t bytes) override {
    return {.method = "/waitq.bench.Bare/RelayWrite",
            .message = Bytes(std::string(bytes, 'x'))};
  }

  StreamJob RelayReader() override {
    return {.method = "/waitq.bench.Bare/RelayRead"};
  }

  bool IsWhole(uint64_t bytes, const grpc::ByteBuffer&,
               uint64_t payload) override {
    return bytes == payload;
  }

 private:
  const std::unique_ptr<Bare::Stub> stub_;
};

}  // namespace

std::unique_ptr<Target> Target::Make(
    const std::string& name, const std::shared_ptr<grpc::Channel>& control) {
  if (name == "waitq") return std::make_unique<Waitq>(control);
  return std::make_unique<BareTarget>(control);
}

}  // namespace waitq::bench
