// Calls that are sent again: done once, answered as often as asked for.

#include "server/engine/repeats.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "server/engine/error.h"
#include "tests/engine/calls.h"
#include "tests/engine/engine_fixture.h"
#include "tests/engine/homes.h"
#include "tests/support/random.h"

namespace waitq::engine {
namespace {

// What the answer to a wait says: how it ended, and the word after it.
KeptAnswer EncodeWait(Operation& operation, std::atomic<int>& ended) {
  ++ended;
  const auto& op = static_cast<const WaitOperation&>(operation);
  switch (op.ending()) {
    case Ending::kCallerGone:
      return {.status = MakeError(ECANCELED, "gone"), .bytes = {}};
    case Ending::kInterrupted:
      return {.status = MakeError(EINTR, "interrupted"), .bytes = {}};
    case Ending::kDraining:
      return {.status = MakeError(ESHUTDOWN, "drains"), .bytes = {}};
    case Ending::kRemoved:
      return {.status = MakeError(EIDRM, "removed"), .bytes = {}};
    default:
      return {
          .status = {},
          .bytes = absl::StrCat(NameOf(op.ending()), " ", op.value_after())};
  }
}

Limits WithFewAnswers() {
  Limits limits = SmallLimits();
  limits.kept_answers = 3;
  return limits;
}

// A call: of a client that says "wait until q is 1" with an id.
struct RepeatedCall final : Caller {
  void OnEnded(Operation&) override { ++told; }
  // "done 0"; the status of one that failed; "" if it waits.
  std::string answer() const {
    if (told == 0) return "";
    EXPECT_EQ(told, 1);
    const KeptAnswer& answer = waiter->answer();
    return answer.status.ok() ? answer.bytes : DetailsOf(answer.status).reason;
  }

  int told = 0;
  Ref<RepeatWaiter> waiter;
  Ref<Repeat> repeat;
  bool is_new = false;
  absl::Status status;
};

class RepeatsTest : public EngineTest {
 protected:
  RepeatsTest() : EngineTest(WithFewAnswers()) {}

  void TearDown() override {
    RemoveAll(engine());
    home_.Run();
    clock().Advance(kKeepAnswersFor);
    engine().repeats().Expire();
    EXPECT_EQ(engine().repeats().size(), 0u);
    calls_.clear();
    EngineTest::TearDown();
  }

  Repeat::Encode Encode() {
    return [this](Operation& op) { return EncodeWait(op, ended_); };
  }
  static RepeatKey KeyOf(const std::string& id) { return {id, "q", "Wait"}; }

  RepeatedCall& Call(const std::string& id, const WaitArgs& args,
                     uint64_t fingerprint = 1) {
    RepeatedCall& call = *calls_.emplace_back(std::make_unique<RepeatedCall>());
    call.waiter = MakeRef<RepeatWaiter>(&home_, &call, TestCaller(),
                                        args.sleep.call_deadline);
    auto begun = engine().repeats().Begin({.key = KeyOf(id),
                                           .fingerprint = fingerprint,
                                           .answer_bytes = 100,
                                           .encode = Encode()},
                                          call.waiter);
    call.status = begun.status();
    if (!begun.ok()) return call;
    call.repeat = begun->repeat;
    call.is_new = begun->is_new;
    if (call.is_new) {
      auto op = MakeWait(args, call.repeat->home(), call.repeat->caller());
      const auto started = engine().Wait("q", op, args.sleep);
      if (*started == Started::kEnded) {
        call.repeat->Answer(EncodeWait(*op, ended_));
      } else {
        call.repeat->Sleep(op);
      }
    }
    home_.Run();
    return call;
  }
  // Waits for a token: the word is 1, and 0 then.
  RepeatedCall& Take(const std::string& id, const SleepOptions& sleep = {}) {
    return Call(id, {.condition = Equal(1), .then = Set(0), .sleep = sleep});
  }
  RepeatedCall& Look(const std::string& id) {
    return Call(id, {.condition = Equal(1)});
  }
  // Its caller has gone.
  void Go(RepeatedCall& call) {
    call.waiter->Detach();
    call.repeat->Leave(*call.waiter);
  }
  std::string AnswerOf(RepeatedCall& call) {
    home_.Run();
    return call.answer();
  }
  void Wake() { WakeUp("q", Set(1)); }

