// Every form of wake-up, wait and placement, by name: what each says to the
// wake functions, whom it wakes, and that it is there.

#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <deque>
#include <string>

#include "absl/time/time.h"
#include "core/completion.h"
#include "core/fifo.h"
#include "core/poll.h"
#include "core/poll_events.h"
#include "core/scull_pipe.h"
#include "core/spin_lock.h"
#include "core/task.h"
#include "core/wait_event.h"
#include "core/wait_list.h"
#include "core/wait_queue.h"
#include "gtest/gtest.h"
#include "tests/core/sleeper.h"
#include "tests/support/wait_until.h"

namespace waitq {
namespace {

using test::Sleeper;
using test::WaitUntil;

// --- Static initialisation ---------------------------------------------------

constinit WaitQueue static_queue;
constinit Completion static_completion;
constinit Mutex static_mutex;

TEST(StaticTest, QueuesCompletionsAndLocksNeedNoConstruction) {
  EXPECT_EQ(static_queue.WakeUp(), 0);
  static_completion.Complete();
  EXPECT_TRUE(static_completion.TryWait());
  MutexLock lock(&static_mutex);
}

// --- The wake_up() family ----------------------------------------------------

constexpr SignalDispositions kDefaults;

// What a wake function was told, and how many of a queue were.
struct Told {
  int calls = 0;
  TaskState mode = 0;
  int flags = -1;
  uint32_t events = 0;
};

struct Listener : WaitEntry {
  explicit Listener(Told* told_in)
      : WaitEntry(nullptr, &OnWake), told(*told_in) {}
  static int OnWake(WaitEntry& entry, TaskState mode, int flags, void* key) {
    Told& told = static_cast<Listener&>(entry).told;
    ++told.calls;
    told.mode = mode;
    told.flags = flags;
    told.events = EventsOf(key);
    return 1;
  }
  Told& told;
};

class WakeFamilyTest : public testing::Test {
 protected:
  // Four exclusive listeners hear what `wake` says.
  template <class Wake>
  Told Hear(Wake wake) {
    Told told;
    std::deque<Listener> listeners;
    for (int i = 0; i < 4; ++i) {
      queue_.AddExclusive(listeners.emplace_back(&told));
    }
    EXPECT_EQ(wake(queue_), told.calls) << "the count of exclusive ones";
    for (Listener& listener : listeners) queue_.Remove(listener);
    return told;
  }
  static void Expect(const Told& told, int calls, TaskState mode, int flags,
                     uint32_t events) {
    EXPECT_EQ(told.calls, calls);
    EXPECT_EQ(told.mode, mode);
    EXPECT_EQ(told.flags, flags);
    EXPECT_EQ(told.events, events);
  }

