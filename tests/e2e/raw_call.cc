#include "tests/e2e/raw_call.h"

#include <grpcpp/generic/generic_stub.h>

#include <vector>

#include "absl/time/time.h"
#include "tests/support/process.h"

namespace waitq::test {
namespace {

std::string BytesOf(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  if (!buffer.Dump(&slices).ok()) return bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

// Waits for the one operation that is under way.
bool Done(grpc::CompletionQueue* queue) {
  void* tag = nullptr;
  bool ok = false;
  return queue->Next(&tag, &ok) && ok;
}

}  // namespace

RawAnswer RawCall(const std::shared_ptr<grpc::Channel>& channel,
                  const std::string& method, const std::string& request) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() +
                       absl::ToChronoSeconds(kBound));
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareCall(&context, method, &queue);
  call->StartCall(nullptr);
  if (Done(&queue)) {
    const grpc::Slice slice(request);
    call->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
    Done(&queue);
  }
  RawAnswer answer;
  grpc::ByteBuffer response;
  call->Read(&response, nullptr);
  if (Done(&queue)) answer.bytes = BytesOf(response);
  call->Finish(&answer.status, nullptr);
  Done(&queue);
  queue.Shutdown();
  Done(&queue);
  return answer;
}

}  // namespace waitq::test