  CollectingHome home_;
  std::atomic<int> ended_ = 0;  // how often a call was done
  std::vector<std::unique_ptr<RepeatedCall>> calls_;
};

TEST_F(RepeatsTest, ARepeatOfAFinishedCallGetsTheSameAnswer) {
  Store("q", 1);
  EXPECT_EQ(Take("a").answer(), "done 0");
  RepeatedCall& again = Take("a");
  EXPECT_FALSE(again.is_new);
  EXPECT_EQ(AnswerOf(again), "done 0");
  EXPECT_EQ(ended_, 1) << "it was done once";
  Store("q", 1);
  EXPECT_EQ(AnswerOf(Take("a")), "done 0");
  EXPECT_EQ(Value("q"), 1) << "and has taken nothing more";
}

TEST_F(RepeatsTest, TheSameIdWithOtherArgumentsIsAnError) {
  RepeatedCall& first = Take("a");
  RepeatedCall& other = Call("a", {.condition = Equal(2)}, /*fingerprint=*/2);
  EXPECT_EQ(DetailsOf(other.status).reason, "EINVAL");
  EXPECT_EQ(first.answer(), "") << "the first one is not disturbed";
}

TEST_F(RepeatsTest, ARepeatWhileItRunsTakesItsPlaceAndEvictsTheOlderCall) {
  RepeatedCall& first = Take("a");
  RepeatedCall& second = Take("b");
  RepeatedCall& again = Take("a");
  EXPECT_FALSE(again.is_new);
  EXPECT_EQ(AnswerOf(first), "ECANCELED");
  Go(first);  // as its transport does then
  Wake();
  EXPECT_EQ(AnswerOf(again), "done 0") << "it was first in line";
  EXPECT_EQ(AnswerOf(second), "");
  Wake();
  EXPECT_EQ(AnswerOf(second), "done 0");
}

TEST_F(RepeatsTest, ADetachedCallKeepsItsPlaceAndIsPassedBy) {
  RepeatedCall& first = Take("a");
  RepeatedCall& second = Take("b");
  RepeatedCall& third = Take("c");
  Go(first);
  Wake();
  EXPECT_EQ(AnswerOf(second), "done 0");
  RepeatedCall& again = Take("a");
  EXPECT_EQ(AnswerOf(again), "");
  Wake();
  EXPECT_EQ(AnswerOf(again), "done 0");
  EXPECT_EQ(AnswerOf(third), "");
}

TEST_F(RepeatsTest, WhatCameInTheMeantimeIsThereWhenItComesBack) {
  RepeatedCall& call = Take("a");
  Go(call);
  Wake();
  EXPECT_EQ(Value("q"), 1) << "not handed to nobody";
  RepeatedCall& again = Take("a");
  EXPECT_EQ(AnswerOf(again), "done 0");
  EXPECT_EQ(Value("q"), 0);
}

TEST_F(RepeatsTest, WhatTakesNothingIsKeptForADetachedCall) {
  RepeatedCall& call = Look("a");
  Go(call);
  Wake();
  Store("q", 0);
  RepeatedCall& again = Look("a");
  EXPECT_EQ(AnswerOf(again), "done 1");
}

TEST_F(RepeatsTest, TheGraceEndsADetachedCallAndNothingIsConsumed) {
  RepeatedCall& call = Take("a");
  Go(call);
  clock().Advance(kReattachGrace - absl::Nanoseconds(1));
  EXPECT_EQ(engine().asleep(), 1u);
  clock().Advance(absl::Milliseconds(1));
  EXPECT_EQ(engine().asleep(), 0u);
  Store("q", 1);
  RepeatedCall& again = Take("a");
  EXPECT_TRUE(again.is_new) << "nothing of it is kept";
  EXPECT_EQ(AnswerOf(again), "done 0");
}

TEST_F(RepeatsTest, WhoComesBackMayGoAndComeBackAgain) {
  RepeatedCall* call = &Take("a");
  for (int i = 0; i < 5; ++i) {
    Go(*call);
    clock().Advance(kReattachGrace - absl::Seconds(1));
    call = &Take("a");
    EXPECT_FALSE(call->is_new);
  }
  clock().Advance(2 * kReattachGrace);
  EXPECT_EQ(AnswerOf(*call), "") << "it is here: the grace is not for it";
  Wake();
  EXPECT_EQ(AnswerOf(*call), "done 0");
}

TEST_F(RepeatsTest, TheTimeoutRunsFromTheFirstCallAndItsEndIsKept) {
  RepeatedCall& call = Take("a", For(absl::Seconds(10)));
  Go(call);
  clock().Advance(absl::Seconds(6));
  RepeatedCall& again = Take("a", For(absl::Seconds(10)));
  Go(again);
  Store("q", 1);
  clock().Advance(absl::Seconds(5));
  RepeatedCall& late = Take("a", For(absl::Seconds(10)));
  EXPECT_EQ(AnswerOf(late), "timed out 1");
  EXPECT_EQ(Value("q"), 1) << "an absent caller was not given it";
}

TEST_F(RepeatsTest, ASignalToADetachedCallIsKept) {
  RepeatedCall& call = Take("a");
  Go(call);
  const std::vector<TaskInfo> tasks = engine().ListTasks({}, 10);
  ASSERT_EQ(tasks.size(), 1u);
  Store("q", 1);
  EXPECT_TRUE(engine().SignalTask(tasks[0].id, SIGINT).value());
  EXPECT_EQ(AnswerOf(Take("a")), "EINTR");
  EXPECT_EQ(Value("q"), 1);
}

TEST_F(RepeatsTest, AnAnswerIsKeptForItsTimeAndThenIsNew) {
  Store("q", 1);
  Take("a");
  clock().Advance(kKeepAnswersFor - absl::Nanoseconds(1));
  EXPECT_FALSE(Take("a").is_new);
  clock().Advance(absl::Nanoseconds(1));
  EXPECT_TRUE(Take("a").is_new);
}

TEST_F(RepeatsTest, AFullStoreRefusesNewCallsBeforeTheyRun) {
  Store("q", 1);
  for (const char* id : {"a", "b", "c"}) Look(id);
  EXPECT_EQ(ended_, 3);
  RepeatedCall& refused = Take("d");
  EXPECT_EQ(DetailsOf(refused.status).reason, "ENOSPC");
  EXPECT_EQ(DetailsOf(refused.status).metadata.at("limit"), "kept-answers");
  EXPECT_EQ(Value("q"), 1);
  EXPECT_EQ(AnswerOf(Look("a")), "done 1") << "those who are known go on";
  clock().Advance(kKeepAnswersFor);
  EXPECT_EQ(AnswerOf(Take("d")), "done 0");
}

TEST_F(RepeatsTest, CancelEndsASleepingCallAndForgetsAnAnswer) {
  RepeatedCall& call = Take("a");
  EXPECT_TRUE(engine().repeats().Cancel(KeyOf("a")));
  EXPECT_EQ(AnswerOf(call), "ECANCELED");
  EXPECT_FALSE(engine().repeats().Cancel(KeyOf("a")));
  Store("q", 1);
  EXPECT_TRUE(Take("a").is_new) << "CANCELLED is never kept";
  EXPECT_TRUE(engine().repeats().Cancel(KeyOf("a")));
  EXPECT_TRUE(Take("a").is_new) << "what was acknowledged is forgotten";
}

// Between Begin() and Sleep() of a new call others may come and go.
class JustBeginningTest : public RepeatsTest {
 protected:
  // A new call whose operation sleeps, and is not known to its repeat yet.
  void SetUp() override {
    first_.waiter = MakeRef<RepeatWaiter>(&home_, &first_, TestCaller(),
                                          absl::InfiniteFuture());
    auto begun = Begin(first_);
    ASSERT_TRUE(begun.is_new);
    op_ = MakeWait({.condition = Equal(1), .then = Set(0)},
                   first_.repeat->home(), first_.repeat->caller());
    ASSERT_EQ(*engine().Wait("q", op_, {}), Started::kAsleep);
  }
  RepeatTable::Begun Begin(RepeatedCall& call) {
    auto begun = engine().repeats().Begin({.key = KeyOf("a"),
                                           .fingerprint = 1,
                                           .answer_bytes = 1,
                                           .encode = Encode()},
                                          call.waiter);
    EXPECT_TRUE(begun.ok());
    call.repeat = begun->repeat;
    return *begun;
  }