  WaitQueue queue_;
};

TEST_F(WakeFamilyTest, EachFormSaysItsModeNumberFlagsAndKey) {
  using Q = WaitQueue;
  Expect(Hear([](Q& q) { return q.WakeUp(); }), 1, kNormal, 0, 0);
  Expect(Hear([](Q& q) { return q.WakeUpNr(3); }), 3, kNormal, 0, 0);
  Expect(Hear([](Q& q) { return q.WakeUpAll(); }), 4, kNormal, 0, 0);
  Expect(Hear([](Q& q) { return q.WakeUpInterruptible(); }), 1, kInterruptible,
         0, 0);
  Expect(Hear([](Q& q) { return q.WakeUpInterruptibleNr(2); }), 2,
         kInterruptible, 0, 0);
  Expect(Hear([](Q& q) { return q.WakeUpInterruptibleAll(); }), 4,
         kInterruptible, 0, 0);
  Expect(Hear([](Q& q) { return q.WakeUpSync(); }), 1, kNormal, kWakeSync, 0);
  Expect(Hear([](Q& q) { return q.WakeUpInterruptibleSync(); }), 1,
         kInterruptible, kWakeSync, 0);
  Expect(Hear([](Q& q) { return q.WakeUpPoll(kPollIn); }), 1, kNormal, 0,
         kPollIn);
  Expect(Hear([](Q& q) { return q.WakeUpInterruptiblePoll(kPollOut); }), 1,
         kInterruptible, 0, kPollOut);
  Expect(Hear([](Q& q) { return q.WakeUpInterruptibleSyncPoll(kPollIn); }), 1,
         kInterruptible, kWakeSync, kPollIn);
}

TEST_F(WakeFamilyTest, LockedFormsSayTheSame) {
  using Q = WaitQueue;
  Expect(Hear([](Q& q) {
           SpinLockGuard guard(&q.lock());
           return q.WakeUpLocked();
         }),
         1, kNormal, 0, 0);
  Expect(Hear([](Q& q) {
           SpinLockGuard guard(&q.lock());
           return q.WakeUpAllLocked();
         }),
         4, kNormal, 0, 0);
  Expect(Hear([](Q& q) {
           SpinLockGuard guard(&q.lock());
           return q.WakeUpLockedPoll(kPollIn);
         }),
         1, kNormal, 0, kPollIn);
  Expect(Hear([](Q& q) {
           SpinLockGuard guard(&q.lock());
           return q.WakeUpInterruptibleSyncPollLocked(kPollOut);
         }),
         1, kInterruptible, kWakeSync, kPollOut);
}

TEST_F(WakeFamilyTest, NegativeNumbersMeanAll) {
  for (const int nr : {0, -1, INT_MIN}) {
    Expect(Hear([&](WaitQueue& q) { return q.WakeUpNr(nr); }), 4, kNormal, 0,
           0);
  }
}

TEST_F(WakeFamilyTest, PollfreeTellsAllAndWhetherSomebodyIsLeft) {
  Told told;
  Listener one(&told), two(&told);
  queue_.AddExclusive(one);
  queue_.AddExclusive(two);
  EXPECT_FALSE(queue_.WakeUpPollfree());
  Expect(told, 2, kNormal, 0, kPollHup | kPollFree);
  queue_.Remove(one);
  queue_.Remove(two);
  EXPECT_TRUE(queue_.WakeUpPollfree());
}

TEST_F(WakeFamilyTest, WaitqueueActiveSeesWhoIsQueued) {
  Told told;
  Listener listener(&told);
  EXPECT_FALSE(queue_.WaitqueueActive());
  queue_.Add(listener);
  EXPECT_TRUE(queue_.WaitqueueActive());
  queue_.Remove(listener);
  EXPECT_FALSE(queue_.WaitqueueActive());
}

// --- Placement ---------------------------------------------------------------

struct Named : WaitEntry {
  Named(char name_in, std::string* log_in)
      : WaitEntry(nullptr, &OnWake), name(name_in), log(*log_in) {}
  static int OnWake(WaitEntry& entry, TaskState, int, void*) {
    auto& self = static_cast<Named&>(entry);
    self.log += self.name;
    return 0;
  }
  const char name;
  std::string& log;
};

TEST_F(WakeFamilyTest, EachWayToAddHasItsPlaceAndItsFlags) {
  std::string log;
  Named a('a', &log), b('b', &log), x('x', &log), y('y', &log), p('p', &log),
      q('q', &log), h('h', &log), i('i', &log), t('t', &log), u('u', &log);
  queue_.Add(a);
  queue_.Add(b);
  queue_.AddExclusive(x);
  queue_.AddExclusive(y);
  queue_.AddPriority(p);
  queue_.AddPriority(q);
  {
    SpinLockGuard guard(&queue_.lock());
    queue_.AddLocked(h);
    queue_.AddExclusiveLocked(i);
    queue_.AddTailLocked(t);
    queue_.AddTailExclusiveLocked(u);
  }
  queue_.WakeUpAll();
  EXPECT_EQ(log, "pqihbaxytu");
  EXPECT_FALSE(a.exclusive());
  EXPECT_TRUE(x.exclusive());
  EXPECT_FALSE(p.exclusive()) << "left as it was";
  EXPECT_FALSE(h.exclusive());
  EXPECT_TRUE(i.exclusive());
  EXPECT_FALSE(t.exclusive());
  EXPECT_TRUE(u.exclusive());
  for (Named* entry : {&a, &b, &x, &y, &p, &q, &h, &i, &t, &u}) {
    queue_.Remove(*entry);
  }
}

TEST_F(WakeFamilyTest, PrepareToWaitMakesAnEntryNotExclusive) {
  Task task(&kDefaults);
  WaitEntry entry(&task, &AutoremoveWakeFunction, WaitEntry::kExclusive);
  queue_.PrepareToWait(entry, kInterruptible);
  EXPECT_FALSE(entry.exclusive());
  EXPECT_EQ(queue_.WakeUp(), 0);
  queue_.FinishWait(entry);
}

// --- Many at once, and one walk in another -----------------------------------

// More than a batch collects: who does not fit is let go on at once.
TEST_F(WakeFamilyTest, OneWalkLetsAnyNumberOfThreadsGoOn) {
  std::atomic<bool> go{false};
  {
    std::deque<Sleeper> sleepers;
    for (int i = 0; i < 40; ++i) {
      sleepers.emplace_back([&] {
        WaitEvent(queue_, [&] { return go.load(); });
        return 0;
      });
    }
    for (Sleeper& sleeper : sleepers) sleeper.AwaitParked();
    go = true;
    queue_.WakeUp();
    for (Sleeper& sleeper : sleepers) EXPECT_EQ(sleeper.Result(), 0);
  }
}

// As epoll does: a wake function that wakes another queue.
struct Relay : WaitEntry {
  explicit Relay(WaitQueue* next_in)
      : WaitEntry(nullptr, &OnWake), next(*next_in) {}
  static int OnWake(WaitEntry& entry, TaskState, int, void*) {
    static_cast<Relay&>(entry).next.WakeUp();
    return 1;
  }
  WaitQueue& next;
};

TEST_F(WakeFamilyTest, AWakeFunctionMayWakeAnotherQueue) {
  WaitQueue other;
  Relay relay(&other);
  queue_.Add(relay);
  std::atomic<bool> go{false};
  {
    Sleeper sleeper([&] {
      WaitEvent(other, [&] { return go.load(); });
      return 0;
    });
    sleeper.AwaitParked();
    go = true;
    queue_.WakeUp();
    EXPECT_EQ(sleeper.Result(), 0);
  }
  queue_.Remove(relay);
}

// --- Forms of waiting that other tests do not name ---------------------------

TEST_F(WakeFamilyTest, StateAndIdleFormsWait) {
  const auto yes = [] { return true; };
  EXPECT_EQ(WaitEventState(queue_, yes, kKillable), 0);
  EXPECT_EQ(WaitEventStateExclusive(queue_, yes, kInterruptible), 0);
  WaitEventIdle(queue_, yes);
  WaitEventIdleExclusive(queue_, yes);
  EXPECT_EQ(WaitEventIdleTimeout(queue_, yes, 7), 7);
  EXPECT_EQ(WaitEventIdleExclusiveTimeout(queue_, yes, 7), 7);
  EXPECT_EQ(WaitEventKillableExclusive(queue_, yes), 0);
  EXPECT_EQ(WaitEventKillableTimeout(queue_, yes, 7), 7);
  std::atomic<bool> go{false};
  Sleeper idle([&] {
    WaitEventIdle(queue_, [&] { return go.load(); });
    return 0;
  });
  idle.AwaitAsleep();
  EXPECT_EQ(idle.task().state(), kIdle);
  idle.task().SendSignal(SIGKILL);
  EXPECT_EQ(queue_.WakeUpInterruptible(), 0);
  EXPECT_TRUE(idle.asleep());
  Sleeper state([&] {
    return WaitEventStateExclusive(
        queue_, [&] { return go.load(); }, kInterruptible);
  });
  state.AwaitAsleep();
  state.task().SendSignal(SIGTERM);
  EXPECT_EQ(state.Result(), -kErestartsys);
  go = true;
  queue_.WakeUp();
  EXPECT_EQ(idle.Result(), 0);
}

TEST_F(WakeFamilyTest, ACompletionsStateFormIsInterrupted) {
  Completion completion;
  Sleeper sleeper([&] { return completion.WaitState(kKillable); });
  sleeper.AwaitAsleep();
  EXPECT_EQ(sleeper.task().state(), kKillable);
  sleeper.task().SendSignal(SIGKILL);
  EXPECT_EQ(sleeper.Result(), -kErestartsys);
  completion.Complete();
  EXPECT_EQ(completion.WaitTimeout(-3), -3) << "there is one, at entry";
}

TEST_F(WakeFamilyTest, WhoLooksAFewTimesFirstIsWokenAllTheSame) {
  std::atomic<bool> go{false};
  Sleeper sleeper([&] {
    Task::Current().set_spins(16);
    WaitEvent(queue_, [&] { return go.load(); });
    return 0;
  });
  sleeper.AwaitParked();
  go = true;
  queue_.WakeUp();
  EXPECT_EQ(sleeper.Result(), 0);
}

TEST_F(WakeFamilyTest, ScheduleHrtimeoutTellsWhetherTheTimeIsOver) {
  ThreadTask& task = Task::Current();
  task.SetState(kUninterruptible);
  EXPECT_FALSE(task.ScheduleHrtimeout(absl::ZeroDuration()));
  task.SetRunning();
  EXPECT_TRUE(task.ScheduleHrtimeout(absl::InfiniteDuration()));
}

// --- Poll and scull ----------------------------------------------------------

// What is never ready, and counts how often it is looked at and entered.
struct Never final : Pollable {
  PollEvents Poll(PollTable* table) override {
    if (table != nullptr && table->entering()) ++entered;
    if (table != nullptr) table->Enter(queue);
    ++looks;
    return 0;
  }
  WaitQueue queue;
  std::atomic<int> looks{0};
  std::atomic<int> entered{0};
};

TEST_F(WakeFamilyTest, APollerEntersItsQueuesOnceHoweverOftenItLooks) {
  Never never;
  Sleeper sleeper([&] {
    PollRequest request{&never, kPollIn, 0};
    return Poll({&request, 1}, -1);  // for ever
  });
  for (int i = 0; i < 5; ++i) {
    const int looks = never.looks;
    sleeper.AwaitParked();
    never.queue.WakeUp();  // for nothing
    WaitUntil([&] { return never.looks > looks; });
  }
  EXPECT_EQ(never.entered, 1);
  sleeper.task().SendSignal(SIGTERM);
  EXPECT_EQ(sleeper.Result(), -kErestartRestartblock);
}

TEST_F(WakeFamilyTest, ASignalBeatsTheEndOfAPollsTime) {
  Never never;
  Sleeper sleeper([&] {
    Task::Current().SendSignal(SIGTERM);
    PollRequest request{&never, kPollIn, 0};
    return Poll({&request, 1}, 0);
  });
  EXPECT_EQ(sleeper.Result(), -kErestartRestartblock);
}

// A file seen through another that counts the looks.
struct Counting final : Pollable {
  explicit Counting(Pollable* file_in) : file(*file_in) {}
  PollEvents Poll(PollTable* table) override {
    const PollEvents events = file.Poll(table);
    ++looks;
    return events;
  }
  Pollable& file;
  std::atomic<int> looks{0};
};

// LDD3: a read of nothing still wakes the other side.
TEST_F(WakeFamilyTest, AScullReadOfNothingWakesTheWriters) {
  ScullPipe pipe(4);
  ASSERT_EQ(pipe.Write("abc", 3), 3);
  Counting file(&pipe);
  Sleeper poller([&] {
    PollRequest request{&file, kPollOut, 0};
    return Poll({&request, 1}, kMaxScheduleTimeout);
  });
  poller.AwaitParked();
  const int looks = file.looks;
  char byte;
  EXPECT_EQ(pipe.Read(&byte, 0), 0);
  WaitUntil([&] { return file.looks > looks; });
  EXPECT_EQ(pipe.Read(&byte, 1), 1);
  EXPECT_EQ(poller.Result(), 1);
}

// --- Files that are not open, or not that way --------------------------------

TEST_F(WakeFamilyTest, AFifoFileThatIsNotOpenThatWayIsEbadf) {
  FifoFile closed;
  char byte = 'x';
  EXPECT_EQ(closed.Read(&byte, 1), -EBADF);
  EXPECT_EQ(closed.Write(&byte, 1), -EBADF);
  PollRequest request{&closed, kPollIn, 0};
  EXPECT_EQ(Poll({&request, 1}, 0), 1);
  EXPECT_EQ(request.revents, kPollNval);
  Fifo fifo;
  FifoFile reader, writer;
  ASSERT_EQ(fifo.Open(Fifo::kRead | Fifo::kNonblock, reader), 0);
  ASSERT_EQ(fifo.Open(Fifo::kWrite, writer), 0);
  for (const size_t n : {size_t{0}, size_t{1}}) {
    EXPECT_EQ(writer.Read(&byte, n), -EBADF);
    EXPECT_EQ(reader.Write(&byte, n), -EBADF);
  }
}

}  // namespace
}  // namespace waitq
