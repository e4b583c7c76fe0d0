// The machine's own FIFO, made to keep what a named pipe promises beyond it.
//
// What the kernel does: who sleeps, who is served, with what and when, what is
// whole, what is cut short. What we promise beyond it: a name outlives its
// handles. So the name has the FIFO open itself, for both sides, and lets go of
// one side for the moment in which somebody must see that it is gone:
//   * the reading side when the last reader leaves, and for each write that is
//     EPIPE then;
//   * the writing side when the last writer leaves, and for each reader to whom
//     that end has still to be told.
// One FIFO cannot show two processes different things. Where somebody else is
// asleep who must not see it, and where a broken end stands before other bytes,
// the promise alone says what happens; the kernel is not asked.

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/fifo.h"
#include "core/poll_events.h"
#include "tests/core/fifo_crew.h"
#include "tests/core/fifo_script.h"
#include "tests/core/fifo_world.h"
#include "tests/server/pipe_promise.h"
#include "tests/server/pipe_script.h"

namespace waitq::test {
namespace {

constexpr size_t kCapacityBytes = 65536;

// The actor and the files that are the name's own.
constexpr int kName = kProcesses;
constexpr int kReadingSide = kProcesses;
constexpr int kWritingSide = kProcesses + 1;
static_assert(kName < kActorsMax && kWritingSide < kFilesMax);

class KernelPipeWorld final : public PipeWorld {
 public:
  explicit KernelPipeWorld(const std::string& path)
      : fifo_(MakeRealFifoWorld(path)), crew_(fifo_.get(), kProcesses + 1) {}
  ~KernelPipeWorld() override {
    Begin(
        {.capacity_units = 1, .window_units = 1, .unit_bytes = 1, .steps = {}});
    LetGo(kBothSides);
  }

  void Race(Random& random) override {
    crew_.RaceMuch(random, /*at_any_price=*/false);
  }

  void Begin(const PipeScript& script) override {
    for (int k = 0; k < kProcesses; ++k) {
      if (Of(k).doing != Doing::kNothing) End(k);
    }
    LetGo(kBothSides);  // which empties it
    TakeHold();
    capacity_ = script.capacity_units;
    unit_bytes_ = kCapacityBytes / capacity_;
    processes_ = {};
    read_ = written_ = 0;
    promise_ = {};
  }

  PipeReport Do(const PipeStep& step, size_t index) override {
    for (Process& process : processes_) process.happened.clear();
    index_ = index;
    Process& process = processes_[static_cast<size_t>(step.process)];
    switch (step.kind) {
      case PipeStep::Kind::kOpenReader:
        OpenReader(step.process);
        process.left = step.units;
        ReadOn(step.process);
        break;
      case PipeStep::Kind::kReadOn:
        process.left = step.units;
        ReadOn(step.process);
        break;
      case PipeStep::Kind::kOpenWriter:
        OpenWriter(step.process);
        break;
      case PipeStep::Kind::kWrite:
        WriteCall(step.process, step.units, step.nonblock);
        break;
      case PipeStep::Kind::kWriteOn:
        Write(step.process, step.process, step.units, Doing::kWrites);
        break;
      case PipeStep::Kind::kRead:
        ReadCall(step.process, step.units, step.nonblock);
        break;
      case PipeStep::Kind::kClose:
        process.happened = "closed";
        CloseHandle(step.process, /*clean=*/true);
        break;
      case PipeStep::Kind::kGoAway:
        End(step.process);
        // Nobody is there to hear how it ended.
        process.happened = "gone";
        break;
      case PipeStep::Kind::kSignal:
        End(step.process);
        break;
      case PipeStep::Kind::kPoll:
        Poll(process);
        break;
    }
    PipeReport report;
    for (size_t k = 0; k < processes_.size(); ++k) {
      report[k] = {processes_[k].happened, processes_[k].doing};
    }
    return report;
  }

 private:
  enum Sides { kBothSides, kReadersOnly, kWritersOnly };
  struct Process {
    std::string happened;
    Doing doing = Doing::kNothing;
    size_t left = 0;  // of a reader: units that it still wants
    PipePromise::Handle handle;
    size_t units = 0;       // of its write
    std::string_view read;  // what it has just read
  };
  Process& Of(int k) { return processes_[static_cast<size_t>(k)]; }

