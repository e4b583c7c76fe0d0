// Time goes wrong: clocks are set, a server stands still, a machine has no time
// for anybody. No sleep ends early, and no session of somebody who speaks ends.

#include "absl/time/time.h"

#include <signal.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/fixture.h"
#include "tests/server/client.h"
#include "tests/server/session_stream.h"

namespace waitq::test {
namespace {

using ::testing::IsEmpty;

// What victims say (way.h) that no time may make them say: that they do not
// know, that something was torn, that something came a second time.
bool IsTrouble(const std::string& line) {
  std::istringstream words(line);
  std::string what, item, mark;
  words >> what >> item >> mark;
  return what == "U" || what == "L" || what == "X" ||
         (what == "T" && mark == "1");
}

class TimeTest : public WaitqTest {
 protected:
  // A program whose clock is set by SetClock(clock, ...).
  std::vector<std::pair<std::string, std::string>> Shim(
      const std::string& clock) {
    SetClock(clock, absl::ZeroDuration());
    return {{"LD_PRELOAD", BuiltProgram("tests/e2e/clock_shim.so")},
            {"WAITQ_CLOCK_OFFSET", folder_.Path(clock)}};
  }

  // The wall clock of that program is now off by so much.
  void SetClock(const std::string& clock, absl::Duration by) {
    const int64_t seconds = absl::ToInt64Seconds(by);
    const std::string path = folder_.Path(clock);
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    if (!file) file.open(path, std::ios::binary | std::ios::out);
    file.write(reinterpret_cast<const char*>(&seconds), sizeof seconds);
  }

  // A reader or a writer, which goes on until it is ended.
  void StartVictim(const std::string& role, const std::string& mode,
                   const std::string& grace,
                   const ProcessOptions& options = {}) {
    victims_[role] = std::make_unique<Process>(
        std::vector<std::string>{BuiltProgram("tests/faults/victim"), role,
                                 "--server=" + server().address(),
                                 "--mode=" + mode, "--kind=packet",
                                 "--name=items", "--log=" + folder_.Path(role),
                                 "--grace=" + grace, "--hold=" + grace},
        options);
  }

  // Waits until so many more items have been taken.
  void AwaitItems(size_t more) {
    const size_t before = Lines("reader", 'T').size();
    ASSERT_TRUE(
        Await([&] { return Lines("reader", 'T').size() >= before + more; }));
  }

  // Ends them, the writer first.
  void EndVictims() {
    for (const char* role : {"writer", "reader"}) {
      Process& victim = *victims_[role];
      victim.Signal(SIGTERM);
      EXPECT_EQ(victim.WaitFor(), 0) << victim.Errors();
    }
  }

  std::vector<std::string> Trouble() {
    std::vector<std::string> trouble;
    for (const std::string role : {"writer", "reader"}) {
      std::ifstream file(folder_.Path(role));
      for (std::string line; std::getline(file, line);) {
        if (IsTrouble(line)) trouble.push_back(role + ": " + line);
      }
    }
    return trouble;
  }

  std::vector<std::string> Lines(const std::string& role, char what) {
    std::ifstream file(folder_.Path(role));
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with(what)) lines.push_back(line);
    }
    return lines;
  }

 private:
  TemporaryFolder folder_;
  std::map<std::string, std::unique_ptr<Process>> victims_;  // by their roles
};

// Sleeps of different lengths, by one client, none of which is woken.
class TimedSleeps {
 public:
  TimedSleeps(waitq::Client& client, int count, absl::Duration step)
      : elapsed_(count), step_(step) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < count; ++i) {
      client.Wait("bell", {.timeout = Timeout(i)},
                  [this, i, start](const absl::StatusOr<WaitResult>& result) {
                    // Without an answer the client waits 5 s longer.
                    if (result.ok()
                            ? result->outcome != Outcome::kTimedOut
                            : !absl::IsDeadlineExceeded(result.status())) {
                      ++failed_;
                    }
                    elapsed_[i] = std::chrono::steady_clock::now() - start;
                    ++ended_;
                  });
    }
  }

  void ExpectNoneEarly() {
    ASSERT_TRUE(Await([&] { return ended_ == std::ssize(elapsed_); }));
    EXPECT_EQ(failed_, 0);
    for (int i = 0; i < std::ssize(elapsed_); ++i) {
      EXPECT_GE(absl::FromChrono(elapsed_[i]), Timeout(i));
    }
  }

 private:
  absl::Duration Timeout(int i) const { return (i + 1) * step_; }

  std::vector<std::chrono::steady_clock::duration> elapsed_;
  const absl::Duration step_;
  std::atomic<int> ended_{0};
  std::atomic<int> failed_{0};
};

std::unique_ptr<waitq::Client> MakeClient(const std::string& server,
                                          absl::Duration grace) {
  auto client = waitq::Client::Create({.server = server, .grace = grace});
  EXPECT_TRUE(client.ok());
  return *std::move(client);
}

// --- a server that stands still ----------------------------------------------

