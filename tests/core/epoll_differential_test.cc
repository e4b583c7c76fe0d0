// Our epoll beside the machine's own: random scripts on two FIFOs and three
// epolls, of which one may watch another; every result is compared.
//
//   bazel test --test_env=WAITQ_SEED=7 ...  begins with that script

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/epoll.h"
#include "core/fifo.h"
#include "core/poll.h"
#include "core/poll_events.h"
#include "core/task.h"
#include "gtest/gtest.h"
#include "tests/support/random.h"

namespace waitq::test {
namespace {

static_assert(kEpollExclusive == uint32_t{EPOLLEXCLUSIVE} &&
              kEpollOneshot == uint32_t{EPOLLONESHOT} &&
              kEpollEt == uint32_t{EPOLLET} && kPollIn == EPOLLIN &&
              kPollRdNorm == EPOLLRDNORM && kPollOut == EPOLLOUT);

constexpr int kFiles = 4;  // two FIFOs' read and write ends: 0, 1 and 2, 3
constexpr int kEpolls = 3;
constexpr size_t kMost = 70'000;

struct Step {
  enum Kind { kAdd, kModify, kRemove, kWait, kRead, kWrite, kClose, kOpen };
  Kind kind;
  int epoll;
  int file;  // kFiles + n is epoll n
  uint32_t events;
  size_t n;
};

std::string ToString(const Step& step) {
  constexpr std::array<const char*, 8> kNames = {
      "add", "modify", "remove", "wait", "read", "write", "close", "open"};
  return std::string(kNames[step.kind]) + " epoll " +
         std::to_string(step.epoll) + " file " + std::to_string(step.file) +
         " events " + std::to_string(step.events) + " n " +
         std::to_string(step.n);
}

std::string ToString(const epoll_event* events, int64_t n) {
  std::string text = std::to_string(n);
  for (int64_t i = 0; i < n; ++i) {
    text += " " + std::to_string(events[i].data.u64) + ":" +
            std::to_string(events[i].events);
  }
  return text;
}

class RealWorld {
 public:
  explicit RealWorld(const std::string& folder) : folder_(folder) {
    for (int& epoll : epolls_) epoll = epoll_create1(EPOLL_CLOEXEC);
    for (const char* name : {"/a", "/b"}) {
      EXPECT_EQ(mkfifo((folder_ + name).c_str(), 0600), 0);
    }
  }
  ~RealWorld() {
    for (const int fd : epolls_) close(fd);
    for (const int fd : files_) {
      if (fd >= 0) close(fd);
    }
    for (const char* name : {"/a", "/b"}) unlink((folder_ + name).c_str());
  }

  std::string Do(const Step& step) {
    int& file =
        step.file < kFiles ? files_[step.file] : epolls_[step.file - kFiles];
    switch (step.kind) {
      case Step::kAdd:
        return Control(step, EPOLL_CTL_ADD, file);
      case Step::kModify:
        return Control(step, EPOLL_CTL_MOD, file);
      case Step::kRemove:
        return Control(step, EPOLL_CTL_DEL, file);
      case Step::kWait: {
        std::array<epoll_event, 8> events;
        const int n = epoll_wait(epolls_[step.epoll], events.data(),
                                 static_cast<int>(step.n), 0);
        return ToString(events.data(), n < 0 ? -errno : n);
      }
      case Step::kRead:
        return Result(read(file, buffer_.data(), step.n));
      case Step::kWrite:
        return Result(write(file, buffer_.data(), step.n));
      case Step::kClose:
        for (const int epoll : epolls_) {
          epoll_ctl(epoll, EPOLL_CTL_DEL, file, nullptr);
        }
        close(file);
        file = -1;
        return "";
      case Step::kOpen:
        file = open((folder_ + (step.file < 2 ? "/a" : "/b")).c_str(),
                    (step.file % 2 == 0 ? O_RDONLY : O_WRONLY) | O_NONBLOCK |
                        O_CLOEXEC);
        return Result(file < 0 ? -1 : 0);
    }
    return "";
  }

 private:
  std::string Control(const Step& step, int op, int file) {
    epoll_event event = {.events = step.events, .data = {.u64 = 0}};
    event.data.u64 = static_cast<uint64_t>(step.file);
    return Result(epoll_ctl(epolls_[step.epoll], op, file, &event));
  }
  static std::string Result(int64_t result) {
    return std::to_string(result < 0 ? -errno : result);
  }

  const std::string folder_;
  std::array<int, kEpolls> epolls_;
  std::array<int, kFiles> files_ = {-1, -1, -1, -1};
  std::vector<char> buffer_ = std::vector<char>(kMost);
};

class OurWorld {
 public:
  OurWorld() {
    Task::Current().dispositions().ignored = SignalSet::Of(SIGPIPE);
  }
  ~OurWorld() {
    // An epoll is not watched when it goes.
    for (Epoll& epoll : epolls_) {
      for (Epoll& watched : epolls_) (void)epoll.Remove(watched);
      for (FifoFile& file : files_) (void)epoll.Remove(file);
    }
  }

