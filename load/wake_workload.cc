// wake: how long it takes from a wake to the sleeper being told.

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "client/client.h"
#include "client/types.h"
#include "load/pacer.h"
#include "load/workload.h"

namespace waitq::load {
namespace {

// A sleeper and its waker, on one host, so that one clock tells the time; each
// on a session of its own. The word counts wakes that are not yet taken.
class Pair {
 public:
  Pair(Host& host, Series& series, InFlight& in_flight, Client& sleeper,
       Client& waker, uint64_t number)
      : host_(host),
        series_(series),
        in_flight_(in_flight),
        sleeper_(sleeper),
        waker_(waker),
        name_(host.group.Name(absl::StrCat("wake/", number))),
        ready_(host.group.Name(absl::StrCat("ready/", number))) {}

  // Goes to sleep; when it is asleep, `wake` tells whether it is to be woken at
  // once: closed loop.
  void Sleep() {
    const CallId call = sleeper_.Wait(
        name_,
        {.condition = Condition{Condition::Test::kGreaterOrEqual, 1},
         .then = Action::Add(-1)},
        [this](absl::StatusOr<WaitResult> result) { OnWoken(result); });
    {
      absl::MutexLock lock(&mu_);
      call_ = call;
    }
    if (!closed_loop_) return;
    // The session does one after the other: when this has an answer the sleeper
    // is asleep.
    in_flight_.Begin();
    sleeper_.WakeUp(ready_, {}, [this](absl::StatusOr<WakeResult> result) {
      if (!host_.Failed(result.status(), "looking whether it sleeps") &&
          result.ok() && closed_loop_ && !finished_) {
        Wake(host_.clock.Now());
      }
      in_flight_.End();
    });
  }

  void Wake(absl::Time due) {
    {
      absl::MutexLock lock(&mu_);
      due_.push_back(due);
    }
    in_flight_.Begin();
    waker_.WakeUp(name_, {.update = Action::Add(1)},
                  [this](absl::StatusOr<WakeResult> result) {
                    if (host_.Failed(result.status(), "a wake")) {
                      in_flight_.End();
                    }
                  });
  }

  void StartClosedLoop() {
    closed_loop_ = true;
    Wake(host_.clock.Now());
  }
  void Finish() { finished_ = true; }

  void Drain() {
    CallId call;
    {
      absl::MutexLock lock(&mu_);
      call = call_;
      if (!due_.empty()) {
        host_.recorder.findings().Fail(
            absl::StrCat(name_, ": ", due_.size(), " wakes were lost"));
      }
    }
    sleeper_.Cancel(call);
    const absl::StatusOr<GetResult> left =
        host_.other->Get(name_, host_.group.stop());
    if (left.ok() && left->value != 0) {
      host_.recorder.findings().Fail(
          absl::StrCat(name_, ": the word is ", left->value, " at the end"));
    }
  }

 private:
  void OnWoken(const absl::StatusOr<WaitResult>& result) {
    if (absl::IsCancelled(result.status())) return;
    if (host_.Failed(result.status(), "a sleep") || !result.ok()) return;
    const absl::Time now = host_.clock.Now();
    std::optional<absl::Time> due;
    {
      absl::MutexLock lock(&mu_);
      if (!due_.empty()) {
        due = due_.front();
        due_.pop_front();
      }
    }
    if (!due.has_value()) {
      host_.recorder.findings().Fail(name_ + ": woken by nobody");
      return Sleep();
    }
    series_.Record(*due, now);
    Sleep();
    in_flight_.End();
  }

  Host& host_;
  Series& series_;
  InFlight& in_flight_;
  Client& sleeper_;
  Client& waker_;
  const std::string name_;
  const std::string ready_;
  std::atomic<bool> closed_loop_{false};
  std::atomic<bool> finished_{false};
  absl::Mutex mu_;
  CallId call_ ABSL_GUARDED_BY(mu_) = 0;
  // Of the wakes that nobody was told of yet, oldest first.
  std::deque<absl::Time> due_ ABSL_GUARDED_BY(mu_);
};

class Wake final : public Workload {
 public:
  explicit Wake(Host& host)
      : host_(host),
        series_(host.recorder.Add("wakes")),
        in_flight_(host.scenario.in_flight) {}

  absl::Status Prepare() override {
    for (const uint64_t n : host_.Mine(host_.scenario.pairs)) {
      Client& sleeper = host_.SessionOf(n / host_.group.hosts());
      Client& waker = host_.OtherSessionOf(n / host_.group.hosts());
      pairs_.push_back(std::make_unique<Pair>(host_, series_, in_flight_,
                                              sleeper, waker, n));
      pairs_.back()->Sleep();
    }
    return absl::OkStatus();
  }

  void Start(absl::Time start) override {
    if (pairs_.empty()) return;
    const double rate = host_.RateOf(host_.scenario.rate);
    if (rate == 0) {
      for (auto& pair : pairs_) pair->StartClosedLoop();
      return;
    }
    pacer_ = std::make_unique<Pacer>(
        host_.clock, rate, host_.FirstOf(host_.scenario.rate, start),
        [this](uint64_t n, absl::Time due) {
          if (!in_flight_.BeginWhenRoom(host_.group.stop())) return;
          pairs_[n % pairs_.size()]->Wake(due);
          in_flight_.End();
        });
  }

  void Finish() override {
    pacer_.reset();
    for (auto& pair : pairs_) pair->Finish();
    in_flight_.AwaitNone(host_.group.stop());
  }

  void Drain() override {
    for (auto& pair : pairs_) pair->Drain();
  }

 private:
  Host& host_;
  Series& series_;
  InFlight in_flight_;
  std::vector<std::unique_ptr<Pair>> pairs_;
  std::unique_ptr<Pacer> pacer_;
};

}  // namespace

std::unique_ptr<Workload> MakeWake(Host& host) {
  return std::make_unique<Wake>(host);
}

}  // namespace waitq::load
