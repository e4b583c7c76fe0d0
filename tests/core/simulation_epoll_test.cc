// Epolls, simulated: several watch the same sources, and take what they are
// told of.

#include <array>
#include <cerrno>
#include <csignal>
#include <deque>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "core/epoll.h"
#include "core/pause.h"
#include "core/poll.h"
#include "core/poll_events.h"
#include "core/task.h"
#include "core/wait_queue.h"
#include "gtest/gtest.h"
#include "tests/core/simulation.h"

namespace waitq {
namespace {

using test::Fibers;
using test::Simulate;
using test::World;

// What can be taken, one by one.
class Source final : public Pollable {
 public:
  PollEvents Poll(PollTable* table) override {
    if (table != nullptr) table->Enter(queue_);
    return count_ > 0 ? kPollIn : 0;
  }
  void Add() { ++count_; }
  bool Take() { return count_ > 0 && count_-- > 0; }
  bool empty() const { return count_ == 0; }
  WaitQueue& queue() { return queue_; }

 private:
  WaitQueue queue_;
  int count_ = 0;
};

class EpollWorld final : public World {
 public:
  explicit EpollWorld(Fibers* fibers)
      : World(fibers),
        sources_(static_cast<size_t>(Between(1, 3))),
        watchers_(static_cast<size_t>(Between(1, 3))) {
    const bool all_exclusive = OneIn(3);
    for (Watcher& watcher : watchers_) {
      if (all_exclusive || OneIn(4)) watcher.flags |= kEpollExclusive;
      if (OneIn(2)) watcher.flags |= kEpollEt;
      if (OneIn(3) && (watcher.flags & kEpollExclusive) == 0) {
        watcher.flags |= kEpollOneshot;
      }
      for (size_t i = 0; i < sources_.size(); ++i) Add(watcher, i);
      // One that sleeps on it from outside, and looks into it then.
      if (OneIn(4)) {
        watcher.outer = std::make_unique<Epoll>();
        Check(watcher.outer->Add(watcher.epoll, {kPollIn, 0}) == 0, "added");
      }
      for (int64_t n = Between(1, 3); n > 0; --n) {
        Start("taker", [this, &watcher] { TakeAll(watcher); });
      }
      if (OneIn(2)) Start("ctl", [this, &watcher] { ChangeAll(watcher); });
    }
    for (int64_t n = Between(1, 3); n > 0; --n) {
      Start("poster", [this] { PostAll(); });
    }
    StartNoise(OneIn(3) ? 0 : static_cast<int>(Between(1, 30)),
               [this] { RandomSource().queue().WakeUpAll(); });
  }

 private:
  struct Watcher {
    Epoll epoll;
    PollEvents flags = kPollIn;
    std::unique_ptr<Epoll> outer;  // goes first: it watches epoll
  };

  Source& RandomSource() {
    return sources_[static_cast<size_t>(
        Between(0, static_cast<int64_t>(sources_.size()) - 1))];
  }
  void Add(Watcher& watcher, size_t i) {
    Check(watcher.epoll.Add(sources_[i], {watcher.flags, i}) == 0, "added");
  }

  void TakeAll(Watcher& watcher) {
    // Epolls look at files, and so at Epolls, with a lock held.
    const Fibers::NoPauseAt with_lock(&fibers_, {PausePoint::kEnteredPoll});
    while (!stop_) {
      Yield("next wait");
      std::array<EpollEvent, 3> events;
      const auto most = static_cast<size_t>(Between(1, 3));
      const Ticks timeout = OneIn(3) ? Between(0, 20) : kMaxScheduleTimeout;
      const absl::Time deadline = task().DeadlineAfter(timeout);
      const bool outside = watcher.outer != nullptr && OneIn(2);
      Epoll& epoll = outside ? *watcher.outer : watcher.epoll;
      const int n = epoll.Wait({events.data(), most}, timeout);
      Check(task().state() == kRunning, "who returned is running");
      if (n == 0) Check(Now() >= deadline, "nobody times out early");
      if (n == -EINTR) Check(task().SignalPending(), "there was a signal");
      Check(n >= -EINTR && n <= static_cast<int>(most), "so many were asked");
      if (!OneIn(4)) ClearSignals(task());
      if (outside) continue;
      for (int i = 0; i < n; ++i) Take(watcher, events[i].data);
    }
  }

  void Take(Watcher& watcher, size_t i) {
    Yield("takes");
    const bool edge = (watcher.flags & kEpollEt) != 0;
    while (sources_[i].Take()) {
      ++taken_;
      // At an edge, all that there is.
      if (!edge && OneIn(2)) break;
      Yield("took");
    }
    if ((watcher.flags & kEpollOneshot) != 0) {
      const int result = watcher.epoll.Modify(sources_[i], {watcher.flags, i});
      Check(result == 0 || result == -ENOENT, "armed again");
    }
  }

  void ChangeAll(Watcher& watcher) {
    for (int64_t n = Between(1, 6); n > 0; --n) {
      Yield("next change");
      const auto i = static_cast<size_t>(
          Between(0, static_cast<int64_t>(sources_.size()) - 1));
      if (OneIn(2) && (watcher.flags & kEpollExclusive) == 0) {
        Check(watcher.epoll.Modify(sources_[i], {watcher.flags, i}) == 0,
              "mod");
        continue;
      }
      if (watcher.epoll.Remove(sources_[i]) != 0) continue;
      Yield("removed");
      Add(watcher, i);
    }
  }

  void PostAll() {
    for (int64_t n = Between(1, 12); n > 0; --n) {
      Yield("next post");
      Post(RandomSource());
    }
  }

  void Post(Source& source) {
    source.Add();
    ++posted_;
    Yield("posted");
    OneIn(4) ? source.queue().WakeUp() : source.queue().WakeUpPoll(kPollIn);
  }

  void CheckAllMaySleep() override {
    for (const Source& source : sources_) {
      Check(source.empty(), "nobody sleeps while there is something to take");
    }
  }

  bool LetGo() override {
    if (stop_) return false;
    stop_ = true;
    Check(posted_ == taken_, "all was taken");
    for (int i = 0; i < fibers_.count(); ++i) {
      fibers_.task(i).SendSignal(SIGUSR1);
    }
    return true;
  }

  std::deque<Source> sources_;
  std::deque<Watcher> watchers_;
  int64_t posted_ = 0;
  int64_t taken_ = 0;
  bool stop_ = false;
};

TEST(EpollSimulationTest, WhatIsThereIsTaken) {
  Simulate<EpollWorld>("epolls", 20'000);
}

}  // namespace
}  // namespace waitq
