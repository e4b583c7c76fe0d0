// FIFOs, simulated: readers, writers and pollers that stay until the end of
// file, and files that come and go.
//
// What is written consists of cells of 8 bytes. Each says who wrote it, as
// which of its cells, and where in its write. So what is lost, doubled, out of
// order or interleaved shows, whichever reader got it.

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <deque>
#include <iterator>
#include <vector>

#include "absl/time/time.h"
#include "core/fifo.h"
#include "core/pause.h"
#include "core/poll.h"
#include "core/task.h"
#include "gtest/gtest.h"
#include "tests/core/simulation.h"

namespace waitq {
namespace {

using test::Fibers;
using test::Simulate;
using test::World;

struct Cell {
  uint32_t count;        // which of its writer's cells
  uint32_t writer : 4;   // who wrote it
  uint32_t index : 14;   // which cell of its write
  uint32_t length : 14;  // of its write, in cells
};
static_assert(sizeof(Cell) == 8);
constexpr uint32_t kAtomicCells = Fifo::kPipeBuf / sizeof(Cell);
constexpr uint32_t kMostCells = 3 * kAtomicCells;

// What both worlds do with a file, and the model.
class FifoWorld : public World {
 protected:
  explicit FifoWorld(Fibers* fibers)
      : World(fibers),
        fifo_(static_cast<size_t>(Between(1, 4))),
        polls_(OneIn(4)),
        nonblocking_(OneIn(2)) {}

  enum class Sleep { kNone, kOpens, kReads, kWrites, kPolls };
  struct Doing {
    Sleep sleep = Sleep::kNone;
    FifoFile* file = nullptr;
    PollEvents events = 0;  // polled for; or kPollIn: opened to read
  };
  // What the fiber is in the middle of, for CheckAllMaySleep().
  Doing& doing() { return doing_[fibers_.current()]; }

  // --- Calls -----------------------------------------------------------------

  // One open(). False if the file is not open.
  bool Open(uint32_t flags, FifoFile& file) {
    // It enqueues with the FIFO's lock held.
    const Fibers::NoPauseAt locked(
        &fibers_, {PausePoint::kBeforeEnqueue, PausePoint::kStateSet});
    const bool reads = (flags & Fifo::kRead) != 0;
    doing() = {Sleep::kOpens, nullptr, reads ? kPollIn : kPollOut};
    const int result = fifo_.Open(flags, file);
    doing() = {};
    NoteEnds();
    if (result == -ENXIO) {
      Check((flags & Fifo::kNonblock) != 0 && !reads && fifo_.readers() == 0,
            "only who does not wait for a reader finds none");
    } else if (result != 0) {
      CheckInterrupted(result);
    }
    return result == 0;
  }

  void Close(FifoFile& file) {
    file.Close();
    NoteEnds();
  }

  // One read(). What it returned.
  int64_t Read(FifoFile& file) {
    if (polls_ && OneIn(2)) PollFor(file, kPollIn);
    Cell cells[kMostCells];
    const auto count =
        static_cast<size_t>(OneIn(4) ? Between(1, kMostCells) : Between(1, 12));
    const bool nonblock = nonblocking_ && OneIn(3);
    const uint64_t begin = fifo_.writers() == 0 ? 0 : fibers_.steps();
    file.set_nonblock(nonblock);
    doing() = {Sleep::kReads, &file};
    const int64_t result =
        file.Read(reinterpret_cast<char*>(cells), count * sizeof(Cell));
    doing() = {};
    if (result == 0) {
      Check(no_writers_at_ >= begin, "without writers it is the end of file");
    } else if (result == -EAGAIN) {
      Check(nonblock, "only who asked for it does not wait");
    } else if (result < 0) {
      CheckInterrupted(result);
    } else {
      Check(result <= static_cast<int64_t>(count * sizeof(Cell)) &&
                result % sizeof(Cell) == 0,
            "a read is of what was asked for");
      CheckCells(cells, static_cast<size_t>(result) / sizeof(Cell));
    }
    return result;
  }

  // One write() of the writer's next cells. What it returned.
  int64_t Write(FifoFile& file, uint32_t writer) {
    if (polls_ && OneIn(2)) PollFor(file, kPollOut);
    Cell cells[kMostCells];
    const auto length = static_cast<uint32_t>(
        OneIn(3) ? Between(1, kMostCells)
                 : (OneIn(2) ? int64_t{kAtomicCells} : Between(1, 12)));
    for (uint32_t i = 0; i < length; ++i) {
      cells[i] = {written_[writer] + i, writer, i, length};
    }
    const auto bytes = static_cast<int64_t>(length * sizeof(Cell));
    const bool nonblock = nonblocking_ && OneIn(3);
    const uint64_t begin = fifo_.readers() == 0 ? 0 : fibers_.steps();
    file.set_nonblock(nonblock);
    doing() = {Sleep::kWrites, &file};
    const int64_t result = file.Write(reinterpret_cast<const char*>(cells),
                                      static_cast<size_t>(bytes));
    doing() = {};
    if (result == -EPIPE) {
      Check(no_readers_at_ >= begin, "without readers the pipe is broken");
      CheckSigpipe();
    } else if (result == -EAGAIN) {
      Check(nonblock, "only who asked for it does not wait");
    } else if (result < 0) {
      CheckInterrupted(result);
    } else {
      Check(result > 0 && result <= bytes && result % sizeof(Cell) == 0,
            "a write is of what was given");
      Check(result == bytes || length > kAtomicCells,
            "a short write is whole or nothing");
      Check(result == bytes || nonblock || task().SignalPending(),
            "a long write is cut short by a signal only");
      written_[writer] += static_cast<uint32_t>(result) / sizeof(Cell);
      ClearSignals(task());
    }
    return result;
  }

