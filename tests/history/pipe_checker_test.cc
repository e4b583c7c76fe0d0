// Each rule of the pipe, with a history that keeps it and one that breaks it.

#include "tests/history/pipe_checker.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace waitq::history {
namespace {

using Kind = PipeCall::Kind;

constexpr uint64_t kIncarnation = 100;

// When, and by whom: each call is of a client of its own.
struct At {
  int64_t invoked;
  int64_t returned;
};

PipeCall Make(At at, Kind kind, std::string data, uint64_t offset) {
  static int client = 0;
  PipeCall call;
  call.object = "p";
  call.client = ++client;
  call.invoked = at.invoked;
  call.returned = at.returned;
  call.outcome = Outcome::kDone;
  call.kind = kind;
  call.data = std::move(data);
  call.offset = offset;
  call.incarnation = kIncarnation;
  return call;
}
// Accepted whole, from that offset.
PipeCall Write(At at, uint64_t offset, std::string data) {
  const uint64_t size = data.size();
  PipeCall call = Make(at, Kind::kWrite, std::move(data), offset + size);
  call.accepted_bytes = size;
  return call;
}
// The first bytes accepted, up to that offset.
PipeCall WritePart(At at, uint64_t accepted, uint64_t end, std::string data) {
  PipeCall call = Make(at, Kind::kWrite, std::move(data), end);
  call.accepted_bytes = accepted;
  return call;
}
PipeCall Read(At at, uint64_t offset, std::string data) {
  return Make(at, Kind::kRead, std::move(data), offset);
}
// The same call, with another end.
PipeCall Ended(Outcome outcome, PipeCall call) {
  call.outcome = outcome;
  return call;
}
PipeCall NoData(Outcome outcome, At at) {
  return Ended(outcome, Read(at, 0, ""));
}
PipeCall Redelivered(PipeCall call) {
  call.redelivered = true;
  return call;
}
PipeCall MayComeAgain(PipeCall call) {
  call.may_be_redelivered = true;
  return call;
}
PipeCall NotTaken(PipeCall call) {
  call.taken = false;
  return call;
}

class PipeCheckerTest : public ::testing::Test {
 protected:
  bool Legal(std::vector<PipeCall> calls) {
    history_.pipes = std::move(calls);
    const Report report = CheckPipes(history_);
    EXPECT_TRUE(report.undecided.empty());
    return report.ok();
  }
  void Packets() { history_.pipe_options["p"].packets = true; }
  // Writes larger than this may be interleaved.
  void AtomicMax(uint64_t bytes) {
    history_.pipe_options["p"].atomic_max_bytes = bytes;
  }
  void Left(std::vector<PipeLeft::Chunk> chunks) {
    history_.left = {{"p", kIncarnation, std::move(chunks)}};
  }
  void RestartAt(int64_t time) { history_.restarts = {time}; }

