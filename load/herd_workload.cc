// herd: many sleepers on one wait queue, all woken by one wake, again and
// again.

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "client/client.h"
#include "client/types.h"
#include "load/workload.h"

namespace waitq::load {
namespace {

// The word is the time of the last wake, so that every sleeper knows it.
class Herd final : public Workload {
 public:
  explicit Herd(Host& host)
      : host_(host),
        name_(host.group.Name("herd")),
        rounds_name_(host.group.Name("rounds")),
        wakes_(host.recorder.Add("wakes")),
        rounds_(host.recorder.Add("rounds")) {}

  absl::Status Prepare() override {
    const absl::Status made =
        host_.other->CreateWaitQueue(name_, host_.group.stop()).status();
    if (!made.ok()) return made;
    const std::vector<uint64_t> mine = host_.Mine(host_.scenario.sleepers);
    {
      absl::MutexLock lock(&mu_);
      sleepers_.resize(mine.size());
    }
    for (size_t i = 0; i < mine.size(); ++i) Sleep(i, 0);
    return absl::OkStatus();
  }

  void Start(absl::Time) override {
    if (host_.group.host() != 0) return;
    driver_ = std::thread([this] { Drive(); });
  }

  void Finish() override {
    finished_.Notify();
    if (driver_.joinable()) driver_.join();
  }

  void Drain() override {
    // Host 0 has seen all asleep again, so all have been told of all rounds.
    const absl::StatusOr<GetResult> rounds =
        host_.other->Get(rounds_name_, host_.group.stop());
    if (host_.Failed(rounds.status(), "asking for the rounds")) return;
    std::vector<Sleeper> sleepers;
    {
      absl::MutexLock lock(&mu_);
      sleepers = sleepers_;
    }
    for (size_t i = 0; i < sleepers.size(); ++i) {
      if (rounds.ok() && sleepers[i].woken != rounds->value) {
        host_.recorder.findings().Fail(absl::StrCat(
            "sleeper ", i, " of host ", host_.group.host(), " was woken ",
            sleepers[i].woken, " times in ", rounds->value, " rounds"));
      }
      host_.SessionOf(i).Cancel(sleepers[i].call);
    }
  }

 private:
  struct Sleeper {
    CallId call = 0;
    int64_t woken = 0;
  };

  void Sleep(size_t i, int64_t last_wake) {
    const CallId call = host_.SessionOf(i).Wait(
        name_, {.condition = Condition{Condition::Test::kGreater, last_wake}},
        [this, i](absl::StatusOr<WaitResult> result) {
          if (absl::IsCancelled(result.status())) return;
          if (host_.Failed(result.status(), "a sleep") || !result.ok()) return;
          wakes_.Record(absl::FromUnixNanos(result->value_after),
                        host_.clock.Now());
          {
            absl::MutexLock lock(&mu_);
            ++sleepers_[i].woken;
          }
          Sleep(i, result->value_after);
        });
    absl::MutexLock lock(&mu_);
    sleepers_[i].call = call;
  }

  // False: it is over.
  bool AwaitAllAsleep() {
    for (;;) {
      const absl::StatusOr<ObjectInfo> info =
          host_.other->Stat(name_, host_.group.stop());
      if (info.ok() && info->sleepers >= host_.scenario.sleepers) return true;
      if (host_.group.stop().stop_requested()) return false;
      absl::SleepFor(absl::Milliseconds(1));
    }
  }

  // The last round ends with all asleep again.
  void Drive() {
    int64_t rounds = 0;
    do {
      if (!AwaitAllAsleep()) return;
      const absl::Time begun = host_.clock.Now();
      const absl::StatusOr<WakeResult> woken = host_.other->WakeUp(
          name_, {.update = Action::Set(absl::ToUnixNanos(begun)), .all = true},
          host_.group.stop());
      if (host_.Failed(woken.status(), "a wake") || !woken.ok()) return;
      rounds_.Record(begun, host_.clock.Now());
      ++rounds;
      if (woken->woken != host_.scenario.sleepers) {
        host_.recorder.findings().Fail(absl::StrCat("round ", rounds, " woke ",
                                                    woken->woken, " of ",
                                                    host_.scenario.sleepers));
      }
    } while (!finished_.WaitForNotificationWithTimeout(host_.scenario.pause));
    if (!AwaitAllAsleep()) return;
    host_.Failed(
        host_.other->Store(rounds_name_, rounds, host_.group.stop()).status(),
        "telling the rounds");
  }

  Host& host_;
  const std::string name_;
  const std::string rounds_name_;
  Series& wakes_;
  Series& rounds_;
  absl::Notification finished_;
  std::thread driver_;
  absl::Mutex mu_;
  std::vector<Sleeper> sleepers_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

std::unique_ptr<Workload> MakeHerd(Host& host) {
  return std::make_unique<Herd>(host);
}

}  // namespace waitq::load