  void PollFor(FifoFile& file, PollEvents events) {
    PollRequest request = {&file, events, 0};
    const Ticks timeout = OneIn(2) ? kMaxScheduleTimeout : Between(0, 20);
    const absl::Time deadline = task().DeadlineAfter(timeout);
    doing() = {Sleep::kPolls, &file, events | kPollErr | kPollHup};
    const int found = Poll({&request, 1}, timeout);
    doing() = {};
    if (found > 0) {
      Check(request.revents != 0, "what is found is told");
    } else if (found == 0) {
      Check(Now() >= deadline, "nobody times out early");
    } else {
      Check(found == -kErestartRestartblock, "poll() has its own restart");
      CheckInterrupted(-kErestartsys);
    }
  }

  void CheckInterrupted(int64_t result) {
    Check(result == -kErestartsys && task().SignalPending(),
          "who is interrupted was sent a signal");
    ClearSignals(task());
  }

  void CheckSigpipe() {
    for (const int other : {SIGKILL, SIGUSR1}) task().ClearSignal(other);
    Check(task().NextPendingSignal() == SIGPIPE, "a broken pipe is a SIGPIPE");
    ClearSignals(task());
  }

  // --- The model -------------------------------------------------------------

  // To be called after each open and close, before any pause.
  void NoteEnds() {
    if (fifo_.writers() == 0) no_writers_at_ = fibers_.steps();
    if (fifo_.readers() == 0) no_readers_at_ = fibers_.steps();
  }

  // What one read got was next to each other in the pipe. If only one reads,
  // the next read's cells follow.
  void CheckCells(const Cell* cells, size_t size) {
    std::array<int64_t, 16> next;
    next.fill(-1);
    if (lone_reader_) next = next_;
    const Cell* before = lone_reader_ && last_.length > 0 ? &last_ : nullptr;
    for (size_t i = 0; i < size; ++i) {
      const Cell& cell = cells[i];
      Check(next[cell.writer] < 0 || next[cell.writer] == cell.count,
            "a writer's cells stay in order");
      next[cell.writer] = cell.count + 1;
      if (before != nullptr && cell.index > 0 && cell.length <= kAtomicCells) {
        Check(before->writer == cell.writer && before->index == cell.index - 1,
              "a short write is not interleaved");
      }
      std::vector<bool>& seen = seen_[cell.writer];
      if (seen.size() <= cell.count) seen.resize(cell.count + 1);
      Check(!seen[cell.count], "nothing is read twice");
      seen[cell.count] = true;
      before = &cell;
    }
    if (lone_reader_) {
      next_ = next;
      last_ = *before;
    }
  }

  void CheckAllMaySleep() override {
    for (int fiber = 0; fiber < fibers_.count(); ++fiber) {
      if (fibers_.asleep(fiber)) CheckMaySleep(doing_[fiber]);
    }
  }

  // Tries, without waiting, what the sleeper waits for; by its own file.
  void CheckMaySleep(const Doing& doing) {
    static char page[Fifo::kSlotBytes];
    switch (doing.sleep) {
      case Sleep::kOpens:
        Check(
            (doing.events == kPollIn ? fifo_.writers() : fifo_.readers()) == 0,
            "nobody waits to open with a partner there");
        break;
      case Sleep::kReads:
        doing.file->set_nonblock(true);
        Check(doing.file->Read(page, sizeof(Cell)) == -EAGAIN,
              "no reader sleeps with data, or without writers");
        doing.file->set_nonblock(false);
        break;
      case Sleep::kWrites:
        doing.file->set_nonblock(true);
        // A whole page is not merged into the last slot.
        Check(doing.file->Write(page, sizeof(page)) == -EAGAIN,
              "no writer sleeps with a free slot, or without readers");
        doing.file->set_nonblock(false);
        break;
      case Sleep::kPolls:
        Check((doing.file->Poll(nullptr) & doing.events) == 0,
              "no poller sleeps while there is something");
        break;
      case Sleep::kNone:
        Check(false, "only in a call one sleeps");
    }
  }

  Fifo fifo_;
  const bool polls_;
  const bool nonblocking_;
  bool lone_reader_ = false;
  std::array<Doing, 64> doing_ = {};

