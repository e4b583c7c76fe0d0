#include "tests/server/client.h"

#include <vector>

#include "grpcpp/generic/generic_stub.h"

namespace waitq::test {

std::string BytesOf(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  if (!buffer.Dump(&slices).ok()) return bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

namespace {

// Waits for the one thing that is under way; whether it went well.
bool Done(grpc::CompletionQueue& queue) {
  void* tag = nullptr;
  bool ok = false;
  return queue.Next(&tag, &ok) && ok;
}

}  // namespace

grpc::Status CallWithBytes(Client& client, const std::string& method,
                           const std::string& request, std::string* response) {
  grpc::GenericStub stub(client.channel());
  grpc::ClientContext context;
  context.set_deadline(LateDeadline());
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareCall(&context, method, &queue);
  call->StartCall(nullptr);
  if (Done(queue)) {
    const grpc::Slice slice(request);
    call->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
    Done(queue);
  }
  for (;;) {
    grpc::ByteBuffer message;
    call->Read(&message, nullptr);
    if (!Done(queue)) break;
    if (response != nullptr) *response = BytesOf(message);
  }
  grpc::Status status;
  call->Finish(&status, nullptr);
  Done(queue);
  queue.Shutdown();
  Done(queue);
  return status;
}

}  // namespace waitq::test
