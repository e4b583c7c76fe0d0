// compare_load does its jobs, on waitqd and on the bare server. (Its peers are
// not installed for tests.)

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

struct Target {
  const char* name;
  const char* program;
};

class CompareLoadTest : public ::testing::TestWithParam<Target> {
 protected:
  void SetUp() override {
    constexpr std::string_view kGreeting = " listening on ";
    const std::optional<std::string> line = server_.AwaitLine(kGreeting);
    ASSERT_TRUE(line.has_value()) << server_.Errors();
    address_ = line->substr(line->find(kGreeting) + kGreeting.size());
  }

  // What a load prints that comes to its end.
  std::string Run(const std::string& load,
                  const std::vector<std::string>& flags) {
    std::vector<std::string> command = {
        BuiltProgram("bench/compare_load"), load,
        "--target=" + std::string(GetParam().name), "--server=" + address_};
    command.insert(command.end(), flags.begin(), flags.end());
    Process process(command);
    EXPECT_EQ(process.WaitFor(), 0) << process.Errors();
    return process.Output();
  }

 private:
  Process server_{{BuiltProgram(GetParam().program), "--listen=127.0.0.1:0"}};
  std::string address_;
};

// The load itself looks whether all came out. Each run ends with pops asleep,
// while results may still come.
TEST_P(CompareLoadTest, MovesMessagesBetweenTwoProcesses) {
  for (const char* workers : {"--in-flight=32", "--sessions=4"}) {
    for (int round = 0; round < 3; ++round) {
      EXPECT_THAT(Run("queue", {workers, "--seconds=0.1"}),
                  AllOf(ContainsRegex("\"total\": [1-9]"),
                        ContainsRegex("\"cpu_us\": [1-9]")));
    }
  }
}

TEST_P(CompareLoadTest, WakesASleeperFromAnotherProcess) {
  EXPECT_THAT(Run("wake", {"--wakes=20", "--pause-us=2000"}),
              ContainsRegex("\"p50_us\": [1-9]"));
}

INSTANTIATE_TEST_SUITE_P(On, CompareLoadTest,
                         ::testing::Values(Target{"waitq", "server/waitqd"},
                                           Target{"bare", "bench/bare_server"}),
                         [](const auto& target) {
                           return std::string(target.param.name);
                         });

class CompareLoadOnWaitqdTest : public CompareLoadTest {};

TEST_P(CompareLoadOnWaitqdTest, LetsSleepersTimeOut) {
  EXPECT_THAT(Run("timeouts", {"--asleep=20", "--in-flight=10",
                               "--timeout-seconds=1", "--seconds=0.1"}),
              HasSubstr("\"timeouts\": 20, \"early\": 0"));
}

TEST_P(CompareLoadOnWaitqdTest, MovesBytesInBulk) {
  EXPECT_THAT(Run("bulk", {"--bytes=3000001"}),
              HasSubstr("\"bytes\": 3000001"));
}

INSTANTIATE_TEST_SUITE_P(On, CompareLoadOnWaitqdTest,
                         ::testing::Values(Target{"waitq", "server/waitqd"}),
                         [](const auto& target) {
                           return std::string(target.param.name);
                         });

}  // namespace
}  // namespace waitq::test