  uint64_t no_writers_at_ = 0;  // the step at which the last one left
  uint64_t no_readers_at_ = 0;
  std::array<uint32_t, 16> written_ = {};  // cells, by writer
  std::array<std::vector<bool>, 16> seen_;
  std::array<int64_t, 16> next_ = {};
  Cell last_ = {};
};

// All files are open from the beginning, and one reader stays until the end of
// file: all that is written is read.
class StreamWorld final : public FifoWorld {
 public:
  explicit StreamWorld(Fibers* fibers) : FifoWorld(fibers) {
    const auto writers = static_cast<uint32_t>(Between(1, 4));
    const int64_t readers = Between(1, 4);
    lone_reader_ = readers == 1;
    {
      FifoFile keeper;  // so that opening does not wait
      Check(fifo_.Open(Fifo::kRead | Fifo::kWrite, keeper) == 0, "it is open");
      for (int64_t i = 0; i < readers; ++i) {
        Check(fifo_.Open(Fifo::kRead, files_.emplace_back()) == 0,
              "it is open");
      }
      for (uint32_t i = 0; i < writers; ++i) {
        Check(fifo_.Open(Fifo::kWrite, files_.emplace_back()) == 0,
              "it is open");
      }
    }
    auto file = files_.begin();
    for (int64_t i = 0; i < readers; ++i, ++file) {
      const int64_t reads = i == 0 || OneIn(2) ? 1'000'000 : Between(1, 6);
      Start("reader", [this, &own = *file, reads] { ReadAll(own, reads); });
    }
    for (uint32_t i = 0; i < writers; ++i, ++file) {
      Start("writer", [this, &own = *file, i] { WriteAll(own, i); });
    }
    StartNoise(OneIn(3) ? 0 : static_cast<int>(Between(1, 30)), [] {});
  }

 private:
  void ReadAll(FifoFile& file, int64_t reads) {
    for (; reads > 0; --reads) {
      Yield("next read");
      if (Read(file) != 0) continue;
      Check(fifo_.writers() == 0, "the writers are gone for good");
      break;
    }
    Yield("closing");
    Close(file);
  }

  void WriteAll(FifoFile& file, uint32_t writer) {
    for (int64_t n = Between(1, 10); n > 0; --n) {
      Yield("next write");
      Check(Write(file, writer) != -EPIPE, "one reader stays");
    }
    Yield("closing");
    Close(file);
  }

  bool LetGo() override { return false; }

  void CheckEnd() override {
    for (size_t writer = 0; writer < written_.size(); ++writer) {
      const std::vector<bool>& seen = seen_[writer];
      Check(seen.size() == written_[writer] &&
                std::find(seen.begin(), seen.end(), false) == seen.end(),
            "all that was written is read");
    }
  }

  std::deque<FifoFile> files_;
};

// Files are opened, used a little and closed.
class ComeAndGoWorld final : public FifoWorld {
 public:
  explicit ComeAndGoWorld(Fibers* fibers) : FifoWorld(fibers) {
    const int64_t count = Between(2, 8);
    for (int64_t i = 0; i < count; ++i) {
      Start("user", [this, i] { Use(static_cast<uint32_t>(i)); });
    }
    StartNoise(OneIn(3) ? 0 : static_cast<int>(Between(1, 30)), [] {});
  }

 private:
  void Use(uint32_t writer) {
    const bool mostly_reads = OneIn(2);
    for (int64_t n = Between(1, 6); n > 0 && !stop_; --n) {
      Yield("next open");
      uint32_t flags = mostly_reads != OneIn(4) ? Fifo::kRead : Fifo::kWrite;
      if (OneIn(16)) flags = Fifo::kRead | Fifo::kWrite;
      if (nonblocking_ && OneIn(3)) flags |= Fifo::kNonblock;
      FifoFile file;
      if (!Open(flags, file)) continue;
      for (int64_t calls = Between(0, 4); calls > 0 && !stop_; --calls) {
        Yield("next call");
        if ((flags & Fifo::kRead) != 0 &&
            ((flags & Fifo::kWrite) == 0 || OneIn(2))) {
          Read(file);
        } else {
          Write(file, writer);
        }
      }
      Yield("closing");
      Close(file);
    }
  }

  // Who waits for a partner, or for itself, is told to go.
  bool LetGo() override {
    stop_ = true;
    for (int i = 0; i < fibers_.count(); ++i) {
      fibers_.task(i).SendSignal(SIGUSR1);
    }
    return true;
  }

  void CheckEnd() override {
    Check(fifo_.readers() == 0 && fifo_.writers() == 0, "all files are closed");
  }

  bool stop_ = false;
};

TEST(FifoSimulationTest, AllThatIsWrittenIsReadAndNobodySleepsForNothing) {
  Simulate<StreamWorld>("FIFOs", 10'000);
}

TEST(FifoSimulationTest, TheEndAndABrokenPipeAreSeenByAllWhoWaitForIt) {
  Simulate<ComeAndGoWorld>("FIFOs that are opened and closed", 10'000);
}

}  // namespace
}  // namespace waitq
