// The specification's cases of FIFOs, by number.

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <string>

#include "core/fifo.h"
#include "core/pause.h"
#include "core/poll.h"
#include "core/task.h"
#include "core/wait_queue.h"
#include "gtest/gtest.h"
#include "tests/core/stage.h"
#include "tests/support/random.h"

namespace waitq {
namespace {

using test::Actor;
using test::Random;
using test::Rounds;
using test::Seed;
using test::Stage;

constexpr size_t kSlot = Fifo::kSlotBytes;
constexpr size_t kCapacity = 16 * kSlot;

// Stands in a queue and counts the walks that reach it.
class WakeCounter : public WaitEntry {
 public:
  explicit WakeCounter(WaitQueue& queue)
      : WaitEntry(ForAdd{}, nullptr, &Count), queue_(queue) {
    queue_.Add(*this);
  }
  ~WakeCounter() { queue_.Remove(*this); }

  // Since the last call.
  int Take() { return wakes_.exchange(0); }

 private:
  static int Count(WaitEntry& entry, TaskState, int, void*) {
    ++static_cast<WakeCounter&>(entry).wakes_;
    return 0;
  }

  WaitQueue& queue_;
  std::atomic<int> wakes_{0};
};

// A FIFO that is open four times: to read and to write, sleeping and not.
class SpecFifoTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(fifo_.Open(Fifo::kRead | Fifo::kNonblock, drain_), 0);
    ASSERT_EQ(fifo_.Open(Fifo::kWrite | Fifo::kNonblock, feed_), 0);
    ASSERT_EQ(fifo_.Open(Fifo::kRead, reader_), 0);
    ASSERT_EQ(fifo_.Open(Fifo::kWrite, writer_), 0);
  }

  void TearDown() override {
    stage_.Clear();
    CloseReaders();
    CloseWriters();
    EXPECT_EQ(fifo_.readers(), 0);
    EXPECT_EQ(fifo_.writers(), 0);
    EXPECT_FALSE(fifo_.readers_queue().HasSleeper()) << "somebody is left";
    EXPECT_FALSE(fifo_.writers_queue().HasSleeper()) << "somebody is left";
  }

  void CloseReaders() {
    drain_.Close();
    reader_.Close();
  }
  void CloseWriters() {
    feed_.Close();
    writer_.Close();
  }

  // Without sleeping.
  int64_t Feed(size_t n, char c = '.') {
    const std::string bytes(n, c);
    return feed_.Write(bytes.data(), n);
  }
  int64_t Drain(size_t n) { return DrainBytes(n).size(); }
  std::string DrainBytes(size_t n) {
    std::string bytes(n, '\0');
    const int64_t result = drain_.Read(bytes.data(), n);
    bytes.resize(result < 0 ? 0 : static_cast<size_t>(result));
    return bytes;
  }
  static PollEvents Look(FifoFile& file, PollEvents events) {
    PollRequest request = {&file, events, 0};
    EXPECT_GE(Poll({&request, 1}, 0), 0);
    return request.revents;
  }

  // Bodies of actors.
  auto ReadTo(std::string* bytes, size_t n) {
    return [this, bytes, n] {
      bytes->assign(n, '\0');
      const int64_t result = reader_.Read(bytes->data(), n);
      bytes->resize(result < 0 ? 0 : static_cast<size_t>(result));
      return result;
    };
  }
  auto Read(size_t n) {
    return [this, n] {
      std::string bytes(n, '\0');
      return reader_.Read(bytes.data(), n);
    };
  }
  auto Write(size_t n, char c = '.') {
    return [this, n, c] {
      Task::Current().dispositions().handled =
          SignalSet::Of(SIGPIPE) | SignalSet::Of(SIGUSR1);
      const std::string bytes(n, c);
      return writer_.Write(bytes.data(), n);
    };
  }

  Fifo fifo_;
  FifoFile drain_;
  FifoFile feed_;
  FifoFile reader_;
  FifoFile writer_;
  Stage stage_;
};

