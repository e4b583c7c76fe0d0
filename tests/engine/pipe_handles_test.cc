// Who has a named pipe open, and the ends that this makes, as callers see them.
// (The rules alone are in tests/core/pipe_ends_test.cc.)

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/engine/pipe_object.h"
#include "tests/engine/calls.h"
#include "tests/engine/engine_fixture.h"

namespace waitq::engine {
namespace {

using Calls = std::vector<Call*>;

constexpr bool kDied = false;

class PipeHandlesTest : public EngineTest {
 protected:
  void ExpectEnd(ReadCall& call, bool broken) {
    EXPECT_EQ(EndingOf(call), Ending::kEndOfFile);
    EXPECT_EQ(call->broken(), broken);
    EXPECT_EQ(std::string(call->data()), "");
  }
  void ExpectBytes(ReadCall& call, const std::string& data) {
    EXPECT_EQ(EndingOf(call), Ending::kDone);
    EXPECT_EQ(std::string(call->data()), data);
  }
};

TEST_F(PipeHandlesTest, AreCounted) {
  PipeReader& reader = OpenReader("p");
  PipeWriter& one = OpenWriter("p");
  PipeWriter& two = OpenWriter("p");
  EXPECT_EQ(StatPipe("p").readers, 1u);
  EXPECT_EQ(StatPipe("p").writers, 2u);
  Close(one);
  Close(two);
  Close(reader);
  EXPECT_EQ(StatPipe("p").readers, 0u);
  EXPECT_EQ(StatPipe("p").writers, 0u);
}

TEST_F(PipeHandlesTest, UnaryCallsAreNoneOfThem) {
  Read("p", 5);
  WriteNow("p", "x");
  Write("p", std::string(100'000, 'x'));
  EXPECT_EQ(StatPipe("p").readers, 0u);
  EXPECT_EQ(StatPipe("p").writers, 0u);
}

TEST_F(PipeHandlesTest, MakeThePipeWithTheirOptions) {
  OpenReader("p", {.capacity_bytes = 10, .atomic_max_bytes = 3});
  EXPECT_EQ(StatPipe("p").options.capacity_bytes, 10u);
  EXPECT_EQ(StatPipe("p").options.atomic_max_bytes, 3u);
  OpenWriter("p", {.capacity_bytes = 20, .atomic_max_bytes = {}});
  EXPECT_EQ(StatPipe("p").options.capacity_bytes, 10u) << "it keeps its own";
}

// --- The end of file ---------------------------------------------------------

TEST_F(PipeHandlesTest, WhatIsLeftIsReadBeforeTheEnd) {
  PipeReader& reader = OpenReader("p");
  PipeWriter& writer = OpenWriter("p");
  Write(writer, "abc");
  Close(writer);
  ExpectBytes(Read(reader, 2), "ab");
  ExpectBytes(Read(reader, 2), "c");
  ExpectEnd(Read(reader, 2), false);
}

TEST_F(PipeHandlesTest, WriteFirstThenReadEndsProperly) {
  PipeWriter& writer = OpenWriter("p");
  Write(writer, "abc");
  Close(writer);
  PipeReader& reader = OpenReader("p");
  ExpectBytes(Read(reader, 100), "abc");
  ExpectEnd(Read(reader, 100), false);
}

TEST_F(PipeHandlesTest, WriteOfNothingThenReadEndsProperly) {
  PipeWriter& writer = OpenWriter("p");
  Write(writer, "");
  Close(writer);
  PipeReader& reader = OpenReader("p");
  ExpectEnd(Read(reader, 100), false);
}

TEST_F(PipeHandlesTest, TheLastWritersEndWakesAllWhoSleep) {
  PipeReader& reader = OpenReader("p");
  PipeReader& another = OpenReader("p");
  PipeWriter& one = OpenWriter("p");
  PipeWriter& two = OpenWriter("p");
  ReadCall& a = Read(reader, 5);
  ReadCall& b = Read(another, 5);
  ReadCall& c = Read("p", 5);
  Close(one);
  EXPECT_TRUE(Asleep(a));
  Close(two);
  EXPECT_EQ(TakeEnded(), (Calls{&a, &b, &c}));
  for (ReadCall* call : {&a, &b, &c}) ExpectEnd(*call, false);
}

TEST_F(PipeHandlesTest, AReaderThatIsOpenAndNotAsleepSeesTheEndToo) {
  PipeReader& sleeper = OpenReader("p");
  PipeReader& busy = OpenReader("p");
  PipeWriter& writer = OpenWriter("p");
  ReadCall& call = Read(sleeper, 5);
  Close(writer);
  ExpectEnd(call, false);
  ExpectEnd(Read(busy, 5), false);
}

TEST_F(PipeHandlesTest, AnEndIsShownToWhomItIsForThoughOthersAreAheadInLine) {
  PipeReader& first = OpenReader("p");
  PipeReader& second = OpenReader("p");
  Close(OpenWriter("p"));
  ExpectEnd(Read(first, 5), false);
  // These wait for a new writer; the second has not seen the end yet.
  ReadCall& sleeper = Read(first, 5);
  ReadCall& unary = Read("p", 5);
  ExpectEnd(Read(second, 5), false);
  EXPECT_TRUE(Asleep(sleeper));
  EXPECT_TRUE(Asleep(unary));
  WriteNow("p", "abcdefgh");
  ExpectBytes(sleeper, "abcde");
  ExpectBytes(unary, "fgh");
}

TEST_F(PipeHandlesTest, AnUnaryReaderSeesAnEndThatNobodyHasSeen) {
  Close(OpenWriter("p"));
  ExpectEnd(Read("p", 5), false);
  ReadCall& later = Read("p", 5);
  EXPECT_EQ(later.started, Started::kAsleep) << "it waits for a new writer";
  WriteNow("p", "new");
  ExpectBytes(later, "new");
}

TEST_F(PipeHandlesTest, AReaderThatOpensLaterWaitsForANewWriter) {
  PipeReader& first = OpenReader("p");
  Close(OpenWriter("p"));
  ExpectEnd(Read(first, 5), false);
  PipeReader& later = OpenReader("p");
  ReadCall& call = Read(later, 5);
  EXPECT_TRUE(Asleep(call));
  PipeWriter& writer = OpenWriter("p");
  EXPECT_TRUE(Asleep(call));
  Close(writer);
  ExpectEnd(call, false);
}

TEST_F(PipeHandlesTest, AWriterThatOpensAgainErasesAnUnseenCleanEnd) {
  PipeWriter& writer = OpenWriter("p");
  Write(writer, "abc");
  Close(writer);
  PipeWriter& again = OpenWriter("p");
  Write(again, "def");
  PipeReader& reader = OpenReader("p");
  ExpectBytes(Read(reader, 100), "abcdef");
  EXPECT_EQ(Read(reader, 100).started, Started::kAsleep);
}

TEST_F(PipeHandlesTest, AnOpenWriterIsNoEndEvenIfItNeverWrites) {
  PipeReader& reader = OpenReader("p");
  OpenWriter("p");
  EXPECT_EQ(Read(reader, 1, Nonblock())->ending(), Ending::kWouldBlock);
  EXPECT_EQ(Read("p", 1, Nonblock())->ending(), Ending::kWouldBlock);
}

TEST_F(PipeHandlesTest, TheEndBeatsNonblockAndTimeout) {
  Close(OpenWriter("p"));
  ExpectEnd(Read("p", 1, Nonblock()), false);
  Close(OpenWriter("p"));
  ExpectEnd(Read("p", 1, For(absl::ZeroDuration())), false);
}

// End of file is a state: nothing is unread.
TEST_F(PipeHandlesTest, UnaryBytesAreReadBeforeTheEnd) {
  PipeReader& reader = OpenReader("p");
  Close(OpenWriter("p"));
  WriteNow("p", "unary");
  ExpectBytes(Read(reader, 100), "unary");
  ExpectEnd(Read(reader, 100), false);
}

TEST_F(PipeHandlesTest, UnaryBytesAreReadThoughAnEndWasSeen) {
  for (const bool clean : {true, false}) {
    const std::string name = clean ? "clean" : "broken";
    PipeReader& reader = OpenReader(name);
    Close(OpenWriter(name), clean);
    ExpectEnd(Read(reader, 100), !clean);
    ReadCall& sleeper = Read(reader, 100);
    EXPECT_TRUE(Asleep(sleeper));
    WriteNow(name, "one");
    ExpectBytes(sleeper, "one");
    WriteNow(name, "two");
    EXPECT_EQ(ReadNow(name), "two");
  }
}

TEST_F(PipeHandlesTest, UnaryBytesBehindAnUnseenBrokenEndComeAfterIt) {
  Close(OpenWriter("p"), kDied);
  WriteNow("p", "unary");
  ExpectEnd(Read("p", 100), true);
  ExpectBytes(Read("p", 100), "unary");
}

// --- Broken ends -------------------------------------------------------------

TEST_F(PipeHandlesTest, AWriterThatDiesBreaksTheEnd) {
  PipeReader& reader = OpenReader("p");
  PipeWriter& writer = OpenWriter("p");
  ReadCall& sleeper = Read(reader, 5);
  Write(writer, "abc");
  Close(writer, kDied);
  ExpectBytes(sleeper, "abc");
  ExpectEnd(Read(reader, 5), true);
}

TEST_F(PipeHandlesTest, AnyWriterThatDiesBreaksTheCommonEnd) {
  PipeReader& reader = OpenReader("p");
  PipeWriter& one = OpenWriter("p");
  PipeWriter& two = OpenWriter("p");
  ReadCall& call = Read(reader, 5);
  Close(one, kDied);
  EXPECT_TRUE(Asleep(call));
  Close(two);
  ExpectEnd(call, true);
}

TEST_F(PipeHandlesTest, AnUnseenBrokenEndStaysAtItsOffset) {
  PipeWriter& dies = OpenWriter("p");
  Write(dies, "half a rec");
  Close(dies, kDied);
  PipeWriter& next = OpenWriter("p");
  Write(next, "whole");
  PipeReader& reader = OpenReader("p");
  ExpectBytes(Read(reader, 100), "half a rec");
  ExpectEnd(Read(reader, 100), true);
  ExpectBytes(Read(reader, 100), "whole");
  Close(next);
  ExpectEnd(Read(reader, 100), false);
}

TEST_F(PipeHandlesTest, ABrokenEndThatWasSeenIsNotShownAgain) {
  PipeReader& reader = OpenReader("p");
  Close(OpenWriter("p"), kDied);
  ExpectEnd(Read(reader, 5), true);
  PipeWriter& next = OpenWriter("p");
  Write(next, "new");
  ExpectBytes(Read(reader, 5), "new");
  Close(next);
  ExpectEnd(Read(reader, 5), false);
}

// --- EPIPE -------------------------------------------------------------------

TEST_F(PipeHandlesTest, BeforeTheFirstReaderComesWritesFillThePipe) {
  PipeWriter& writer =
      OpenWriter("p", {.capacity_bytes = 4, .atomic_max_bytes = {}});
  EXPECT_EQ(Write(writer, "1234")->ending(), Ending::kDone);
  WriteCall& sleeper = Write(writer, "5");
  EXPECT_TRUE(Asleep(sleeper));
  WriteCall& unary = Write("p", "6");
  EXPECT_TRUE(Asleep(unary));
}

TEST_F(PipeHandlesTest, WhenTheLastReaderLeavesAllSleepingWritersAreTold) {
  PipeReader& one =
      OpenReader("p", {.capacity_bytes = 4, .atomic_max_bytes = {}});
  PipeReader& two = OpenReader("p");
  PipeWriter& writer = OpenWriter("p");
  Write(writer, "1234");
  WriteCall& a = Write(writer, "5");
  WriteCall& b = Write("p", "6");
  WriteCall& c = Write("p", "big write");
  Close(one);
  EXPECT_TRUE(Asleep(a));
  Close(two);
  EXPECT_EQ(TakeEnded(), (Calls{&a, &b, &c}));
  for (WriteCall* call : {&a, &b, &c}) {
    EXPECT_EQ(EndingOf(*call), Ending::kNoReaders);
    EXPECT_EQ((*call)->accepted_bytes(), 0u);
  }
  EXPECT_EQ(ReadNow("p"), "1234") << "what is in the pipe stays";
}

TEST_F(PipeHandlesTest, WithoutReadersAWriteIsRefusedThoughThereIsRoom) {
  PipeWriter& writer = OpenWriter("p");
  Close(OpenReader("p"));
  for (WriteCall* call :
       {&Write(writer, "x"), &Write("p", "y"), &Write("p", "z", Nonblock())}) {
    EXPECT_EQ(call->started, Started::kEnded);
    EXPECT_EQ((*call)->ending(), Ending::kNoReaders);
  }
  EXPECT_EQ(StatPipe("p").unread_bytes, 0u);
}

TEST_F(PipeHandlesTest, AReaderThatComesBackMakesWritesPossibleAgain) {
  PipeWriter& writer = OpenWriter("p");
  Close(OpenReader("p"));
  OpenReader("p");
  EXPECT_EQ(Write(writer, "x")->ending(), Ending::kDone);
  EXPECT_EQ(Write("p", "y")->ending(), Ending::kDone);
}

TEST_F(PipeHandlesTest, AWriterThatOpensAfterwardsWaitsForNewReaders) {
  Close(OpenReader("p", {.capacity_bytes = 4, .atomic_max_bytes = {}}));
  PipeWriter& writer = OpenWriter("p");
  EXPECT_EQ(Write(writer, "1234")->ending(), Ending::kDone);
  WriteCall& sleeper = Write(writer, "5");
  EXPECT_TRUE(Asleep(sleeper));
  PipeReader& reader = OpenReader("p");
  EXPECT_TRUE(Asleep(sleeper));
  Close(reader);
  EXPECT_EQ(EndingOf(sleeper), Ending::kNoReaders);
}

TEST_F(PipeHandlesTest, WithoutReadersAWriteIsRefusedThoughAnotherIsInLine) {
  Close(OpenReader("p", {.capacity_bytes = 4, .atomic_max_bytes = {}}));
  PipeWriter& writer = OpenWriter("p");  // waits for new readers
  Write(writer, "1234");
  Write(writer, "5");
  WriteCall& unary = Write("p", "6");
  EXPECT_EQ(unary.started, Started::kEnded);
  EXPECT_EQ(EndingOf(unary), Ending::kNoReaders);
}

TEST_F(PipeHandlesTest, AnIncarnationForgetsTheReadersOfTheOneBefore) {
  Close(OpenReader("p"));
  EXPECT_EQ(Write("p", "x")->ending(), Ending::kNoReaders);
  ASSERT_TRUE(engine().Remove("p", false).ok());
  EXPECT_EQ(Write("p", "x")->ending(), Ending::kDone);
}

}  // namespace
}  // namespace waitq::engine
