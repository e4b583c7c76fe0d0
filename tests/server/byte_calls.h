// Many calls at once, of any method, whose messages are bytes.

#ifndef WAITQ_TESTS_SERVER_BYTE_CALLS_H_
#define WAITQ_TESTS_SERVER_BYTE_CALLS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "google/protobuf/descriptor.h"
#include "grpcpp/channel.h"
#include "grpcpp/completion_queue.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/support/status.h"

namespace waitq::test {

struct ByteCall {
  const google::protobuf::MethodDescriptor* method;
  std::vector<std::string> messages;
  // The request side is closed after them. Otherwise it stays open.
  bool closes = true;
  // Cancelled when the next call begins.
  bool cancels = false;
  std::optional<absl::Duration> deadline;

  // How it has ended. `cancels` is true of every call that was cancelled.
  grpc::Status status;
  std::vector<std::string> responses;
};

// Thread safety: none. One thread does it all, within the methods.
class ByteCalls {
 public:
  // `ended` is told of every call, once.
  ByteCalls(std::shared_ptr<grpc::Channel> channel,
            std::function<void(const ByteCall&)> ended);
  // Ends all.
  ~ByteCalls();

  // Begins a call, when there is room for it. Calls that sleep make room: when
  // no call moves any more, half of them are cancelled.
  void Begin(ByteCall call);
  // Cancels those that do not end by themselves, until none is left.
  void EndAll();

 private:
  struct Running;
  static constexpr size_t kAtOnce = 64;

  // Handles one event. False if none comes for a while.
  bool HandleOne();
  void CancelOldest(size_t n);

  std::shared_ptr<grpc::Channel> channel_;
  grpc::GenericStub stub_;
  const std::function<void(const ByteCall&)> ended_;
  grpc::CompletionQueue queue_;
  std::list<std::unique_ptr<Running>> running_;  // oldest first
};

}  // namespace waitq::test

#endif  // WAITQ_TESTS_SERVER_BYTE_CALLS_H_
