#include "core/wait_queue.h"

#include <csignal>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/task.h"
#include "gtest/gtest.h"

namespace waitq {
namespace {

// An entry that notes when it is called, and answers as it is told.
class NotingEntry : public WaitEntry {
 public:
  NotingEntry(std::string name, std::string* log, uint32_t flags = 0,
              int answer = 1)
      : WaitEntry(nullptr, &OnWake, flags),
        name_(std::move(name)),
        log_(*log),
        answer_(answer) {}
  ~NotingEntry() {
    if (queued()) WaitList::Remove(*this);
  }

  void set_answer(int answer) { answer_ = answer; }
  // Instead of answering at once.
  void set_action(std::function<void(NotingEntry&)> action) {
    action_ = std::move(action);
  }
  void* key() const { return key_; }
  TaskState mode() const { return mode_; }
  int wake_flags() const { return wake_flags_; }

 private:
  static int OnWake(WaitEntry& entry, TaskState mode, int wake_flags,
                    void* key) {
    auto& self = static_cast<NotingEntry&>(entry);
    self.log_ += self.name_;
    self.mode_ = mode;
    self.wake_flags_ = wake_flags;
    self.key_ = key;
    const int answer = self.answer_;
    if (self.action_) self.action_(self);
    return answer;
  }

  const std::string name_;
  std::string& log_;
  int answer_;
  std::function<void(NotingEntry&)> action_;
  TaskState mode_ = 0;
  int wake_flags_ = -1;
  void* key_ = nullptr;
};

constexpr uint32_t kExclusive = WaitEntry::kExclusive;
constexpr uint32_t kPriority = WaitEntry::kPriority;

class WaitListTest : public testing::Test {
 protected:
  void TearDown() override {
    entries_.clear();  // which takes them out
    EXPECT_TRUE(list_.empty()) << "somebody is left";
  }

  NotingEntry& Make(std::string name, uint32_t flags = 0, int answer = 1) {
    return entries_.emplace_back(std::move(name), &log_, flags, answer);
  }
  NotingEntry& Add(std::string name, uint32_t flags = 0, int answer = 1) {
    NotingEntry& entry = Make(std::move(name), flags, answer);
    list_.Add(entry);
    return entry;
  }
  // Whom a walk calls, in order.
  std::string Walk(int nr = 0) {
    log_.clear();
    list_.Walk(kNormal, nr, 0, nullptr);
    return log_;
  }

