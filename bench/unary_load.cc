#include "bench/unary_load.h"

#include <atomic>
#include <memory>
#include <optional>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "grpcpp/client_context.h"

namespace waitq::bench {
namespace {

// One unary call.
class Call {
 public:
  void Start(Connection& connection, const Job& job, Tag* tag) {
    reader_ = connection.stub().PrepareUnaryCall(
        &context_, job.method, job.request, connection.queue());
    reader_->StartCall();
    reader_->Finish(&response_, &status_, tag);
  }
  const grpc::Status& status() const { return status_; }

 private:
  grpc::ClientContext context_;
  grpc::ByteBuffer response_;
  grpc::Status status_;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader_;
};

// One call after the other, until the end.
class Repeater final : public Tag {
 public:
  Repeater(Connection* connection, const Job* job, absl::Time begin,
           absl::Time end, absl::BlockingCounter* running)
      : connection_(*connection),
        job_(*job),
        begin_(begin),
        end_(end),
        running_(*running) {}

  void Start() { call_.emplace().Start(connection_, job_, this); }

  void Proceed(bool) override {
    DieUnlessOk(call_->status(), job_.method);
    const absl::Time now = absl::Now();
    if (now >= end_) {
      running_.DecrementCount();
      return;
    }
    if (now >= begin_) ++answered_;
    Start();
  }

  // When all have ended.
  uint64_t answered() const { return answered_; }

 private:
  Connection& connection_;
  const Job& job_;
  const absl::Time begin_;
  const absl::Time end_;
  absl::BlockingCounter& running_;
  std::optional<Call> call_;
  uint64_t answered_ = 0;
};

// A call that sleeps.
class Sleeper final : public Tag {
 public:
  // Of all of them.
  struct Progress {
    uint64_t count = 0;
    std::atomic<bool> may_end{false};
    std::atomic<uint64_t> ended{0};
    absl::Notification all_ended;
  };

  Sleeper(Connection& connection, const Job& job, Progress* progress)
      : progress_(*progress) {
    call_.Start(connection, job, this);
  }

  void Proceed(bool) override {
    DieUnlessOk(call_.status(), "a sleeping call");
    if (!progress_.may_end) Die("a sleeping call ended before it was woken");
    if (++progress_.ended == progress_.count) progress_.all_ended.Notify();
  }

 private:
  Call call_;
  Progress& progress_;
};

}  // namespace

uint64_t RunUnary(Target& target, const Connections& connections,
                  uint64_t in_flight, absl::Duration duration) {
  const Job job = target.Unary();
  const absl::Time begin = absl::Now() + duration / 10;
  absl::BlockingCounter running(static_cast<int>(in_flight));
  std::vector<std::unique_ptr<Repeater>> repeaters;
  for (uint64_t i = 0; i < in_flight; ++i) {
    repeaters.push_back(
        std::make_unique<Repeater>(connections[i % connections.size()].get(),
                                   &job, begin, begin + duration, &running));
    repeaters.back()->Start();
  }
  running.Wait();
  uint64_t answered = 0;
  for (const auto& repeater : repeaters) answered += repeater->answered();
  return answered;
}

absl::Duration RunSleepers(
    Target& target, const Connections& connections,
    const std::vector<uint64_t>& steps,
    const std::function<void(uint64_t, absl::Duration)>& asleep) {
  const Job job = target.Sleep();
  // Those of a load that was killed may still be on their way out.
  while (target.Asleep() > 0) absl::SleepFor(absl::Milliseconds(10));
  Sleeper::Progress progress;
  progress.count = steps.back();
  std::vector<std::unique_ptr<Sleeper>> sleepers;
  for (const uint64_t step : steps) {
    const absl::Time start = absl::Now();
    while (sleepers.size() < step) {
      sleepers.push_back(std::make_unique<Sleeper>(
          *connections[sleepers.size() % connections.size()], job, &progress));
    }
    while (target.Asleep() < step) absl::SleepFor(absl::Milliseconds(10));
    asleep(step, absl::Now() - start);
  }
  progress.may_end = true;
  const absl::Time start = absl::Now();
  target.WakeAll(progress.count);
  progress.all_ended.WaitForNotification();
  return absl::Now() - start;
}

}  // namespace waitq::bench
