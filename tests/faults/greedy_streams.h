// Streams of clients that read what they want, or nothing.

#ifndef WAITQ_TESTS_FAULTS_GREEDY_STREAMS_H_
#define WAITQ_TESTS_FAULTS_GREEDY_STREAMS_H_

#include <deque>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "core/mutex.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/support/client_callback.h"

namespace waitq::test {

// Sends what it is given, and reads so many responses, each of which `came` is
// shown on a thread of gRPC's. After that gRPC takes what its windows hold, and
// no more.
//
// Thread safety: any thread may call any method.
// Lifetime: that of the program.
template <class Request, class Response>
class GreedyStream final : public grpc::ClientBidiReactor<Request, Response> {
 public:
  using Came = std::function<void(const Response&)>;

  static constexpr int kAll = std::numeric_limits<int>::max();

  explicit GreedyStream(
      int reads, Came came = [](const Response&) {})
      : reads_left_(reads), came_(std::move(came)) {}

  grpc::ClientContext* context() { return &context_; }
  // After the stub has been given this.
  void Begin() {
    this->AddHold();  // for the writes that come from outside
    ReadOn();
    this->StartCall();
  }

  void Send(Request request) {
    MutexLock lock(&mu_);
    requests_.push_back(std::move(request));
    if (requests_.size() == 1 && !broken_) this->StartWrite(&requests_.front());
  }

  // How it has ended, if it has; only while it reads.
  std::optional<grpc::Status> ended() {
    MutexLock lock(&mu_);
    return status_;
  }

 private:
  void ReadOn() {
    if (reads_left_ == 0) return;
    if (reads_left_ != kAll) --reads_left_;
    this->StartRead(&response_);
  }
  void OnReadDone(bool ok) override {
    if (!ok) {
      // It is over: also for writes.
      MutexLock lock(&mu_);
      if (!std::exchange(broken_, true)) this->RemoveHold();
      return;
    }
    came_(response_);
    ReadOn();
  }
  void OnWriteDone(bool ok) override {
    MutexLock lock(&mu_);
    requests_.pop_front();
    if (ok && !broken_ && !requests_.empty()) {
      this->StartWrite(&requests_.front());
    }
  }
  void OnDone(const grpc::Status& status) override {
    MutexLock lock(&mu_);
    status_ = status;
  }

  int reads_left_;  // one thread at a time
  const Came came_;
  grpc::ClientContext context_;
  Response response_;
  Mutex mu_;
  std::deque<Request> requests_ ABSL_GUARDED_BY(mu_);
  bool broken_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<grpc::Status> status_ ABSL_GUARDED_BY(mu_);
};

}  // namespace waitq::test

#endif  // WAITQ_TESTS_FAULTS_GREEDY_STREAMS_H_