  WaitList list_;
  std::string log_;
  std::deque<NotingEntry> entries_;
};

// --- Placement ---------------------------------------------------------------

TEST_F(WaitListTest, BeginsEmpty) {
  EXPECT_TRUE(list_.empty());
  EXPECT_EQ(list_.First(), nullptr);
  EXPECT_EQ(list_.Walk(kNormal, 1, 0, nullptr), 0);
}

TEST_F(WaitListTest, NonExclusiveEntriesAreWalkedNewestFirst) {
  for (const char* name : {"A", "B", "C"}) Add(name);
  EXPECT_EQ(Walk(), "CBA");
}

TEST_F(WaitListTest, ExclusiveEntriesAreWalkedOldestFirst) {
  for (const char* name : {"A", "B", "C"}) Add(name, kExclusive);
  EXPECT_EQ(Walk(), "ABC");
}

TEST_F(WaitListTest, NonExclusiveEntriesComeBeforeExclusiveOnes) {
  Add("A", kExclusive);
  Add("b");
  Add("C", kExclusive);
  Add("d");
  EXPECT_EQ(Walk(), "dbAC");
}

TEST_F(WaitListTest, PriorityEntriesComeFirstOldestFirst) {
  Add("n");
  Add("P", kPriority);
  Add("Q", kPriority);
  Add("m");
  Add("X", kExclusive);
  EXPECT_EQ(Walk(), "PQmnX");
}

TEST_F(WaitListTest, AnExclusiveEntryAtTheHeadGoesBehindPriorityOnly) {
  Add("P", kPriority);
  Add("n");
  list_.AddHead(Make("X", kExclusive));
  EXPECT_EQ(Walk(), "PXn");
}

TEST_F(WaitListTest, AnEntryAtTheTailIsLast) {
  Add("X", kExclusive);
  list_.AddTail(Make("n"));
  EXPECT_EQ(Walk(), "Xn");
  EXPECT_EQ(Walk(1), "X") << "behind an exclusive one it may be missed";
}

TEST_F(WaitListTest, FirstAndAfterFollowTheWalk) {
  NotingEntry& a = Add("A", kExclusive);
  NotingEntry& b = Add("B", kExclusive);
  EXPECT_EQ(list_.First(), &a);
  EXPECT_EQ(list_.After(a), &b);
  EXPECT_EQ(list_.After(b), nullptr);
}

TEST_F(WaitListTest, RemoveTakesOutOneAndMayBeRepeated) {
  Add("A", kExclusive);
  NotingEntry& b = Add("B", kExclusive);
  Add("C", kExclusive);
  EXPECT_TRUE(b.queued());
  WaitList::Remove(b);
  EXPECT_FALSE(b.queued());
  WaitList::Remove(b);
  EXPECT_EQ(Walk(), "AC");
  list_.Add(b);
  EXPECT_EQ(Walk(), "ACB") << "it has lost its place";
}

// --- Walking -----------------------------------------------------------------

TEST_F(WaitListTest, AWalkStopsAfterNrExclusiveEntries) {
  struct {
    int nr;
    const char* called;
    int woken;
  } const rows[] = {{1, "edcbaX", 1},    {2, "edcbaXY", 2},
                    {3, "edcbaXYZ", 3},  {0, "edcbaXYZ", 3},
                    {99, "edcbaXYZ", 3}, {-1, "edcbaXYZ", 3}};
  for (const char* name : {"a", "b", "c", "d", "e"}) Add(name);
  for (const char* name : {"X", "Y", "Z"}) Add(name, kExclusive);
  for (const auto& row : rows) {
    SCOPED_TRACE(testing::Message() << "nr " << row.nr);
    log_.clear();
    EXPECT_EQ(list_.Walk(kNormal, row.nr, 0, nullptr), row.woken);
    EXPECT_EQ(log_, row.called);
  }
}

TEST_F(WaitListTest, AnEntryThatIsNotWokenUsesUpNoNr) {
  Add("X", kExclusive, 0);
  Add("Y", kExclusive, 0);
  Add("Z", kExclusive, 1);
  Add("W", kExclusive, 1);
  EXPECT_EQ(list_.Walk(kNormal, 1, 0, nullptr), 1);
  EXPECT_EQ(log_, "XYZ");
}

TEST_F(WaitListTest, ANegativeAnswerStopsTheWalkUncounted) {
  Add("X", kExclusive, 1);
  Add("Y", kExclusive, -1);
  Add("Z", kExclusive, 1);
  EXPECT_EQ(list_.Walk(kNormal, 0, 0, nullptr), 1);
  EXPECT_EQ(log_, "XY");

  log_.clear();
  Add("n", 0, -1);
  EXPECT_EQ(list_.Walk(kNormal, 1, 0, nullptr), 0);
  EXPECT_EQ(log_, "n");
}

TEST_F(WaitListTest, NonExclusiveEntriesAreNotCounted) {
  Add("a");
  Add("b");
  EXPECT_EQ(list_.Walk(kNormal, 1, 0, nullptr), 0);
  EXPECT_EQ(log_, "ba");
}

TEST_F(WaitListTest, AnEntryMayUnlinkItselfDuringTheWalk) {
  for (const char* name : {"A", "B", "C"}) {
    Add(name, kExclusive).set_action([](NotingEntry& self) {
      WaitList::Remove(self);
    });
  }
  EXPECT_EQ(list_.Walk(kNormal, 0, 0, nullptr), 3);
  EXPECT_EQ(log_, "ABC") << "each once";
  EXPECT_TRUE(list_.empty());
}

// Guards the order of reading in WaitList::Walk(): with the address sanitizer,
// a look at an entry after its call is a use after free.
TEST_F(WaitListTest, AnEntryMayBeGoneWhenItsCallReturns) {
  for (const char* name : {"A", "B", "C"}) {
    auto* const entry = new NotingEntry(name, &log_, kExclusive);
    entry->set_action([](NotingEntry& self) { delete &self; });
    list_.Add(*entry);
  }
  EXPECT_EQ(list_.Walk(kNormal, 2, 0, nullptr), 2);
  EXPECT_EQ(list_.Walk(kNormal, 2, 0, nullptr), 1);
  EXPECT_EQ(log_, "ABC");
}

TEST_F(WaitListTest, WhetherAnEntryIsExclusiveIsReadBeforeItsCall) {
  Add("X", kExclusive).set_action([](NotingEntry& self) { self.set_flags(0); });
  Add("Y", kExclusive);
  EXPECT_EQ(list_.Walk(kNormal, 1, 0, nullptr), 1);
  EXPECT_EQ(log_, "X");
}

TEST_F(WaitListTest, AnEntryThatMovesToTheTailIsVisitedAgain) {
  int moves = 0;
  NotingEntry& a = Add("A", kExclusive, 0);
  a.set_action([&](NotingEntry& self) {
    if (moves++ > 0) return;
    WaitList::Remove(self);
    list_.AddTail(self);
  });
  Add("B", kExclusive, 0);
  EXPECT_EQ(Walk(), "ABA");
}

TEST_F(WaitListTest, TheWakeFunctionGetsWhatTheWakerSays) {
  NotingEntry& entry = Add("A");
  int key = 0;
  list_.Walk(kInterruptible, 1, 7, &key);
  EXPECT_EQ(entry.mode(), kInterruptible);
  EXPECT_EQ(entry.wake_flags(), 7);
  EXPECT_EQ(entry.key(), &key);
}

// --- The queue with its lock -------------------------------------------------

constexpr SignalDispositions kDefaults;

// Somebody asleep on a queue, without a thread.
struct Dozer {
  explicit Dozer(uint32_t flags = 0,
                 WakeFunction wake = &AutoremoveWakeFunction)
      : entry(&task, wake, flags) {}

