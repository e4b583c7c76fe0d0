// Reads that hold: what they took is accepted, or put back in its place.

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "server/engine/caller_info.h"
#include "server/engine/engine.h"
#include "server/engine/error.h"
#include "tests/engine/calls.h"
#include "tests/engine/engine_fixture.h"
#include "tests/engine/homes.h"
#include "tests/support/random.h"

namespace waitq::engine {
namespace {

constexpr absl::Duration kHold = absl::Seconds(30);

class PipeHoldsTest : public EngineTest {
 protected:
  void TearDown() override {
    reads_.clear();
    RemoveAll(engine());
    home_.Run();
    EngineTest::TearDown();
  }

  // A read that holds.
  ReadOperation& Hold(absl::string_view name, ReadSize size,
                      absl::Duration time = kHold) {
    auto op =
        MakeRef<ReadOperation>(size, nullptr, &home_, nullptr, TestCaller());
    op->HoldFor(time);
    EXPECT_TRUE(engine().Read(name, op, {}).ok());
    return *reads_.emplace_back(std::move(op));
  }
  // What it has got.
  static std::string Data(ReadOperation& op) {
    EXPECT_EQ(op.ending(), Ending::kDone);
    return std::string(op.data());
  }
  static std::string Reason(const absl::Status& status) {
    return DetailsOf(status).reason;
  }
  bool Accept(ReadOperation& op, std::optional<uint64_t> up_to = {}) {
    return engine().Accept("p", op.id(), up_to).ok();
  }

