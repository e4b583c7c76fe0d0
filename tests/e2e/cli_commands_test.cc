// The command line, command by command: what each prints and how it ends. How
// sleepers and pipes behave has tests of its own.

#include <csignal>
#include <cstdio>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/fixture.h"
#include "waitq/v1/pipes.grpc.pb.h"
#include "waitq/v1/wait_queues.grpc.pb.h"

namespace waitq::test {
namespace {

using ::testing::_;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::SizeIs;

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

class CliCommandsTest : public WaitqTest {};

TEST_F(CliCommandsTest, GetPrintsTheValueAlone) {
  WaitqOk({"store", "word", "42"});
  EXPECT_EQ(WaitqOk({"get", "word"}), "42\n");
  WaitqOk({"store", "word", "-9223372036854775808"});
  EXPECT_EQ(WaitqOk({"get", "word"}), "-9223372036854775808\n");
}

TEST_F(CliCommandsTest, WakeChangesTheWord) {
  WaitqOk({"wake", "word", "--set", "5"});
  WaitqOk({"wake", "word", "--add", "2"});
  WaitqOk({"wake", "word", "--add", "-3"});
  EXPECT_EQ(WaitqOk({"get", "word"}), "4\n");
}

TEST_F(CliCommandsTest, StoreSaysWhatWasThere) {
  EXPECT_THAT(WaitqOk({"store", "word", "42"}),
              MatchesRegex("before=0 generation=[0-9]+\n"));
  EXPECT_THAT(WaitqOk({"store", "word", "7"}),
              MatchesRegex("before=42 generation=[0-9]+\n"));
}

TEST_F(CliCommandsTest, WaitSaysWhatItFoundAndLeft) {
  WaitqOk({"store", "word", "1"});
  EXPECT_THAT(WaitqOk({"wait", "word", "--until", "==1"}),
              MatchesRegex("value=1 generation=[0-9]+ slept=no\n"));
  EXPECT_THAT(WaitqOk({"wait", "word", "--until", "==1", "--then", "set:0"}),
              MatchesRegex("value=0 before=1 generation=[0-9]+ slept=no\n"));
  Process& waiter =
      StartWaitq({"wait", "word", "--until", "==1", "--timeout", "1h"});
  AwaitSleepers("word", 1);
  WaitqOk({"wake", "word", "--set", "1"});
  EXPECT_EQ(waiter.WaitFor(), 0);
  EXPECT_THAT(
      waiter.Output(),
      MatchesRegex(
          "value=1 generation=[0-9]+ slept=yes remaining=59m5[0-9.]+s\n"));
}

TEST_F(CliCommandsTest, WaitThatEndsOtherwiseSaysSoInOneLine) {
  EXPECT_TRUE(FailsClearly(
      Waitq({"wait", "word", "--until", "==1", "--timeout", "10ms"}), 124,
      {"word", "timed out after 10ms", "value=0"}));
  EXPECT_TRUE(
      FailsClearly(Waitq({"wait", "word", "--until", "==1", "--nonblock"}), 11,
                   {"word", "would block", "value=0"}));
}

TEST_F(CliCommandsTest, ChangedSinceTheGenerationThatWasPrinted) {
  WaitqOk({"store", "word", "1"});
  const std::string line = WaitqOk({"wait", "word", "--until", "==1"});
  const std::vector<std::string> parts = absl::StrSplit(line, ' ');
  ASSERT_THAT(parts, SizeIs(3));
  const std::vector<std::string> field = absl::StrSplit(parts[1], '=');
  const std::string changed = "changed:" + field.back();
  EXPECT_EQ(Waitq({"wait", "word", "--until", changed, "--nonblock"}).exit, 11);
  WaitqOk({"store", "word", "1"});  // the same value is a change too
  WaitqOk({"wait", "word", "--until", changed, "--nonblock"});
}

TEST_F(CliCommandsTest, WakeSaysHowManyItWoke) {
  EXPECT_THAT(WaitqOk({"wake", "bell", "--all"}),
              MatchesRegex("woken=0 exclusive=0 value=0 generation=[0-9]+\n"));
  Process& one = StartWaitq({"wait", "bell"});
  Process& other =
      StartWaitq({"wait", "bell", "--until", "==3", "--then", "add:1"});
  AwaitSleepers("bell", 2);
  EXPECT_THAT(WaitqOk({"wake", "bell", "--set", "3"}),
              MatchesRegex("woken=2 exclusive=1 value=4 generation=[0-9]+\n"));
  EXPECT_EQ(one.WaitFor(), 0);
  EXPECT_EQ(other.WaitFor(), 0);
}

class ConditionTest : public CliCommandsTest,
                      public ::testing::WithParamInterface<
                          std::tuple<const char*, const char*, bool>> {};

TEST_P(ConditionTest, TestsTheWord) {
  const auto& [value, condition, holds] = GetParam();
  WaitqOk({"store", "word", value});
  const Result result =
      Waitq({"wait", "word", "--until", condition, "--nonblock"});
  EXPECT_EQ(result.exit, holds ? 0 : 11)
      << value << " " << condition << ": " << result.err;
}

INSTANTIATE_TEST_SUITE_P(
    Conditions, ConditionTest,
    ::testing::Values(
        std::tuple("5", "==5", true), std::tuple("5", "==-5", false),
        std::tuple("-5", "==-5", true), std::tuple("5", "!=5", false),
        std::tuple("5", "!=4", true), std::tuple("5", "<5", false),
        std::tuple("5", "<6", true), std::tuple("5", "<=5", true),
        std::tuple("5", "<=4", false), std::tuple("5", ">5", false),
        std::tuple("5", ">4", true), std::tuple("5", ">=5", true),
        std::tuple("5", ">=6", false), std::tuple("5", "all:0x5", true),
        std::tuple("5", "all:0x7", false), std::tuple("5", "any:0x6", true),
        std::tuple("5", "any:0xA", false),
        std::tuple("-1", "all:0xFFFFFFFFFFFFFFFF", true)));

class ActionTest : public CliCommandsTest,
                   public ::testing::WithParamInterface<
                       std::tuple<const char*, const char*>> {};

TEST_P(ActionTest, ChangesTheWordInTheSameStep) {
  const auto& [action, value] = GetParam();
  WaitqOk({"store", "word", "12"});
  WaitqOk({"wait", "word", "--until", "==12", "--then", action});
  EXPECT_EQ(WaitqOk({"get", "word"}), std::string(value) + "\n");
}

INSTANTIATE_TEST_SUITE_P(Actions, ActionTest,
                         ::testing::Values(std::tuple("set:-1", "-1"),
                                           std::tuple("add:5", "17"),
                                           std::tuple("add:-5", "7"),
                                           std::tuple("and:0x8", "8"),
                                           std::tuple("or:0x3", "15")));

TEST_F(CliCommandsTest, CreateMakesEachKind) {
  EXPECT_EQ(WaitqOk({"create", "a/queue", "--kind", "queue"}), "created=yes\n");
  EXPECT_EQ(WaitqOk({"create", "a/queue", "--kind", "queue"}), "created=no\n");
  WaitqOk({"create", "a/completion", "--kind", "completion"});
  WaitqOk({"create", "a/pipe", "--kind", "pipe", "--capacity", "8KiB"});
  EXPECT_EQ(Stat("a/queue").kind(), v1::OBJECT_KIND_WAIT_QUEUE);
  EXPECT_EQ(Stat("a/completion").kind(), v1::OBJECT_KIND_COMPLETION);
  EXPECT_EQ(Stat("a/pipe").pipe().capacity_bytes(), 8192u);
}

TEST_F(CliCommandsTest, LsShowsNamesAndKindsInOrder) {
  EXPECT_THAT(Lines(WaitqOk({"ls"})), SizeIs(1));
  WaitqOk({"create", "b", "--kind", "pipe"});
  WaitqOk({"store", "a", "7"});
  WaitqOk({"create", "c/d", "--kind", "completion"});
  const std::vector<std::string> lines = Lines(WaitqOk({"ls"}));
  ASSERT_THAT(lines, SizeIs(4));
  EXPECT_THAT(lines[0], MatchesRegex("NAME +KIND +SLEEPERS +STATE"));
  EXPECT_THAT(lines[1], MatchesRegex("a +queue +0 +value=7"));
  EXPECT_THAT(lines[2], MatchesRegex("b +pipe +0 +unread=0"));
  EXPECT_THAT(lines[3], MatchesRegex("c/d +completion +0 +done=0"));
}

TEST_F(CliCommandsTest, LsTakesAPrefix) {
  for (const char* name : {"a/1", "a/2", "ab", "b"}) {
    WaitqOk({"store", name, "1"});
  }
  EXPECT_THAT(WaitqOk({"ls", "a/"}),
              AllOf(HasSubstr("a/1"), HasSubstr("a/2"), Not(HasSubstr("ab")),
                    Not(HasSubstr("b "))));
}

TEST_F(CliCommandsTest, LsShowsMoreThanAPage) {
  const auto stub = v1::WaitQueues::NewStub(channel());
  for (int i = 0; i < 1100; ++i) {
    grpc::ClientContext context;
    v1::StoreRequest request;
    request.set_name("many/" + std::to_string(i));
    v1::StoreResponse response;
    ASSERT_TRUE(stub->Store(&context, request, &response).ok());
  }
  EXPECT_THAT(Lines(WaitqOk({"ls", "many/"})), SizeIs(1101));
}

TEST_F(CliCommandsTest, StatShowsTheState) {
  WaitqOk({"store", "word", "42"});
  EXPECT_THAT(WaitqOk({"stat", "word"}),
              AllOf(HasSubstr("name: word\n"), HasSubstr("kind: queue\n"),
                    HasSubstr("created: no\n"), HasSubstr("sleepers: 0\n"),
                    HasSubstr("value: 42\n")));
  WaitqOk({"create", "pipe", "--kind", "pipe", "--capacity", "8KiB"});
  WaitqOk({"write", "pipe"}, std::string(123, 'x'));
  EXPECT_THAT(WaitqOk({"stat", "pipe"}),
              AllOf(HasSubstr("kind: pipe\n"), HasSubstr("created: yes\n"),
                    HasSubstr("capacity: 8192\n"), HasSubstr("unread: 123\n"),
                    HasSubstr("write_offset: 123\n"), HasSubstr("readers: 0\n"),
                    HasSubstr("writers: 0\n")));
}

TEST_F(CliCommandsTest, RmRemoves) {
  WaitqOk({"store", "word", "42"});
  EXPECT_EQ(WaitqOk({"rm", "word"}), "ended=0\n");
  EXPECT_THAT(Stat("word").name(), IsEmpty());
  EXPECT_EQ(Waitq({"get", "word"}).exit, 1);
}

TEST_F(CliCommandsTest, RmOfAPipeThatHasAWriterNeedsForce) {
  Process& writer = StartWaitq({"write", "pipe"}, {.input_pipe = true});
  ASSERT_TRUE(Await([this] { return Stat("pipe").pipe().writers() == 1; }));
  EXPECT_TRUE(FailsClearly(Waitq({"rm", "pipe"}), 1, {"pipe"}));
  WaitqOk({"rm", "--force", "pipe"});
  writer.WriteInput("words");
  writer.CloseInput();
  EXPECT_EQ(writer.WaitFor(), 1);
  EXPECT_THAT(writer.Errors(), HasSubstr("pipe"));
}

TEST_F(CliCommandsTest, PsShowsWhoSleepsOnWhat) {
  StartWaitq({"wait", "flag", "--until", "==1", "--timeout", "1h"});
  StartWaitq({"wait", "bell", "--killable"});
  StartWaitq({"read", "pipe"});
  AwaitSleepers("", 3);
  // Each under a heading.
  EXPECT_THAT(Lines(WaitqOk({"ps"})), SizeIs(4));
  EXPECT_THAT(Lines(WaitqOk({"ps", "flag"})),
              ElementsAre(HasSubstr("STATE"),
                          AllOf(HasSubstr("flag"), HasSubstr(" S "),
                                HasSubstr("== 1"), HasSubstr(" 59m5"))));
  EXPECT_THAT(Lines(WaitqOk({"ps", "bell"})),
              ElementsAre(_, AllOf(HasSubstr("bell"), HasSubstr(" K "))));
  EXPECT_THAT(Lines(WaitqOk({"ps", "pipe"})),
              ElementsAre(_, AllOf(HasSubstr("pipe"), HasSubstr(" S "),
                                   HasSubstr("read"))));
}

TEST_F(CliCommandsTest, KillEndsASleepAndSaysWhether) {
  Process& wait = StartWaitq({"wait", "bell", "--killable"});
  AwaitSleepers("", 1);
  const std::vector<std::string> columns =
      absl::StrSplit(Lines(WaitqOk({"ps"})).at(1), ' ', absl::SkipEmpty());
  const std::string id = columns.at(0);
  EXPECT_EQ(WaitqOk({"kill", "-s", "INT", id}), "ended=no\n");
  EXPECT_EQ(WaitqOk({"kill", id}), "ended=yes\n");
  EXPECT_EQ(wait.WaitFor(), 128 + 15);
  EXPECT_TRUE(FailsClearly(Waitq({"kill", id}), 1, {id, "asleep"}));
  EXPECT_TRUE(FailsClearly(Waitq({"kill", "x"}), 2, {"ID", "ps"}));
}

TEST_F(CliCommandsTest, CompletionsAreCompletedAwaitedAndReinitialised) {
  Process& await = StartWaitq({"await", "build"});
  AwaitSleepers("build", 1);
  EXPECT_THAT(WaitqOk({"complete", "build"}),
              MatchesRegex("woken=1 done=0 generation=[0-9]+\n"));
  EXPECT_EQ(await.WaitFor(), 0);
  EXPECT_THAT(WaitqOk({"complete", "build", "--nr", "2"}),
              MatchesRegex("woken=0 done=2 generation=[0-9]+\n"));
  EXPECT_THAT(WaitqOk({"await", "build", "--nonblock"}),
              MatchesRegex("generation=[0-9]+ slept=no\n"));
  EXPECT_THAT(WaitqOk({"complete", "build", "--all"}), HasSubstr("done=all"));
  WaitqOk({"reinit", "build"});
  EXPECT_TRUE(FailsClearly(Waitq({"await", "build", "--nonblock"}), 11,
                           {"build", "would block"}));
  EXPECT_TRUE(FailsClearly(Waitq({"await", "build", "--timeout", "10ms"}), 124,
                           {"build", "timed out after 10ms"}));
}

// --- send, recv, poll --------------------------------------------------------

TEST_F(CliCommandsTest, WaitAnyPrintsWhichOfThemAndWhatItGave) {
  const std::vector<std::string> any = {"wait-any", "queue:flag,==1,set:0",
                                        "completion:stop", "pipe:work,3"};
  WaitqOk({"send", "work", "abc"});
  EXPECT_THAT(WaitqOk(any),
              MatchesRegex("alternative=2 kind=pipe name=work bytes=3 "
                           "slept=no\nabc"));
  WaitqOk({"complete", "stop"});
  EXPECT_THAT(WaitqOk(any),
              MatchesRegex("alternative=1 kind=completion name=stop "
                           "generation=[0-9]+ slept=no\n"));
  Process& waiter = StartWaitq(any);
  AwaitSleepers("flag", 1);
  EXPECT_THAT(WaitqOk({"ps"}),
              AllOf(HasSubstr("any 0: value == 1"), HasSubstr("any 1: done"),
                    HasSubstr("any 2: read 3 bytes")));
  WaitqOk({"wake", "flag", "--set", "1"});
  EXPECT_EQ(waiter.WaitFor(), 0);
  EXPECT_THAT(waiter.Output(),
              MatchesRegex("alternative=0 kind=queue name=flag value=0 "
                           "before=1 generation=[0-9]+ slept=yes\n"));
  EXPECT_THAT(Lines(WaitqOk({"ps"})), SizeIs(1)) << "the others have left";
}

TEST_F(CliCommandsTest, WaitAnyEndsAsTheOthersDo) {
  EXPECT_TRUE(FailsClearly(
      Waitq({"wait-any", "completion:a", "pipe:b", "--timeout", "10ms"}), 124,
      {"timed out after 10ms"}));
  EXPECT_TRUE(
      FailsClearly(Waitq({"wait-any", "completion:a", "pipe:b", "--nonblock"}),
                   11, {"would block"}));
  Process& waiter = StartWaitq({"wait-any", "completion:a", "completion:c"});
  AwaitSleepers("c", 1);
  WaitqOk({"rm", "c"});
  EXPECT_EQ(waiter.WaitFor(), 1);
  WaitqOk({"write", "file", "/dev/null"});
  EXPECT_THAT(WaitqOk({"wait-any", "pipe:file"}),
              MatchesRegex("alternative=0 kind=pipe name=file bytes=0 "
                           "end_of_file=clean slept=no\n"));
}

TEST_F(CliCommandsTest, SendAndRecvAreAJobQueueInTwoCommands) {
  WaitqOk({"send", "jobs"}, "one\ntwo words\n\nthree");
  EXPECT_EQ(WaitqOk({"recv", "jobs"}), "one\n");
  EXPECT_EQ(WaitqOk({"recv", "jobs", "--count", "2"}), "two words\nthree\n");
  EXPECT_TRUE(
      FailsClearly(Waitq({"recv", "jobs", "--nonblock"}), 11, {"jobs"}));
  WaitqOk({"send", "jobs", "a", "b c"});
  EXPECT_EQ(WaitqOk({"recv", "jobs", "--count", "2"}), "a\nb c\n");
}

TEST_F(CliCommandsTest, RecvSleepsAndFollows) {
  Process& follower = StartWaitq({"recv", "jobs", "--follow"});
  AwaitSleepers("jobs", 1);
  WaitqOk({"send", "jobs", "one"});
  AwaitSleepers("jobs", 1);
  WaitqOk({"send", "jobs", "two"});
  AwaitSleepers("jobs", 1);
  EXPECT_EQ(follower.Output(), "one\ntwo\n");
  follower.Signal(SIGINT);
  EXPECT_EQ(follower.WaitFor(), 130);
}

// What was taken and could not be printed is there for the next one.
TEST_F(CliCommandsTest, APacketThatCannotBePrintedStays) {
  WaitqOk({"send", "jobs", "one", "two"});
  const std::string waitq = BuiltProgram("client/cli/waitq") + " --server " +
                            server().address() + " ";
  for (const char* output : {">/dev/full", ">&-"}) {
    Process shell({"/bin/sh", "-c", "exec " + waitq + "recv jobs " + output});
    EXPECT_EQ(shell.WaitFor(), 1) << output;
    EXPECT_THAT(shell.Errors(), HasSubstr("cannot write the output"));
  }
  EXPECT_EQ(WaitqOk({"recv", "jobs", "--count", "2"}), "one\ntwo\n");
}

TEST_F(CliCommandsTest, RawPacketsAreKeptByteByByte) {
  const std::string bytes("\0\n\xff\r\n\n", 6);
  WaitqOk({"send", "jobs", "--raw"}, bytes);
  EXPECT_EQ(WaitqOk({"recv", "jobs", "--raw"}), bytes);
}

TEST_F(CliCommandsTest, WhatIsNoPacketIsSaidSo) {
  EXPECT_TRUE(FailsClearly(Waitq({"send", "jobs", ""}), 2, {"empty packets"}));
  WaitqOk({"send", "jobs", "--raw"}, "");  // nothing is no packet
  EXPECT_TRUE(
      FailsClearly(Waitq({"send", "jobs", "--raw"}, std::string(70'000, 'x')),
                   2, {"jobs", "longer than the pipe"}));
  WaitqOk({"create", "stream", "--kind", "pipe"});
  EXPECT_TRUE(FailsClearly(Waitq({"send", "stream", "x"}), 1,
                           {"stream", "other options"}));
}

TEST_F(CliCommandsTest, PollPrintsWhatThereIs) {
  EXPECT_EQ(WaitqOk({"poll", "p", "--in", "--out"}), "out\n");
  Process& poll = StartWaitq({"poll", "p", "--in"});
  AwaitSleepers("p", 1);
  WaitqOk({"write", "p"}, "x");
  EXPECT_EQ(poll.WaitFor(), 0);
  EXPECT_THAT(poll.Output(), HasSubstr("in"));
  EXPECT_THAT(WaitqOk({"poll", "p", "--in"}), "in hup\n");
}

// --- until -------------------------------------------------------------------

TEST_F(CliCommandsTest, UntilRunsACommandUntilItSucceeds) {
  const std::string file = testing::TempDir() + "/until";
  std::remove(file.c_str());
  // It counts its own runs, and succeeds in the third.
  const std::string script =
      "echo x >>" + file + "; test $(wc -l <" + file + ") -eq 3";
  WaitqOk({"until", "--every", "1ms", "--", "sh", "-c", script});
}

TEST_F(CliCommandsTest, UntilEndsAsTimeoutAndShellsDo) {
  EXPECT_TRUE(FailsClearly(
      Waitq({"until", "--timeout", "20ms", "--every", "5ms", "--", "false"}),
      124, {"false", "timed out after 20ms"}));
  EXPECT_TRUE(FailsClearly(Waitq({"until", "--", "no-such-command"}), 127,
                           {"no-such-command", "No such file"}));
  EXPECT_TRUE(FailsClearly(Waitq({"until", "--", "/etc/passwd"}), 126,
                           {"/etc/passwd", "denied"}));
  EXPECT_TRUE(FailsClearly(Waitq({"until"}), 2, {"CMD"}));
}

TEST_F(CliCommandsTest, UntilIsRunOnceMoreWhenTheTimeIsOver) {
  WaitqOk({"until", "--timeout", "0", "--", "true"});
}

TEST_F(CliCommandsTest, UntilHandsASignalOn) {
  Process& until = StartWaitq({"until", "--", "sh", "-c",
                               "trap 'echo told; exit 1' TERM; echo up; "
                               "while :; do sleep 0.01; done"});
  ASSERT_TRUE(until.AwaitLine("up").has_value());
  until.Signal(SIGTERM);
  EXPECT_EQ(until.WaitFor(), 143);
  EXPECT_THAT(until.Output(), HasSubstr("told"));
}

TEST_F(CliCommandsTest, PsOfNobodyIsTheHeadingAlone) {
  EXPECT_THAT(Lines(WaitqOk({"ps"})), SizeIs(1));
}

TEST_F(CliCommandsTest, PsShowsAnUninterruptibleWriterAsD) {
  // No command line makes one; other programs may.
  const auto stub = v1::Pipes::NewStub(channel());
  grpc::ClientContext context;
  const auto stream = stub->WriteStream(&context);
  v1::WriteStreamRequest request;
  request.mutable_open()->set_name("pipe");
  request.mutable_open()->set_sleep(v1::SLEEP_UNINTERRUPTIBLE);
  request.mutable_open()->set_caller("a test");
  ASSERT_TRUE(stream->Write(request));
  request.set_data(std::string(100'000, 'x'));
  ASSERT_TRUE(stream->Write(request));
  ASSERT_TRUE(stream->WritesDone());
  AwaitSleepers("pipe", 1);
  EXPECT_THAT(WaitqOk({"ps", "pipe"}),
              AllOf(HasSubstr(" D "), HasSubstr("a test"), HasSubstr("write")));
  EXPECT_EQ(WaitqOk({"read", "pipe"}).size(), 100'000u);
  v1::WriteStreamResponse response;
  while (stream->Read(&response)) {
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(response.outcome(), v1::OUTCOME_DONE);
}

TEST_F(CliCommandsTest, ServerFlagBeatsTheEnvironment) {
  WaitqOk({"store", "word", "42"});
  // WAITQ_SERVER names the right one.
  EXPECT_EQ(Waitq({"--server", "127.0.0.1:1", "get", "word"}).exit, 1);
}

TEST_F(CliCommandsTest, HelpIsPrintedWithoutAServer) {
  const std::string help = WaitqOk({"--help"});
  for (const char* command : {"wait", "wake", "get", "store", "write", "read",
                              "create", "ls", "stat", "rm", "ps"}) {
    EXPECT_THAT(help, HasSubstr(command));
    EXPECT_THAT(WaitqOk({command, "--help"}), HasSubstr(command));
  }
}

}  // namespace
}  // namespace waitq::test