TEST_F(SpecFifoTest, Spec59_TwoBlockedReadersBothReturnFromOneWrite) {
  std::string first_bytes;
  std::string second_bytes;
  Actor& first = stage_.EnterAsleep(ReadTo(&first_bytes, 1));
  Actor& second = stage_.EnterAsleep(ReadTo(&second_bytes, 1));
  first.StopAt(PausePoint::kAfterSleep);
  EXPECT_EQ(feed_.Write("xy", 2), 2);
  first.AwaitStopped();
  EXPECT_TRUE(second.asleep()) << "the write has woken one only";
  first.GoOn();
  EXPECT_EQ(first.Result(), 1);
  EXPECT_EQ(second.Result(), 1);
  EXPECT_EQ(first_bytes + second_bytes, "xy");
}

TEST_F(SpecFifoTest, Spec59_TwoBlockedWritersBothProceedWhenTwoSlotsAreFreed) {
  ASSERT_EQ(Feed(kCapacity), kCapacity);
  Actor& first = stage_.EnterAsleep(Write(kSlot, 'a'));
  Actor& second = stage_.EnterAsleep(Write(kSlot, 'b'));
  first.StopAt(PausePoint::kAfterSleep);
  EXPECT_EQ(Drain(2 * kSlot), 2 * kSlot);
  first.AwaitStopped();
  EXPECT_TRUE(second.asleep()) << "the read has woken one only";
  first.GoOn();
  EXPECT_EQ(first.Result(), kSlot);
  EXPECT_EQ(second.Result(), kSlot);
  EXPECT_EQ(Drain(kCapacity - 2 * kSlot), kCapacity - 2 * kSlot);
  EXPECT_EQ(DrainBytes(kCapacity),
            std::string(kSlot, 'a') + std::string(kSlot, 'b'));
}

TEST_F(SpecFifoTest, Spec60_OnlyAWriteIntoAnEmptyPipeWakesReaders) {
  WakeCounter readers(fifo_.readers_queue());
  EXPECT_EQ(Feed(1), 1);
  EXPECT_EQ(readers.Take(), 1);
  EXPECT_EQ(Feed(1), 1);
  EXPECT_EQ(Feed(kSlot), kSlot);
  EXPECT_EQ(readers.Take(), 0);
}

TEST_F(SpecFifoTest, Spec60_AfterItWasPolledEveryWriteWakes) {
  WakeCounter readers(fifo_.readers_queue());
  EXPECT_EQ(Feed(1), 1);
  EXPECT_EQ(readers.Take(), 1);
  Look(feed_, kPollOut);  // whoever polls, and for whatever
  EXPECT_EQ(Feed(1), 1);
  EXPECT_EQ(readers.Take(), 1);
  EXPECT_EQ(Feed(1), 1);
  EXPECT_EQ(readers.Take(), 1) << "it is for ever";
}

TEST_F(SpecFifoTest, Spec60_ThatItWasPolledIsForgottenWithTheLastFile) {
  Look(feed_, kPollOut);
  CloseReaders();
  CloseWriters();
  ASSERT_NO_FATAL_FAILURE(SetUp());  // open again
  EXPECT_EQ(Feed(1), 1);
  WakeCounter readers(fifo_.readers_queue());
  EXPECT_EQ(Feed(1), 1);
  EXPECT_EQ(readers.Take(), 0);
}

TEST_F(SpecFifoTest, Spec60_OnlyAReadThatFreesASlotOfAFullPipeWakesWriters) {
  WakeCounter writers(fifo_.writers_queue());
  EXPECT_EQ(Feed(kCapacity - 1), kCapacity - 1);
  EXPECT_EQ(Drain(1), 1);
  EXPECT_EQ(writers.Take(), 0) << "full, but no slot was freed";
  EXPECT_EQ(Drain(kSlot - 1), kSlot - 1);
  EXPECT_EQ(writers.Take(), 1);
  EXPECT_EQ(Drain(kSlot), kSlot);
  EXPECT_EQ(writers.Take(), 0) << "it was not full any more";
}

