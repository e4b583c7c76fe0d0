#include "bench/bare_stream.h"

#include <utility>

namespace waitq::bench {

void BareStream::Arm(const Parts& parts) {
  BareStream* const call = parts.make(parts);
  call->context_.AsyncNotifyWhenDone(&call->done_);
  parts.service->RequestStream(parts.index, &call->context_, &call->responder_,
                               parts.queue->queue(), &call->arrived_);
}

void BareStream::OnArrived(bool ok) {
  if (!ok) {
    delete this;
    return;
  }
  Arm(parts_);
  OnOpened();
}

void BareStream::StartRead() {
  Hold();
  responder_.Read(&incoming_, &read_);
}

void BareStream::OnRead(bool ok) {
  if (ok) {
    // The next read may start, and end, before OnMessage() returns.
    grpc::ByteBuffer message;
    message.Swap(&incoming_);
    OnMessage(message);
  } else {
    OnNoMoreMessages();
  }
  Release();
}

void BareStream::StartWrite(const grpc::ByteBuffer& message) {
  Hold();
  responder_.Write(message, &wrote_);
}

void BareStream::OnWrote(bool ok) {
  OnWritten(ok);
  Release();
}

void BareStream::Finish() {
  Hold();
  responder_.Finish(grpc::Status::OK, &finished_);
}

void BareStream::OnDone(bool) { Release(); }

void BareStream::OnFinished(bool) { Release(); }

void BareStream::Release() {
  if (--holds_ == 0) delete this;
}

void BareSession::OnMessage(const grpc::ByteBuffer& message) {
  if (writing_) {
    next_ = message;
    return;
  }
  writing_ = true;
  StartWrite(message);
  StartRead();
}

void BareSession::OnWritten(bool) {
  writing_ = false;
  if (next_.has_value()) {
    const grpc::ByteBuffer message = *std::exchange(next_, std::nullopt);
    OnMessage(message);
  } else if (ended_) {
    Finish();
  }
}

void BareSession::OnNoMoreMessages() {
  ended_ = true;
  if (!writing_) Finish();
}

Relay& Relay::Get() {
  static Relay relay;
  return relay;
}

void Relay::Put(BareStream* writer, const grpc::ByteBuffer& message) {
  BareStream* reader;
  bool full = false;
  {
    MutexLock lock(&mu_);
    reader = std::exchange(reader_, nullptr);
    if (reader == nullptr) {
      messages_.push_back(message);
      full = messages_.size() == kMessages;
    }
    if (full) {
      writer_ = writer;
      writer_->Hold();
    }
  }
  if (reader != nullptr) {  // it waits, so nothing was before this message
    reader->StartWrite(message);
    reader->Release();
  }
  if (!full) writer->StartRead();
}

void Relay::End() {
  BareStream* reader;
  {
    MutexLock lock(&mu_);
    reader = std::exchange(reader_, nullptr);
    ended_ = reader == nullptr;
  }
  if (reader == nullptr) return;
  reader->Finish();
  reader->Release();
}

void Relay::Next(BareStream* reader) {
  BareStream* writer = nullptr;
  std::optional<grpc::ByteBuffer> message;
  {
    MutexLock lock(&mu_);
    if (!messages_.empty()) {
      message = std::move(messages_.front());
      messages_.pop_front();
      writer = std::exchange(writer_, nullptr);
    } else if (!std::exchange(ended_, false)) {
      reader_ = reader;
      reader_->Hold();
      return;
    }
  }
  if (!message.has_value()) return reader->Finish();
  reader->StartWrite(*message);
  if (writer == nullptr) return;
  writer->StartRead();
  writer->Release();
}

}  // namespace waitq::bench
