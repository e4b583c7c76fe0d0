// What a session has taken of a word, and what becomes of it when the session
// ends: grants are undone, wakes are passed on.

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <variant>

#include "absl/time/time.h"
#include "client/error.h"
#include "gtest/gtest.h"
#include "server/engine/limits.h"
#include "server/engine/wait_queue_object.h"
#include "tests/sessions/sessions_fixture.h"

namespace waitq::sim {
namespace {

class GrantsTest : public SessionsFixture {
 protected:
  explicit GrantsTest(const engine::Limits& limits = {})
      : SessionsFixture(limits) {}

  // A program that is gone without a word, and whose grace ends.
  void Die(Program& program) {
    program.end().Crash(/*told=*/0);
    RunFor(kGrace + absl::Seconds(1));
  }
  uint64_t GrantsOf(const std::string& word) {
    const auto stat = engine().Stat(word);
    if (!stat.ok()) return 0;
    return std::get<engine::WordResult>(stat->state).grants;
  }
  // What the one who took it knows it by.
  static uint64_t NumberOf(const Call& call) {
    return call.result.wait().generation();
  }
};

v1::Operation Lock(const std::string& word) {
  v1::Operation operation;
  operation.mutable_wait()->set_name(word);
  operation.mutable_wait()->mutable_condition()->set_equal(0);
  operation.mutable_wait()->mutable_then()->set_set(1);
  operation.mutable_wait()->mutable_undo();
  return operation;
}

// One of so many.
v1::Operation Enter(const std::string& word, int64_t most) {
  v1::Operation operation;
  operation.mutable_wait()->set_name(word);
  operation.mutable_wait()->mutable_condition()->set_less(most);
  operation.mutable_wait()->mutable_then()->set_add(1);
  operation.mutable_wait()->mutable_undo();
  return operation;
}

v1::Operation Give(const std::string& word, uint64_t grant) {
  v1::Operation operation;
  operation.mutable_wake_up()->set_name(word);
  operation.mutable_wake_up()->set_grant(grant);
  return operation;
}

v1::Operation Store(const std::string& word, int64_t value) {
  v1::Operation operation;
  operation.mutable_store()->set_name(word);
  operation.mutable_store()->set_value(value);
  return operation;
}

v1::Operation Remove(const std::string& name, bool force) {
  v1::Operation operation;
  operation.mutable_remove()->set_name(name);
  operation.mutable_remove()->set_force(force);
  return operation;
}

// Sleeps until a wake comes.
v1::Operation AwaitAWake(const std::string& word, bool exclusive) {
  v1::Operation operation;
  operation.mutable_wait()->set_name(word);
  operation.mutable_wait()->set_exclusive(exclusive);
  return operation;
}

v1::Operation WakeOne(const std::string& word) {
  v1::Operation operation;
  operation.mutable_wake_up()->set_name(word);
  return operation;
}

// --- Their end ---------------------------------------------------------------

TEST_F(GrantsTest, ALockIsLetGoOfWhenItsHolderDies) {
  Program& dead = NewProgram();
  Program& next = NewProgram();
  const Call& held = Do(dead, Lock("l"));
  const Call& waits = Do(next, Lock("l"));
  ASSERT_TRUE(held.done());
  EXPECT_TRUE(waits.asleep());
  Die(dead);
  ASSERT_TRUE(waits.done());
  EXPECT_EQ(WordOf("l"), 1);
  EXPECT_GT(NumberOf(waits), NumberOf(held)) << "the fencing token";
  Do(next, Give("l", NumberOf(waits)));
  EXPECT_EQ(WordOf("l"), 0);
}

TEST_F(GrantsTest, ADeadSleeperIsNotGranted) {
  Program& holder = NewProgram();
  Program& dead = NewProgram();
  Program& next = NewProgram();
  const Call& held = Do(holder, Lock("l"));
  Do(dead, Lock("l"));
  const Call& waits = Do(next, Lock("l"));
  dead.end().Crash(/*told=*/0);
  Do(holder, Give("l", NumberOf(held)));
  EXPECT_TRUE(waits.done());
  RunFor(kGrace + absl::Seconds(1));
  EXPECT_EQ(WordOf("l"), 1);
  EXPECT_EQ(GrantsOf("l"), 1u);
}

TEST_F(GrantsTest, AGrantWhoseResultNobodyHasSeenIsUndone) {
  Program& holder = NewProgram();
  Program& deaf = NewProgram();
  Program& next = NewProgram();
  const Call& held = Do(holder, Lock("l"));
  Do(deaf, Lock("l"));
  // Not told that its client is gone, the server gives it what comes.
  deaf.end().Crash(/*told=*/kForever);
  Do(holder, Give("l", NumberOf(held)));
  EXPECT_EQ(GrantsOf("l"), 1u) << "the deaf one's";
  const Call& waits = Do(next, Lock("l"));
  EXPECT_TRUE(waits.asleep());
  RunFor(kGrace + absl::Seconds(2));
  EXPECT_TRUE(waits.done());
  EXPECT_EQ(GrantsOf("l"), 1u);
}

TEST_F(GrantsTest, AGoodbyeUndoesThemAtOnce) {
  Program& leaves = NewProgram();
  Program& next = NewProgram();
  Do(leaves, Lock("l"));
  const Call& waits = Do(next, Lock("l"));
  leaves.machine().Close();
  Settle();
  EXPECT_TRUE(waits.done());
}

// Guards GiveBack() of a wait: its caller has thought better of it.
TEST_F(GrantsTest, AGrantThatIsReturnedUnusedIsUndone) {
  Program& program = NewProgram();
  Program& next = NewProgram();
  Call& held = Do(program, Lock("l"), {.keep = true});
  const Call& waits = Do(next, Lock("l"));
  program.Return(held);
  Settle();
  EXPECT_TRUE(waits.done());
  EXPECT_EQ(GrantsOf("l"), 1u);
}

TEST_F(GrantsTest, ASemaphoreGetsBackAsMuchAsTheDeadHad) {
  Program& dead = NewProgram();
  Program& other = NewProgram();
  Do(dead, Enter("s", 3));
  Do(dead, Enter("s", 3));
  Do(other, Enter("s", 3));
  const Call& fourth = Do(other, Enter("s", 3));
  const Call& fifth = Do(other, Enter("s", 3));
  EXPECT_TRUE(fourth.asleep());
  Die(dead);
  EXPECT_TRUE(fourth.done());
  EXPECT_TRUE(fifth.done());
  EXPECT_EQ(WordOf("s"), 3);
  EXPECT_EQ(GrantsOf("s"), 3u);
}

// Guards MayFollow(): two slept on beside free permits.
TEST_F(GrantsTest, PermitsThatComeBackTogetherAreForAsManyAsTheySuffice) {
  for (const bool dies : {false, true}) {
    Program& program = NewProgram();
    Program& other = NewProgram();
    v1::Operation three = Enter("s", 1);
    three.mutable_wait()->mutable_then()->set_add(3);
    const Call& held = Do(program, three);
    std::vector<const Call*> waits;
    for (int i = 0; i < 4; ++i) waits.push_back(&Do(other, Enter("s", 3)));
    EXPECT_TRUE(waits[0]->asleep());
    if (dies) {
      Die(program);
    } else {
      Do(program, Give("s", NumberOf(held)));
    }
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(waits[i]->done()) << i;
    EXPECT_TRUE(waits[3]->asleep());
    EXPECT_EQ(WordOf("s"), 3);
    Die(other);
    EXPECT_EQ(WordOf("s"), 0);
  }
}

// --- Giving them back --------------------------------------------------------

TEST_F(GrantsTest, WhatWasGivenBackIsNotUndone) {
  Program& program = NewProgram();
  const Call& held = Do(program, Enter("s", 3));
  Do(program, Give("s", NumberOf(held)));
  EXPECT_EQ(WordOf("s"), 0);
  EXPECT_EQ(GrantsOf("s"), 0u);
  Do(program, Enter("s", 3));
  Die(program);
  EXPECT_EQ(WordOf("s"), 0) << "undone once";
}

TEST_F(GrantsTest, AGrantIsGivenBackOnce) {
  Program& program = NewProgram();
  const Call& held = Do(program, Lock("l"));
  Do(program, Give("l", NumberOf(held)));
  const Call& next = Do(program, Lock("l"));
  EXPECT_EQ(Do(program, Give("l", NumberOf(held))).reason(), "ESTALE");
  EXPECT_EQ(WordOf("l"), 1) << "it is another's";
  EXPECT_TRUE(Do(program, Give("l", NumberOf(next))).done());
}

TEST_F(GrantsTest, WhoComesBackTooLateGivesNothingBack) {
  Program& late = NewProgram();
  Program& next = NewProgram();
  const Call& held = Do(late, Lock("l"));
  Die(late);
  const Call& holds = Do(next, Lock("l"));
  ASSERT_TRUE(holds.done());
  EXPECT_EQ(Do(next, Give("l", NumberOf(held))).reason(), "ESTALE");
  EXPECT_EQ(WordOf("l"), 1);
}

TEST_F(GrantsTest, AnUpdateMayKeepWhatWasGranted) {
  Program& program = NewProgram();
  const Call& held = Do(program, Enter("s", 3));
  v1::Operation keep = Give("s", NumberOf(held));
  keep.mutable_wake_up()->mutable_update()->set_add(0);
  Do(program, keep);
  Die(program);
  EXPECT_EQ(WordOf("s"), 1);
}

// --- How it is undone --------------------------------------------------------

TEST_F(GrantsTest, ASetPutsBackWhatWasThere) {
  Program& program = NewProgram();
  Program& other = NewProgram();
  Do(other, Store("w", 7));
  v1::Operation take = Lock("w");
  take.mutable_wait()->mutable_condition()->set_equal(7);
  Do(program, take);
  // A wake without an update changes nothing about it.
  Do(other, WakeOne("w"));
  Die(program);
  EXPECT_EQ(WordOf("w"), 7);
}

TEST_F(GrantsTest, ASetIsNotUndoneIfTheWordWasChangedSince) {
  Program& program = NewProgram();
  Program& other = NewProgram();
  for (const bool by_store : {false, true}) {
    Program& dead = NewProgram();
    Do(dead, Lock("w"));
    // To what it is: changed all the same.
    if (by_store) {
      Do(other, Store("w", 1));
    } else {
      Do(other, Add("w", 0));
    }
    Die(dead);
    EXPECT_EQ(WordOf("w"), 1);
    EXPECT_EQ(GrantsOf("w"), 0u);
    Do(program, Store("w", 0));
  }
}

TEST_F(GrantsTest, AnAddIsUndoneWhateverHasHappenedSince) {
  Program& program = NewProgram();
  Program& other = NewProgram();
  Do(program, Enter("s", 3));
  Do(other, Store("s", 10));
  Die(program);
  EXPECT_EQ(WordOf("s"), 9);
}

TEST_F(GrantsTest, WhatHasNoOppositeThereIsLeftAlone) {
  Program& program = NewProgram();
  Program& other = NewProgram();
  Do(program, Enter("s", 3));
  Do(other, Store("s", std::numeric_limits<int64_t>::min()));
  Die(program);
  EXPECT_EQ(WordOf("s"), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(GrantsOf("s"), 0u);
}

// A barrier's: who has passed it has arrived for good.
TEST_F(GrantsTest, WhatIsUndoneOnlyWhileIsKeptAfterwards) {
  Program& early = NewProgram();
  Program& other = NewProgram();
  v1::Operation arrive = Enter("b", 2);
  arrive.mutable_wait()->mutable_undo()->mutable_only_while()->set_less(2);
  Do(early, arrive);
  Die(early);
  EXPECT_EQ(WordOf("b"), 0) << "not yet passed";
  Program& first = NewProgram();
  Do(first, arrive);
  Do(other, arrive);
  EXPECT_EQ(WordOf("b"), 2);
  Die(first);
  EXPECT_EQ(WordOf("b"), 2);
  EXPECT_EQ(GrantsOf("b"), 1u);
}

TEST_F(GrantsTest, AnotherActionMayBeDoneInstead) {
  Program& dead = NewProgram();
  Program& other = NewProgram();
  v1::Operation arrive = Enter("b", 2);
  arrive.mutable_wait()->mutable_undo()->mutable_instead()->set_set(-1);
  Do(dead, arrive);
  v1::Operation broken;
  broken.mutable_wait()->set_name("b");
  broken.mutable_wait()->mutable_condition()->set_less(0);
  const Call& told = Do(other, broken);
  Die(dead);
  EXPECT_TRUE(told.done());
  EXPECT_EQ(WordOf("b"), -1);
}

// --- What goes with them -----------------------------------------------------

TEST_F(GrantsTest, AnObjectWithGrantsIsBusy) {
  Program& program = NewProgram();
  const Call& held = Do(program, Lock("l"));
  EXPECT_EQ(Do(program, Remove("l", false)).reason(), "EBUSY");
  EXPECT_TRUE(Do(program, Remove("l", true)).done());
  // The grant went with it.
  EXPECT_EQ(Do(program, Give("l", NumberOf(held))).reason(), "ESTALE");
  const Call& next = Do(program, Lock("l"));
  Die(program);
  EXPECT_GT(NumberOf(next), NumberOf(held));
  EXPECT_EQ(WordOf("l"), 0);
}

TEST_F(GrantsTest, AWordWithGrantsIsNotForgotten) {
  Program& program = NewProgram();
  Program& other = NewProgram();
  v1::Operation nothing = Enter("s", 3);
  nothing.mutable_wait()->mutable_then()->set_add(0);
  const Call& held = Do(program, nothing);
  Do(other, Get("x"));
  RunFor(absl::Minutes(5));
  EXPECT_TRUE(Do(program, Give("s", NumberOf(held))).done());
}

TEST_F(GrantsTest, WhoGivesBackWhatWasNeverThereMakesNothing) {
  Program& program = NewProgram();
  EXPECT_EQ(Do(program, Give("never", 7)).reason(), "ESTALE");
  EXPECT_EQ(Do(program, Get("never")).reason(), "ENOENT");
}

TEST_F(GrantsTest, WhatCannotBeUndoneIsRefused) {
  Program& program = NewProgram();
  v1::Operation bits = Lock("l");
  bits.mutable_wait()->mutable_then()->set_or_bits(4);
  EXPECT_EQ(Do(program, bits).reason(), "EINVAL");
  bits.mutable_wait()->mutable_undo()->mutable_instead()->set_and_bits(~4ull);
  EXPECT_TRUE(Do(program, bits).done());
  EXPECT_EQ(WordOf("l"), 4);
  v1::Operation none = Lock("l");
  none.mutable_wait()->clear_then();
  EXPECT_EQ(Do(program, none).reason(), "EINVAL");
  Die(program);
  EXPECT_EQ(WordOf("l"), 0);
}

TEST_F(GrantsTest, AThenWithoutUndoStays) {
  Program& program = NewProgram();
  v1::Operation lock = Lock("l");
  lock.mutable_wait()->clear_undo();
  Do(program, lock, {.keep = true});
  Die(program);
  EXPECT_EQ(WordOf("l"), 1);
}

class FewGrantsTest : public GrantsTest {
 protected:
  static engine::Limits Few() {
    engine::Limits limits;
    limits.bytes_unsent = 3 * engine::kGrantCost;
    return limits;
  }
  FewGrantsTest() : GrantsTest(Few()) {}
};

TEST_F(FewGrantsTest, OneTooManyIsRefusedAndChangesNothing) {
  Program& program = NewProgram();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Do(program, Enter("s", 9)).done());
  const Call& more = Do(program, Enter("s", 9));
  EXPECT_EQ(more.reason(), "ENOSPC");
  EXPECT_EQ(ErrorLimit(more.status), "bytes-unsent");
  EXPECT_EQ(WordOf("s"), 3);
  EXPECT_EQ(GrantsOf("s"), 3u);
}

TEST_F(GrantsTest, GrantsCountUntilTheyAreGivenBack) {
  Program& program = NewProgram();
  const uint64_t before = engine().bytes_unsent();
  const Call& held = Do(program, Enter("s", 3));
  EXPECT_EQ(engine().bytes_unsent(), before + engine::kGrantCost);
  Do(program, Give("s", NumberOf(held)));
  EXPECT_EQ(engine().bytes_unsent(), before);
}

// --- Wakes -------------------------------------------------------------------

TEST_F(GrantsTest, AWakeThatNobodyTookIsPassedOnToTheNextExclusiveSleeper) {
  Program& deaf = NewProgram();
  Program& other = NewProgram();
  Do(deaf, AwaitAWake("q", true));
  deaf.end().Crash(/*told=*/kForever);
  EXPECT_EQ(Do(other, WakeOne("q")).result.wake_up().woken_exclusive(), 1u);
  const Call& shared = Do(other, AwaitAWake("q", false));
  const Call& next = Do(other, AwaitAWake("q", true));
  const Call& last = Do(other, AwaitAWake("q", true));
  RunFor(kGrace + absl::Seconds(2));
  EXPECT_TRUE(next.done());
  EXPECT_TRUE(last.asleep()) << "it was one wake";
  EXPECT_TRUE(shared.asleep()) << "it came after the wake";
}

TEST_F(GrantsTest, AWakeOfAllIsNotPassedOn) {
  Program& deaf = NewProgram();
  Program& other = NewProgram();
  Do(deaf, AwaitAWake("q", true));
  deaf.end().Crash(/*told=*/kForever);
  v1::Operation all = WakeOne("q");
  all.mutable_wake_up()->set_all(true);
  EXPECT_EQ(Do(other, all).result.wake_up().woken_exclusive(), 1u);
  const Call& next = Do(other, AwaitAWake("q", true));
  RunFor(kGrace + absl::Seconds(2));
  EXPECT_TRUE(next.asleep());
}

TEST_F(GrantsTest, AWakeIsPassedOnWithItsKey) {
  Program& deaf = NewProgram();
  Program& other = NewProgram();
  v1::Operation either = AwaitAWake("q", true);
  either.mutable_wait()->set_key(3);
  Do(deaf, either);
  deaf.end().Crash(/*told=*/kForever);
  v1::Operation wake = WakeOne("q");
  wake.mutable_wake_up()->set_key(1);
  Do(other, wake);
  v1::Operation two = AwaitAWake("q", true);
  two.mutable_wait()->set_key(2);
  v1::Operation one = AwaitAWake("q", true);
  one.mutable_wait()->set_key(1);
  const Call& of_two = Do(other, two);
  const Call& of_one = Do(other, one);
  RunFor(kGrace + absl::Seconds(2));
  EXPECT_TRUE(of_two.asleep());
  EXPECT_TRUE(of_one.done());
}

// Guards `wake_mode_`.
TEST_F(GrantsTest, AWakeIsPassedOnInItsMode) {
  Program& deaf = NewProgram();
  Program& other = NewProgram();
  Do(deaf, AwaitAWake("q", true));
  deaf.end().Crash(/*told=*/kForever);
  v1::Operation wake = WakeOne("q");
  wake.mutable_wake_up()->set_mode(v1::WakeUpRequest::MODE_INTERRUPTIBLE);
  Do(other, wake);
  v1::Operation deep = AwaitAWake("q", true);
  deep.mutable_wait()->set_sleep(v1::SLEEP_UNINTERRUPTIBLE);
  const Call& uninterruptible = Do(other, deep);
  const Call& interruptible = Do(other, AwaitAWake("q", true));
  RunFor(kGrace + absl::Seconds(2));
  EXPECT_TRUE(uninterruptible.asleep());
  EXPECT_TRUE(interruptible.done());
  Do(other, WakeOne("q"));
  EXPECT_TRUE(uninterruptible.done());
}

TEST_F(GrantsTest, AWakeThatIsReturnedUnusedIsPassedOn) {
  Program& program = NewProgram();
  Program& other = NewProgram();
  Call& woken = Do(program, AwaitAWake("q", true), {.keep = true});
  Do(other, WakeOne("q"));
  const Call& next = Do(other, AwaitAWake("q", true));
  EXPECT_TRUE(next.asleep());
  program.Return(woken);
  Settle();
  EXPECT_TRUE(next.done());
}

TEST_F(GrantsTest, AWakeThatWasTakenIsNotPassedOn) {
  Program& dead = NewProgram();
  Program& other = NewProgram();
  Do(dead, AwaitAWake("q", true));
  Do(other, WakeOne("q"));
  const Call& next = Do(other, AwaitAWake("q", true));
  Die(dead);
  EXPECT_TRUE(next.asleep());
}

}  // namespace
}  // namespace waitq::sim
