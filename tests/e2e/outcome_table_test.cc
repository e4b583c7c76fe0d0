// How an operation ends: the table of docs/semantics.md, row by row, at the
// wire and at the shell. The tests are named after the rows.
//
// One row of the design is not here yet, because it comes with sessions: a
// repeat that names a server which has restarted (EOWNERDEAD). And with them
// `waitq` will start again by itself where it now exits 1 (the server drains).

#include <chrono>
#include <csignal>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/fixture.h"
#include "tests/server/client.h"
#include "tests/server/wire.h"
#include "transport/error_info.h"

namespace waitq::test {
namespace {

using ::testing::Each;
using ::testing::Truly;

// What the wire says of a call.
struct Ending {
  grpc::Status status;
  v1::Outcome outcome = v1::OUTCOME_UNSPECIFIED;
  bool broken = false;
};

template <class Response>
Ending EndingOf(const Answer<Response>& answer) {
  Ending ending{.status = answer.status};
  if (answer.status.ok()) ending.outcome = answer.response.outcome();
  return ending;
}

Ending EndingOf(const Answer<v1::ReadResponse>& answer) {
  return {.status = answer.status,
          .outcome = answer.response.outcome(),
          .broken = answer.response.broken()};
}

// Of a call that has no outcome, because it never sleeps.
template <class Response>
Ending StatusOf(const Answer<Response>& answer) {
  return {.status = answer.status};
}

using Event = std::function<void()>;

class OutcomeTableBase : public WaitqTest {
 public:
  // What rows use.
  using WaitqTest::AwaitSleepers;
  using WaitqTest::server;
  using WaitqTest::Sleepers;
  using WaitqTest::StartServer;
  using WaitqTest::StartWaitq;
  using WaitqTest::Stat;
  using WaitqTest::Waitq;
  using WaitqTest::WaitqOk;

  Client client() { return Client(channel()); }

  // A call that sleeps until `event` ends it.
  template <class Request>
  Ending AsleepUntil(const Event& event, const std::string& request,
                     std::optional<CallTime> deadline = std::nullopt) {
    Client caller = client();
    Pending<Request> call(caller, request, deadline);
    AwaitSleepers("", 1);
    event();
    return EndingOf(call.answer());
  }

  // A command that sleeps until `event`, which is given it, ends it.
  Result AsleepUntil(const std::function<void(Process&)>& event,
                     const std::vector<std::string>& arguments) {
    Process& command = StartWaitq(arguments);
    AwaitSleepers("", 1);
    event(command);
    const std::optional<int> exit = command.WaitFor();
    return {exit.value_or(-1), command.Output(), command.Errors()};
  }

  // Ends the only sleep by a signal to its task.
  void SignalTask(v1::SignalRequest::Signal signal) {
    Client caller = client();
    v1::SignalRequest request;
    request.set_id(Sleepers("").at(0).id());
    request.set_signal(signal);
    EXPECT_TRUE(Call(caller, request).response.ended());
  }

  // Ends the server; the next one is another.
  void Drain() { server().process().Signal(SIGTERM); }
  void StartAgain() {
    EXPECT_EQ(server().process().WaitFor(), 0);
    StartServer();
  }

  // A pipe whose writer has gone without a word, after some bytes.
  void MakeBrokenEnd(const std::string& name) {
    Client caller = client();
    {
      WriteStream writer(caller, "name: '" + name + "'");
      writer.Write("abc");
      EXPECT_TRUE(writer.AwaitAccepted(3));
    }
    EXPECT_TRUE(Await([&] { return Stat(name).pipe().writers() == 0; }));
    Call<v1::ReadRequest>(caller, "name: '" + name + "'");
  }

