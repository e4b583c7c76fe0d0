// timers: many sleeps that nobody ends but their timeouts.

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "client/client.h"
#include "client/types.h"
#include "load/workload.h"

namespace waitq::load {
namespace {

class Timers final : public Workload {
 public:
  explicit Timers(Host& host)
      : host_(host),
        name_(host.group.Name("timers")),
        timeouts_(host.recorder.Add("timeouts")),
        in_flight_(UINT64_MAX) {}

  void Start(absl::Time) override {
    const std::vector<uint64_t> mine = host_.Mine(host_.scenario.deadlines);
    {
      absl::MutexLock lock(&mu_);
      calls_.resize(mine.size());
    }
    for (size_t i = 0; i < mine.size(); ++i) {
      in_flight_.Begin();
      Sleep(i, TimeoutOf(mine[i]));
    }
  }

  void Finish() override {
    finished_ = true;
    std::vector<CallId> calls;
    {
      absl::MutexLock lock(&mu_);
      calls = calls_;
    }
    for (size_t i = 0; i < calls.size(); ++i) {
      host_.SessionOf(i).Cancel(calls[i]);
    }
    in_flight_.AwaitNone(host_.group.stop());
  }

 private:
  absl::Duration TimeoutOf(uint64_t number) const {
    const absl::Duration spread =
        host_.scenario.longest - host_.scenario.shortest;
    return host_.scenario.shortest +
           spread * (static_cast<double>(number) /
                     static_cast<double>(host_.scenario.deadlines));
  }

  void Sleep(size_t i, absl::Duration timeout) {
    const absl::Time due = host_.clock.Now() + timeout;
    const CallId call = host_.SessionOf(i).Wait(
        name_,
        {.condition = Condition::Equal(1),
         .timeout = timeout,
         .want_timing = true},
        [this, i, timeout, due](absl::StatusOr<WaitResult> result) {
          OnEnd(i, timeout, due, result);
        });
    absl::MutexLock lock(&mu_);
    calls_[i] = call;
  }

  void OnEnd(size_t i, absl::Duration timeout, absl::Time due,
             const absl::StatusOr<WaitResult>& result) {
    const bool cancelled = absl::IsCancelled(result.status());
    if (!result.ok()) {
      if (!cancelled) host_.Failed(result.status(), "a timed sleep");
      return in_flight_.End();
    }
    timeouts_.Record(due, host_.clock.Now());
    // By the server's clock: another machine's may be slower.
    if (result->outcome != Outcome::kTimedOut) {
      host_.recorder.findings().Fail("a timed sleep did not time out");
    } else if (result->timing.has_value() && result->timing->asleep < timeout) {
      host_.recorder.findings().Fail(absl::StrCat(
          "a sleep of ", absl::FormatDuration(timeout), " ended after ",
          absl::FormatDuration(result->timing->asleep)));
    }
    // One that begins now would not be cancelled.
    if (finished_) return in_flight_.End();
    Sleep(i, timeout);
    if (finished_) CancelAgain(i);
  }

  // Finish() may have read the number of the call before.
  void CancelAgain(size_t i) {
    CallId call;
    {
      absl::MutexLock lock(&mu_);
      call = calls_[i];
    }
    host_.SessionOf(i).Cancel(call);
  }

  Host& host_;
  const std::string name_;
  Series& timeouts_;
  InFlight in_flight_;
  std::atomic<bool> finished_{false};
  absl::Mutex mu_;
  std::vector<CallId> calls_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

std::unique_ptr<Workload> MakeTimers(Host& host) {
  return std::make_unique<Timers>(host);
}

}  // namespace waitq::load
