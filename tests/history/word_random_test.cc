// Random histories of a wait queue: those that a queue made are accepted; those
// with one answer changed are not.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "gtest/gtest.h"
#include "tests/history/word_checker.h"
#include "tests/history/world.h"
#include "tests/support/random.h"

namespace waitq::history {
namespace {

using Kind = WordCall::Kind;
using Test = Condition::Test;
using Change = Action::Change;

class WordWorld final : public World<WordCall> {
 public:
  using World::World;

  History Make() {
    Run();
    History history;
    history.words = TakeCalls();
    history.restarts = restarts();
    return history;
  }

 private:
  WordCall New() override {
    WordCall call;
    const uint64_t which = random().Below(10);
    if (which < 5) {
      call.kind = Kind::kWait;
      call.condition.test = static_cast<Test>(random().Below(9));
      call.condition.operand = random().Between(-2, 3);
      if (!random().OneIn(3)) call.action = RandomAction();
      call.then_wake = random().OneIn(6);
    } else if (which < 8) {
      call.kind = Kind::kWakeUp;
      if (!random().OneIn(4)) call.action = RandomAction();
    } else if (which < 9) {
      call.kind = Kind::kStore;
      call.action = {Change::kSet, random().Between(-2, 3)};
    } else {
      call.kind = Kind::kGet;
    }
    return call;
  }

  Action RandomAction() {
    return {static_cast<Change>(1 + random().Below(4)),
            random().Between(-2, 3)};
  }

  void Arrive(Live& live) override {
    WordCall& call = live.call;
    switch (call.kind) {
      case Kind::kWait:
        if (call.condition.Holds(value_)) {
          Step(live);
          if (call.then_wake) Walk(1);
        } else if (random().OneIn(6)) {
          Answer(live, Outcome::kWouldBlock);
        } else {
          Sleep(live);
        }
        return;
      case Kind::kWakeUp:
        value_ = *call.action.Apply(value_);
        last_ = NextGeneration();
        call.woken = Walk(random().OneIn(4) ? 100 : 1 + random().Below(3));
        call.value_after = value_;
        break;
      case Kind::kStore:
        call.value_before = value_;
        value_ = call.action.operand;
        last_ = NextGeneration();
        break;
      case Kind::kGet:
        call.value_after = value_;
        break;
    }
    call.generation = last_;
    Answer(live);
  }

  void Step(Live& live) {
    live.call.value_before = value_;
    value_ = *live.call.action.Apply(value_);
    live.call.value_after = value_;
    if (live.call.action.change != Change::kNone) last_ = NextGeneration();
    live.call.generation = last_;
    Answer(live);
  }

  uint64_t Walk(uint64_t most) {
    uint64_t woken = 0;
    bool again = false;
    for (int walks = 0; walks == 0 || (walks == 1 && again); ++walks) {
      uint64_t nr = 0;
      for (Live* live : Sleepers()) {
        if (live->call.condition.test != Test::kWoken &&
            !live->call.condition.Holds(value_)) {
          continue;
        }
        again |= live->call.then_wake;
        Step(*live);
        ++woken;
        if (++nr == most) break;
      }
    }
    return woken;
  }

  void TimeOut(Live& live) override {
    if (live.call.outcome != Outcome::kNoEffect &&
        live.call.condition.Holds(value_)) {
      return Step(live);  // a Store has made it true
    }
    Answer(live, live.call.outcome);
  }

  void Forget() override { value_ = 0; }

  int64_t value_ = 0;
  uint64_t last_ = 1;
};

void ForgetGenerations(History& history) {
  for (WordCall& call : history.words) call.generation = 0;
}

// Changes one answer.
void Mutate(History& history, test::Random& random) {
  for (;;) {
    WordCall& call = history.words[random.Below(history.words.size())];
    if (call.outcome != Outcome::kDone) continue;
    const int64_t by = random.OneIn(2) ? 1 : -1;
    switch (call.kind) {
      case Kind::kWait:
        call.value_before += by;
        call.value_after = *call.action.Apply(call.value_before);
        return;
      case Kind::kWakeUp:
        if (random.OneIn(2)) {
          call.value_after += by;
        } else {
          call.woken += call.woken == 0 || by > 0 ? 1 : -1;
        }
        return;
      case Kind::kStore:
        call.value_before += by;
        return;
      case Kind::kGet:
        call.value_after += by;
        return;
    }
  }
}

TEST(WordRandomTest, WhatAQueueDidIsAccepted) {
  test::Random random(test::Seed());
  Report all;
  for (int i = 0; i < test::Times(1500); ++i) {
    WordWorld world({.clients = static_cast<int>(random.Between(2, 12)),
                     .calls = static_cast<int>(random.Between(5, 200)),
                     .unknown = static_cast<int>(random.Below(7)),
                     .restarts = static_cast<int>(random.Below(3))},
                    random);
    History history = world.Make();
    Report report = CheckWords(history);
    ASSERT_TRUE(report.violations.empty()) << report.ToString();
    all.Add(report);
    ForgetGenerations(history);
    report = CheckWords(history, {.max_steps = 100'000});
    ASSERT_TRUE(report.violations.empty()) << report.ToString();
    all.Add(report);
  }
  std::printf("%s", all.ToString().substr(0, 200).c_str());
  EXPECT_LE(all.undecided.size(), static_cast<size_t>(all.objects) / 20);
}

TEST(WordRandomTest, AChangedAnswerIsNoticed) {
  test::Random random(test::Seed());
  int noticed = 0;
  const int times = test::Times(500);
  for (int i = 0; i < times; ++i) {
    WordWorld world({.clients = 6, .calls = 100}, random);
    History history = world.Make();
    Mutate(history, random);
    if (!CheckWords(history).violations.empty()) ++noticed;
  }
  std::printf("%d of %d noticed\n", noticed, times);
  EXPECT_GE(noticed, times * 9 / 10);
}

TEST(WordRandomTest, AChangedGenerationIsNoticed) {
  test::Random random(test::Seed());
  int noticed = 0;
  const int times = test::Times(200);
  for (int i = 0; i < times; ++i) {
    WordWorld world({.clients = 6, .calls = 100}, random);
    History history = world.Make();
    // Of two changes far from each other.
    std::vector<WordCall*> stores;
    for (WordCall& call : history.words) {
      if (call.kind == Kind::kStore) stores.push_back(&call);
    }
    if (stores.size() < 2) {
      ++noticed;
      continue;
    }
    std::swap(stores.front()->generation, stores.back()->generation);
    if (!CheckWords(history).violations.empty()) ++noticed;
  }
  EXPECT_GE(noticed, times * 9 / 10);
}

}  // namespace
}  // namespace waitq::history
