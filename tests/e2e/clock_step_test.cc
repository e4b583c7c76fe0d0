// Somebody sets the clock of the server's machine. Nobody who sleeps there is
// concerned: all that the server counts, it counts by the monotonic clock.

#include <signal.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/fixture.h"
#include "tests/server/client.h"

namespace waitq::test {
namespace {

constexpr int64_t kHour = 3600;

class ClockStepTest : public WaitqTest,
                      public ::testing::WithParamInterface<int64_t> {
 protected:
  ClockStepTest() : file_(folder_.Path("offset")) { SetClock(0); }

  void SetUp() override {
    // Only the server is to have it.
    setenv("LD_PRELOAD", BuiltProgram("tests/e2e/clock_shim.so").c_str(), 1);
    setenv("WAITQ_CLOCK_OFFSET", file_.c_str(), 1);
    StartServer("127.0.0.1:0", {"--grace", "3s"});
    unsetenv("LD_PRELOAD");
  }

  // The server's wall clock is now off by so much.
  void SetClock(int64_t seconds) {
    std::fstream file(file_, std::ios::binary | std::ios::in | std::ios::out);
    if (!file) file.open(file_, std::ios::binary | std::ios::out);
    file.write(reinterpret_cast<const char*>(&seconds), sizeof seconds);
  }
  void Step() { SetClock(GetParam()); }

 private:
  TemporaryFolder folder_;
  const std::string file_;
};

INSTANTIATE_TEST_SUITE_P(, ClockStepTest, ::testing::Values(-kHour, kHour),
                         [](const auto& step) {
                           return step.param < 0 ? "Back" : "Forward";
                         });

// That the shim does what this file is about: the log shows the wall clock.
TEST_P(ClockStepTest, TheServersWallClockIsReallySet) {
  constexpr int64_t kHoursOf400Days = 24 * 400;
  SetClock(GetParam() * kHoursOf400Days);
  server().process().Signal(SIGTERM);
  EXPECT_EQ(server().process().WaitFor(), 0);
  const std::time_t now = std::time(nullptr) + GetParam() * kHoursOf400Days;
  char stamp[16];
  std::strftime(stamp, sizeof stamp, "%Y-%m", std::gmtime(&now));
  EXPECT_THAT(server().process().Errors(), ::testing::HasSubstr(stamp));
  ForgetServer();
}

// `waitq run`'s own clock: between TERM and KILL.
TEST_P(ClockStepTest, WhoWillNotEndIsKilledBeforeAnotherHasTheLock) {
  Process& run = StartWaitq(
      {"--grace", "4s", "run", "--lock", "l", "--", "sh", "-c",
       "trap 'echo term' TERM; echo up; while :; do sleep 0.01; done"},
      {.environment = {
           {"LD_PRELOAD", BuiltProgram("tests/e2e/clock_shim.so")}}});
  ASSERT_TRUE(run.AwaitLine("up"));
  server().process().Signal(SIGSTOP);
  ASSERT_TRUE(run.AwaitLine("term"));
  Step();
  EXPECT_EQ(run.WaitFor(), 125);
  server().process().Signal(SIGCONT);
}

TEST_P(ClockStepTest, TimeoutsAndDeadlinesAreWhatTheyWere) {
  Client client(channel());
  const auto start = std::chrono::steady_clock::now();
  Pending<v1::WaitRequest> timed(
      client, "name: 'flag' condition { equal: 1 } timeout { seconds: 1 }");
  Pending<v1::ReadRequest> bounded(
      client, "name: 'pipe'",
      std::chrono::system_clock::now() + std::chrono::seconds(2));
  Pending<v1::WaitRequest> endless(client, "name: 'bell'");
  AwaitSleepers("", 3);
  Step();
  EXPECT_THAT(timed.status(), IsOk());
  EXPECT_EQ(timed.response().outcome(), v1::OUTCOME_TIMED_OUT);
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
  // 40 ms before its deadline; or, if this machine is slower, at it.
  if (bounded.status().ok()) {
    EXPECT_EQ(bounded.response().outcome(), v1::OUTCOME_TIMED_OUT);
  } else {
    EXPECT_EQ(bounded.status().error_code(),
              grpc::StatusCode::DEADLINE_EXCEEDED);
  }
  EXPECT_GE(std::chrono::steady_clock::now() - start,
            std::chrono::milliseconds(1900));
  EXPECT_FALSE(endless.ended());
  // Calls that come after it count as they should, too.
  EXPECT_EQ(Waitq({"wait", "flag", "--until", "==1", "--timeout", "50ms"}).exit,
            124);
  WaitqOk({"wake", "bell"});
  EXPECT_THAT(endless.status(), IsOk());
}

TEST_P(ClockStepTest, GenerationsRise) {
  WaitqOk({"store", "flag", "1"});
  const uint64_t before = Stat("flag").generation();
  Step();
  WaitqOk({"rm", "flag"});
  WaitqOk({"store", "flag", "1"});
  EXPECT_GT(Stat("flag").generation(), before);
}

// It would go on for an hour more, or end before its grace has begun.
TEST_P(ClockStepTest, DrainTakesItsGraceAndNotMore) {
  WaitqOk({"write", "pipe"}, "words");
  const auto start = std::chrono::steady_clock::now();
  server().process().Signal(SIGTERM);
  EXPECT_TRUE(Await([this] {
    return Waitq({"wait", "flag", "--timeout", "1ms"}).exit == 1;
  }));
  Step();
  EXPECT_EQ(server().process().WaitFor(), 0);
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::seconds(3));
  EXPECT_THAT(server().process().Errors(),
              ::testing::HasSubstr("pipe: 5 bytes"));
  ForgetServer();
}

}  // namespace
}  // namespace waitq::test
