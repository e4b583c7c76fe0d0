// Two ends of one sleep at the same moment: exactly one of them ends it, and
// nothing is lost. Real threads; results come home on a third.

#include <atomic>
#include <csignal>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/simulated_clock.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "tests/engine/calls.h"
#include "tests/engine/engine_fixture.h"
#include "tests/engine/homes.h"
#include "tests/support/random.h"
#include "tests/support/rival.h"
#include "tests/support/wait_until.h"

namespace waitq::engine {
namespace {

using waitq::test::Random;
using waitq::test::Rival;
using waitq::test::Seed;
using waitq::test::Times;
using waitq::test::WaitUntil;

constexpr absl::Duration kTimeout = absl::Milliseconds(1);

class RacesTest : public testing::Test {
 protected:
  RacesTest() : seed_(Seed()), rival_(seed_), engine_(NewEngine()) {}

  void TearDown() override {
    RemoveAll(*engine_);
    home_.AwaitIdle();  // or it holds operations, and they their objects
    ExpectNothingHeld(*engine_, clock_);
    // Which ways it went; a race that goes one way only is none.
    for (const auto& [ending, count] : endings_) {
      RecordProperty(NameOf(ending), count);
    }
  }

  std::unique_ptr<Engine> NewEngine() {
    return std::make_unique<Engine>(SmallLimits(), &clock_.timers(),
                                    kFirstGeneration);
  }
  Engine& engine() { return *engine_; }
  int Rounds() const { return Times(1'000); }

  // Starts taking one from the word of `name`.
  std::unique_ptr<WaitCall> Take(const SleepOptions& sleep = {},
                                 absl::string_view name = "q") {
    auto call = std::make_unique<WaitCall>();
    call->op = MakeWait(
        {.condition = GreaterOrEqual(1), .then = Add(-1), .sleep = sleep},
        &home_, call.get());
    call->started = engine().Wait(name, call->op, sleep).value();
    return call;
  }
  // Adds to the word of "q", and says how many that woke.
  uint64_t Post(int64_t n = 1) {
    WakeOptions options;
    options.update = Add(n);
    return engine().WakeUp("q", options)->woken;
  }

  // How it ended; it must have, and once.
  Ending EndOf(Call& call) {
    WaitUntil([&] { return call.ended(); });
    EXPECT_EQ(call.told(), call.started == Started::kAsleep ? 1 : 0);
    const Ending ending = call.operation().ending();
    ++endings_[ending];
    return ending;
  }
  int64_t ValueOf(absl::string_view name) {
    const auto word = engine().Get(name);
    return word.ok() ? word->value : 0;
  }
  // Makes a pipe.
  void ReadNothing(absl::string_view name) {
    ASSERT_TRUE(
        engine().Read(name, MakeRead(0, nullptr, &home_, nullptr), {}).ok());
  }
  // Forgets what is left in "q": for the next round.
  void Reset() { (void)engine().Remove("q", true); }

  const uint64_t seed_;
  SimulatedClock clock_;
  ThreadHome home_;
  Rival rival_;
  std::unique_ptr<Engine> engine_;
  std::map<Ending, int> endings_;
};

// --- Of one sleep ------------------------------------------------------------

// Two are posted, so that who was woken would find his condition true again.
TEST_F(RacesTest, WakeAndTimeout) {
  for (int i = 0; i < Rounds(); ++i) {
    auto call = Take(For(kTimeout));
    uint64_t woken = 0;
    rival_.Race([&] { woken = Post(2); }, [&] { clock_.Advance(kTimeout); });
    const Ending ending = EndOf(*call);
    ASSERT_EQ(ending, woken == 1 ? Ending::kDone : Ending::kTimedOut)
        << "the word was 0 until the wake";
    ASSERT_EQ(ValueOf("q"), woken == 1 ? 1 : 2);
    Reset();
  }
}

// The condition becomes true without a wake: the timer itself may find it.
//
// Guards Event::kTimer among those that test.
TEST_F(RacesTest, StoreAndTimeout) {
  for (int i = 0; i < Rounds(); ++i) {
    auto call = Take(For(kTimeout));
    rival_.Race([&] { engine().Store("q", 1).value(); },
                [&] { clock_.Advance(kTimeout); });
    const Ending ending = EndOf(*call);
    ASSERT_EQ(ValueOf("q"), ending == Ending::kDone ? 0 : 1);
    Reset();
  }
}

TEST_F(RacesTest, WakeAndCallerGone) {
  for (int i = 0; i < Rounds(); ++i) {
    auto call = Take();
    uint64_t woken = 0;
    rival_.Race([&] { woken = Post(); },
                [&] { engine().CallerGone(*call->op); });
    const Ending ending = EndOf(*call);
    ASSERT_EQ(ending, woken == 1 ? Ending::kDone : Ending::kCallerGone);
    ASSERT_EQ(ValueOf("q"), woken == 1 ? 0 : 1);
    Reset();
  }
}

TEST_F(RacesTest, WakeAndSignal) {
  for (int i = 0; i < Rounds(); ++i) {
    auto call = Take();
    uint64_t woken = 0;
    rival_.Race([&] { woken = Post(); },
                [&] { engine().Signal(*call->op, SIGTERM); });
    const Ending ending = EndOf(*call);
    ASSERT_EQ(ending, woken == 1 ? Ending::kDone : Ending::kInterrupted);
    ASSERT_EQ(ValueOf("q"), woken == 1 ? 0 : 1);
    Reset();
  }
}

// One of the two ends it, and the answers agree on which. (It does not see the
// second look in Engine::SignalTask() taken out: two threads do not meet in so
// short a moment, also not with WAITQ_TIMES=100.)
TEST_F(RacesTest, WakeAndSignalTask) {
  for (int i = 0; i < Rounds(); ++i) {
    auto call = Take();
    uint64_t woken = 0;
    absl::StatusOr<bool> signalled = false;
    rival_.Race(
        [&] { woken = Post(); },
        [&] { signalled = engine().SignalTask(call->op->id(), SIGTERM); });
    const Ending ending = EndOf(*call);
    ASSERT_EQ(ending, woken == 1 ? Ending::kDone : Ending::kInterrupted);
    ASSERT_EQ(signalled.ok(), woken == 0) << signalled.status();
    Reset();
  }
}

TEST_F(RacesTest, WakeAndRemove) {
  for (int i = 0; i < Rounds(); ++i) {
    auto call = Take();
    uint64_t woken = 0;
    rival_.Race([&] { woken = Post(); },
                [&] { engine().Remove("q", false).value(); });
    const Ending ending = EndOf(*call);
    ASSERT_EQ(ending, woken == 1 ? Ending::kDone : Ending::kRemoved);
    if (woken == 0) {
      // It came after the removal, and has made another word.
      ASSERT_EQ(ValueOf("q"), 1);
    }
    Reset();
  }
}

TEST_F(RacesTest, TimeoutAndCallerGone) {
  for (int i = 0; i < Rounds(); ++i) {
    auto call = Take(For(kTimeout));
    engine().Store("q", 1).value();
    rival_.Race([&] { engine().CallerGone(*call->op); },
                [&] { clock_.Advance(kTimeout); });
    // At its timeout it is tested and takes the one; gone, it takes nothing.
    const Ending ending = EndOf(*call);
    ASSERT_TRUE(ending == Ending::kDone || ending == Ending::kCallerGone);
    ASSERT_EQ(ValueOf("q"), ending == Ending::kDone ? 0 : 1);
    Reset();
  }
}

TEST_F(RacesTest, TimeoutAndRemove) {
  for (int i = 0; i < Rounds(); ++i) {
    auto call = Take(For(kTimeout));
    uint64_t removed = 0;
    rival_.Race([&] { removed = engine().Remove("q", false).value(); },
                [&] { clock_.Advance(kTimeout); });
    const Ending ending = EndOf(*call);
    ASSERT_TRUE(ending == Ending::kTimedOut || ending == Ending::kRemoved);
    // What the one is told is what the other counts, also between Remove()'s
    // two steps.
    ASSERT_EQ(ending == Ending::kRemoved, removed == 1);
  }
}

TEST_F(RacesTest, CompleteAndTimeout) {
  for (int i = 0; i < Rounds(); ++i) {
    DoneCall call;
    call.op = MakeDoneWait(&home_, &call);
    call.started = engine().Wait("c", call.op, For(kTimeout)).value();
    uint64_t woken = 0;
    rival_.Race([&] { woken = engine().Complete("c", 1)->woken; },
                [&] { clock_.Advance(kTimeout); });
    ASSERT_EQ(EndOf(call), woken == 1 ? Ending::kDone : Ending::kTimedOut);
    ASSERT_EQ(engine().TryWait("c").value(), woken == 0)
        << "what nobody has taken is there";
  }
}

// --- Of one sleep, both at its lock ------------------------------------------

// Two of these come to the object while its lock is held, and then race for it:
// whoever is second finds that the sleep has ended, however far he had come.
struct Contender {
  const char* name;
  Ending ending;
};

// All of them, each as the first and as the second.
std::vector<std::pair<Contender, Contender>> Pairs() {
  const Contender contenders[] = {
      {"Wake", Ending::kDone},
      {"Timeout", Ending::kTimedOut},
      {"CallerGone", Ending::kCallerGone},
      {"Signal", Ending::kInterrupted},
      {"Remove", Ending::kRemoved},
  };
  std::vector<std::pair<Contender, Contender>> pairs;
  for (const Contender& first : contenders) {
    for (const Contender& second : contenders) {
      if (first.ending != second.ending) pairs.emplace_back(first, second);
    }
  }
  return pairs;
}

class ContentionTest
    : public RacesTest,
      public testing::WithParamInterface<std::pair<Contender, Contender>> {
 protected:
  void Do(const Contender& contender, WaitCall& call) {
    switch (contender.ending) {
      case Ending::kDone:
        woken_ = Post(2);
        break;
      case Ending::kTimedOut:
        clock_.Advance(kTimeout);
        break;
      case Ending::kCallerGone:
        engine().CallerGone(*call.op);
        break;
      case Ending::kInterrupted:
        engine().Signal(*call.op, SIGTERM);
        break;
      default:
        removed_ = engine().Remove("q", false).value();
    }
  }

  uint64_t woken_ = 0;
  uint64_t removed_ = 0;
};

// Guards `if (!IsAsleepLocked(operation)) return` in Object::OnEvent(): who is
// second would test the condition, which holds, and end the sleep again.
TEST_P(ContentionTest, TheSecondFindsTheSleepEnded) {
  const Contender& first = GetParam().first;
  const Contender& second = GetParam().second;
  const int rounds = Times(100);
  for (int i = 0; i < rounds; ++i) {
    woken_ = removed_ = 0;
    const auto call = Take(For(kTimeout));
    const Ref<Object> object(&call->op->object());
    std::thread threads[2];
    // The visit holds the object's lock.
    object->ForEachSleeper([&](Operation&) {
      std::atomic<int> coming = 0;
      const auto start = [&](const Contender& contender) {
        return std::thread([&, contender] {
          ++coming;
          Do(contender, *call);
        });
      };
      threads[0] = start(first);
      threads[1] = start(second);
      WaitUntil([&] { return coming == 2; });
      // Who is a timer has fired, and is beyond being cancelled.
      if (first.ending == Ending::kTimedOut ||
          second.ending == Ending::kTimedOut) {
        WaitUntil([&] { return !clock_.timers().NextWork().has_value(); });
      }
      for (int n = 0; n < 20; ++n) std::this_thread::yield();
    });
    for (std::thread& thread : threads) thread.join();
    const Ending ending = EndOf(*call);
    ASSERT_TRUE(ending == first.ending || ending == second.ending)
        << NameOf(ending);
    ASSERT_EQ(ending == Ending::kDone, woken_ == 1);
    ASSERT_EQ(ending == Ending::kRemoved, removed_ == 1);
    Reset();
  }
}

INSTANTIATE_TEST_SUITE_P(, ContentionTest, testing::ValuesIn(Pairs()),
                         [](const auto& pair) {
                           return std::string(pair.param.first.name) + "And" +
                                  pair.param.second.name;
                         });

// --- Of a start --------------------------------------------------------------

// Guards `if (removed_) return Started::kGone` in Object::Start(): otherwise it
// sleeps on an object that nobody can find.
TEST_F(RacesTest, RemoveAndStart) {
  for (int i = 0; i < Rounds(); ++i) {
    engine().Store("q", 0).value();
    std::unique_ptr<WaitCall> call;
    rival_.Race([&] { call = Take(); },
                [&] { engine().Remove("q", false).value(); });
    // It was there to be ended, or it sleeps on the next one of that name.
    if (!call->ended() && engine().Stat("q").ok()) {
      ASSERT_EQ(engine().Stat("q")->sleepers, 1u);
      ASSERT_EQ(Post(), 1u);
    }
    const Ending ending = EndOf(*call);
    ASSERT_TRUE(ending == Ending::kDone || ending == Ending::kRemoved);
    Reset();
  }
}

// Both at the object's lock: who has found the object and finds it removed then
// looks again.
//
// Guards the loop in Engine::Start().
TEST_F(RacesTest, RemoveAndStartAtTheLock) {
  const int rounds = Times(200);
  for (int i = 0; i < rounds; ++i) {
    const auto sleeper = Take();
    const Ref<Object> object(&sleeper->op->object());
    std::unique_ptr<WaitCall> call;
    std::thread starter, remover;
    // The visit holds the object's lock.
    object->ForEachSleeper([&](Operation&) {
      std::atomic<int> coming = 0;
      starter = std::thread([&] {
        ++coming;
        call = Take();
      });
      WaitUntil([&] { return coming == 1; });
      for (int n = 0; n < 20; ++n) std::this_thread::yield();
      remover = std::thread([&] {
        ++coming;
        engine().Remove("q", false).value();
      });
      WaitUntil([&] { return coming == 2; });
      for (int n = 0; n < 20; ++n) std::this_thread::yield();
    });
    starter.join();
    remover.join();
    ASSERT_EQ(EndOf(*sleeper), Ending::kRemoved);
    // It was there to be ended, or it sleeps on the next one of that name.
    if (engine().Stat("q").ok()) {
      ASSERT_EQ(Post(), 1u);
      ASSERT_EQ(EndOf(*call), Ending::kDone);
    } else {
      ASSERT_EQ(EndOf(*call), Ending::kRemoved);
    }
    Reset();
  }
}

// A drain that is held up in the middle of its walk: who comes to an object
// that it has left behind is refused.
//
// Guards that the drain sets its flag before it walks.
TEST_F(RacesTest, DrainAndStart) {
  constexpr int kObjects = 30;
  const auto name = [](int n) { return absl::StrCat("q", n); };
  const int rounds = Times(50);
  for (int i = 0; i < rounds; ++i) {
    std::unique_ptr<Engine> spare = NewEngine();
    std::swap(engine_, spare);
    {
      std::unique_ptr<WaitCall> early[kObjects], late[kObjects];
      for (int n = 0; n < kObjects; ++n) early[n] = Take({}, name(n));
      const auto held = Take({}, "held");
      std::thread drain;
      held->op->object().ForEachSleeper([&](Operation&) {
        drain = std::thread([&] { engine().Drain(); });
        const auto is_on_its_way = [&] {
          for (const auto& call : early) {
            if (call->ended()) return true;
          }
          return false;
        };
        // Unless this is the very first object of its walk.
        for (int n = 0; n < 10'000 && !is_on_its_way(); ++n) {
          std::this_thread::yield();
        }
        std::thread starter([&] {
          for (int n = 0; n < kObjects; ++n) late[n] = Take({}, name(n));
        });
        starter.join();
      });
      drain.join();
      EXPECT_EQ(EndOf(*held), Ending::kDraining);
      for (const auto& call : early) EXPECT_EQ(EndOf(*call), Ending::kDraining);
      for (const auto& call : late) EXPECT_EQ(EndOf(*call), Ending::kDraining);
    }
    EXPECT_EQ(engine().asleep(), 0u);
    std::swap(engine_, spare);
    home_.AwaitIdle();  // it has nothing of the engine that goes now
  }
}

// Guards that the flag is looked at when somebody is about to fall asleep.
TEST_F(RacesTest, DrainAndStartOnANewObject) {
  for (int i = 0; i < Rounds(); ++i) {
    std::unique_ptr<Engine> spare = NewEngine();
    std::swap(engine_, spare);
    {
      std::unique_ptr<WaitCall> call;
      rival_.Race([&] { call = Take(); }, [&] { engine().Drain(); });
      EXPECT_EQ(EndOf(*call), Ending::kDraining);
    }
    EXPECT_EQ(engine().asleep(), 0u);
    std::swap(engine_, spare);
    home_.AwaitIdle();  // it has nothing of the engine that goes now
  }
}

TEST_F(RacesTest, WakeAndStart) {
  for (int i = 0; i < Rounds(); ++i) {
    std::unique_ptr<WaitCall> call;
    rival_.Race([&] { call = Take(); }, [&] { Post(); });
    // Before, the word was 1 when it came; after, the wake has found it.
    ASSERT_EQ(EndOf(*call), Ending::kDone);
    ASSERT_EQ(ValueOf("q"), 0);
  }
}

// --- Of the life of objects --------------------------------------------------

// Guards RemovedLocked() in WaitQueueObject::Store(). (What happens between the
// timer and the removal is in object_table_test.cc, step by step.)
TEST_F(RacesTest, ExpiryAndStore) {
  for (int i = 0; i < Rounds(); ++i) {
    engine().Store("q", 0).value();
    rival_.Race([&] { engine().Store("q", 1).value(); },
                [&] { clock_.Advance(kIdleLife); });
    ASSERT_EQ(ValueOf("q"), 1) << "what was stored is remembered";
    Reset();
  }
}

// Create says that the object stays, whoever made it.
//
// Guards that Engine::Create() marks what it finds under the table's lock. (The
// moment is short: try it with WAITQ_TIMES=100.)
TEST_F(RacesTest, ExpiryAndCreate) {
  for (int i = 0; i < 5 * Rounds(); ++i) {
    engine().Store("q", 0).value();
    rival_.Race([&] { engine().Create("q", {}).value(); },
                [&] { clock_.Advance(kIdleLife); });
    ASSERT_TRUE(engine().Stat("q").ok()) << "it was promised to stay";
    ASSERT_TRUE(engine().Stat("q")->created);
    Reset();
  }
}

TEST_F(RacesTest, RemoveAndCreate) {
  for (int i = 0; i < Rounds(); ++i) {
    engine().Store("q", 0).value();
    bool made = false;
    rival_.Race([&] { made = engine().Create("q", {}).value(); },
                [&] { engine().Remove("q", false).value(); });
    if (made) {
      ASSERT_TRUE(engine().Stat("q").ok()) << "it came after the removal";
    }
    Reset();
  }
}

// An open writer forbids the removal, so it is never the writer of a removed
// pipe.
TEST_F(RacesTest, RemoveAndOpenWriter) {
  for (int i = 0; i < Rounds(); ++i) {
    ReadNothing("p");
    std::unique_ptr<PipeWriter> writer;
    rival_.Race([&] { writer = engine().OpenWriter("p", {}).value(); },
                [&] { (void)engine().Remove("p", false); });
    ASSERT_FALSE(writer->pipe().removed());
    PipeObject& pipe = writer->pipe();
    pipe.Close(std::move(writer), true);
    engine().Remove("p", true).value();
  }
}

// --- Of pipes ----------------------------------------------------------------

// Guards ServeLocked() in Close(): the end is told to who sleeps, and found by
// who comes.
TEST_F(RacesTest, CloseAndRead) {
  for (int i = 0; i < Rounds(); ++i) {
    auto reader = engine().OpenReader("p", {}).value();
    auto writer = engine().OpenWriter("p", {}).value();
    PipeObject& pipe = reader->pipe();
    ReadCall call;
    call.op = MakeRead(10, reader.get(), &home_, &call);
    rival_.Race([&] { call.started = engine().Read(*reader, call.op, {}); },
                [&] { pipe.Close(std::move(writer), i % 2 == 0); });
    ASSERT_EQ(EndOf(call), Ending::kEndOfFile);
    ASSERT_EQ(call->broken(), i % 2 != 0);
    pipe.Close(std::move(reader));
    call.op = nullptr;
    engine().Remove("p", true).value();
  }
}

// The other way round: the last reader leaves.
TEST_F(RacesTest, CloseAndWrite) {
  for (int i = 0; i < Rounds(); ++i) {
    auto reader =
        engine()
            .OpenReader("p", {.capacity_bytes = 4, .atomic_max_bytes = 1})
            .value();
    auto writer = engine().OpenWriter("p", {}).value();
    PipeObject& pipe = writer->pipe();
    WriteCall call;
    call.op = MakeWrite("12345678", writer.get(), &home_, &call);
    rival_.Race([&] { call.started = engine().Write(*writer, call.op, {}); },
                [&] { pipe.Close(std::move(reader)); });
    ASSERT_EQ(EndOf(call), Ending::kNoReaders);
    // What it has accepted, and no more, is in the pipe.
    ASSERT_EQ(call->accepted_bytes(), pipe.Stat().unread_bytes);
    pipe.Close(std::move(writer), true);
    call.op = nullptr;
    engine().Remove("p", true).value();
  }
}

TEST_F(RacesTest, WriteAndReadersTimeout) {
  for (int i = 0; i < Rounds(); ++i) {
    ReadCall read;
    read.op = MakeRead(10, nullptr, &home_, &read);
    read.started = engine().Read("p", read.op, For(kTimeout)).value();
    WriteCall write;
    write.op = MakeWrite("abc", nullptr, &home_, &write);
    rival_.Race(
        [&] { write.started = engine().Write("p", write.op, {}).value(); },
        [&] { clock_.Advance(kTimeout); });
    ASSERT_EQ(EndOf(write), Ending::kDone);
    const bool taken = EndOf(read) == Ending::kDone;
    ASSERT_EQ(std::string(read->data()), taken ? "abc" : "");
    ASSERT_EQ(std::get<PipeStat>(engine().Stat("p")->state).unread_bytes,
              taken ? 0u : 3u);
    read.op = nullptr;
    write.op = nullptr;
    engine().Remove("p", true).value();
  }
}

}  // namespace
}  // namespace waitq::engine