// The two halves of the writer's rule that a long write needs.
TEST_F(SpecFifoTest, Spec60_AWriteIntoAnEmptyPipeWakesAReaderBeforeItSleeps) {
  std::string bytes;
  Actor& reader = stage_.EnterAsleep(ReadTo(&bytes, 1));
  Actor& writer = stage_.EnterAsleep(Write(kCapacity + 1));
  EXPECT_EQ(reader.Result(), 1);
  EXPECT_TRUE(writer.asleep());
  EXPECT_EQ(Drain(kSlot), kSlot);
  EXPECT_EQ(writer.Result(), kCapacity + 1);
}

TEST_F(SpecFifoTest, Spec60_AWriteThatSleptLooksAgainWhetherItIsEmpty) {
  ASSERT_EQ(Feed(1), 1);  // not empty when the write begins
  Actor& writer = stage_.EnterAsleep(Write(kCapacity));
  writer.StopAt(PausePoint::kAfterSleep);
  EXPECT_EQ(Drain(kCapacity), 1 + kCapacity - kSlot);
  writer.AwaitStopped();
  std::string bytes;
  Actor& reader = stage_.EnterAsleep(ReadTo(&bytes, kCapacity));
  writer.GoOn();
  EXPECT_EQ(writer.Result(), kCapacity);
  EXPECT_EQ(reader.Result(), kSlot);
}

TEST_F(SpecFifoTest, Spec61_AFullPipeHasSpaceWhenAWholeSlotIsFree) {
  ASSERT_EQ(Feed(kCapacity), kCapacity);
  EXPECT_EQ(Drain(1), 1);
  EXPECT_EQ(Look(feed_, kPollOut), 0);
  EXPECT_EQ(Feed(1), -EAGAIN);
  EXPECT_EQ(Drain(kSlot - 1), kSlot - 1);
  EXPECT_EQ(Look(feed_, kPollOut), kPollOut);
  EXPECT_EQ(Feed(1), 1);
}

TEST_F(SpecFifoTest, Spec62_TheLastSlotTakesOnlyWhatFitsWhole) {
  ASSERT_EQ(Feed(kCapacity - kSlot), kCapacity - kSlot);
  ASSERT_EQ(Feed(10), 10);
  EXPECT_EQ(Feed(4090), -EAGAIN);
  EXPECT_EQ(Feed(4086, 'x'), 4086);
  EXPECT_EQ(Feed(1), -EAGAIN);
  EXPECT_EQ(Drain(kCapacity - kSlot + 10), kCapacity - kSlot + 10);
  EXPECT_EQ(DrainBytes(kCapacity), std::string(4086, 'x'));
}

