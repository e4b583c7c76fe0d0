// waitq-load as it is built: every scenario that is shipped, by two hosts.

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"
#include "tests/support/process.h"
#include "tests/support/waitqd.h"

namespace waitq::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr char kScenarios[] = "load/scenarios";

class WaitqLoadTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_FALSE(server_.address().empty()); }

  std::unique_ptr<Process> Start(const std::string& scenario,
                                 const std::vector<std::string>& flags = {}) {
    std::vector<std::string> command = {BuiltProgram("load/waitq-load"), "run",
                                        scenario, "--server",
                                        server_.address()};
    command.insert(command.end(), flags.begin(), flags.end());
    return std::make_unique<Process>(command);
  }

  // What the server still has: nothing, after a run.
  std::string Objects() {
    Process list({BuiltProgram("client/cli/waitq"), "--server",
                  server_.address(), "--json", "ls"});
    EXPECT_EQ(list.WaitFor(), 0) << list.Errors();
    return list.Output();
  }
  std::string Sleepers() {
    Process list({BuiltProgram("client/cli/waitq"), "--server",
                  server_.address(), "--json", "ps"});
    EXPECT_EQ(list.WaitFor(), 0) << list.Errors();
    return list.Output();
  }

  std::string File(const std::string& name, const std::string& text) {
    const std::string path = folder_.Path(name);
    std::ofstream(path) << text;
    return path;
  }

  Waitqd server_;
  TemporaryFolder folder_;
};

google::protobuf::Struct Json(const std::string& text) {
  google::protobuf::Struct json;
  const auto parsed = google::protobuf::util::JsonStringToMessage(text, &json);
  EXPECT_TRUE(parsed.ok()) << text;
  return json;
}

TEST_F(WaitqLoadTest, RunsEveryScenarioOnTwoHostsAndLeavesNothing) {
  std::vector<std::string> scenarios;
  for (const auto& file : std::filesystem::directory_iterator(kScenarios)) {
    scenarios.push_back(file.path());
  }
  std::sort(scenarios.begin(), scenarios.end());
  ASSERT_GE(scenarios.size(), 10u);
  for (const std::string& scenario : scenarios) {
    SCOPED_TRACE(scenario);
    std::vector<std::unique_ptr<Process>> hosts;
    for (const char* host : {"0", "1"}) {
      hosts.push_back(Start(scenario, {"--hosts=2", "--host", host,
                                       "--seconds=1", "--json=-", "--quiet"}));
    }
    for (auto& host : hosts) {
      EXPECT_EQ(host->WaitFor(), 0) << host->Output() << host->Errors();
      EXPECT_THAT(host->Errors(), IsEmpty());
    }
    EXPECT_THAT(hosts[1]->Output(), IsEmpty()) << "host 0 speaks for all";
    const google::protobuf::Struct json = Json(hosts[0]->Output());
    EXPECT_TRUE(json.fields().at("good").bool_value());
    EXPECT_EQ(json.fields().at("hosts").number_value(), 2);
    EXPECT_EQ(json.fields().at("failed_checks").number_value(), 0);
    for (const auto& series :
         json.fields().at("series").list_value().values()) {
      EXPECT_GT(series.struct_value().fields().at("operations").number_value(),
                0)
          << series.DebugString();
    }
    if (json.fields().contains("deliveries")) {
      const auto& all = json.fields().at("deliveries").struct_value().fields();
      EXPECT_GT(all.at("sent").number_value(), 0);
      EXPECT_EQ(all.at("sent").number_value(),
                all.at("received").number_value());
    }
    EXPECT_THAT(Objects(), Not(HasSubstr("\"name\"")));
  }
}

TEST_F(WaitqLoadTest, ShowsTableProgressAndPlot) {
  const std::string plot = folder_.Path("plot.svg");
  auto host =
      Start("load/scenarios/pingpong.load", {"--seconds=1.5s", "--plot", plot});
  EXPECT_EQ(host->WaitFor(), 0) << host->Errors();
  EXPECT_THAT(host->Output(),
              AllOf(HasSubstr("p99.9"), HasSubstr("round_trips"),
                    HasSubstr("checks: all passed")));
  EXPECT_THAT(host->Errors(), HasSubstr("round_trips"));
  std::ifstream file(plot);
  const std::string svg((std::istreambuf_iterator<char>(file)), {});
  EXPECT_THAT(
      svg, AllOf(HasSubstr("<svg"), HasSubstr("</svg>"), HasSubstr("99.99")));
}

