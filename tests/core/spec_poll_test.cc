// The specification's case of poll(), by number.

#include <atomic>
#include <string>

#include "core/pause.h"
#include "core/poll.h"
#include "core/task.h"
#include "core/wait_queue.h"
#include "gtest/gtest.h"
#include "tests/core/stage.h"
#include "tests/support/wait_until.h"

namespace waitq {
namespace {

using test::Actor;
using test::Stage;

// A file that has the events which it is told to have, and counts the looks.
class FakeFile final : public Pollable {
 public:
  explicit FakeFile(WaitQueue* queue) : queue_(*queue) {}

  PollEvents Poll(PollTable* table) override {
    if (table != nullptr) table->Enter(queue_);
    ++looks_;
    return events_;
  }

  void set_events(PollEvents events) { events_ = events; }
  int looks() const { return looks_; }

 private:
  WaitQueue& queue_;
  std::atomic<PollEvents> events_{0};
  std::atomic<int> looks_{0};
};

class SpecPollTest : public test::StageTest {
 protected:
  auto polls(PollEvents events) {
    return [this, events] {
      PollRequest request = {&file_, events, 0};
      const int found = Poll({&request, 1}, kMaxScheduleTimeout);
      revents_ = request.revents;
      return found;
    };
  }

  // Something happens, of which a waker tells.
  void Have(PollEvents events) {
    file_.set_events(events);
    queue_.WakeUpPoll(events);
  }

  FakeFile file_{&queue_};
  std::atomic<PollEvents> revents_{0};
};

TEST_F(SpecPollTest, Spec69_AnEventBetweenLookAndSleepIsNotLost) {
  for (const PausePoint point :
       {PausePoint::kBeforeEnqueue, PausePoint::kStateSet,
        PausePoint::kBeforeSleep}) {
    SCOPED_TRACE(static_cast<int>(point));
    file_.set_events(0);
    Actor& poller = stage_.EnterUpTo(point, polls(kPollIn));
    EXPECT_GT(file_.looks(), 0);
    Have(kPollIn);
    poller.GoOn();
    EXPECT_EQ(poller.Result(), 1);
    EXPECT_EQ(revents_, kPollIn);
    EXPECT_EQ(poller.sleeps(), 0);
  }
}

TEST_F(SpecPollTest, Spec69_AKeyThatDoesNotMatchWakesNobody) {
  Actor& poller = stage_.EnterAsleep(polls(kPollIn));
  const int looks = file_.looks();
  Have(kPollOut);
  Have(kPollOut | kPollWrNorm);
  EXPECT_TRUE(poller.asleep());
  EXPECT_EQ(poller.passages(PausePoint::kAfterSleep), 0);
  Have(kPollIn);
  EXPECT_EQ(poller.Result(), 1);
  EXPECT_EQ(file_.looks(), looks + 1);
}

TEST_F(SpecPollTest, Spec69_ANullKeyWakes) {
  Actor& poller = stage_.EnterAsleep(polls(kPollIn));
  const int looks = file_.looks();
  queue_.WakeUp();
  // It looks, finds nothing and sleeps again.
  test::WaitUntil([&] { return poller.sleeps() == 2; });
  poller.AwaitAsleep();
  EXPECT_EQ(file_.looks(), looks + 1);
  file_.set_events(kPollIn);
  queue_.WakeUp();
  EXPECT_EQ(poller.Result(), 1);
}

// What is always asked for matches always.
TEST_F(SpecPollTest, Spec69_AHangUpWakesWhoDidNotAskForIt) {
  for (const PollEvents events : {kPollHup, kPollErr}) {
    file_.set_events(0);
    Actor& poller = stage_.EnterAsleep(polls(kPollIn));
    Have(events);
    EXPECT_EQ(poller.Result(), 1);
    EXPECT_EQ(revents_, events);
  }
}

}  // namespace
}  // namespace waitq
