#include "load/scenario.h"

#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace waitq::load {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

Scenario Good(absl::string_view text) {
  const auto scenario = ParseScenario("folder/some.load", text);
  EXPECT_TRUE(scenario.ok()) << scenario.status();
  return scenario.value_or(Scenario());
}

// The error of a scenario that must not be accepted.
std::string Bad(absl::string_view text) {
  const auto scenario = ParseScenario("some.load", text);
  EXPECT_TRUE(absl::IsInvalidArgument(scenario.status())) << text;
  return std::string(scenario.status().message());
}

TEST(ScenarioTest, IsNamedAfterItsFile) {
  EXPECT_EQ(Good("kind = wake").name, "some");
}

TEST(ScenarioTest, TakesKeysWithAndWithoutAnEqualsSign) {
  const Scenario scenario = Good(
      "# What it is for.\n"
      "kind queue\n"
      "\n"
      "producers=3   # three\n"
      "  consumers   4\n"
      "size = 1KiB\n"
      "capacity = 2MiB\n"
      "rate = 1e4\n"
      "warmup = 1.5s\n"
      "unary = yes\n");
  EXPECT_EQ(scenario.kind, Kind::kQueue);
  EXPECT_EQ(scenario.producers, 3u);
  EXPECT_EQ(scenario.consumers, 4u);
  EXPECT_EQ(scenario.size, 1024u);
  EXPECT_EQ(scenario.capacity, 2u << 20);
  EXPECT_EQ(scenario.rate, 10'000);
  EXPECT_EQ(scenario.warmup, absl::Milliseconds(1500));
  EXPECT_TRUE(scenario.unary);
}

TEST(ScenarioTest, TakesBounds) {
  const Scenario scenario = Good(
      "kind = mixed\n"
      "require p99 <= 5ms\n"
      "require locks.p99.9 <= 1s\n"
      "require messages.rate >= 10000\n");
  ASSERT_EQ(scenario.bounds.size(), 3u);
  EXPECT_EQ(scenario.bounds[0].series, "");
  EXPECT_EQ(scenario.bounds[0].metric, "p99");
  EXPECT_TRUE(scenario.bounds[0].at_most);
  EXPECT_EQ(scenario.bounds[0].value, 5e6);
  EXPECT_EQ(scenario.bounds[1].series, "locks");
  EXPECT_EQ(scenario.bounds[1].metric, "p99.9");
  EXPECT_EQ(scenario.bounds[2].metric, "rate");
  EXPECT_FALSE(scenario.bounds[2].at_most);
}

TEST(ScenarioTest, NamesFileLineAndWhatWouldBeRight) {
  EXPECT_THAT(Bad("kind = wake\npears = 3\n"),
              AllOf(HasSubstr("some.load:2: 'pears'"), HasSubstr(" pairs")));
  EXPECT_THAT(
      Bad("kind = wake\n\npairs = 0\n"),
      AllOf(HasSubstr("some.load:3: pairs = '0'"), HasSubstr("1 to 100000")));
  EXPECT_THAT(Bad("kind = wake\npairs = 1.5"), HasSubstr("some.load:2"));
  EXPECT_THAT(Bad("kind = wake\npairs = many"), HasSubstr("some.load:2"));
  EXPECT_THAT(Bad("kind = wake\nseconds = 5"), HasSubstr("100ms to 24h"));
  EXPECT_THAT(Bad("kind = wake\nseconds = -5s"), HasSubstr("some.load:2"));
  EXPECT_THAT(Bad("kind = queue\nunary = maybe"), HasSubstr("yes or no"));
  EXPECT_THAT(Bad("kind = weak"),
              AllOf(HasSubstr("some.load:1"), HasSubstr("pingpong")));
  EXPECT_THAT(Bad("kind = wake\npairs"), HasSubstr("KEY = VALUE"));
  EXPECT_THAT(Bad("pairs = 1\n"), HasSubstr("there is no kind"));
  EXPECT_THAT(Bad("kind = wake\nkind = wake"), HasSubstr("a second kind"));
  EXPECT_THAT(Bad("kind = wake\npairs = 1\npairs = 2"),
              HasSubstr("some.load:3: a second pairs"));
  EXPECT_THAT(Bad("kind = wake\nsize = 100"), HasSubstr("no key of kind wake"));
  EXPECT_THAT(Bad("kind = herd\nrate = 100"), HasSubstr("no key of kind herd"));
  EXPECT_THAT(Bad("kind = wake\nrequire p98 <= 5ms"), HasSubstr("p99.9"));
  EXPECT_THAT(Bad("kind = wake\nrequire p99 < 5ms"), HasSubstr("some.load:2"));
  EXPECT_THAT(Bad("kind = wake\nrequire p99 <= 5"), HasSubstr("some.load:2"));
  EXPECT_THAT(Bad("kind = queue\nsize = 1MiB\ncapacity = 4KiB"),
              HasSubstr("more than capacity"));
  EXPECT_THAT(Bad("kind = timers\nshortest = 2s\nlongest = 1s"),
              HasSubstr("shortest"));
}

TEST(ScenarioTest, SaysThatAFileCannotBeRead) {
  EXPECT_TRUE(absl::IsNotFound(ReadScenario("/no/such.load").status()));
}

TEST(ScenarioTest, AcceptsAllThatAreShipped) {
  int files = 0;
  for (const auto& file :
       std::filesystem::directory_iterator("load/scenarios")) {
    EXPECT_TRUE(ReadScenario(file.path()).ok())
        << ReadScenario(file.path()).status();
    ++files;
  }
  EXPECT_GE(files, 10);
}

TEST(ScenarioTest, DescribesEveryKey) {
  EXPECT_THAT(DescribeKeys(),
              AllOf(HasSubstr("in_flight"), HasSubstr("default 64"),
                    HasSubstr("visit_rate")));
}

}  // namespace
}  // namespace waitq::load
