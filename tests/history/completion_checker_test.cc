// Each rule of the completion, with a history that keeps it and one that
// breaks it.

#include "tests/history/completion_checker.h"

#include <cstdint>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace waitq::history {
namespace {

using Kind = CompletionCall::Kind;
constexpr uint32_t kAll = CompletionCall::kAll;

// When, and by whom: each call is of a client of its own.
struct At {
  int64_t invoked;
  int64_t returned;
};

CompletionCall Make(At at, Kind kind) {
  static int client = 0;
  CompletionCall call;
  call.object = "c";
  call.client = ++client;
  call.invoked = at.invoked;
  call.returned = at.returned;
  call.outcome = Outcome::kDone;
  call.kind = kind;
  return call;
}
CompletionCall Wait(At at, uint64_t generation = 0) {
  CompletionCall call = Make(at, Kind::kWait);
  call.generation = generation;
  return call;
}
CompletionCall Complete(At at, uint32_t nr, uint64_t woken, uint32_t done,
                        uint64_t generation = 0) {
  CompletionCall call = Make(at, Kind::kComplete);
  call.nr = nr;
  call.woken = woken;
  call.done = done;
  call.generation = generation;
  return call;
}
CompletionCall TryWait(At at, bool taken) {
  CompletionCall call = Make(at, Kind::kTryWait);
  call.yes = taken;
  return call;
}
CompletionCall Done(At at, bool done) {
  CompletionCall call = Make(at, Kind::kDone);
  call.yes = done;
  return call;
}
CompletionCall Reinit(At at, uint64_t generation = 0) {
  CompletionCall call = Make(at, Kind::kReinit);
  call.generation = generation;
  return call;
}
// The same call, with another end.
CompletionCall Ended(Outcome outcome, CompletionCall call) {
  call.outcome = outcome;
  return call;
}
CompletionCall Redelivered(CompletionCall call) {
  call.redelivered = true;
  return call;
}
CompletionCall MayComeAgain(CompletionCall call) {
  call.may_be_redelivered = true;
  return call;
}

bool Legal(std::vector<CompletionCall> calls,
           std::vector<int64_t> restarts = {}) {
  History history;
  history.completions = std::move(calls);
  history.restarts = std::move(restarts);
  const Report report = CheckCompletions(history);
  EXPECT_TRUE(report.undecided.empty());
  return report.ok();
}

TEST(CompletionCheckerTest, NothingIsDoneAtFirst) {
  EXPECT_TRUE(Legal({TryWait({1, 2}, false), Done({1, 2}, false)}));
  EXPECT_FALSE(Legal({TryWait({1, 2}, true)}));
  EXPECT_FALSE(Legal({Done({1, 2}, true)}));
  EXPECT_FALSE(Legal({Wait({1, 2})}));
}

TEST(CompletionCheckerTest, NothingIsTakenTwice) {
  const CompletionCall two = Complete({1, 2}, 2, 0, 2);
  EXPECT_TRUE(Legal({two, Wait({3, 4}), TryWait({3, 4}, true)}));
  EXPECT_FALSE(Legal({two, Wait({3, 4}), Wait({3, 4}), Wait({3, 4})}));
  EXPECT_FALSE(Legal({two, Wait({3, 4}), Wait({3, 4}), TryWait({3, 4}, true)}));
}

TEST(CompletionCheckerTest, WhatIsDoneIsFound) {
  const CompletionCall one = Complete({1, 2}, 1, 0, 1);
  EXPECT_TRUE(Legal(
      {one, Done({3, 4}, true), TryWait({5, 6}, true), Done({7, 8}, false)}));
  EXPECT_FALSE(Legal({one, TryWait({3, 4}, false)}));
  EXPECT_FALSE(Legal({one, Done({3, 4}, false)}));
}

TEST(CompletionCheckerTest, WhoGaveUpHadAMomentWithNothingDone) {
  const CompletionCall one = Complete({1, 2}, 1, 0, 1);
  for (const Outcome outcome :
       {Outcome::kTimedOut, Outcome::kWouldBlock, Outcome::kInterrupted}) {
    EXPECT_TRUE(Legal({one, Ended(outcome, Wait({2, 9}))}));
    EXPECT_FALSE(Legal({one, Ended(outcome, Wait({3, 9}))}));
  }
  EXPECT_TRUE(Legal({one, Ended(Outcome::kNoEffect, Wait({3, 9}))}));
}

TEST(CompletionCheckerTest, ACompleteTellsWhomItWoke) {
  EXPECT_TRUE(Legal({Wait({1, 9}), Complete({3, 4}, 1, 1, 0)}));
  EXPECT_TRUE(Legal({Wait({1, 9}), Complete({3, 4}, 1, 0, 1)}));
  EXPECT_FALSE(Legal({Wait({1, 9}), Complete({3, 4}, 1, 1, 1)}));
  EXPECT_FALSE(Legal({Wait({1, 9}), Complete({3, 4}, 2, 2, 0)}));
  EXPECT_FALSE(Legal({Wait({5, 9}), Complete({3, 4}, 1, 1, 0)}));
  EXPECT_FALSE(Legal({TryWait({1, 9}, true), Complete({3, 4}, 1, 1, 0)}));
}

TEST(CompletionCheckerTest, ForGoodIsForAll) {
  const CompletionCall all = Complete({1, 2}, kAll, 0, kAll);
  EXPECT_TRUE(Legal({all, Wait({3, 4}), Wait({3, 4}), TryWait({3, 4}, true),
                     Complete({5, 6}, 3, 0, kAll), Done({7, 8}, true)}));
  EXPECT_FALSE(Legal({all, Complete({5, 6}, 3, 0, 3)}));
  EXPECT_FALSE(Legal({Complete({1, 2}, kAll, 0, 1)}));
}

TEST(CompletionCheckerTest, AReinitForgets) {
  const CompletionCall all = Complete({1, 2}, kAll, 0, kAll);
  EXPECT_TRUE(Legal({all, Reinit({3, 4}), Done({5, 6}, false)}));
  EXPECT_FALSE(Legal({all, Reinit({3, 4}), Wait({5, 6})}));
}

TEST(CompletionCheckerTest, AnUnknownCallTookEffectOnceOrNever) {
  const CompletionCall one = Complete({1, 2}, 1, 0, 1);
  const CompletionCall taker = Ended(Outcome::kUnknown, Wait({1, 2}));
  EXPECT_TRUE(Legal({one, taker, TryWait({3, 4}, false)}));
  EXPECT_TRUE(Legal({one, taker, TryWait({3, 4}, true)}));
  EXPECT_FALSE(Legal({taker, TryWait({3, 4}, true)}));
  const CompletionCall giver = Ended(Outcome::kUnknown, one);
  EXPECT_TRUE(Legal({giver, Wait({3, 4})}));
  EXPECT_FALSE(Legal({giver, Wait({3, 4}), Wait({3, 4})}));
}

TEST(CompletionCheckerTest, WhatAnUncertainTakerHadMayComeBackOnce) {
  const CompletionCall one = Complete({1, 2}, 1, 0, 1);
  const CompletionCall none = TryWait({3, 4}, false);
  const CompletionCall again = TryWait({5, 6}, true);
  const CompletionCall and_again = TryWait({7, 8}, true);
  for (const CompletionCall& taker :
       {Ended(Outcome::kUnknown, Wait({1, 2})), MayComeAgain(Wait({1, 2}))}) {
    EXPECT_TRUE(Legal({one, taker, none, again}));
    EXPECT_FALSE(Legal({one, taker, none, again, and_again}));
  }
  EXPECT_FALSE(Legal({one, Wait({1, 2}), none, again}));
}

TEST(CompletionCheckerTest, OnlyWhatSomebodyHadIsRedelivered) {
  const CompletionCall one = Complete({1, 2}, 1, 0, 1);
  const CompletionCall lost = Ended(Outcome::kUnknown, Wait({1, 2}));
  const CompletionCall again = Redelivered(Wait({3, 4}));
  EXPECT_TRUE(Legal({one, lost, again}));
  EXPECT_FALSE(Legal({one, again}));
  EXPECT_FALSE(Legal({one, Ended(Outcome::kNoEffect, lost), again}));
  EXPECT_FALSE(Legal({one, one, lost, again, again}));
  // Too late to have had it.
  EXPECT_FALSE(Legal({one, Ended(Outcome::kUnknown, Wait({5, 6})), again}));
}

TEST(CompletionCheckerTest, ARestartForgets) {
  const CompletionCall one = Complete({1, 2}, 1, 0, 1);
  EXPECT_TRUE(Legal({one, TryWait({5, 6}, false)}, {4}));
  EXPECT_FALSE(Legal({one, TryWait({5, 6}, true)}, {4}));
  // Nothing comes back, and nothing comes late.
  EXPECT_FALSE(Legal({one, Ended(Outcome::kUnknown, Wait({2, 3})),
                      TryWait({3, 3}, false), TryWait({5, 6}, true)},
                     {4}));
  EXPECT_FALSE(
      Legal({Ended(Outcome::kUnknown, one), TryWait({5, 6}, true)}, {4}));
}

TEST(CompletionCheckerTest, GenerationsRise) {
  EXPECT_TRUE(Legal({Complete({1, 2}, 1, 0, 1, 10), Wait({3, 4}, 11)}));
  EXPECT_FALSE(Legal({Complete({1, 2}, 1, 0, 1, 11), Wait({3, 4}, 10)}));
  EXPECT_TRUE(Legal({Complete({1, 2}, 1, 0, 1, 10), Reinit({3, 4}, 11)}));
  EXPECT_FALSE(Legal({Complete({1, 2}, 1, 0, 1, 10), Reinit({3, 4}, 10)}));
  EXPECT_TRUE(Legal({Wait({1, 9}, 11), Complete({3, 4}, 1, 1, 0, 11)}));
  EXPECT_FALSE(Legal({Wait({1, 9}, 11), Complete({3, 4}, 1, 1, 0, 10)}));
  // Also over a restart.
  const CompletionCall before = Complete({1, 2}, 1, 0, 1, 11);
  EXPECT_TRUE(Legal({before, Complete({5, 6}, 1, 0, 1, 12)}, {4}));
  EXPECT_FALSE(Legal({before, Complete({5, 6}, 1, 0, 1, 11)}, {4}));
}

}  // namespace
}  // namespace waitq::history
