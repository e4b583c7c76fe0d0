// Ten thousand sleeping calls, and no thread for any of them.

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/fixture.h"

namespace waitq::test {
namespace {

using ::testing::HasSubstr;

class ManySleepersTest : public WaitqTest {
 protected:
  std::unique_ptr<Process> StartSleepers(int count) {
    return std::make_unique<Process>(std::vector<std::string>{
        BuiltProgram("examples/many_sleepers"), "--server", server().address(),
        "--name", "herd", "--count", std::to_string(count), "--connections",
        "4"});
  }

  // Puts so many to sleep, calls `while_asleep`, and wakes them all.
  void Sleep(int count, const std::function<void()>& while_asleep) {
    const std::string number = std::to_string(count);
    const auto sleepers = StartSleepers(count);
    ASSERT_TRUE(sleepers->AwaitLine("asleep " + number).has_value())
        << sleepers->Errors();
    while_asleep();
    EXPECT_THAT(WaitqOk({"wake", "herd", "--set", "1", "--all"}),
                HasSubstr(number));
    EXPECT_EQ(sleepers->WaitFor(), 0) << sleepers->Errors();
    EXPECT_THAT(sleepers->Output(), HasSubstr("woken " + number + "\n"));
    WaitqOk({"store", "herd", "0"});
  }
};

TEST_F(ManySleepersTest, TakeNoThreadsAndAreAllWokenByOneWake) {
  Sleep(1000, [] {});  // the transport's threads start when they are needed
  const int before = server().Figures().threads;
  Sleep(10'000, [&] {
    EXPECT_EQ(Sleepers("herd").size(), 10'000u);
    EXPECT_EQ(server().Figures().threads, before);
  });
}

TEST_F(ManySleepersTest, AreAllGoneWhenTheirProcessIsKilled) {
  auto sleepers = StartSleepers(1000);
  ASSERT_TRUE(sleepers->AwaitLine("asleep").has_value()) << sleepers->Errors();
  sleepers.reset();
  AwaitSleepers("herd", 0);
}

}  // namespace
}  // namespace waitq::test