  int Count(Doing doing) const {
    return static_cast<int>(
        std::count_if(processes_.begin(), processes_.end(),
                      [&](const Process& p) { return p.doing == doing; }));
  }
  int SleepingReaders() const {
    return Count(Doing::kReads) + Count(Doing::kReadCall);
  }
  int SleepingWriters() const {
    return Count(Doing::kWrites) + Count(Doing::kWriteCall);
  }
  // Who sleeps to write has filled it up.
  size_t Unread() const {
    return SleepingWriters() > 0 ? capacity_ : written_ - read_;
  }

  // --- The FIFO --------------------------------------------------------------

  // A step, of which what has returned is counted at once; what that brings
  // about is for Settle().
  void Run(const Step& step) {
    for (const auto& outcome : crew_.Do(step, index_)) {
      if (outcome.sleeps) continue;
      const int64_t result = outcome.answer.result;
      if (outcome.actor == kName) {
        WAITQ_CHECK(result >= 0, "a step of the name itself fails");
        polled_ = {outcome.answer.revents[0], outcome.answer.revents[1]};
        continue;
      }
      const size_t units =
          result > 0 ? static_cast<size_t>(result) / unit_bytes_ : 0;
      Process& process = Of(outcome.actor);
      const bool has_handle = outcome.step.file == outcome.actor;
      if (outcome.step.kind == Step::Kind::kRead) {
        read_ += units;
        process.doing = has_handle ? Doing::kHoldsReader : Doing::kNothing;
        process.read = outcome.bytes;
        returned_.push_back(outcome);
      } else if (outcome.step.kind == Step::Kind::kWrite) {
        written_ += units;
        process.doing = has_handle ? Doing::kHoldsWriter : Doing::kNothing;
        returned_.push_back(outcome);
      } else {
        WAITQ_CHECK(result == 0, "a handle cannot be opened or closed");
      }
    }
  }
  void TakeHold() {
    if (!holds_reading_) {
      Run({.kind = Step::Kind::kOpen,
           .actor = kName,
           .file = kReadingSide,
           .flags = Fifo::kRead | Fifo::kNonblock});
      SetNonblock(kReadingSide, false);
      holds_reading_ = true;
    }
    if (!holds_writing_) {
      Run({.kind = Step::Kind::kOpen,
           .actor = kName,
           .file = kWritingSide,
           .flags = Fifo::kWrite});
      holds_writing_ = true;
    }
  }
  void LetGo(Sides sides) {
    if (sides != kWritersOnly && std::exchange(holds_reading_, false)) {
      Run({.kind = Step::Kind::kClose, .actor = kName, .file = kReadingSide});
    }
    if (sides != kReadersOnly && std::exchange(holds_writing_, false)) {
      Run({.kind = Step::Kind::kClose, .actor = kName, .file = kWritingSide});
    }
  }
  void SetNonblock(int file, bool on) {
    Run({.kind = Step::Kind::kSetNonblock,
         .actor = kName,
         .file = file,
         .flags = on ? 1u : 0u});
  }

  // What has returned, and what that brings about, until nothing does.
  void Settle() {
    while (!returned_.empty()) {
      const FifoCrew::Outcome outcome = returned_.front();
      returned_.pop_front();
      if (outcome.step.kind == Step::Kind::kRead) {
        OnRead(outcome);
      } else if (outcome.step.kind == Step::Kind::kWrite) {
        OnWritten(outcome);
      }
    }
  }

  // --- Reading ---------------------------------------------------------------

  void OpenReader(int k) {
    Run({.kind = Step::Kind::kOpen,
         .actor = k,
         .file = k,
         .flags = Fifo::kRead});
    Process& process = Of(k);
    process.doing = Doing::kHoldsReader;
    process.happened = "opened";
    process.handle = promise_.OpenReader();
  }

  // A handle that wants more reads until it has it, or sleeps.
  void ReadOn(int k) {
    Process& process = Of(k);
    while (process.doing == Doing::kHoldsReader && process.left > 0) {
      Read(k, k, process.left, Doing::kReads);
    }
  }