  // A pipe whose only reader has left.
  void MakePipeWithoutReaders(const std::string& name) {
    Client caller = client();
    ReadStream(caller, "name: '" + name + "' max_bytes: 0").Finish();
    EXPECT_TRUE(Await([&] { return Stat(name).pipe().readers() == 0; }));
  }
};

// What a row says. In `metadata`, beside the object, which most have.
struct Expected {
  v1::Outcome outcome = v1::OUTCOME_UNSPECIFIED;
  bool broken = false;
  grpc::StatusCode code = grpc::StatusCode::OK;
  std::string reason = {};
  std::map<std::string, std::string> metadata = {};
  bool retry = false;
  int exit = 0;
};

struct Row {
  const char* name;
  Expected expected;
  Ending (*call)(OutcomeTableBase&);
  Result (*command)(OutcomeTableBase&);
};

void PrintTo(const Row& row, std::ostream* out) { *out << row.name; }

class OutcomeTableTest : public OutcomeTableBase,
                         public ::testing::WithParamInterface<Row> {};

TEST_P(OutcomeTableTest, AtTheWire) {
  const Expected& expected = GetParam().expected;
  const Ending ending = GetParam().call(*this);
  EXPECT_EQ(ending.status.error_code(), expected.code)
      << ending.status.error_message();
  EXPECT_EQ(ending.outcome, expected.outcome);
  EXPECT_EQ(ending.broken, expected.broken);
  const std::optional<ErrorInfo> info = ParseErrorInfo(ending.status);
  ASSERT_EQ(info.has_value(), !expected.reason.empty())
      << "whether it is our handlers that say it";
  if (!info.has_value()) return;
  EXPECT_EQ(info->reason, expected.reason);
  EXPECT_EQ(info->metadata, expected.metadata);
  EXPECT_EQ(info->retry_after.has_value(), expected.retry);
  EXPECT_LT(ending.status.error_details().size() +
                ending.status.error_message().size(),
            4096u);
  EXPECT_THAT(ending.status.error_message(),
              Each(Truly([](char c) { return c >= ' ' && c <= '~'; })));
}

TEST_P(OutcomeTableTest, AtTheShell) {
  const Result result = GetParam().command(*this);
  EXPECT_EQ(result.exit, GetParam().expected.exit) << result.err;
  // Who fails says why, in one line.
  if (result.exit != 0) {
    EXPECT_TRUE(FailsClearly(result, result.exit, {}));
  }
}

// A sleep on the word "q", and one that takes what it wakes for.
constexpr char kWait[] = "name: 'q' condition { equal: 1 } then { set: 0 }";
std::vector<std::string> WaitCommand() {
  return {"wait", "q", "--until", "==1", "--then", "set:0"};
}

const Row kExpectedEnds[] = {
    {"ConditionHeld",
     {.outcome = v1::OUTCOME_DONE, .exit = 0},
     [](OutcomeTableBase& t) {
       return t.AsleepUntil<v1::WaitRequest>(
           [&] {
             t.WaitqOk({"wake", "q", "--set", "1"});
           },
           kWait);
     },
     [](OutcomeTableBase& t) {
       return t.AsleepUntil(
           [&](Process&) {
             t.WaitqOk({"wake", "q", "--set", "1"});
           },
           WaitCommand());
     }},
    // The command writes a stream, for which some bytes are not all.
    {"BytesMovedAndCutShort",
     {.outcome = v1::OUTCOME_DONE, .exit = 11},
     [](OutcomeTableBase& t) {
       Client caller = t.client();
       const auto write = Call<v1::WriteRequest>(
           caller,
           "name: 'p' data: 'abcdef' nonblock: true "
           "options { capacity_bytes: 4 atomic_max_bytes: 1 }");
       EXPECT_EQ(write.response.accepted_bytes(), 4u);
       EXPECT_EQ(write.response.ended_by(), v1::OUTCOME_WOULD_BLOCK);
       return EndingOf(write);
     },
     [](OutcomeTableBase& t) {
       t.WaitqOk({"create", "p", "--kind", "pipe", "--capacity", "4",
                  "--atomic-max", "1"});
       const Result result = t.Waitq({"write", "p", "--nonblock"}, "abcdef");
       EXPECT_THAT(result.err, ::testing::HasSubstr("wrote 4 of 6 bytes"));
       return result;
     }},
    {"TimeoutRanOut",
     {.outcome = v1::OUTCOME_TIMED_OUT, .exit = 124},
     [](OutcomeTableBase& t) {
       Client caller = t.client();
       return EndingOf(Call<v1::ReadRequest>(
           caller, "name: 'p' timeout { nanos: 20000000 }"));
     },
     [](OutcomeTableBase& t) {
       return t.Waitq({"read", "p", "--timeout", "20ms"});
     }},
    {"WouldBlock",
     {.outcome = v1::OUTCOME_WOULD_BLOCK, .exit = 11},
     [](OutcomeTableBase& t) {
       Client caller = t.client();
       return EndingOf(
           Call<v1::ReadRequest>(caller, "name: 'p' nonblock: true"));
     },
     [](OutcomeTableBase& t) {
       return t.Waitq({"read", "p", "--nonblock"});
     }},
    {"EndOfFile",
     {.outcome = v1::OUTCOME_END_OF_FILE, .exit = 0},
     [](OutcomeTableBase& t) {
       t.WaitqOk({"write", "p", "/dev/null"});
       Client caller = t.client();
       return EndingOf(Call<v1::ReadRequest>(caller, "name: 'p'"));
     },
     [](OutcomeTableBase& t) {
       t.WaitqOk({"write", "p", "/dev/null"});
       return t.Waitq({"read", "p"});
     }},
    {"BrokenEndOfFile",
     {.outcome = v1::OUTCOME_END_OF_FILE, .broken = true, .exit = 1},
     [](OutcomeTableBase& t) {
       t.MakeBrokenEnd("p");
       Client caller = t.client();
       return EndingOf(Call<v1::ReadRequest>(caller, "name: 'p'"));
     },
     [](OutcomeTableBase& t) {
       t.MakeBrokenEnd("p");
       return t.Waitq({"read", "p"});
     }},
};

// Who hears nothing any more says it himself: there is no ErrorInfo.
const Row kCallersThatGo[] = {
    // The server answers before that, unless it cannot.
    {"DeadlinePassed",
     {.code = grpc::StatusCode::DEADLINE_EXCEEDED, .exit = 124},
     [](OutcomeTableBase& t) {
       const Ending ending = t.AsleepUntil<v1::WaitRequest>(
           [&] { t.server().process().Signal(SIGSTOP); }, kWait,
           std::chrono::system_clock::now() + std::chrono::seconds(3));
       t.server().process().Signal(SIGCONT);
       return ending;
     },
     [](OutcomeTableBase& t) {
       std::vector<std::string> command = WaitCommand();
       // Its deadline is 5 s behind that; a shorter grace would come before it.
       command.insert(command.end(), {"--timeout", "1s", "--grace", "30s"});
       const Result result = t.AsleepUntil(
           [&](Process& asleep) {
             t.server().process().Signal(SIGSTOP);
             asleep.WaitFor();
           },
           command);
       t.server().process().Signal(SIGCONT);
       return result;
     }},
    {"CallerCancelled",
     {.code = grpc::StatusCode::CANCELLED, .exit = 130},
     [](OutcomeTableBase& t) {
       Client caller = t.client();
       Pending<v1::WaitRequest> call(caller, kWait);
       t.AwaitSleepers("", 1);
       call.Cancel();
       return EndingOf(call.answer());
     },
     [](OutcomeTableBase& t) {
       return t.AsleepUntil([](Process& command) { command.Signal(SIGINT); },
                            WaitCommand());
     }},
    {"ConnectionDied",
     {.code = grpc::StatusCode::UNAVAILABLE, .exit = 1},
     [](OutcomeTableBase& t) {
       Wire wire(t.server().address());
       Client caller(grpc::CreateChannel(wire.address(),
                                         grpc::InsecureChannelCredentials()));
       Pending<v1::WaitRequest> call(caller, kWait);
       t.AwaitSleepers("", 1);
       wire.Cut();
       return EndingOf(call.answer());
     },
     [](OutcomeTableBase& t) {
       Wire wire(t.server().address());
       std::vector<std::string> command = WaitCommand();
       command.insert(command.end(), {"--server", wire.address()});
       return t.AsleepUntil([&](Process&) { wire.Cut(); }, command);
     }},
};

// A row for each signal.
template <v1::SignalRequest::Signal kSignal>
Row SignalRow(const char* name) {
  return {name,
          {.code = grpc::StatusCode::ABORTED,
           .reason = "EINTR",
           .metadata = {{"object", "q"}, {"signal", std::to_string(kSignal)}},
           .exit = 128 + kSignal},
          [](OutcomeTableBase& t) {
            return t.AsleepUntil<v1::WaitRequest>(
                [&] { t.SignalTask(kSignal); }, kWait);
          },
          [](OutcomeTableBase& t) {
            return t.AsleepUntil([&](Process&) { t.SignalTask(kSignal); },
                                 WaitCommand());
          }};
}

const Row kEndsByOthers[] = {
    SignalRow<v1::SignalRequest::SIGNAL_INT>("TaskSignalledInt"),
    SignalRow<v1::SignalRequest::SIGNAL_TERM>("TaskSignalledTerm"),
    SignalRow<v1::SignalRequest::SIGNAL_KILL>("TaskSignalledKill"),
    {"ObjectRemoved",
     {.code = grpc::StatusCode::ABORTED,
      .reason = "EIDRM",
      .metadata = {{"object", "q"}},
      .exit = 1},
     [](OutcomeTableBase& t) {
       return t.AsleepUntil<v1::WaitRequest>(
           [&] {
             t.WaitqOk({"rm", "q"});
           },
           kWait);
     },
     [](OutcomeTableBase& t) {
       return t.AsleepUntil(
           [&](Process&) {
             t.WaitqOk({"rm", "q"});
           },
           WaitCommand());
     }},
    {"ServerDrains",
     {.code = grpc::StatusCode::UNAVAILABLE,
      .reason = "ESHUTDOWN",
      .metadata = {{"object", "q"}},
      .retry = true,
      .exit = 1},
     [](OutcomeTableBase& t) {
       const Ending ending =
           t.AsleepUntil<v1::WaitRequest>([&] { t.Drain(); }, kWait);
       t.StartAgain();
       return ending;
     },
     [](OutcomeTableBase& t) {
       // Should another one come in its time, it sleeps on there.
       std::vector<std::string> command = WaitCommand();
       command.insert(command.end(), {"--timeout", "3s"});
       const Result result =
           t.AsleepUntil([&](Process&) { t.Drain(); }, command);
       t.StartAgain();
       return result;
     }},
    {"NoReaders",
     {.code = grpc::StatusCode::FAILED_PRECONDITION,
      .reason = "EPIPE",
      .metadata = {{"object", "p"}},
      .exit = 128 + SIGPIPE},
     [](OutcomeTableBase& t) {
       t.MakePipeWithoutReaders("p");
       Client caller = t.client();
       return EndingOf(Call<v1::WriteRequest>(caller, "name: 'p' data: 'x'"));
     },
     [](OutcomeTableBase& t) {
       // A writer that opens now would wait for new readers.
       Process& writer = t.StartWaitq({"write", "p"}, {.input_pipe = true});
       EXPECT_TRUE(Await([&] { return t.Stat("p").pipe().writers() == 1; }));
       t.MakePipeWithoutReaders("p");
       writer.WriteInput("words");
       writer.CloseInput();
       const std::optional<int> exit = writer.WaitFor();
       return Result{exit.value_or(-1), writer.Output(), writer.Errors()};
     }},
};

const Row kRefusals[] = {
    {"Limit",
     {.code = grpc::StatusCode::RESOURCE_EXHAUSTED,
      .reason = "ENOSPC",
      .metadata = {{"object", "q"}, {"limit", "sleepers-per-object"}},
      .retry = true,
      .exit = 1},
     [](OutcomeTableBase& t) {
       t.StartServer("127.0.0.1:0", {"--sleepers-per-object", "1"});
       Client caller = t.client();
       Pending<v1::WaitRequest> first(caller, "name: 'q'");
       t.AwaitSleepers("q", 1);
       return EndingOf(Call<v1::WaitRequest>(caller, "name: 'q'"));
     },
     [](OutcomeTableBase& t) {
       t.StartServer("127.0.0.1:0", {"--sleepers-per-object", "1"});
       Process& first = t.StartWaitq({"wait", "q"});
       t.AwaitSleepers("q", 1);
       const Result second = t.Waitq({"wait", "q"});
       first.Signal(SIGINT);
       return second;
     }},
    {"BadName",
     {.code = grpc::StatusCode::INVALID_ARGUMENT,
      .reason = "EINVAL",
      .metadata = {{"object", "a b"}, {"limit", "name-bytes"}},
      .exit = 2},
     [](OutcomeTableBase& t) {
       Client caller = t.client();
       return EndingOf(Call<v1::WaitRequest>(caller, "name: 'a b'"));
     },
     [](OutcomeTableBase& t) {
       return t.Waitq({"wait", "a b"});
     }},
    {"TooLong",
     {.code = grpc::StatusCode::INVALID_ARGUMENT,
      .reason = "EMSGSIZE",
      .metadata = {{"object", "p"}},
      .exit = 2},
     [](OutcomeTableBase& t) {
       Client caller = t.client();
       return EndingOf(Call<v1::WriteRequest>(
           caller,
           "name: 'p' data: 'abc' options { mode: PIPE_MODE_PACKET "
           "capacity_bytes: 66 }"));
     },
     [](OutcomeTableBase& t) {
       return t.Waitq({"send", "p", std::string(70'000, 'x')});
     }},
    {"Overflow",
     {.code = grpc::StatusCode::OUT_OF_RANGE,
      .reason = "ERANGE",
      .metadata = {{"object", "q"}},
      .exit = 2},
     [](OutcomeTableBase& t) {
       t.WaitqOk({"store", "q", "9223372036854775807"});
       Client caller = t.client();
       return EndingOf(Call<v1::WaitRequest>(
           caller, "name: 'q' condition { greater: 0 } then { add: 1 }"));
     },
     [](OutcomeTableBase& t) {
       t.WaitqOk({"store", "q", "9223372036854775807"});
       return t.Waitq({"wait", "q", "--until", ">0", "--then", "add:1"});
     }},
    {"AnotherKind",
     {.code = grpc::StatusCode::FAILED_PRECONDITION,
      .reason = "ENXIO",
      .metadata = {{"object", "p"}},
      .exit = 1},
     [](OutcomeTableBase& t) {
       t.WaitqOk({"create", "p", "--kind", "pipe"});
       Client caller = t.client();
       return EndingOf(Call<v1::WaitRequest>(caller, "name: 'p'"));
     },
     [](OutcomeTableBase& t) {
       t.WaitqOk({"create", "p", "--kind", "pipe"});
       return t.Waitq({"wait", "p"});
     }},
    {"WritersHaveItOpen",
     {.code = grpc::StatusCode::FAILED_PRECONDITION,
      .reason = "EBUSY",
      .metadata = {{"object", "p"}},
      .exit = 1},
     [](OutcomeTableBase& t) {
       Client caller = t.client();
       WriteStream writer(caller, "name: 'p'");
       return StatusOf(Call<v1::RemoveRequest>(caller, "name: 'p'"));
     },
     [](OutcomeTableBase& t) {
       Client caller = t.client();
       WriteStream writer(caller, "name: 'p'");
       return t.Waitq({"rm", "p"});
     }},
    {"NoSuchObject",
     {.code = grpc::StatusCode::NOT_FOUND,
      .reason = "ENOENT",
      .metadata = {{"object", "q"}},
      .exit = 1},
     [](OutcomeTableBase& t) {
       Client caller = t.client();
       return StatusOf(Call<v1::GetRequest>(caller, "name: 'q'"));
     },
     [](OutcomeTableBase& t) {
       return t.Waitq({"get", "q"});
     }},
    {"NoSuchSleeper",
     {.code = grpc::StatusCode::NOT_FOUND, .reason = "ESRCH", .exit = 1},
     [](OutcomeTableBase& t) {
       Client caller = t.client();
       return StatusOf(
           Call<v1::SignalRequest>(caller, "id: 7 signal: SIGNAL_TERM"));
     },
     [](OutcomeTableBase& t) {
       return t.Waitq({"kill", "7"});
     }},
    {"OtherOptions",
     {.code = grpc::StatusCode::ALREADY_EXISTS,
      .reason = "EEXIST",
      .metadata = {{"object", "p"}},
      .exit = 1},
     [](OutcomeTableBase& t) {
       t.WaitqOk({"create", "p", "--kind", "pipe"});
       Client caller = t.client();
       return EndingOf(Call<v1::ReadRequest>(
           caller, "name: 'p' options { mode: PIPE_MODE_PACKET }"));
     },
     [](OutcomeTableBase& t) {
       t.WaitqOk({"create", "p", "--kind", "pipe"});
       return t.Waitq({"recv", "p"});
     }},
    {"NoServer",
     {.code = grpc::StatusCode::UNAVAILABLE, .exit = 1},
     [](OutcomeTableBase&) {
       Client caller(grpc::CreateChannel("127.0.0.1:1",
                                         grpc::InsecureChannelCredentials()));
       return EndingOf(Call<v1::WaitRequest>(caller, "name: 'q'"));
     },
     [](OutcomeTableBase& t) {
       return t.Waitq({"wait", "q", "--server", "127.0.0.1:1"});
     }},
};

std::string RowName(const ::testing::TestParamInfo<Row>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(Expected, OutcomeTableTest,
                         ::testing::ValuesIn(kExpectedEnds), RowName);
INSTANTIATE_TEST_SUITE_P(CallerGone, OutcomeTableTest,
                         ::testing::ValuesIn(kCallersThatGo), RowName);
INSTANTIATE_TEST_SUITE_P(ByOthers, OutcomeTableTest,
                         ::testing::ValuesIn(kEndsByOthers), RowName);
INSTANTIATE_TEST_SUITE_P(Refused, OutcomeTableTest,
                         ::testing::ValuesIn(kRefusals), RowName);

}  // namespace
}  // namespace waitq::test
