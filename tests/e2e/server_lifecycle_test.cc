// How the server starts, where it listens, and how it ends.

#include <signal.h>
#include <sys/socket.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/fixture.h"

namespace waitq::test {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::StartsWith;

class ServerLifecycleTest : public WaitqTest {
 protected:
  void SetUp() override {}  // each test starts its own

  // Runs `waitqd FLAGS` as one that must not come up.
  Result Waitqd(const std::vector<std::string>& flags) {
    std::vector<std::string> command = {BuiltProgram("server/waitqd")};
    command.insert(command.end(), flags.begin(), flags.end());
    Process process(command);
    const std::optional<int> exit = process.WaitFor();
    return {exit.value_or(-1), process.Output(), process.Errors()};
  }

  void ExpectItAnswers() {
    WaitqOk({"store", "flag", "7"});
    EXPECT_THAT(WaitqOk({"--server", server().address(), "get", "flag"}),
                StartsWith("7"));
  }

  // A server that drains lets nobody go to sleep any more.
  void AwaitDrain() {
    EXPECT_TRUE(Await([this] {
      return Waitq({"wait", "flag", "--timeout", "1ms"}).exit == 1;
    }));
  }

  std::string Socket() { return "unix:" + folder_.Path("socket"); }

 private:
  TemporaryFolder folder_;
};

TEST_F(ServerLifecycleTest, PortZeroTakesAFreePort) {
  StartServer("127.0.0.1:0");
  EXPECT_THAT(server().address(), MatchesRegex("127\\.0\\.0\\.1:[1-9][0-9]*"));
  ExpectItAnswers();
}

TEST_F(ServerLifecycleTest, ListensOnLocalhost) {
  StartServer("localhost:0");
  ExpectItAnswers();
}

TEST_F(ServerLifecycleTest, ListensOnASocketFile) {
  StartServer(Socket());
  EXPECT_EQ(server().address(), Socket());
  ExpectItAnswers();
  EXPECT_EQ(server().Stop(), 0);
  ForgetServer();
  // What a killed server leaves behind is in nobody's way.
  StartServer(Socket());
  server().process().Signal(SIGKILL);
  EXPECT_EQ(server().process().WaitFor(), 128 + SIGKILL);
  StartServer(Socket());
  ExpectItAnswers();
}

TEST_F(ServerLifecycleTest, ListensOnIpV6) {
  const int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0) close(fd);
  if (fd < 0 || !std::filesystem::exists("/proc/net/if_inet6")) {
    std::puts("SKIPPED: this machine has no IPv6");
    return;
  }
  StartServer("[::1]:0");
  EXPECT_THAT(server().address(), MatchesRegex("\\[::1\\]:[1-9][0-9]*"));
  ExpectItAnswers();
}

TEST_F(ServerLifecycleTest, PortInUseIsRefused) {
  StartServer();
  EXPECT_TRUE(FailsClearly(Waitqd({"--listen", server().address()}), 2,
                           {server().address()}));
  ExpectItAnswers();
}

TEST_F(ServerLifecycleTest, SecondServerOnASocketFileIsRefused) {
  StartServer(Socket());
  EXPECT_TRUE(
      FailsClearly(Waitqd({"--listen", Socket()}), 2, {Socket().substr(5)}));
  ExpectItAnswers();
}

TEST_F(ServerLifecycleTest, OtherThanLoopbackNeedsInsecure) {
  for (const char* address : {"0.0.0.0:0", "[::]:0", "192.0.2.1:0"}) {
    EXPECT_TRUE(FailsClearly(Waitqd({"--listen", address}), 2,
                             {address, "--insecure"}));
  }
  StartServer("0.0.0.0:0", {"--insecure"});
}

TEST_F(ServerLifecycleTest, BadFlagsAreRefused) {
  EXPECT_TRUE(FailsClearly(Waitqd({"--dance"}), 2, {"--dance"}));
  EXPECT_TRUE(FailsClearly(Waitqd({"--listen", ""}), 2, {"address ''"}));
  for (const char* address :
       {"nowhere", "127.0.0.1", "127.0.0.1:", "127.0.0.1:port",
        "127.0.0.1:65536", "127.0.0.1:-1", "::1:0", "unix:"}) {
    EXPECT_TRUE(FailsClearly(Waitqd({"--listen", address}), 2, {address}));
  }
  EXPECT_TRUE(FailsClearly(Waitqd({"--listen", "unix:/nonexistent/socket"}), 2,
                           {"/nonexistent/socket"}));
}