  void ReadCall(int k, size_t units, bool nonblock) {
    Process& process = Of(k);
    if (units == 0) {
      process.happened = "read";
      return;
    }
    if (nonblock) SetNonblock(kReadingSide, true);
    // It takes what is there, in one piece; see Read().
    size_t left = units;
    if (SleepingWriters() > 1) {
      left = std::min(left, capacity_);
      left = std::max<size_t>(promise_.Limit(read_, left), 1);
    }
    while (left > 0) {
      const size_t n = SleepingWriters() > 1 ? 1 : left;
      Read(k, kReadingSide, n, Doing::kReadCall);
      left -= n;
    }
    if (nonblock) SetNonblock(kReadingSide, false);
  }

  void Read(int k, int file, size_t units, Doing asleep) {
    const bool empty = Unread() == 0;
    const std::optional<bool> end =
        promise_.EndAt(read_, empty, file == k ? &Of(k).handle : nullptr);
    if (end.has_value()) {
      // The kernel sees it, too, if nobody else must not.
      if (empty && !promise_.HasWriters() && SleepingReaders() == 0) {
        LetGo(kWritersOnly);
        Run({.kind = Step::Kind::kRead,
             .actor = k,
             .file = file,
             .n = unit_bytes_});
        WAITQ_CHECK(
            returned_.size() == 1 && returned_.front().answer.result == 0,
            "the kernel sees no end of file");
        returned_.clear();
        TakeHold();
      }
      promise_.MarkSeen(read_);
      return SeeEnd(k, file, *end);
    }
    units = promise_.Limit(read_, units);
    // Who is woken to write fills all the room that there is; here writers take
    // turns of a unit. If there is a unit of room at a time it is the same.
    if (SleepingWriters() > 1) units = 1;
    Of(k).doing = asleep;
    Run({.kind = Step::Kind::kRead,
         .actor = k,
         .file = file,
         .n = units * unit_bytes_});
    Settle();
  }

  void SeeEnd(int k, int file, bool broken) {
    AppendTo(Of(k).happened, EndOfFileText(broken));
    if (file == k) CloseHandle(k, /*clean=*/true);
  }

  void OnRead(const FifoCrew::Outcome& outcome) {
    const int k = outcome.actor;
    const int file = outcome.step.file;
    Process& process = Of(k);
    const int64_t result = outcome.answer.result;
    if (result > 0) {
      const std::string text = UnitNames(unit_bytes_).ToString(process.read);
      // One text for all that it has read in this step.
      const bool goes_on = process.happened.find("read") != std::string::npos;
      process.happened = goes_on ? process.happened + text.substr(4)
                                 : Joined(process.happened, text);
      if (file != k) return;
      process.left -= static_cast<size_t>(result) / unit_bytes_;
      return ReadOn(k);
    }
    if (result == 0) return SeeEnd(k, file, told_broken_);
    AppendTo(process.happened, ErrorName(result));
    if (file == k) CloseHandle(k, /*clean=*/true);
  }

  // --- Writing ---------------------------------------------------------------

  void OpenWriter(int k) {
    Run({.kind = Step::Kind::kOpen,
         .actor = k,
         .file = k,
         .flags = Fifo::kWrite});
    Process& process = Of(k);
    process.doing = Doing::kHoldsWriter;
    process.happened = "opened";
    process.handle = promise_.OpenWriter();
  }

  void WriteCall(int k, size_t units, bool nonblock) {
    // Readers who sleep take from a write in its own step, and it goes on into
    // the room that they make. In the kernel they have to run for that: so it
    // may wait for them, and not for more.
    const bool waits = nonblock && SleepingReaders() > 0;
    if (nonblock && !waits) SetNonblock(kWritingSide, true);
    Write(k, kWritingSide, units, Doing::kWriteCall);
    if (nonblock && !waits) SetNonblock(kWritingSide, false);
    if (!waits || Of(k).doing != Doing::kWriteCall) return;
    Run({.kind = Step::Kind::kSignal, .actor = k});
    Settle();
  }

  void Write(int k, int file, size_t units, Doing asleep) {
    Process& process = Of(k);
    const bool has_handle = asleep == Doing::kWrites;
    const bool nobody_reads =
        units > 0 &&
        promise_.NobodyReads(has_handle ? &process.handle : nullptr);
    process.units = units;
    const bool let_go =
        nobody_reads && SleepingWriters() == 0 && SleepingReaders() == 0;
    if (nobody_reads && !let_go) {
      process.happened = WroteText(0, units, "EPIPE");
      if (has_handle) CloseHandle(k, false);
      return;
    }
    if (let_go) LetGo(kReadersOnly);
    process.doing = asleep;
    Run({.kind = Step::Kind::kWrite,
         .actor = k,
         .file = file,
         .n = units * unit_bytes_});
    if (let_go) TakeHold();
    Settle();
  }

