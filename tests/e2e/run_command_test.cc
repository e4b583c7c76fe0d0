// waitq run and waitq barrier: as a shell sees them, also when a holder, a
// server or a program that waits is lost.

#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/fixture.h"

namespace waitq::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class RunCommandTest : public WaitqTest {
 protected:
  // A command that writes down its own number and its child's, and runs on.
  std::vector<std::string> Lasting(std::vector<std::string> before) {
    for (const std::string& word :
         {std::string("--"), std::string("sh"), std::string("-c"),
          absl::StrCat("sleep 300 & echo $! > ", folder_.Path("child"),
                       "; echo $$ > ", folder_.Path("leader"),
                       "; echo up; wait")}) {
      before.push_back(word);
    }
    return before;
  }
  // Until the one that wrote it down is gone.
  bool AwaitGone(const std::string& file) {
    return Await([&] {
      std::ifstream in(folder_.Path(file));
      pid_t pid = 0;
      in >> pid;
      return pid > 0 && kill(pid, 0) < 0 && errno == ESRCH;
    });
  }

  TemporaryFolder folder_;
};

TEST_F(RunCommandTest, TheCommandsExitCodeIsItsOwn) {
  EXPECT_EQ(Waitq({"run", "--lock", "l", "--", "true"}).exit, 0);
  EXPECT_EQ(Waitq({"run", "--lock", "l", "--", "sh", "-c", "exit 7"}).exit, 7);
  EXPECT_EQ(
      Waitq({"run", "--sem", "s:2", "--", "sh", "-c", "kill -TERM $$"}).exit,
      128 + SIGTERM);
  EXPECT_EQ(Waitq({"run", "--lock", "l", "--", "/nonexistent"}).exit, 127);
  EXPECT_EQ(Waitq({"run", "--lock", "l", "--", "/"}).exit, 126);
  EXPECT_EQ(Stat("l").wait_queue().value(), 0);
  EXPECT_EQ(Stat("l").wait_queue().grants(), 0u);
}

TEST_F(RunCommandTest, ItsTokensRise) {
  uint64_t last = 0;
  for (int i = 0; i < 3; ++i) {
    const std::string out =
        WaitqOk({"run", "--lock", "l", "--", "sh", "-c", "echo $WAITQ_TOKEN"});
    uint64_t token = 0;
    ASSERT_TRUE(absl::SimpleAtoi(absl::StripSuffix(out, "\n"), &token)) << out;
    EXPECT_GT(token, last);
    last = token;
  }
}

TEST_F(RunCommandTest, OneAtATime) {
  // Fails if another one is in there.
  const std::string folder = folder_.Path("held");
  std::vector<Process*> runs;
  for (int i = 0; i < 8; ++i) {
    runs.push_back(&StartWaitq(
        {"run", "--lock", "l", "--", "sh", "-c",
         absl::StrCat("mkdir ", folder, " && sleep 0.02 && rmdir ", folder)}));
  }
  for (Process* run : runs) EXPECT_EQ(run->WaitFor(), 0) << run->Errors();
}

TEST_F(RunCommandTest, AsManyAtATimeAsItSays) {
  Process& first = StartWaitq(Lasting({"run", "--sem", "s:2"}));
  ASSERT_TRUE(first.AwaitLine("up"));
  EXPECT_EQ(Waitq({"run", "--sem", "s:2", "--", "true"}).exit, 0);
  EXPECT_TRUE(
      FailsClearly(Waitq({"run", "--sem", "s:1", "--nonblock", "--", "true"}),
                   11, {"s", "would block"}));
  EXPECT_TRUE(FailsClearly(
      Waitq({"run", "--sem", "s:1", "--timeout", "10ms", "--", "true"}), 124,
      {"s", "timed out"}));
}

TEST_F(RunCommandTest, WhatCannotBeIsAUsageError) {
  EXPECT_TRUE(FailsClearly(Waitq({"run", "--", "true"}), 2, {"--lock"}));
  EXPECT_TRUE(
      FailsClearly(Waitq({"run", "--sem", "s", "--", "true"}), 2, {"NAME:N"}));
  EXPECT_TRUE(
      FailsClearly(Waitq({"run", "--sem", "s:0", "--", "true"}), 2, {"--sem"}));
  EXPECT_TRUE(FailsClearly(Waitq({"barrier", "b", "0"}), 2, {"N"}));
}

TEST_F(RunCommandTest, ASignalIsPassedOnAndTheLockLetGo) {
  Process& run = StartWaitq(Lasting({"run", "--lock", "l"}));
  ASSERT_TRUE(run.AwaitLine("up"));
  run.Signal(SIGTERM);
  EXPECT_EQ(run.WaitFor(), 128 + SIGTERM);
  EXPECT_TRUE(AwaitGone("leader"));
  EXPECT_EQ(
      Waitq({"run", "--lock", "l", "--timeout", "30s", "--", "true"}).exit, 0);
}

