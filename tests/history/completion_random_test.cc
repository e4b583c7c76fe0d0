// Random histories of a completion: those that a completion made are accepted;
// those with one answer changed are not.

#include <cstddef>
#include <cstdint>
#include <cstdio>

#include "gtest/gtest.h"
#include "tests/history/completion_checker.h"
#include "tests/history/world.h"
#include "tests/support/random.h"

namespace waitq::history {
namespace {

using Kind = CompletionCall::Kind;
constexpr uint32_t kAll = CompletionCall::kAll;

class CompletionWorld final : public World<CompletionCall> {
 public:
  using World::World;

  History Make(bool come_back) {
    come_back_ = come_back;
    Run();
    History history;
    history.completions = TakeCalls();
    history.restarts = restarts();
    return history;
  }

 private:
  CompletionCall New() override {
    CompletionCall call;
    const uint64_t which = random().Below(20);
    if (which < 8) {
      call.kind = Kind::kWait;
    } else if (which < 11) {
      call.kind = Kind::kTryWait;
    } else if (which < 17) {
      call.kind = Kind::kComplete;
      call.nr = random().OneIn(20)
                    ? kAll
                    : 1 + static_cast<uint32_t>(random().Below(2));
    } else if (which < 19) {
      call.kind = Kind::kDone;
    } else {
      call.kind = Kind::kReinit;
    }
    return call;
  }

  void Arrive(Live& live) override {
    CompletionCall& call = live.call;
    switch (call.kind) {
      case Kind::kWait:
        if (count_ > 0) return Take(live);
        if (random().OneIn(5)) return Answer(live, Outcome::kWouldBlock);
        return Sleep(live);
      case Kind::kTryWait:
        call.yes = count_ > 0;
        if (call.yes) return Take(live);
        break;
      case Kind::kComplete:
        count_ = call.nr > kAll - count_ ? kAll : count_ + call.nr;
        last_ = NextGeneration();
        call.woken = Walk();
        call.done = count_;
        call.generation = last_;
        break;
      case Kind::kReinit:
        count_ = 0;
        call.generation = last_ = NextGeneration();
        break;
      case Kind::kDone:
        call.yes = count_ > 0;
        break;
    }
    Answer(live);
  }

  void Take(Live& live) {
    live.place = 0;  // how many it will have to give back
    if (count_ != kAll) {
      --count_;
      live.place = 1;
    }
    last_ = NextGeneration();
    if (live.call.kind == Kind::kWait) live.call.generation = last_;
    if (marks_ > 0 && random().OneIn(2)) {
      --marks_;
      live.call.redelivered = true;
    }
    Answer(live);
  }

  uint64_t Walk() {
    uint64_t woken = 0;
    for (Live* live : Sleepers()) {
      if (count_ == 0) break;
      Take(*live);
      ++woken;
    }
    return woken;
  }

  // What an unknown one has taken comes back; so does what the server takes
  // for lost.
  void Return(Live& live) override {
    const bool took = live.call.kind == Kind::kWait ||
                      (live.call.kind == Kind::kTryWait && live.call.yes);
    if (!come_back_ || !took || live.place == 0 ||
        live.call.outcome != Outcome::kDone) {
      return;
    }
    if (!live.given_up) {
      if (!random().OneIn(15)) return;
      live.call.may_be_redelivered = true;
    }
    if (random().OneIn(2)) ++away_;
  }

  void Happen() override {
    if (away_ == 0 || !random().OneIn(20)) return;
    --away_;
    ++marks_;
    if (count_ != kAll) ++count_;
    last_ = NextGeneration();
    Walk();
  }

  void TimeOut(Live& live) override { Answer(live, live.call.outcome); }

  void Forget() override {
    count_ = 0;
    away_ = 0;
    marks_ = 0;
    for (Live* live : Answered()) live->place = 0;
  }

  uint32_t count_ = 0;
  uint32_t away_ = 0;
  uint32_t marks_ = 0;
  uint64_t last_ = 1;
  bool come_back_ = false;
};

void ForgetGenerations(History& history) {
  for (CompletionCall& call : history.completions) call.generation = 0;
}

// Changes one answer.
void Mutate(History& history, test::Random& random) {
  for (;;) {
    CompletionCall& call =
        history.completions[random.Below(history.completions.size())];
    if (call.outcome != Outcome::kDone) continue;
    switch (call.kind) {
      case Kind::kWait:
        call.redelivered = true;
        return;
      case Kind::kTryWait:
      case Kind::kDone:
        call.yes = !call.yes;
        return;
      case Kind::kComplete:
        if (random.OneIn(2)) {
          call.woken += call.woken == 0 || random.OneIn(2) ? 1 : -1;
        } else {
          call.done += call.done == 0 || random.OneIn(2) ? 1 : -1;
        }
        return;
      case Kind::kReinit:
        break;
    }
  }
}

TEST(CompletionRandomTest, WhatACompletionDidIsAccepted) {
  test::Random random(test::Seed());
  Report all;
  for (int i = 0; i < test::Times(1500); ++i) {
    CompletionWorld world({.clients = static_cast<int>(random.Between(2, 12)),
                           .calls = static_cast<int>(random.Between(5, 200)),
                           .unknown = static_cast<int>(random.Below(7)),
                           .restarts = static_cast<int>(random.Below(3))},
                          random);
    History history = world.Make(random.OneIn(2));
    Report report = CheckCompletions(history);
    ASSERT_TRUE(report.violations.empty()) << report.ToString();
    all.Add(report);
    ForgetGenerations(history);
    report = CheckCompletions(history, {.max_steps = 100'000});
    ASSERT_TRUE(report.violations.empty()) << report.ToString();
    all.Add(report);
  }
  std::printf("%s", all.ToString().substr(0, 200).c_str());
  EXPECT_LE(all.undecided.size(), static_cast<size_t>(all.objects) / 20);
}

TEST(CompletionRandomTest, AChangedAnswerIsNoticed) {
  test::Random random(test::Seed());
  int noticed = 0;
  const int times = test::Times(500);
  for (int i = 0; i < times; ++i) {
    CompletionWorld world({.clients = 6, .calls = 100}, random);
    History history = world.Make(/*come_back=*/false);
    Mutate(history, random);
    if (!CheckCompletions(history).violations.empty()) ++noticed;
  }
  std::printf("%d of %d noticed\n", noticed, times);
  EXPECT_GE(noticed, times * 9 / 10);
}

}  // namespace
}  // namespace waitq::history