  void OnWritten(const FifoCrew::Outcome& outcome) {
    const int k = outcome.actor;
    Process& process = Of(k);
    const int64_t result = outcome.answer.result;
    const size_t units =
        result > 0 ? static_cast<size_t>(result) / unit_bytes_ : 0;
    std::string ended_by;
    if (units < process.units) {
      // A count does not say what has cut it short.
      ended_by = outcome.answer.sigpipe ? "EPIPE"
                 : signalled_ == k      ? "EINTR"
                 : result >= 0          ? "would block"
                                        : ErrorName(result);
    }
    AppendTo(process.happened, WroteText(units, process.units, ended_by));
    if (!ended_by.empty() && outcome.step.file == k) {
      CloseHandle(k, /*clean=*/false);
    }
  }

  // --- Ends ------------------------------------------------------------------

  // A signal, or a process that goes.
  void End(int k) {
    const Process& process = Of(k);
    if (process.doing == Doing::kHoldsReader ||
        process.doing == Doing::kHoldsWriter) {
      return CloseHandle(k, false);
    }
    signalled_ = k;
    Run({.kind = Step::Kind::kSignal, .actor = k});
    Settle();
    signalled_ = -1;
  }

  void CloseHandle(int k, bool clean) {
    Process& process = Of(k);
    const bool reader =
        process.doing == Doing::kHoldsReader || process.doing == Doing::kReads;
    process.doing = Doing::kNothing;
    Run({.kind = Step::Kind::kClose, .actor = k, .file = k});
    if (reader) {
      if (!promise_.CloseReader()) return Settle();
      if (SleepingWriters() > 0) {  // they are told
        LetGo(kReadersOnly);
        TakeHold();
      }
      return Settle();
    }
    if (!promise_.CloseWriter(clean, read_ + Unread())) return Settle();
    if (SleepingReaders() > 0) {  // so nothing is unread, and they are told
      told_broken_ = promise_.EndAt(read_, /*empty=*/true, nullptr).value();
      promise_.MarkSeen(read_);
      LetGo(kWritersOnly);
      TakeHold();
    }
    Settle();
  }

  // in and out are the kernel's; hup and err are ours.
  void Poll(Process& process) {
    Run({.kind = Step::Kind::kPoll,
         .actor = kName,
         .file = kReadingSide,
         .flags = kPollIn | kPollOut,
         .sleeps = false,
         .file2 = kWritingSide});
    process.happened =
        PollText((polled_[0] & kPollIn) != 0, (polled_[1] & kPollOut) != 0,
                 promise_.Hup(), promise_.Err());
  }

  // --- Words -----------------------------------------------------------------

  static std::string ErrorName(int64_t result) {
    return result == -EINTR    ? "EINTR"
           : result == -EPIPE  ? "EPIPE"
           : result == -EAGAIN ? "would block"
                               : absl::StrCat("error ", result);
  }
  static std::string Joined(const std::string& first,
                            const std::string& second) {
    return first.empty() ? second : first + ", " + second;
  }
  static void AppendTo(std::string& text, const std::string& more) {
    text = Joined(text, more);
  }

  const std::unique_ptr<FifoWorld> fifo_;
  FifoCrew crew_;
  bool holds_reading_ = false;
  bool holds_writing_ = false;
  std::deque<FifoCrew::Outcome> returned_;  // and not yet looked at
  std::array<uint32_t, 2> polled_ = {};

  size_t capacity_ = 1;
  size_t unit_bytes_ = kCapacityBytes;
  size_t index_ = 0;
  std::array<Process, kProcesses> processes_;
  int signalled_ = -1;
  size_t read_ = 0;     // units, ever
  size_t written_ = 0;  // by calls that have returned

  PipePromise promise_;
  bool told_broken_ = false;  // the end that sleeping readers are told of
};

}  // namespace

std::unique_ptr<PipeWorld> MakeKernelPipeWorld(const std::string& path) {
  return std::make_unique<KernelPipeWorld>(path);
}

}  // namespace waitq::test
