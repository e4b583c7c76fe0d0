// Each rule of the word, with a history that keeps it and one that breaks it.

#include "tests/history/word_checker.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace waitq::history {
namespace {

using Kind = WordCall::Kind;
using If = Condition::Test;
using Change = Action::Change;

constexpr Action kNothing;
constexpr Condition kAWake;
constexpr Action kAddOne = {Change::kAdd, 1};
constexpr Action kTakeOne = {Change::kAdd, -1};
constexpr Condition kPositive = {If::kGreater, 0};

// When, and by whom: each call is of a client of its own.
struct At {
  int64_t invoked;
  int64_t returned;
};

WordCall Make(At at, Kind kind) {
  static int client = 0;
  WordCall call;
  call.object = "q";
  call.client = ++client;
  call.invoked = at.invoked;
  call.returned = at.returned;
  call.outcome = Outcome::kDone;
  call.kind = kind;
  return call;
}
WordCall Wait(At at, Condition condition, Action then, int64_t before,
              int64_t after, uint64_t generation = 0) {
  WordCall call = Make(at, Kind::kWait);
  call.condition = condition;
  call.action = then;
  call.value_before = before;
  call.value_after = after;
  call.generation = generation;
  return call;
}
WordCall WakeUp(At at, Action update, int64_t value, uint64_t woken,
                uint64_t generation = 0) {
  WordCall call = Make(at, Kind::kWakeUp);
  call.action = update;
  call.value_after = value;
  call.woken = woken;
  call.generation = generation;
  return call;
}
WordCall Store(At at, int64_t value, int64_t before, uint64_t generation = 0) {
  WordCall call = Make(at, Kind::kStore);
  call.action = {Change::kSet, value};
  call.value_before = before;
  call.generation = generation;
  return call;
}
WordCall Get(At at, int64_t value, uint64_t generation = 0) {
  WordCall call = Make(at, Kind::kGet);
  call.value_after = value;
  call.generation = generation;
  return call;
}
// The same call, with another end.
WordCall Ended(Outcome outcome, WordCall call) {
  call.outcome = outcome;
  return call;
}

Report Check(std::vector<WordCall> calls, std::vector<int64_t> restarts = {}) {
  History history;
  history.words = std::move(calls);
  history.restarts = std::move(restarts);
  return CheckWords(history);
}
bool Legal(std::vector<WordCall> calls, std::vector<int64_t> restarts = {}) {
  const Report report = Check(std::move(calls), std::move(restarts));
  EXPECT_TRUE(report.undecided.empty());
  return report.ok();
}

TEST(WordCheckerTest, NothingIsLegal) { EXPECT_TRUE(Legal({})); }

TEST(WordCheckerTest, TheFirstValueIs0) {
  EXPECT_TRUE(Legal({Get({1, 2}, 0)}));
  EXPECT_FALSE(Legal({Get({1, 2}, 1)}));
}

TEST(WordCheckerTest, AReadSeesTheLastWriteBeforeIt) {
  EXPECT_TRUE(Legal({Store({1, 2}, 5, 0), Get({3, 4}, 5)}));
  EXPECT_FALSE(Legal({Store({1, 2}, 5, 0), Get({3, 4}, 0)}));
  // At the same time: either.
  EXPECT_TRUE(Legal({Store({1, 4}, 5, 0), Get({3, 4}, 0)}));
}

TEST(WordCheckerTest, AWaitTakesOnceWhatWasGivenOnce) {
  const WordCall gives = WakeUp({1, 2}, kAddOne, 1, 0);
  const WordCall takes = Wait({3, 9}, kPositive, kTakeOne, 1, 0);
  EXPECT_TRUE(Legal({gives, takes}));
  EXPECT_FALSE(Legal({gives, takes, takes}));
}

TEST(WordCheckerTest, AWaitsConditionHeld) {
  EXPECT_TRUE(Legal({Wait({1, 2}, {If::kEqual, 0}, kNothing, 0, 0)}));
  EXPECT_FALSE(Legal({Wait({1, 2}, kPositive, kNothing, 0, 0)}));
}

TEST(WordCheckerTest, EveryConditionIsUnderstood) {
  const std::pair<Condition, bool> at_6[] = {
      {{If::kEqual, 6}, true},          {{If::kEqual, 5}, false},
      {{If::kNotEqual, 5}, true},       {{If::kNotEqual, 6}, false},
      {{If::kLess, 7}, true},           {{If::kLess, 6}, false},
      {{If::kLessOrEqual, 6}, true},    {{If::kLessOrEqual, 5}, false},
      {{If::kGreater, 5}, true},        {{If::kGreater, 6}, false},
      {{If::kGreaterOrEqual, 6}, true}, {{If::kGreaterOrEqual, 7}, false},
      {{If::kAllBits, 6}, true},        {{If::kAllBits, 3}, false},
      {{If::kAnyBits, 3}, true},        {{If::kAnyBits, 1}, false},
  };
  for (const auto& [condition, holds] : at_6) {
    const WordCall wait = Wait({3, 4}, condition, kNothing, 6, 6);
    EXPECT_EQ(Legal({Store({1, 2}, 6, 0), wait}), holds) << ToString(wait);
    const WordCall timed_out = Ended(Outcome::kTimedOut, wait);
    EXPECT_EQ(Legal({Store({1, 2}, 6, 0), timed_out}), !holds)
        << ToString(timed_out);
  }
}

TEST(WordCheckerTest, EveryActionIsUnderstood) {
  const std::pair<Action, int64_t> at_6[] = {
      {{Change::kNone, 0}, 6}, {{Change::kSet, 9}, 9}, {{Change::kAdd, 9}, 15},
      {{Change::kAnd, 3}, 2},  {{Change::kOr, 8}, 14},
  };
  for (const auto& [action, after] : at_6) {
    const WordCall store = Store({1, 2}, 6, 0);
    EXPECT_TRUE(Legal({store, Wait({3, 4}, {If::kEqual, 6}, action, 6, after),
                       Get({5, 6}, after)}));
    EXPECT_FALSE(
        Legal({store, Wait({3, 4}, {If::kEqual, 6}, action, 6, after + 1)}));
    EXPECT_TRUE(Legal({store, WakeUp({3, 4}, action, after, 0)}));
    EXPECT_FALSE(Legal({store, WakeUp({3, 4}, action, after + 1, 0)}));
  }
}

TEST(WordCheckerTest, WhoGaveUpHadAMomentWithoutItsCondition) {
  for (const Outcome outcome :
       {Outcome::kTimedOut, Outcome::kWouldBlock, Outcome::kInterrupted}) {
    const WordCall wait = Wait({3, 9}, kPositive, kNothing, 0, 0);
    EXPECT_TRUE(Legal({Store({1, 4}, 1, 0), Ended(outcome, wait)}));
    EXPECT_FALSE(Legal({Store({1, 2}, 1, 0), Ended(outcome, wait)}));
    // It was false for a while.
    EXPECT_TRUE(Legal({Store({1, 2}, 1, 0), Store({4, 5}, 0, 1),
                       Store({6, 7}, 1, 0), Ended(outcome, wait)}));
  }
  // Nobody tests for one that was cancelled.
  EXPECT_TRUE(Legal(
      {Store({1, 2}, 1, 0),
       Ended(Outcome::kNoEffect, Wait({3, 9}, kPositive, kNothing, 0, 0))}));
  // No test can find that a wake has come.
  EXPECT_TRUE(
      Legal({Ended(Outcome::kTimedOut, Wait({3, 9}, kAWake, kNothing, 0, 0))}));
}

TEST(WordCheckerTest, WhatFailedHasDoneNothing) {
  const WordCall failed = Ended(Outcome::kNoEffect, Store({1, 2}, 5, 0));
  EXPECT_TRUE(Legal({failed, Get({3, 4}, 0)}));
  EXPECT_FALSE(Legal({failed, Get({3, 4}, 5)}));
}

TEST(WordCheckerTest, AWakeUpTellsTheWordAfterThoseItWoke) {
  const WordCall sleeper = Wait({1, 9}, kPositive, kTakeOne, 1, 0);
  EXPECT_TRUE(Legal({sleeper, WakeUp({3, 4}, kAddOne, 0, 1)}));
  EXPECT_FALSE(Legal({sleeper, WakeUp({3, 4}, kAddOne, 1, 1)}));
  // Not woken, but it found the word when it came.
  EXPECT_TRUE(Legal({sleeper, WakeUp({3, 4}, kAddOne, 1, 0)}));
}

TEST(WordCheckerTest, AWakeUpWakesAsManyAsItSays) {
  const WordCall one = Wait({1, 9}, kAWake, kNothing, 0, 0);
  const WordCall two = Wait({1, 9}, kAWake, kNothing, 0, 0);
  EXPECT_TRUE(Legal({one, two, WakeUp({3, 4}, kNothing, 0, 2)}));
  EXPECT_FALSE(Legal({one, two, WakeUp({3, 4}, kNothing, 0, 1)}));
  EXPECT_FALSE(Legal({one, two, WakeUp({3, 4}, kNothing, 0, 3)}));
  EXPECT_FALSE(Legal({one, WakeUp({3, 4}, kNothing, 0, 0)}));
}

TEST(WordCheckerTest, OnlyWhoSleepsIsWoken) {
  const WordCall wake = WakeUp({3, 4}, kNothing, 0, 1);
  EXPECT_TRUE(Legal({wake, Wait({4, 9}, kAWake, kNothing, 0, 0)}));
  EXPECT_FALSE(Legal({wake, Wait({5, 9}, kAWake, kNothing, 0, 0)}));
  EXPECT_FALSE(Legal({wake, Wait({1, 2}, kAWake, kNothing, 0, 0)}));
}

TEST(WordCheckerTest, AllThatAreWokenSleptAtOneMoment) {
  const WordCall wake = WakeUp({1, 20}, kNothing, 0, 2);
  EXPECT_TRUE(Legal({wake, Wait({2, 5}, kAWake, kNothing, 0, 0),
                     Wait({5, 9}, kAWake, kNothing, 0, 0)}));
  EXPECT_FALSE(Legal({wake, Wait({2, 5}, kAWake, kNothing, 0, 0),
                      Wait({6, 9}, kAWake, kNothing, 0, 0)}));
}

TEST(WordCheckerTest, NothingComesIntoAWalk) {
  // Between the update and the woken the word is 2 for nobody else.
  const Condition is_2 = {If::kEqual, 2};
  const WordCall sleeper = Wait({1, 9}, is_2, {Change::kSet, 0}, 2, 0);
  const WordCall wake = WakeUp({1, 9}, {Change::kSet, 2}, 0, 1);
  EXPECT_TRUE(Legal({sleeper, wake, Get({1, 9}, 0)}));
  EXPECT_FALSE(Legal({sleeper, wake, Get({1, 9}, 2)}));
}

TEST(WordCheckerTest, AnUnknownCallMayBeAmongTheWoken) {
  const WordCall wake = WakeUp({3, 4}, kAddOne, 0, 1);
  const WordCall sleeper = Wait({1, 2}, kPositive, kTakeOne, 0, 0);
  EXPECT_TRUE(Legal({wake, Ended(Outcome::kUnknown, sleeper)}));
  EXPECT_FALSE(Legal({wake, Ended(Outcome::kNoEffect, sleeper)}));
  EXPECT_FALSE(Legal({wake, wake, Ended(Outcome::kUnknown, sleeper)}));
}

TEST(WordCheckerTest, AThenWakeWakesOthers) {
  WordCall waker = Wait({2, 3}, {If::kEqual, 0}, kAddOne, 0, 1);
  const WordCall sleeper = Wait({1, 9}, kAWake, kNothing, 1, 1);
  EXPECT_FALSE(Legal({waker, sleeper}));
  waker.then_wake = true;
  EXPECT_TRUE(Legal({waker, sleeper}));
  EXPECT_FALSE(Legal({waker, Wait({4, 9}, kAWake, kNothing, 1, 1)}));
}

TEST(WordCheckerTest, AnUnknownCallTookEffectOnceOrNever) {
  const WordCall unknown =
      Ended(Outcome::kUnknown, WakeUp({1, 2}, kAddOne, 0, 0));
  EXPECT_TRUE(Legal({unknown, Get({3, 4}, 0)}));
  EXPECT_TRUE(Legal({unknown, Get({3, 4}, 1)}));
  EXPECT_TRUE(Legal({unknown, Get({3, 4}, 0), Get({5, 6}, 1)}));
  EXPECT_FALSE(Legal({unknown, Get({3, 4}, 1), Get({5, 6}, 0)}));
  EXPECT_FALSE(Legal({unknown, Get({3, 4}, 2)}));
  // Not before it was invoked.
  EXPECT_FALSE(Legal({Get({-1, 0}, 1), unknown}));
}

TEST(WordCheckerTest, AnUnknownWakeUpMayHaveWokenAny) {
  const WordCall one = Wait({1, 9}, kAWake, kNothing, 0, 0);
  const WordCall wake =
      Ended(Outcome::kUnknown, WakeUp({3, 4}, kNothing, 0, 0));
  EXPECT_TRUE(Legal({one, one, wake}));
  EXPECT_FALSE(Legal({one, Wait({10, 11}, kAWake, kNothing, 0, 0), wake}));
}

TEST(WordCheckerTest, TheWakeOfWhoIsUnknownMayBePassedOnOnce) {
  const WordCall gone =
      Ended(Outcome::kUnknown, Wait({1, 9}, kAWake, kNothing, 0, 0));
  const WordCall wake = WakeUp({3, 4}, kNothing, 0, 1);
  const WordCall next = Wait({1, 9}, kAWake, kNothing, 0, 0);
  EXPECT_TRUE(Legal({gone, wake, next}));
  EXPECT_FALSE(Legal({gone, wake, next, next}));
  // Also to one who came later.
  const WordCall late = Wait({6, 9}, kAWake, kNothing, 0, 0);
  EXPECT_TRUE(Legal({gone, wake, late}));
  EXPECT_FALSE(Legal({next, wake, late}));
  // Or of one who had it, and gave it back.
  WordCall returned = next;
  returned.may_be_passed_on = true;
  EXPECT_TRUE(Legal({returned, wake, late}));
}

TEST(WordCheckerTest, ARestartForgets) {
  const WordCall store = Store({1, 2}, 5, 0);
  EXPECT_TRUE(Legal({store, Get({6, 7}, 0)}, {4}));
  EXPECT_FALSE(Legal({store, Get({6, 7}, 5)}, {4}));
  // On both sides of it: the answer may be from before, or from after.
  EXPECT_TRUE(Legal({store, Get({3, 7}, 5)}, {4}));
  EXPECT_TRUE(Legal({store, Get({3, 7}, 0)}, {4}));
}

TEST(WordCheckerTest, WhatARestartMetHasNoEffectAfterIt) {
  const WordCall unknown = Ended(Outcome::kUnknown, Store({1, 2}, 5, 0));
  EXPECT_TRUE(Legal({unknown, Get({3, 7}, 5)}, {4}));
  EXPECT_FALSE(Legal({unknown, Get({6, 7}, 5)}, {4}));
}

TEST(WordCheckerTest, WhatWasSentAfterARestartMayHave) {
  WordCall unknown = Ended(Outcome::kUnknown, Store({1, 2}, 5, 0));
  unknown.outlives_restarts = true;
  EXPECT_TRUE(Legal({unknown, Get({6, 7}, 5)}, {4}));
  EXPECT_FALSE(Legal({unknown, Get({2, 3}, 5), Get({6, 7}, 5)}, {4}));
}

// --- Grants ------------------------------------------------------------------

constexpr Condition kFree = {If::kEqual, 0};
constexpr Action kLock = {Change::kSet, 1};

// A permit of two, with that number.
WordCall Permit(At at, int64_t before, uint64_t generation) {
  WordCall call = Wait(at, kPositive, kTakeOne, before, before - 1, generation);
  call.undo = true;
  return call;
}
WordCall Locked(At at, uint64_t generation) {
  WordCall call = Wait(at, kFree, kLock, 0, 1, generation);
  call.undo = true;
  return call;
}
WordCall Undone(int64_t from, int64_t by, WordCall call) {
  call.undone_from = from;
  call.undone_by = by;
  return call;
}
WordCall GiveBack(At at, uint64_t grant, int64_t value, uint64_t generation) {
  WordCall call = WakeUp(at, kNothing, value, 0, generation);
  call.grant = grant;
  return call;
}

TEST(WordCheckerTest, AGrantIsUndoneOnce) {
  const WordCall two = Store({1, 2}, 2, 0, 10);
  const WordCall permit = Permit({3, 4}, 2, 11);
  EXPECT_FALSE(Legal({two, permit, Get({7, 8}, 2)}));
  EXPECT_TRUE(Legal({two, Undone(4, kNever, permit), Get({7, 8}, 2)}));
  EXPECT_TRUE(Legal({two, Undone(4, kNever, permit), Get({7, 8}, 1)}));
  EXPECT_FALSE(Legal({two, Undone(4, kNever, permit), Get({7, 8}, 3)}));
  // Not before it may be, and by then for certain.
  EXPECT_FALSE(Legal({two, Undone(9, kNever, permit), Get({7, 8}, 2)}));
  EXPECT_FALSE(Legal({two, Undone(5, 6, permit), Get({7, 8}, 1)}));
  EXPECT_TRUE(Legal({two, Undone(5, 6, permit), Get({7, 8}, 2)}));
}

TEST(WordCheckerTest, AGrantThatWasGivenBackIsNotUndone) {
  const WordCall two = Store({1, 2}, 2, 0, 10);
  const WordCall permit = Undone(3, kNever, Permit({3, 4}, 2, 11));
  const WordCall back = GiveBack({5, 6}, 11, 2, 12);
  EXPECT_TRUE(Legal({two, permit, back, Get({7, 8}, 2)}));
  EXPECT_FALSE(Legal({two, permit, back, Get({7, 8}, 3)}));
  // Nor given back twice, nor one that nobody was granted.
  EXPECT_FALSE(Legal({two, permit, back, GiveBack({7, 8}, 11, 3, 13)}));
  EXPECT_FALSE(Legal({two, permit, back, GiveBack({7, 8}, 11, 2, 13)}));
  EXPECT_FALSE(Legal({two, permit, GiveBack({5, 6}, 9, 2, 12)}));
  // Whoever does not know whether he has given it back may have.
  const WordCall unknown = Ended(Outcome::kUnknown, back);
  EXPECT_TRUE(Legal({two, permit, unknown, Get({7, 8}, 2)}));
  EXPECT_FALSE(Legal({two, permit, unknown, Get({7, 8}, 3)}));
}

TEST(WordCheckerTest, ALockIsUndoneUnlessTheWordWasChangedSince) {
  const WordCall locked = Undone(3, 6, Locked({1, 2}, 10));
  EXPECT_TRUE(Legal({locked, Get({7, 8}, 0)}));
  EXPECT_FALSE(Legal({locked, Get({7, 8}, 1)}));
  const WordCall store = Store({3, 3}, 1, 1, 11);
  EXPECT_TRUE(Legal({locked, store, Get({7, 8}, 1)}));
  EXPECT_FALSE(
      Legal({Undone(4, 6, Locked({1, 2}, 10)), store, Get({7, 8}, 0)}));
  // The next one has another.
  const WordCall next = Locked({7, 8}, 12);
  EXPECT_TRUE(Legal({locked, next}));
  EXPECT_FALSE(Legal({Locked({1, 2}, 10), next}));
}

TEST(WordCheckerTest, AWakeFollowsWhatIsUndone) {
  const WordCall sleeper = Wait({1, 9}, kAWake, kNothing, 0, 0);
  const WordCall locked = Locked({2, 3}, 10);
  EXPECT_FALSE(Legal({sleeper, locked}));
  EXPECT_TRUE(Legal({sleeper, Undone(4, kNever, locked)}));
}

TEST(WordCheckerTest, ARestartForgetsGrants) {
  const WordCall locked = Undone(2, kNever, Locked({1, 2}, 10));
  const WordCall store = Store({5, 6}, 1, 0, 20);
  EXPECT_FALSE(Legal({locked, store, GiveBack({7, 8}, 10, 0, 21)}, {4}));
  EXPECT_FALSE(Legal({locked, store, Get({7, 8}, 0)}, {4}));
  EXPECT_TRUE(Legal({locked, store, Get({7, 8}, 1)}, {4}));
}

TEST(WordCheckerTest, GenerationsRise) {
  EXPECT_TRUE(Legal({Store({1, 9}, 5, 0, 10), Store({1, 9}, 6, 5, 11)}));
  EXPECT_FALSE(Legal({Store({1, 9}, 5, 0, 11), Store({1, 9}, 6, 5, 10)}));
  EXPECT_FALSE(Legal({Store({1, 9}, 5, 0, 11), Store({1, 9}, 6, 5, 11)}));
  // Also over a restart.
  EXPECT_TRUE(Legal({Store({1, 2}, 5, 0, 11), Store({5, 6}, 6, 0, 12)}, {4}));
  EXPECT_FALSE(Legal({Store({1, 2}, 5, 0, 11), Store({5, 6}, 6, 0, 10)}, {4}));
  EXPECT_FALSE(Legal({Store({1, 2}, 5, 0, 11), Get({5, 6}, 0, 10)}, {4}));
}

TEST(WordCheckerTest, WhoLooksSeesTheLastGeneration) {
  const WordCall store = Store({1, 2}, 5, 0, 10);
  EXPECT_TRUE(Legal({store, Get({3, 4}, 5, 10)}));
  EXPECT_FALSE(Legal({store, Get({3, 4}, 5, 9)}));
  EXPECT_FALSE(Legal({store, Get({3, 4}, 5, 11)}));
  const WordCall unknown =
      Ended(Outcome::kUnknown, WakeUp({1, 2}, kNothing, 0, 0));
  EXPECT_TRUE(Legal({store, unknown, Get({3, 4}, 5, 11)}));
}

TEST(WordCheckerTest, AWakeUpHasTheGenerationOfTheLastThatItWoke) {
  const WordCall sleeper = Wait({1, 9}, kPositive, kTakeOne, 1, 0, 12);
  EXPECT_TRUE(Legal({sleeper, WakeUp({3, 4}, kAddOne, 0, 1, 12)}));
  EXPECT_FALSE(Legal({sleeper, WakeUp({3, 4}, kAddOne, 0, 1, 11)}));
  EXPECT_FALSE(Legal({sleeper, WakeUp({3, 4}, kAddOne, 0, 1, 13)}));
}

TEST(WordCheckerTest, TheReportNamesTheCalls) {
  const Report report = Check({Store({1, 2}, 5, 0), Get({3, 4}, 7),
                               Ended(Outcome::kUnknown, Store({5, 6}, 8, 0))});
  ASSERT_EQ(report.violations.size(), 1u);
  EXPECT_EQ(report.calls, 3);
  EXPECT_EQ(report.unknown, 1);
  EXPECT_EQ(report.objects, 1);
  const std::string text = report.ToString();
  EXPECT_NE(text.find("q.Store(5)"), std::string::npos) << text;
  EXPECT_NE(text.find("q.Get() = DONE 7"), std::string::npos) << text;
}

TEST(WordCheckerTest, TheReportSaysWhenItDoesNotKnow) {
  History history;
  for (int i = 0; i < 12; ++i) {
    history.words.push_back(
        Ended(Outcome::kUnknown, WakeUp({1, 2}, {Change::kAdd, 1 << i}, 0, 0)));
  }
  history.words.push_back(Get({3, 4}, -1));
  const Report report = CheckWords(history, {.max_steps = 100});
  EXPECT_FALSE(report.ok());
  EXPECT_TRUE(report.violations.empty());
  ASSERT_EQ(report.undecided.size(), 1u);
  EXPECT_EQ(report.undecided[0], "q");
  EXPECT_FALSE(CheckWords(history).violations.empty());
}

}  // namespace
}  // namespace waitq::history