  RepeatedCall first_;
  RepeatedCall second_;
  Ref<WaitOperation> op_;
};

TEST_F(JustBeginningTest, ACallThatGoesIsDetachedAllTheSame) {
  Go(first_);
  first_.repeat->Sleep(op_);
  Wake();
  EXPECT_EQ(Value("q"), 1) << "handed to nobody";
  clock().Advance(2 * kReattachGrace);
  EXPECT_EQ(engine().asleep(), 0u);
}

TEST_F(JustBeginningTest, ACallThatComesBringsItsDeadline) {
  second_.waiter = MakeRef<RepeatWaiter>(&home_, &second_, TestCaller(),
                                         Now() + absl::Seconds(1));
  Begin(second_);
  first_.repeat->Sleep(op_);
  EXPECT_EQ(AnswerOf(first_), "ECANCELED");
  clock().Advance(absl::Seconds(1));
  EXPECT_EQ(AnswerOf(second_), "timed out 0");
}

TEST_F(JustBeginningTest, ACancelIsNotForgotten) {
  EXPECT_TRUE(engine().repeats().Cancel(KeyOf("a")));
  first_.repeat->Sleep(op_);
  EXPECT_EQ(AnswerOf(first_), "ECANCELED");
  EXPECT_EQ(engine().asleep(), 0u);
}

TEST_F(RepeatsTest, AnswersThatWereAcknowledgedMakeRoom) {
  for (const char* id : {"a", "b", "c"}) Call(id, {.condition = Equal(0)});
  EXPECT_EQ(DetailsOf(Look("d").status).reason, "ENOSPC");
  EXPECT_TRUE(engine().repeats().Cancel(KeyOf("b")));
  EXPECT_TRUE(Look("d").status.ok());
}

TEST_F(RepeatsTest, WhatIsToBeTriedAgainIsNotKept) {
  Repeat* repeat = nullptr;
  for (const absl::Status& status :
       {MakeError(ENOSPC, "full"), MakeError(ESHUTDOWN, "drains")}) {
    RepeatedCall call;
    call.waiter = MakeRef<RepeatWaiter>(&home_, &call, TestCaller(),
                                        absl::InfiniteFuture());
    auto begun = engine().repeats().Begin({.key = KeyOf("x"),
                                           .fingerprint = 1,
                                           .answer_bytes = 1,
                                           .encode = Encode()},
                                          call.waiter);
    ASSERT_TRUE(begun.ok());
    EXPECT_TRUE(begun->is_new);
    repeat = begun->repeat.get();
    repeat->Answer({.status = status, .bytes = {}});
    home_.Run();
    EXPECT_EQ(call.told, 1);
  }
  EXPECT_EQ(engine().repeats().size(), 0u);
}

TEST_F(RepeatsTest, ADetachedReaderIsPassedByToo) {
  struct Context {
    static KeptAnswer Encode(Operation& operation) {
      auto& op = static_cast<ReadOperation&>(operation);
      if (op.ending() != Ending::kDone) {
        return {.status = MakeError(ECANCELED, "gone"), .bytes = {}};
      }
      return {.status = {}, .bytes = std::string(op.data())};
    }
  };
  RepeatedCall call;
  call.waiter = MakeRef<RepeatWaiter>(&home_, &call, TestCaller(),
                                      absl::InfiniteFuture());
  const RepeatTable::Call read{.key = {"r", "p", "Read"},
                               .fingerprint = 1,
                               .answer_bytes = 100,
                               .encode = &Context::Encode};
  call.repeat = engine().repeats().Begin(read, call.waiter)->repeat;
  auto op = MakeRef<ReadOperation>(10, nullptr, call.repeat->home(),
                                   call.repeat->caller(), TestCaller());
  ASSERT_EQ(*engine().Read("p", op, {}), Started::kAsleep);
  call.repeat->Sleep(op);
  Go(call);
  ReadCall& behind = EngineTest::Read("p", 3);
  WriteNow("p", "abcdef");
  EXPECT_EQ(EndingOf(behind), Ending::kDone);
  EXPECT_EQ(behind->data(), "abc");
  EXPECT_EQ(StatPipe("p").unread_bytes, 3u);
  RepeatedCall again;
  again.waiter = MakeRef<RepeatWaiter>(&home_, &again, TestCaller(),
                                       absl::InfiniteFuture());
  ASSERT_TRUE(engine().repeats().Begin(read, again.waiter).ok());
  EXPECT_EQ(AnswerOf(again), "def");
}

// Calls that go and come back from several threads, while another wakes: each
// token is taken once, and the answer that says so is the only one.
TEST(RepeatsStressTest, EachTokenIsTakenByOneCallHoweverOftenItComes) {
  SimulatedClock clock;
  Engine engine(Limits(), &clock.timers(), kFirstGeneration);
  const int rounds = test::Times(300);
  std::atomic<int> ended = 0;
  struct ThreadCall final : Caller {
    void OnEnded(Operation&) override { told = true; }
    std::atomic<bool> told = false;
    Ref<RepeatWaiter> waiter;
  };
  for (int round = 0; round < rounds; ++round) {
    // They live to the end of the round: one that was evicted may be told late.
    std::vector<std::unique_ptr<ThreadCall>> calls[2];
    ThreadHome home;
    std::atomic<bool> taken = false;
    const auto insist = [&](int thread) {
      test::Random random(2 * round + thread);
      while (!taken) {
        auto& call = calls[thread].emplace_back(std::make_unique<ThreadCall>());
        call->waiter = MakeRef<RepeatWaiter>(&home, call.get(), TestCaller(),
                                             absl::InfiniteFuture());
        auto begun = engine.repeats().Begin(
            {.key = {absl::StrCat("id", round), "q", "Wait"},
             .fingerprint = 1,
             .answer_bytes = 100,
             .encode = [&](Operation& op) { return EncodeWait(op, ended); }},
            call->waiter);
        ASSERT_TRUE(begun.ok());
        if (begun->is_new) {
          auto op = MakeWait({.condition = Equal(1), .then = Set(0)},
                             begun->repeat->home(), begun->repeat->caller());
          if (*engine.Wait("q", op, {}) == Started::kEnded) {
            begun->repeat->Answer(EncodeWait(*op, ended));
          } else {
            begun->repeat->Sleep(op);
          }
        }
        for (uint64_t i = random.Below(2000); i > 0 && !call->told; --i) {
          std::this_thread::yield();
        }
        if (call->told && call->waiter->answer().status.ok()) taken = true;
        begun->repeat->Leave(*call->waiter);
      }
    };
    std::thread first(insist, 0);
    std::thread second(insist, 1);
    WakeOptions wake;
    wake.update = Set(1);
    EXPECT_TRUE(engine.WakeUp("q", wake).ok());
    first.join();
    second.join();
    EXPECT_EQ(engine.Get("q")->value, 0);
    EXPECT_EQ(ended, round + 1) << "it was done once";
  }
  clock.Advance(2 * kKeepAnswersFor);
  engine.repeats().Expire();
  EXPECT_EQ(engine.repeats().size(), 0u);
}

}  // namespace
}  // namespace waitq::engine
