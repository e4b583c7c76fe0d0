// service_load does all its jobs, on waitqd and on the bare server.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/process.h"
#include "tests/support/waitqd.h"

namespace waitq::test {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

// The bare server, until the end of the test.
class BareServer {
 public:
  BareServer() : process_({BuiltProgram("bench/bare_server")}) {
    constexpr std::string_view kGreeting = "bare_server listening on ";
    const std::optional<std::string> line = process_.AwaitLine(kGreeting);
    EXPECT_TRUE(line.has_value()) << process_.Errors();
    if (line.has_value()) address_ = line->substr(kGreeting.size());
  }
  const std::string& address() const { return address_; }

 private:
  Process process_;
  std::string address_;
};

class ServiceLoadTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "waitq") {
      address_ = waitqd_.emplace().address();
    } else {
      address_ = bare_.emplace().address();
    }
  }

  std::unique_ptr<Process> Start(const std::string& load,
                                 const std::vector<std::string>& flags,
                                 const ProcessOptions& options = {}) {
    std::vector<std::string> command = {BuiltProgram("bench/service_load"),
                                        load, "--target=" + GetParam(),
                                        "--server=" + address_};
    command.insert(command.end(), flags.begin(), flags.end());
    return std::make_unique<Process>(command, options);
  }

  // What a load prints that comes to its end.
  std::string Run(const std::string& load,
                  const std::vector<std::string>& flags) {
    const auto process = Start(load, flags);
    EXPECT_EQ(process->WaitFor(), 0) << process->Errors();
    return process->Output();
  }

 private:
  std::optional<Waitqd> waitqd_;
  std::optional<BareServer> bare_;
  std::string address_;
};

TEST_P(ServiceLoadTest, KeepsUnaryCallsInFlight) {
  EXPECT_THAT(
      Run("unary", {"--in-flight=8", "--connections=2", "--seconds=0.2"}),
      ContainsRegex("\"calls\": [1-9]"));
}

TEST_P(ServiceLoadTest, PutsCallsToSleepAndWakesThemTwice) {
  for (int round = 0; round < 2; ++round) {
    const auto load = Start("sleepers", {"--asleep=20,50", "--connections=3"},
                            {.input_pipe = true});
    ASSERT_TRUE(load->AwaitLine("\"asleep\": 20,").has_value())
        << load->Errors();
    load->WriteInput("\n");
    ASSERT_TRUE(load->AwaitLine("\"asleep\": 50,").has_value())
        << load->Errors();
    EXPECT_THAT(load->Output(), ::testing::Not(HasSubstr("woken")));
    load->WriteInput("\n");
    EXPECT_EQ(load->WaitFor(), 0) << load->Errors();
    EXPECT_THAT(load->Output(), HasSubstr("\"woken\": 50,"));
  }
}

TEST_P(ServiceLoadTest, FailsWhenNobodyTellsItToGoOnAndLeavesNoCallBehind) {
  const auto load = Start("sleepers", {"--asleep=5"}, {.input_pipe = true});
  ASSERT_TRUE(load->AwaitLine("\"asleep\": 5,").has_value()) << load->Errors();
  load->CloseInput();
  EXPECT_EQ(load->WaitFor(), 1);
  EXPECT_THAT(load->Errors(), HasSubstr("nobody says when to go on"));
  const auto next = Start("sleepers", {"--asleep=1"}, {.input_pipe = true});
  ASSERT_TRUE(next->AwaitLine("\"asleep\": 1,").has_value()) << next->Errors();
  next->WriteInput("\n");
  EXPECT_EQ(next->WaitFor(), 0) << next->Errors();
}

TEST_P(ServiceLoadTest, SendsAllMessagesThroughARelayTwice) {
  for (int round = 0; round < 2; ++round) {
    EXPECT_THAT(Run("relay", {"--messages=100", "--message-bytes=10000"}),
                HasSubstr("\"bytes\": 1000000,"));
  }
}

TEST_P(ServiceLoadTest, RunsASessionWhereThereAreSessions) {
  const std::vector<std::string> flags = {"--depth=4", "--seconds=0.2"};
  if (GetParam() == "bare") {
    EXPECT_THAT(Run("session", flags), ContainsRegex("\"messages\": [1-9]"));
    return;
  }
  const auto load = Start("session", flags);
  EXPECT_EQ(load->WaitFor(), 1);
  EXPECT_THAT(load->Errors(), HasSubstr("waitqd has no sessions"));
}

INSTANTIATE_TEST_SUITE_P(Targets, ServiceLoadTest,
                         ::testing::Values("waitq", "bare"),
                         [](const auto& target) { return target.param; });

}  // namespace
}  // namespace waitq::test
