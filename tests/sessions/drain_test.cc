// A server drains, and another comes in its place: who was refused is begun
// anew there.

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "client/error.h"
#include "tests/sessions/sessions_fixture.h"

namespace waitq::sim {
namespace {

class SessionDrainTest : public SessionsFixture {
 protected:
  explicit SessionDrainTest(const engine::Limits& limits = {})
      : SessionsFixture(limits) {}

  void Drain() {
    engine().Drain();
    Settle();  // everybody is told
  }
  // As waitqd does it: the sessions have been told all before they end.
  void DrainAndStop() {
    Drain();
    network_.StopServer(/*says_so=*/true, /*told=*/0);
    Settle();
  }
  void StartServer() {
    network_.StartServer();
    RunFor(absl::Seconds(3));  // the longest time between two tries, and more
  }

  static v1::Operation Poll(const std::string& name) {
    v1::Operation operation;
    operation.mutable_poll()->set_name(name);
    operation.mutable_poll()->set_in(true);
    return operation;
  }
};

bool IsShutdown(const Call& call) {
  return call.told == 1 && call.reason() == "ESHUTDOWN" &&
         !OutcomeUnknown(call.status);
}

TEST_F(SessionDrainTest, WhatSleptIsBegunAnewOnTheNextServer) {
  Program& program = NewProgram();
  Program& other = NewProgram("other");
  const std::vector<const Call*> calls = {
      &Do(program, AwaitNotZero("w")), &Do(program, Sleepy("w")),
      &Do(program, Wait("c")), &Do(program, ReadPacket("q")),
      &Do(program, Poll("f"))};
  DrainAndStop();
  for (const Call* call : calls) EXPECT_TRUE(call->asleep());
  StartServer();
  EXPECT_EQ(engine().asleep(), calls.size());
  Do(other, Add("w", 1));
  Do(other, Complete("c"));
  Do(other, WritePacket("q", "1"));
  Do(other, WriteStream("f", "1"));
  for (const Call* call : calls) EXPECT_TRUE(call->done()) << call->status;
  EXPECT_EQ(calls[3]->data(), "1");
  EXPECT_EQ(WordOf("w"), 0) << "and each has its effect once";
  EXPECT_EQ(CompletionOf("c"), 0u);
}

TEST_F(SessionDrainTest, WhatComesWhileItDrainsIsDoneByTheNextServer) {
  Program& program = NewProgram();
  Do(program, Get("w"));
  Drain();
  const std::vector<const Call*> calls = {
      &Do(program, WritePacket("q", "1")), &Do(program, WriteStream("f", "1")),
      &Do(program, Open("g", true)), &Do(program, Wait("c"))};
  for (const Call* call : calls) EXPECT_TRUE(call->asleep());
  network_.StopServer(/*says_so=*/true, /*told=*/0);
  StartServer();
  Do(program, Complete("c"));
  for (const Call* call : calls) EXPECT_TRUE(call->done()) << call->status;
  EXPECT_EQ(PipeStatOf("q").unread_bytes, 1u);
  EXPECT_EQ(PipeStatOf("f").unread_bytes, 1u);
  EXPECT_EQ(PipeStatOf("g").writers, 1u);
}

TEST_F(SessionDrainTest, ADrainingServerIsNotAskedAgain) {
  Program& program = NewProgram();
  const Call& wait = Do(program, Wait("c"));
  Drain();
  TakeRequests();
  RunFor(absl::Minutes(1));
  for (const v1::SessionRequest& request : TakeRequests()) {
    EXPECT_EQ(request.operations_size(), 0);
  }
  // On its next stream neither: it is the same server.
  program.Cut();
  RunFor(absl::Seconds(1));
  EXPECT_TRUE(wait.asleep());
  for (const v1::SessionRequest& request : TakeRequests()) {
    EXPECT_EQ(request.operations_size(), 0);
  }
  // What it gives still is for those who ask for that.
  EXPECT_TRUE(Do(program, Add("w", 1)).done());
  EXPECT_EQ(sessions(), 1u);
}

TEST_F(SessionDrainTest, TheRestIsWhatIsLeftOfItsTime) {
  Program& program = NewProgram();
  const Call& wait = program.Start(WithTimeout(Wait("c"), absl::Seconds(10)));
  const Nanos begin = network_.now();
  RunFor(absl::Seconds(3));
  DrainAndStop();
  RunFor(absl::Seconds(2));
  network_.StartServer();
  RunFor(absl::Seconds(6));
  ASSERT_TRUE(wait.done()) << wait.status;
  EXPECT_EQ(wait.result.completion_wait().outcome(), v1::OUTCOME_TIMED_OUT);
  EXPECT_GE(wait.when - begin, 10 * kSecond);
  EXPECT_LE(wait.when - begin, 10 * kSecond + 10 * kDelay);
}

TEST_F(SessionDrainTest, WhoseTimeEndsBeforeAServerComesIsToldThen) {
  Program& program = NewProgram();
  const Call& wait = program.Start(WithTimeout(Wait("c"), absl::Seconds(5)),
                                   {.give_up_after = absl::Seconds(10)});
  const Call& given_up =
      program.Start(Wait("d"), {.give_up_after = absl::Seconds(6)});
  const Nanos begin = network_.now();
  RunFor(absl::Seconds(1));
  DrainAndStop();
  RunFor(absl::Seconds(3));
  EXPECT_TRUE(wait.asleep());
  RunFor(absl::Seconds(3));
  EXPECT_TRUE(IsShutdown(wait)) << wait.status;
  EXPECT_EQ(wait.when - begin, 5 * kSecond);
  EXPECT_EQ(ErrorObject(wait.status), "c");
  EXPECT_TRUE(IsShutdown(given_up)) << given_up.status;
  EXPECT_EQ(given_up.when - begin, 6 * kSecond);
  StartServer();
  EXPECT_EQ(engine().asleep(), 0u);
}

TEST_F(SessionDrainTest, WhatIsNotToSleepIsToldAtOnce) {
  Program& program = NewProgram();
  Do(program, Get("w"));
  Drain();
  EXPECT_TRUE(IsShutdown(Do(program, Nonblock(WritePacket("q", "1")))));
  EXPECT_TRUE(IsShutdown(
      Do(program, WithTimeout(WritePacket("q", "1"), absl::ZeroDuration()))));
}

TEST_F(SessionDrainTest, WhatHasMovedBytesIsToldHowMany) {
  Program& program = NewProgram();
  v1::Operation big = WriteStream("f", std::string(100, 'x'));
  big.mutable_write()->mutable_options()->set_capacity_bytes(64);
  big.mutable_write()->mutable_options()->set_atomic_max_bytes(1);
  const Call& write = Do(program, big);
  EXPECT_TRUE(write.asleep());
  Drain();
  ASSERT_TRUE(write.done()) << write.status;
  EXPECT_EQ(write.result.write().accepted_bytes(), 64u);
  EXPECT_EQ(write.result.write().ended_by_error(), "ESHUTDOWN");
}

TEST_F(SessionDrainTest, WhatIsOfAHandleEndsWithIt) {
  Program& program = NewProgram();
  const Call& reader = Do(program, Open("f", false));
  const Call& writer = Do(program, Open("g", true));
  const CallOptions of_reader{.session = reader.receipt.session};
  const CallOptions of_writer{.session = writer.receipt.session};
  const Call& read =
      Do(program, HandleRead(reader.result.operation(), 1), of_reader);
  Drain();
  EXPECT_TRUE(IsShutdown(read)) << read.status;
  EXPECT_TRUE(IsShutdown(
      Do(program, HandleWrite(writer.result.operation(), "x"), of_writer)));
  network_.StopServer(/*says_so=*/true, /*told=*/0);
  // What its end crosses; and what comes when it is known. Neither was done.
  const Call& late =
      Do(program, HandleWrite(writer.result.operation(), "y"), of_writer);
  EXPECT_EQ(late.told, 1);
  StartServer();
  const Call& next =
      Do(program, HandleWrite(writer.result.operation(), "z"), of_writer);
  EXPECT_TRUE(IsShutdown(next)) << next.status;
  EXPECT_FALSE(engine().Stat("g").ok());
}

TEST_F(SessionDrainTest, WhatItDidNotAnswerMayHaveBeenDone) {
  Program& program = NewProgram();
  Do(program, Get("w"));
  Drain();
  const Call& wait = program.Start(Wait("c"), {.restartable = true});
  const Call& add = program.Start(Add("w", 1));
  network_.RunFor(absl::Milliseconds(1));  // they are on their way
  network_.StopServer(/*says_so=*/true, /*told=*/0);
  Settle();
  for (const Call* call : {&wait, &add}) {
    EXPECT_EQ(call->reason(), "EOWNERDEAD") << call->status;
    EXPECT_TRUE(OutcomeUnknown(call->status));
  }
}

TEST_F(SessionDrainTest, WhatWasNotSentWasNotDone) {
  Program& program = NewProgram();
  const Call& writer = Do(program, Open("f", true));
  Drain();
  Do(program, WritePacket("q", "1"));
  network_.StopServer(/*says_so=*/true, /*told=*/0);
  // At the last moment: the first is on its way, the others wait for that.
  network_.RunUntil(network_.now() + kDelay - 1'000);
  const Call& sent = program.Start(Get("w"));
  const Call& of_handle =
      program.Start(HandleWrite(writer.result.operation(), "x"),
                    {.session = writer.receipt.session});
  const Call& unsent = program.Start(WritePacket("q", "2"));
  Settle();
  EXPECT_EQ(sent.reason(), "EOWNERDEAD");
  EXPECT_TRUE(IsShutdown(of_handle)) << of_handle.status;
  EXPECT_TRUE(unsent.asleep());
  StartServer();
  EXPECT_EQ(Do(program, ReadPacket("q")).data(), "1");
  EXPECT_EQ(Do(program, ReadPacket("q")).data(), "2");
}

TEST_F(SessionDrainTest, ARefusalIsAcknowledged) {
  Program& program = NewProgram();
  Do(program, Wait("c"));
  TakeRequests();
  Drain();
  uint64_t taken = 0;
  for (const v1::SessionRequest& request : TakeRequests()) {
    taken = std::max(taken, request.taken_up_to());
  }
  EXPECT_EQ(taken, 1u);
}

TEST_F(SessionDrainTest,
       WithoutATimeoutItWaitsForAServerForEverAndDoesNotSpin) {
  Program& program = NewProgram();
  const Call& wait = Do(program, Sleepy("w"));
  DrainAndStop();
  const uint64_t before = program.end().connects();
  RunFor(absl::Hours(1));
  EXPECT_TRUE(wait.asleep());
  const uint64_t tries = program.end().connects() - before;
  EXPECT_GE(tries, 3600u / 3);
  EXPECT_LE(tries, 3600u / 2 + 20);
  StartServer();
  EXPECT_EQ(engine().asleep(), 1u);
  Do(program, Add("w", 1));
  EXPECT_TRUE(wait.done()) << wait.status;
}

TEST_F(SessionDrainTest, ItDoesNotComeBeforeItWasAskedTo) {
  Program& program = NewProgram();
  Do(program, Wait("c"));
  Drain();
  network_.StopServer(/*says_so=*/true, /*told=*/0);
  const uint64_t before = program.end().connects();
  RunFor(absl::Milliseconds(900));  // RetryInfo says one second
  EXPECT_EQ(program.end().connects(), before);
  RunFor(absl::Milliseconds(200));
  EXPECT_EQ(program.end().connects(), before + 1);
}

TEST_F(SessionDrainTest, BetweenTwoServersANewCallWaitsForTheGrace) {
  Program& program = NewProgram();
  const Call& old = Do(program, Wait("c"));
  DrainAndStop();
  const Call& add = program.Start(Add("w", 1));
  RunFor(kGrace / 2);
  EXPECT_TRUE(add.asleep());
  StartServer();
  EXPECT_TRUE(add.done()) << add.status;

  DrainAndStop();
  const Call& second = program.Start(Add("w", 1));
  RunFor(kGrace / 2);
  EXPECT_TRUE(second.asleep());
  RunFor(kGrace / 2 + absl::Seconds(2));
  EXPECT_EQ(second.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(OutcomeUnknown(second.status));
  // Who was there before waits on; who comes now is told soon.
  const Call& third = program.Start(Add("w", 1));
  RunFor(absl::Seconds(2.1));
  EXPECT_EQ(third.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(old.asleep());
  StartServer();
  Do(program, Complete("c"));
  EXPECT_TRUE(old.done()) << old.status;
}

TEST_F(SessionDrainTest, WhoHasNothingUnderWayDoesNotLookForAServer) {
  Program& program = NewProgram();
  Do(program, Get("w"));
  DrainAndStop();
  const uint64_t before = program.end().connects();
  RunFor(kGrace / 2);
  EXPECT_EQ(program.end().connects(), before);
  // Its next call waits all the same.
  const Call& add = Do(program, Add("w", 1));
  EXPECT_TRUE(add.asleep());
  StartServer();
  EXPECT_TRUE(add.done()) << add.status;
  // Much later it is like a first one.
  DrainAndStop();
  RunFor(2 * kGrace);
  EXPECT_EQ(Do(program, Add("w", 1)).status.code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(Do(program, Add("w", 1)).told, 1) << "at once";
  // Nor when nobody is left who waits for one.
  network_.StartServer();
  Do(program, Wait("c"));
  DrainAndStop();
  program.Cancel(program.calls().back());
  RunFor(absl::Seconds(2));
  const uint64_t last = program.end().connects();
  RunFor(absl::Minutes(1));
  EXPECT_EQ(program.end().connects(), last);
}

TEST_F(SessionDrainTest, TheOrderStays) {
  Program& program = NewProgram();
  Do(program, Get("w"));
  Drain();
  Do(program, WritePacket("q", "1"));
  Do(program, WritePacket("q", "2"));
  network_.StopServer(/*says_so=*/true, /*told=*/0);
  Settle();
  program.Start(WritePacket("q", "3"));
  StartServer();
  for (const char* packet : {"1", "2", "3"}) {
    EXPECT_EQ(Do(program, ReadPacket("q")).data(), packet);
  }
}

TEST_F(SessionDrainTest, WhoWaitsForAServerMayBeCancelled) {
  Program& program = NewProgram();
  const Call& wait = Do(program, Wait("c"));
  const Call& other = Do(program, Wait("d"));
  DrainAndStop();
  program.Cancel(wait);
  EXPECT_EQ(wait.reason(), "ECANCELED");
  EXPECT_FALSE(OutcomeUnknown(wait.status));
  StartServer();
  EXPECT_EQ(engine().asleep(), 1u);
  EXPECT_TRUE(other.asleep());
  DrainAndStop();
  program.machine().Close();
  EXPECT_TRUE(program.machine().IsOver());
  EXPECT_EQ(other.reason(), "ECANCELED");
  EXPECT_FALSE(OutcomeUnknown(other.status));
  EXPECT_EQ(program.machine().operations(), 0u);
}

TEST_F(SessionDrainTest, AServerThatIsKilledAfterwardsHasRefusedAllTheSame) {
  Program& program = NewProgram();
  const Call& wait = Do(program, Sleepy("w"));
  Drain();
  const Call& add = program.Start(Add("x", 1));
  network_.RunFor(absl::Milliseconds(1));
  network_.StopServer(/*says_so=*/false, /*told=*/0);
  Settle();
  StartServer();
  EXPECT_EQ(add.reason(), "EOWNERDEAD");
  EXPECT_EQ(engine().asleep(), 1u);
  Do(program, Add("w", 1));
  EXPECT_TRUE(wait.done()) << wait.status;
}

TEST_F(SessionDrainTest, WhatItWasBegunAnewBeforeDoesNotCount) {
  Program& program = NewProgram();
  const Call& wait = Do(program, AwaitNotZero("w"), {.restartable = true});
  // A session of the same server expires, and it goes on in the next one.
  program.end().Stall(12 * kSecond);
  RunFor(absl::Seconds(13));
  EXPECT_EQ(engine().asleep(), 1u);
  DrainAndStop();
  StartServer();
  // The next server is not the one that had it first; but that has refused it.
  program.Cut();
  Settle();
  EXPECT_TRUE(wait.asleep()) << wait.status;
  EXPECT_EQ(engine().asleep(), 1u);
}

TEST_F(SessionDrainTest, ASessionThatExpiresMeanwhileChangesNothing) {
  Program& program = NewProgram();
  const Call& wait = Do(program, Sleepy("w"));
  Drain();
  network_.StopServer(/*says_so=*/false, /*told=*/0);
  RunFor(5 * kGrace);
  EXPECT_TRUE(wait.asleep());
  StartServer();
  EXPECT_EQ(engine().asleep(), 1u);
  Do(program, Add("w", 1));
  EXPECT_TRUE(wait.done()) << wait.status;
}

TEST_F(SessionDrainTest, AServerThatOnlyDrainsTheNewSessionTooIsLeftAlone) {
  Program& program = NewProgram();
  const Call& wait = Do(program, Sleepy("w"));
  Drain();
  // Its sessions end, and it is there still for a moment.
  engine().Stop();
  RunFor(absl::Seconds(1.2));
  TakeRequests();
  RunFor(absl::Minutes(1));
  for (const v1::SessionRequest& request : TakeRequests()) {
    EXPECT_EQ(request.operations_size(), 0);
  }
  network_.StopServer(/*says_so=*/true, /*told=*/0);
  StartServer();
  EXPECT_EQ(engine().asleep(), 1u);
  EXPECT_TRUE(wait.asleep());
}

TEST_F(SessionDrainTest, AServerThatStopsBeforeItSaysHelloHasDoneNothing) {
  Program& program = NewProgram();
  const Call& wait = Do(program, Sleepy("w"));
  DrainAndStop();
  const Call& add = program.Start(Add("x", 1));
  network_.StartServer();
  // It dies with the first message on its way to it.
  const uint64_t before = program.end().connects();
  while (program.end().connects() == before) {
    RunFor(absl::Milliseconds(1));
  }
  network_.StopServer(/*says_so=*/false, /*told=*/0);
  StartServer();
  EXPECT_TRUE(add.done()) << add.status;
  EXPECT_EQ(WordOf("x"), 1);
  EXPECT_TRUE(wait.asleep());
  EXPECT_EQ(engine().asleep(), 1u);
}

class FewOperationsDrainTest : public SessionDrainTest {
 protected:
  FewOperationsDrainTest() : SessionDrainTest({.operations_per_session = 40}) {}
};

TEST_F(FewOperationsDrainTest, TheNextServerIsNotOverrun) {
  Program& program = NewProgram();
  std::vector<Call*> calls;
  for (int i = 0; i < 30; ++i) {
    calls.push_back(&program.Start(Wait("c"), {.sleeper = true}));
  }
  Settle();
  Drain();
  // They count no more for this one.
  for (int i = 0; i < 30; ++i) {
    calls.push_back(&program.Start(Wait("c"), {.sleeper = true}));
  }
  Settle();
  network_.StopServer(/*says_so=*/true, /*told=*/0);
  StartServer();
  EXPECT_EQ(engine().asleep(), 38u);
  Do(program, Complete("c", 60));
  RunFor(absl::Seconds(1));
  for (const Call* call : calls) EXPECT_TRUE(call->done()) << call->status;
}

}  // namespace
}  // namespace waitq::sim