  bool asleep() const { return task.state() != kRunning; }

  Task task{&kDefaults};
  WaitEntry entry;
};

class WaitQueueTest : public testing::Test {
 protected:
  void TearDown() override {
    EXPECT_FALSE(queue_.HasSleeper()) << "somebody is left";
  }

  void Doze(Dozer& dozer, TaskState state = kInterruptible) {
    EXPECT_EQ(queue_.PrepareToWaitEvent(dozer.entry, state), 0);
  }
  void Finish(Dozer& dozer) { queue_.FinishWait(dozer.entry); }

  WaitQueue queue_;
};

TEST_F(WaitQueueTest, AWakeUpOfNobodyDoesNothing) {
  EXPECT_FALSE(queue_.HasSleeper());
  EXPECT_EQ(queue_.WakeUp(), 0);
  EXPECT_EQ(queue_.WakeUpAll(), 0);
  EXPECT_EQ(queue_.WakeUpInterruptible(), 0);
  EXPECT_EQ(queue_.WakeUpInterruptibleAll(), 0);
}

TEST_F(WaitQueueTest, AWakeUpIsNotLatched) {
  queue_.WakeUpAll();
  Dozer dozer;
  Doze(dozer);
  EXPECT_TRUE(dozer.asleep());
  Finish(dozer);
}

TEST_F(WaitQueueTest, PreparingQueuesAndSetsTheState) {
  Dozer dozer;
  EXPECT_FALSE(dozer.entry.queued());
  Doze(dozer, kKillable);
  EXPECT_TRUE(dozer.entry.queued());
  EXPECT_TRUE(queue_.HasSleeper());
  EXPECT_EQ(dozer.task.state(), kKillable);
  Doze(dozer, kUninterruptible);
  EXPECT_EQ(dozer.task.state(), kUninterruptible) << "queued: only the state";
  Finish(dozer);
}

TEST_F(WaitQueueTest, PreparingAgainKeepsThePlace) {
  Dozer first(kExclusive), second(kExclusive);
  Doze(first);
  Doze(second);
  Doze(first);
  EXPECT_EQ(queue_.WakeUp(), 1);
  EXPECT_FALSE(first.asleep());
  EXPECT_TRUE(second.asleep());
  Finish(first);
  Finish(second);
}

TEST_F(WaitQueueTest, AWokenEntryThatComesBackGoesToTheTail) {
  Dozer first(kExclusive), second(kExclusive);
  Doze(first);
  Doze(second);
  EXPECT_EQ(queue_.WakeUp(), 1);
  EXPECT_FALSE(first.entry.queued()) << "the waker took it out";
  Doze(first);
  EXPECT_EQ(queue_.WakeUp(), 1);
  EXPECT_TRUE(first.asleep());
  EXPECT_FALSE(second.asleep());
  Finish(first);
  Finish(second);
}

TEST_F(WaitQueueTest, FinishWaitMayBeRepeated) {
  Dozer dozer;
  Finish(dozer);  // never queued
  Doze(dozer);
  Finish(dozer);
  EXPECT_FALSE(dozer.entry.queued());
  EXPECT_FALSE(dozer.asleep());
  Finish(dozer);
  Doze(dozer);
  EXPECT_EQ(queue_.WakeUp(), 0) << "it is not exclusive";
  EXPECT_FALSE(dozer.asleep());
  Finish(dozer);
}

TEST_F(WaitQueueTest, OneWakeUpWakesAllNonExclusiveAndOneExclusive) {
  struct {
    int nr;
    int woken;
  } const rows[] = {{1, 1}, {2, 2}, {0, 3}, {99, 3}};
  for (const auto& row : rows) {
    SCOPED_TRACE(testing::Message() << "nr " << row.nr);
    std::deque<Dozer> shared(5);
    std::deque<Dozer> exclusive;
    for (int i = 0; i < 3; ++i) exclusive.emplace_back(kExclusive);
    for (Dozer& dozer : exclusive) Doze(dozer);
    for (Dozer& dozer : shared) Doze(dozer);
    EXPECT_EQ(queue_.WakeUpNr(row.nr), row.woken);
    for (Dozer& dozer : shared) EXPECT_FALSE(dozer.asleep());
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(exclusive[i].asleep(), i >= row.woken) << "the oldest first";
    }
    for (Dozer& dozer : shared) Finish(dozer);
    for (Dozer& dozer : exclusive) Finish(dozer);
  }
}

TEST_F(WaitQueueTest, TwoQuickWakeUpsWakeTwoExclusiveSleepers) {
  for (const WakeFunction wake :
       {&DefaultWakeFunction, &AutoremoveWakeFunction}) {
    Dozer first(kExclusive, wake), second(kExclusive, wake);
    Doze(first);
    Doze(second);
    EXPECT_EQ(queue_.WakeUp(), 1);
    EXPECT_EQ(queue_.WakeUp(), 1);
    EXPECT_FALSE(first.asleep());
    EXPECT_FALSE(second.asleep());
    EXPECT_EQ(queue_.WakeUp(), 0) << "both run already";
    Finish(first);
    Finish(second);
  }
}

// Guards the result of DefaultWakeFunction(): 0 if the task runs already.
TEST_F(WaitQueueTest, WakeUpPassesOverAnExclusiveSleeperThatAlreadyRuns) {
  Dozer first(kExclusive, &DefaultWakeFunction);
  Dozer second(kExclusive, &DefaultWakeFunction);
  Doze(first);
  Doze(second);
  first.task.TryToWake(kNormal);
  EXPECT_TRUE(first.entry.queued());
  EXPECT_EQ(queue_.WakeUp(), 1);
  EXPECT_FALSE(second.asleep());
  Finish(first);
  Finish(second);
}

TEST_F(WaitQueueTest, OnlyTheAutoremovingFunctionTakesTheEntryOut) {
  Dozer stays(0, &DefaultWakeFunction), goes;
  Doze(stays);
  Doze(goes);
  queue_.WakeUpAll();
  EXPECT_TRUE(stays.entry.queued());
  EXPECT_FALSE(goes.entry.queued());
  Finish(stays);
  Finish(goes);
}

TEST_F(WaitQueueTest, AnEntryThatWasNotWokenStaysQueued) {
  Dozer dozer;
  Doze(dozer, kUninterruptible);
  EXPECT_EQ(queue_.WakeUpInterruptibleAll(), 0);
  EXPECT_TRUE(dozer.entry.queued());
  EXPECT_TRUE(dozer.asleep());
  Finish(dozer);
}

TEST_F(WaitQueueTest, AnInterruptibleWakeUpPassesOverOtherStates) {
  for (const TaskState state : {kUninterruptible, kKillable, kIdle}) {
    Dozer deep(kExclusive), light(kExclusive), other(kExclusive);
    Doze(deep, state);
    Doze(light, kInterruptible);
    Doze(other, kInterruptible);
    EXPECT_EQ(queue_.WakeUpInterruptible(), 1);
    EXPECT_TRUE(deep.asleep());
    EXPECT_FALSE(light.asleep());
    EXPECT_TRUE(other.asleep());
    EXPECT_EQ(queue_.WakeUpInterruptibleAll(), 1);
    EXPECT_TRUE(deep.asleep());
    EXPECT_EQ(queue_.WakeUp(), 1);
    EXPECT_FALSE(deep.asleep());
    for (Dozer* dozer : {&deep, &light, &other}) Finish(*dozer);
  }
}

TEST_F(WaitQueueTest, AWakeFunctionFiltersByKey) {
  // An entry for one key of two.
  static constexpr auto kKeyed = [](WaitEntry& entry, TaskState mode,
                                    int wake_flags, void* key) {
    const uint32_t wanted = entry.flags() >> 8;
    if (*static_cast<uint32_t*>(key) != wanted) return 0;
    return AutoremoveWakeFunction(entry, mode, wake_flags, key);
  };
  Dozer one(kExclusive | 1 << 8, kKeyed), too(kExclusive | 1 << 8, kKeyed),
      two(kExclusive | 2 << 8, kKeyed);
  for (Dozer* dozer : {&one, &too, &two}) Doze(*dozer);
  uint32_t key = 2;
  EXPECT_EQ(queue_.Wake(kNormal, 1, /*wake_flags=*/0, &key), 1);
  EXPECT_TRUE(one.asleep());
  EXPECT_TRUE(too.asleep());
  EXPECT_FALSE(two.asleep());
  for (Dozer* dozer : {&one, &too, &two}) Finish(*dozer);
}

TEST_F(WaitQueueTest, AddAndRemoveTakeEntriesOfAnyKind) {
  std::string log;
  NotingEntry shared("s", &log), exclusive("x", &log, kExclusive);
  queue_.AddExclusive(exclusive);
  queue_.Add(shared);
  EXPECT_EQ(queue_.WakeUp(), 1);
  EXPECT_EQ(log, "sx");
  queue_.Remove(exclusive);
  queue_.Remove(shared);
}

// --- Signals -----------------------------------------------------------------

TEST_F(WaitQueueTest, APendingSignalTakesTheEntryOutInsteadOfQueueingIt) {
  Dozer dozer(kExclusive);
  dozer.task.PostSignal(SIGTERM);
  EXPECT_EQ(queue_.PrepareToWaitEvent(dozer.entry, kInterruptible),
            -kErestartsys);
  EXPECT_FALSE(dozer.entry.queued());
  EXPECT_EQ(dozer.task.state(), kRunning);
}

TEST_F(WaitQueueTest, ASignalThatTheStateDoesNotAdmitIsNoObstacle) {
  Dozer dozer;
  dozer.task.PostSignal(SIGQUIT);
  Doze(dozer, kKillable);
  EXPECT_TRUE(dozer.asleep());
  Finish(dozer);
}

// Guards the unlinking in PrepareToWaitEvent(): what stays queued here dies
// queued.
TEST_F(WaitQueueTest, ASignalTakesAQueuedEntryOut) {
  Dozer dozer(kExclusive);
  Doze(dozer);
  dozer.task.SendSignal(SIGTERM);
  EXPECT_FALSE(dozer.asleep());
  EXPECT_TRUE(dozer.entry.queued());
  EXPECT_EQ(queue_.PrepareToWaitEvent(dozer.entry, kInterruptible),
            -kErestartsys);
  EXPECT_FALSE(dozer.entry.queued());
  EXPECT_EQ(queue_.WakeUp(), 0);
}

TEST_F(WaitQueueTest, ACancelledExclusiveSleeperPassesItsWakeUpOn) {
  Dozer first(kExclusive), second(kExclusive);
  Doze(first);
  Doze(second);
  // Signalled, but it has not run yet: it is still queued.
  first.task.SendSignal(SIGTERM);
  EXPECT_EQ(queue_.WakeUp(), 1);
  EXPECT_FALSE(second.asleep());
  EXPECT_EQ(queue_.PrepareToWaitEvent(first.entry, kInterruptible),
            -kErestartsys);
  Finish(second);
}

TEST_F(WaitQueueTest,
       AnExclusiveSleeperSignalledAfterItsWakeUpIsNotChosenTwice) {
  Dozer first(kExclusive), second(kExclusive);
  Doze(first);
  Doze(second);
  EXPECT_EQ(queue_.WakeUp(), 1);  // first
  first.task.SendSignal(SIGTERM);
  EXPECT_FALSE(first.entry.queued());
  EXPECT_TRUE(second.asleep()) << "one wake-up, one sleeper";
  EXPECT_EQ(queue_.PrepareToWaitEvent(first.entry, kInterruptible),
            -kErestartsys);
  Finish(second);
}

TEST_F(WaitQueueTest, ALateWakeUpDoesNotSeeWhoWasInterrupted) {
  Dozer first(kExclusive), second(kExclusive);
  Doze(first);
  Doze(second);
  first.task.SendSignal(SIGTERM);
  EXPECT_EQ(queue_.PrepareToWaitEvent(first.entry, kInterruptible),
            -kErestartsys);
  EXPECT_EQ(queue_.WakeUp(), 1);
  EXPECT_FALSE(second.asleep());
  Finish(second);
}

// --- Misuse ------------------------------------------------------------------

TEST_F(WaitQueueTest, ASingleSleeperIsToldFromNoneAndFromTwo) {
  WaitQueue queue;
  EXPECT_FALSE(queue.HasSingleSleeper());
  WaitEntry first(nullptr, &DefaultWakeFunction);
  WaitEntry second(nullptr, &DefaultWakeFunction);
  queue.Add(first);
  EXPECT_TRUE(queue.HasSingleSleeper());
  queue.Add(second);
  EXPECT_FALSE(queue.HasSingleSleeper());
  queue.Remove(first);
  EXPECT_TRUE(queue.HasSingleSleeper());
  queue.Remove(second);
  EXPECT_FALSE(queue.HasSingleSleeper());
}

TEST(WaitQueueDeathTest, AnEntryMayNotDieWhileQueued) {
  EXPECT_DEATH(
      {
        WaitList list;
        WaitEntry entry(nullptr, &DefaultWakeFunction);
        list.Add(entry);
      },
      "a wait entry dies while queued");
}

TEST(WaitQueueDeathTest, AnEntryMayNotBeQueuedTwice) {
  EXPECT_DEATH(
      {
        WaitQueue queue;
        WaitEntry entry(nullptr, &DefaultWakeFunction);
        queue.Add(entry);
        queue.Add(entry);
      },
      "a wait entry is queued twice");
  EXPECT_DEATH(
      {
        WaitQueue queue;
        WaitEntry entry(nullptr, &DefaultWakeFunction);
        queue.AddExclusive(entry);
        queue.Add(entry);
      },
      "a wait entry is queued twice");
}

TEST(WaitQueueDeathTest, AQueueMayNotDieWithSleepers) {
  EXPECT_DEATH(
      {
        WaitEntry entry(nullptr, &DefaultWakeFunction);
        WaitQueue queue;
        queue.Add(entry);
      },
      "a wait queue is destroyed with sleepers on it");
}

}  // namespace
}  // namespace waitq
