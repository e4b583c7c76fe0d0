// locks: locks and semaphores, taken by Wait with an action.

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/strings/str_cat.h"
#include "client/client.h"
#include "client/types.h"
#include "load/pacer.h"
#include "load/workload.h"

namespace waitq::load {
namespace {

// Takes locks and lets them go. Beside each lock a word counts who is inside:
// more than may be, or less than nobody, is a failed check.
class Locker {
 public:
  Locker(Host& host, Series& series, InFlight& in_flight, Client& client,
         uint64_t number)
      : host_(host),
        series_(series),
        in_flight_(in_flight),
        client_(client),
        permits_(static_cast<int64_t>(host.scenario.permits)),
        next_(number) {}

  void Take(absl::Time due) {
    in_flight_.Begin();
    const uint64_t lock = next_++ % host_.scenario.locks;
    WaitOptions options = {.condition = Condition::Equal(0),
                           .then = Action::Set(1)};
    if (permits_ > 1) {
      options = {.condition = Condition{Condition::Test::kGreaterOrEqual, 1},
                 .then = Action::Add(-1)};
    }
    client_.Wait(Lock(lock), options,
                 [this, lock, due](absl::StatusOr<WaitResult> result) {
                   if (!IsGood(result.status(), "taking a lock")) return;
                   series_.Record(due, host_.clock.Now());
                   Enter(lock);
                 });
  }

  void StartClosedLoop() {
    closed_loop_ = true;
    Take(host_.clock.Now());
  }
  void Finish() { closed_loop_ = false; }

 private:
  std::string Lock(uint64_t lock) const {
    return host_.group.Name(absl::StrCat("lock/", lock));
  }
  std::string Inside(uint64_t lock) const {
    return host_.group.Name(absl::StrCat("inside/", lock));
  }

  // If it is not, this one has ended.
  bool IsGood(const absl::Status& status, const std::string& what) {
    if (status.ok()) return true;
    host_.Failed(status, what);
    in_flight_.End();
    return false;
  }

  void Enter(uint64_t lock) {
    client_.WakeUp(
        Inside(lock), {.update = Action::Add(1)},
        [this, lock](absl::StatusOr<WakeResult> result) {
          if (!IsGood(result.status(), "entering")) return;
          if (result->value > permits_ || result->value < 1) {
            host_.recorder.findings().Fail(absl::StrCat(
                result->value, " inside lock ", lock, " for ", permits_));
          }
          Hold(lock);
        });
  }

  // By a sleep on the server, which costs no thread here.
  void Hold(uint64_t lock) {
    if (host_.scenario.hold == absl::ZeroDuration()) return Exit(lock);
    client_.Wait(
        host_.group.Name("hold"),
        {.condition = Condition::Equal(1), .timeout = host_.scenario.hold},
        [this, lock](absl::StatusOr<WaitResult> result) {
          if (IsGood(result.status(), "holding")) Exit(lock);
        });
  }

  void Exit(uint64_t lock) {
    client_.WakeUp(Inside(lock), {.update = Action::Add(-1)},
                   [this, lock](absl::StatusOr<WakeResult> result) {
                     if (!IsGood(result.status(), "leaving")) return;
                     if (result->value < 0) {
                       host_.recorder.findings().Fail(
                           absl::StrCat("less than nobody in lock ", lock));
                     }
                     Release(lock);
                   });
  }

  void Release(uint64_t lock) {
    client_.WakeUp(Lock(lock),
                   {.update = permits_ > 1 ? Action::Add(1) : Action::Set(0)},
                   [this](absl::StatusOr<WakeResult> result) {
                     if (!IsGood(result.status(), "letting go of a lock"))
                       return;
                     if (closed_loop_) Take(host_.clock.Now());
                     in_flight_.End();
                   });
  }

  Host& host_;
  Series& series_;
  InFlight& in_flight_;
  Client& client_;
  const int64_t permits_;
  std::atomic<uint64_t> next_;
  std::atomic<bool> closed_loop_{false};
};

class Locks final : public Workload {
 public:
  Locks(Host& host, double rate)
      : host_(host),
        rate_(rate),
        series_(host.recorder.Add("locks")),
        in_flight_(host.scenario.in_flight) {}

  absl::Status Prepare() override {
    for (const uint64_t n : host_.Mine(host_.scenario.lockers)) {
      lockers_.push_back(std::make_unique<Locker>(
          host_, series_, in_flight_, host_.SessionOf(lockers_.size()), n));
    }
    if (host_.group.host() != 0 || host_.scenario.permits == 1) {
      return absl::OkStatus();
    }
    return FillSemaphores();
  }

  void Start(absl::Time start) override {
    if (lockers_.empty()) return;
    if (rate_ == 0) {
      for (auto& locker : lockers_) locker->StartClosedLoop();
      return;
    }
    pacer_ = std::make_unique<Pacer>(
        host_.clock, host_.RateOf(rate_), host_.FirstOf(rate_, start),
        [this](uint64_t n, absl::Time due) {
          if (!in_flight_.BeginWhenRoom(host_.group.stop())) return;
          lockers_[n % lockers_.size()]->Take(due);
          in_flight_.End();
        });
  }

  void Finish() override {
    pacer_.reset();
    for (auto& locker : lockers_) locker->Finish();
    in_flight_.AwaitNone(host_.group.stop());
  }

  void Drain() override {
    if (host_.group.host() != 0) return;
    const auto permits = static_cast<int64_t>(host_.scenario.permits);
    for (uint64_t i = 0; i < host_.scenario.locks; ++i) {
      ExpectAtTheEnd(absl::StrCat("lock/", i), permits > 1 ? permits : 0);
      ExpectAtTheEnd(absl::StrCat("inside/", i), 0);
    }
  }

 private:
  absl::Status FillSemaphores() {
    for (uint64_t i = 0; i < host_.scenario.locks; ++i) {
      const absl::Status filled =
          host_.other
              ->Store(host_.group.Name(absl::StrCat("lock/", i)),
                      static_cast<int64_t>(host_.scenario.permits),
                      host_.group.stop())
              .status();
      if (!filled.ok()) return filled;
    }
    return absl::OkStatus();
  }

  void ExpectAtTheEnd(const std::string& name, int64_t value) {
    const absl::StatusOr<GetResult> end =
        host_.other->Get(host_.group.Name(name), host_.group.stop());
    if (end.ok() && end->value != value) {
      host_.recorder.findings().Fail(
          absl::StrCat(name, " is ", end->value, " at the end, not ", value));
    }
  }

  Host& host_;
  const double rate_;
  Series& series_;
  InFlight in_flight_;
  std::vector<std::unique_ptr<Locker>> lockers_;
  std::unique_ptr<Pacer> pacer_;
};

}  // namespace

std::unique_ptr<Workload> MakeLocks(Host& host, double rate) {
  return std::make_unique<Locks>(host, rate);
}

}  // namespace waitq::load