TEST_F(RunCommandTest, OtherSignalsAreTheCommands) {
  Process& run = StartWaitq(
      {"run", "--lock", "l", "--", "sh", "-c",
       "trap 'echo hup' HUP; trap 'echo usr1' USR1; trap 'echo usr2' USR2; "
       "trap 'echo quit; exit 3' QUIT; echo up; while :; do sleep 0.01; done"});
  ASSERT_TRUE(run.AwaitLine("up"));
  for (const auto& [signal, line] :
       {std::pair(SIGHUP, "hup"), std::pair(SIGUSR1, "usr1"),
        std::pair(SIGUSR2, "usr2"), std::pair(SIGQUIT, "quit")}) {
    run.Signal(signal);
    EXPECT_TRUE(run.AwaitLine(line));
  }
  EXPECT_EQ(run.WaitFor(), 3);
  EXPECT_EQ(Waitq({"run", "--lock", "l", "--nonblock", "--", "true"}).exit, 0);
}

// Guards SIGTSTP in SignalsToGroup: as from a terminal that the command does
// not have, because its standard input is something else.
TEST_F(RunCommandTest, WhoIsStoppedStopsTheCommandToo) {
  Process& run = StartWaitq(Lasting({"run", "--lock", "l"}));
  ASSERT_TRUE(run.AwaitLine("up"));
  const auto state_of = [&](pid_t pid) {
    std::ifstream in(absl::StrCat("/proc/", pid, "/stat"));
    std::string number, name, state;
    in >> number >> name >> state;
    return state;
  };
  const auto leader = [&] {
    std::ifstream in(folder_.Path("leader"));
    pid_t pid = 0;
    in >> pid;
    return pid;
  };
  run.Signal(SIGTSTP);
  EXPECT_TRUE(Await([&] { return state_of(run.pid()) == "T"; }));
  EXPECT_EQ(state_of(leader()), "T");
  run.Signal(SIGCONT);
  EXPECT_TRUE(Await([&] { return state_of(leader()) == "S"; }));
  run.Signal(SIGTERM);
  EXPECT_EQ(run.WaitFor(), 128 + SIGTERM);
}

TEST_F(RunCommandTest, WhoWaitsForItCanBeStopped) {
  Process& holder = StartWaitq(Lasting({"run", "--lock", "l"}));
  ASSERT_TRUE(holder.AwaitLine("up"));
  Process& waits = StartWaitq({"run", "--lock", "l", "--", "true"});
  AwaitSleepers("l", 1);
  waits.Signal(SIGINT);
  EXPECT_EQ(waits.WaitFor(), 128 + SIGINT);
  AwaitSleepers("l", 0);
}

TEST_F(RunCommandTest, WhenTheLockIsLostTheWholeGroupEndsBeforeAnotherHasIt) {
  Process& run = StartWaitq(Lasting({"--grace", "4s", "run", "--lock", "l"}));
  ASSERT_TRUE(run.AwaitLine("up"));
  kill(server().pid(), SIGSTOP);  // says nothing for longer than the grace
  EXPECT_EQ(run.WaitFor(), 125);
  EXPECT_THAT(run.Errors(), AllOf(HasSubstr("l:"), HasSubstr("lost")));
  EXPECT_TRUE(AwaitGone("leader"));
  EXPECT_TRUE(AwaitGone("child"));
  kill(server().pid(), SIGCONT);
  EXPECT_EQ(
      Waitq({"run", "--lock", "l", "--timeout", "30s", "--", "true"}).exit, 0);
}

TEST_F(RunCommandTest, OneThatIsKilledTakesItsCommandWithIt) {
  Process& run = StartWaitq(Lasting({"--grace", "4s", "run", "--lock", "l"}));
  ASSERT_TRUE(run.AwaitLine("up"));
  // Not its group: the command has one of its own, in any case.
  kill(run.pid(), SIGKILL);
  EXPECT_EQ(
      Waitq({"run", "--lock", "l", "--timeout", "30s", "--", "sh", "-c",
             absl::StrCat("! kill -0 $(cat ", folder_.Path("leader"),
                          ") && ! kill -0 $(cat ", folder_.Path("child"), ")")})
          .exit,
      0)
      << "it was gone before another had the lock";
}

