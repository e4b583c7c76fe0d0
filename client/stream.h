// A bidirectional stream, driven by the one thread that uses it.
//
// gRPC's own blocking stream can wait for one thing at a time; a writer that is
// held up by flow control must at the same time hear what the server says, or
// both could wait for each other. Here operations are started, and Step() waits
// for whichever ends first. No thread of its own, no lock.

#ifndef WAITQ_CLIENT_STREAM_H_
#define WAITQ_CLIENT_STREAM_H_

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "client/call.h"
#include "grpcpp/completion_queue.h"
#include "grpcpp/support/async_stream.h"

namespace waitq {

// Thread safety: none, but stopping by the token is for any thread.
// Memory: one message in each direction, besides gRPC's windows.
template <class Request, class Response>
class Stream {
 public:
  using Rpc = grpc::ClientAsyncReaderWriterInterface<Request, Response>;

  // `prepare(context, queue)`: a stub's PrepareAsync call.
  template <class Prepare>
  Stream(const ServerName& server, std::string object, std::stop_token stop,
         Prepare prepare)
      : call_(server, std::move(object), std::move(stop)),
        rpc_(prepare(call_.context(), &queue_)) {
    rpc_->StartCall(Tag(kStart));
    while (!started_ && !ended_) Step();
  }

  // Cancels the call if it has not ended.
  ~Stream() {
    if (!ended_) call_.context()->TryCancel();
    while (!ended_) {
      if (!reading_) StartFinish();
      Step();
    }
    while (writing_) Step();
    queue_.Shutdown();
    void* tag;
    bool ok;
    while (queue_.Next(&tag, &ok)) {
    }
  }

  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Whether the status is there. Nothing may be started after that.
  bool ended() const { return ended_; }
  absl::Status status() const { return call_.ToStatus(status_); }

  // Whether a write is under way: there can be one at a time.
  bool writing() const { return writing_; }
  // Whether a write has failed. Then the stream is at its end, though what the
  // server said before that may still be to be read.
  bool write_failed() const { return write_failed_; }

  void StartWrite(const Request& request) {
    writing_ = true;
    rpc_->Write(request, Tag(kWrite));
  }

  // Nothing may be written after it.
  void StartWritesDone() {
    writing_ = true;
    rpc_->WritesDone(Tag(kWrite));
  }

  // Asks for the next response, unless that is already under way, or one has
  // not been taken yet, or there are no more.
  void StartRead() {
    if (reading_ || has_response_ || finishing_) return;
    reading_ = true;
    rpc_->Read(&response_, Tag(kRead));
  }

  // The response that has come in since, if any.
  std::optional<Response> TakeResponse() {
    if (!has_response_) return std::nullopt;
    has_response_ = false;
    return std::move(response_);
  }

  // Waits for one of the operations that were started.
  void Step() {
    void* tag;
    bool ok;
    if (!queue_.Next(&tag, &ok)) return;
    switch (static_cast<Operation>(reinterpret_cast<intptr_t>(tag))) {
      case kStart:
        started_ = ok;
        if (!ok) StartFinish();
        break;
      case kWrite:
        writing_ = false;
        if (!ok) {
          write_failed_ = true;
          StartRead();  // which will come to the end
        }
        break;
      case kRead:
        reading_ = false;
        has_response_ = ok;
        if (!ok) StartFinish();
        break;
      case kFinish:
        ended_ = true;
        // The status is known; a write that flow control still holds up must
        // not wait for a peer who is done.
        if (writing_) call_.context()->TryCancel();
        break;
    }
  }

 private:
  enum Operation : intptr_t { kStart = 1, kWrite, kRead, kFinish };

  static void* Tag(Operation operation) {
    return reinterpret_cast<void*>(static_cast<intptr_t>(operation));
  }

  void StartFinish() {
    if (finishing_) return;
    finishing_ = true;
    rpc_->Finish(&status_, Tag(kFinish));
  }

  Call call_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<Rpc> rpc_;

  bool started_ = false;
  bool writing_ = false;
  bool write_failed_ = false;
  bool reading_ = false;
  bool has_response_ = false;
  bool finishing_ = false;
  bool ended_ = false;
  Response response_;
  grpc::Status status_;
};

}  // namespace waitq

#endif  // WAITQ_CLIENT_STREAM_H_
