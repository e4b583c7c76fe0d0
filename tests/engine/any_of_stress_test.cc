// Calls that wait for any of several, from many threads: each takes from one
// object or from none, and what was given is what was taken and what is left.

#include <atomic>
#include <csignal>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/simulated_clock.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "tests/engine/calls.h"
#include "tests/engine/engine_fixture.h"
#include "tests/engine/homes.h"
#include "tests/engine/stress_fixture.h"
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

WaitArgs TakeOne() { return {.condition = GreaterOrEqual(1), .then = Add(-1)}; }

// --- Many at once ------------------------------------------------------------

constexpr int kNames = 2;  // of each kind

std::string Word(uint64_t i) { return absl::StrCat("word", i); }
std::string Completion(uint64_t i) { return absl::StrCat("done", i); }
std::string Pipe(uint64_t i) { return absl::StrCat("pipe", i); }

// One for each object: tokens that were given, or taken.
struct Tokens {
  std::atomic<int64_t> of_words = 0, of_completions = 0, of_pipes = 0;
};

class AnyOfStressTest : public StressTest {
 protected:
  AnyOfStressTest() {
    for (int i = 0; i < kNames; ++i) {
      CreateOptions options{.kind = ObjectKind::kPipe, .pipe = {}};
      options.pipe.profile = PipeProfile::kQueue;
      EXPECT_TRUE(engine_.Create(Pipe(i), options).ok());
    }
  }
  std::unique_ptr<AnyCall> Start(int thread, const SleepOptions& sleep,
                                 Random& random) {
    std::vector<Term> terms;
    for (uint64_t n = 1 + random.Below(4); n > 0; --n) {
      const uint64_t name = random.Below(kNames);
      switch (random.Below(7)) {
        case 0:
        case 1:
          terms.push_back(OnWord{Word(name), TakeOne()});
          break;
        case 2:
        case 3:
          terms.push_back(OnDone{Completion(name)});
          break;
        case 4:
        case 5:
          terms.push_back(OnRead{Pipe(name), 1});
          break;
        case 6:
          terms.push_back(OnDone{"removed"});
      }
    }
    auto call = std::make_unique<AnyCall>();
    const absl::Status status =
        StartAny(engine_, terms, sleep, &homes_[thread % 2], *call);
    EXPECT_TRUE(status.ok()) << status;
    return call;
  }

  void Give(Random& random) {
    const uint64_t name = random.Below(kNames);
    const int64_t n = random.Between(1, 3);
    switch (random.Below(3)) {
      case 0: {
        WakeOptions options;
        options.update = Add(n);
        options.nr = static_cast<int>(n);
        given_.of_words += n;
        EXPECT_LE(engine_.WakeUp(Word(name), options)->woken,
                  static_cast<uint64_t>(n));
        break;
      }
      case 1:
        given_.of_completions += n;
        EXPECT_LE(engine_.Complete(Completion(name), n)->woken,
                  static_cast<uint64_t>(n));
        break;
      case 2: {
        WriteCall write;
        write.op = MakeWrite(std::string(n, 'x'), nullptr, &homes_[0], &write);
        EXPECT_EQ(engine_.Write(Pipe(name), write.op, Nonblock()).value(),
                  Started::kEnded);
        if (write.op->ending() == Ending::kDone) given_.of_pipes += n;
      }
    }
  }

  void Disturb(AnyCall& call, Random& random) {
    switch (random.Below(6)) {
      case 0:
        engine_.CallerGone(*call.legs[0]);
        break;
      case 1:
        engine_.Signal(*call.legs[0], random.OneIn(2) ? SIGTERM : SIGINT);
        break;
      case 2:
        // By its id, whichever is found; not if none was started.
        if (call.legs[0]->id() != 0) {
          (void)engine_.SignalTask(call.legs[0]->id(), SIGTERM);
        }
        break;
      case 3:
        (void)engine_.Remove("removed", false);
        break;
      default:
        break;
    }
  }

  // What a call that has ended took, of the one that has ended it.
  void Count(AnyCall& call) {
    EXPECT_EQ(call.told(), call.started == Started::kAsleep ? 1 : 0);
    if (call.operation().ending() != Ending::kDone) return;
    switch (call.operation().object().kind()) {
      case ObjectKind::kWaitQueue:
        ++taken_.of_words;
        EXPECT_GE(call.As<WaitOperation>().value_after(), 0);
        break;
      case ObjectKind::kCompletion:
        ++taken_.of_completions;
        break;
      case ObjectKind::kPipe:
        ++taken_.of_pipes;
        break;
    }
  }