 private:
  History history_;
};

TEST_F(PipeCheckerTest, TheBytesAtAnOffsetAreTheSameForAll) {
  const PipeCall write = Write({1, 2}, 0, "abcd");
  EXPECT_TRUE(Legal({write, Read({3, 4}, 0, "ab"), Read({5, 6}, 2, "cd")}));
  EXPECT_FALSE(Legal({write, Read({3, 4}, 0, "ab"), Read({5, 6}, 2, "cX")}));
}

TEST_F(PipeCheckerTest, NothingIsThereThatNobodyWrote) {
  EXPECT_FALSE(Legal({Read({3, 4}, 0, "ab")}));
  EXPECT_FALSE(Legal({Write({1, 2}, 0, "ab"), Read({3, 4}, 0, "abc")}));
  EXPECT_FALSE(Legal({Write({1, 2}, 1, "ab")}));
  EXPECT_FALSE(
      Legal({Write({1, 2}, 0, "ab"), Read({3, 4}, uint64_t{1} << 60, "c")}));
  EXPECT_FALSE(
      Legal({Write({1, 2}, 0, "ab"), Read({3, 4}, ~uint64_t{0}, "c")}));
}

TEST_F(PipeCheckerTest, TwoWritesDoNotOverlap) {
  EXPECT_TRUE(Legal({Write({1, 9}, 0, "aa"), Write({1, 9}, 2, "aa")}));
  EXPECT_FALSE(Legal({Write({1, 9}, 0, "aa"), Write({1, 9}, 1, "aa")}));
}

TEST_F(PipeCheckerTest, ASmallWriteIsAcceptedWhole) {
  EXPECT_FALSE(Legal({WritePart({1, 2}, 2, 2, "abcd")}));
  AtomicMax(3);
  EXPECT_TRUE(Legal({WritePart({1, 2}, 2, 2, "abcd")}));
  EXPECT_FALSE(Legal({WritePart({1, 2}, 5, 5, "abcd")}));
}

TEST_F(PipeCheckerTest, WhatFailedIsNotThere) {
  const PipeCall write = Write({1, 2}, 0, "ab");
  const PipeCall read = Read({3, 4}, 0, "ab");
  EXPECT_TRUE(Legal({write, read}));
  for (const Outcome outcome : {Outcome::kTimedOut, Outcome::kWouldBlock,
                                Outcome::kInterrupted, Outcome::kNoEffect}) {
    EXPECT_FALSE(Legal({Ended(outcome, write), read}));
  }
}

TEST_F(PipeCheckerTest, AnUnknownWriteIsThereOnceOrNot) {
  const PipeCall unknown = Ended(Outcome::kUnknown, Write({1, 2}, 0, "ab"));
  EXPECT_TRUE(Legal({unknown, NoData(Outcome::kTimedOut, {3, 4})}));
  EXPECT_TRUE(Legal({unknown, Read({3, 4}, 0, "ab")}));
  // Some of it is unread.
  EXPECT_TRUE(Legal({unknown, Read({3, 4}, 0, "a")}));
  EXPECT_FALSE(Legal({unknown, Read({3, 4}, 0, "ab"), Read({5, 6}, 2, "ab")}));
  EXPECT_TRUE(
      Legal({unknown, unknown, Read({3, 4}, 0, "ab"), Read({5, 6}, 2, "ab")}));
  // Among others.
  EXPECT_TRUE(Legal({Write({1, 2}, 2, "cd"), unknown}));
  EXPECT_FALSE(Legal({Write({1, 2}, 1, "cd"), unknown}));
  // A small one is there as a whole.
  EXPECT_FALSE(
      Legal({unknown, Write({1, 2}, 1, "cd"), Read({3, 4}, 0, "acd")}));
}

TEST_F(PipeCheckerTest, OfALargeUnknownWriteTheBeginningMayBeThere) {
  AtomicMax(1);
  const PipeCall unknown = Ended(Outcome::kUnknown, Write({1, 2}, 0, "abc"));
  const PipeCall other = Write({1, 2}, 1, "x");
  EXPECT_TRUE(Legal({unknown, other, Read({3, 4}, 0, "axbc")}));
  EXPECT_TRUE(Legal({unknown, other, Read({3, 4}, 0, "ax")}));
  EXPECT_FALSE(Legal({unknown, other, Read({3, 4}, 0, "bx")}));
  EXPECT_FALSE(Legal({unknown, other, Read({3, 4}, 0, "axc")}));
  EXPECT_FALSE(Legal({unknown, other, Read({3, 4}, 0, "axa")}));
}

TEST_F(PipeCheckerTest, LargeWritesAreThereInTurns) {
  AtomicMax(1);
  const std::vector<PipeCall> writes = {WritePart({1, 9}, 4, 6, "abcd"),
                                        WritePart({1, 9}, 4, 8, "1234")};
  const auto with = [&](PipeCall read) {
    std::vector<PipeCall> calls = writes;
    calls.push_back(std::move(read));
    return calls;
  };
  EXPECT_TRUE(Legal(writes));
  EXPECT_TRUE(Legal(with(Read({1, 9}, 0, "ab12cd34"))));
  EXPECT_TRUE(Legal(with(Read({1, 9}, 0, "12abcd34"))));
  EXPECT_FALSE(Legal(with(Read({1, 9}, 0, "abcd1234"))));  // ends at 6
  EXPECT_FALSE(Legal(with(Read({1, 9}, 0, "ab21cd34"))));
}

TEST_F(PipeCheckerTest, WritesStandInTheOrderOfTime) {
  EXPECT_TRUE(Legal({Write({1, 2}, 0, "ab"), Write({3, 4}, 2, "cd")}));
  EXPECT_FALSE(Legal({Write({1, 2}, 2, "ab"), Write({3, 4}, 0, "cd")}));
  EXPECT_TRUE(Legal({Write({1, 3}, 2, "ab"), Write({3, 4}, 0, "cd")}));
  // An unknown one is not before what had returned before it.
  const PipeCall read = Read({1, 9}, 0, "abcd");
  EXPECT_FALSE(Legal({Write({1, 2}, 2, "cd"), read,
                      Ended(Outcome::kUnknown, Write({3, 4}, 0, "ab"))}));
  EXPECT_TRUE(Legal({Write({1, 3}, 2, "cd"), read,
                     Ended(Outcome::kUnknown, Write({3, 4}, 0, "ab"))}));
}

TEST_F(PipeCheckerTest, NothingIsReadBeforeItIsWritten) {
  EXPECT_TRUE(Legal({Read({1, 3}, 0, "ab"), Write({3, 4}, 0, "ab")}));
  EXPECT_FALSE(Legal({Read({1, 2}, 0, "ab"), Write({3, 4}, 0, "ab")}));
  EXPECT_FALSE(Legal({Read({1, 2}, 0, "ab"),
                      Ended(Outcome::kUnknown, Write({3, 4}, 0, "ab"))}));
}

TEST_F(PipeCheckerTest, APacketIsReadAsItWasWritten) {
  const std::vector<PipeCall> writes = {Write({1, 9}, 0, "ab"),
                                        Write({1, 9}, 2, "cd")};
  const auto with = [&](PipeCall read) {
    std::vector<PipeCall> calls = writes;
    calls.push_back(std::move(read));
    return calls;
  };
  const PipeCall both = Read({1, 9}, 0, "abcd");
  const PipeCall part = Read({1, 9}, 0, "a");
  EXPECT_TRUE(Legal(with(both)));
  EXPECT_TRUE(Legal(with(part)));
  Packets();
  EXPECT_TRUE(Legal(with(Read({1, 9}, 2, "cd"))));
  EXPECT_FALSE(Legal(with(both)));
  EXPECT_FALSE(Legal(with(part)));
  EXPECT_FALSE(Legal(with(Read({1, 9}, 1, "b"))));
}

TEST_F(PipeCheckerTest, AnUnknownPacketIsReadAsItWasWritten) {
  Packets();
  const PipeCall unknown = Ended(Outcome::kUnknown, Write({1, 2}, 0, "ab"));
  EXPECT_TRUE(Legal({unknown, Read({3, 4}, 0, "ab")}));
  EXPECT_FALSE(Legal({unknown, Read({3, 4}, 0, "a")}));
  EXPECT_FALSE(Legal({unknown, Read({3, 4}, 0, "a"), Read({3, 4}, 1, "b")}));
  EXPECT_FALSE(Legal({unknown, unknown, Read({3, 4}, 0, "abab")}));
}

TEST_F(PipeCheckerTest, AByteIsDeliveredOnce) {
  const PipeCall write = Write({1, 2}, 0, "ab");
  EXPECT_TRUE(Legal({write, Read({3, 4}, 0, "a"), Read({5, 6}, 1, "b")}));
  EXPECT_FALSE(Legal({write, Read({3, 4}, 0, "ab"), Read({3, 6}, 1, "b")}));
}

TEST_F(PipeCheckerTest, WhatWasTakenForCertainIsNotDeliveredAgain) {
  const PipeCall write = Write({1, 2}, 0, "ab");
  const PipeCall first = Read({3, 4}, 0, "ab");
  const PipeCall again = Redelivered(Read({5, 6}, 0, "ab"));
  EXPECT_FALSE(Legal({write, first, again}));
  EXPECT_TRUE(Legal({write, MayComeAgain(first), again}));
  EXPECT_TRUE(Legal({write, NotTaken(first), again}));
  // Now somebody has it for certain.
  const PipeCall and_again = Redelivered(Read({7, 8}, 0, "ab"));
  EXPECT_FALSE(Legal({write, NotTaken(first), again, NotTaken(and_again)}));
  EXPECT_TRUE(Legal({write, NotTaken(first), NotTaken(again), and_again}));
}

TEST_F(PipeCheckerTest, ASecondDeliveryIsMarked) {
  const PipeCall write = Write({1, 2}, 0, "ab");
  const PipeCall first = NotTaken(Read({3, 4}, 0, "ab"));
  EXPECT_TRUE(Legal({write, first, Redelivered(Read({5, 6}, 0, "ab"))}));
  EXPECT_FALSE(Legal({write, first, Read({5, 6}, 0, "ab")}));
  // The first one is not.
  EXPECT_FALSE(Legal({write, Redelivered(NotTaken(Read({3, 4}, 0, "ab"))),
                      Read({5, 6}, 0, "ab")}));
}

TEST_F(PipeCheckerTest, WhoeverHadItBeforeMayBeUnknown) {
  const PipeCall write = Write({1, 2}, 0, "ab");
  const PipeCall again = Redelivered(Read({5, 6}, 0, "ab"));
  EXPECT_FALSE(Legal({write, again}));
  EXPECT_TRUE(Legal({write, again, NoData(Outcome::kUnknown, {3, 4})}));
  EXPECT_FALSE(Legal({write, again, NoData(Outcome::kNoEffect, {3, 4})}));
  EXPECT_FALSE(Legal({write, again, NoData(Outcome::kUnknown, {7, 8})}));
  PipeCall small = NoData(Outcome::kUnknown, {3, 4});
  small.max_bytes = 1;
  EXPECT_FALSE(Legal({write, again, small}));
  Packets();
  EXPECT_TRUE(Legal({write, again, small}));
}

TEST_F(PipeCheckerTest, ReadsAreInTheOrderOfTheirOffsets) {
  const PipeCall write = Write({1, 2}, 0, "ab");
  EXPECT_TRUE(Legal({write, Read({3, 5}, 1, "b"), Read({4, 6}, 0, "a")}));
  EXPECT_FALSE(Legal({write, Read({3, 4}, 1, "b"), Read({5, 6}, 0, "a")}));
  // What comes again comes late.
  EXPECT_TRUE(Legal({write, NotTaken(Read({3, 4}, 0, "a")),
                     Read({3, 4}, 1, "b"), Redelivered(Read({5, 6}, 0, "a"))}));
}

TEST_F(PipeCheckerTest, WhoFoundNothingHadAMomentWithNothingThere) {
  const PipeCall write = Write({1, 2}, 0, "ab");
  for (const Outcome outcome :
       {Outcome::kTimedOut, Outcome::kWouldBlock, Outcome::kEndOfFile}) {
    EXPECT_TRUE(Legal({write, NoData(outcome, {1, 4})}));
    EXPECT_FALSE(Legal({write, NoData(outcome, {3, 4})}));
    EXPECT_FALSE(
        Legal({write, NoData(outcome, {3, 4}), Read({5, 6}, 0, "ab")}));
    EXPECT_TRUE(Legal({write, NoData(outcome, {3, 5}), Read({4, 6}, 0, "ab")}));
    // Somebody may have it.
    EXPECT_TRUE(Legal(
        {write, NoData(outcome, {3, 4}), NoData(Outcome::kUnknown, {1, 2})}));
  }
  EXPECT_TRUE(Legal({write, NoData(Outcome::kInterrupted, {3, 4})}));
}

TEST_F(PipeCheckerTest, OneAfterTheOtherFillsThePipeToo) {
  const std::vector<PipeCall> calls = {
      Write({1, 2}, 0, "a"), Write({4, 5}, 1, "b"), Read({6, 9}, 0, "a"),
      NoData(Outcome::kTimedOut, {3, 8})};
  EXPECT_FALSE(Legal(calls));
  std::vector<PipeCall> later = calls;
  later[1] = Write({4, 6}, 1, "b");
  EXPECT_TRUE(Legal(later));
}

TEST_F(PipeCheckerTest, WhoWantsMoreMayFindLess) {
  const PipeCall write = Write({1, 2}, 0, "ab");
  PipeCall read = NoData(Outcome::kTimedOut, {3, 4});
  read.min_bytes = 3;
  EXPECT_TRUE(Legal({write, read}));
  // Nobody passes who is first in line.
  EXPECT_TRUE(Legal({write, read, NoData(Outcome::kTimedOut, {3, 4})}));
  read.min_bytes = 2;
  EXPECT_FALSE(Legal({write, read}));
}

TEST_F(PipeCheckerTest, NothingIsLost) {
  const PipeCall write = Write({1, 2}, 0, "ab");
  const PipeCall read = Read({3, 4}, 0, "a");
  EXPECT_TRUE(Legal({write, read}));  // nobody looked
  Left({{1, "b"}});
  EXPECT_TRUE(Legal({write, read}));
  EXPECT_FALSE(Legal({write, NotTaken(read)}));
  EXPECT_FALSE(Legal({write}));
  EXPECT_TRUE(Legal({write, MayComeAgain(read)}));
  PipeCall lost = NoData(Outcome::kUnknown, {3, 4});
  EXPECT_FALSE(Legal({write, lost}));
  lost.lost_if_unknown = true;
  EXPECT_TRUE(Legal({write, lost}));
  Left({});
  EXPECT_FALSE(Legal({write, read}));
}

TEST_F(PipeCheckerTest, WhatIsTakenIsNotLeft) {
  const PipeCall write = Write({1, 2}, 0, "ab");
  Left({{0, "ab"}});
  EXPECT_TRUE(Legal({write}));
  EXPECT_FALSE(Legal({write, Read({3, 4}, 0, "a")}));
  EXPECT_TRUE(Legal({write, MayComeAgain(Read({3, 4}, 0, "a"))}));
  EXPECT_TRUE(Legal({write, NotTaken(Read({3, 4}, 0, "a"))}));
}

TEST_F(PipeCheckerTest, WhatIsLeftIsWhatWasWritten) {
  const PipeCall write = Write({1, 2}, 0, "ab");
  Left({{0, "aX"}});
  EXPECT_FALSE(Legal({write}));
  Left({{0, "abc"}});
  EXPECT_FALSE(Legal({write}));
  // An unknown write is left as a whole.
  const PipeCall unknown = Ended(Outcome::kUnknown, write);
  Left({{0, "a"}});
  EXPECT_FALSE(Legal({unknown}));
  Left({{0, "ab"}});
  EXPECT_TRUE(Legal({unknown}));
  Left({});
  EXPECT_TRUE(Legal({unknown}));
}

TEST_F(PipeCheckerTest, EachIncarnationBeginsAnew) {
  PipeCall write = Write({5, 6}, 0, "cd");
  const PipeCall before = Write({1, 2}, 0, "ab");
  EXPECT_FALSE(Legal({before, write}));
  write.incarnation = kIncarnation + 1;
  EXPECT_TRUE(Legal({before, write}));
}

TEST_F(PipeCheckerTest, NoIncarnationOutlivesItsServer) {
  const PipeCall write = Write({1, 2}, 0, "ab");
  EXPECT_TRUE(Legal({write, Read({5, 6}, 0, "ab")}));
  RestartAt(4);
  EXPECT_FALSE(Legal({write, Read({5, 6}, 0, "ab")}));
  EXPECT_TRUE(Legal({write, Read({3, 6}, 0, "ab")}));
  EXPECT_TRUE(Legal({write, NoData(Outcome::kTimedOut, {3, 6})}));
  EXPECT_FALSE(Legal({write, NoData(Outcome::kTimedOut, {3, 3})}));
}

TEST_F(PipeCheckerTest, AnUnknownWriteIsInOneLife) {
  const PipeCall unknown = Ended(Outcome::kUnknown, Write({1, 2}, 0, "ab"));
  const PipeCall before = Read({1, 3}, 0, "ab");
  PipeCall after = Read({5, 6}, 0, "ab");
  after.incarnation = kIncarnation + 1;
  RestartAt(4);
  EXPECT_TRUE(Legal({unknown, before}));
  EXPECT_FALSE(Legal({unknown, after}));
}

TEST_F(PipeCheckerTest, TheReportNamesTheCalls) {
  History history;
  history.pipes = {Write({1, 2}, 0, "ab"), Read({3, 4}, 0, "ab"),
                   Redelivered(Read({5, 6}, 0, "ab"))};
  const Report report = CheckPipes(history);
  ASSERT_EQ(report.violations.size(), 1u);
  const std::string text = report.ToString();
  EXPECT_NE(text.find("taken twice"), std::string::npos) << text;
  EXPECT_NE(text.find("p.Read(max 65536, min 1) = DONE \"ab\" (2 bytes) at 0"),
            std::string::npos)
      << text;
}

// --- Holds -------------------------------------------------------------------

PipeCall Held(At at, uint64_t offset, std::string data) {
  PipeCall call = Read(at, offset, std::move(data));
  call.hold_id = 7;
  return call;
}
PipeCall Accept(At at, uint64_t up_to = 0) {
  PipeCall call = Make(at, Kind::kAccept, "", 0);
  call.hold_id = 7;
  call.up_to = up_to;
  return call;
}
PipeCall Release(At at) {
  PipeCall call = Make(at, Kind::kRelease, "", 0);
  call.hold_id = 7;
  return call;
}
PipeCall Stale(PipeCall call) {
  call.stale = true;
  return Ended(Outcome::kNoEffect, std::move(call));
}

TEST_F(PipeCheckerTest, WhatIsAcceptedIsTaken) {
  const PipeCall write = Write({1, 2}, 0, "abcd");
  const PipeCall held = Held({3, 4}, 0, "abcd");
  const PipeCall again = Redelivered(Read({7, 8}, 0, "abcd"));
  EXPECT_TRUE(Legal({write, held, again}));
  EXPECT_TRUE(Legal({write, held, Accept({5, 6})}));
  EXPECT_FALSE(Legal({write, held, Accept({5, 6}), again}));
  // Perhaps, if nobody knows what became of that.
  EXPECT_TRUE(
      Legal({write, held, Ended(Outcome::kUnknown, Accept({5, 6})), again}));
}

TEST_F(PipeCheckerTest, WhatIsAcceptedInPartIsTakenInPart) {
  const PipeCall write = Write({1, 2}, 0, "abcd");
  const PipeCall held = Held({3, 4}, 0, "abcd");
  const PipeCall some = Accept({5, 6}, 2);
  EXPECT_TRUE(Legal({write, held, some, Redelivered(Read({7, 8}, 2, "cd"))}));
  EXPECT_FALSE(Legal({write, held, some, Redelivered(Read({7, 8}, 1, "b"))}));
}

TEST_F(PipeCheckerTest, AHoldThatNobodyEndsIsNotTaken) {
  Left({});
  const PipeCall write = Write({1, 2}, 0, "abcd");
  const PipeCall held = Held({3, 4}, 0, "abcd");
  EXPECT_FALSE(Legal({write, held}));
  EXPECT_TRUE(Legal({write, held, Accept({5, 6})}));
  EXPECT_FALSE(Legal({write, held, Accept({5, 6}, 2)}));
}

TEST_F(PipeCheckerTest, AHoldEndsOnce) {
  const PipeCall write = Write({1, 2}, 0, "ab");
  const PipeCall held = Held({3, 4}, 0, "ab");
  EXPECT_TRUE(Legal({write, held, Accept({5, 9}), Stale(Release({5, 9}))}));
  EXPECT_TRUE(Legal({write, held, Stale(Accept({5, 9})), Release({5, 9})}));
  EXPECT_FALSE(Legal({write, held, Accept({5, 9}), Release({5, 9})}));
  EXPECT_FALSE(Legal({write, held, Accept({5, 9}), Accept({5, 9})}));
  EXPECT_FALSE(Legal({write, held, Release({5, 9}), Release({5, 9})}));
}

TEST_F(PipeCheckerTest, NothingIsAcceptedAfterItWasPutBack) {
  const PipeCall write = Write({1, 2}, 0, "ab");
  const PipeCall held = Held({3, 4}, 0, "ab");
  EXPECT_TRUE(Legal({write, held, Accept({5, 6}, 1), Release({7, 8})}));
  EXPECT_FALSE(Legal({write, held, Release({5, 6}), Accept({7, 8}, 1)}));
  EXPECT_FALSE(Legal({write, held, Stale(Release({5, 6})), Accept({7, 8})}));
}

TEST_F(PipeCheckerTest, WhatWasPutBackIsReadBeforeWhatIsBehindIt) {
  const PipeCall write = Write({1, 2}, 0, "abcd");
  const PipeCall held = Held({3, 4}, 0, "ab");
  const PipeCall release = Release({5, 6});
  const PipeCall behind = Read({7, 8}, 2, "cd");
  EXPECT_FALSE(Legal({write, held, release, behind}));
  EXPECT_TRUE(Legal({write, held, release, Read({6, 8}, 2, "cd")}));
  // Somebody has had it, or may have.
  EXPECT_TRUE(Legal(
      {write, held, release, Redelivered(Read({7, 9}, 0, "ab")), behind}));
  EXPECT_TRUE(
      Legal({write, held, release, NoData(Outcome::kUnknown, {7, 9}), behind}));
  EXPECT_FALSE(Legal(
      {write, held, release, behind, Redelivered(Read({9, 10}, 0, "ab"))}));
  // The same of what went back in another way, by that time.
  PipeCall returned = NotTaken(Read({3, 4}, 0, "ab"));
  EXPECT_TRUE(Legal({write, returned, behind}));
  returned.put_back_by = 6;
  EXPECT_FALSE(Legal({write, returned, behind}));
  // Whoever accepts too late knows that it is back.
  EXPECT_FALSE(Legal({write, held, Stale(Accept({5, 6})), behind}));
}

TEST_F(PipeCheckerTest, IncarnationsRiseOverARestart) {
  RestartAt(5);
  PipeCall later = Write({7, 8}, 0, "ab");
  EXPECT_FALSE(Legal({Write({1, 2}, 0, "ab"), later}));
  later.incarnation = kIncarnation + 1;
  EXPECT_TRUE(Legal({Write({1, 2}, 0, "ab"), later}));
  later.incarnation = kIncarnation - 1;
  EXPECT_FALSE(Legal({Write({1, 2}, 0, "ab"), later}));
}

}  // namespace
}  // namespace waitq::history
