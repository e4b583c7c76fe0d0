// What signals do to calls, beside what they do to the machine's own: with and
// without SA_RESTART, stopped and continued, ignored.
//
// Each call is made by a process of its own, and by a thread of this one. What
// is compared is whether it ended, and how, or sleeps on. No clock is compared:
// only that a timeout which is over while the caller is stopped is over.

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <string>
#include <tuple>
#include <utility>

#include "absl/time/time.h"
#include "core/epoll.h"
#include "core/fifo.h"
#include "core/poll.h"
#include "core/restart.h"
#include "core/simulated_clock.h"
#include "core/sleep.h"
#include "core/task.h"
#include "gtest/gtest.h"
#include "tests/core/sleeper.h"
#include "tests/support/wait_until.h"

namespace waitq::test {
namespace {

// Long enough not to end by itself; and short enough to wait for.
constexpr absl::Duration kLong = absl::Minutes(10);
constexpr absl::Duration kShort = absl::Milliseconds(300);

enum class Call { kRead, kOpen, kPoll, kNanosleep, kUntil, kPause, kEpoll };
enum class Event { kHandler, kRestartingHandler, kIgnored, kStop };

const char* NameOf(Call call) {
  constexpr std::array<const char*, 7> kNames = {
      "read", "open", "poll", "nanosleep", "until", "pause", "epoll"};
  return kNames[static_cast<size_t>(call)];
}
const char* NameOf(Event event) {
  constexpr std::array<const char*, 4> kNames = {
      "handler", "restarting handler", "ignored signal", "stop"};
  return kNames[static_cast<size_t>(event)];
}
int SignalOf(Event event) {
  return event == Event::kHandler             ? SIGUSR1
         : event == Event::kRestartingHandler ? SIGUSR2
                                              : SIGWINCH;
}

std::string Outcome(int64_t result) {
  return result == -EINTR ? "EINTR" : "returns " + std::to_string(result);
}
constexpr const char* kSleepsOn = "sleeps on";

// --- The machine's -----------------------------------------------------------

void DoNothing(int) {}

int64_t OrErrno(int64_t result) { return result < 0 ? -errno : result; }

int64_t DoReal(Call call, absl::Duration timeout, const char* fifo_path) {
  const timespec time = absl::ToTimespec(timeout);
  switch (call) {
    case Call::kRead: {
      const int fd = open(fifo_path, O_RDWR | O_CLOEXEC);
      char byte;
      return OrErrno(read(fd, &byte, 1));
    }
    case Call::kOpen:
      return OrErrno(open(fifo_path, O_RDONLY | O_CLOEXEC));
    case Call::kPoll:
      return OrErrno(poll(
          nullptr, 0, static_cast<int>(absl::ToInt64Milliseconds(timeout))));
    case Call::kNanosleep:
      return OrErrno(nanosleep(&time, nullptr));
    case Call::kUntil: {
      timespec now;
      clock_gettime(CLOCK_MONOTONIC, &now);
      const timespec end =
          absl::ToTimespec(absl::DurationFromTimespec(now) + timeout);
      return -clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, nullptr);
    }
    case Call::kPause:
      return OrErrno(pause());
    case Call::kEpoll: {
      const int fd = epoll_create1(EPOLL_CLOEXEC);
      epoll_event event;
      return OrErrno(epoll_wait(
          fd, &event, 1, static_cast<int>(absl::ToInt64Milliseconds(timeout))));
    }
  }
  return 0;
}

// The letter of its state: S asleep, T stopped, Z gone.
char StateOf(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(file, line);
  const size_t name_end = line.rfind(')');
  return name_end == std::string::npos ? '?' : line[name_end + 2];
}

// A child process in the middle of a call.
class RealCall {
 public:
  RealCall(Call call, absl::Duration timeout, const std::string& fifo_path) {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    pid_ = fork();
    if (pid_ == 0) {
      struct sigaction action = {};
      action.sa_handler = &DoNothing;
      sigaction(SIGUSR1, &action, nullptr);
      action.sa_flags = SA_RESTART;
      sigaction(SIGUSR2, &action, nullptr);
      // Ready: from here on it sleeps in the call only.
      char byte = 'r';
      if (write(ends[1], &byte, 1) != 1) _exit(1);
      const int64_t result = DoReal(call, timeout, fifo_path.c_str());
      if (write(ends[1], &result, sizeof(result)) < 0) _exit(1);
      _exit(0);
    }
    close(ends[1]);
    results_ = ends[0];
    char byte;
    EXPECT_EQ(read(results_, &byte, 1), 1);
  }
  ~RealCall() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    close(results_);
  }

  void AwaitAsleep() { Await("SZ"); }
  void Signal(int signal) { kill(pid_, signal); }
  void Stop() {
    kill(pid_, SIGSTOP);
    Await("T");
  }
  std::string OutcomeNow() {
    if (Await("SZ") == 'S') return kSleepsOn;
    int64_t result = 0;
    EXPECT_EQ(read(results_, &result, sizeof(result)),
              static_cast<ssize_t>(sizeof(result)));
    return Outcome(result);
  }

 private:
  // A signal's target is no longer asleep when kill() returns, if it wakes it:
  // so one that is seen asleep after that sleeps again, or still.
  char Await(const std::string& states) {
    char state = '?';
    WaitUntil([&] {
      state = StateOf(pid_);
      return states.find(state) != std::string::npos;
    });
    return state;
  }

  pid_t pid_;
  int results_;
};

// --- Ours --------------------------------------------------------------------

class OurCall {
 public:
  OurCall(Call call, absl::Duration timeout)
      : sleeper_([this, call, timeout] { return Do(call, timeout); },
                 &clock_.timers()) {}
  ~OurCall() {
    // Whatever it does: SIGKILL ends these all.
    if (!sleeper_.returned()) sleeper_.task().SendSignal(SIGKILL);
    WaitUntil([this] { return sleeper_.returned(); });
  }

