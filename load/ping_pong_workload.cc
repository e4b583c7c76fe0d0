// pingpong: round trips between two programs that wake each other.

#include <atomic>
#include <deque>
#include <memory>
#include <string>
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

WaitOptions TakeOne() {
  return {.condition = Condition{Condition::Test::kGreaterOrEqual, 1},
          .then = Action::Add(-1)};
}

// Answers every ping with a pong, until it is drained.
class Answerer {
 public:
  Answerer(Host& host, Client& client, uint64_t number)
      : host_(host),
        client_(client),
        ping_(host.group.Name(absl::StrCat("ping/", number))),
        pong_(host.group.Name(absl::StrCat("pong/", number))) {}

  void Sleep() {
    const CallId call = client_.Wait(
        ping_, TakeOne(), [this](absl::StatusOr<WaitResult> result) {
          if (absl::IsCancelled(result.status())) return;
          if (host_.Failed(result.status(), "a ping") || !result.ok()) return;
          client_.WakeUp(pong_, {.update = Action::Add(1)},
                         [this](absl::StatusOr<WakeResult> woken) {
                           host_.Failed(woken.status(), "sending a pong");
                         });
          Sleep();
        });
    absl::MutexLock lock(&mu_);
    call_ = call;
  }

  void Drain() {
    CallId call;
    {
      absl::MutexLock lock(&mu_);
      call = call_;
    }
    client_.Cancel(call);
  }

 private:
  Host& host_;
  Client& client_;
  const std::string ping_;
  const std::string pong_;
  absl::Mutex mu_;
  CallId call_ ABSL_GUARDED_BY(mu_) = 0;
};

class Asker {
 public:
  Asker(Host& host, Series& series, InFlight& in_flight, Client& client,
        uint64_t number)
      : host_(host),
        series_(series),
        in_flight_(in_flight),
        client_(client),
        ping_(host.group.Name(absl::StrCat("ping/", number))),
        pong_(host.group.Name(absl::StrCat("pong/", number))) {}

  // Sleeps first, so that the pong finds somebody.
  void Ask(absl::Time due) {
    in_flight_.Begin();
    client_.Wait(
        pong_, TakeOne(), [this, due](absl::StatusOr<WaitResult> result) {
          if (!host_.Failed(result.status(), "a pong") && result.ok()) {
            const absl::Time now = host_.clock.Now();
            series_.Record(due, now);
            if (closed_loop_) Ask(now);
          }
          in_flight_.End();
        });
    client_.WakeUp(ping_, {.update = Action::Add(1)},
                   [this](absl::StatusOr<WakeResult> result) {
                     host_.Failed(result.status(), "sending a ping");
                   });
  }

  void StartClosedLoop() {
    closed_loop_ = true;
    Ask(host_.clock.Now());
  }
  void Finish() { closed_loop_ = false; }

  // One pong for each ping, and no more.
  void Drain() {
    for (const std::string& name : {ping_, pong_}) {
      const absl::StatusOr<GetResult> left =
          host_.other->Get(name, host_.group.stop());
      if (left.ok() && left->value != 0) {
        host_.recorder.findings().Fail(
            absl::StrCat(name, ": the word is ", left->value, " at the end"));
      }
    }
  }

 private:
  Host& host_;
  Series& series_;
  InFlight& in_flight_;
  Client& client_;
  const std::string ping_;
  const std::string pong_;
  std::atomic<bool> closed_loop_{false};
};

class PingPong final : public Workload {
 public:
  explicit PingPong(Host& host)
      : host_(host),
        series_(host.recorder.Add("round_trips")),
        in_flight_(host.scenario.in_flight) {}

  absl::Status Prepare() override {
    const uint64_t hosts = host_.group.hosts();
    for (uint64_t n = 0; n < host_.scenario.pairs; ++n) {
      const uint64_t place = n / hosts;
      if (n % hosts == static_cast<uint64_t>(host_.group.host())) {
        askers_.push_back(std::make_unique<Asker>(host_, series_, in_flight_,
                                                  host_.SessionOf(place), n));
      }
      // On the next host; of one host, on the next session.
      if ((n + 1) % hosts == static_cast<uint64_t>(host_.group.host())) {
        Client& client = host_.OtherSessionOf(place);
        answerers_.push_back(std::make_unique<Answerer>(host_, client, n));
        answerers_.back()->Sleep();
      }
    }
    return absl::OkStatus();
  }

  void Start(absl::Time start) override {
    if (askers_.empty()) return;
    const double rate = host_.RateOf(host_.scenario.rate);
    if (rate == 0) {
      for (auto& asker : askers_) asker->StartClosedLoop();
      return;
    }
    pacer_ = std::make_unique<Pacer>(
        host_.clock, rate, host_.FirstOf(host_.scenario.rate, start),
        [this](uint64_t n, absl::Time due) {
          if (!in_flight_.BeginWhenRoom(host_.group.stop())) return;
          askers_[n % askers_.size()]->Ask(due);
          in_flight_.End();
        });
  }

  void Finish() override {
    pacer_.reset();
    for (auto& asker : askers_) asker->Finish();
    in_flight_.AwaitNone(host_.group.stop());
  }

  void Drain() override {
    for (auto& answerer : answerers_) answerer->Drain();
    for (auto& asker : askers_) asker->Drain();
  }

 private:
  Host& host_;
  Series& series_;
  InFlight in_flight_;
  std::vector<std::unique_ptr<Asker>> askers_;
  std::vector<std::unique_ptr<Answerer>> answerers_;
  std::unique_ptr<Pacer> pacer_;
};

}  // namespace

std::unique_ptr<Workload> MakePingPong(Host& host) {
  return std::make_unique<PingPong>(host);
}

}  // namespace waitq::load
