// churn: programs that connect, sleep, and go.

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "client/client.h"
#include "client/types.h"
#include "load/workload.h"

namespace waitq::load {
namespace {

// How long the server may take, after its grace, to notice that a visitor has
// gone.
constexpr absl::Duration kNoticeBound = absl::Seconds(5);

// How a visit ends; visitors do one after the other.
enum class Way { kWoken, kCancelled, kTimedOut, kGone };
constexpr int kWays = 4;

class Churn final : public Workload {
 public:
  Churn(Host& host, double rate)
      : host_(host),
        rate_(rate),
        visits_(host.recorder.Add("visits")),
        connects_(host.recorder.Add("connects")) {}

  void Start(absl::Time start) override {
    for (uint64_t i = 0; i < host_.scenario.visitors; ++i) {
      threads_.emplace_back([this, i, start] { Visit(i, start); });
    }
  }

  void Finish() override {
    finished_.Notify();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  // Nobody may be left asleep.
  void Drain() override {
    for (uint64_t i = 0; i < host_.scenario.visitors; ++i) {
      uint64_t asleep = 0;
      const absl::Time give_up =
          host_.clock.Now() + host_.scenario.grace + kNoticeBound;
      do {
        const absl::StatusOr<ObjectInfo> info =
            host_.other->Stat(Name(i), host_.group.stop());
        if (host_.group.stop().stop_requested()) return;
        asleep = info.ok() ? info->sleepers : 0;
        if (asleep > 0) absl::SleepFor(absl::Milliseconds(20));
      } while (asleep > 0 && host_.clock.Now() < give_up);
      if (asleep > 0) {
        host_.recorder.findings().Fail(absl::StrCat(
            asleep, " visitors still sleep on ", Name(i), ", and are gone"));
      }
    }
  }

 private:
  std::string Name(uint64_t visitor) const {
    return host_.group.Name(
        absl::StrCat("churn/", host_.group.host(), "/", visitor));
  }

  void Visit(uint64_t visitor, absl::Time start) {
    const double rate =
        host_.RateOf(rate_) / static_cast<double>(host_.scenario.visitors);
    for (uint64_t n = 0; !host_.group.stop().stop_requested(); ++n) {
      absl::Time due = host_.clock.Now();
      if (rate > 0) {
        due = start + absl::Seconds((static_cast<double>(n) +
                                     static_cast<double>(visitor) /
                                         host_.scenario.visitors) /
                                    rate);
      }
      const absl::Duration left = due - host_.clock.Now();
      if (finished_.WaitForNotificationWithTimeout(left)) return;
      VisitOnce(visitor, static_cast<Way>((n + visitor) % kWays), due);
    }
  }

  void VisitOnce(uint64_t visitor, Way way, absl::Time due) {
    // Outlives the client, whose end ends the sleep.
    Sleep sleep;
    auto client = Client::Create({.server = host_.server,
                                  .caller = "waitq-load visitor",
                                  .grace = host_.scenario.grace});
    if (host_.Failed(client.status(), "a visitor") || !client.ok()) return;
    WaitOptions options = {.condition = Condition::Equal(1),
                           .then = Action::Set(0)};
    if (way == Way::kTimedOut) options.timeout = host_.scenario.stay;
    const std::string name = Name(visitor);
    // The session does one after the other: when this is answered, the sleep
    // has begun.
    const CallId call = (*client)->Wait(
        name, options, [&sleep](absl::StatusOr<WaitResult> result) {
          sleep.End(std::move(result));
        });
    const absl::StatusOr<WakeResult> connected =
        (*client)->WakeUp(name + "/here", {}, host_.group.stop());
    if (absl::IsUnavailable(connected.status())) {
      // Cut off before it had a session that could go on: as documented, its
      // calls end at once.
      return host_.recorder.findings().Note("visitors cut off at the door");
    }
    if (host_.Failed(connected.status(), "connecting") || !connected.ok()) {
      return;
    }
    connects_.Record(due, host_.clock.Now());
    switch (way) {
      case Way::kWoken: {
        const absl::StatusOr<WakeResult> woken = host_.other->WakeUp(
            name, {.update = Action::Set(1)}, host_.group.stop());
        host_.Failed(woken.status(), "waking a visitor");
        // Stopped, or else it would be waited for without end.
        if (!woken.ok()) return;
        break;
      }
      case Way::kCancelled:
        finished_.WaitForNotificationWithTimeout(host_.scenario.stay);
        (*client)->Cancel(call);
        break;
      case Way::kTimedOut:
        break;
      case Way::kGone:
        finished_.WaitForNotificationWithTimeout(host_.scenario.stay);
        client->reset();
        break;
    }
    if (!sleep.Await(host_.group.stop())) return;
    client->reset();
    visits_.Record(due, host_.clock.Now());
    Check(way, sleep);
  }

  // A sleep that is told its end once.
  class Sleep {
   public:
    void End(absl::StatusOr<WaitResult> result) {
      absl::MutexLock lock(&mu_);
      ++ends_;
      result_ = std::move(result);
    }
    bool Await(const std::stop_token& stop) {
      absl::MutexLock lock(&mu_);
      while (!mu_.AwaitWithTimeout(
          absl::Condition(
              +[](int* ends) { return *ends > 0; }, &ends_),
          absl::Milliseconds(100))) {
        if (stop.stop_requested()) return false;
      }
      return true;
    }
    int ends() const {
      absl::MutexLock lock(&mu_);
      return ends_;
    }
    absl::StatusOr<WaitResult> result() const {
      absl::MutexLock lock(&mu_);
      return result_;
    }

   private:
    mutable absl::Mutex mu_;
    int ends_ ABSL_GUARDED_BY(mu_) = 0;
    absl::StatusOr<WaitResult> result_ ABSL_GUARDED_BY(mu_);
  };

  void Check(Way way, const Sleep& sleep) {
    const absl::StatusOr<WaitResult> result = sleep.result();
    if (sleep.ends() == 1 && absl::IsUnavailable(result.status())) {
      // The same, and the next call had a session again.
      return host_.recorder.findings().Note("visitors cut off at the door");
    }
    bool good = sleep.ends() == 1;
    switch (way) {
      case Way::kWoken:
        good &= result.ok() && result->outcome == Outcome::kDone;
        break;
      case Way::kTimedOut:
        good &= result.ok() && result->outcome == Outcome::kTimedOut;
        break;
      case Way::kCancelled:
      case Way::kGone:
        good &= absl::IsCancelled(result.status());
        break;
    }
    if (good || host_.group.stop().stop_requested()) return;
    host_.recorder.findings().Fail(absl::StrCat(
        "visit ", static_cast<int>(way), " ended ", sleep.ends(), " times: ",
        result.ok()
            ? absl::StrCat("outcome ", static_cast<int>(result->outcome))
            : result.status().ToString()));
  }

  Host& host_;
  const double rate_;
  Series& visits_;
  Series& connects_;
  absl::Notification finished_;
  std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<Workload> MakeChurn(Host& host, double rate) {
  return std::make_unique<Churn>(host, rate);
}

}  // namespace waitq::load
