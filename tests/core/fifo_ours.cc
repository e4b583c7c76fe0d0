// The FIFO of core/fifo.h, and around it what a kernel does on the way out.

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <span>

#include "core/check.h"
#include "core/fifo.h"
#include "core/poll.h"
#include "core/task.h"
#include "tests/core/fifo_world.h"

namespace waitq::test {
namespace {

// As in the other world: one signal interrupts, one restarts.
constexpr int kInterrupts = SIGUSR1;
constexpr int kRestarts = SIGUSR2;

class OurFifoWorld final : public FifoWorld {
 public:
  void Enter(int actor) override {
    ThreadTask& task = Task::Current();
    task.dispositions().handled = SignalSet::Of(kInterrupts) |
                                  SignalSet::Of(kRestarts) |
                                  SignalSet::Of(SIGPIPE);
    tasks_[actor] = &task;
  }

  CallResult Do(const Step& step, size_t index, char* buffer) override {
    ThreadTask& task = Task::Current();
    for (;;) {
      CallResult answer = DoOnce(step, index, buffer);
      const SignalSet signals = TakeSignals(task);
      answer.sigpipe = signals.Has(SIGPIPE);
      if (answer.result == -kErestartsys) {
        WAITQ_CHECK(step.kind != Step::Kind::kPoll,
                    "poll() must tell its own way of being interrupted");
        WAITQ_CHECK(signals.Has(kInterrupts) != signals.Has(kRestarts),
                    "a call is interrupted, but not by a signal");
        if (signals.Has(kRestarts)) continue;
        answer.result = -EINTR;
      } else if (answer.result == -kErestartRestartblock) {
        WAITQ_CHECK(step.kind == Step::Kind::kPoll,
                    "only poll() is interrupted in this way");
        answer.result = -EINTR;
      }
      return answer;
    }
  }

  void Signal(int actor, pid_t, bool restart) override {
    tasks_[actor].load()->SendSignal(restart ? kRestarts : kInterrupts);
  }

  std::string Objection(int actor) override {
    return tasks_[actor].load()->state() == kInterruptible
               ? ""
               : "sleeps, but its task does not";
  }

  std::string Remains() override {
    if (fifo_.readers() != 0) return "a reader is counted";
    if (fifo_.writers() != 0) return "a writer is counted";
    if (fifo_.readers_queue().HasSleeper()) return "somebody waits to read";
    if (fifo_.writers_queue().HasSleeper()) return "somebody waits to write";
    return "";
  }

 private:
  // All signals that are pending, which are then delivered.
  static SignalSet TakeSignals(ThreadTask& task) {
    SignalSet taken;
    while (const int signal = task.NextPendingSignal()) {
      taken = taken | SignalSet::Of(signal);
      task.ClearSignal(signal);
    }
    return taken;
  }

  CallResult DoOnce(const Step& step, size_t index, char* buffer) {
    CallResult answer;
    FifoFile& file = files_[step.file];
    switch (step.kind) {
      case Step::Kind::kOpen:
        answer.result = fifo_.Open(step.flags, file);
        break;
      case Step::Kind::kRead:
        answer.result = file.Read(buffer, step.n);
        break;
      case Step::Kind::kWrite:
        answer.result = file.Write(BytesOf(index, step.n).data(), step.n);
        break;
      case Step::Kind::kPoll: {
        PollRequest asked[2] = {{&file, step.flags, 0}, {nullptr, 0, 0}};
        size_t count = 1;
        if (step.file2 >= 0) {
          asked[1] = {&files_[step.file2], step.flags, 0};
          count = 2;
        }
        answer.result = Poll(std::span(asked, count),
                             step.sleeps ? kMaxScheduleTimeout : 0);
        if (answer.result < 0) break;
        for (size_t i = 0; i < count; ++i) answer.revents[i] = asked[i].revents;
        break;
      }
      case Step::Kind::kClose:
        file.Close();
        break;
      case Step::Kind::kSetNonblock:
        file.set_nonblock(step.flags != 0);
        break;
      case Step::Kind::kSignal:
        break;
    }
    return answer;
  }

  Fifo fifo_;
  std::array<FifoFile, kFiles> files_;
  std::array<std::atomic<ThreadTask*>, kActors> tasks_ = {};
};

}  // namespace

std::unique_ptr<FifoWorld> MakeOurFifoWorld() {
  return std::make_unique<OurFifoWorld>();
}

}  // namespace waitq::test
