// A session by the generated stub and nothing else.

#ifndef WAITQ_TESTS_FAULTS_RAW_SESSION_H_
#define WAITQ_TESTS_FAULTS_RAW_SESSION_H_

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "grpcpp/grpcpp.h"
#include "tests/faults/actor.h"
#include "transport/duration.h"
#include "waitq/v1/sessions.grpc.pb.h"

namespace waitq::test {

// One session and its stream. Nothing of a lost connection shows: what is not
// known to have arrived is said again.
//
// Thread safety: none.
// Blocking: each method waits for what it is about, for two graces and some
//   more at most; then the session is left to itself.
class RawSession {
 public:
  RawSession(v1::Sessions::Stub* stub, absl::Duration grace, uint64_t program)
      : stub_(*stub), grace_(grace), program_(program) {}
  ~RawSession() { LeaveStream(); }

  // Whether it is over, or was never there.
  bool is_over() const { return over_; }

  // The result of the operation; none: nobody knows what became of it, and the
  // session is over. `steady`: the stream on which it was asked for brought it.
  struct Did {
    std::optional<v1::Result> result;
    uint64_t number = 0;  // of the result
    bool steady = false;
  };
  // `leave`: the stream is lost on the way. `cancel_after`: it is cancelled.
  Did Do(const v1::Operation& operation, absl::Duration sleeps, bool leave,
         absl::Duration cancel_after) {
    v1::SessionRequest request;
    request.set_first_operation(++operations_);
    *request.add_operations() = operation;
    const absl::Time end = absl::Now() + sleeps + 2 * grace_ + kPatience;
    Did did;
    did.steady = stream_ != nullptr;
    while (!over_ && absl::Now() < end) {
      if (!Attach()) continue;
      if (!stream_->Write(request)) {
        LeaveStream();
        did.steady = false;
        continue;
      }
      if (std::exchange(leave, false)) {
        absl::SleepFor(absl::Microseconds(300));
        LeaveStream();
        did.steady = false;
        continue;
      }
      std::thread canceller;
      if (cancel_after != absl::InfiniteDuration()) {
        canceller = std::thread([this, after = cancel_after] {
          absl::SleepFor(after);
          v1::SessionRequest cancel;
          cancel.add_cancels(operations_);
          stream_->Write(cancel);
        });
        cancel_after = absl::InfiniteDuration();
      }
      const bool came = Await(sleeps + kPatience, [&] {
        const auto it = results_.find(operations_);
        if (it == results_.end()) return false;
        did.number = it->second.first;
        did.result = std::move(it->second.second);
        results_.erase(it);
        return true;
      });
      if (canceller.joinable()) canceller.join();
      if (came) return did;
      LeaveStream();
      did.steady = false;
    }
    Abandon();
    return did;
  }

  // Says so until a heartbeat answers it. False: whether it was heard nobody
  // knows, and the session is over.
  bool Settle(const std::vector<uint64_t>& taken,
              const std::vector<uint64_t>& returned) {
    v1::SessionRequest request;
    for (const uint64_t number : taken) request.add_taken(number);
    for (const uint64_t number : returned) request.add_returned(number);
    request.set_heartbeat(++heartbeat_);
    const absl::Time end = absl::Now() + 2 * grace_ + kPatience;
    while (!over_ && absl::Now() < end) {
      if (!Attach()) continue;
      if (stream_->Write(request) &&
          Await(kPatience, [this] { return answered_ >= heartbeat_; })) {
        return true;
      }
      LeaveStream();
    }
    Abandon();
    return false;
  }

  // Nobody hears of it any more.
  void Abandon() {
    LeaveStream();
    over_ = true;
  }

  void End() {
    if (stream_ == nullptr) return Abandon();
    v1::SessionRequest request;
    request.set_end(true);
    stream_->Write(request);
    (void)Await(kPatience, [] { return false; });
    Abandon();
  }

  // Another program goes on with it, which has none of its results. Those that
  // come again, by their numbers.
  std::vector<uint64_t> ComeBackWithNothing() {
    LeaveStream();
    forgetful_ = true;
    again_.clear();
    if (Attach()) {
      v1::SessionRequest request;
      request.set_heartbeat(++heartbeat_);
      stream_->Write(request);
      if (!Await(kPatience, [this] { return answered_ >= heartbeat_; })) {
        LeaveStream();
      }
    }
    return again_;
  }

 private:
  void LeaveStream() {
    if (stream_ == nullptr) return;
    context_->TryCancel();
    v1::SessionResponse response;
    while (stream_->Read(&response)) {
    }
    (void)stream_->Finish();
    stream_ = nullptr;
    context_ = nullptr;
  }

  // One try.
  bool Attach() {
    if (stream_ != nullptr) return true;
    context_ = std::make_unique<grpc::ClientContext>();
    context_->set_wait_for_ready(true);
    std::optional<Canceller> limit;
    limit.emplace(context_.get(), kPatience);
    stream_ = stub_.Attach(context_.get());
    v1::SessionRequest request;
    v1::SessionRequest::Hello& hello = *request.mutable_hello();
    hello.set_program(program_);
    hello.set_attempt(++attempt_);
    if (token_.empty()) {
      *hello.mutable_grace() = ToWire(grace_);
    } else {
      hello.set_token(token_);
      hello.set_server_epoch(epoch_);
      hello.set_results_received(std::exchange(forgetful_, false) ? 0 : last_);
    }
    v1::SessionResponse response;
    if (stream_->Write(request) && stream_->Read(&response) &&
        response.has_hello()) {
      if (token_.empty()) {
        token_ = response.hello().token();
        epoch_ = response.hello().server_epoch();
      }
      Take(response);
      return true;
    }
    limit.reset();
    context_->TryCancel();
    while (stream_->Read(&response)) {
    }
    // A reason is the server's word that there is no such session.
    over_ = !ReasonOf(stream_->Finish()).empty();
    stream_ = nullptr;
    context_ = nullptr;
    if (!over_) absl::SleepFor(absl::Milliseconds(20));
    return false;
  }

  void Take(v1::SessionResponse& response) {
    answered_ = std::max<uint64_t>(answered_, response.heartbeat());
    uint64_t number = response.first_result();
    for (v1::Result& result : *response.mutable_results()) {
      if (number <= last_) {
        again_.push_back(number++);
        continue;
      }
      last_ = number++;
      const uint64_t operation = result.operation();
      results_[operation] = {last_, std::move(result)};
    }
  }

  // Reads until something is there.
  template <class State>
  bool Await(absl::Duration limit, const State& state) {
    if (state()) return true;
    const Canceller canceller(context_.get(), limit);
    v1::SessionResponse response;
    while (stream_->Read(&response)) {
      Take(response);
      if (state()) return true;
    }
    return false;
  }

  v1::Sessions::Stub& stub_;
  const absl::Duration grace_;
  const uint64_t program_;
  uint64_t attempt_ = 0;
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<
      grpc::ClientReaderWriter<v1::SessionRequest, v1::SessionResponse>>
      stream_;
  bool over_ = false;
  bool forgetful_ = false;
  std::string token_;
  uint64_t epoch_ = 0;
  uint64_t operations_ = 0;
  uint64_t last_ = 0;  // result
  // By operation: the result's number, and the result.
  std::map<uint64_t, std::pair<uint64_t, v1::Result>> results_;
  std::vector<uint64_t> again_;
  uint64_t heartbeat_ = 0;
  uint64_t answered_ = 0;
};

}  // namespace waitq::test

#endif  // WAITQ_TESTS_FAULTS_RAW_SESSION_H_