TEST_F(WaitqLoadTest, FailsOnEveryHostWhenABoundIsMissed) {
  const std::string scenario =
      File("missed.load", "kind = pingpong\nrequire p50 <= 1ns\n");
  auto a = Start(scenario, {"--hosts=2", "--seconds=0.2s", "--quiet"});
  auto b = Start(scenario, {"--hosts=2", "--seconds=0.2s", "--quiet"});
  EXPECT_EQ(a->WaitFor(), 1);
  EXPECT_EQ(b->WaitFor(), 1);
  EXPECT_THAT(a->Output() + b->Output(), HasSubstr("MISSED: p50 <= 1ns"));
}

TEST_F(WaitqLoadTest, NamesTheLineOfABadScenario) {
  auto host = Start(File("bad.load", "kind = wake\npears = 3\n"));
  EXPECT_EQ(host->WaitFor(), 2);
  EXPECT_THAT(host->Errors(), HasSubstr("bad.load:2: 'pears'"));
}

TEST_F(WaitqLoadTest, SaysThatThereIsNoServer) {
  Process host({BuiltProgram("load/waitq-load"), "run",
                "load/scenarios/wake.load", "--server", "127.0.0.1:1"});
  EXPECT_EQ(host.WaitFor(), 1);
  EXPECT_THAT(host.Errors(), HasSubstr("127.0.0.1:1"));
}

TEST_F(WaitqLoadTest, LeavesNobodyAsleepOnCtrlC) {
  for (const char* scenario : {"mixed", "herd", "bulk", "queue-unary"}) {
    SCOPED_TRACE(scenario);
    const std::string file = std::string(kScenarios) + "/" + scenario + ".load";
    auto a = Start(file, {"--hosts=2", "--seconds=1000"});
    auto b = Start(file, {"--hosts=2", "--seconds=1000"});
    ASSERT_TRUE(Await([&] {
      return a->Errors().find("/s") != std::string::npos;
    })) << a->Errors();
    a->Signal(SIGINT);
    EXPECT_EQ(a->WaitFor(), 130) << a->Errors();
    EXPECT_EQ(b->WaitFor(), 1) << b->Errors();
    EXPECT_THAT(b->Errors(), HasSubstr("another host has ended the run"));
    EXPECT_TRUE(Await([&] {
      return Sleepers().find("\"id\"") == std::string::npos;
    })) << Sleepers();
    EXPECT_THAT(Objects(), Not(HasSubstr("\"name\"")));
  }
}

TEST_F(WaitqLoadTest, MissesAHostThatWasKilledAndCanRunAgain) {
  const std::string scenario =
      File("short.load", "kind = wake\nrate = 100\ngrace = 1s\n");
  auto a = Start(scenario, {"--hosts=2", "--seconds=1000"});
  auto b = Start(scenario, {"--hosts=2", "--seconds=1000"});
  ASSERT_TRUE(
      Await([&] { return a->Errors().find("/s") != std::string::npos; }));
  a->Signal(SIGKILL);
  EXPECT_EQ(b->WaitFor(), 1);
  EXPECT_THAT(b->Errors(), HasSubstr("only 1 of 2 hosts are left"));

  a = Start(scenario, {"--hosts=2", "--seconds=0.5s", "--quiet"});
  b = Start(scenario, {"--hosts=2", "--seconds=0.5s", "--quiet"});
  EXPECT_EQ(a->WaitFor(), 0) << a->Output() << a->Errors();
  EXPECT_EQ(b->WaitFor(), 0) << b->Output() << b->Errors();
}

TEST_F(WaitqLoadTest, RefusesOneHostTooMany) {
  auto first = Start("load/scenarios/pingpong.load", {"--seconds=1000"});
  ASSERT_TRUE(
      Await([&] { return first->Errors().find("/s") != std::string::npos; }));
  auto second = Start("load/scenarios/pingpong.load", {"--seconds=1"});
  EXPECT_EQ(second->WaitFor(), 1);
  EXPECT_THAT(second->Errors(), HasSubstr("has its 1 host already"));
  EXPECT_TRUE(first->IsRunning()) << "it is not disturbed";
}

}  // namespace
}  // namespace waitq::test