TEST_F(SpecFifoTest, Spec62_WritesOfPipeBufAndLessNeverInterleave) {
  constexpr int kWriters = 8;
  constexpr size_t kHeader = 4;  // who, which one (mod 256), and how long
  const int records = Rounds(200, 20'000);
  const uint64_t seed = Seed();
  for (int who = 0; who < kWriters; ++who) {
    stage_.Enter([this, who, records, random = Random(seed + who)]() mutable {
      for (int i = 0; i < records; ++i) {
        const size_t n =
            static_cast<size_t>(random.Between(kHeader, Fifo::kPipeBuf));
        std::string record(n, static_cast<char>('a' + who));
        record[1] = static_cast<char>(i % 256);
        record[2] = static_cast<char>(n / 256);
        record[3] = static_cast<char>(n % 256);
        if (writer_.Write(record.data(), n) != static_cast<int64_t>(n))
          return 1;
      }
      return 0;
    });
  }
  Random random(seed + kWriters);
  std::array<int, kWriters> seen = {};
  std::string bytes;
  for (int left = kWriters * records; left > 0;) {
    std::string more(static_cast<size_t>(random.Between(1, 3 * kSlot)), '\0');
    const int64_t n = reader_.Read(more.data(), more.size());
    ASSERT_GT(n, 0);
    bytes.append(more, 0, static_cast<size_t>(n));
    const auto byte = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
    while (bytes.size() >= kHeader) {
      const size_t length = byte(2) * size_t{256} + byte(3);
      if (bytes.size() < length) break;
      const int who = byte(0) - 'a';
      ASSERT_TRUE(who >= 0 && who < kWriters);
      ASSERT_EQ(byte(1), seen[who]++ % 256);
      ASSERT_EQ(bytes.substr(kHeader, length - kHeader),
                std::string(length - kHeader, bytes[0]));
      bytes.erase(0, length);
      --left;
    }
  }
  EXPECT_EQ(bytes, "");
}

TEST_F(SpecFifoTest, Spec63_ASignalEndsALongWriteWithWhatIsWritten) {
  Actor& writer = stage_.EnterAsleep(Write(100'000));
  writer.task().SendSignal(SIGUSR1);
  EXPECT_EQ(writer.Result(), 65536);
}

TEST_F(SpecFifoTest, Spec63_ASignalEndsAWriteOfNothing) {
  ASSERT_EQ(Feed(kCapacity), kCapacity);
  Actor& writer = stage_.EnterAsleep(Write(100'000));
  writer.task().SendSignal(SIGUSR1);
  EXPECT_EQ(writer.Result(), -kErestartsys);
}

TEST_F(SpecFifoTest, Spec63_SpaceBeatsASignal) {
  ASSERT_EQ(Feed(kCapacity), kCapacity);
  Actor& writer = stage_.EnterAsleep(Write(kSlot));
  writer.StopAt(PausePoint::kAfterSleep);
  writer.task().SendSignal(SIGUSR1);
  writer.AwaitStopped();
  EXPECT_EQ(Drain(kSlot), kSlot);
  writer.GoOn();
  EXPECT_EQ(writer.Result(), kSlot);
}

TEST_F(SpecFifoTest, Spec64_TheLastWriterEndsAllReads) {
  std::array<Actor*, 3> readers;
  for (Actor*& reader : readers) reader = &stage_.EnterAsleep(Read(10));
  feed_.Close();
  for (Actor* reader : readers) EXPECT_TRUE(reader->asleep());
  writer_.Close();
  for (Actor* reader : readers) EXPECT_EQ(reader->Result(), 0);
}

TEST_F(SpecFifoTest, Spec64_TheLastReaderBreaksAllWrites) {
  ASSERT_EQ(Feed(kCapacity - kSlot), kCapacity - kSlot);
  // One with bytes written.
  Actor& begun = stage_.EnterAsleep(Write(2 * kSlot));
  std::array<Actor*, 3> writers;
  for (Actor*& writer : writers) writer = &stage_.EnterAsleep(Write(10));
  drain_.Close();
  for (Actor* writer : writers) EXPECT_TRUE(writer->asleep());
  reader_.Close();
  EXPECT_EQ(begun.Result(), kSlot);
  EXPECT_EQ(begun.task().NextPendingSignal(), SIGPIPE);
  for (Actor* writer : writers) {
    EXPECT_EQ(writer->Result(), -EPIPE);
    EXPECT_EQ(writer->task().NextPendingSignal(), SIGPIPE);
  }
  Actor& nothing = stage_.Enter(Write(0));
  EXPECT_EQ(nothing.Result(), 0);
  EXPECT_EQ(nothing.task().NextPendingSignal(), 0);
}

// --- Opening: a FIFO that nobody has open ------------------------------------

class SpecFifoOpenTest : public SpecFifoTest {
 protected:
  void SetUp() override {}

  auto Open(FifoFile* file, uint32_t flags) {
    return [this, file, flags] {
      Task::Current().dispositions().handled = SignalSet::Of(SIGUSR1);
      return fifo_.Open(flags, *file);
    };
  }
};

TEST_F(SpecFifoOpenTest, Spec65_ToWriteWithoutBlockingNeedsAReader) {
  EXPECT_EQ(fifo_.Open(Fifo::kWrite | Fifo::kNonblock, feed_), -ENXIO);
  EXPECT_FALSE(feed_.is_open());
  EXPECT_EQ(fifo_.writers(), 0);
  ASSERT_EQ(fifo_.Open(Fifo::kRead | Fifo::kNonblock, drain_), 0);
  EXPECT_EQ(fifo_.Open(Fifo::kWrite | Fifo::kNonblock, feed_), 0);
}

TEST_F(SpecFifoOpenTest, Spec65_ToReadWithoutBlockingHangsUpOnlyAfterAWriter) {
  ASSERT_EQ(fifo_.Open(Fifo::kRead | Fifo::kNonblock, drain_), 0);
  EXPECT_EQ(Look(drain_, kPollIn), 0);
  ASSERT_EQ(fifo_.Open(Fifo::kWrite, writer_), 0);
  EXPECT_EQ(Look(drain_, kPollIn), 0);
  writer_.Close();
  EXPECT_EQ(Look(drain_, kPollIn), kPollHup);
}

TEST_F(SpecFifoOpenTest, Spec65_ForBothNeverBlocks) {
  EXPECT_EQ(fifo_.Open(Fifo::kRead | Fifo::kWrite, reader_), 0);
  EXPECT_EQ(fifo_.Open(Fifo::kRead | Fifo::kWrite | Fifo::kNonblock, drain_),
            0);
  EXPECT_EQ(fifo_.readers(), 2);
  EXPECT_EQ(fifo_.writers(), 2);
}

TEST_F(SpecFifoOpenTest, Spec66_AWriterThatCameAndWentLetsAReaderIn) {
  Actor& opener = stage_.EnterAsleep(Open(&reader_, Fifo::kRead));
  opener.StopAt(PausePoint::kAfterSleep);
  ASSERT_EQ(fifo_.Open(Fifo::kWrite | Fifo::kNonblock, feed_), 0);
  feed_.Close();
  opener.GoOn();
  EXPECT_EQ(opener.Result(), 0);
  char c;
  EXPECT_EQ(reader_.Read(&c, 1), 0);
}

TEST_F(SpecFifoOpenTest, Spec66_ASignalUndoesAnOpen) {
  Actor& reader = stage_.EnterAsleep(Open(&reader_, Fifo::kRead));
  EXPECT_EQ(fifo_.readers(), 1);
  reader.task().SendSignal(SIGUSR1);
  EXPECT_EQ(reader.Result(), -kErestartsys);
  EXPECT_FALSE(reader_.is_open());
  EXPECT_EQ(fifo_.readers(), 0);

  Actor& writer = stage_.EnterAsleep(Open(&writer_, Fifo::kWrite));
  EXPECT_EQ(fifo_.writers(), 1);
  writer.task().SendSignal(SIGUSR1);
  EXPECT_EQ(writer.Result(), -kErestartsys);
  EXPECT_FALSE(writer_.is_open());
  EXPECT_EQ(fifo_.writers(), 0);
}

TEST_F(SpecFifoOpenTest, Spec66_APartnerBeatsASignal) {
  Actor& opener = stage_.EnterAsleep(Open(&reader_, Fifo::kRead));
  opener.StopAt(PausePoint::kAfterSleep);
  opener.task().SendSignal(SIGUSR1);
  opener.AwaitStopped();
  ASSERT_EQ(fifo_.Open(Fifo::kWrite | Fifo::kNonblock, feed_), 0);
  opener.GoOn();
  EXPECT_EQ(opener.Result(), 0);
}

}  // namespace
}  // namespace waitq
