// The specification's case of epoll, by number, and what else it does.

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <deque>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "core/epoll.h"
#include "core/pause.h"
#include "core/poll.h"
#include "core/poll_events.h"
#include "core/task.h"
#include "core/wait_queue.h"
#include "gtest/gtest.h"
#include "tests/core/stage.h"

namespace waitq {
namespace {

using test::Actor;
using test::Stage;

// A file that has the events which it is told to have.
class FakeFile final : public Pollable {
 public:
  explicit FakeFile(WaitQueue* queue) : queue_(*queue) {}

  PollEvents Poll(PollTable* table) override {
    if (table != nullptr) table->Enter(queue_);
    const PollEvents events = events_;
    if (after_look_) std::exchange(after_look_, nullptr)();
    return events;
  }
  void set_events(PollEvents events) { events_ = events; }
  // To happen once, just after the next look.
  void set_after_look(std::function<void()> happens) {
    after_look_ = std::move(happens);
  }

 private:
  std::function<void()> after_look_;
  WaitQueue& queue_;
  std::atomic<PollEvents> events_{0};
};

class SpecEpollTest : public test::StageTest {
 protected:
  ~SpecEpollTest() override { epolls_.clear(); }
  void TearDown() override {
    stage_.Clear();
    epolls_.clear();
    StageTest::TearDown();
  }

  // `n` that watch the file.
  void MakeEpolls(int n, PollEvents events) {
    for (int i = 0; i < n; ++i) {
      epolls_.emplace_back();
      EXPECT_EQ(epolls_.back().Add(file_, {events, 0}), 0);
    }
  }
  // On the heap: at one address on the stack TSan takes the locks of several
  // for one lock.
  Epoll& NewEpoll() { return epolls_.emplace_back(); }
  auto waits(Epoll& epoll, Ticks timeout = kMaxScheduleTimeout) {
    return [&epoll, timeout] {
      std::array<EpollEvent, 4> events;
      return epoll.Wait(events, timeout);
    };
  }
  auto waits(size_t epoll) { return waits(epolls_[epoll]); }
  // Something happens, of which a waker tells.
  void Have(PollEvents events) {
    file_.set_events(events);
    queue_.WakeUpPoll(events);
  }
  // What is ready: the events of each file.
  static std::vector<PollEvents> ReadyIn(Epoll& epoll) {
    std::array<EpollEvent, 4> events;
    const int n = epoll.Wait(events, 0);
    std::vector<PollEvents> ready;
    for (int i = 0; i < n; ++i) ready.push_back(events[i].events);
    return ready;
  }

  using Events = std::vector<PollEvents>;