TEST_F(ServerLifecycleTest, HelpNamesTheLimits) {
  const Result help = Waitqd({"--help"});
  EXPECT_EQ(help.exit, 0);
  EXPECT_THAT(help.out, HasSubstr("--listen"));
  EXPECT_THAT(help.out, HasSubstr("127.0.0.1:7411"));
}

TEST_F(ServerLifecycleTest, SigtermEndsAnIdleServer) {
  StartServer();
  EXPECT_EQ(server().Stop(), 0) << server().process().Errors();
  ForgetServer();
}

TEST_F(ServerLifecycleTest, CtrlCEndsAnIdleServer) {
  StartServer();
  server().process().Signal(SIGINT);
  EXPECT_TRUE(server().process().WaitFor().has_value());
  ForgetServer();
}

TEST_F(ServerLifecycleTest, SigtermEndsTheSleepers) {
  StartServer();
  // It waits for another server, for as long as it may.
  Process& waiter =
      StartWaitq({"wait", "flag", "--until", "==1", "--timeout", "3s"});
  Process& reader = StartWaitq({"read", "pipe"});
  AwaitSleepers("", 2);
  EXPECT_EQ(server().Stop(), 0) << server().process().Errors();
  EXPECT_EQ(waiter.WaitFor(), 1) << waiter.Errors();
  EXPECT_EQ(reader.WaitFor(), 1) << reader.Errors();
  EXPECT_THAT(waiter.Errors(), Not(HasSubstr("\n\n")));
  ForgetServer();
}

TEST_F(ServerLifecycleTest, SigtermLeavesReadersTimeToEmptyThePipes) {
  StartServer("127.0.0.1:0", {"--grace", "1h"});
  WaitqOk({"write", "pipe"}, "words");
  server().process().Signal(SIGTERM);
  AwaitDrain();
  EXPECT_TRUE(server().process().IsRunning());
  EXPECT_EQ(WaitqOk({"read", "pipe"}), "words");
  EXPECT_EQ(server().process().WaitFor(), 0);
  ForgetServer();
}

TEST_F(ServerLifecycleTest, ASecondSigtermStopsAtOnce) {
  StartServer("127.0.0.1:0", {"--grace", "1h"});
  WaitqOk({"write", "pipe"}, "words");
  server().process().Signal(SIGTERM);
  AwaitDrain();
  server().process().Signal(SIGTERM);
  EXPECT_TRUE(server().process().WaitFor().has_value());
  // What is lost is said.
  EXPECT_THAT(server().process().Errors(), HasSubstr("pipe: 5 bytes"));
  ForgetServer();
}

TEST_F(ServerLifecycleTest, KilledServerEndsTheSleepers) {
  StartServer();
  Process& waiter = StartWaitq({"wait", "flag", "--until", "==1"});
  AwaitSleepers("flag", 1);
  server().process().Signal(SIGKILL);
  EXPECT_EQ(waiter.WaitFor(), 1) << waiter.Errors();
  EXPECT_THAT(waiter.Errors(), HasSubstr(server().address()));
  ForgetServer();
}

TEST_F(ServerLifecycleTest, GenerationsRiseAcrossAKillWithAStateFile) {
  TemporaryFolder folder;
  const std::string file = folder.Path("state");
  // As if the clock had been set back since.
  std::ofstream(file) << (uint64_t{1} << 62) << "\n";
  uint64_t last = uint64_t{1} << 62;
  for (int run = 0; run < 3; ++run) {
    StartServer("127.0.0.1:0", {"--state-file", file});
    WaitqOk({"store", "flag", "1"});
    const uint64_t generation = Stat("flag").generation();
    EXPECT_GT(generation, last);
    last = generation;
  }
  EXPECT_TRUE(FailsClearly(Waitqd({"--state-file", "/no/such/folder/s"}), 2,
                           {"/no/such/folder/s"}));
}

TEST_F(ServerLifecycleTest, ARestartedServerKnowsNothingAndWorks) {
  StartServer();
  const std::string address = server().address();
  WaitqOk({"store", "flag", "7"});
  EXPECT_EQ(server().Stop(), 0);
  ForgetServer();
  StartServer(address);  // at once, on the same port
  EXPECT_THAT(Stat("flag").name(), ::testing::IsEmpty());
  ExpectItAnswers();
}

}  // namespace
}  // namespace waitq::test
