// The client's machine alone, against a link that does what a test says: what
// no server of ours does.

#include "client/session/machine.h"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/error.h"
#include "client/session/link.h"
#include "gtest/gtest.h"
#include "tests/sessions/sessions_fixture.h"
#include "transport/duration.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq::sim {
namespace {

class HandLink final : public SessionLink {
 public:
  void Connect(uint64_t connection) override { connects.push_back(connection); }
  void Write(uint64_t connection, std::string message) override {
    v1::SessionRequest& request = written.emplace_back().second;
    written.back().first = connection;
    EXPECT_TRUE(request.ParseFromString(message));
  }
  void Disconnect(uint64_t connection) override {
    disconnects.push_back(connection);
  }
  bool MayHaveArrived(uint64_t) override { return connected; }
  void SetTimer(absl::Time when) override { timer = when; }
  absl::Time Now() override { return now; }

  absl::Time now = absl::UnixEpoch() + absl::Hours(1);
  absl::Time timer = absl::InfiniteFuture();
  bool connected = true;
  std::vector<uint64_t> connects;
  std::vector<uint64_t> disconnects;
  std::vector<std::pair<uint64_t, v1::SessionRequest>> written;
};

class MachineTest : public testing::Test {
 protected:
  // Nothing may be under way when a machine dies.
  void TearDown() override { machine_.Close(); }

  struct Told {
    int times = 0;
    absl::Status status;
    v1::Result result;
  };
  Told& NewTold() { return told_.emplace_back(); }
  uint64_t Submit(Told& told, v1::Operation operation,
                  bool restartable = false) {
    SessionMachine::Submission submission;
    submission.operation = std::move(operation);
    submission.restartable = restartable;
    submission.done = [&told](const absl::Status& status, v1::Result* result,
                              SessionReceipt) {
      ++told.times;
      told.status = status;
      if (result != nullptr) told.result = *result;
      return true;
    };
    return machine_.Submit(std::move(submission));
  }

