// What cannot be done is refused with one clear line, and changes nothing.

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/fixture.h"

namespace waitq::test {
namespace {

using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr int kUsage = 2;

class BadInputTest : public WaitqTest {
 protected:
  // Everything that the server has, as `ls` shows it.
  std::string Objects() { return WaitqOk({"ls"}); }
};

class BadNameTest : public BadInputTest,
                    public ::testing::WithParamInterface<std::string> {};

TEST_P(BadNameTest, IsRefusedByEveryCommand) {
  const std::string& name = GetParam();
  const std::string before = Objects();
  for (const std::vector<std::string>& command :
       std::vector<std::vector<std::string>>{
           {"wait", name, "--timeout", "0s"},
           {"wake", name},
           {"get", name},
           {"store", name, "1"},
           {"read", name, "--nonblock"},
           {"write", name, "/dev/null"},
           {"create", name, "--kind", "queue"},
           {"stat", name},
           {"rm", name}}) {
    EXPECT_TRUE(FailsClearly(Waitq(command), kUsage, {name, "255"}))
        << command[0];
  }
  EXPECT_EQ(Objects(), before);
}

INSTANTIATE_TEST_SUITE_P(Names, BadNameTest,
                         ::testing::Values("two words", "a:b", "a*",
                                           std::string(256, 'x')));

TEST_F(BadInputTest, NamesOf255BytesAreGood) {
  WaitqOk({"store", std::string(255, 'x'), "1"});
  EXPECT_THAT(WaitqOk({"get", std::string(255, 'x')}), StartsWith("1"));
}

TEST_F(BadInputTest, EmptyNameIsRefused) {
  EXPECT_TRUE(FailsClearly(Waitq({"store", "", "1"}), kUsage, {"255"}));
}

TEST_F(BadInputTest, PipeOfCapacityZeroIsRefused) {
  EXPECT_TRUE(FailsClearly(
      Waitq({"create", "pipe", "--kind", "pipe", "--capacity", "0"}), kUsage,
      {"capacity", "67108864"}));
  EXPECT_THAT(Stat("pipe").name(), IsEmpty());
}

TEST_F(BadInputTest, PipeAboveTheLimitIsRefused) {
  EXPECT_TRUE(FailsClearly(
      Waitq({"create", "pipe", "--kind", "pipe", "--capacity", "65MiB"}),
      kUsage, {"capacity", "67108864"}));
  EXPECT_THAT(Stat("pipe").name(), IsEmpty());
  WaitqOk({"create", "pipe", "--kind", "pipe", "--capacity", "64MiB"});
}

class BadUntilTest : public BadInputTest,
                     public ::testing::WithParamInterface<const char*> {};

TEST_P(BadUntilTest, IsRefused) {
  EXPECT_TRUE(FailsClearly(
      Waitq({"wait", "flag", std::string("--until=") + GetParam()}), kUsage,
      {"--until", GetParam()}));
  EXPECT_THAT(Stat("flag").name(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Conditions, BadUntilTest,
                         ::testing::Values("1", "=1", "==", "==x", "==1x",
                                           "=>1", "all:", "all:0", "any:0x",
                                           "any:zz", "changed:-1", "some:1",
                                           "==9223372036854775808"));

class BadUsageTest
    : public BadInputTest,
      public ::testing::WithParamInterface<std::vector<std::string>> {};

TEST_P(BadUsageTest, IsRefused) {
  const std::string before = Objects();
  EXPECT_TRUE(FailsClearly(Waitq(GetParam()), kUsage, {}));
  EXPECT_EQ(Objects(), before);
}

INSTANTIATE_TEST_SUITE_P(
    Commands, BadUsageTest,
    ::testing::Values(
        std::vector<std::string>{}, std::vector<std::string>{"dance"},
        std::vector<std::string>{"wait"},
        std::vector<std::string>{"wait", "a", "b"},
        std::vector<std::string>{"wait", "a", "--timeout", "soon"},
        std::vector<std::string>{"wait", "a", "--timeout=-1s"},
        std::vector<std::string>{"wait", "a", "--then", "7"},
        std::vector<std::string>{"wait", "a", "--killable",
                                 "--uninterruptible"},
        std::vector<std::string>{"wake", "a", "--nr", "0"},
        std::vector<std::string>{"wake", "a", "--nr", "1", "--all"},
        std::vector<std::string>{"wake", "a", "--set", "1", "--add", "1"},
        std::vector<std::string>{"wake", "a", "--set", "x"},
        std::vector<std::string>{"store", "a"},
        std::vector<std::string>{"store", "a", "one"},
        std::vector<std::string>{"read", "a", "--max", "some"},
        std::vector<std::string>{"create", "a"},
        std::vector<std::string>{"create", "a", "--kind", "sofa"},
        std::vector<std::string>{"create", "a", "--kind", "queue", "--capacity",
                                 "1KiB"},
        std::vector<std::string>{"create", "a", "--kind", "pipe", "--capacity",
                                 "big"}));

TEST_F(BadInputTest, WrongKindIsRefusedAndNamed) {
  WaitqOk({"store", "queue", "7"});
  WaitqOk({"create", "pipe", "--kind", "pipe"});
  const std::string before = Objects();
  const auto refused = [this](const std::vector<std::string>& command) {
    return FailsClearly(Waitq(command), 1, {command[1]});
  };
  EXPECT_TRUE(refused({"read", "queue", "--nonblock"}));
  EXPECT_TRUE(refused({"write", "queue", "/dev/null"}));
  EXPECT_TRUE(refused({"create", "queue", "--kind", "pipe"}));
  EXPECT_TRUE(refused({"wait", "pipe", "--nonblock"}));
  EXPECT_TRUE(refused({"wake", "pipe", "--set", "1"}));
  EXPECT_TRUE(refused({"store", "pipe", "1"}));
  EXPECT_TRUE(refused({"get", "pipe"}));
  EXPECT_EQ(Objects(), before);
  EXPECT_THAT(WaitqOk({"get", "queue"}), StartsWith("7"));
}

TEST_F(BadInputTest, WhatIsNotThereIsNamed) {
  for (const char* command : {"get", "stat", "rm"}) {
    EXPECT_TRUE(FailsClearly(Waitq({command, "nothing"}), 1, {"nothing"}))
        << command;
  }
  EXPECT_THAT(Stat("nothing").name(), IsEmpty()) << "asking made it";
}

TEST_F(BadInputTest, CreatingItAgainWithOtherOptionsIsRefused) {
  const std::vector<std::string> create = {"create", "pipe",       "--kind",
                                           "pipe",   "--capacity", "1KiB"};
  WaitqOk(create);
  WaitqOk(create);
  EXPECT_TRUE(FailsClearly(
      Waitq({"create", "pipe", "--kind", "pipe", "--capacity", "2KiB"}), 1,
      {"pipe"}));
  EXPECT_EQ(Stat("pipe").pipe().capacity_bytes(), 1024u);
}

TEST_F(BadInputTest, OverflowChangesNothing) {
  WaitqOk({"store", "word", "9223372036854775807"});
  EXPECT_TRUE(
      FailsClearly(Waitq({"wake", "word", "--add", "1"}), kUsage, {"word"}));
  EXPECT_THAT(WaitqOk({"get", "word"}), StartsWith("9223372036854775807"));
}

TEST_F(BadInputTest, FileThatCannotBeReadIsNamedAndNoPipeMade) {
  EXPECT_TRUE(FailsClearly(Waitq({"write", "pipe", "/nonexistent/file"}),
                           kUsage, {"/nonexistent/file"}));
  EXPECT_TRUE(FailsClearly(Waitq({"write", "pipe", "/"}), kUsage, {"/"}));
  EXPECT_THAT(Stat("pipe").name(), IsEmpty());
}

TEST_F(BadInputTest, NoServerAtTheAddress) {
  // Port 1 is nobody's. A plain call and both directions of a stream.
  for (const std::vector<std::string>& command :
       std::vector<std::vector<std::string>>{{"get", "flag"},
                                             {"wait", "flag"},
                                             {"read", "pipe"},
                                             {"write", "pipe", "/dev/null"},
                                             {"ps"}}) {
    std::vector<std::string> there = {"--server", "127.0.0.1:1"};
    there.insert(there.end(), command.begin(), command.end());
    EXPECT_TRUE(FailsClearly(Waitq(there), 1, {"127.0.0.1:1"})) << command[0];
  }
}

TEST_F(BadInputTest, AddressThatIsNone) {
  const Result result = Waitq({"--server", "nowhere:port", "get", "flag"});
  EXPECT_TRUE(FailsClearly(result, 1, {"nowhere:port"}) ||
              FailsClearly(result, kUsage, {"nowhere:port"}))
      << result.exit << " " << result.err;
}

}  // namespace
}  // namespace waitq::test