  std::string Do(const Step& step) {
    Epoll& epoll = epolls_[step.epoll];
    switch (step.kind) {
      case Step::kAdd:
        return std::to_string(epoll.Add(Watched(step), EventOf(step)));
      case Step::kModify:
        return std::to_string(epoll.Modify(Watched(step), EventOf(step)));
      case Step::kRemove:
        return std::to_string(epoll.Remove(Watched(step)));
      case Step::kWait: {
        std::array<EpollEvent, 8> events;
        const int n = epoll.Wait({events.data(), step.n}, 0);
        std::array<epoll_event, 8> same;
        for (int i = 0; i < n; ++i) {
          same[i].events = events[i].events;
          same[i].data.u64 = events[i].data;
        }
        return ToString(same.data(), n);
      }
      case Step::kRead:
        return std::to_string(files_[step.file].Read(buffer_.data(), step.n));
      case Step::kWrite:
        return std::to_string(files_[step.file].Write(buffer_.data(), step.n));
      case Step::kClose:
        for (Epoll& each : epolls_) (void)each.Remove(files_[step.file]);
        files_[step.file].Close();
        return "";
      case Step::kOpen:
        return std::to_string(fifos_[step.file / 2].Open(
            (step.file % 2 == 0 ? Fifo::kRead : Fifo::kWrite) | Fifo::kNonblock,
            files_[step.file]));
    }
    return "";
  }

 private:
  Pollable& Watched(const Step& step) {
    if (step.file >= kFiles) return epolls_[step.file - kFiles];
    return files_[step.file];
  }
  static EpollEvent EventOf(const Step& step) {
    return {.events = step.events, .data = static_cast<uint64_t>(step.file)};
  }

  std::array<Fifo, 2> fifos_;
  std::array<FifoFile, kFiles> files_;
  std::array<Epoll, kEpolls> epolls_;
  std::vector<char> buffer_ = std::vector<char>(kMost);
};

// Steps that make sense: only what is open is used.
class Script {
 public:
  explicit Script(uint64_t seed) : random_(seed) {}

  Step Next() {
    for (;;) {
      const Step step = Draw();
      const bool of_file = step.kind != Step::kWait;
      if (of_file && step.file < kFiles &&
          open_[step.file] != (step.kind != Step::kOpen)) {
        continue;
      }
      return step;
    }
  }
  void NoteOpened(int file) { open_[file] = true; }
  void NoteClosed(int file) { open_[file] = false; }

 private:
  Step Draw() {
    Step step = {};
    step.epoll = static_cast<int>(random_.Below(kEpolls));
    step.file = static_cast<int>(random_.Below(kFiles));
    switch (random_.Below(12)) {
      case 0:
      case 1:
      case 2:
        step.kind = random_.OneIn(3) ? Step::kModify : Step::kAdd;
        if (random_.OneIn(4)) {
          step.file = kFiles + static_cast<int>(random_.Below(kEpolls));
        }
        step.events = RandomEvents();
        break;
      case 3:
        step.kind = Step::kRemove;
        if (random_.OneIn(4)) {
          step.file = kFiles + static_cast<int>(random_.Below(kEpolls));
        }
        break;
      case 4:
        step.kind = random_.OneIn(3) ? Step::kClose : Step::kOpen;
        break;
      case 5:
        step.kind = Step::kOpen;
        break;
      case 6:
        step.kind = Step::kRead;
        step.file &= ~1;
        step.n = RandomSize();
        break;
      case 7:
      case 8:
        step.kind = Step::kWrite;
        step.file |= 1;
        step.n = RandomSize();
        break;
      default:
        step.kind = Step::kWait;
        step.n = 1 + random_.Below(5);
        break;
    }
    return step;
  }
  uint32_t RandomEvents() {
    uint32_t events = 0;
    for (const uint32_t bit : {kPollIn, kPollOut}) {
      if (!random_.OneIn(3)) events |= bit;
    }
    if (random_.OneIn(8)) events |= kPollRdNorm;
    if (random_.OneIn(3)) events |= kEpollEt;
    if (random_.OneIn(4)) events |= kEpollOneshot;
    if (random_.OneIn(5)) events |= kEpollExclusive;
    return events;
  }
  size_t RandomSize() {
    switch (random_.Below(4)) {
      case 0:
        return 0;
      case 1:
        return kMost;
      default:
        return static_cast<size_t>(random_.Log(14));
    }
  }

  Random random_;
  std::array<bool, kFiles> open_ = {};
};

TEST(EpollDifferentialTest, EveryScriptEndsAsOnTheMachinesOwnEpoll) {
  std::signal(SIGPIPE, SIG_IGN);
  std::string folder = testing::TempDir() + "/epoll_XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const uint64_t seed = Seed();
  const int scripts =
      Times(std::getenv("WAITQ_LONG") == nullptr ? 3'000 : 100'000);
  for (int i = 0; i < scripts && !testing::Test::HasFailure(); ++i) {
    const uint64_t own_seed = seed + static_cast<uint64_t>(i);
    RealWorld real(folder);
    OurWorld ours;
    Script script(own_seed);
    std::string story;
    for (int n = 0; n < 60; ++n) {
      const Step step = script.Next();
      const std::string expected = real.Do(step);
      const std::string got = ours.Do(step);
      story += ToString(step) + " -> " + expected + "\n";
      ASSERT_EQ(got, expected) << "WAITQ_SEED=" << own_seed << "\n" << story;
      if (step.kind == Step::kOpen && got == "0") script.NoteOpened(step.file);
      if (step.kind == Step::kClose) script.NoteClosed(step.file);
    }
  }
  rmdir(folder.c_str());
}

}  // namespace
}  // namespace waitq::test
