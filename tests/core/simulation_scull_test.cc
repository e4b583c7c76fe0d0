// scull pipes, simulated: written and read by some, polled by others.
//
// Each byte says who wrote it and, modulo 32, as which of its bytes. So what is
// lost, doubled or out of order shows.

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <deque>
#include <vector>

#include "absl/time/time.h"
#include "core/poll.h"
#include "core/scull_pipe.h"
#include "core/task.h"
#include "gtest/gtest.h"
#include "tests/core/simulation.h"

namespace waitq {
namespace {

using test::Fibers;
using test::Simulate;
using test::World;

class ScullWorld final : public World {
 public:
  explicit ScullWorld(Fibers* fibers) : World(fibers) {
    for (int64_t n = Between(1, 2); n > 0; --n) {
      pipes_.emplace_back(static_cast<size_t>(Between(2, 12)));
    }
    nonblocking_ = OneIn(2);
    const int64_t writers = Between(1, 4);
    const int64_t readers = Between(1, 4);
    // Pollers wait for all pipes at once; others for one of them, so each pipe
    // needs one that stays with it.
    const int64_t pollers = OneIn(2) ? Between(1, 2) : 0;
    lone_reader_ = pollers == 0 && readers == 1 && pipes_.size() == 1;
    for (int64_t i = 0; i < writers; ++i) {
      Start("writer", [this, i] { WriteAll(i); });
    }
    if (pollers == 0 || OneIn(2)) {
      for (size_t pipe = 0; pipe < pipes_.size(); ++pipe) {
        for (int64_t i = 0; i < readers; ++i) {
          Start("reader", [this, pipe] { ReadAll(pipe); });
        }
      }
    }
    for (int64_t i = 0; i < pollers; ++i) {
      Start("poller", [this] { PollAll(); });
    }
    StartNoise(OneIn(3) ? 0 : static_cast<int>(Between(1, 30)), [] {});
  }

 private:
  enum class Sleep { kNone, kReads, kWrites, kPolls };
  struct Doing {
    Sleep sleep = Sleep::kNone;
    size_t pipe = 0;
    PollEvents events = 0;
  };
  // What the fiber is in the middle of, for CheckAllMaySleep().
  Doing& doing() { return doing_[fibers_.current()]; }

  static char Tag(int64_t writer, uint64_t count) {
    return static_cast<char>(writer << 5 | static_cast<int64_t>(count % 32));
  }

  // --- Fibers ----------------------------------------------------------------

  void WriteAll(int64_t writer) {
    uint64_t written = 0;
    for (int64_t n = Between(1, 15); n > 0; --n) {
      Yield("next write");
      const auto pipe = static_cast<size_t>(
          Between(0, static_cast<int64_t>(pipes_.size()) - 1));
      const auto size = static_cast<size_t>(Between(1, 9));
      const bool nonblock = nonblocking_ && OneIn(3);
      char bytes[16];
      for (size_t i = 0; i < size; ++i) bytes[i] = Tag(writer, written + i);
      doing() = {Sleep::kWrites, pipe};
      const int64_t result = pipes_[pipe].Write(bytes, size, nonblock);
      doing() = {};
      if (CheckFailure(result, nonblock)) continue;
      Check(result >= 1 && result <= static_cast<int64_t>(size),
            "a write is of some bytes");
      written += static_cast<uint64_t>(result);
      written_ += result;
    }
  }

  void ReadAll(size_t pipe) {
    while (!stop_) {
      Yield("next read");
      Read(pipe, nonblocking_ && OneIn(3));
    }
  }

  void Read(size_t pipe, bool nonblock) {
    char bytes[16];
    const auto size = static_cast<size_t>(Between(1, 9));
    doing() = {Sleep::kReads, pipe};
    const int64_t result = pipes_[pipe].Read(bytes, size, nonblock);
    doing() = {};
    if (CheckFailure(result, nonblock)) {
      // Somebody who only looks would look for ever.
      if (result == -EAGAIN) Read(pipe, false);
      return;
    }
    Check(result >= 1 && result <= static_cast<int64_t>(size),
          "a read is of some bytes");
    read_ += result;
    CheckBytes(bytes, static_cast<size_t>(result));
  }

