// Who has a pipe open, and the ends that this makes, without the pipe.

#include "core/pipe_ends.h"

#include <cstdint>

#include "gtest/gtest.h"

namespace waitq {
namespace {

constexpr bool kCleanly = true;
constexpr bool kDied = false;

class PipeEndsTest : public testing::Test {
 protected:
  // The last writer closes: so many bytes were written until then.
  bool Close(bool how, uint64_t written) {
    written_ = written;
    return ends_.CloseWriter(how, written);
  }

  // The end that a reader sees at `offset`.
  PipeEnd EndAt(uint64_t offset, const PipeEnds::Reader* reader) const {
    return ends_.EndAt(offset, /*empty=*/offset == written_, reader);
  }

  // A reader at `offset` is told what it sees there, as a pipe does: one alone.
  PipeEnd Read(uint64_t offset, PipeEnds::Reader* reader) {
    const PipeEnd end = EndAt(offset, reader);
    if (end != PipeEnd::kNone) {
      ends_.Tell(offset, reader);
      ends_.MarkSeen(offset);
    }
    return end;
  }
  PipeEnd ReadUnary(uint64_t offset) { return Read(offset, nullptr); }

  PipeEnds ends_;
  uint64_t written_ = 0;
};

// --- End of file is a state --------------------------------------------------

TEST_F(PipeEndsTest, APipeThatNobodyHasOpenedHasNoEnd) {
  PipeEnds::Reader reader = ends_.OpenReader();
  EXPECT_EQ(EndAt(0, &reader), PipeEnd::kNone);
  EXPECT_EQ(EndAt(0, nullptr), PipeEnd::kNone);
  EXPECT_EQ(ends_.ReadLimit(17), 17u);
}

TEST_F(PipeEndsTest, AnOpenWriterIsNoEnd) {
  ends_.OpenWriter();
  PipeEnds::Reader reader = ends_.OpenReader();
  EXPECT_EQ(EndAt(0, &reader), PipeEnd::kNone);
  EXPECT_EQ(EndAt(0, nullptr), PipeEnd::kNone);
}

TEST_F(PipeEndsTest, OnlyTheLastWriterMakesTheEnd) {
  ends_.OpenWriter();
  ends_.OpenWriter();
  EXPECT_EQ(ends_.writers(), 2u);
  EXPECT_FALSE(Close(kCleanly, 5));
  EXPECT_EQ(EndAt(5, nullptr), PipeEnd::kNone);
  EXPECT_TRUE(Close(kCleanly, 8));
  EXPECT_EQ(ends_.writers(), 0u);
  EXPECT_EQ(EndAt(8, nullptr), PipeEnd::kClean);
}

TEST_F(PipeEndsTest, TheEndIsBehindWhatIsUnread) {
  ends_.OpenWriter();
  Close(kCleanly, 8);
  EXPECT_EQ(EndAt(0, nullptr), PipeEnd::kNone);
  EXPECT_EQ(EndAt(7, nullptr), PipeEnd::kNone);
  EXPECT_EQ(EndAt(8, nullptr), PipeEnd::kClean);
  EXPECT_EQ(ends_.ReadLimit(8), 8u);
}

TEST_F(PipeEndsTest, EveryReaderThatIsOpenSeesTheEnd) {
  PipeEnds::Reader one = ends_.OpenReader();
  PipeEnds::Reader two = ends_.OpenReader();
  ends_.OpenWriter();
  Close(kCleanly, 3);
  EXPECT_EQ(Read(3, &one), PipeEnd::kClean);
  EXPECT_EQ(Read(3, &two), PipeEnd::kClean) << "though one has seen it";
}

TEST_F(PipeEndsTest, AllWhoSleepAtTheEndSeeItUnaryOnesToo) {
  PipeEnds::Reader reader = ends_.OpenReader();
  ends_.OpenWriter();
  Close(kCleanly, 0);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(EndAt(0, nullptr), PipeEnd::kClean);
    ends_.Tell(0, nullptr);
  }
  EXPECT_EQ(EndAt(0, &reader), PipeEnd::kClean);
  ends_.Tell(0, &reader);
  ends_.MarkSeen(0);
  EXPECT_EQ(EndAt(0, nullptr), PipeEnd::kNone);
}

TEST_F(PipeEndsTest, AReaderSeesAnEndOnce) {
  PipeEnds::Reader reader = ends_.OpenReader();
  ends_.OpenWriter();
  Close(kCleanly, 0);
  EXPECT_EQ(Read(0, &reader), PipeEnd::kClean);
  EXPECT_EQ(Read(0, &reader), PipeEnd::kNone);
  // The next writer's end is another one.
  ends_.OpenWriter();
  EXPECT_EQ(Read(0, &reader), PipeEnd::kNone);
  Close(kCleanly, 0);
  EXPECT_EQ(Read(0, &reader), PipeEnd::kClean);
}

// --- An end that nobody has seen ---------------------------------------------

TEST_F(PipeEndsTest, AnUnseenEndIsKeptForTheFirstReader) {
  ends_.OpenWriter();
  Close(kCleanly, 4);
  PipeEnds::Reader reader = ends_.OpenReader();
  EXPECT_EQ(Read(4, &reader), PipeEnd::kClean);
}

TEST_F(PipeEndsTest, AnUnseenEndIsKeptForTheFirstUnaryReader) {
  ends_.OpenWriter();
  Close(kCleanly, 4);
  EXPECT_EQ(ReadUnary(4), PipeEnd::kClean);
  EXPECT_EQ(ReadUnary(4), PipeEnd::kNone) << "the next waits for a writer";
}

TEST_F(PipeEndsTest, AReaderThatComesLaterWaitsForANewWriter) {
  PipeEnds::Reader first = ends_.OpenReader();
  ends_.OpenWriter();
  Close(kCleanly, 4);
  EXPECT_EQ(Read(4, &first), PipeEnd::kClean);
  PipeEnds::Reader later = ends_.OpenReader();
  EXPECT_EQ(Read(4, &later), PipeEnd::kNone);
  EXPECT_EQ(ReadUnary(4), PipeEnd::kNone);
  ends_.OpenWriter();
  Close(kCleanly, 4);
  EXPECT_EQ(Read(4, &later), PipeEnd::kClean);
}

TEST_F(PipeEndsTest, ReadersThatOpenBeforeItIsSeenAllSeeIt) {
  ends_.OpenWriter();
  Close(kCleanly, 0);
  PipeEnds::Reader one = ends_.OpenReader();
  PipeEnds::Reader two = ends_.OpenReader();
  EXPECT_EQ(Read(0, &one), PipeEnd::kClean);
  EXPECT_EQ(Read(0, &two), PipeEnd::kClean);
}

TEST_F(PipeEndsTest, AWriterThatOpensAgainErasesAnUnseenCleanEnd) {
  ends_.OpenWriter();
  Close(kCleanly, 4);
  ends_.OpenWriter();
  EXPECT_EQ(ReadUnary(4), PipeEnd::kNone);
  EXPECT_EQ(ends_.ReadLimit(9), 9u) << "one reads on through it";
  Close(kCleanly, 9);
  EXPECT_EQ(ReadUnary(4), PipeEnd::kNone);
  EXPECT_EQ(ReadUnary(9), PipeEnd::kClean);
}

TEST_F(PipeEndsTest, AWriterThatOpensAgainErasesASeenEnd) {
  for (const bool how : {kCleanly, kDied}) {
    PipeEnds::Reader reader = ends_.OpenReader();
    const PipeEnds::Reader slow = ends_.OpenReader();
    ends_.OpenWriter();
    Close(how, 4);
    EXPECT_NE(Read(4, &reader), PipeEnd::kNone);
    EXPECT_NE(EndAt(4, &slow), PipeEnd::kNone);
    ends_.OpenWriter();
    EXPECT_EQ(EndAt(4, &slow), PipeEnd::kNone) << "it is no state now";
    EXPECT_EQ(ends_.ReadLimit(9), 9u);
    Close(kCleanly, 9);
    ReadUnary(9);
  }
}

// --- Bytes without a handle --------------------------------------------------

TEST_F(PipeEndsTest, WhatUnaryWritersAppendIsReadBeforeTheEnd) {
  PipeEnds::Reader reader = ends_.OpenReader();
  ends_.OpenWriter();
  Close(kCleanly, 4);
  written_ = 9;
  EXPECT_EQ(EndAt(4, &reader), PipeEnd::kNone) << "something is unread";
  EXPECT_EQ(ends_.ReadLimit(9), 9u);
  EXPECT_EQ(Read(9, &reader), PipeEnd::kClean);
}

TEST_F(PipeEndsTest, ASeenEndDoesNotHoldUpWhatUnaryWritersAppend) {
  for (const bool how : {kCleanly, kDied}) {
    ends_.OpenWriter();
    Close(how, 4);
    EXPECT_NE(ReadUnary(4), PipeEnd::kNone);
    EXPECT_EQ(ends_.ReadLimit(9), 9u);
    written_ = 9;
    EXPECT_EQ(ReadUnary(9), PipeEnd::kNone);
  }
}

TEST_F(PipeEndsTest, AnUnseenBrokenEndIsShownBeforeWhatUnaryWritersAppend) {
  ends_.OpenWriter();
  Close(kDied, 4);
  written_ = 9;
  EXPECT_EQ(ends_.ReadLimit(9), 4u);
  EXPECT_EQ(ReadUnary(4), PipeEnd::kBroken);
  EXPECT_EQ(ends_.ReadLimit(9), 9u);
  EXPECT_EQ(ReadUnary(9), PipeEnd::kNone);
}

// --- A broken end ------------------------------------------------------------

TEST_F(PipeEndsTest, AWriterThatDiesMakesABrokenEnd) {
  ends_.OpenWriter();
  EXPECT_TRUE(Close(kDied, 4));
  EXPECT_EQ(EndAt(4, nullptr), PipeEnd::kBroken);
}

TEST_F(PipeEndsTest, AnyWriterThatDiesBreaksTheEndOfAll) {
  ends_.OpenWriter();
  ends_.OpenWriter();
  Close(kDied, 1);
  Close(kCleanly, 4);
  EXPECT_EQ(EndAt(1, nullptr), PipeEnd::kNone);
  EXPECT_EQ(ReadUnary(4), PipeEnd::kBroken);
  // But not the end after that.
  ends_.OpenWriter();
  Close(kCleanly, 8);
  EXPECT_EQ(ReadUnary(8), PipeEnd::kClean);
}

TEST_F(PipeEndsTest, AnUnseenBrokenEndStaysAtItsOffset) {
  ends_.OpenWriter();
  Close(kDied, 4);
  ends_.OpenWriter();
  EXPECT_EQ(ends_.ReadLimit(9), 4u) << "nobody reads on through it";
  EXPECT_EQ(ReadUnary(4), PipeEnd::kBroken);
  EXPECT_EQ(ReadUnary(4), PipeEnd::kNone) << "now the next writer's bytes come";
  EXPECT_EQ(ends_.ReadLimit(9), 9u);
}

TEST_F(PipeEndsTest, ABrokenEndIsNotShownAsClean) {
  ends_.OpenWriter();
  Close(kDied, 4);
  ends_.OpenWriter();
  Close(kCleanly, 4);  // without a byte
  PipeEnds::Reader reader = ends_.OpenReader();
  EXPECT_EQ(Read(4, &reader), PipeEnd::kBroken);
}

TEST_F(PipeEndsTest, AfterABrokenEndTheNextWritersEndComesToo) {
  ends_.OpenWriter();
  Close(kDied, 4);
  ends_.OpenWriter();
  Close(kCleanly, 9);
  PipeEnds::Reader reader = ends_.OpenReader();
  EXPECT_EQ(ends_.ReadLimit(9), 4u);
  EXPECT_EQ(Read(4, &reader), PipeEnd::kBroken);
  EXPECT_EQ(ends_.ReadLimit(9), 9u);
  EXPECT_EQ(Read(4, &reader), PipeEnd::kNone);
  EXPECT_EQ(Read(9, &reader), PipeEnd::kClean);
}

TEST_F(PipeEndsTest, SeveralBrokenEndsAreShownOneByOne) {
  for (const uint64_t offset : {4, 4, 9}) {
    ends_.OpenWriter();
    Close(kDied, offset);
  }
  EXPECT_EQ(ReadUnary(4), PipeEnd::kBroken);
  EXPECT_EQ(ReadUnary(4), PipeEnd::kBroken);
  EXPECT_EQ(ReadUnary(4), PipeEnd::kNone);
  EXPECT_EQ(ReadUnary(9), PipeEnd::kBroken);
  EXPECT_EQ(ReadUnary(9), PipeEnd::kNone);
}

TEST_F(PipeEndsTest, AnEndIsShownToAReaderThatHasSeenTheOneBefore) {
  PipeEnds::Reader reader = ends_.OpenReader();
  ends_.OpenWriter();
  Close(kCleanly, 4);
  EXPECT_EQ(Read(4, &reader), PipeEnd::kClean);
  ends_.OpenWriter();
  Close(kDied, 4);
  EXPECT_EQ(Read(4, &reader), PipeEnd::kBroken);
}

// --- EPIPE -------------------------------------------------------------------

TEST_F(PipeEndsTest, BeforeTheFirstReaderComesWritesAreNotBroken) {
  const PipeEnds::Writer writer = ends_.OpenWriter();
  EXPECT_FALSE(ends_.IsBrokenFor(&writer));
  EXPECT_FALSE(ends_.IsBrokenFor(nullptr));
}

TEST_F(PipeEndsTest, WritesAreBrokenWhenTheLastReaderHasLeft) {
  const PipeEnds::Writer writer = ends_.OpenWriter();
  ends_.OpenReader();
  ends_.OpenReader();
  EXPECT_EQ(ends_.readers(), 2u);
  EXPECT_FALSE(ends_.CloseReader());
  EXPECT_FALSE(ends_.IsBrokenFor(&writer));
  EXPECT_TRUE(ends_.CloseReader());
  EXPECT_EQ(ends_.readers(), 0u);
  EXPECT_TRUE(ends_.IsBrokenFor(&writer));
  EXPECT_TRUE(ends_.IsBrokenFor(nullptr));
}

TEST_F(PipeEndsTest, AReaderThatComesBackEndsThat) {
  const PipeEnds::Writer writer = ends_.OpenWriter();
  ends_.OpenReader();
  ends_.CloseReader();
  ends_.OpenReader();
  EXPECT_FALSE(ends_.IsBrokenFor(&writer));
  EXPECT_FALSE(ends_.IsBrokenFor(nullptr));
}

TEST_F(PipeEndsTest, AWriterThatOpensAfterThatWaitsForNewReaders) {
  ends_.OpenReader();
  ends_.CloseReader();
  const PipeEnds::Writer writer = ends_.OpenWriter();
  EXPECT_FALSE(ends_.IsBrokenFor(&writer)) << "as open(2) of a FIFO would";
  EXPECT_TRUE(ends_.IsBrokenFor(nullptr));
  ends_.OpenReader();
  ends_.CloseReader();
  EXPECT_TRUE(ends_.IsBrokenFor(&writer));
}

// --- Whether there is something to remember ----------------------------------

TEST_F(PipeEndsTest, AnOpenHandleIsRemembered) {
  EXPECT_TRUE(ends_.Idle());
  ends_.OpenReader();
  EXPECT_FALSE(ends_.Idle());
  ends_.CloseReader();
  EXPECT_TRUE(ends_.Idle());
  ends_.OpenWriter();
  EXPECT_FALSE(ends_.Idle());
}

TEST_F(PipeEndsTest, AnUnseenEndIsRememberedAndASeenOneIsNot) {
  for (const bool how : {kCleanly, kDied}) {
    ends_.OpenWriter();
    Close(how, 0);
    EXPECT_FALSE(ends_.Idle());
    EXPECT_NE(ReadUnary(0), PipeEnd::kNone);
    EXPECT_TRUE(ends_.Idle());
  }
}

TEST_F(PipeEndsTest, EveryUnseenEndIsRemembered) {
  for (int i = 0; i < 2; ++i) {
    ends_.OpenWriter();
    Close(kDied, 0);
  }
  EXPECT_NE(ReadUnary(0), PipeEnd::kNone);
  EXPECT_FALSE(ends_.Idle()) << "there is another one";
  EXPECT_NE(ReadUnary(0), PipeEnd::kNone);
  EXPECT_TRUE(ends_.Idle());
}

// --- Misuse ------------------------------------------------------------------

TEST_F(PipeEndsTest, NobodyClosesWhatIsNotOpen) {
  EXPECT_DEATH(ends_.CloseReader(), "a reader closes that was not open");
  EXPECT_DEATH(Close(kCleanly, 0), "a writer closes that was not open");
}

}  // namespace
}  // namespace waitq