TEST_F(TimeTest, TenSecondsOfAStoppedServerExpireNoSessionThatSpoke) {
  test::Client client(channel());
  SessionStream session(client, "grace { seconds: 2 }");
  const uint64_t sleeper = session.Do(
      "wait { name: 'flag' condition { equal: 1 } then { set: 0 } }");
  session.Call("write { name: 'pipe' data: 'held' }");
  // Held until it is taken.
  EXPECT_EQ(session.Call("read { name: 'pipe' }").read().data(), "held");
  AwaitSleepers("flag", 1);

  server().process().Signal(SIGSTOP);
  const absl::Time end = absl::Now() + absl::Seconds(10);
  uint64_t beat = 0;
  while (absl::Now() < end) {
    ASSERT_TRUE(session.Send(absl::StrCat("heartbeat: ", ++beat)));
    absl::SleepFor(absl::Milliseconds(100));
  }
  server().process().Signal(SIGCONT);

  // It goes on for longer than the grace, so that an end would have come.
  const absl::Time later = absl::Now() + absl::Seconds(3);
  while (absl::Now() < later) {
    ASSERT_TRUE(session.Send(absl::StrCat("heartbeat: ", ++beat)));
    std::optional<v1::SessionResponse> response;
    do {
      response = session.Next();
      ASSERT_TRUE(response.has_value());
    } while (response->heartbeat() != beat);
    absl::SleepFor(absl::Milliseconds(100));
  }
  EXPECT_EQ(Stat("pipe").pipe().held_bytes(), 4);
  EXPECT_EQ(WaitqOk({"wake", "flag", "--set", "1"}).substr(0, 7), "woken=1");
  EXPECT_EQ(session.ResultOf(sleeper).wait().outcome(), v1::OUTCOME_DONE);
  session.Send(absl::StrCat("taken_up_to: ", session.results()));
  EXPECT_TRUE(Await([&] { return Stat("pipe").pipe().held_bytes() == 0; }));
  EXPECT_EQ(Stat("pipe").pipe().unread_bytes(), 0);
  EXPECT_THAT(session.End(), IsOk());
}

TEST_F(TimeTest, NoSleepEndsEarlyThoughTheServerStoodStill) {
  const auto client = MakeClient(server().address(), absl::Seconds(30));
  TimedSleeps sleeps(*client, 120, absl::Milliseconds(100));
  AwaitSleepers("bell", 120);
  server().process().Signal(SIGSTOP);
  absl::SleepFor(absl::Seconds(10));
  server().process().Signal(SIGCONT);
  sleeps.ExpectNoneEarly();
}

TEST_F(TimeTest, ProgramsGoOnWhenTheServerDoes) {
  StartVictim("reader", "session", "30");
  StartVictim("writer", "session", "30");
  AwaitItems(20);
  server().process().Signal(SIGSTOP);
  absl::SleepFor(absl::Seconds(4));
  server().process().Signal(SIGCONT);
  AwaitItems(20);
  EndVictims();
  EXPECT_THAT(Trouble(), IsEmpty());
}

// --- clocks that are set -----------------------------------------------------

class ClockTest : public TimeTest,
                  public ::testing::WithParamInterface<std::string> {
 protected:
  void SetUp() override {
    // Only the server is to have it.
    for (const auto& [name, value] : Shim("server")) {
      setenv(name.c_str(), value.c_str(), 1);
    }
    StartServer();
    unsetenv("LD_PRELOAD");
    unsetenv("WAITQ_CLOCK_OFFSET");
  }
};

INSTANTIATE_TEST_SUITE_P(, ClockTest,
                         ::testing::Values("session", "hold", "request_id"));

TEST_P(ClockTest, SetsOfAnyClockDisturbNobody) {
  StartVictim("reader", GetParam(), "5", {.environment = Shim("reader")});
  StartVictim("writer", GetParam(), "5", {.environment = Shim("writer")});
  AwaitItems(20);
  for (const absl::Duration step :
       {absl::Hours(1), absl::Hours(-1), absl::Hours(24 * 400),
        -absl::Hours(24 * 400), absl::ZeroDuration()}) {
    for (const std::string clock : {"server", "reader", "writer"}) {
      SetClock(clock, step);
      AwaitItems(20);
    }
  }
  EndVictims();
  EXPECT_THAT(Trouble(), IsEmpty());
}

TEST_F(TimeTest, NoSleepEndsEarlyWhenTheClientsClockIsSet) {
  ProcessOptions options{.environment = Shim("client")};
  options.environment.emplace_back("WAITQ_SERVER", server().address());
  for (const absl::Duration step : {absl::Hours(1), absl::Hours(-1)}) {
    SetClock("client", absl::ZeroDuration());
    const auto start = std::chrono::steady_clock::now();
    Process& sleeper = StartWaitq({"wait", "bell", "--timeout", "2s"}, options);
    AwaitSleepers("bell", 1);
    SetClock("client", step);
    EXPECT_EQ(sleeper.WaitFor(), 124) << sleeper.Errors();
    EXPECT_GE(std::chrono::steady_clock::now() - start,
              std::chrono::seconds(2));
  }
}

// --- a loaded machine --------------------------------------------------------

TEST_F(TimeTest, ALoadedMachineEndsNoSleepEarlyAndNoSession) {
  StartVictim("reader", "session", "6");
  StartVictim("writer", "session", "6");
  AwaitItems(20);
  std::vector<std::unique_ptr<Process>> load;
  for (unsigned i = 0; i < 8 * std::thread::hardware_concurrency(); ++i) {
    load.push_back(std::make_unique<Process>(
        std::vector<std::string>{"/bin/sh", "-c", "while :; do :; done"}));
  }
  const absl::Time start = absl::Now();
  const auto client = MakeClient(server().address(), absl::Seconds(6));
  TimedSleeps sleeps(*client, 500, absl::Milliseconds(10));
  sleeps.ExpectNoneEarly();
  // For two graces: who is not heard for one of them is expired.
  do {
    AwaitItems(20);
  } while (absl::Now() < start + absl::Seconds(12));
  load.clear();
  EndVictims();
  EXPECT_THAT(Trouble(), IsEmpty());
}

}  // namespace
}  // namespace waitq::test
