// The programs, with their connections cut in the middle.

#include <signal.h>

#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/fixture.h"
#include "tests/support/cutting_proxy.h"

namespace waitq::test {
namespace {

class CutConnectionTest : public WaitqTest {
 protected:
  void SetUp() override {
    WaitqTest::SetUp();
    proxy_ = std::make_unique<CuttingProxy>(server().address());
  }

  std::string Path(std::string_view name) const { return folder_.Path(name); }
  CuttingProxy& proxy() { return *proxy_; }

  // Leaves it running, behind the proxy.
  Process& Start(std::vector<std::string> arguments,
                 const ProcessOptions& options = {}) {
    arguments.push_back("--server=" + proxy_->address());
    return StartWaitq(arguments, options);
  }

 private:
  TemporaryFolder folder_;
  std::unique_ptr<CuttingProxy> proxy_;
};

TEST_F(CutConnectionTest, AFileArrivesWholeThoughBothConnectionsAreCut) {
  constexpr uint64_t kBytes = 16 << 20;
  WriteNoise(Path("source"), kBytes);
  Process& reader = Start({"read", "pipe"}, {.output_file = Path("copy")});
  Process& writer = Start({"write", "pipe", Path("source")});
  // Wherever that is: five times, each after a tenth of it.
  int cut = 0;
  for (uint64_t mark = kBytes / 5; mark < kBytes; mark += kBytes / 5) {
    ASSERT_TRUE(
        Await([&] { return Stat("pipe").pipe().read_offset() > mark; }));
    cut += proxy().CutAll();
  }
  EXPECT_EQ(writer.WaitFor(), 0) << writer.Errors();
  EXPECT_EQ(reader.WaitFor(), 0) << reader.Errors();
  EXPECT_GE(cut, 4) << "hardly anything was cut";
  EXPECT_TRUE(SameContents(Path("source"), Path("copy")));
}

TEST_F(CutConnectionTest, ASleeperKeepsItsPlaceAndIsWoken) {
  Process& first = Start({"wait", "flag", "--until", "==1", "--then", "set:0"});
  AwaitSleepers("flag", 1);
  Process& second =
      StartWaitq({"wait", "flag", "--until", "==1", "--then", "set:0"});
  AwaitSleepers("flag", 2);
  ASSERT_GE(proxy().CutAll(), 1);
  // It is back when it is not detached any more.
  ASSERT_TRUE(Await([&] {
    for (const v1::Task& task : Sleepers("flag")) {
      if (task.detached()) return false;
    }
    return true;
  }));
  WaitqOk({"wake", "flag", "--set", "1"});
  EXPECT_EQ(first.WaitFor(), 0) << first.Errors();
  EXPECT_TRUE(second.IsRunning()) << "the second in line was served";
}

TEST_F(CutConnectionTest, CtrlCEndsItAtOnceWithoutAConnection) {
  Process& waiter = Start({"wait", "flag", "--until", "==1"});
  AwaitSleepers("flag", 1);
  proxy().Refuse(true);
  ASSERT_GE(proxy().CutAll(), 1);
  waiter.Signal(SIGINT);
  // And not 1, which it would be after the session's grace.
  EXPECT_EQ(waiter.WaitFor(), 130) << waiter.Errors();
}

TEST_F(CutConnectionTest, ARestartedServerHasForgottenAndSaysSo) {
  Process& waiter =
      Start({"wait", "flag", "--until", "==1", "--then", "set:0"});
  AwaitSleepers("flag", 1);
  const std::string address = server().address();
  StartServer(address);
  EXPECT_EQ(waiter.WaitFor(), 1);
  EXPECT_THAT(waiter.Errors(), testing::HasSubstr("restarted"));
}

}  // namespace
}  // namespace waitq::test
