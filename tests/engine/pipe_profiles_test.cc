// Pipes of packets, the profiles, reads with a least size, and polling.

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "server/engine/error.h"
#include "tests/engine/calls.h"
#include "tests/engine/engine_fixture.h"

namespace waitq::engine {
namespace {

class PipeProfilesTest : public EngineTest {
 protected:
  void Make(absl::string_view name, const PipeOptionsRequest& options) {
    const absl::StatusOr<bool> made =
        engine().Create(name, {.kind = ObjectKind::kPipe, .pipe = options});
    ASSERT_TRUE(made.ok()) << made.status();
  }
  std::string ErrorOf(const PipeOptionsRequest& options) {
    return DetailsOf(
               engine()
                   .Create("bad", {.kind = ObjectKind::kPipe, .pipe = options})
                   .status())
        .reason;
  }
  void ExpectBytes(ReadCall& call, const std::string& data) {
    EXPECT_EQ(EndingOf(call), Ending::kDone);
    EXPECT_EQ(std::string(call->data()), data);
  }
};

const PipeOptionsRequest kPackets{.mode = PipeMode::kPacket};
const PipeOptionsRequest kQueue{.profile = PipeProfile::kQueue};

PipeOptionsRequest Scull(uint64_t bytes) {
  return {.capacity_bytes = bytes, .profile = PipeProfile::kScull};
}

// --- Packets -----------------------------------------------------------------

TEST_F(PipeProfilesTest, AReadTakesOnePacketWhole) {
  Make("p", kPackets);
  WriteNow("p", "one");
  WriteNow("p", "three");
  ExpectBytes(Read("p", 100), "one");
  ExpectBytes(Read("p", 5), "three");
}

TEST_F(PipeProfilesTest, APacketIsNeverCut) {
  Make("p", kPackets);
  WriteNow("p", "three");
  EXPECT_EQ(EndingOf(Read("p", 4)), Ending::kTooLong);
  ExpectBytes(Read("p", 5), "three");
}

TEST_F(PipeProfilesTest, ASleeperThatAskedForTooLittleDoesNotKeepThePacket) {
  Make("p", kPackets);
  ReadCall& small = Read("p", 4);
  ReadCall& large = Read("p", 5);
  WriteNow("p", "three");
  EXPECT_EQ(EndingOf(small), Ending::kTooLong);
  ExpectBytes(large, "three");
}

TEST_F(PipeProfilesTest, APacketCosts64BytesBesideItsOwn) {
  Make("p", {.capacity_bytes = 3 * 65 + 64, .mode = PipeMode::kPacket});
  for (const char* data : {"a", "b", "c"}) WriteNow("p", data);
  WriteCall& fourth = Write("p", "d");
  EXPECT_TRUE(Asleep(fourth));
  ExpectBytes(Read("p", 1), "a");
  EXPECT_EQ(EndingOf(fourth), Ending::kDone);
  for (const char* data : {"b", "c", "d"}) ExpectBytes(Read("p", 1), data);
}

TEST_F(PipeProfilesTest, APacketThatCouldNeverFitIsRefused) {
  Make("p", {.capacity_bytes = 74, .mode = PipeMode::kPacket});
  EXPECT_EQ(EndingOf(Write("p", "elevenbytes")), Ending::kTooLong);
  WriteNow("p", "tenbytes10");
  ReadNow("p");
}

TEST_F(PipeProfilesTest, APacketAboveTheAtomicSizeIsWholeToo) {
  Make("p", {.capacity_bytes = 1000,
             .atomic_max_bytes = 10,
             .mode = PipeMode::kPacket});
  WriteNow("p", std::string(800, 'x'));
  WriteCall& big = Write("p", std::string(900, 'y'));
  EXPECT_TRUE(Asleep(big));
  EXPECT_EQ(big->accepted_bytes(), 0u);
  ExpectBytes(Read("p", 1000), std::string(800, 'x'));
  EXPECT_EQ(EndingOf(big), Ending::kDone);
  ExpectBytes(Read("p", 1000), std::string(900, 'y'));
}

TEST_F(PipeProfilesTest, AnEmptyPacketIsNone) {
  Make("p", kPackets);
  EXPECT_EQ(EndingOf(Write("p", "")), Ending::kDone);
  EXPECT_EQ(EndingOf(Read("p", 1, Nonblock())), Ending::kWouldBlock);
}

TEST_F(PipeProfilesTest, ABrokenEndOfPacketsStandsBetweenTwo) {
  Make("p", {.mode = PipeMode::kPacket, .profile = PipeProfile::kFifo});
  PipeWriter& writer = OpenWriter("p");
  Write(writer, "one");
  Close(writer, /*clean=*/false);
  WriteNow("p", "two");
  ExpectBytes(Read("p", 9), "one");
  EXPECT_EQ(EndingOf(Read("p", 9)), Ending::kEndOfFile);
  ExpectBytes(Read("p", 9), "two");
}

class LargePacketTest : public EngineTest {
 protected:
  static Limits Large() {
    Limits limits;
    limits.objects = 10;
    limits.sleepers = limits.sleepers_per_object = 10;
    limits.pipe_bytes = limits.pipe_bytes_in_all = 16 << 20;
    limits.bytes_asleep = 10;
    return limits;
  }
  LargePacketTest() : EngineTest(Large()) {}
};

// It could be written and never be read, and nothing behind it.
TEST_F(LargePacketTest, APacketThatNoAnswerCarriesIsRefused) {
  const CreateOptions options{
      .kind = ObjectKind::kPipe,
      .pipe = {.capacity_bytes = 16 << 20, .mode = PipeMode::kPacket}};
  ASSERT_TRUE(engine().Create("p", options).ok());
  EXPECT_EQ(EndingOf(Write("p", std::string(kAnswerBytesMax + 1, 'x'))),
            Ending::kTooLong);
  WriteNow("p", std::string(kAnswerBytesMax, 'x'));
  ReadCall& read = Read("p", kAnswerBytesMax);
  EXPECT_EQ(EndingOf(read), Ending::kDone);
  EXPECT_EQ(read->data().size(), kAnswerBytesMax);
}

// Many small packets are bounded in all pipes together, not only in each.
class PacketLimitTest : public EngineTest {
 protected:
  static Limits Few() {
    Limits limits;
    limits.objects = 10;
    limits.sleepers = limits.sleepers_per_object = 10;
    limits.pipe_bytes = limits.pipe_bytes_in_all = 200;
    limits.bytes_asleep = 10;
    return limits;
  }
  PacketLimitTest() : EngineTest(Few()) {}
};

TEST_F(PacketLimitTest, WhatPacketsCostCountsAmongTheBytesInAllPipes) {
  for (const char* name : {"p", "q"}) {
    ASSERT_TRUE(engine()
                    .Create(name, {.kind = ObjectKind::kPipe, .pipe = kPackets})
                    .ok());
  }
  WriteNow("p", "a");
  WriteNow("p", "b");
  WriteNow("q", "sixsix");  // 65 + 65 + 70
  WriteCall& more = Write("q", "c");
  EXPECT_EQ(EndingOf(more), Ending::kLimit);
  EXPECT_STREQ(more->limit(), "pipe-bytes-in-all");
  EXPECT_EQ(ReadNow("p"), "a");
  WriteNow("q", "c");
  ASSERT_TRUE(engine().Remove("q", false).ok());
  WriteNow("p", std::string(200 - 65 - 64, 'd'));
  ReadNow("p");
  ReadNow("p");
}

// --- Queue: no ends ----------------------------------------------------------

TEST_F(PipeProfilesTest, PacketsAreAQueueUnlessToldOtherwise) {
  Make("p", kPackets);
  EXPECT_EQ(StatPipe("p").options.profile, PipeProfile::kQueue);
  Make("s", {});
  EXPECT_EQ(StatPipe("s").options.profile, PipeProfile::kFifo);
}

TEST_F(PipeProfilesTest, AQueueOutlivesItsReadersAndWriters) {
  Make("q", kQueue);
  Close(OpenReader("q"));
  WriteNow("q", "ab");  // no EPIPE
  PipeWriter& writer = OpenWriter("q");
  Write(writer, "c");
  Close(writer, /*clean=*/false);
  ExpectBytes(Read("q", 2), "ab");
  ExpectBytes(Read("q", 2), "c");
  ReadCall& read = Read("q", 1);  // no end of file
  EXPECT_TRUE(Asleep(read));
  Close(OpenWriter("q"));
  EXPECT_TRUE(Asleep(read));
  WriteNow("q", "d");
  ExpectBytes(read, "d");
}

// --- Scull: the ring ---------------------------------------------------------

TEST_F(PipeProfilesTest, AScullPipeHoldsOneByteLessThanItsSize) {
  Make("s", Scull(4));
  WriteCall& write = Write("s", "abcdef");
  EXPECT_EQ(EndingOf(write), Ending::kDone) << "partial writes are normal";
  EXPECT_EQ(write->accepted_bytes(), 3u);
  EXPECT_EQ(std::string(write->TakeRest()), "def");
  EXPECT_TRUE(Asleep(Write("s", "x")));
  ExpectBytes(Read("s", 10), "abc");
  ExpectBytes(Read("s", 10), "x");
}

TEST_F(PipeProfilesTest, ReadsAndWritesOfAScullPipeStopAtTheWrap) {
  Make("s", Scull(4));
  WriteNow("s", "abc");
  ExpectBytes(Read("s", 2), "ab");
  WriteCall& write = Write("s", "def");
  EXPECT_EQ(write->accepted_bytes(), 1u) << "to the end of the ring";
  WriteNow("s", "e");
  ExpectBytes(Read("s", 10), "cd");
  ExpectBytes(Read("s", 10), "e");
}

TEST_F(PipeProfilesTest, AScullPipeHasNoEndOfFileAndKeepsItsDataOnOpen) {
  Make("s", Scull(10));
  WriteNow("s", "ab");
  Close(OpenWriter("s"));
  PipeReader& reader = OpenReader("s");
  ExpectBytes(Read(reader, 10), "ab");
  ReadCall& read = Read(reader, 10);
  EXPECT_TRUE(Asleep(read));
  WriteNow("s", "c");
  ExpectBytes(read, "c");
}

// --- Reads with a least size -------------------------------------------------

TEST_F(PipeProfilesTest, AReadWaitsForItsLeastSize) {
  ReadCall& read = Read("p", {10, 4});
  WriteNow("p", "abc");
  EXPECT_TRUE(Asleep(read));
  WriteNow("p", "def");
  ExpectBytes(read, "abcdef");
}

TEST_F(PipeProfilesTest, TheFirstInLineIsNotPassedThoughItWaitsForMore) {
  ReadCall& large = Read("p", {10, 4});
  ReadCall& small = Read("p", 1);
  WriteNow("p", "abc");
  EXPECT_TRUE(Asleep(small));
  WriteNow("p", "defghijk");
  ExpectBytes(large, "abcdefghij");
  ExpectBytes(small, "k");
}

TEST_F(PipeProfilesTest, AnUnmetLeastSizeTakesNothingAtTheTimeout) {
  SleepOptions sleep = For(absl::Seconds(1));
  ReadCall& read = Read("p", {10, 4}, sleep);
  WriteNow("p", "abc");
  clock().Advance(absl::Seconds(1));
  EXPECT_EQ(EndingOf(read), Ending::kTimedOut);
  ExpectBytes(Read("p", 10), "abc");
  EXPECT_EQ(EndingOf(Read("p", {10, 4}, Nonblock())), Ending::kWouldBlock);
}

TEST_F(PipeProfilesTest, AtTheEndOfFileTheRestIsGiven) {
  PipeWriter& writer = OpenWriter("p");
  ReadCall& read = Read("p", {10, 4});
  Write(writer, "abc");
  EXPECT_TRUE(Asleep(read));
  Close(writer);
  ExpectBytes(read, "abc");
  EXPECT_EQ(EndingOf(Read("p", {10, 4})), Ending::kEndOfFile);
}

TEST_F(PipeProfilesTest, BeforeABrokenEndTheRestIsGiven) {
  PipeWriter& writer = OpenWriter("p");
  Write(writer, "abc");
  Close(writer, /*clean=*/false);
  WriteNow("p", "defgh");
  ExpectBytes(Read("p", {10, 4}), "abc");
  ReadCall& end = Read("p", {10, 4});
  EXPECT_EQ(EndingOf(end), Ending::kEndOfFile);
  EXPECT_TRUE(end->broken());
  ExpectBytes(Read("p", {10, 4}), "defgh");
}

// --- Poll --------------------------------------------------------------------

TEST_F(PipeProfilesTest, PollTellsWhatCanBeDone) {
  MakePipe("p", 10, 4);
  PollCall& out = Poll("p", true, true);
  EXPECT_EQ(EndingOf(out), Ending::kDone);
  EXPECT_TRUE(out->events().out);
  EXPECT_FALSE(out->events().in);
  WriteNow("p", "abcdefg");
  PollCall& in = Poll("p", true, true);
  EXPECT_TRUE(in->events().in);
  EXPECT_FALSE(in->events().out) << "a write of 4 bytes would sleep";
  ReadNow("p");
}

TEST_F(PipeProfilesTest, PollersSleepUntilTheirEventAndAllSeeIt) {
  PollCall& one = Poll("p", true, false);
  PollCall& two = Poll("p", true, false);
  ReadCall& reader = Read("p", 10);
  EXPECT_TRUE(Asleep(one));
  WriteNow("p", "abc");
  // Before the reader has taken it, as the kernel wakes pollers first.
  EXPECT_EQ(EndingOf(one), Ending::kDone);
  EXPECT_EQ(EndingOf(two), Ending::kDone);
  EXPECT_TRUE(one->events().in);
  ExpectBytes(reader, "abc");
}

TEST_F(PipeProfilesTest, AnotherEventDoesNotEndAPoll) {
  MakePipe("p", 4);
  WriteNow("p", "abcd");
  PollCall& out = Poll("p", false, true);
  EXPECT_TRUE(Asleep(out));
  ExpectBytes(Read("p", 3), "abc");
  EXPECT_TRUE(Asleep(out)) << "4 bytes at once do not fit";
  ExpectBytes(Read("p", 3), "d");
  EXPECT_EQ(EndingOf(out), Ending::kDone);
}

TEST_F(PipeProfilesTest, HupAndErrAreAlwaysAskedFor) {
  PollCall& hup = Poll("p", false, false);
  EXPECT_TRUE(Asleep(hup)) << "no writer has been there";
  PipeWriter& writer = OpenWriter("p");
  EXPECT_TRUE(Asleep(hup));
  Close(writer);
  EXPECT_TRUE(hup->events().hup);
  PollCall& err = Poll("q", false, false);
  Close(OpenReader("q"));
  EXPECT_EQ(EndingOf(err), Ending::kDone);
  EXPECT_TRUE(err->events().err);
}

// Each line: what happens, and what a poll that knew what was before it is
// told. Guards `known_`, and the walks of OpenReader() and OpenWriter().
TEST_F(PipeProfilesTest, WhoKnowsWhatIsThereIsToldWhenItIsSomethingElse) {
  MakePipe("p", 4);
  PipeEvents known = {.out = true};
  const auto expect = [&](const PipeEvents& next,
                          const std::function<void()>& happens) {
    PollCall& call = PollBeyond("p", true, true, known);
    EXPECT_TRUE(Asleep(call));
    happens();
    EXPECT_EQ(EndingOf(call), Ending::kDone);
    EXPECT_EQ(call->events(), next);
    known = next;
  };
  expect({.in = true, .out = false}, [&] { WriteNow("p", "abcd"); });
  expect({.out = true}, [&] { ReadNow("p"); });
  PipeWriter* writer = &OpenWriter("p");
  expect({.out = true, .hup = true}, [&] { Close(*writer); });
  expect({.out = true}, [&] { writer = &OpenWriter("p"); });
  PipeReader* reader = &OpenReader("p");
  expect({.out = true, .err = true}, [&] { Close(*reader); });
  expect({.out = true}, [&] { reader = &OpenReader("p"); });
  Close(*writer);
  Close(*reader);
}

TEST_F(PipeProfilesTest, WhoKnowsSomethingElseThanWhatIsThereIsToldAtOnce) {
  PollCall& call = PollBeyond("p", true, false, {.in = true});
  EXPECT_EQ(EndingOf(call), Ending::kDone);
  EXPECT_EQ(call->events(), PipeEvents());
}

TEST_F(PipeProfilesTest, APollTimesOutWithNothing) {
  PollCall& call = Poll("p", true, false, For(absl::Seconds(1)));
  clock().Advance(absl::Seconds(1));
  EXPECT_EQ(EndingOf(call), Ending::kTimedOut);
  EXPECT_FALSE(call->events().in);
  EXPECT_EQ(EndingOf(Poll("p", true, false, Nonblock())), Ending::kWouldBlock);
}

// --- Options -----------------------------------------------------------------

TEST_F(PipeProfilesTest, OptionsThatContradictEachOtherAreRefused) {
  EXPECT_EQ(
      ErrorOf({.mode = PipeMode::kPacket, .profile = PipeProfile::kScull}),
      "EINVAL");
  EXPECT_EQ(ErrorOf({.capacity_bytes = 64, .mode = PipeMode::kPacket}),
            "EINVAL");
  EXPECT_EQ(ErrorOf(Scull(1)), "EINVAL");
}

TEST_F(PipeProfilesTest, WhoNamesAnotherModeOrProfileThanThePipesIsRefused) {
  Make("p", {});
  const auto reason = [&](const PipeOptionsRequest& options) {
    return DetailsOf(engine().OpenReader("p", options).status()).reason;
  };
  EXPECT_EQ(reason(kPackets), "EEXIST");
  EXPECT_EQ(reason(kQueue), "EEXIST");
  Close(OpenReader("p", {.mode = PipeMode::kStream}));
  Close(OpenReader("p", {.capacity_bytes = 77}));  // does no harm
}

}  // namespace
}  // namespace waitq::engine
