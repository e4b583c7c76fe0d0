// Makes random histories that are legal: clients call a plain sequential
// object, at random moments between a call's beginning and its return. Answers
// get lost, calls are given up while they are on their way or asleep, and the
// server forgets everything, as often as is asked for.

#ifndef WAITQ_TESTS_HISTORY_WORLD_H_
#define WAITQ_TESTS_HISTORY_WORLD_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <list>
#include <utility>
#include <vector>

#include "tests/history/history.h"
#include "tests/support/random.h"

namespace waitq::history {

struct WorldOptions {
  int clients = 8;
  int calls = 150;
  int unknown = 0;   // at most, beside those that a restart makes
  int restarts = 0;  // at most
};

// An object and its clients; who derives from it is the object.
template <typename CallType>
class World {
 public:
  World(const WorldOptions& options, test::Random& random)
      : options_(options), random_(random), busy_(options.clients) {}
  virtual ~World() = default;

  void Run() {
    int invoked = 0;
    int restarts = 0;
    while (invoked < options_.calls || !live_.empty()) {
      now_ += static_cast<int64_t>(random_.Below(3));
      if (restarts < options_.restarts &&
          random_.OneIn(static_cast<uint64_t>(options_.calls) * 2)) {
        ++restarts;
        Restart();
      }
      Happen();
      if (invoked < options_.calls && random_.OneIn(3)) {
        if (Invoke()) ++invoked;
      } else if (!live_.empty()) {
        auto live = live_.begin();
        std::advance(live, random_.Below(live_.size()));
        Advance(*live);
      }
      std::erase_if(live_, [](const Live& one) { return one.phase == kGone; });
    }
  }

 protected:
  enum Phase { kSent, kAsleep, kAnswered, kGone };
  struct Live {
    CallType call;
    Phase phase = kSent;
    // Its client has noted it as unknown and gone on.
    bool given_up = false;
    size_t place = 0;  // in line
  };

  // A new call: what is asked.
  virtual CallType New() = 0;
  // It has come to the object: Answer() or Sleep().
  virtual void Arrive(Live& live) = 0;
  // Its time is over while it sleeps; its outcome is set.
  virtual void TimeOut(Live& live) = 0;
  // Everything in memory is lost.
  virtual void Forget() = 0;
  // It is about to return as DONE, or unknown although it was answered.
  virtual void Return(Live&) {}
  // What the object does by itself.
  virtual void Happen() {}

  void Answer(Live& live, Outcome outcome = Outcome::kDone) {
    live.call.outcome = outcome;
    live.phase = live.given_up ? kGone : kAnswered;
    if (live.given_up) Return(live);
  }
  void Sleep(Live& live) {
    live.phase = kAsleep;
    live.place = ++last_place_;
  }
  std::vector<Live*> Answered() { return In(kAnswered); }
  // Those asleep, in line.
  std::vector<Live*> Sleepers() {
    std::vector<Live*> sleepers = In(kAsleep);
    std::sort(sleepers.begin(), sleepers.end(),
              [](Live* a, Live* b) { return a->place < b->place; });
    return sleepers;
  }
  uint64_t NextGeneration() { return generation_ += 1 + random_.Below(3); }
  test::Random& random() { return random_; }
  int64_t now() const { return now_; }
  std::vector<CallType> TakeCalls() { return std::move(calls_); }
  const std::vector<int64_t>& restarts() const { return restarts_; }

 private:
  std::vector<Live*> In(Phase phase) {
    std::vector<Live*> found;
    for (Live& live : live_) {
      if (live.phase == phase) found.push_back(&live);
    }
    return found;
  }

  bool Invoke() {
    const size_t client = random_.Below(busy_.size());
    if (busy_[client]) return false;
    busy_[client] = true;
    Live& live = live_.emplace_back();
    live.call = New();
    live.call.object = "x";
    live.call.client = static_cast<int>(client);
    live.call.invoked = now_;
    return true;
  }

  void Advance(Live& live) {
    if (!live.given_up && unknown_ < options_.unknown && random_.OneIn(12)) {
      ++unknown_;
      GiveUp(live);
      return;
    }
    switch (live.phase) {
      case kSent:
        return Arrive(live);
      case kAsleep:
        if (live.given_up || random_.OneIn(6)) DoTimeOut(live);
        return;
      case kAnswered:
        Return(live);
        live.call.returned = now_;
        Note(live.call);
        live.phase = kGone;
        return;
      case kGone:
        return;
    }
  }

  void DoTimeOut(Live& live) {
    const Outcome outcomes[] = {Outcome::kTimedOut, Outcome::kInterrupted,
                                Outcome::kNoEffect};
    live.call.outcome = outcomes[random_.Below(3)];
    TimeOut(live);
  }

  void GiveUp(Live& live) {
    CallType call = live.call;
    call.outcome = Outcome::kUnknown;
    call.returned = now_;
    live.given_up = true;
    if (live.phase == kAnswered) {
      Return(live);
      live.phase = kGone;
    }
    Note(call);
    // The message is lost, sometimes.
    if (live.phase == kSent && random_.OneIn(3)) live.phase = kGone;
  }

  void Restart() {
    restarts_.push_back(now_);
    Forget();
    for (Live& live : live_) {
      if (live.phase == kAnswered || live.phase == kGone) continue;
      if (live.phase == kSent && !live.given_up && random_.OneIn(2)) {
        live.call.outlives_restarts = true;
        continue;
      }
      if (!live.given_up) GiveUp(live);
      live.phase = kGone;
    }
  }

  void Note(const CallType& call) {
    busy_[static_cast<size_t>(call.client)] = false;
    calls_.push_back(call);
  }

  const WorldOptions options_;
  test::Random& random_;
  std::vector<bool> busy_;  // by client
  std::list<Live> live_;
  std::vector<CallType> calls_;
  std::vector<int64_t> restarts_;
  int64_t now_ = 0;
  uint64_t generation_ = 1000;
  size_t last_place_ = 0;
  int unknown_ = 0;
};

}  // namespace waitq::history

#endif  // WAITQ_TESTS_HISTORY_WORLD_H_
