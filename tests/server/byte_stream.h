// One call of any method, whose messages are bytes.

#ifndef WAITQ_TESTS_SERVER_BYTE_STREAM_H_
#define WAITQ_TESTS_SERVER_BYTE_STREAM_H_

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "grpcpp/client_context.h"
#include "grpcpp/completion_queue.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/status.h"

namespace waitq::test {

// Sends what it is given, one message after the other, and takes all the while
// what comes; when nothing more comes it is over.
//
// Thread safety: none; who empties the queue calls Proceed().
// Destruction: when it is over.
class ByteStream {
 public:
  // `method`: "/waitq.v1.Tasks/List".
  ByteStream(grpc::GenericStub& stub, const std::string& method,
             grpc::CompletionQueue* queue,
             std::optional<absl::Duration> deadline = std::nullopt);
  ByteStream(const ByteStream&) = delete;
  ByteStream& operator=(const ByteStream&) = delete;

  void Send(std::string message);
  // After what it was given.
  void Close();
  void Cancel() { context_.TryCancel(); }

  // What has come, in order; to be taken out.
  std::deque<std::string>& received() { return received_; }
  // Its status has come, and nothing of it is under way.
  bool over() const { return finished_done_ && under_way_ == 0; }
  const grpc::Status& status() const { return status_; }

  // An event of the queue: whose it is.
  static ByteStream* Proceed(void* tag, bool ok);

 private:
  struct Tag {
    ByteStream* stream;
    void (ByteStream::*then)(bool ok);
  };

  void* Begin(Tag& tag) {
    ++under_way_;
    return &tag;
  }
  void SendOn();
  void OnStarted(bool ok);
  void OnSent(bool ok);
  void OnCame(bool ok);
  void OnFinished(bool) { finished_done_ = true; }

  grpc::ClientContext context_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
  grpc::ByteBuffer incoming_;
  std::deque<std::string> messages_;
  std::deque<std::string> received_;
  grpc::Status status_;
  int under_way_ = 0;
  bool may_send_ = false;  // it is started, and nothing is being sent
  bool closes_ = false;
  bool finished_done_ = false;
  Tag started_{this, &ByteStream::OnStarted};
  Tag sent_{this, &ByteStream::OnSent};
  Tag came_{this, &ByteStream::OnCame};
  Tag finished_{this, &ByteStream::OnFinished};
};

}  // namespace waitq::test

#endif  // WAITQ_TESTS_SERVER_BYTE_STREAM_H_