  FakeFile file_{&queue_};
  std::deque<Epoll> epolls_;
};

// In the kernel the whole program would end; here the others live on.
TEST_F(SpecEpollTest, AKilledWaiterThatWasChosenPassesTheWakeUpOn) {
  MakeEpolls(1, kPollIn | kEpollEt);
  Actor& older = stage_.EnterAsleep(waits(0));
  Actor& newest = stage_.EnterAsleep(waits(0));
  newest.StopAt(PausePoint::kAfterSleep);
  Have(kPollIn);
  newest.AwaitStopped();
  EXPECT_TRUE(older.asleep());
  newest.task().SendSignal(SIGKILL);
  newest.GoOn();
  EXPECT_EQ(newest.Result(), -EINTR);
  EXPECT_EQ(older.Result(), 1);
}

// --- EPOLLEXCLUSIVE ----------------------------------------------------------

TEST_F(SpecEpollTest, Spec68_OfExclusiveOnesTheFirstToHaveAddedIsWoken) {
  MakeEpolls(4, kPollIn | kEpollExclusive);
  std::array<Actor*, 4> waiters;
  // In another order than they were added.
  for (const size_t i : {2, 0, 3, 1}) {
    waiters[i] = &stage_.EnterAsleep(waits(i));
  }
  Have(kPollIn);
  EXPECT_EQ(waiters[0]->Result(), 1);
  for (size_t i = 1; i < waiters.size(); ++i) {
    EXPECT_TRUE(waiters[i]->asleep());
    EXPECT_EQ(waiters[i]->sleeps(), 1);
  }
  for (size_t i = 1; i < waiters.size(); ++i) {
    waiters[i]->task().SendSignal(SIGTERM);
    EXPECT_EQ(waiters[i]->Result(), -EINTR);
  }
}

TEST_F(SpecEpollTest, Spec68_OfOthersAllAreWoken) {
  MakeEpolls(4, kPollIn);
  std::array<Actor*, 4> waiters;
  for (size_t i = 0; i < waiters.size(); ++i) {
    waiters[i] = &stage_.EnterAsleep(waits(i));
  }
  Have(kPollIn);
  for (Actor* waiter : waiters) EXPECT_EQ(waiter->Result(), 1);
}

TEST_F(SpecEpollTest, Spec68_WhereNobodyWaitsTheNextIsWokenAndBothAreReady) {
  MakeEpolls(4, kPollIn | kEpollExclusive);
  Actor& third = stage_.EnterAsleep(waits(2));
  Actor& fourth = stage_.EnterAsleep(waits(3));
  Have(kPollIn);
  EXPECT_EQ(third.Result(), 1);
  EXPECT_TRUE(fourth.asleep());
  for (const size_t ready : {0, 1, 2}) {
    EXPECT_EQ(ReadyIn(epolls_[ready]), Events{kPollIn}) << ready;
  }
  fourth.task().SendSignal(SIGTERM);
  EXPECT_EQ(fourth.Result(), -EINTR);
  EXPECT_EQ(ReadyIn(epolls_[3]), Events{}) << "the walk stopped before it";
}

TEST_F(SpecEpollTest, Spec68_AnotherDirectionDoesNotUseUpTheWakeUp) {
  // The first wants only to write; a wake-up that names both is nobody's.
  for (const PollEvents happened : {kPollIn, kPollIn | kPollOut}) {
    epolls_.clear();
    file_.set_events(0);
    MakeEpolls(1, kPollOut | kEpollExclusive);
    MakeEpolls(1, kPollIn | kEpollExclusive);
    Actor& first = stage_.EnterAsleep(waits(0));
    Actor& second = stage_.EnterAsleep(waits(1));
    Have(happened);
    EXPECT_EQ(second.Result(), 1);
    if (happened == kPollIn) {
      EXPECT_TRUE(first.asleep());
      first.task().SendSignal(SIGTERM);
    }
    first.Result();
    stage_.Clear();
  }
}

TEST_F(SpecEpollTest, Spec68_ExclusiveIsForAddAndFewEventsOnly) {
  MakeEpolls(1, kPollIn | kEpollExclusive);
  Epoll& epoll = epolls_[0];
  FakeFile other(&queue_);
  EXPECT_EQ(epoll.Modify(file_, {kPollIn, 0}), -EINVAL);
  EXPECT_EQ(epoll.Add(other, {kPollIn | kEpollExclusive | kEpollOneshot, 0}),
            -EINVAL);
  EXPECT_EQ(epoll.Add(other, {kPollRdNorm | kEpollExclusive, 0}), -EINVAL);
  EXPECT_EQ(epoll.Add(other, {kPollIn, 0}), 0);
  EXPECT_EQ(epoll.Modify(other, {kPollIn | kEpollExclusive, 0}), -EINVAL);
  Epoll& nested = NewEpoll();
  EXPECT_EQ(epoll.Add(nested, {kPollIn | kEpollExclusive, 0}), -EINVAL);
  EXPECT_EQ(epoll.Remove(other), 0);
}

// --- Who waits ---------------------------------------------------------------

TEST_F(SpecEpollTest, Spec68_ThreadsAreWokenNewestFirst) {
  MakeEpolls(1, kPollIn | kEpollEt);
  std::array<Actor*, 4> waiters;
  for (Actor*& waiter : waiters) waiter = &stage_.EnterAsleep(waits(0));
  for (const size_t next : {3, 2, 1, 0}) {
    Have(kPollIn);
    EXPECT_EQ(waiters[next]->Result(), 1);
    for (size_t i = 0; i < next; ++i) {
      EXPECT_TRUE(waiters[i]->asleep());
      EXPECT_EQ(waiters[i]->sleeps(), 1);
    }
  }
}

TEST_F(SpecEpollTest, Spec68_WhoIsChosenAfterItsTimeoutHarvestsOnceMore) {
  MakeEpolls(1, kPollIn | kEpollEt);
  Actor& timed = stage_.EnterAsleep(waits(epolls_[0], 10));
  timed.StopAt(PausePoint::kBeforeFinish);
  stage_.Pass(10);
  timed.AwaitStopped();
  Have(kPollIn);
  timed.GoOn();
  EXPECT_EQ(timed.Result(), 1);

  Actor& late = stage_.EnterAsleep(waits(epolls_[0], 10));
  stage_.Pass(10);
  EXPECT_EQ(late.Result(), 0);
}

TEST_F(SpecEpollTest, Spec68_AnEventBeforeTheSleepIsNotLost) {
  for (const PausePoint point :
       {PausePoint::kBeforeEnqueue, PausePoint::kStateSet,
        PausePoint::kBeforeSleep}) {
    epolls_.clear();
    file_.set_events(0);
    MakeEpolls(1, kPollIn);
    Actor& waiter = stage_.EnterUpTo(point, waits(0));
    Have(kPollIn);
    waiter.GoOn();
    EXPECT_EQ(waiter.Result(), 1);
    EXPECT_EQ(waiter.sleeps(), 0);
    stage_.Clear();
  }
}

TEST_F(SpecEpollTest, Spec68_EventsBeatASignalWhichIsEintr) {
  MakeEpolls(1, kPollIn);
  file_.set_events(kPollIn);
  queue_.WakeUpPoll(kPollIn);
  const auto waits_signalled = [&] {
    // Not a fatal one: that one does come first.
    Task::Current().dispositions().handled = SignalSet::Of(SIGTERM);
    Task::Current().PostSignal(SIGTERM);
    return waits(0)();
  };
  EXPECT_EQ(stage_.Enter(waits_signalled).Result(), 1);
  file_.set_events(0);
  EXPECT_EQ(stage_.Enter(waits_signalled).Result(), -EINTR);
}

// --- The queue goes ----------------------------------------------------------

TEST_F(SpecEpollTest, Spec68_PollfreeTakesAllOutAndTheQueueMayGo) {
  auto queue = std::make_unique<WaitQueue>();
  FakeFile file(queue.get());
  for (const PollEvents flags : {PollEvents{0}, kEpollExclusive}) {
    for (int i = 0; i < 2; ++i) {
      epolls_.emplace_back();
      EXPECT_EQ(epolls_.back().Add(file, {kPollIn | flags, 0}), 0);
    }
  }
  Actor& waiter = stage_.EnterAsleep(waits(3));
  file.set_events(kPollHup);
  EXPECT_TRUE(queue->WakeUpPollfree());
  EXPECT_FALSE(queue->HasSleeper());
  queue.reset();
  EXPECT_EQ(waiter.Result(), 1);
  for (Epoll& epoll : epolls_) {
    EXPECT_EQ(ReadyIn(epoll), Events{kPollHup});
    EXPECT_EQ(epoll.Remove(file), 0);
  }
}

// --- What is watched, and how ------------------------------------------------

TEST_F(SpecEpollTest, AFileIsWatchedOnce) {
  Epoll& epoll = NewEpoll();
  EXPECT_EQ(epoll.Modify(file_, {kPollIn, 0}), -ENOENT);
  EXPECT_EQ(epoll.Remove(file_), -ENOENT);
  EXPECT_EQ(epoll.Add(file_, {kPollIn, 0}), 0);
  EXPECT_EQ(epoll.Add(file_, {kPollOut, 0}), -EEXIST);
  EXPECT_EQ(epoll.Add(epoll, {kPollIn, 0}), -EINVAL);
  EXPECT_EQ(epoll.Wait({}, 0), -EINVAL);
  EXPECT_TRUE(queue_.HasSleeper());
  EXPECT_EQ(epoll.Remove(file_), 0);
  EXPECT_FALSE(queue_.HasSleeper());
}

TEST_F(SpecEpollTest, LevelEdgeAndOneshot) {
  Epoll& level = NewEpoll();
  Epoll& edge = NewEpoll();
  Epoll& once = NewEpoll();
  EXPECT_EQ(level.Add(file_, {kPollIn, 0}), 0);
  EXPECT_EQ(edge.Add(file_, {kPollIn | kEpollEt, 0}), 0);
  EXPECT_EQ(once.Add(file_, {kPollIn | kEpollOneshot, 0}), 0);
  Have(kPollIn | kPollOut);
  for (Epoll* epoll : {&level, &edge, &once}) {
    EXPECT_EQ(ReadyIn(*epoll), Events{kPollIn});
  }
  EXPECT_EQ(ReadyIn(level), Events{kPollIn});
  EXPECT_EQ(ReadyIn(edge), Events{});
  EXPECT_EQ(ReadyIn(once), Events{});
  Have(kPollIn);
  EXPECT_EQ(ReadyIn(edge), Events{kPollIn});
  EXPECT_EQ(ReadyIn(once), Events{}) << "it has fired";
  EXPECT_EQ(once.Modify(file_, {kPollIn | kEpollOneshot, 0}), 0);
  EXPECT_EQ(ReadyIn(once), Events{kPollIn});
  file_.set_events(0);
  EXPECT_EQ(ReadyIn(level), Events{});
}

TEST_F(SpecEpollTest, EventsThatNobodyAskedForMakeNothingReady) {
  Epoll& epoll = NewEpoll();
  EXPECT_EQ(epoll.Add(file_, {kPollIn, 7}), 0);
  Actor& waiter = stage_.EnterAsleep(waits(epoll));
  Have(kPollOut);
  EXPECT_TRUE(waiter.asleep());
  EXPECT_EQ(waiter.sleeps(), 1);
  // Always watched.
  Have(kPollHup);
  EXPECT_EQ(waiter.Result(), 1);
  EpollEvent event;
  EXPECT_EQ(epoll.Wait({&event, 1}, 0), 1);
  EXPECT_EQ(event.events, kPollHup);
  EXPECT_EQ(event.data, 7u);
}

TEST_F(SpecEpollTest, WhatHappensAfterTheLookIsNotLost) {
  Epoll& epoll = NewEpoll();
  EXPECT_EQ(epoll.Add(file_, {kPollIn | kEpollEt, 0}), 0);
  queue_.WakeUp();  // ready, perhaps
  file_.set_after_look([&] { Have(kPollIn); });
  EXPECT_EQ(ReadyIn(epoll), Events{}) << "it was not, at the look";
  EXPECT_EQ(ReadyIn(epoll), Events{kPollIn});
}

// What one leaves is still there for the next.
TEST_F(SpecEpollTest, AtALevelTheNextWhoWaitsIsWokenToo) {
  MakeEpolls(1, kPollIn);
  Actor& first = stage_.EnterAsleep(waits(0));
  Actor& second = stage_.EnterAsleep(waits(0));
  Have(kPollIn);
  EXPECT_EQ(second.Result(), 1);
  EXPECT_EQ(first.Result(), 1);
}

TEST_F(SpecEpollTest, WhatIsReadyComesInTurn) {
  std::array<WaitQueue, 3> queues;
  std::deque<FakeFile> files;
  Epoll& epoll = NewEpoll();
  for (size_t i = 0; i < queues.size(); ++i) {
    files.emplace_back(&queues[i]);
    EXPECT_EQ(epoll.Add(files[i], {kPollIn, i}), 0);
  }
  for (const size_t i : {1, 2, 0}) {
    files[i].set_events(kPollIn);
    queues[i].WakeUpPoll(kPollIn);
  }
  EpollEvent event;
  for (const size_t expected : {1, 2, 0, 1, 2}) {
    EXPECT_EQ(epoll.Wait({&event, 1}, 0), 1);
    EXPECT_EQ(event.data, expected);
  }
  epolls_.clear();
}

TEST_F(SpecEpollTest, AnEpollIsWatchedAsAFileAndNotInACircle) {
  Epoll& outermost = NewEpoll();
  Epoll& outer = NewEpoll();
  Epoll& inner = NewEpoll();
  EXPECT_EQ(inner.Add(file_, {kPollIn, 0}), 0);
  EXPECT_EQ(outer.Add(inner, {kPollIn, 0}), 0);
  EXPECT_EQ(outermost.Add(outer, {kPollIn, 0}), 0);
  EXPECT_EQ(inner.Add(outermost, {kPollIn, 0}), -ELOOP);
  Actor& waiter = stage_.EnterAsleep(waits(outermost));
  PollRequest request = {&outer, kPollIn, 0};
  Actor& poller = stage_.EnterAsleep([&] {
    return Poll({&request, 1}, kMaxScheduleTimeout);
  });
  Have(kPollIn);
  EXPECT_EQ(waiter.Result(), 1);
  EXPECT_EQ(poller.Result(), 1);
  // To look takes nothing.
  EXPECT_EQ(ReadyIn(outer), Events{kPollIn});
  EXPECT_EQ(ReadyIn(inner), Events{kPollIn});
  file_.set_events(0);
  EXPECT_EQ(ReadyIn(outer), Events{});
  EXPECT_EQ(outermost.Remove(outer), 0);
  EXPECT_EQ(outer.Remove(inner), 0);
}

}  // namespace
}  // namespace waitq
