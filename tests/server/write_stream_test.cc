// Pipes.WriteStream: a writer handle.

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fixture.h"
#include "tests/server/wire.h"
#include "tests/support/random.h"
#include "transport/error_info.h"

namespace waitq::test {
namespace {

using ::testing::SizeIs;

constexpr auto kInvalid = grpc::StatusCode::INVALID_ARGUMENT;

class WriteStreamTest : public EverywhereTest {
 protected:
  void MakePipe(const std::string& options) {
    ASSERT_THAT(
        Call<v1::CreateRequest>(client(), "name: 'p' pipe { " + options + " }")
            .status,
        IsOk());
  }
  void AwaitUnread(uint64_t bytes) {
    EXPECT_TRUE(Await([&] {
      return StatOf("p").pipe().unread_bytes() == bytes;
    })) << StatOf("p").DebugString();
  }
  // What a new reader finds: the bytes, and how they end.
  struct Found {
    std::string data;
    v1::ReadStreamResponse end;
  };
  Found ReadToTheEnd() {
    ReadStream reader(client(), "name: 'p' timeout { seconds: 30 }");
    Found found;
    found.data = reader.ReadAll();
    EXPECT_THAT(reader.Finish(), IsOk());
    found.end = reader.last();
    return found;
  }
  void ExpectFile(const std::string& data, bool broken) {
    const Found found = ReadToTheEnd();
    EXPECT_EQ(found.data, data);
    EXPECT_EQ(found.end.outcome(), v1::OUTCOME_END_OF_FILE);
    EXPECT_EQ(found.end.broken(), broken);
  }
};
WAITQ_TEST_EVERYWHERE(WriteStreamTest);

// --- Opening -----------------------------------------------------------------

TEST_P(WriteStreamTest, FirstResponseSaysThatItIsOpen) {
  WriteNow("p", "abc");
  WriteStream writer(client());
  ASSERT_TRUE(writer.Send("open { name: 'p' }"));
  const auto opened = writer.Next();
  ASSERT_TRUE(opened.has_value());
  EXPECT_EQ(opened->accepted_bytes(), 0u);
  EXPECT_EQ(opened->offset(), 3u);
  EXPECT_EQ(opened->incarnation(), StatOf("p").incarnation());
  EXPECT_EQ(opened->outcome(), v1::OUTCOME_UNSPECIFIED);
  EXPECT_EQ(StatOf("p").pipe().writers(), 1u);
}

TEST_P(WriteStreamTest, PipeIsMadeWithTheOptionsThatAreAskedFor) {
  WriteStream writer(client(), "name: 'p' options { capacity_bytes: 7 }");
  EXPECT_EQ(StatOf("p").pipe().capacity_bytes(), 7u);
  EXPECT_EQ(StatOf("p").pipe().atomic_max_bytes(), 7u);
}

TEST_P(WriteStreamTest, FirstMessageMustOpen) {
  for (const char* text : {"data: 'x'", "data: ''", ""}) {
    WriteStream writer(client());
    writer.Send(text);
    EXPECT_THAT(writer.Finish(), FailsWith(kInvalid, "EINVAL")) << text;
  }
}

TEST_P(WriteStreamTest, OpensOnlyOnce) {
  WriteStream writer(client(), "name: 'p'");
  ASSERT_TRUE(writer.Write("abc"));
  writer.Send("open { name: 'p' }");
  EXPECT_THAT(writer.Finish(), FailsWith(kInvalid, "EINVAL"));
  EXPECT_EQ(writer.last().accepted_bytes(), 3u);
  ExpectFile("abc", /*broken=*/true);
}

TEST_P(WriteStreamTest, NoMessageAtAllIsRefused) {
  WriteStream writer(client());
  EXPECT_THAT(writer.Close(), FailsWith(kInvalid, "EINVAL"));
}

TEST_P(WriteStreamTest, MessageThatSaysNothingIsRefused) {
  WriteStream writer(client(), "name: 'p'");
  writer.Send("");
  EXPECT_THAT(writer.Close(), FailsWith(kInvalid, "EINVAL"));
}

// --- Progress ----------------------------------------------------------------

TEST_P(WriteStreamTest, ProgressIsToldWithItsOffset) {
  WriteNow("p", "before");
  WriteStream writer(client(), "name: 'p'");
  ASSERT_TRUE(writer.Write("abc"));
  ASSERT_TRUE(writer.AwaitAccepted(3));
  EXPECT_EQ(writer.last().offset(), 9u);
  ASSERT_TRUE(writer.Write("de"));
  ASSERT_TRUE(writer.AwaitAccepted(5));
  EXPECT_EQ(writer.last().offset(), 11u);
  EXPECT_THAT(writer.Close(), IsOk());
  EXPECT_EQ(writer.last().outcome(), v1::OUTCOME_DONE);
  EXPECT_EQ(writer.last().accepted_bytes(), 5u);
  EXPECT_EQ(writer.last().sleeps(), 0u);
}

TEST_P(WriteStreamTest, EmptyDataIsNothing) {
  WriteStream writer(client(), "name: 'p'");
  ASSERT_TRUE(writer.Write(""));
  ASSERT_TRUE(writer.Write("a"));
  ASSERT_TRUE(writer.Write(""));
  EXPECT_THAT(writer.Close(), IsOk());
  EXPECT_EQ(writer.last().accepted_bytes(), 1u);
  ExpectFile("a", /*broken=*/false);
}

TEST_P(WriteStreamTest, FullPipeStopsItAndAReaderLetsItGoOn) {
  MakePipe("capacity_bytes: 4 atomic_max_bytes: 1");
  WriteStream writer(client(), "name: 'p'");
  ASSERT_TRUE(writer.Write("abcdef"));
  AwaitAsleep(1);
  EXPECT_EQ(ReadNow("p").data(), "abcd");
  ASSERT_TRUE(writer.AwaitAccepted(6));
  EXPECT_EQ(writer.last().sleeps(), 1u);
  EXPECT_EQ(ReadNow("p").data(), "ef");
}

TEST_P(WriteStreamTest, FullPipeStopsTheSender) {
  MakePipe("capacity_bytes: 4096");
  WriteStream writer(client(), "name: 'p'");
  // The client goes on sending until gRPC's windows are full, and then blocks:
  // what it has sent is bounded, and all arrives when somebody reads.
  std::atomic<uint64_t> sent{0};
  std::thread sender([&] {
    const std::string data(16'384, 'x');
    for (int i = 0; i < 256; ++i) {
      if (!writer.Write(data)) return;
      sent += data.size();
    }
  });
  AwaitAsleep(1);
  uint64_t before = 0;
  EXPECT_TRUE(Await([&] {
    const uint64_t now = sent;
    return std::exchange(before, now) == now;
  }));
  EXPECT_LT(sent, 1u << 20);
  ReadStream reader(client(), "name: 'p'");
  EXPECT_THAT(reader.ReadBytes(4 << 20), SizeIs(4 << 20));
  sender.join();
  EXPECT_THAT(writer.Close(), IsOk());
  EXPECT_EQ(writer.last().accepted_bytes(), 4u << 20);
}

TEST_P(WriteStreamTest, TimeoutEndsItAndBreaksTheFile) {
  MakePipe("capacity_bytes: 4 atomic_max_bytes: 1");
  WriteStream writer(client(), "name: 'p' timeout { nanos: 200000000 }");
  ASSERT_TRUE(writer.Write("abcdef"));
  EXPECT_THAT(writer.Finish(), IsOk());
  EXPECT_EQ(writer.last().outcome(), v1::OUTCOME_TIMED_OUT);
  EXPECT_EQ(writer.last().accepted_bytes(), 4u);
  EXPECT_EQ(writer.last().sleeps(), 1u);
  ExpectFile("abcd", /*broken=*/true);
}

TEST_P(WriteStreamTest, NonblockEndsWhereItWouldSleep) {
  MakePipe("capacity_bytes: 4 atomic_max_bytes: 4");
  WriteStream writer(client(), "name: 'p' nonblock: true");
  ASSERT_TRUE(writer.Write("abc"));
  ASSERT_TRUE(writer.Write("de"));
  EXPECT_THAT(writer.Finish(), IsOk());
  EXPECT_EQ(writer.last().outcome(), v1::OUTCOME_WOULD_BLOCK);
  EXPECT_EQ(writer.last().accepted_bytes(), 3u);
  ExpectFile("abc", /*broken=*/true);
}

// --- The end of the file -----------------------------------------------------

TEST_P(WriteStreamTest, CloseEndsTheFileAlsoBeforeAReaderComes) {
  WriteStream writer(client(), "name: 'p'");
  ASSERT_TRUE(writer.Write("abc"));
  EXPECT_THAT(writer.Close(), IsOk());
  ExpectFile("abc", /*broken=*/false);
}

TEST_P(WriteStreamTest, CloseWithoutAByteIsAnEmptyFile) {
  WriteStream writer(client(), "name: 'p'");
  EXPECT_THAT(writer.Close(), IsOk());
  EXPECT_EQ(writer.last().outcome(), v1::OUTCOME_DONE);
  ExpectFile("", /*broken=*/false);
}

TEST_P(WriteStreamTest, CloseComesOnlyWhenAllIsAccepted) {
  MakePipe("capacity_bytes: 4 atomic_max_bytes: 1");
  WriteStream writer(client(), "name: 'p'");
  ASSERT_TRUE(writer.Write("abcdef"));
  writer.HalfClose();
  AwaitAsleep(1);
  EXPECT_EQ(StatOf("p").pipe().writers(), 1u);
  ExpectFile("abcdef", /*broken=*/false);
  EXPECT_THAT(writer.Finish(), IsOk());
  EXPECT_EQ(writer.last().accepted_bytes(), 6u);
}

TEST_P(WriteStreamTest, CancelBreaksTheFile) {
  WriteStream writer(client(), "name: 'p'");
  ASSERT_TRUE(writer.Write("abc"));
  ASSERT_TRUE(writer.AwaitAccepted(3));
  writer.Cancel();
  ExpectFile("abc", /*broken=*/true);
}

TEST_P(WriteStreamTest, CancelWhileItSleepsBreaksTheFile) {
  MakePipe("capacity_bytes: 4 atomic_max_bytes: 1");
  WriteStream writer(client(), "name: 'p'");
  ASSERT_TRUE(writer.Write("abcdef"));
  AwaitAsleep(1);
  writer.Cancel();
  AwaitAsleep(0);
  ExpectFile("abcd", /*broken=*/true);
}

TEST_P(WriteStreamTest, DeadConnectionBreaksTheFile) {
  Wire wire(server().address());
  const auto far = ClientOf(wire.address());
  WriteStream writer(*far, "name: 'p'");
  ASSERT_TRUE(writer.Write("abc"));
  ASSERT_TRUE(writer.AwaitAccepted(3));
  wire.Cut();
  ExpectFile("abc", /*broken=*/true);
}

// A cut may come between any two bytes: never is what has arrived shown as a
// whole file.
TEST_P(WriteStreamTest, ConnectionThatDiesInTheMiddleNeverLooksLikeAClose) {
  Random random(Seed());
  for (int i = 0; i < Times(40); ++i) {
    Wire wire(server().address());
    const auto far = ClientOf(wire.address());
    WriteStream writer(*far, "name: 'p'");
    std::thread sender([&] {
      const std::string data(20'000, 'x');
      while (writer.Write(data)) {
      }
    });
    ReadStream reader(client(), "name: 'p'");
    reader.ReadBytes(random.Below(300'000));
    wire.Cut();
    reader.ReadAll();
    EXPECT_THAT(reader.Finish(), IsOk());
    ASSERT_EQ(reader.last().outcome(), v1::OUTCOME_END_OF_FILE);
    ASSERT_TRUE(reader.last().broken()) << "round " << i;
    sender.join();
  }
}

TEST_P(WriteStreamTest, CancelAtAnyTimeNeverLooksLikeAClose) {
  Random random(Seed());
  for (int i = 0; i < Times(100); ++i) {
    WriteStream writer(client(), "name: 'p'");
    ReadStream reader(client(), "name: 'p'");
    const uint64_t messages = random.Below(4);
    for (uint64_t n = 0; n < messages; ++n) {
      ASSERT_TRUE(writer.Write("0123456789"));
    }
    if (random.OneIn(2)) writer.AwaitAccepted(10 * random.Below(messages + 1));
    writer.Cancel();
    reader.ReadAll();
    EXPECT_THAT(reader.Finish(), IsOk());
    ASSERT_EQ(reader.last().outcome(), v1::OUTCOME_END_OF_FILE);
    ASSERT_TRUE(reader.last().broken()) << "round " << i;
  }
}

TEST_P(WriteStreamTest, BrokenWriterBreaksTheFileOfAllThatAreOpen) {
  WriteStream first(client(), "name: 'p'");
  WriteStream second(client(), "name: 'p'");
  ASSERT_TRUE(first.Write("abc"));
  ASSERT_TRUE(first.AwaitAccepted(3));
  first.Cancel();
  AwaitHandles("p", 0, 1);
  ASSERT_TRUE(second.Write("def"));
  EXPECT_THAT(second.Close(), IsOk());
  ExpectFile("abcdef", /*broken=*/true);
}

// --- No readers --------------------------------------------------------------

TEST_P(WriteStreamTest, LastReaderThatLeavesIsEpipeAfterTheProgress) {
  WriteStream writer(client(), "name: 'p'");
  {
    ReadStream reader(client(), "name: 'p'");
    ASSERT_TRUE(writer.Write("abc"));
    EXPECT_EQ(reader.ReadBytes(3), "abc");
  }
  AwaitHandles("p", 0, 1);
  writer.Write("def");
  EXPECT_THAT(writer.Finish(),
              FailsWith(grpc::StatusCode::FAILED_PRECONDITION, "EPIPE"));
  EXPECT_EQ(writer.last().accepted_bytes(), 3u);
  EXPECT_EQ(writer.last().outcome(), v1::OUTCOME_UNSPECIFIED);
}

TEST_P(WriteStreamTest, LastReaderThatLeavesEndsAWriterThatSleeps) {
  MakePipe("capacity_bytes: 4 atomic_max_bytes: 1");
  WriteStream writer(client(), "name: 'p'");
  {
    ReadStream reader(client(), "name: 'p' window_bytes: 1");
    ASSERT_TRUE(writer.Write("abcdefgh"));
    EXPECT_EQ(reader.ReadBytes(1), "a");
    AwaitAsleep(1);
  }
  EXPECT_THAT(writer.Finish(),
              FailsWith(grpc::StatusCode::FAILED_PRECONDITION, "EPIPE"));
  EXPECT_EQ(writer.last().accepted_bytes(), 5u);
}

TEST_P(WriteStreamTest, UnaryWriteAfterTheLastReaderIsEpipe) {
  { ReadStream reader(client(), "name: 'p'"); }
  AwaitHandles("p", 0, 0);
  EXPECT_THAT(Call<v1::WriteRequest>(client(), "name: 'p' data: 'x'").status,
              FailsWith(grpc::StatusCode::FAILED_PRECONDITION, "EPIPE"));
}

// --- Remove ------------------------------------------------------------------

TEST_P(WriteStreamTest, RemoveIsBusyWhileItIsOpen) {
  WriteStream writer(client(), "name: 'p'");
  EXPECT_THAT(Call<v1::RemoveRequest>(client(), "name: 'p'").status,
              FailsWith(grpc::StatusCode::FAILED_PRECONDITION, "EBUSY"));
  ASSERT_TRUE(writer.Write("abc"));
  EXPECT_THAT(writer.Close(), IsOk());
  EXPECT_THAT(Call<v1::RemoveRequest>(client(), "name: 'p'").status, IsOk());
}

TEST_P(WriteStreamTest, ForcedRemoveEndsReadersAndWritersThatSleep) {
  MakePipe("capacity_bytes: 4 atomic_max_bytes: 1");
  WriteStream writer(client(), "name: 'p'");
  ASSERT_TRUE(writer.Write("abcdef"));
  AwaitAsleep(1);
  const auto remove =
      Call<v1::RemoveRequest>(client(), "name: 'p' force: true");
  ASSERT_THAT(remove.status, IsOk());
  EXPECT_EQ(remove.response.ended(), 1u);
  EXPECT_THAT(writer.Finish(), FailsWith(grpc::StatusCode::ABORTED, "EIDRM"));
  EXPECT_EQ(writer.last().accepted_bytes(), 4u);
}

TEST_P(WriteStreamTest, ForcedRemoveEndsAWriterThatSaysNothing) {
  WriteStream writer(client(), "name: 'p'");
  ASSERT_TRUE(writer.Write("abc"));
  ASSERT_TRUE(writer.AwaitAccepted(3));
  const auto remove =
      Call<v1::RemoveRequest>(client(), "name: 'p' force: true");
  ASSERT_THAT(remove.status, IsOk());
  EXPECT_EQ(remove.response.ended(), 0u) << "it was no sleeper";
  EXPECT_THAT(writer.Finish(), FailsWith(grpc::StatusCode::ABORTED, "EIDRM"));
  EXPECT_EQ(writer.last().accepted_bytes(), 3u);
}

TEST_P(WriteStreamTest, DrainEndsAWriterThatSaysNothing) {
  WriteStream writer(client(), "name: 'p'");
  ASSERT_TRUE(writer.Write("abc"));
  ASSERT_TRUE(writer.AwaitAccepted(3));
  server().Drain();
  EXPECT_THAT(writer.Finish(),
              FailsWith(grpc::StatusCode::UNAVAILABLE, "ESHUTDOWN"));
  EXPECT_EQ(writer.last().accepted_bytes(), 3u);
  ExpectFile("abc", /*broken=*/true);
}

TEST_P(WriteStreamTest, OneTooManyIsRefusedAndEndsNoFile) {
  options().limits.sleepers_per_caller = 1;
  WriteStream first(client(), "name: 'p' caller: 'me'");
  WriteStream second(client());
  ASSERT_TRUE(second.Send("open { name: 'p' caller: 'me' }"));
  EXPECT_THAT(second.Finish(),
              FailsWith(grpc::StatusCode::RESOURCE_EXHAUSTED, "ENOSPC"));
  WriteStream other(client(), "name: 'p' caller: 'other'");
  ASSERT_TRUE(first.Write("abc"));
  EXPECT_THAT(first.Close(), IsOk());
  EXPECT_THAT(other.Close(), IsOk());
  ExpectFile("abc", /*broken=*/false);
}

TEST_P(WriteStreamTest, NextWriteAfterAForcedRemoveIsRefused) {
  WriteStream writer(client(), "name: 'p'");
  ASSERT_TRUE(writer.Write("abc"));
  ASSERT_TRUE(writer.AwaitAccepted(3));
  ASSERT_THAT(Call<v1::RemoveRequest>(client(), "name: 'p' force: true").status,
              IsOk());
  writer.Write("def");
  EXPECT_THAT(writer.Finish(), FailsWith(grpc::StatusCode::ABORTED, "EIDRM"));
  EXPECT_EQ(writer.last().accepted_bytes(), 3u);
}

TEST_P(WriteStreamTest, CloseAfterAForcedRemoveIsRefused) {
  WriteStream writer(client(), "name: 'p'");
  ASSERT_TRUE(writer.Write("abc"));
  ASSERT_TRUE(writer.AwaitAccepted(3));
  ASSERT_THAT(Call<v1::RemoveRequest>(client(), "name: 'p' force: true").status,
              IsOk());
  EXPECT_THAT(writer.Close(), FailsWith(grpc::StatusCode::ABORTED, "EIDRM"));
}

TEST_P(WriteStreamTest, NewPipeOfTheNameIsAnother) {
  WriteStream old(client(), "name: 'p'");
  ASSERT_THAT(Call<v1::RemoveRequest>(client(), "name: 'p' force: true").status,
              IsOk());
  WriteNow("p", "new");
  old.Write("old");
  EXPECT_THAT(old.Finish(), FailsWith(grpc::StatusCode::ABORTED, "EIDRM"));
  EXPECT_EQ(ReadNow("p").data(), "new");
}

// --- An end that is said, not guessed ----------------------------------------

TEST_P(WriteStreamTest, EndEndsTheFileWithoutClosingTheStream) {
  for (const char* open : {"name: 'p'", "name: 'p' needs_end: true"}) {
    WriteStream writer(client(), open);
    ASSERT_TRUE(writer.Write("abc"));
    ASSERT_TRUE(writer.Send("end {}"));
    EXPECT_THAT(writer.Finish(), IsOk());
    EXPECT_EQ(writer.last().outcome(), v1::OUTCOME_DONE);
    ReadStream reader(client(), "name: 'p'");
    EXPECT_EQ(reader.ReadAll(), "abc");
    EXPECT_EQ(reader.last().outcome(), v1::OUTCOME_END_OF_FILE);
    EXPECT_FALSE(reader.last().broken());
    EXPECT_THAT(reader.Finish(), IsOk());
  }
}

// What a cancelled Node client does first, and then resets the call.
TEST_P(WriteStreamTest, ClosingWithoutThePromisedEndBreaksIt) {
  WriteStream writer(client(), "name: 'p' needs_end: true");
  ASSERT_TRUE(writer.Write("abc"));
  ASSERT_TRUE(writer.AwaitAccepted(3));
  EXPECT_THAT(writer.Close(),
              FailsWith(grpc::StatusCode::INVALID_ARGUMENT, "EINVAL"));
  ReadStream reader(client(), "name: 'p'");
  EXPECT_EQ(reader.ReadAll(), "abc");
  EXPECT_EQ(reader.last().outcome(), v1::OUTCOME_END_OF_FILE);
  EXPECT_TRUE(reader.last().broken());
  EXPECT_THAT(reader.Finish(), IsOk());
}

TEST_P(WriteStreamTest, EndBeforeOpenIsRefused) {
  WriteStream writer(client());
  ASSERT_TRUE(writer.Send("end {}"));
  EXPECT_THAT(writer.Finish(),
              FailsWith(grpc::StatusCode::INVALID_ARGUMENT, "EINVAL"));
}

// --- Uninterruptible ---------------------------------------------------------

TEST_P(WriteStreamTest, UninterruptibleOutlivesItsCallerAndItsBytesArrive) {
  MakePipe("capacity_bytes: 4 atomic_max_bytes: 1");
  WriteStream writer(client(), "name: 'p' sleep: SLEEP_UNINTERRUPTIBLE");
  ASSERT_TRUE(writer.Write("abcdef"));
  AwaitAsleep(1);
  writer.Cancel();
  EXPECT_EQ(writer.Finish().error_code(), grpc::StatusCode::CANCELLED);
  ASSERT_THAT(Sleepers("p"), SizeIs(1));
  EXPECT_EQ(Sleepers("p")[0].state(), v1::SLEEP_UNINTERRUPTIBLE);
  // What is behind that message may be lost: the file is broken.
  ExpectFile("abcdef", /*broken=*/true);
  AwaitAsleep(0);
}

TEST_P(WriteStreamTest, UninterruptibleOutlivesItsConnection) {
  MakePipe("capacity_bytes: 4 atomic_max_bytes: 1");
  Wire wire(server().address());
  const auto far = ClientOf(wire.address());
  WriteStream writer(*far, "name: 'p' sleep: SLEEP_UNINTERRUPTIBLE");
  ASSERT_TRUE(writer.Write("abcdef"));
  Pending<v1::WaitRequest> beside(*far, "name: 'q'");
  AwaitAsleep(2);
  wire.Cut();
  AwaitAsleep(1);
  ExpectFile("abcdef", /*broken=*/true);
}

// --- Bad messages ------------------------------------------------------------

// The server takes the next message when the last one is in the pipe.
TEST_P(WriteStreamTest, BadMessageBehindASleepingWriteEndsItAfterThat) {
  MakePipe("capacity_bytes: 4 atomic_max_bytes: 1");
  WriteStream writer(client(), "name: 'p'");
  ASSERT_TRUE(writer.Write("abcdef"));
  AwaitAsleep(1);
  ASSERT_TRUE(writer.Send("open { name: 'p' }"));
  EXPECT_EQ(ReadNow("p").data(), "abcd");
  EXPECT_THAT(writer.Finish(), FailsWith(kInvalid, "EINVAL"));
  EXPECT_EQ(writer.last().accepted_bytes(), 6u);
  ExpectFile("ef", /*broken=*/true);
}

}  // namespace
}  // namespace waitq::test