// A shell in a terminal, with its job control.
class Terminal {
 public:
  Terminal() {
    shell_ = forkpty(&fd_, nullptr, nullptr, nullptr);
    if (shell_ == 0) {
      execlp("bash", "bash", "--norc", "-i", nullptr);
      _exit(127);
    }
    fcntl(fd_, F_SETFL, O_NONBLOCK);
  }
  ~Terminal() {
    close(fd_);  // hangs up
    kill(shell_, SIGKILL);
    waitpid(shell_, nullptr, 0);
  }
  void Type(const std::string& text) {
    EXPECT_EQ(write(fd_, text.data(), text.size()),
              static_cast<ssize_t>(text.size()));
  }
  // Whose it is.
  pid_t ForegroundGroup() const { return tcgetpgrp(fd_); }
  // Until it shows that, after what was awaited before.
  testing::AssertionResult AwaitText(const std::string& text) {
    const bool has_come = Await([&] {
      char bytes[4096];
      const ssize_t n = read(fd_, bytes, sizeof(bytes));
      if (n > 0) shown_.append(bytes, static_cast<size_t>(n));
      const size_t at = shown_.find(text);
      if (at == std::string::npos) return false;
      shown_.erase(0, at + text.size());
      return true;
    });
    if (has_come) return testing::AssertionSuccess();
    return testing::AssertionFailure()
           << "no \"" << text << "\" in what it shows:\n"
           << shown_;
  }

 private:
  int fd_ = -1;
  pid_t shell_ = -1;
  std::string shown_;
};

// Guards Child::StopWithIt(): the command alone would be stopped, and nobody
// have the terminal.
TEST_F(RunCommandTest, CtrlZStopsItAndFgGoesOn) {
  Terminal terminal;
  // (What is typed is shown, too, and must not be what is awaited. And who is
  // stopped in the middle of a vfork() of the shell's does not stop it:
  // `exec`.)
  terminal.Type(absl::StrCat(
      BuiltProgram("client/cli/waitq"), " --server ", server().address(),
      " run --lock l -- sh -c 'echo u''p; exec sleep 300'\n"));
  ASSERT_TRUE(terminal.AwaitText("up\r\n"));
  const pid_t command = terminal.ForegroundGroup();
  terminal.Type("\x1a");
  ASSERT_TRUE(terminal.AwaitText("Stopped"));
  terminal.Type("echo al''ive\n");
  ASSERT_TRUE(terminal.AwaitText("alive\r\n"));
  terminal.Type("fg\n");
  // The shell says what it lets go on before it gives it the terminal: until
  // then a Ctrl-C is the shell's, and lost.
  ASSERT_TRUE(terminal.AwaitText("run --lock l"));
  ASSERT_TRUE(Await([&] { return terminal.ForegroundGroup() == command; }));
  terminal.Type("\x03");
  terminal.Type("echo r''c=$?\n");
  EXPECT_TRUE(terminal.AwaitText("rc=130"));
}

TEST_F(RunCommandTest, ABarrierLetsAllThroughTogether) {
  std::vector<Process*> parties;
  for (int i = 0; i < 3; ++i) {
    parties.push_back(&StartWaitq({"barrier", "b", "4"}));
    AwaitSleepers("b", parties.size());
  }
  EXPECT_EQ(WaitqOk({"barrier", "b", "4"}), "round=0 place=3\n");
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(parties[i]->WaitFor(), 0);
    EXPECT_EQ(parties[i]->Output(), absl::StrCat("round=0 place=", i, "\n"));
  }
  EXPECT_TRUE(FailsClearly(Waitq({"barrier", "b", "4", "--timeout", "10ms"}),
                           124, {"b", "timed out"}));
  EXPECT_EQ(WaitqOk({"get", "b"}), "4\n");
}

TEST_F(RunCommandTest, WhoIsKilledAtABarrierHasNotComeOrBreaksIt) {
  Process& dead = StartWaitq({"--grace", "3s", "barrier", "b", "2"});
  AwaitSleepers("b", 1);
  kill(dead.pid(), SIGKILL);
  AwaitSleepers("b", 0);
  Process& first = StartWaitq({"barrier", "b", "2"});
  AwaitSleepers("b", 1);
  EXPECT_EQ(WaitqOk({"barrier", "b", "2"}), "round=0 place=1\n");
  EXPECT_EQ(first.WaitFor(), 0);

  Process& breaks =
      StartWaitq({"--grace", "3s", "barrier", "c", "3", "--on-death", "break"});
  AwaitSleepers("c", 1);
  Process& waits = StartWaitq({"barrier", "c", "3", "--on-death", "break"});
  AwaitSleepers("c", 2);
  kill(breaks.pid(), SIGKILL);
  EXPECT_EQ(waits.WaitFor(), 1);
  EXPECT_THAT(waits.Errors(), AllOf(HasSubstr("c:"), HasSubstr("broken")));
}

}  // namespace
}  // namespace waitq::test
