// Named pipes: blocking both ways, strict order, and what is whole.

#include "server/engine/pipe_object.h"

#include <csignal>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "tests/engine/calls.h"
#include "tests/engine/engine_fixture.h"

namespace waitq::engine {
namespace {

using Calls = std::vector<Call*>;

class PipeObjectTest : public EngineTest {
 protected:
  static std::string DataOf(ReadCall& call) {
    return std::string(call->data());
  }
  // Of a read that must have ended.
  std::string Got(ReadCall& call) {
    EXPECT_EQ(EndingOf(call), Ending::kDone);
    return DataOf(call);
  }
};

// --- Blocking both ways ------------------------------------------------------

TEST_F(PipeObjectTest, AReadTakesWhatIsThere) {
  WriteNow("p", "abc");
  ReadCall& call = Read("p", 100);
  EXPECT_EQ(call.started, Started::kEnded);
  EXPECT_FALSE(call->slept());
  EXPECT_EQ(Got(call), "abc");
  EXPECT_EQ(call->offset(), 0u);
  WriteNow("p", "defgh");
  ReadCall& next = Read("p", 2);
  EXPECT_EQ(Got(next), "de");
  EXPECT_EQ(next->offset(), 3u);
  EXPECT_EQ(ReadNow("p"), "fgh");
}

TEST_F(PipeObjectTest, AnEmptyPipesReaderSleepsUntilBytesCome) {
  ReadCall& read = Read("p", 100);
  EXPECT_EQ(read.started, Started::kAsleep);
  WriteCall& write = Write("p", "abc");
  EXPECT_EQ(write.started, Started::kEnded);
  EXPECT_EQ(write->ending(), Ending::kDone);
  EXPECT_FALSE(write->slept());
  EXPECT_EQ(write->offset(), 3u);
  EXPECT_EQ(Got(read), "abc");
  EXPECT_TRUE(read->slept());
  EXPECT_EQ(StatPipe("p").unread_bytes, 0u);
}

TEST_F(PipeObjectTest, AFullPipesWriterSleepsUntilThereIsRoom) {
  MakePipe("p", 4);
  WriteNow("p", "1234");
  WriteCall& write = Write("p", "56");
  EXPECT_EQ(write.started, Started::kAsleep);
  EXPECT_EQ(ReadNow("p", 1), "1");
  EXPECT_TRUE(Asleep(write)) << "half of it would fit";
  EXPECT_EQ(ReadNow("p", 1), "2");
  EXPECT_EQ(EndingOf(write), Ending::kDone);
  EXPECT_TRUE(write->slept());
  EXPECT_EQ(write->accepted_bytes(), 2u);
  EXPECT_EQ(write->offset(), 6u);
  EXPECT_EQ(ReadNow("p"), "3456");
}

TEST_F(PipeObjectTest, APipeOfOneByteCarriesAnything) {
  MakePipe("p", 1);
  WriteCall& write = Write("p", "hello");
  std::string all;
  for (int i = 0; i < 5; ++i) all += ReadNow("p");
  EXPECT_EQ(all, "hello");
  EXPECT_EQ(EndingOf(write), Ending::kDone);
}

TEST_F(PipeObjectTest, AByteReadIsAByteOfRoom) {
  MakePipe("p", 4);
  WriteNow("p", "1234");
  EXPECT_EQ(Write("p", "x", Nonblock())->ending(), Ending::kWouldBlock);
  EXPECT_EQ(ReadNow("p", 1), "1");
  EXPECT_EQ(Write("p", "x", Nonblock())->ending(), Ending::kDone);
}

TEST_F(PipeObjectTest, OffsetsCountTheBytesSinceItWasMade) {
  WriteNow("p", "abc");
  ReadNow("p", 2);
  const PipeStat stat = StatPipe("p");
  EXPECT_EQ(stat.read_offset, 2u);
  EXPECT_EQ(stat.write_offset, 3u);
  EXPECT_EQ(stat.unread_bytes, 1u);
  EXPECT_EQ(stat.options.capacity_bytes, 65'536u);
  EXPECT_EQ(stat.options.atomic_max_bytes, 4'096u);
}

TEST_F(PipeObjectTest, AReadThatGetsNothingTellsWhereItStands) {
  WriteNow("p", "abc");
  ReadNow("p");
  const ReadCall& call = Read("p", 5, Nonblock());
  EXPECT_EQ(call->ending(), Ending::kWouldBlock);
  EXPECT_EQ(call->offset(), 3u);
}

TEST_F(PipeObjectTest, AWriteThatGetsNowhereTellsWhereItStands) {
  MakePipe("p", 4);
  WriteNow("p", "1234");
  ReadNow("p", 1);
  const WriteCall& call = Write("p", "ab", Nonblock());
  EXPECT_EQ(call->ending(), Ending::kWouldBlock);
  EXPECT_EQ(call->accepted_bytes(), 0u);
  EXPECT_EQ(call->offset(), 4u);
}

TEST_F(PipeObjectTest, EachMoveHasItsOwnGeneration) {
  WriteNow("p", "abc");
  const uint64_t before = StatPipe("p").generation;
  ReadNow("p", 1);
  EXPECT_EQ(StatPipe("p").generation, before + 1);
  Write("p", "x");
  EXPECT_EQ(StatPipe("p").generation, before + 2);
  Read("p", 0);
  Write("p", "");
  EXPECT_EQ(StatPipe("p").generation, before + 2) << "nothing has moved";
}

// --- Of nothing --------------------------------------------------------------

TEST_F(PipeObjectTest, AReadOfNothingIsDoneAtOnce) {
  ReadCall& empty = Read("p", 0);
  EXPECT_EQ(empty.started, Started::kEnded);
  EXPECT_EQ(empty->ending(), Ending::kDone);
  ReadCall& sleeper = Read("p", 1);
  ReadCall& behind = Read("p", 0);
  EXPECT_EQ(behind.started, Started::kEnded) << "it waits for nobody";
  EXPECT_EQ(behind->ending(), Ending::kDone);
  EXPECT_TRUE(Asleep(sleeper));
  Close(OpenWriter("q"));
  EXPECT_EQ(Read("q", 0)->ending(), Ending::kDone) << "nor sees the end";
}

TEST_F(PipeObjectTest, AWriteOfNothingIsDoneAtOnce) {
  MakePipe("p", 1);
  WriteNow("p", "x");
  const WriteCall& call = Write("p", "");
  EXPECT_EQ(call.started, Started::kEnded);
  EXPECT_EQ(call->ending(), Ending::kDone);
  Close(OpenReader("p"));
  EXPECT_EQ(Write("p", "")->ending(), Ending::kDone) << "without readers, too";
}

TEST_F(PipeObjectTest, AWriteOfNothingIsDoneAtOnceBehindASleeper) {
  MakePipe("p", 1);
  WriteNow("p", "x");
  WriteCall& sleeper = Write("p", "y");
  const WriteCall& call = Write("p", "");
  EXPECT_EQ(call.started, Started::kEnded);
  EXPECT_TRUE(Asleep(sleeper));
}

// --- Strict order ------------------------------------------------------------

TEST_F(PipeObjectTest, ReadersAreServedInTheOrderInWhichTheyCame) {
  Calls readers;
  for (int i = 0; i < 5; ++i) readers.push_back(&Read("p", 1));
  WriteNow("p", "12345");
  EXPECT_EQ(TakeEnded(), readers);
  for (int i = 0; i < 5; ++i) {
    auto& reader = static_cast<ReadCall&>(*readers[i]);
    EXPECT_EQ(DataOf(reader), std::to_string(i + 1));
    EXPECT_EQ(reader->offset(), static_cast<uint64_t>(i));
  }
}

TEST_F(PipeObjectTest, AReaderTakesWhatItMayAndLeavesTheRestToTheNext) {
  ReadCall& first = Read("p", 3);
  ReadCall& second = Read("p", 3);
  ReadCall& third = Read("p", 3);
  WriteNow("p", "12345");
  EXPECT_EQ(Got(first), "123");
  EXPECT_EQ(Got(second), "45");
  EXPECT_TRUE(Asleep(third));
}

TEST_F(PipeObjectTest, WritersAreServedInTheOrderInWhichTheyCame) {
  MakePipe("p", 4);
  WriteNow("p", "....");
  Calls writers;
  for (const char* data : {"aa", "bb", "cc"}) {
    writers.push_back(&Write("p", data));
  }
  EXPECT_EQ(ReadNow("p", 4), "....");
  EXPECT_EQ(TakeEnded(), (Calls{writers[0], writers[1]}));
  EXPECT_EQ(ReadNow("p"), "aabb");
  EXPECT_EQ(ReadNow("p"), "cc");
}

// Guards the -1 of ServeWriterLocked(): the walk stops at who cannot be served.
TEST_F(PipeObjectTest, AWriterThatWouldFitDoesNotPassOneThatDoesNot) {
  MakePipe("p", 4);
  WriteNow("p", "123");
  WriteCall& first = Write("p", "aa");
  const WriteCall& newcomer = Write("p", "b", Nonblock());
  EXPECT_EQ(newcomer->ending(), Ending::kWouldBlock) << "though there is room";
  WriteCall& second = Write("p", "c");
  EXPECT_EQ(second.started, Started::kAsleep);
  EXPECT_EQ(ReadNow("p", 1), "1");
  EXPECT_EQ(TakeEnded(), Calls{&first});
  EXPECT_EQ(ReadNow("p"), "23aa");
  EXPECT_EQ(ReadNow("p"), "c");
}

// Guards AfterLeaveLocked() of a pipe.
TEST_F(PipeObjectTest, WhenTheFirstInLineLeavesTheNextIsServed) {
  for (const char* how : {"timeout", "signal", "gone"}) {
    SCOPED_TRACE(how);
    const std::string name = std::string("p/") + how;
    MakePipe(name, 4);
    WriteNow(name, "123");
    SleepOptions sleep;
    if (how == std::string("timeout")) sleep = For(absl::Seconds(1));
    WriteCall& first = Write(name, "aa", sleep);
    WriteCall& second = Write(name, "b");
    if (how == std::string("timeout")) clock().Advance(absl::Seconds(1));
    if (how == std::string("signal")) engine().Signal(*first.op, SIGINT);
    if (how == std::string("gone")) engine().CallerGone(*first.op);
    EXPECT_NE(EndingOf(first), Ending::kDone);
    EXPECT_EQ(EndingOf(second), Ending::kDone);
    EXPECT_EQ(ReadNow(name), "123b");
  }
}

TEST_F(PipeObjectTest, ANewcomerThatGivesUpLeavesTheLineAsItWas) {
  MakePipe("p", 4);
  WriteNow("p", "1234");
  WriteCall& sleeper = Write("p", "aa");
  Write("p", "b", Nonblock());
  Write("p", "c", For(absl::ZeroDuration()));
  EXPECT_EQ(ReadNow("p", 2), "12");
  EXPECT_EQ(EndingOf(sleeper), Ending::kDone);
  EXPECT_EQ(ReadNow("p"), "34aa");
}

TEST_F(PipeObjectTest, OneReadMayServeManyWritersAndTheyTheNextReaders) {
  MakePipe("p", 2);
  WriteNow("p", "..");
  Write("p", "ab");
  Write("p", "cd");
  Write("p", "ef");
  // The first read makes room; nobody else reads yet.
  EXPECT_EQ(ReadNow("p"), "..");
  EXPECT_EQ(ReadNow("p"), "ab");
  EXPECT_EQ(ReadNow("p"), "cd");
  EXPECT_EQ(ReadNow("p"), "ef");
  ReadCall& one = Read("p", 1);
  ReadCall& two = Read("p", 5);
  Write("p", "123456");  // goes through a pipe of two bytes while they read
  EXPECT_EQ(Got(one), "1");
  EXPECT_EQ(Got(two), "2");
}

// --- Whole or nothing --------------------------------------------------------

TEST_F(PipeObjectTest, AnAtomicWriteIsWholeOrNothing) {
  MakePipe("p", 10, 5);
  WriteNow("p", "123456");
  const WriteCall& five = Write("p", "aaaaa", Nonblock());
  EXPECT_EQ(five->ending(), Ending::kWouldBlock);
  EXPECT_EQ(five->accepted_bytes(), 0u) << "four of the five would fit";
  const WriteCall& six = Write("p", "bbbbbb", Nonblock());
  EXPECT_EQ(six->ending(), Ending::kWouldBlock);
  EXPECT_EQ(six->accepted_bytes(), 4u) << "six are not atomic";
  EXPECT_EQ(six->offset(), 10u);
  EXPECT_EQ(ReadNow("p"), "123456bbbb");
}

TEST_F(PipeObjectTest, AtomicWritesDoNotInterleave) {
  MakePipe("p", 7, 3);
  std::string expected;
  for (const char* record : {"aaa", "bbb", "ccc", "ddd", "eee"}) {
    Write("p", record);
    expected += record;
  }
  std::string all;
  for (std::string piece = ReadNow("p", 2); !piece.empty();
       piece = ReadNow("p", 2)) {
    all += piece;
  }
  EXPECT_EQ(all, expected);
}

TEST_F(PipeObjectTest, AnAtomicWriteOfTheWholeCapacityWaitsForTheEmptyPipe) {
  MakePipe("p", 4, 4);
  WriteNow("p", "1");
  WriteCall& write = Write("p", "abcd");
  EXPECT_TRUE(Asleep(write));
  EXPECT_EQ(ReadNow("p"), "1");
  EXPECT_EQ(EndingOf(write), Ending::kDone);
  EXPECT_EQ(ReadNow("p"), "abcd");
}

// --- Big writes --------------------------------------------------------------

TEST_F(PipeObjectTest, ABigWriteAloneFillsThePipeAndGoesOn) {
  MakePipe("p", 8, 2);
  WriteCall& write = Write("p", "0123456789abcdef");
  EXPECT_EQ(StatPipe("p").unread_bytes, 8u) << "no turns when alone";
  EXPECT_EQ(ReadNow("p", 3), "012");
  EXPECT_EQ(StatPipe("p").unread_bytes, 8u);
  EXPECT_EQ(ReadNow("p"), "3456789a");
  EXPECT_EQ(EndingOf(write), Ending::kDone);
  EXPECT_EQ(write->offset(), 16u);
  EXPECT_EQ(ReadNow("p"), "bcdef");
}

// Guards the move to the tail in ServeWriterLocked(). A turn is at most
// max(atomic_max, capacity / 4) bytes, here four.
TEST_F(PipeObjectTest, BigWritesTakeTurns) {
  for (const uint64_t atomic_max : {1, 4}) {
    SCOPED_TRACE(atomic_max);
    const std::string name = "p" + std::to_string(atomic_max);
    MakePipe(name, 16, atomic_max);
    WriteNow(name, std::string(16, '.'));
    Call* const a = &Write(name, "aaaaaaaaaa");
    Call* const b = &Write(name, "bbbbbbbbbb");
    EXPECT_EQ(ReadNow(name, 16), std::string(16, '.'));
    EXPECT_EQ(ReadNow(name, 16), "aaaabbbbaaaabbbb");
    EXPECT_EQ(ReadNow(name, 16), "aabb");
    EXPECT_EQ(TakeEnded(), (Calls{a, b}));
  }
}

TEST_F(PipeObjectTest, ATurnThatTheReaderCutsShortIsKept) {
  MakePipe("p", 16, 1);
  WriteNow("p", std::string(16, '.'));
  Write("p", "aaaaaaaaaa");
  Write("p", "bbbbbbbbbb");
  std::string all;
  // Byte by byte: still four at a time each.
  for (int i = 0; i < 36; ++i) all += ReadNow("p", 1);
  EXPECT_EQ(all, std::string(16, '.') + "aaaabbbbaaaabbbbaabb");
}

TEST_F(PipeObjectTest, SmallWritesWaitForOneTurnAtMost) {
  MakePipe("p", 16, 4);
  WriteNow("p", std::string(16, '.'));
  WriteCall& big = Write("p", std::string(100, 'b'));
  WriteCall& small = Write("p", "ss");
  ReadNow("p", 4);
  EXPECT_TRUE(Asleep(small));
  ReadNow("p", 2);
  EXPECT_EQ(EndingOf(small), Ending::kDone);
  EXPECT_TRUE(Asleep(big));
  EXPECT_EQ(ReadNow("p"), std::string(10, '.') + "bbbbss");
}

TEST_F(PipeObjectTest, ABigWriteThatIsLeftAloneTakesAllTheRoomAgain) {
  MakePipe("p", 16, 1);
  WriteNow("p", std::string(16, '.'));
  Write("p", std::string(30, 'a'));
  WriteCall& other = Write("p", std::string(30, 'b'));
  engine().CallerGone(*other.op);
  ReadNow("p", 16);
  EXPECT_EQ(ReadNow("p"), std::string(16, 'a'));
}

TEST_F(PipeObjectTest, OneTimeoutCoversAllTurns) {
  MakePipe("p", 16, 1);
  WriteNow("p", std::string(16, '.'));
  WriteCall& a = Write("p", "aaaaaaaaaa", For(absl::Seconds(3)));
  Write("p", "bbbbbbbbbb");
  clock().Advance(absl::Seconds(2));
  ReadNow("p", 8);  // a turn of each
  clock().Advance(absl::Seconds(1));
  EXPECT_EQ(EndingOf(a), Ending::kTimedOut);
  EXPECT_EQ(a->accepted_bytes(), 4u);
}

// --- Partial progress --------------------------------------------------------

class PartialProgressTest : public PipeObjectTest {
 protected:
  // Four of whose eight bytes are in the pipe.
  WriteCall& HalfWritten(SleepOptions sleep = {}) {
    if (!engine().Stat("p").ok()) MakePipe("p", 4, 1);
    return Write("p", "12345678", sleep);
  }
  void ExpectHalf(WriteCall& call, Ending ending) {
    EXPECT_EQ(EndingOf(call), ending);
    EXPECT_EQ(call->accepted_bytes(), 4u);
    EXPECT_EQ(call->offset(), 4u);
    EXPECT_EQ(ReadNow("p"), "1234") << "these are in the pipe, and no others";
    EXPECT_EQ(ReadNow("p"), "");
  }
};

TEST_F(PartialProgressTest, IsToldAtATimeout) {
  WriteCall& call = HalfWritten(For(absl::Seconds(1)));
  clock().Advance(absl::Seconds(1));
  ExpectHalf(call, Ending::kTimedOut);
}

TEST_F(PartialProgressTest, IsToldWhenItWouldBlock) {
  ExpectHalf(HalfWritten(Nonblock()), Ending::kWouldBlock);
}

TEST_F(PartialProgressTest, IsToldAtATimeoutOfNothing) {
  ExpectHalf(HalfWritten(For(absl::ZeroDuration())), Ending::kTimedOut);
}

TEST_F(PartialProgressTest, IsToldAtASignal) {
  WriteCall& call = HalfWritten();
  engine().Signal(*call.op, SIGTERM);
  ExpectHalf(call, Ending::kInterrupted);
}

TEST_F(PartialProgressTest, IsToldWhenTheCallerIsGone) {
  WriteCall& call = HalfWritten();
  engine().CallerGone(*call.op);
  ExpectHalf(call, Ending::kCallerGone);
}

TEST_F(PartialProgressTest, IsToldWhenTheLastReaderLeaves) {
  PipeReader& reader =
      OpenReader("p", {.capacity_bytes = 4, .atomic_max_bytes = 1});
  WriteCall& call = HalfWritten();
  Close(reader);
  ExpectHalf(call, Ending::kNoReaders);
}

TEST_F(PartialProgressTest, GoesOnWhileThereIsTime) {
  WriteCall& call = HalfWritten(For(absl::Seconds(1)));
  EXPECT_EQ(ReadNow("p", 1), "1");
  clock().Advance(absl::Seconds(1));
  EXPECT_EQ(EndingOf(call), Ending::kTimedOut);
  EXPECT_EQ(call->accepted_bytes(), 5u);
  EXPECT_EQ(call->offset(), 5u);
  EXPECT_EQ(ReadNow("p"), "2345");
}

TEST_F(PartialProgressTest, AReaderThatIsEndedHasTakenNothing) {
  ReadCall& timed = Read("p", 5, For(absl::Seconds(1)));
  clock().Advance(absl::Seconds(1));
  ReadCall& signalled = Read("p", 5);
  engine().Signal(*signalled.op, SIGTERM);
  ReadCall& gone = Read("p", 5);
  engine().CallerGone(*gone.op);
  WriteNow("p", "abc");
  EXPECT_EQ(EndingOf(timed), Ending::kTimedOut);
  EXPECT_EQ(EndingOf(signalled), Ending::kInterrupted);
  EXPECT_EQ(EndingOf(gone), Ending::kCallerGone);
  for (ReadCall* call : {&timed, &signalled, &gone}) {
    EXPECT_EQ(DataOf(*call), "");
  }
  EXPECT_EQ(ReadNow("p"), "abc");
}

// --- For people --------------------------------------------------------------

TEST_F(PipeObjectTest, PsShowsWhatIsWantedAndWhatIsLeft) {
  MakePipe("p", 4, 1);
  const WriteCall& write = Write("p", "123456");
  EXPECT_EQ(write->Describe(), "write 2 of 6 bytes");
  const ReadCall& read = Read("q", 17);
  EXPECT_EQ(read->Describe(), "read 17 bytes");
}

}  // namespace
}  // namespace waitq::engine