  CollectingHome home_;
  std::vector<Ref<ReadOperation>> reads_;
};

TEST_F(PipeHoldsTest, WhatIsHeldIsNotForOthersAndTakesUpRoom) {
  MakePipe("p", 4);
  WriteNow("p", "abcd");
  ReadOperation& held = Hold("p", 3);
  EXPECT_EQ(Data(held), "abc");
  EXPECT_EQ(held.offset(), 0u);
  EXPECT_FALSE(held.redelivered());
  EXPECT_EQ(StatPipe("p").held_bytes, 3u);
  EXPECT_EQ(StatPipe("p").unread_bytes, 1u);
  EXPECT_EQ(ReadNow("p"), "d");
  WriteCall& write = Write("p", "efgh", Nonblock());
  EXPECT_EQ(EndingOf(write), Ending::kWouldBlock);
  WriteNow("p", "e");
}

TEST_F(PipeHoldsTest, AcceptMakesRoomAtOnceAndPieceByPiece) {
  MakePipe("p", 4, 1);
  WriteNow("p", "abcd");
  ReadOperation& held = Hold("p", 4);
  WriteCall& write = Write("p", "efgh");
  EXPECT_TRUE(Asleep(write));
  EXPECT_TRUE(Accept(held, 1));
  EXPECT_EQ(StatPipe("p").unread_bytes, 1u);
  EXPECT_TRUE(Accept(held, 1)) << "nothing more, and no harm";
  EXPECT_TRUE(Accept(held));
  EXPECT_EQ(EndingOf(write), Ending::kDone);
  EXPECT_EQ(StatPipe("p").held_bytes, 0u);
  EXPECT_EQ(ReadNow("p"), "efgh");
}

TEST_F(PipeHoldsTest, HoldsAreAcceptedInAnyOrder) {
  WriteNow("p", "abcdef");
  ReadOperation& first = Hold("p", 2);
  ReadOperation& second = Hold("p", 2);
  EXPECT_TRUE(Accept(second));
  EXPECT_EQ(StatPipe("p").held_bytes, 2u);
  EXPECT_TRUE(Accept(first));
  EXPECT_EQ(StatPipe("p").held_bytes, 0u);
  EXPECT_EQ(ReadNow("p"), "ef");
}

TEST_F(PipeHoldsTest, WhatIsReleasedIsReadFirstInItsPlaceAndMarked) {
  WriteNow("p", "abcdef");
  ReadOperation& first = Hold("p", 2);
  ReadOperation& second = Hold("p", 2);
  EXPECT_TRUE(engine().Release("p", second.id()).ok());
  EXPECT_TRUE(engine().Release("p", first.id()).ok());
  ReadOperation& again = Hold("p", 100);
  EXPECT_EQ(Data(again), "ab");
  EXPECT_EQ(again.offset(), 0u);
  EXPECT_TRUE(again.redelivered());
  ReadCall& next = Read("p", 1, Nonblock());
  EXPECT_EQ(next->data(), "c");
  EXPECT_TRUE(next->redelivered());
  EXPECT_EQ(next->offset(), 2u);
  EXPECT_EQ(ReadNow("p"), "d");
  ReadCall& fresh = Read("p", 100, Nonblock());
  EXPECT_EQ(fresh->data(), "ef");
  EXPECT_FALSE(fresh->redelivered());
  EXPECT_TRUE(Accept(again));
}

TEST_F(PipeHoldsTest, ASleeperGetsWhatIsReleased) {
  WriteNow("p", "ab");
  ReadOperation& held = Hold("p", 2);
  ReadCall& sleeper = Read("p", ReadSize(10, 5));
  EXPECT_TRUE(Asleep(sleeper));
  EXPECT_TRUE(engine().Release("p", held.id()).ok());
  EXPECT_EQ(EndingOf(sleeper), Ending::kDone) << "though it is less than min";
  EXPECT_EQ(sleeper->data(), "ab");
}

TEST_F(PipeHoldsTest, AHoldEndsAtItsTimeAndNotBefore) {
  WriteNow("p", "abcd");
  ReadOperation& longer = Hold("p", 2, absl::Seconds(20));
  ReadOperation& shorter = Hold("p", 2, absl::Seconds(10));
  ReadCall& sleeper = Read("p", 10);
  clock().Advance(absl::Seconds(10) - absl::Nanoseconds(1));
  EXPECT_TRUE(Asleep(sleeper));
  clock().Advance(absl::Milliseconds(1));
  EXPECT_EQ(EndingOf(sleeper), Ending::kDone);
  EXPECT_EQ(sleeper->data(), "cd");
  EXPECT_TRUE(sleeper->redelivered());
  EXPECT_EQ(Reason(engine().Accept("p", shorter.id(), {})), "ESTALE");
  EXPECT_TRUE(Accept(longer));
  clock().Advance(absl::Minutes(1));
  EXPECT_EQ(StatPipe("p").unread_bytes, 0u) << "what was accepted is gone";
}

TEST_F(PipeHoldsTest, ALateAcceptIsStaleAndChangesNothing) {
  WriteNow("p", "abcd");
  ReadOperation& held = Hold("p", 4);
  EXPECT_TRUE(engine().Release("p", held.id()).ok());
  EXPECT_EQ(Reason(engine().Accept("p", held.id(), {})), "ESTALE");
  EXPECT_EQ(Reason(engine().Accept("p", held.id(), 2)), "ESTALE");
  EXPECT_EQ(Reason(engine().Release("p", held.id())), "ESTALE");
  EXPECT_EQ(ReadNow("p"), "abcd");
  EXPECT_EQ(Reason(engine().Accept("p", 12345, {})), "ESTALE");
  EXPECT_EQ(Reason(engine().Accept("none", held.id(), {})), "ENOENT");
}

TEST_F(PipeHoldsTest, AcceptBesideWhatIsHeldIsStale) {
  WriteNow("p", "0123456789");
  ReadNow("p", 4);
  ReadOperation& held = Hold("p", 3);  // 4 to 7
  EXPECT_EQ(Reason(engine().Accept("p", held.id(), 3)), "ESTALE");
  EXPECT_EQ(Reason(engine().Accept("p", held.id(), 8)), "ESTALE");
  EXPECT_TRUE(Accept(held, 6));
  EXPECT_EQ(Reason(engine().Accept("p", held.id(), 5)), "ESTALE");
  EXPECT_EQ(StatPipe("p").held_bytes, 1u);
  EXPECT_TRUE(Accept(held, 7));
}

TEST_F(PipeHoldsTest, TheRestOfAPartlyAcceptedHoldIsPutBack) {
  WriteNow("p", "abcdef");
  ReadOperation& held = Hold("p", 4);
  EXPECT_TRUE(Accept(held, 3));
  EXPECT_TRUE(engine().Release("p", held.id()).ok());
  ReadCall& again = Read("p", 10, Nonblock());
  EXPECT_EQ(again->data(), "d");
  EXPECT_EQ(again->offset(), 3u);
}

// --- Ends --------------------------------------------------------------------

TEST_F(PipeHoldsTest, TheEndOfTheFileWaitsForWhatIsHeld) {
  for (const bool clean : {true, false}) {
    SCOPED_TRACE(clean);
    PipeWriter& writer = OpenWriter("p");
    Write(writer, "abcd");
    ReadOperation& first = Hold("p", 2);
    ReadOperation& second = Hold("p", 2);
    Close(writer, clean);
    ReadCall& sleeper = Read("p", 10);
    EXPECT_TRUE(Asleep(sleeper));
    EXPECT_TRUE(Accept(second));
    EXPECT_TRUE(Asleep(sleeper));
    EXPECT_TRUE(engine().Release("p", first.id()).ok());
    EXPECT_EQ(EndingOf(sleeper), Ending::kDone);
    EXPECT_EQ(sleeper->data(), "ab");
    ReadCall& end = Read("p", 10);
    EXPECT_EQ(EndingOf(end), Ending::kEndOfFile);
    EXPECT_EQ(end->broken(), !clean);
  }
}

TEST_F(PipeHoldsTest, AcceptOfTheLastBytesLetsTheEndBeSeen) {
  PipeWriter& writer = OpenWriter("p");
  Write(writer, "ab");
  ReadOperation& held = Hold("p", 2);
  Close(writer);
  ReadCall& sleeper = Read("p", 10);
  EXPECT_TRUE(Asleep(sleeper));
  EXPECT_TRUE(Accept(held));
  EXPECT_EQ(EndingOf(sleeper), Ending::kEndOfFile);
}

// --- Packets -----------------------------------------------------------------

class HeldPacketsTest : public PipeHoldsTest {
 protected:
  void SetUp() override {
    CreateOptions options;
    options.kind = ObjectKind::kPipe;
    options.pipe.mode = PipeMode::kPacket;
    options.pipe.capacity_bytes = 2 * (64 + 10);
    ASSERT_TRUE(engine().Create("p", options).ok());
  }
};

TEST_F(HeldPacketsTest, APacketIsPutBackWholeAndInItsPlace) {
  WriteNow("p", "first");
  WriteNow("p", "second");
  ReadOperation& first = Hold("p", 100);
  EXPECT_EQ(Data(first), "first");
  EXPECT_TRUE(engine().Release("p", first.id()).ok());
  ReadCall& small = Read("p", 3, Nonblock());
  EXPECT_EQ(EndingOf(small), Ending::kTooLong);
  EXPECT_EQ(ReadNow("p"), "first");
  EXPECT_EQ(ReadNow("p"), "second");
}

TEST_F(HeldPacketsTest, AHeldPacketCostsWhatItDidUntilItIsAccepted) {
  WriteNow("p", "0123456789");
  WriteNow("p", "0123456789");
  ReadOperation& held = Hold("p", 100);
  WriteCall& write = Write("p", "0123456789");
  EXPECT_TRUE(Asleep(write));
  EXPECT_TRUE(Accept(held, 9));
  EXPECT_TRUE(Asleep(write)) << "its 64 bytes are in use still";
  EXPECT_TRUE(Accept(held));
  EXPECT_EQ(EndingOf(write), Ending::kDone);
}

TEST_F(HeldPacketsTest, ManyReadersGetAPacketEach) {
  for (const char* packet : {"a", "b"}) WriteNow("p", packet);
  ReadOperation& first = Hold("p", 100);
  ReadOperation& second = Hold("p", 100);
  ReadOperation& third = Hold("p", 100);
  EXPECT_EQ(Data(first), "a");
  EXPECT_EQ(Data(second), "b");
  EXPECT_EQ(third.ending(), Ending::kAsleep);
  EXPECT_TRUE(engine().Release("p", second.id()).ok());
  home_.Run();
  EXPECT_EQ(Data(third), "b");
  EXPECT_TRUE(third.redelivered());
}

// --- The pipe's own life -----------------------------------------------------

TEST_F(PipeHoldsTest, RemoveIsBusyWhileSomethingIsHeld) {
  WriteNow("p", "abcd");
  ReadOperation& held = Hold("p", 4);
  EXPECT_EQ(Reason(engine().Remove("p", false).status()), "EBUSY");
  EXPECT_TRUE(engine().Remove("p", true).ok());
  EXPECT_EQ(Reason(engine().Accept("p", held.id(), {})), "ENOENT");
  WriteNow("p", "new");
  EXPECT_EQ(Reason(engine().Accept("p", held.id(), {})), "ESTALE");
  EXPECT_EQ(ReadNow("p"), "new");
}

TEST_F(PipeHoldsTest, APipeIsNotForgottenWhileSomethingIsHeld) {
  WriteNow("p", "abcd");
  ReadOperation& held = Hold("p", 4, 3 * kIdleLife);
  clock().Advance(2 * kIdleLife);
  EXPECT_TRUE(Accept(held));
  clock().Advance(2 * kIdleLife);
  EXPECT_FALSE(engine().Stat("p").ok());
}

// However the last bytes go, the pipe goes after them.
TEST_F(PipeHoldsTest, APipeIsForgottenWhenAHoldWasItsLast) {
  for (const bool release : {true, false}) {
    WriteNow("p", "abcd");
    ReadOperation& held = Hold("p", 4, absl::Seconds(5));
    ReadCall& sleeper = Read("p", 4);
    if (release) {
      EXPECT_TRUE(engine().Release("p", held.id()).ok());
    }
    clock().Advance(absl::Seconds(6));
    EXPECT_EQ(EndingOf(sleeper), Ending::kDone);
    clock().Advance(2 * kIdleLife);
    EXPECT_FALSE(engine().Stat("p").ok()) << release;
  }
}

TEST_F(PipeHoldsTest, APipeMadeByARefusedReadIsForgotten) {
  auto op = MakeRef<ReadOperation>(ReadSize(200'000, 100'000), nullptr, &home_,
                                   nullptr, TestCaller());
  EXPECT_EQ(Reason(engine().Read("p", op, {}).status()), "EINVAL");
  clock().Advance(2 * kIdleLife);
  EXPECT_FALSE(engine().Stat("p").ok());
}

TEST_F(PipeHoldsTest, ReadingNothingHoldsNothing) {
  WriteNow("p", "abcd");
  ReadOperation& nothing = Hold("p", 0);
  EXPECT_EQ(nothing.ending(), Ending::kDone);
  EXPECT_FALSE(nothing.held());
  EXPECT_EQ(Reason(engine().Accept("p", nothing.id(), {})), "ESTALE");
}

// Many holds of a byte each cost more than their bytes.
TEST_F(PipeHoldsTest, AHoldItselfCountsForItsCaller) {
  Limits limits;
  limits.bytes_per_caller = 2 * kHoldCost + 10;
  const auto greedy = std::make_shared<CallerInfo>("peer", "greedy", limits);
  WriteNow("p", "abcd");
  std::vector<Ref<ReadOperation>> reads;
  for (int i = 0; i < 3; ++i) {
    auto op = MakeRef<ReadOperation>(1, nullptr, &home_, nullptr, greedy);
    op->HoldFor(kHold);
    EXPECT_TRUE(engine().Read("p", op, Nonblock()).ok());
    reads.push_back(std::move(op));
  }
  EXPECT_EQ(reads[1]->ending(), Ending::kDone);
  EXPECT_STREQ(reads[2]->limit(), "bytes-per-caller");
  EXPECT_EQ(StatPipe("p").unread_bytes, 2u);
  const uint64_t id = reads[0]->id();
  reads.clear();
  EXPECT_EQ(greedy->bytes().used(), 2 * kHoldCost);
  EXPECT_TRUE(engine().Accept("p", id, {}).ok());
  EXPECT_EQ(greedy->bytes().used(), kHoldCost);
  EXPECT_TRUE(engine().Remove("p", true).ok());
  EXPECT_EQ(greedy->bytes().used(), 0u);
}

TEST_F(PipeHoldsTest, PollSeesWhatWasPutBack) {
  WriteNow("p", "abcd");
  ReadOperation& held = Hold("p", 4);
  PollCall& poll = Poll("p", true, false);
  EXPECT_TRUE(Asleep(poll));
  EXPECT_TRUE(engine().Release("p", held.id()).ok());
  EXPECT_EQ(EndingOf(poll), Ending::kDone);
  EXPECT_TRUE(poll->events().in);
}

TEST_F(PipeHoldsTest, DrainLetsReadersAcceptWhatTheyHold) {
  WriteNow("p", "abcd");
  ReadOperation& held = Hold("p", 4);
  Drain();
  EXPECT_EQ(engine().UnreadPipes().size(), 1u) << "it is not done with";
  EXPECT_TRUE(Accept(held));
  EXPECT_TRUE(engine().UnreadPipes().empty());
}

TEST_F(PipeHoldsTest, AScullPipeKnowsNoHolds) {
  CreateOptions options;
  options.kind = ObjectKind::kPipe;
  options.pipe.profile = PipeProfile::kScull;
  ASSERT_TRUE(engine().Create("p", options).ok());
  auto op = MakeRef<ReadOperation>(10, nullptr, &home_, nullptr, TestCaller());
  op->HoldFor(kHold);
  EXPECT_EQ(Reason(engine().Read("p", op, {}).status()), "EINVAL");
}

// --- All of it ---------------------------------------------------------------

// Readers that hold, accept in pieces, release, forget and come too late: each
// byte is accepted once, and those who read it before were told.
TEST_F(PipeHoldsTest, EveryByteIsAcceptedOnceWhateverReadersDo) {
  const uint64_t seed = test::Seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  test::Random random(seed);
  const int rounds = test::Times(20);
  for (int round = 0; round < rounds; ++round) {
    MakePipe("p", 16 + random.Below(40), 1);
    struct Holding {
      uint64_t id;
      uint64_t begin;
      uint64_t end;
    };
    std::vector<Holding> holding;
    std::set<uint64_t> accepted, seen;
    uint64_t written = 0;
    constexpr uint64_t kBytes = 300;
    const auto byte_at = [](uint64_t offset) {
      return static_cast<char>('a' + offset % 26);
    };
    while (accepted.size() < kBytes) {
      switch (random.Below(6)) {
        case 0: {
          std::string data;
          const uint64_t n =
              std::min<uint64_t>(random.Below(10), kBytes - written);
          for (uint64_t i = 0; i < n; ++i) data += byte_at(written + i);
          WriteCall& write = Write("p", data, Nonblock());
          written += write->accepted_bytes();
          break;
        }
        case 1:
        case 2: {
          auto op = MakeRef<ReadOperation>(1 + random.Below(8), nullptr, &home_,
                                           nullptr, TestCaller());
          op->HoldFor(absl::Seconds(1 + random.Below(5)));
          ASSERT_TRUE(engine().Read("p", op, Nonblock()).ok());
          if (op->ending() != Ending::kDone) break;
          const std::string data(op->data());
          for (size_t i = 0; i < data.size(); ++i) {
            const uint64_t at = op->offset() + i;
            ASSERT_EQ(data[i], byte_at(at));
            ASSERT_EQ(accepted.count(at), 0u) << "it was accepted: " << at;
            ASSERT_EQ(!seen.insert(at).second, op->redelivered()) << at;
          }
          holding.push_back(
              {op->id(), op->offset(), op->offset() + data.size()});
          break;
        }
        case 3:
        case 4: {
          if (holding.empty()) break;
          Holding& held = holding[random.Below(holding.size())];
          if (held.begin == held.end) break;
          const uint64_t up_to =
              held.begin + 1 + random.Below(held.end - held.begin);
          if (engine().Accept("p", held.id, up_to).ok()) {
            for (uint64_t at = held.begin; at < up_to; ++at) {
              ASSERT_TRUE(accepted.insert(at).second) << "twice: " << at;
            }
            held.begin = up_to;
          } else {
            held.begin = held.end;  // too late
          }
          break;
        }
        case 5:
          if (!holding.empty() && random.Below(2) == 0) {
            Holding& held = holding[random.Below(holding.size())];
            (void)engine().Release("p", held.id);
          } else {
            clock().Advance(absl::Milliseconds(random.Below(500)));
          }
          break;
      }
    }
    EXPECT_EQ(StatPipe("p").held_bytes, 0u);
    EXPECT_EQ(StatPipe("p").unread_bytes, 0u);
    EXPECT_TRUE(engine().Remove("p", false).ok());
  }
}

}  // namespace
}  // namespace waitq::engine
