// Histories as text, and what is left of them when they are shrunk.

#include "tests/history/text.h"

#include <cstdint>
#include <string>

#include "gtest/gtest.h"
#include "tests/history/check.h"
#include "tests/history/shrink.h"

namespace waitq::history {
namespace {

History All() {
  History history;
  WordCall& wait = history.words.emplace_back();
  wait.object = "r1/w";
  wait.client = 3;
  wait.invoked = 5;
  wait.returned = 9;
  wait.outcome = Outcome::kDone;
  wait.kind = WordCall::Kind::kWait;
  wait.condition = {Condition::Test::kGreaterOrEqual, -2};
  wait.action = {Action::Change::kAdd, -1};
  wait.then_wake = wait.undo = true;
  wait.undone_from = 10;
  wait.value_before = -1;
  wait.value_after = -2;
  wait.generation = ~uint64_t{0};
  wait.may_be_passed_on = true;
  history.words.push_back(wait);
  history.words.back().kind = WordCall::Kind::kWakeUp;
  history.words.back().condition = {};
  history.words.back().outcome = Outcome::kUnknown;
  history.words.back().returned = kNever;
  history.words.back().grant = 4;
  CompletionCall& complete = history.completions.emplace_back();
  complete.object = "c";
  complete.kind = CompletionCall::Kind::kComplete;
  complete.outcome = Outcome::kNoEffect;
  complete.nr = CompletionCall::kAll;
  PipeCall& read = history.pipes.emplace_back();
  read.object = "p";
  read.kind = PipeCall::Kind::kRead;
  read.outcome = Outcome::kDone;
  read.data = std::string("a b=\n\0\xff\\#", 9);
  read.hold_id = 3;
  read.taken = false;
  history.pipes.push_back(read);
  history.pipes.back().kind = PipeCall::Kind::kAccept;
  history.pipes.back().stale = true;
  history.restarts = {7};
  history.pipe_options["p"] = {.packets = true, .atomic_max_bytes = 24};
  history.left = {{"p", 12, {{3, "x y"}, {9, ""}}}, {"q", 1, {}}};
  return history;
}

TEST(HistoryTextTest, WhatIsWrittenIsReadBack) {
  const std::string text = ToText(All());
  const auto read = ParseHistory("# for people\n\n" + text);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(ToText(*read), text);
  ASSERT_EQ(read->words.size(), 2u);
  EXPECT_EQ(read->words[0].condition.operand, -2);
  EXPECT_EQ(read->words[0].generation, ~uint64_t{0});
  EXPECT_EQ(read->words[0].undone_by, kNever);
  EXPECT_EQ(read->words[1].returned, kNever);
  EXPECT_EQ(read->completions.at(0).nr, CompletionCall::kAll);
  EXPECT_EQ(read->pipes.at(0).data, All().pipes[0].data);
  EXPECT_FALSE(read->pipes.at(0).taken);
  EXPECT_EQ(read->restarts, All().restarts);
  EXPECT_TRUE(read->pipe_options.at("p").packets);
  ASSERT_EQ(read->left.size(), 2u);
  EXPECT_EQ(read->left[0].chunks.at(0).data, "x y");
}

TEST(HistoryTextTest, WhatCannotBeReadIsNamed) {
  const auto wrong = [](const std::string& text) {
    return std::string(ParseHistory(text).status().message());
  };
  EXPECT_EQ(wrong("restart at=1\nwood kind=Wait"), "line 2: wood");
  EXPECT_EQ(wrong("word outcome=DONE kind=Sleep"), "line 1: kind");
  EXPECT_EQ(wrong("word outcome=DONE"), "line 1: kind");
  EXPECT_EQ(wrong("word outcome=DONE kind=Get after=x"), "line 1: after");
  EXPECT_EQ(wrong("word outcome=DONE kind=Get colour=1"), "line 1: colour");
}

TEST(HistoryShrinkTest, WhatIsNotNeededIsLeftOut) {
  const auto history = ParseHistory(
      "word kind=Store object=w client=1 invoked=1 returned=2 outcome=DONE "
      "action=set:5\n"
      "word kind=Get object=w client=1 invoked=3 returned=4 outcome=DONE "
      "after=5\n"
      // This one cannot be.
      "word kind=Get object=w client=1 invoked=5 returned=6 outcome=DONE "
      "after=7\n"
      "word kind=Store object=w client=1 invoked=7 returned=8 outcome=DONE "
      "before=9\n"
      "word kind=Store object=w client=1 invoked=4 returned=9 outcome=DONE "
      "before=5\n"
      "word kind=Get object=v client=1 invoked=1 returned=2 outcome=DONE "
      "after=3\n"
      "restart at=10\n");
  ASSERT_TRUE(history.ok()) << history.status();
  const History small = Shrink(*history, "w");
  EXPECT_EQ(
      ToText(small),
      "word kind=Store object=w client=1 invoked=0 returned=1 outcome=DONE "
      "action=set:5\n"
      "word kind=Store object=w client=1 invoked=3 returned=8 "
      "outcome=UNKNOWN outlives_restarts=1\n"
      "word kind=Get object=w client=1 invoked=4 returned=5 outcome=DONE "
      "after=7\n");
  EXPECT_FALSE(Check(small).violations.empty());
}

TEST(HistoryShrinkTest, WhatCanBeStays) {
  const auto history = ParseHistory(
      "word kind=Get object=w client=1 invoked=1 returned=2 outcome=DONE\n"
      "word kind=Get object=v client=1 invoked=1 returned=2 outcome=DONE "
      "after=3\n");
  ASSERT_TRUE(history.ok()) << history.status();
  EXPECT_EQ(
      ToText(Shrink(*history, "w")),
      "word kind=Get object=w client=1 invoked=0 returned=1 outcome=DONE\n");
}

}  // namespace
}  // namespace waitq::history