  void ExpectAllAccountedFor() {
    int64_t words = 0, completions = 0, pipes = 0;
    for (int i = 0; i < kNames; ++i) {
      if (const auto word = engine_.Get(Word(i)); word.ok()) {
        words += word->value;
      }
      if (const auto stat = engine_.Stat(Completion(i)); stat.ok()) {
        completions += std::get<CompletionObject::Result>(stat->state).done;
      }
      pipes += std::get<PipeStat>(engine_.Stat(Pipe(i))->state).unread_bytes;
    }
    EXPECT_EQ(taken_.of_words + words, given_.of_words);
    EXPECT_EQ(taken_.of_completions + completions, given_.of_completions);
    EXPECT_EQ(taken_.of_pipes + pipes, given_.of_pipes);
    EXPECT_GT(taken_.of_words, 0);
    EXPECT_GT(taken_.of_completions, 0);
    EXPECT_GT(taken_.of_pipes, 0);
  }
  Tokens given_, taken_;
};

TEST_F(AnyOfStressTest, WhatIsTakenAndLeftIsWhatWasGiven) {
  RunThreads([&](int thread, Random& random) {
    std::deque<std::unique_ptr<AnyCall>> calls;
    const auto forget = [&](bool all) {
      while (!calls.empty() &&
             (all || calls.front()->ended() || calls.size() > 50)) {
        AnyCall& call = *calls.front();
        if (!call.ended()) engine_.CallerGone(*call.legs[0]);
        WaitUntil([&] { return call.ended(); });
        Count(call);
        calls.pop_front();
      }
    };
    const int steps = Times(8'000);
    for (int step = 0; step < steps; ++step) {
      switch (random.Below(4)) {
        case 0: {
          SleepOptions sleep;
          if (random.OneIn(3)) sleep.state = kKillable;
          if (random.OneIn(8)) sleep.nonblock = true;
          if (random.OneIn(2)) {
            sleep.timeout = absl::Microseconds(random.Below(3'000));
          }
          calls.push_back(Start(thread, sleep, random));
          break;
        }
        case 1:
        case 2:
          Give(random);
          break;
        case 3:
          if (!calls.empty()) {
            Disturb(*calls[random.Below(calls.size())], random);
          }
      }
      forget(/*all=*/false);
    }
    forget(/*all=*/true);
  });
  ExpectAllAccountedFor();
  EXPECT_EQ(engine_.asleep(), 0u);
}

// Gives and takes, then silence.
TEST_F(AnyOfStressTest, NobodySleepsWhereThereIsAToken) {
  std::vector<std::unique_ptr<AnyCall>> calls[kThreads];
  RunThreads([&](int thread, Random& random) {
    const int steps = Times(400);
    for (int step = 0; step < steps; ++step) {
      if (random.OneIn(2)) {
        calls[thread].push_back(Start(thread, {}, random));
      } else {
        Give(random);
      }
      if (random.OneIn(5) && !calls[thread].empty()) {
        Disturb(*calls[thread][random.Below(calls[thread].size())], random);
      }
    }
  });
  for (int i = 0; i < kNames; ++i) {
    const auto word = engine_.Stat(Word(i));
    if (word.ok() && std::get<WordResult>(word->state).value > 0) {
      EXPECT_EQ(word->sleepers, 0u);
    }
    const auto done = engine_.Stat(Completion(i));
    if (done.ok() && std::get<CompletionObject::Result>(done->state).done > 0) {
      EXPECT_EQ(done->sleepers, 0u);
    }
    const ObjectStat pipe = engine_.Stat(Pipe(i)).value();
    if (std::get<PipeStat>(pipe.state).unread_bytes > 0) {
      EXPECT_EQ(pipe.sleepers, 0u);
    }
  }
  for (const auto& mine : calls) {
    for (const auto& call : mine) {
      engine_.CallerGone(*call->legs[0]);
      WaitUntil([&] { return call->ended(); });
      Count(*call);
    }
  }
  ExpectAllAccountedFor();
  EXPECT_EQ(engine_.asleep(), 0u);
}

// --- Two at the same moment --------------------------------------------------

class AnyOfRacesTest : public testing::Test {
 protected:
  AnyOfRacesTest() : rival_(Seed()) {}
  void TearDown() override {
    RemoveAll(engine_);
    home_.AwaitIdle();
    ExpectNothingHeld(engine_, clock_);
  }

  // Starts a call for one of the word "w" or of the completion "d".
  std::unique_ptr<AnyCall> Take(const SleepOptions& sleep = {}) {
    auto call = std::make_unique<AnyCall>();
    const absl::Status status = StartAny(
        engine_, {OnWord{"w", TakeOne()}, OnDone{"d"}}, sleep, &home_, *call);
    EXPECT_TRUE(status.ok()) << status;
    return call;
  }
  uint64_t Post() {
    WakeOptions options;
    options.update = Add(1);
    return engine_.WakeUp("w", options)->woken;
  }
  uint64_t Complete() { return engine_.Complete("d", 1)->woken; }

  Ending EndOf(AnyCall& call) {
    WaitUntil([&] { return call.ended(); });
    EXPECT_EQ(call.told(), call.started == Started::kAsleep ? 1 : 0);
    return call.operation().ending();
  }
  // What is left of both; for the next round there is nothing.
  void ExpectLeft(int64_t word, uint32_t done) {
    const auto value = engine_.Get("w");
    EXPECT_EQ(value.ok() ? value->value : 0, word);
    const auto stat = engine_.Stat("d");
    EXPECT_EQ(
        stat.ok() ? std::get<CompletionObject::Result>(stat->state).done : 0,
        done);
    EXPECT_EQ(engine_.asleep(), 0u);
    RemoveAll(engine_);
  }

  SimulatedClock clock_;
  ThreadHome home_;
  Rival rival_;
  Engine engine_{SmallLimits(), &clock_.timers(), kFirstGeneration};
};

TEST_F(AnyOfRacesTest, TwoThatHold) {
  int by[2] = {};
  for (int i = 0; i < Times(1'000); ++i) {
    auto call = Take();
    uint64_t posted = 0, completed = 0;
    rival_.Race([&] { posted = Post(); }, [&] { completed = Complete(); });
    ASSERT_EQ(EndOf(*call), Ending::kDone);
    ASSERT_EQ(posted + completed, 1u);
    ASSERT_EQ(call->alternative(), posted == 1 ? 0 : 1);
    ++by[call->alternative()];
    ExpectLeft(1 - posted, 1 - completed);
  }
  EXPECT_GT(by[0], 0);
  EXPECT_GT(by[1], 0);
}

TEST_F(AnyOfRacesTest, OneThatHoldsAndTheTimeoutOfAll) {
  for (int i = 0; i < Times(1'000); ++i) {
    auto call = Take(For(absl::Milliseconds(1)));
    uint64_t completed = 0;
    rival_.Race([&] { completed = Complete(); },
                [&] { clock_.Advance(absl::Milliseconds(1)); });
    const Ending ending = EndOf(*call);
    // The timer's own test may find it.
    ASSERT_TRUE(ending == Ending::kDone || completed == 0);
    ExpectLeft(0, ending == Ending::kDone ? 0 : 1);
  }
}

TEST_F(AnyOfRacesTest, OneThatHoldsAndTheCallerWhoGoes) {
  for (int i = 0; i < Times(1'000); ++i) {
    auto call = Take();
    uint64_t completed = 0;
    rival_.Race([&] { completed = Complete(); },
                [&] { engine_.CallerGone(*call->legs[0]); });
    ASSERT_EQ(EndOf(*call),
              completed == 1 ? Ending::kDone : Ending::kCallerGone);
    ExpectLeft(0, 1 - completed);
  }
}

TEST_F(AnyOfRacesTest, OneThatHoldsAndAnothersRemoval) {
  for (int i = 0; i < Times(1'000); ++i) {
    auto call = Take();
    uint64_t completed = 0;
    rival_.Race([&] { completed = Complete(); },
                [&] { engine_.Remove("w", false).value(); });
    ASSERT_EQ(EndOf(*call), completed == 1 ? Ending::kDone : Ending::kRemoved);
    ExpectLeft(0, 1 - completed);
  }
}

TEST_F(AnyOfRacesTest, TwoRemovals) {
  for (int i = 0; i < Times(1'000); ++i) {
    auto call = Take();
    rival_.Race([&] { engine_.Remove("w", false).value(); },
                [&] { engine_.Remove("d", false).value(); });
    ASSERT_EQ(EndOf(*call), Ending::kRemoved);
    ExpectLeft(0, 0);
  }
}

// While it starts: the first of its alternatives may sleep already.
TEST_F(AnyOfRacesTest, ItsStartAndOneThatHolds) {
  for (int i = 0; i < Times(1'000); ++i) {
    std::unique_ptr<AnyCall> call;
    rival_.Race([&] { call = Take(); },
                [&] {
                  Post();
                  Complete();
                });
    ASSERT_EQ(EndOf(*call), Ending::kDone);
    ExpectLeft(call->alternative() == 0 ? 0 : 1,
               call->alternative() == 0 ? 1 : 0);
  }
}

TEST_F(AnyOfRacesTest, ItsStartAndTheDrain) {
  for (int i = 0; i < Times(200); ++i) {
    Engine engine(SmallLimits(), &clock_.timers(), kFirstGeneration);
    AnyCall call;
    rival_.Race(
        [&] {
          const absl::Status status =
              StartAny(engine, {OnDone{"a"}, OnDone{"b"}, OnDone{"c"}}, {},
                       &home_, call);
          EXPECT_TRUE(status.ok()) << status;
        },
        [&] { engine.Drain(); });
    ASSERT_EQ(EndOf(call), Ending::kDraining);
    ASSERT_EQ(engine.asleep(), 0u);
    home_.AwaitIdle();
    RemoveAll(engine);
  }
}

}  // namespace
}  // namespace waitq::engine
