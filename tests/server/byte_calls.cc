#include "tests/server/byte_calls.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "tests/server/byte_stream.h"
#include "tests/server/hostile_requests.h"

namespace waitq::test {

struct ByteCalls::Running {
  Running(ByteCall begun, grpc::GenericStub& stub, grpc::CompletionQueue* queue)
      : call(std::move(begun)),
        stream(stub, PathOf(*call.method), queue, call.deadline) {
    for (const std::string& message : call.messages) stream.Send(message);
    if (call.closes) stream.Close();
  }

  ByteCall call;
  ByteStream stream;
};

ByteCalls::ByteCalls(std::shared_ptr<grpc::Channel> channel,
                     std::function<void(const ByteCall&)> ended)
    : channel_(std::move(channel)), stub_(channel_), ended_(std::move(ended)) {}

ByteCalls::~ByteCalls() {
  EndAll();
  queue_.Shutdown();
  void* tag;
  bool ok;
  while (queue_.Next(&tag, &ok)) {
  }
}

void ByteCalls::Begin(ByteCall call) {
  while (running_.size() >= kAtOnce) {
    if (!HandleOne()) CancelOldest(kAtOnce / 2);
  }
  if (!running_.empty() && running_.back()->call.cancels) {
    running_.back()->stream.Cancel();
  }
  running_.push_back(
      std::make_unique<Running>(std::move(call), stub_, &queue_));
}

void ByteCalls::EndAll() {
  while (!running_.empty()) {
    if (!HandleOne()) CancelOldest(kAtOnce);
  }
}

bool ByteCalls::HandleOne() {
  void* tag;
  bool ok;
  const auto bound =
      std::chrono::system_clock::now() + std::chrono::milliseconds(10);
  if (queue_.AsyncNext(&tag, &ok, bound) != grpc::CompletionQueue::GOT_EVENT) {
    return false;
  }
  const ByteStream* const stream = ByteStream::Proceed(tag, ok);
  if (!stream->over()) return true;
  const auto over =
      std::find_if(running_.begin(), running_.end(),
                   [&](const auto& each) { return &each->stream == stream; });
  ByteCall& call = (*over)->call;
  call.status = stream->status();
  call.responses = {(*over)->stream.received().begin(),
                    (*over)->stream.received().end()};
  ended_(call);
  running_.erase(over);
  return true;
}

void ByteCalls::CancelOldest(size_t n) {
  for (const auto& running : running_) {
    if (n-- == 0) return;
    running->call.cancels = true;
    running->stream.Cancel();
  }
}

}  // namespace waitq::test