  void PollAll() {
    while (!stop_) {
      Yield("next poll");
      std::vector<PollRequest> requests;
      for (ScullPipe& pipe : pipes_) requests.push_back({&pipe, kPollIn, 0});
      const Ticks timeout = OneIn(2) ? kMaxScheduleTimeout : Between(0, 20);
      const absl::Time deadline = task().DeadlineAfter(timeout);
      doing() = {Sleep::kPolls};
      const int found = Poll(requests, timeout);
      doing() = {};
      if (found == 0) Check(Now() >= deadline, "nobody times out early");
      if (found < 0) {
        Check(found == -kErestartRestartblock, "poll's own restart");
        Check(task().SignalPending(), "a signal was sent");
        ClearSignals(task());
      }
      if (found == 0 && timeout == 0) Yield("looked");
      for (size_t i = 0; i < requests.size(); ++i) {
        if (requests[i].revents == 0) continue;
        Check(requests[i].revents == kPollIn, "only what was asked for");
        char byte[8];
        const int64_t result = pipes_[i].Read(byte, sizeof(byte), true);
        if (result < 0) continue;  // another one was faster
        read_ += result;
        CheckBytes(byte, static_cast<size_t>(result));
      }
    }
  }

  // Whether the result is one, which then has a reason.
  bool CheckFailure(int64_t result, bool nonblock) {
    if (result >= 0) return false;
    if (result == -EAGAIN) {
      Check(nonblock, "only who asked for it does not wait");
      return true;
    }
    Check(result == -kErestartsys && task().SignalPending(),
          "else a signal was sent");
    ClearSignals(task());
    return true;
  }

  // --- The model -------------------------------------------------------------

  // One read's bytes are in the order in which each writer wrote them; with one
  // pipe they are next to each other, and with one reader follow the last ones.
  void CheckBytes(const char* bytes, size_t size) {
    if (pipes_.size() > 1) return;
    std::array<int, 8> next;
    next.fill(-1);
    if (lone_reader_) next = next_;
    for (size_t i = 0; i < size; ++i) {
      const auto byte = static_cast<uint8_t>(bytes[i]);
      int& expected = next[byte >> 5];
      Check(expected < 0 || expected == byte % 32, "bytes stay in order");
      expected = (byte + 1) % 32;
    }
    if (lone_reader_) next_ = next;
  }

  void CheckAllMaySleep() override {
    for (int fiber = 0; fiber < fibers_.count(); ++fiber) {
      const Doing& doing = doing_[fiber];
      if (!fibers_.asleep(fiber)) continue;
      switch (doing.sleep) {
        case Sleep::kReads:
          Check((pipes_[doing.pipe].Poll(nullptr) & kPollIn) == 0,
                "no reader sleeps while there is data");
          break;
        case Sleep::kWrites:
          Check((pipes_[doing.pipe].Poll(nullptr) & kPollOut) == 0,
                "no writer sleeps while there is room");
          break;
        case Sleep::kPolls:
          for (ScullPipe& pipe : pipes_) {
            Check((pipe.Poll(nullptr) & kPollIn) == 0,
                  "no poller sleeps while there is data");
          }
          break;
        case Sleep::kNone:
          Check(false, "only in a call one sleeps");
      }
    }
  }

  // The readers would wait for ever: there is no end of file.
  bool LetGo() override {
    if (stop_) return false;
    stop_ = true;
    Check(read_ == written_, "all is read when all sleep");
    for (int i = 0; i < fibers_.count(); ++i) {
      fibers_.task(i).SendSignal(SIGUSR1);
    }
    return true;
  }

  void CheckEnd() override {
    Check(stop_ || read_ <= written_, "no more is read than was written");
  }

  std::deque<ScullPipe> pipes_;
  bool nonblocking_;
  bool lone_reader_;
  std::array<Doing, 64> doing_ = {};
  std::array<int, 8> next_ = {};
  int64_t written_ = 0;
  int64_t read_ = 0;
  bool stop_ = false;
};

TEST(ScullSimulationTest, BytesAreReadInOrderAndNobodySleepsForNothing) {
  Simulate<ScullWorld>("scull pipes", 20'000);
}

}  // namespace
}  // namespace waitq
