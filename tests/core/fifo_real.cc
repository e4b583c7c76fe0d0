// The machine's own FIFO.

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <ctime>

#include "core/check.h"
#include "core/fifo.h"
#include "core/poll_events.h"
#include "tests/core/fifo_world.h"

namespace waitq::test {
namespace {

static_assert(kPollIn == POLLIN && kPollOut == POLLOUT && kPollErr == POLLERR &&
              kPollHup == POLLHUP);

void DoNothing(int) {}

int64_t OrErrno(int64_t result) { return result < 0 ? -errno : result; }

// SIGPIPE is blocked, so that it stays pending; takes it, if it is.
bool TakeSigpipe() {
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  const timespec at_once = {0, 0};
  return sigtimedwait(&pipe, nullptr, &at_once) == SIGPIPE;
}

class RealFifoWorld final : public FifoWorld {
 public:
  explicit RealFifoWorld(const std::string& path) : path_(path) {
    WAITQ_CHECK(mkfifo(path.c_str(), 0600) == 0, "mkfifo() fails");
    struct sigaction action = {};
    action.sa_handler = &DoNothing;
    sigaction(SIGUSR1, &action, nullptr);
    action.sa_flags = SA_RESTART;
    sigaction(SIGUSR2, &action, nullptr);
  }
  ~RealFifoWorld() override { unlink(path_.c_str()); }

  void Enter(int) override {
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
  }

  CallResult Do(const Step& step, size_t index, char* buffer) override {
    CallResult answer;
    int& fd = fds_[step.file];
    switch (step.kind) {
      case Step::Kind::kOpen:
        fd = open(path_.c_str(), OpenFlags(step.flags) | O_CLOEXEC);
        answer.result = fd < 0 ? -errno : 0;
        break;
      case Step::Kind::kRead:
        answer.result = OrErrno(read(fd, buffer, step.n));
        break;
      case Step::Kind::kWrite:
        answer.result =
            OrErrno(write(fd, BytesOf(index, step.n).data(), step.n));
        answer.sigpipe = TakeSigpipe();
        break;
      case Step::Kind::kPoll:
        Poll(step, answer);
        break;
      case Step::Kind::kClose:
        answer.result = OrErrno(close(fd));
        break;
      case Step::Kind::kSetNonblock:
        answer.result =
            OrErrno(fcntl(fd, F_SETFL, step.flags != 0 ? O_NONBLOCK : 0));
        break;
      case Step::Kind::kSignal:
        break;
    }
    return answer;
  }

  void Signal(int, pid_t tid, bool restart) override {
    syscall(SYS_tgkill, getpid(), tid, restart ? SIGUSR2 : SIGUSR1);
  }

  std::string Objection(int) override { return ""; }
  std::string Remains() override { return ""; }

 private:
  static int OpenFlags(uint32_t flags) {
    const bool reads = (flags & Fifo::kRead) != 0;
    const bool writes = (flags & Fifo::kWrite) != 0;
    return (!writes ? O_RDONLY
            : reads ? O_RDWR
                    : O_WRONLY) |
           ((flags & Fifo::kNonblock) != 0 ? O_NONBLOCK : 0);
  }

  void Poll(const Step& step, CallResult& answer) {
    pollfd asked[2] = {{fds_[step.file], static_cast<int16_t>(step.flags), 0},
                       {-1, static_cast<int16_t>(step.flags), 0}};
    if (step.file2 >= 0) asked[1].fd = fds_[step.file2];
    answer.result =
        OrErrno(poll(asked, step.file2 >= 0 ? 2 : 1, step.sleeps ? -1 : 0));
    if (answer.result < 0) return;
    for (int i = 0; i < 2; ++i) {
      answer.revents[i] = static_cast<uint32_t>(asked[i].revents);
    }
  }

  const std::string path_;
  std::array<int, kFilesMax> fds_ = {-1, -1, -1, -1, -1, -1};
};

}  // namespace

bool KernelKeepsWritersInLine() {
  utsname name;
  int major = 0;
  int minor = 0;
  if (uname(&name) != 0) return false;
  if (std::sscanf(name.release, "%d.%d", &major, &minor) != 2) return false;
  return major > 6 || (major == 6 && minor >= 14);
}

std::unique_ptr<FifoWorld> MakeRealFifoWorld(const std::string& path) {
  return std::make_unique<RealFifoWorld>(path);
}

}  // namespace waitq::test
