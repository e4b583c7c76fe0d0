// session_load does its jobs, on the bare server.

#include <sys/types.h>

#include <csignal>
#include <filesystem>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/process.h"

namespace waitq::test {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

// The files that a process has open: each connection is one.
int CountFiles(pid_t pid) {
  const std::filesystem::directory_iterator files("/proc/" +
                                                  std::to_string(pid) + "/fd");
  return static_cast<int>(std::distance(begin(files), end(files)));
}

class SessionLoadTest : public ::testing::Test {
 protected:
  void SetUp() override {
    constexpr std::string_view kGreeting = "bare_server listening on ";
    const std::optional<std::string> line = server_.AwaitLine(kGreeting);
    ASSERT_TRUE(line.has_value()) << server_.Errors();
    address_ = line->substr(kGreeting.size());
  }

  std::vector<std::string> Command(const std::string& load,
                                   const std::vector<std::string>& flags) {
    std::vector<std::string> command = {BuiltProgram("bench/session_load"),
                                        load, "--target=bare",
                                        "--server=" + address_};
    command.insert(command.end(), flags.begin(), flags.end());
    return command;
  }

  // What a load prints that comes to its end.
  std::string Run(const std::string& load,
                  const std::vector<std::string>& flags) {
    Process process(Command(load, flags));
    EXPECT_EQ(process.WaitFor(), 0) << process.Errors();
    return process.Output();
  }

  Process server_{{BuiltProgram("bench/bare_server")}};

 private:
  std::string address_;
};

// The load itself looks whether all came out, in order. Each run ends with pops
// asleep: if one stayed it would take a message of the next run.
TEST_F(SessionLoadTest, RunsQueuesOneAfterTheOther) {
  for (const char* depth : {"1", "7", "300"}) {
    EXPECT_THAT(
        Run("queue", {"--depth=" + std::string(depth), "--seconds=0.2"}),
        ContainsRegex("\"messages\": [1-9]"));
  }
  EXPECT_THAT(
      Run("queue", {"--depth=4", "--seconds=0.2", "--message-bytes=100000"}),
      ContainsRegex("\"messages\": [1-9]"));
}

TEST_F(SessionLoadTest, WakesASleeperFromAnotherProcess) {
  for (int round = 0; round < 2; ++round) {
    EXPECT_THAT(Run("wake", {"--wakes=20", "--pause-us=2000"}),
                AllOf(ContainsRegex("\"wakes\": [1-9]"),
                      ContainsRegex("\"p50_us\": [1-9]")));
  }
}

TEST_F(SessionLoadTest, FailsWhenTheServerGoes) {
  const int before = CountFiles(server_.pid());
  Process load(Command("queue", {"--seconds=600"}));
  ASSERT_TRUE(Await([&] { return CountFiles(server_.pid()) >= before + 2; }))
      << "not connected: " << load.Errors();
  server_.Signal(SIGKILL);
  EXPECT_EQ(load.WaitFor(), 1);
  EXPECT_THAT(load.Errors(), HasSubstr("the session"));
}

TEST_F(SessionLoadTest, RefusesADepthThatDoesNotFitIntoAMessage) {
  Process load(Command("queue", {"--depth=1000", "--message-bytes=10000"}));
  EXPECT_EQ(load.WaitFor(), 1);
  EXPECT_THAT(load.Errors(), HasSubstr("more than a message may carry"));
}

}  // namespace
}  // namespace waitq::test