  static v1::SessionResponse Hello(const std::string& token,
                                   uint64_t received = 0, uint64_t epoch = 1) {
    v1::SessionResponse message;
    v1::SessionResponse::Hello& hello = *message.mutable_hello();
    hello.set_token(token);
    hello.set_server_epoch(epoch);
    hello.set_operations_received(received);
    *hello.mutable_grace() = ToWire(absl::Seconds(10));
    hello.set_operations_max(100);
    return message;
  }
  static v1::SessionResponse GetResult(uint64_t number, uint64_t operation,
                                       int64_t value) {
    v1::SessionResponse message;
    message.set_first_result(number);
    v1::Result& result = *message.add_results();
    result.set_operation(operation);
    result.mutable_get()->set_value(value);
    return message;
  }
  void Hear(uint64_t connection, v1::SessionResponse message) {
    machine_.OnMessage(connection, message);
  }
  void Written() { machine_.OnWritten(link_.connects.back()); }
  // Time passes, timers included.
  void RunFor(absl::Duration duration) {
    const absl::Time until = link_.now + duration;
    for (int timers = 0; link_.timer <= until; ++timers) {
      ASSERT_LT(timers, 10'000) << "time stands still";
      link_.now = std::max(link_.now, link_.timer);
      link_.timer = absl::InfiniteFuture();
      machine_.OnTimer();
    }
    link_.now = until;
  }
  const v1::SessionRequest& Last() { return link_.written.back().second; }

  HandLink link_;
  std::deque<Told> told_;  // also of who is told at the very end
  SessionMachine machine_{
      &link_,
      {.caller = "me", .grace = absl::Seconds(10), .server = "the server"}};
};

TEST_F(MachineTest, TheFirstMessageHasTheHelloAndTheOperation) {
  Told& get = NewTold();
  Submit(get, Get("w"));
  ASSERT_EQ(link_.written.size(), 1u);
  EXPECT_EQ(Last().hello().token(), "");
  EXPECT_EQ(Last().hello().caller(), "me");
  EXPECT_NE(Last().hello().program(), 0u);
  EXPECT_EQ(Last().hello().attempt(), 1u);
  EXPECT_EQ(Last().first_operation(), 1u);
  EXPECT_EQ(Last().operations_size(), 1);
}

TEST_F(MachineTest, TheNextMessageWaitsUntilOneIsWritten) {
  Told& get = NewTold();
  Told& next = NewTold();
  Submit(get, Get("w"));
  Submit(next, Get("w"));
  EXPECT_EQ(link_.written.size(), 1u);
  Written();
  ASSERT_EQ(link_.written.size(), 2u);
  EXPECT_EQ(Last().first_operation(), 2u);
}

TEST_F(MachineTest, WhoHasATokenSendsNoOperationBeforeTheHelloIsAnswered) {
  Told& first = NewTold();
  Told& second = NewTold();
  Submit(first, Get("w"));
  Written();
  Hear(1, Hello("t"));
  machine_.OnClosed(1, absl::UnavailableError("lost"), true);
  RunFor(absl::ZeroDuration());
  ASSERT_EQ(link_.connects.size(), 2u);
  Submit(second, Get("w"));
  EXPECT_EQ(Last().hello().token(), "t");
  EXPECT_EQ(Last().hello().attempt(), 2u);
  EXPECT_EQ(Last().operations_size(), 0);
  Written();
  EXPECT_EQ(Last().operations_size(), 0);
  // The first one has come there.
  Hear(2, Hello("t", 1));
  EXPECT_EQ(Last().first_operation(), 2u);
  EXPECT_EQ(Last().operations_size(), 1);
}

TEST_F(MachineTest, AResultThatComesTwiceIsToldOnce) {
  Told& first = NewTold();
  Told& second = NewTold();
  Submit(first, Get("w"));
  Written();
  Submit(second, Get("w"));
  Hear(1, Hello("t"));
  Hear(1, GetResult(1, 1, 17));
  EXPECT_EQ(first.times, 1);
  // Of the same number: the same one, whatever it says.
  Hear(1, GetResult(1, 2, 18));
  EXPECT_EQ(second.times, 0);
  Hear(1, GetResult(2, 2, 19));
  EXPECT_EQ(second.result.get().value(), 19);
}

TEST_F(MachineTest, WhatAnEarlierConnectionSaysCountsNoMore) {
  Told& get = NewTold();
  Submit(get, Get("w"));
  Written();
  Hear(1, Hello("t"));
  machine_.OnClosed(1, absl::UnavailableError("lost"), true);
  RunFor(absl::ZeroDuration());
  Hear(1, GetResult(1, 1, 17));
  machine_.OnClosed(1, absl::AbortedError("again"), true);
  RunFor(absl::Milliseconds(500));
  EXPECT_EQ(get.times, 0);
  EXPECT_EQ(link_.connects.size(), 2u);
}

TEST_F(MachineTest, AConnectionThatIsGivenUpSaysNothingOfTheNextSession) {
  Told& get = NewTold();
  Submit(get, Get("w"), /*restartable=*/true);
  Written();
  Hear(1, Hello("t"));
  absl::Status stale = absl::FailedPreconditionError("stale");
  SetErrorField(stale, kReasonKey, "ESTALE");
  machine_.OnClosed(1, stale, true);
  EXPECT_EQ(link_.connects.size(), 2u);
  EXPECT_EQ(Last().hello().token(), "");
  Hear(1, GetResult(1, 1, 17));
  EXPECT_EQ(get.times, 0);
}

TEST_F(MachineTest, WhoConnectsAgainAtOnceSaysHelloAtOnce) {
  Told& get = NewTold();
  Submit(get, Get("w"), /*restartable=*/true);
  Written();
  Hear(1, Hello("t"));
  absl::Status stale = absl::FailedPreconditionError("stale");
  SetErrorField(stale, kReasonKey, "ESTALE");
  const size_t before = link_.written.size();
  machine_.OnClosed(1, stale, true);
  ASSERT_EQ(link_.written.size(), before + 1);
  EXPECT_EQ(link_.written.back().first, 2u);
  EXPECT_TRUE(Last().has_hello());
}

TEST_F(MachineTest, WhatIsCancelledBeforeItIsSentAsksForNothing) {
  Told& first = NewTold();
  Told& second = NewTold();
  Told& third = NewTold();
  Submit(first, Get("w"));
  const uint64_t ticket = Submit(second, Get("x"));
  Submit(third, Get("y"));
  machine_.Cancel(ticket);
  EXPECT_EQ(second.times, 1);
  EXPECT_FALSE(OutcomeUnknown(second.status));
  Written();
  ASSERT_EQ(Last().operations_size(), 2);
  EXPECT_EQ(Last().first_operation(), 2u);
  EXPECT_EQ(Last().operations(0).request_case(),
            v1::Operation::REQUEST_NOT_SET);
  EXPECT_EQ(Last().operations(1).get().name(), "y");
}

TEST_F(MachineTest, WhatIsBeingCancelledDoesNotBeginAgain) {
  Told& get = NewTold();
  const uint64_t ticket = Submit(get, Get("w"), /*restartable=*/true);
  Written();
  Hear(1, Hello("t"));
  machine_.Cancel(ticket);
  EXPECT_EQ(get.times, 0);
  absl::Status stale = absl::FailedPreconditionError("stale");
  SetErrorField(stale, kReasonKey, "ESTALE");
  machine_.OnClosed(1, stale, true);
  EXPECT_EQ(get.times, 1);
  EXPECT_EQ(link_.connects.size(), 1u);
}

TEST_F(MachineTest, AServerThatClosesEachNewStreamIsNotAskedWithoutAPause) {
  Told& get = NewTold();
  Submit(get, Get("w"), /*restartable=*/true);
  const absl::Time begin = link_.now;
  while (link_.now < begin + absl::Seconds(20)) {
    const size_t made = link_.connects.size();
    machine_.OnClosed(made, absl::UnavailableError("bare"), true);
    while (link_.connects.size() == made) RunFor(absl::Milliseconds(10));
    ASSERT_LT(made, 100u);
  }
  EXPECT_LT(link_.connects.size(), 20u);
  EXPECT_GT(link_.connects.size(), 8u);
  EXPECT_EQ(get.times, 0);
}

// Guards `asked_before_`: the server may have made a session, and done what
// came with the hello.
TEST_F(MachineTest, ASessionWhoseHelloHadNoAnswerIsAskedForAgain) {
  Told& once = NewTold();
  Submit(once, Add("w", 1));
  Written();
  machine_.OnClosed(1, absl::UnavailableError("bare"), true);
  EXPECT_EQ(once.times, 0);
  RunFor(absl::Seconds(1));
  ASSERT_EQ(link_.connects.size(), 2u);
  const v1::SessionRequest request = Last();
  EXPECT_TRUE(request.hello().again());
  EXPECT_NE(request.hello().program(), 0u);
  EXPECT_EQ(request.operations_size(), 0);
  // It had, and this is its result.
  v1::SessionResponse hello = Hello("token", /*received=*/1);
  hello.set_first_result(1);
  hello.add_results()->set_operation(1);
  hello.mutable_results(0)->mutable_wake_up()->set_woken(2);
  Hear(2, hello);
  EXPECT_EQ(once.times, 1);
  EXPECT_TRUE(once.status.ok()) << once.status;
}

TEST_F(MachineTest, WhatAServerThatIsAskedAgainHasNotHadIsUnknown) {
  Told& once = NewTold();
  Told& again = NewTold();
  Submit(once, Add("w", 1));
  Written();
  Submit(again, AwaitNotZero("w"), /*restartable=*/true);
  machine_.OnClosed(1, absl::UnavailableError("bare"), true);
  RunFor(absl::Seconds(1));
  Hear(2, Hello("token"));
  // Another server may have had it, which is gone.
  EXPECT_EQ(once.times, 1);
  EXPECT_TRUE(OutcomeUnknown(once.status));
  EXPECT_EQ(again.times, 0);
  Written();
  EXPECT_EQ(Last().operations_size(), 1) << "the one that may be";
}

// Guards the look at `later.connect` in SendLocked(): another thread's message
// would come before there is a connection, and be lost.
TEST_F(MachineTest, WhoConnectsInACallbackSaysTheHelloHimself) {
  Told& next = NewTold();
  size_t written_in_callback = 0;
  SessionMachine::Submission first;
  first.operation = Get("w");
  first.done = [&](const absl::Status&, v1::Result*, SessionReceipt) {
    Submit(next, Get("w"));
    for (const auto& [connection, request] : link_.written) {
      if (connection == 2) ++written_in_callback;
    }
    return true;
  };
  machine_.Submit(std::move(first));
  Written();
  Hear(1, Hello("t"));
  absl::Status stale = absl::FailedPreconditionError("stale");
  SetErrorField(stale, kReasonKey, "ESTALE");
  machine_.OnClosed(1, stale, true);
  ASSERT_EQ(link_.connects.size(), 2u);
  EXPECT_EQ(written_in_callback, 1u);
}

// Guards no_answer_: an OK would be told to whoever waits, without a result.
TEST_F(MachineTest, AStreamThatEndsWellWithoutAnAnswerIsNoSuccess) {
  Told& once = NewTold();
  Submit(once, Add("w", 1));
  Written();
  machine_.OnClosed(1, absl::OkStatus(), true);
  RunFor(absl::Seconds(1));
  Hear(2, Hello("token"));
  EXPECT_EQ(once.times, 1);
  EXPECT_FALSE(once.status.ok());
  EXPECT_TRUE(OutcomeUnknown(once.status)) << once.status;
}

TEST_F(MachineTest, WhatWasSentIsUnknownIfTheServerIsGoneThen) {
  Told& once = NewTold();
  Submit(once, Add("w", 1));
  Written();
  machine_.OnClosed(1, absl::UnavailableError("bare"), true);
  RunFor(absl::Seconds(1));
  machine_.OnClosed(2, absl::UnavailableError("refused"), false);
  EXPECT_EQ(once.times, 1);
  EXPECT_TRUE(OutcomeUnknown(once.status));
}

TEST_F(MachineTest, AServerThatDoesNotAnswerAHelloIsGivenUp) {
  Told& get = NewTold();
  Submit(get, Get("w"));
  RunFor(absl::Seconds(14));
  EXPECT_EQ(get.times, 0);
  RunFor(absl::Seconds(2));
  EXPECT_EQ(get.times, 1);
  EXPECT_EQ(get.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(OutcomeUnknown(get.status));
}

TEST_F(MachineTest, AHelloThatWaitsForItsConnectionHasItsTimeFromItsSending) {
  Told& get = NewTold();
  Submit(get, Get("w"));
  Written();
  Hear(1, Hello("t"));
  const absl::Time begin = link_.now;
  machine_.OnClosed(1, absl::UnavailableError("lost"), true);
  RunFor(absl::ZeroDuration());
  // Answered two seconds after it was sent: the lease is that of its sending.
  link_.now += absl::Seconds(2);
  Hear(2, Hello("t", 1));
  Written();
  // No heartbeat is answered.
  for (int i = 0; i < 2000 && get.times == 0; ++i) {
    RunFor(absl::Milliseconds(10));
  }
  EXPECT_LE(link_.now - begin, absl::Seconds(9) + absl::Milliseconds(10));
}

TEST_F(MachineTest, AHeartbeatIsSentAQuarterOfTheGraceAfterTheLast) {
  Told& get = NewTold();
  Submit(get, Get("w"));
  Written();
  Hear(1, Hello("t"));
  const size_t before = link_.written.size();
  RunFor(absl::Milliseconds(2400));
  EXPECT_EQ(link_.written.size(), before);
  RunFor(absl::Milliseconds(200));
  ASSERT_EQ(link_.written.size(), before + 1);
  EXPECT_EQ(Last().heartbeat(), 1u);
  // One that is not answered is a dead connection.
  Written();
  RunFor(absl::Milliseconds(2600));
  EXPECT_EQ(link_.disconnects.back(), 1u);
  EXPECT_EQ(link_.connects.size(), 2u);
}

TEST_F(MachineTest, AnAnswerToAnOlderHeartbeatIsNone) {
  Told& get = NewTold();
  Submit(get, Get("w"));
  Written();
  Hear(1, Hello("t"));
  RunFor(absl::Milliseconds(2600));
  Written();
  v1::SessionResponse answer;
  answer.set_heartbeat(7);
  Hear(1, answer);
  RunFor(absl::Milliseconds(2600));
  EXPECT_EQ(link_.connects.size(), 2u);
}

TEST_F(MachineTest, AMessageThatIsNeverWrittenIsADeadConnection) {
  Told& get = NewTold();
  Submit(get, Get("w"));
  Written();
  Hear(1, Hello("t"));
  Told& stuck = NewTold();
  Submit(stuck, Get("w"));  // not written: no heartbeat can follow
  RunFor(absl::Milliseconds(4900));
  EXPECT_EQ(link_.connects.size(), 1u);
  RunFor(absl::Milliseconds(200));
  EXPECT_EQ(link_.connects.size(), 2u);
}

TEST_F(MachineTest, AcknowledgementsWaitForOthersButNotForLong) {
  Told& get = NewTold();
  Submit(get, Get("w"));
  Written();
  Hear(1, Hello("t"));
  const size_t before = link_.written.size();
  Hear(1, GetResult(1, 1, 17));
  EXPECT_EQ(link_.written.size(), before);
  RunFor(absl::Milliseconds(11));
  ASSERT_EQ(link_.written.size(), before + 1);
  EXPECT_EQ(Last().taken_up_to(), 1u);
}

TEST_F(MachineTest, WhatAReadHasTakenIsSaidAtOnce) {
  Told& read = NewTold();
  Submit(read, ReadPacket("q"));
  Written();
  Hear(1, Hello("t"));
  v1::SessionResponse message;
  message.set_first_result(1);
  message.add_results()->set_operation(1);
  message.mutable_results(0)->mutable_read()->set_data("x");
  Hear(1, message);
  EXPECT_EQ(Last().taken_up_to(), 1u);
}

// All results but the first are taken: whoever says them again after a cut says
// no message that a server would not take.
TEST_F(MachineTest, WhatIsSaidAgainIsSaidInPartsThatAServerTakes) {
  constexpr int kResults = 20'000;
  constexpr size_t kBytesMax = 64 << 10;
  v1::SessionResponse hello = Hello("t");
  hello.mutable_hello()->set_operations_max(2 * kResults);
  hello.mutable_hello()->set_message_bytes_max(kBytesMax);
  SessionReceipt first;
  SessionMachine::Submission submission;
  submission.operation = Get("w");
  submission.done = [&](const absl::Status&, v1::Result*,
                        SessionReceipt receipt) {
    first = receipt;
    return false;
  };
  machine_.Submit(std::move(submission));
  Written();
  Hear(1, hello);
  for (int i = 1; i < kResults; ++i) Submit(NewTold(), Get("w"));
  for (uint64_t i = 1; i <= kResults; ++i) Hear(1, GetResult(i, i, 17));
  ASSERT_EQ(first.number, 1u);
  machine_.OnClosed(1, absl::UnavailableError("lost"), true);
  RunFor(absl::ZeroDuration());
  ASSERT_EQ(link_.connects.size(), 2u);
  size_t before = link_.written.size() - 1;
  hello.mutable_hello()->set_operations_received(kResults);
  Hear(2, hello);
  for (size_t written = 0; written != link_.written.size();) {
    written = link_.written.size();
    Written();
  }
  std::vector<uint64_t> taken;
  for (; before < link_.written.size(); ++before) {
    const v1::SessionRequest& message = link_.written[before].second;
    EXPECT_LT(message.ByteSizeLong(), kBytesMax);
    taken.insert(taken.end(), message.taken().begin(), message.taken().end());
  }
  ASSERT_EQ(taken.size(), size_t{kResults - 1});
  EXPECT_EQ(taken.front(), 2u);
  EXPECT_EQ(taken.back(), uint64_t{kResults});
  // The goodbye waits for what was taken.
  machine_.Settle(first);
  Written();
  machine_.Close();
  EXPECT_TRUE(Last().end());
  EXPECT_EQ(Last().taken_up_to(), uint64_t{kResults});
}

TEST_F(MachineTest, CancelsAreSaidOnceAndInPartsThatAServerTakes) {
  constexpr int kSleepers = 20'000;
  constexpr size_t kBytesMax = 64 << 10;
  v1::SessionResponse hello = Hello("t");
  hello.mutable_hello()->set_operations_max(2 * kSleepers);
  hello.mutable_hello()->set_message_bytes_max(kBytesMax);
  Submit(NewTold(), Get("w"));
  Written();
  Hear(1, hello);
  std::vector<uint64_t> tickets;
  for (int i = 1; i < kSleepers; ++i) {
    tickets.push_back(Submit(NewTold(), Get("w")));
    Written();
  }
  machine_.OnClosed(1, absl::UnavailableError("lost"), true);
  for (const uint64_t ticket : tickets) machine_.Cancel(ticket);
  RunFor(absl::ZeroDuration());
  ASSERT_EQ(link_.connects.size(), 2u);
  size_t before = link_.written.size() - 1;
  hello.mutable_hello()->set_operations_received(kSleepers);
  Hear(2, hello);
  for (size_t written = 0; written != link_.written.size();) {
    written = link_.written.size();
    Written();
  }
  int cancels = 0;
  for (; before < link_.written.size(); ++before) {
    const v1::SessionRequest& message = link_.written[before].second;
    EXPECT_LT(message.ByteSizeLong(), kBytesMax);
    cancels += message.cancels_size();
  }
  EXPECT_EQ(cancels, kSleepers - 1);
}

TEST_F(MachineTest, WhoTellsNoReasonButTakesNoSuchMessageEndsTheSession) {
  Told& get = NewTold();
  Told& again = NewTold();
  Submit(get, Get("w"));
  Written();
  Submit(again, Get("x"), /*restartable=*/true);
  Hear(1, Hello("t"));
  // gRPC's own: "Received message larger than max". It would not take it again.
  machine_.OnClosed(1, absl::ResourceExhaustedError("too large"), true);
  for (const Told* told : {&get, &again}) {
    EXPECT_EQ(told->times, 1);
    EXPECT_EQ(told->status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_TRUE(OutcomeUnknown(told->status));
  }
  EXPECT_EQ(link_.connects.size(), 1u);
  EXPECT_EQ(machine_.token(), "");
}

TEST_F(MachineTest, AHandlesOwnEndIsTaken) {
  Told& open = NewTold();
  Submit(open, Open("f", true));
  Written();
  Hear(1, Hello("t"));
  v1::SessionResponse message;
  message.set_first_result(1);
  message.add_results()->set_operation(1);
  message.mutable_results(0)->mutable_open();
  Hear(1, message);
  EXPECT_EQ(open.times, 1);
  message.set_first_result(2);
  message.mutable_results(0)->mutable_failure()->set_reason("EIDRM");
  Hear(1, message);
  EXPECT_EQ(open.times, 1);
  RunFor(absl::Milliseconds(11));
  EXPECT_EQ(Last().taken_up_to(), 2u);
}

TEST_F(MachineTest, WhatIsSubmittedInACallbackGoesOutTogether) {
  Told& one = NewTold();
  Told& two = NewTold();
  SessionMachine::Submission submission;
  submission.operation = Get("w");
  submission.done = [&](const absl::Status&, v1::Result*, SessionReceipt) {
    EXPECT_TRUE(machine_.IsTelling());
    Submit(one, Get("x"));
    Submit(two, Get("y"));
    return true;
  };
  machine_.Submit(std::move(submission));
  Written();
  Hear(1, Hello("t"));
  const size_t before = link_.written.size();
  Hear(1, GetResult(1, 1, 17));
  EXPECT_FALSE(machine_.IsTelling());
  ASSERT_EQ(link_.written.size(), before + 1);
  EXPECT_EQ(Last().operations_size(), 2);
  EXPECT_EQ(Last().taken_up_to(), 1u);
}

TEST_F(MachineTest, WhatEndsInACallbackIsToldAfterIt) {
  Told& other = NewTold();
  Submit(NewTold(), Get("w"));
  Written();
  Hear(1, Hello("t"));
  machine_.OnClosed(1, absl::UnavailableError("lost"), true);
  const uint64_t second = Submit(other, Get("x"));
  SessionMachine::Submission submission;
  submission.operation = Get("y");
  submission.done = [&](const absl::Status&, v1::Result*, SessionReceipt) {
    machine_.Cancel(second);
    EXPECT_EQ(other.times, 0);
    return true;
  };
  machine_.Cancel(machine_.Submit(std::move(submission)));
  EXPECT_EQ(other.times, 1);
}

// Begins the next one at the end of each, however it ends.
struct Restless {
  SessionMachine& machine;
  int told = 0;
  int depth = 0;

  void Submit() {
    SessionMachine::Submission submission;
    submission.operation = Get("w");
    submission.session = 77;  // which is over
    submission.done = [this](const absl::Status&, v1::Result*, SessionReceipt) {
      EXPECT_EQ(++depth, 1);
      if (++told < 100'000) Submit();
      --depth;
      return true;
    };
    machine.Submit(std::move(submission));
  }
};

TEST_F(MachineTest, CallbacksThatBeginWhatEndsAtOnceDoNotPileUp) {
  Restless restless{machine_};
  restless.Submit();
  EXPECT_EQ(restless.told, 100'000);
}

TEST_F(MachineTest, WhatACallbackBeginsAfterTheCloseIsNotToldItsEnd) {
  const auto alive = std::make_shared<int>();
  int told = 0;
  std::function<void()> submit = [&] {
    SessionMachine::Submission submission;
    submission.operation = Get("w");
    submission.done = [&, alive](const absl::Status&, v1::Result*,
                                 SessionReceipt) {
      ++told;
      submit();
      return true;
    };
    machine_.Submit(std::move(submission));
  };
  submit();
  machine_.Close();
  EXPECT_EQ(told, 1);
  EXPECT_EQ(alive.use_count(), 1);
  // Others are.
  Told& late = NewTold();
  Submit(late, Get("w"));
  EXPECT_EQ(late.times, 1);
}

TEST_F(MachineTest, ACloseWhileNothingIsConnectedIsAtOnce) {
  Submit(NewTold(), Get("w"));
  link_.connected = false;
  machine_.Close();
  EXPECT_TRUE(machine_.IsOver());
  EXPECT_EQ(link_.disconnects, std::vector<uint64_t>{1});
}

// (Found by a walk over those before it, each would make this last for
// minutes.)
TEST_F(MachineTest, WhoWaitsForRoomCostsTheSameHoweverManyWait) {
  constexpr int kMany = 300'000;
  Submit(NewTold(), Get("w"));
  Written();
  v1::SessionResponse hello = Hello("t");
  hello.mutable_hello()->set_operations_max(1);
  Hear(1, hello);
  int told = 0;
  int timeouts = 0;
  std::vector<uint64_t> tickets;
  for (int i = 0; i < kMany; ++i) {
    SessionMachine::Submission submission;
    submission.operation = Get("w");
    submission.give_up_after = absl::Seconds(3 + i % 2);
    submission.sleeper = i % 3 == 0;
    submission.done = [&](const absl::Status& status, v1::Result*,
                          SessionReceipt) {
      ++told;
      if (ErrorReason(status) == "ETIME") ++timeouts;
      return true;
    };
    tickets.push_back(machine_.Submit(std::move(submission)));
  }
  for (int i = 0; i < kMany; i += 2) machine_.Cancel(tickets[i]);
  EXPECT_EQ(told, kMany / 2);
  link_.now += absl::Seconds(4);
  machine_.OnTimer();
  EXPECT_EQ(told, kMany);
  EXPECT_EQ(timeouts, kMany / 2);
  EXPECT_EQ(machine_.operations(), 1u);
}

TEST_F(MachineTest, WhoWaitsForRoomKeepsItsOrder) {
  Submit(NewTold(), Get("w"));
  Written();
  v1::SessionResponse hello = Hello("t");
  hello.mutable_hello()->set_operations_max(1);
  Hear(1, hello);
  const auto submit = [&](const std::string& name, bool sleeper) {
    SessionMachine::Submission submission;
    submission.operation = Get(name);
    submission.sleeper = sleeper;
    submission.done = [](const absl::Status&, v1::Result*, SessionReceipt) {
      return true;
    };
    machine_.Submit(std::move(submission));
  };
  submit("s1", true);
  submit("w1", false);
  submit("s2", true);
  submit("w2", false);
  std::vector<std::string> sent;
  for (uint64_t number = 1; number <= 5; ++number) {
    sent.push_back(Last().operations(0).get().name());
    Hear(1, GetResult(number, number, 17));
    Written();
    RunFor(absl::Milliseconds(20));
    Written();
  }
  EXPECT_EQ(sent, (std::vector<std::string>{"w", "w1", "w2", "s1", "s2"}));
}

TEST_F(MachineTest, AnEncodedOperationIsSentAsItIs) {
  Told& get = NewTold();
  SessionMachine::Submission submission;
  submission.encoded = Get("w").SerializeAsString();
  submission.done = [&get](const absl::Status& status, v1::Result*,
                           SessionReceipt) {
    ++get.times;
    get.status = status;
    return true;
  };
  machine_.Submit(std::move(submission));
  EXPECT_EQ(Last().operations(0).get().name(), "w");
  absl::Status refused = absl::ResourceExhaustedError("full");
  SetErrorField(refused, kReasonKey, "ENOSPC");
  machine_.OnClosed(1, refused, true);
  EXPECT_EQ(get.times, 1);
  EXPECT_EQ(ErrorObject(get.status), "w");
  EXPECT_FALSE(OutcomeUnknown(get.status));
}

}  // namespace
}  // namespace waitq::sim