  void AwaitAsleep() { sleeper_.AwaitParked(); }
  void Signal(int signal) { sleeper_.task().SendSignal(signal); }
  void Stop() {
    sleeper_.task().SendSignal(SIGSTOP);
    WaitUntil([this] {
      return sleeper_.task().state() == kStopped && sleeper_.task().parked();
    });
  }
  void Pass(absl::Duration time) { clock_.Advance(time); }
  std::string OutcomeNow() {
    Settle();
    // A timer that is due already fires when the clock is looked at.
    clock_.Advance(absl::ZeroDuration());
    Settle();
    return sleeper_.returned() ? Outcome(sleeper_.Result()) : kSleepsOn;
  }

 private:
  int64_t Do(Call call, absl::Duration timeout) {
    SignalDispositions& own = Task::Current().dispositions();
    own.handled = SignalSet::Of(SIGUSR1) | SignalSet::Of(SIGUSR2);
    own.restart = SignalSet::Of(SIGUSR2);
    const Ticks ticks = timeout / kTick;
    const absl::Time deadline = clock_.Now() + timeout;
    FifoFile file;
    if (call == Call::kRead) {
      EXPECT_EQ(fifo_.Open(Fifo::kRead | Fifo::kWrite, file), 0);
    }
    return RestartableCall([&]() -> int64_t {
      switch (call) {
        case Call::kRead: {
          char byte;
          return file.Read(&byte, 1);
        }
        case Call::kOpen:
          return fifo_.Open(Fifo::kRead, file);
        case Call::kPoll:
          return Poll({}, ticks);
        case Call::kNanosleep:
          return Nanosleep(timeout);
        case Call::kUntil:
          return NanosleepUntil(deadline);
        case Call::kPause:
          return PauseForSignal();
        case Call::kEpoll: {
          EpollEvent event;
          return epoll_.Wait({&event, 1}, ticks);
        }
      }
      return 0;
    });
  }

  void Settle() {
    WaitUntil(
        [this] { return sleeper_.returned() || sleeper_.task().parked(); });
  }

  SimulatedClock clock_;
  Fifo fifo_;
  Epoll epoll_;
  Sleeper sleeper_;
};

// --- Side by side ------------------------------------------------------------

class SignalsDifferentialTest : public testing::Test {
 protected:
  SignalsDifferentialTest() {
    std::string folder = testing::TempDir() + "/signals_XXXXXX";
    EXPECT_NE(mkdtemp(folder.data()), nullptr);
    folder_ = folder;
    EXPECT_EQ(mkfifo(path().c_str(), 0600), 0);
  }
  ~SignalsDifferentialTest() override {
    unlink(path().c_str());
    rmdir(folder_.c_str());
  }
  std::string path() const { return folder_ + "/fifo"; }

  static constexpr std::array<Call, 7> kCalls = {
      Call::kRead,  Call::kOpen,  Call::kPoll, Call::kNanosleep,
      Call::kUntil, Call::kPause, Call::kEpoll};

  std::string folder_;

  // A call whose timeout passes while it is stopped: ours and the machine's
  // own, when they have gone on.
  std::pair<std::string, std::string> AfterAStop(Call call) {
    RealCall real(call, kShort, path());
    OurCall ours(call, kShort);
    real.AwaitAsleep();
    ours.AwaitAsleep();
    real.Stop();
    ours.Stop();
    const timespec more = absl::ToTimespec(kShort + absl::Milliseconds(20));
    nanosleep(&more, nullptr);
    ours.Pass(kShort + absl::Milliseconds(20));
    real.Signal(SIGCONT);
    ours.Signal(SIGCONT);
    return {ours.OutcomeNow(), real.OutcomeNow()};
  }
};

TEST_F(SignalsDifferentialTest, ACallEndsOrSleepsOnAsTheMachinesOwn) {
  for (const Call call : kCalls) {
    for (const Event event : {Event::kHandler, Event::kRestartingHandler,
                              Event::kIgnored, Event::kStop}) {
      SCOPED_TRACE(std::string(NameOf(call)) + ", " + NameOf(event));
      RealCall real(call, kLong, path());
      OurCall ours(call, kLong);
      // Two times: what is called again is as it was.
      for (int time = 0; time < 2; ++time) {
        real.AwaitAsleep();
        ours.AwaitAsleep();
        if (event == Event::kStop) {
          real.Stop();
          ours.Stop();
          real.Signal(SIGCONT);
          ours.Signal(SIGCONT);
        } else {
          real.Signal(SignalOf(event));
          ours.Signal(SignalOf(event));
        }
        const std::string outcome = real.OutcomeNow();
        EXPECT_EQ(ours.OutcomeNow(), outcome);
        std::printf("%s, %s: %s\n", NameOf(call), NameOf(event),
                    outcome.c_str());
        if (outcome != kSleepsOn) break;
      }
    }
  }
}

// A relative timeout that began anew would sleep on.
TEST_F(SignalsDifferentialTest, ATimeoutPassesWhileStopped) {
  for (const Call call :
       {Call::kPoll, Call::kNanosleep, Call::kUntil, Call::kEpoll}) {
    SCOPED_TRACE(NameOf(call));
    // On a busy machine the real one may be looked at before it has gone on.
    // One that begins anew sleeps on in every round.
    std::string ours_now = kSleepsOn;
    std::string real_now;
    for (int round = 0; round < 10 && ours_now != real_now; ++round) {
      std::tie(ours_now, real_now) = AfterAStop(call);
    }
    EXPECT_EQ(ours_now, real_now);
  }
}

}  // namespace
}  // namespace waitq::test
