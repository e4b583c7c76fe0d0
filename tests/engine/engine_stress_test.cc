// Everything at once, from many threads: what was given equals what was taken
// and what is left.

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <deque>
#include <map>
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
#include "tests/support/wait_until.h"

namespace waitq::engine {
namespace {

using waitq::test::Random;
using waitq::test::Seed;
using waitq::test::Times;
using waitq::test::WaitUntil;

class EngineStressTest : public StressTest {
 protected:
  static SleepOptions RandomSleep(Random& random) {
    SleepOptions options;
    if (random.OneIn(3)) options.state = kKillable;
    if (random.OneIn(8)) options.nonblock = true;
    if (random.OneIn(2)) {
      options.timeout = absl::Microseconds(random.Below(3'000));
    }
    return options;
  }

  // Ends one of these sleeps, or tries to.
  template <class C>
  void Disturb(const std::deque<std::unique_ptr<C>>& calls, Random& random) {
    if (calls.empty()) return;
    C& call = *calls[random.Below(calls.size())];
    if (random.OneIn(2)) {
      engine_.CallerGone(*call.op);
    } else {
      engine_.Signal(*call.op, random.OneIn(2) ? SIGTERM : SIGINT);
    }
  }

  static void ExpectOnce(const Call& call) {
    EXPECT_EQ(call.told(), call.started == Started::kAsleep ? 1 : 0);
  }
};

// Tokens are posted into words and completions, and taken out by sleepers whose
// timeouts, signals and callers come in between.
TEST_F(EngineStressTest, TokensTakenAndLeftAreTokensPosted) {
  constexpr int kNames = 3;
  const auto word = [](uint64_t i) { return absl::StrCat("word", i); };
  const auto completion = [](uint64_t i) { return absl::StrCat("done", i); };
  std::atomic<int64_t> posted = 0, taken = 0, done_posted = 0, done_taken = 0;

  RunThreads([&](int thread, Random& random) {
    std::deque<std::unique_ptr<WaitCall>> waits;
    std::deque<std::unique_ptr<DoneCall>> dones;
    const auto forget = [&](bool all) {
      while (!waits.empty() &&
             (all || waits.front()->ended() || waits.size() > 50)) {
        WaitCall& call = *waits.front();
        if (!call.ended()) engine_.CallerGone(*call.op);
        WaitUntil([&] { return call.ended(); });
        ExpectOnce(call);
        if (call->ending() == Ending::kDone) {
          ++taken;
          EXPECT_EQ(call->value_after(), call->value_before() - 1);
          EXPECT_GE(call->value_after(), 0);
        }
        waits.pop_front();
      }
      while (!dones.empty() &&
             (all || dones.front()->ended() || dones.size() > 50)) {
        DoneCall& call = *dones.front();
        if (!call.ended()) engine_.CallerGone(*call.op);
        WaitUntil([&] { return call.ended(); });
        ExpectOnce(call);
        if (call->ending() == Ending::kDone) ++done_taken;
        dones.pop_front();
      }
    };
    const int steps = Times(8'000);
    for (int step = 0; step < steps; ++step) {
      const uint64_t name = random.Below(kNames);
      switch (random.Below(7)) {
        case 0: {
          auto& call = waits.emplace_back(std::make_unique<WaitCall>());
          call->op = MakeWait({.condition = GreaterOrEqual(1), .then = Add(-1)},
                              &homes_[thread % 2], call.get());
          call->started =
              engine_.Wait(word(name), call->op, RandomSleep(random)).value();
          break;
        }
        case 1: {
          auto& call = dones.emplace_back(std::make_unique<DoneCall>());
          call->op = MakeDoneWait(&homes_[thread % 2], call.get());
          call->started =
              engine_.Wait(completion(name), call->op, RandomSleep(random))
                  .value();
          break;
        }
        case 2: {
          const int64_t n = random.Between(1, 3);
          WakeOptions options;
          options.update = Add(n);
          options.nr = static_cast<int>(n);
          posted += n;
          EXPECT_LE(engine_.WakeUp(word(name), options)->woken,
                    static_cast<uint64_t>(n));
          break;
        }
        case 3: {
          const auto n = static_cast<uint32_t>(random.Between(1, 3));
          done_posted += n;
          EXPECT_LE(engine_.Complete(completion(name), n)->woken, n);
          break;
        }
        case 4:
          Disturb(waits, random);
          break;
        case 5:
          Disturb(dones, random);
          break;
        case 6:
          if (engine_.TryWait(completion(name)).value()) ++done_taken;
          break;
      }
      forget(/*all=*/false);
    }
    forget(/*all=*/true);
  });

  int64_t left = 0, done_left = 0;
  for (uint64_t i = 0; i < kNames; ++i) {
    left += engine_.Get(word(i))->value;
    done_left +=
        std::get<CompletionObject::Result>(engine_.Stat(completion(i))->state)
            .done;
  }
  EXPECT_EQ(taken + left, posted);
  EXPECT_EQ(done_taken + done_left, done_posted);
  EXPECT_EQ(engine_.asleep(), 0u);
}

// Nobody sleeps on while its token is there: posts and takes, then silence.
TEST_F(EngineStressTest, NobodySleepsWhileThereIsAToken) {
  std::vector<std::unique_ptr<WaitCall>> calls[kThreads];
  RunThreads([&](int thread, Random& random) {
    const int steps = Times(400);
    for (int step = 0; step < steps; ++step) {
      if (random.OneIn(2)) {
        auto& call = calls[thread].emplace_back(std::make_unique<WaitCall>());
        call->op = MakeWait({.condition = GreaterOrEqual(1), .then = Add(-1)},
                            &homes_[0], call.get());
        call->started = engine_.Wait("q", call->op, {}).value();
      } else {
        WakeOptions options;
        options.update = Add(1);
        engine_.WakeUp("q", options).value();
      }
      if (random.OneIn(5) && !calls[thread].empty()) {
        engine_.Signal(*calls[thread][random.Below(calls[thread].size())]->op,
                       SIGTERM);
      }
    }
  });
  const ObjectStat stat = engine_.Stat("q").value();
  if (std::get<WordResult>(stat.state).value > 0) {
    EXPECT_EQ(stat.sleepers, 0u);
  }
  RemoveAll(engine_);
  for (const auto& mine : calls) {
    for (const auto& call : mine) {
      WaitUntil([&] { return call->ended(); });
      ExpectOnce(*call);
    }
  }
}

// Records with known bytes go through a small pipe. Every answer has an offset:
// put together, what was written is what was read and what is left, in order.
//
// (The bytes are looked at after the threads have gone: readers and writers
// share them, and the thread sanitizer cannot see into abseil's counting.)
TEST_F(EngineStressTest, WhatIsReadIsWhatWasWrittenAndInOrder) {
  constexpr uint64_t kCapacity = 64;
  constexpr uint64_t kAtomicMax = 16;
  CreateOptions options;
  options.kind = ObjectKind::kPipe;
  options.pipe.capacity_bytes = kCapacity;
  options.pipe.atomic_max_bytes = kAtomicMax;
  ASSERT_TRUE(engine_.Create("p", options).ok());

  struct Writing {
    std::string data;
    std::unique_ptr<WriteCall> call;
  };
  std::vector<Writing> all_writes[kThreads];
  std::vector<std::unique_ptr<ReadCall>> all_reads[kThreads];
  RunThreads([&](int thread, Random& random) {
    std::vector<Writing>& writes = all_writes[thread];
    std::vector<std::unique_ptr<ReadCall>>& reads = all_reads[thread];
    // A few may be asleep; the caller of the oldest goes when there are more.
    const auto await = [&](Call& call) {
      if (!call.ended()) engine_.CallerGone(call.operation());
      WaitUntil([&] { return call.ended(); });
      ExpectOnce(call);
    };
    constexpr size_t kAsleepMax = 10;
    const int steps = Times(5'000);
    for (int step = 0; step < steps; ++step) {
      if (random.OneIn(2)) {
        std::string data;
        if (random.OneIn(4)) {
          data = std::string(random.Between(kAtomicMax + 1, 200), '#');
        } else {
          // A record that nobody else writes, with no '#' in it.
          data = absl::StrCat(thread, ":", step, ";");
          data.resize(random.Between(1, kAtomicMax), '.');
        }
        auto call = std::make_unique<WriteCall>();
        call->op = MakeWrite(data, nullptr, &homes_[thread % 2], call.get());
        call->started =
            engine_.Write("p", call->op, RandomSleep(random)).value();
        writes.push_back({std::move(data), std::move(call)});
        if (writes.size() > kAsleepMax) {
          await(*writes[writes.size() - 1 - kAsleepMax].call);
        }
      } else {
        auto& call = reads.emplace_back(std::make_unique<ReadCall>());
        call->op = MakeRead(random.Below(100), nullptr, &homes_[thread % 2],
                            call.get());
        call->started =
            engine_.Read("p", call->op, RandomSleep(random)).value();
        if (reads.size() > kAsleepMax) {
          await(*reads[reads.size() - 1 - kAsleepMax]);
        }
      }
      if (random.OneIn(10) && !reads.empty()) {
        engine_.Signal(*reads.back()->op, SIGTERM);
      }
      if (random.OneIn(10) && !writes.empty()) {
        engine_.Signal(*writes.back().call->op, SIGTERM);
      }
    }
    for (size_t i = 0; i < writes.size(); ++i) await(*writes[i].call);
    for (size_t i = 0; i < reads.size(); ++i) await(*reads[i]);
  });

  // By offset. Of big writes, whose turns are anywhere, only the number.
  std::map<uint64_t, std::string> written, read;
  int64_t big = 0;
  for (const std::vector<Writing>& writes : all_writes) {
    for (const Writing& writing : writes) {
      const WriteOperation& op = *writing.call->op;
      const size_t size = writing.data.size();
      if (op.ending() == Ending::kDone) {
        EXPECT_EQ(op.accepted_bytes(), size);
      }
      if (size > kAtomicMax) {
        big += static_cast<int64_t>(op.accepted_bytes());
      } else if (op.ending() != Ending::kDone) {
        EXPECT_EQ(op.accepted_bytes(), 0u) << "whole or nothing";
      } else {
        EXPECT_TRUE(written.emplace(op.offset() - size, writing.data).second)
            << "two records at one offset";
      }
    }
  }
  const auto look = [&](ReadCall& call) {
    const std::string data(call->data());
    if (call->ending() != Ending::kDone) {
      EXPECT_EQ(data, "");
    } else if (!data.empty()) {
      EXPECT_TRUE(read.emplace(call->offset(), data).second)
          << "two reads at one offset";
    }
  };
  for (const auto& reads : all_reads) {
    for (const auto& call : reads) look(*call);
  }
  // What is left.
  {
    ReadCall rest;
    rest.op = MakeRead(kCapacity, nullptr, &homes_[0], &rest);
    ASSERT_EQ(engine_.Read("p", rest.op, Nonblock()).value(), Started::kEnded);
    look(rest);
  }
  std::string stream;
  for (const auto& [offset, data] : read) {
    ASSERT_EQ(offset, stream.size()) << "a gap, or a byte twice";
    stream += data;
  }
  EXPECT_EQ(std::count(stream.begin(), stream.end(), '#'), big);
  uint64_t records = 0;
  for (const auto& [offset, data] : written) {
    ASSERT_EQ(stream.substr(offset, data.size()), data) << "at " << offset;
    records += data.size();
  }
  EXPECT_EQ(records + static_cast<uint64_t>(big), stream.size());
}

}  // namespace
}  // namespace waitq::engine
