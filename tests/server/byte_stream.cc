#include "tests/server/byte_stream.h"

#include <chrono>

#include "tests/server/client.h"

namespace waitq::test {

ByteStream::ByteStream(grpc::GenericStub& stub, const std::string& method,
                       grpc::CompletionQueue* queue,
                       std::optional<absl::Duration> deadline) {
  if (deadline.has_value()) {
    context_.set_deadline(std::chrono::system_clock::now() +
                          absl::ToChronoNanoseconds(*deadline));
  }
  stream_ = stub.PrepareCall(&context_, method, queue);
  stream_->StartCall(Begin(started_));
}

void ByteStream::Send(std::string message) {
  messages_.push_back(std::move(message));
  SendOn();
}

void ByteStream::Close() {
  closes_ = true;
  SendOn();
}

ByteStream* ByteStream::Proceed(void* tag, bool ok) {
  const Tag& event = *static_cast<Tag*>(tag);
  ByteStream* const stream = event.stream;
  --stream->under_way_;
  (stream->*event.then)(ok);
  return stream;
}

void ByteStream::SendOn() {
  if (!may_send_) return;
  if (!messages_.empty()) {
    may_send_ = false;
    const grpc::Slice slice(messages_.front());
    messages_.pop_front();
    stream_->Write(grpc::ByteBuffer(&slice, 1), Begin(sent_));
  } else if (closes_) {
    may_send_ = closes_ = false;
    stream_->WritesDone(Begin(sent_));
  }
}

void ByteStream::OnStarted(bool ok) {
  stream_->Read(&incoming_, Begin(came_));
  OnSent(ok);
}

void ByteStream::OnSent(bool ok) {
  may_send_ = ok;
  SendOn();
}

void ByteStream::OnCame(bool ok) {
  if (!ok) return stream_->Finish(&status_, Begin(finished_));
  received_.push_back(BytesOf(incoming_));
  stream_->Read(&incoming_, Begin(came_));
}

}  // namespace waitq::test
