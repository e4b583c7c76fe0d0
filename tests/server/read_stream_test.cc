// Pipes.ReadStream: a reader handle.

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
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

class ReadStreamTest : public EverywhereTest {
 protected:
  // Waits until a stream has taken the pipe's first so many bytes.
  void AwaitReadOffset(const std::string& name, uint64_t offset) {
    EXPECT_TRUE(Await([&] {
      return StatOf(name).pipe().read_offset() == offset;
    })) << StatOf(name).DebugString();
  }
};
WAITQ_TEST_EVERYWHERE(ReadStreamTest);

// --- Opening -----------------------------------------------------------------

TEST_P(ReadStreamTest, FirstResponseSaysThatItIsOpen) {
  WriteNow("p", "abc");
  EXPECT_EQ(
      Call<v1::ReadRequest>(client(), "name: 'p' max_bytes: 1").response.data(),
      "a");
  ReadStream reader(client());
  ASSERT_TRUE(reader.Send("open { name: 'p' }"));
  const auto opened = reader.Next();
  ASSERT_TRUE(opened.has_value());
  EXPECT_EQ(opened->data(), "");
  EXPECT_EQ(opened->offset(), 1u);
  EXPECT_EQ(opened->incarnation(), StatOf("p").incarnation());
  EXPECT_EQ(opened->outcome(), v1::OUTCOME_UNSPECIFIED);
  const auto data = reader.Next();
  ASSERT_TRUE(data.has_value());
  EXPECT_EQ(data->data(), "bc");
  EXPECT_EQ(data->offset(), 1u);
  EXPECT_EQ(StatOf("p").pipe().readers(), 1u);
}

TEST_P(ReadStreamTest, PipeIsMadeWithTheOptionsThatAreAskedFor) {
  ReadStream reader(client(), "name: 'p' options { capacity_bytes: 7 }");
  EXPECT_EQ(StatOf("p").pipe().capacity_bytes(), 7u);
  // A pipe that is there keeps its own.
  ReadStream other(client(), "name: 'p' options { capacity_bytes: 8 }");
  EXPECT_EQ(StatOf("p").pipe().capacity_bytes(), 7u);
}

TEST_P(ReadStreamTest, FirstMessageMustOpen) {
  for (const char* text : {"read_up_to: 0", "read_up_to: 5", ""}) {
    ReadStream reader(client());
    reader.Send(text);
    EXPECT_THAT(reader.Finish(), FailsWith(kInvalid, "EINVAL")) << text;
  }
}

TEST_P(ReadStreamTest, OpensOnlyOnce) {
  ReadStream reader(client(), "name: 'p'");
  reader.Send("open { name: 'p' }");
  EXPECT_THAT(reader.Finish(), FailsWith(kInvalid, "EINVAL"));
  AwaitHandles("p", 0, 0);
}

TEST_P(ReadStreamTest, NoMessageAtAllIsRefused) {
  ReadStream reader(client());
  reader.HalfClose();
  EXPECT_THAT(reader.Finish(), FailsWith(kInvalid, "EINVAL"));
}

TEST_P(ReadStreamTest, WindowOfNothingIsRefused) {
  ReadStream reader(client());
  reader.Send("open { name: 'p' window_bytes: 0 }");
  EXPECT_THAT(reader.Finish(), FailsWith(kInvalid, "EINVAL"));
}

TEST_P(ReadStreamTest, GoesOnReadingAfterItsHalfClose) {
  ReadStream reader(client(), "name: 'p' max_bytes: 3");
  reader.HalfClose();
  WriteNow("p", "abc");
  EXPECT_EQ(reader.ReadAll(), "abc");
  EXPECT_THAT(reader.Finish(), IsOk());
}

// --- Reporting ---------------------------------------------------------------

TEST_P(ReadStreamTest, ReportsNeverGoBackwards) {
  WriteNow("p", "0123456789");
  ReadStream reader(client(), "name: 'p'");
  EXPECT_EQ(reader.ReadBytes(10), "0123456789");
  reader.Report(5);
  reader.Report(5);
  reader.Report(4);
  EXPECT_THAT(reader.Finish(), FailsWith(kInvalid, "EINVAL"));
}

TEST_P(ReadStreamTest, ReportsNeverGoBeyondWhatWasSent) {
  WriteNow("p", "0123456789");
  ReadStream reader(client(), "name: 'p'");
  EXPECT_EQ(reader.ReadBytes(10), "0123456789");
  reader.Report(10);
  reader.Report(11);
  EXPECT_THAT(reader.Finish(), FailsWith(kInvalid, "EINVAL"));
  AwaitHandles("p", 0, 0);
}

TEST_P(ReadStreamTest, MessageThatSaysNothingIsRefused) {
  // The timeout only ends the test if the message is taken.
  ReadStream reader(client(), "name: 'p' timeout { seconds: 3 }");
  reader.Send("");
  EXPECT_THAT(reader.Finish(), FailsWith(kInvalid, "EINVAL"));
}

TEST_P(ReadStreamTest, WindowIsFilledAndNotMore) {
  WriteNow("p", std::string(5000, 'x'));
  ReadStream reader(client(), "name: 'p' window_bytes: 1000");
  EXPECT_THAT(reader.ReadBytes(1000), SizeIs(1000));
  // It stands still now, and does not sleep for data: there is enough.
  AwaitAsleep(0);
  EXPECT_EQ(StatOf("p").pipe().read_offset(), 1000u);
  reader.Report(1);
  EXPECT_THAT(reader.ReadBytes(1), SizeIs(1));
  reader.Report(1000);
  EXPECT_THAT(reader.ReadBytes(999), SizeIs(999));
  EXPECT_EQ(StatOf("p").pipe().read_offset(), 2000u);
}

TEST_P(ReadStreamTest, NeverMoreThanTheWindowIsOutstanding) {
  constexpr uint64_t kWindow = 700;
  constexpr uint64_t kBytes = 20'000;
  Random random(Seed());
  std::thread writer([&, other = NewClient()] {
    for (uint64_t written = 0; written < kBytes; written += 100) {
      v1::WriteRequest request;
      request.set_name("p");
      request.set_data(std::string(100, 'x'));
      EXPECT_THAT(Call(*other, request).status, IsOk());
    }
  });
  ReadStream reader(client(), absl::StrCat("name: 'p' window_bytes: ", kWindow,
                                           " max_bytes: ", kBytes));
  uint64_t got = 0;
  uint64_t reported = 0;
  while (const auto response = reader.Next()) {
    if (response->outcome() != v1::OUTCOME_UNSPECIFIED) break;
    EXPECT_EQ(response->offset(), got);
    got += response->data().size();
    ASSERT_LE(got - reported, kWindow);
    // Now and then nothing, a part or all of it.
    if (got - reported == kWindow || random.OneIn(2)) {
      reported += random.Below(got - reported) + 1;
      reader.Report(reported);
    }
  }
  writer.join();
  EXPECT_EQ(got, kBytes);
  EXPECT_THAT(reader.Finish(), IsOk());
  EXPECT_EQ(reader.last().outcome(), v1::OUTCOME_DONE);
}

TEST_P(ReadStreamTest, WindowThatNobodyCanOpenAnyMoreEndsIt) {
  WriteNow("p", "0123456789");
  ReadStream early(client());
  early.Send("open { name: 'p' window_bytes: 4 }");
  early.HalfClose();
  EXPECT_EQ(early.ReadAll(), "0123");
  EXPECT_THAT(early.Finish(), FailsWith(kInvalid, "EINVAL"));

  ReadStream late(client(), "name: 'p' window_bytes: 4");
  EXPECT_EQ(late.ReadBytes(4), "4567");
  late.HalfClose();
  EXPECT_THAT(late.Finish(), FailsWith(kInvalid, "EINVAL"));
  EXPECT_EQ(ReadNow("p").data(), "89");
}

TEST_P(ReadStreamTest, WindowCountsFromWhereTheReaderStands) {
  WriteNow("p", std::string(3000, 'x'));
  ASSERT_THAT(
      Call<v1::ReadRequest>(client(), "name: 'p' max_bytes: 2000").status,
      IsOk());
  ReadStream reader(client(), "name: 'p' window_bytes: 10");
  EXPECT_THAT(reader.ReadBytes(10), SizeIs(10));
  reader.Report(2010);
  EXPECT_THAT(reader.ReadBytes(10), SizeIs(10));
  reader.Report(1999);
  EXPECT_THAT(reader.Finish(), FailsWith(kInvalid, "EINVAL"));
}

// --- Ends --------------------------------------------------------------------

TEST_P(ReadStreamTest, MaxBytesEndsItAsDoneAndLeavesTheRest) {
  WriteNow("p", "0123456789");
  ReadStream reader(client(), "name: 'p' max_bytes: 4");
  EXPECT_EQ(reader.ReadAll(), "0123");
  EXPECT_THAT(reader.Finish(), IsOk());
  EXPECT_EQ(reader.last().outcome(), v1::OUTCOME_DONE);
  EXPECT_EQ(reader.last().offset(), 4u);
  EXPECT_EQ(reader.last().data(), "");
  EXPECT_EQ(ReadNow("p").data(), "456789");
}

TEST_P(ReadStreamTest, MaxBytesOfNothingEndsAtOnce) {
  ReadStream reader(client(), "name: 'p' max_bytes: 0");
  EXPECT_THAT(reader.Finish(), IsOk());
  EXPECT_EQ(reader.last().outcome(), v1::OUTCOME_DONE);
}

TEST_P(ReadStreamTest, TimeoutBoundsEachSleepNotTheWhole) {
  ReadStream reader(client(), "name: 'p' timeout { nanos: 300000000 }");
  AwaitAsleep(1);
  WriteNow("p", "abc");
  EXPECT_EQ(reader.ReadBytes(3), "abc");
  EXPECT_THAT(reader.Finish(), IsOk());
  EXPECT_EQ(reader.last().outcome(), v1::OUTCOME_TIMED_OUT);
  EXPECT_EQ(reader.last().offset(), 3u);
  EXPECT_EQ(reader.last().sleeps(), 2u);
}

TEST_P(ReadStreamTest, NonblockEndsWhereItWouldSleep) {
  WriteNow("p", "abc");
  ReadStream reader(client(), "name: 'p' nonblock: true");
  EXPECT_EQ(reader.ReadAll(), "abc");
  EXPECT_THAT(reader.Finish(), IsOk());
  EXPECT_EQ(reader.last().outcome(), v1::OUTCOME_WOULD_BLOCK);
  EXPECT_EQ(reader.last().sleeps(), 0u);
}

TEST_P(ReadStreamTest, WriterThatClosesMakesACleanEnd) {
  WriteStream writer(client(), "name: 'p'");
  ReadStream reader(client(), "name: 'p'");
  ASSERT_TRUE(writer.Write("abc"));
  ASSERT_TRUE(writer.Write("def"));
  EXPECT_THAT(writer.Close(), IsOk());
  EXPECT_EQ(reader.ReadAll(), "abcdef");
  EXPECT_THAT(reader.Finish(), IsOk());
  EXPECT_EQ(reader.last().outcome(), v1::OUTCOME_END_OF_FILE);
  EXPECT_FALSE(reader.last().broken());
  EXPECT_EQ(reader.last().offset(), 6u);
}

TEST_P(ReadStreamTest, WriterThatCancelsMakesABrokenEnd) {
  WriteStream writer(client(), "name: 'p'");
  ReadStream reader(client(), "name: 'p'");
  ASSERT_TRUE(writer.Write("abc"));
  EXPECT_EQ(reader.ReadBytes(3), "abc");
  writer.Cancel();
  EXPECT_EQ(reader.ReadAll(), "");
  EXPECT_THAT(reader.Finish(), IsOk());
  EXPECT_EQ(reader.last().outcome(), v1::OUTCOME_END_OF_FILE);
  EXPECT_TRUE(reader.last().broken());
}

TEST_P(ReadStreamTest, WriterWhoseConnectionDiesMakesABrokenEnd) {
  Wire wire(server().address());
  const auto far = ClientOf(wire.address());
  WriteStream writer(*far, "name: 'p'");
  ReadStream reader(client(), "name: 'p'");
  ASSERT_TRUE(writer.Write("abc"));
  EXPECT_EQ(reader.ReadBytes(3), "abc");
  wire.Cut();
  EXPECT_EQ(reader.ReadAll(), "");
  EXPECT_THAT(reader.Finish(), IsOk());
  EXPECT_EQ(reader.last().outcome(), v1::OUTCOME_END_OF_FILE);
  EXPECT_TRUE(reader.last().broken());
}

TEST_P(ReadStreamTest, EndComesOnlyAfterTheLastOfTwoWriters) {
  WriteStream first(client(), "name: 'p'");
  WriteStream second(client(), "name: 'p'");
  ReadStream reader(client(), "name: 'p'");
  EXPECT_THAT(first.Close(), IsOk());
  AwaitHandles("p", 1, 1);
  ASSERT_TRUE(second.Write("more"));
  EXPECT_EQ(reader.ReadBytes(4), "more");
  EXPECT_THAT(second.Close(), IsOk());
  EXPECT_THAT(reader.Finish(), IsOk());
  EXPECT_EQ(reader.last().outcome(), v1::OUTCOME_END_OF_FILE);
  EXPECT_FALSE(reader.last().broken());
}

TEST_P(ReadStreamTest, EveryReaderSeesTheEnd) {
  WriteStream writer(client(), "name: 'p'");
  ReadStream first(client(), "name: 'p'");
  ReadStream second(client(), "name: 'p'");
  Pending<v1::ReadRequest> unary(client(), "name: 'p'");
  AwaitAsleep(3);
  EXPECT_THAT(writer.Close(), IsOk());
  EXPECT_THAT(first.Finish(), IsOk());
  EXPECT_EQ(first.last().outcome(), v1::OUTCOME_END_OF_FILE);
  EXPECT_THAT(second.Finish(), IsOk());
  EXPECT_EQ(second.last().outcome(), v1::OUTCOME_END_OF_FILE);
  EXPECT_EQ(unary.response().outcome(), v1::OUTCOME_END_OF_FILE);
}

TEST_P(ReadStreamTest, RemoveEndsAReaderThatSleeps) {
  ReadStream reader(client(), "name: 'p'");
  AwaitAsleep(1);
  const auto remove = Call<v1::RemoveRequest>(client(), "name: 'p'");
  ASSERT_THAT(remove.status, IsOk());
  EXPECT_EQ(remove.response.ended(), 1u);
  EXPECT_THAT(reader.Finish(), FailsWith(grpc::StatusCode::ABORTED, "EIDRM"));
}

TEST_P(ReadStreamTest, RemoveEndsAReaderAtItsClosedWindow) {
  WriteNow("p", "0123456789");
  ReadStream reader(client(), "name: 'p' window_bytes: 4");
  EXPECT_EQ(reader.ReadBytes(4), "0123");
  ASSERT_THAT(Call<v1::RemoveRequest>(client(), "name: 'p'").status, IsOk());
  EXPECT_THAT(reader.Finish(), FailsWith(grpc::StatusCode::ABORTED, "EIDRM"));
}

TEST_P(ReadStreamTest, DrainLetsAReaderAtItsClosedWindowGoOn) {
  WriteNow("p", "0123456789");
  ReadStream reader(client(), "name: 'p' window_bytes: 4");
  EXPECT_EQ(reader.ReadBytes(4), "0123");
  server().Drain();
  ASSERT_TRUE(reader.Report(4));
  EXPECT_EQ(reader.ReadBytes(4), "4567");
  ASSERT_TRUE(reader.Report(8));
  EXPECT_EQ(reader.ReadBytes(2), "89");
  EXPECT_THAT(reader.Finish(),
              FailsWith(grpc::StatusCode::UNAVAILABLE, "ESHUTDOWN"));
}

// The stream and its sleep are one.
TEST_P(ReadStreamTest, AStreamThatSleepsCountsOnce) {
  options().limits.sleepers_per_caller = 1;
  ReadStream reader(client(), "name: 'p' caller: 'me'");
  AwaitAsleep(1);
  ReadStream second(client());
  ASSERT_TRUE(second.Send("open { name: 'p' caller: 'me' }"));
  EXPECT_THAT(second.Finish(),
              FailsWith(grpc::StatusCode::RESOURCE_EXHAUSTED, "ENOSPC"));
  WriteNow("p", "abc");
  EXPECT_EQ(reader.ReadBytes(3), "abc");
}

TEST_P(ReadStreamTest, AReaderAtItsClosedWindowIsToldThatTheServerStops) {
  WriteNow("p", "0123456789");
  ReadStream reader(client(), "name: 'p' window_bytes: 4");
  EXPECT_EQ(reader.ReadBytes(4), "0123");
  StopServer(absl::Now() + absl::Seconds(10));
  EXPECT_THAT(reader.Finish(),
              FailsWith(grpc::StatusCode::UNAVAILABLE, "ESHUTDOWN"));
}

// What one that does not take its bytes keeps in the server is bounded: others
// are served.
TEST_P(ReadStreamTest, BytesThatAReaderDoesNotTakeHaveALimit) {
  options().limits.message_bytes = 128 << 10;
  options().limits.bytes_per_caller = 128 << 10;
  Call<v1::CreateRequest>(client(),
                          "name: 'p' pipe { capacity_bytes: 4194304 }");
  for (int i = 0; i < 30; ++i) WriteNow("p", std::string(100'000, 'x'));
  // gRPC's windows take some of it; what does not fit them stays here.
  ReadStream greedy(client(), "name: 'p' caller: 'greedy' max_bytes: 1000000");
  ASSERT_TRUE(Await([&] { return StatOf("p").pipe().read_offset() > 0; }));
  EXPECT_THAT(Call<v1::ReadRequest>(
                  client(), "name: 'p' caller: 'greedy' max_bytes: 100000")
                  .status,
              FailsWith(grpc::StatusCode::RESOURCE_EXHAUSTED, "ENOSPC"));
  const auto other =
      Call<v1::ReadRequest>(client(), "name: 'p' max_bytes: 100000");
  EXPECT_THAT(other.status, IsOk());
  EXPECT_THAT(other.response.data(), SizeIs(100'000));
}

// --- Bad messages and clients that go, at any time ---------------------------

TEST_P(ReadStreamTest, BadMessageEndsAReaderThatSleeps) {
  for (const char* bad : {"open { name: 'p' }", "read_up_to: 1"}) {
    ReadStream reader(client(), "name: 'p'");
    AwaitAsleep(1);
    ASSERT_TRUE(reader.Send(bad));
    EXPECT_THAT(reader.Finish(), FailsWith(kInvalid, "EINVAL")) << bad;
    AwaitAsleep(0);
    AwaitHandles("p", 0, 0);
  }
}

TEST_P(ReadStreamTest, CancelEndsAReaderThatSleepsAndItsHandle) {
  ReadStream reader(client(), "name: 'p'");
  AwaitAsleep(1);
  reader.Cancel();
  AwaitAsleep(0);
  AwaitHandles("p", 0, 0);
}

TEST_P(ReadStreamTest, CancelEndsAReaderAtItsClosedWindow) {
  WriteNow("p", "0123456789");
  ReadStream reader(client(), "name: 'p' window_bytes: 4");
  EXPECT_EQ(reader.ReadBytes(4), "0123");
  reader.Cancel();
  AwaitHandles("p", 0, 0);
  EXPECT_EQ(ReadNow("p").data(), "456789");
}

TEST_P(ReadStreamTest, CancelEndsAReaderThatDoesNotTakeItsBytes) {
  ASSERT_THAT(Call<v1::CreateRequest>(
                  client(), "name: 'p' pipe { capacity_bytes: 4194304 }")
                  .status,
              IsOk());
  WriteNow("p", std::string(4'000'000, 'x'));
  ReadStream reader(client(), "name: 'p'");
  // gRPC's flow control stops the server when its window is full.
  EXPECT_TRUE(Await([&] { return StatOf("p").pipe().read_offset() > 0; }));
  reader.Cancel();
  AwaitHandles("p", 0, 0);
  EXPECT_GT(StatOf("p").pipe().unread_bytes(), 0u);
}

TEST_P(ReadStreamTest, DeadConnectionEndsAReader) {
  Wire wire(server().address());
  const auto far = ClientOf(wire.address());
  ReadStream asleep(*far, "name: 'p'");
  WriteNow("q", "0123456789");
  ReadStream at_its_window(*far, "name: 'q' window_bytes: 4");
  EXPECT_EQ(at_its_window.ReadBytes(4), "0123");
  AwaitAsleep(1);
  wire.Cut();
  AwaitAsleep(0);
  AwaitHandles("p", 0, 0);
  AwaitHandles("q", 0, 0);
}

TEST_P(ReadStreamTest, ReaderThatStopsTakingStopsTheServer) {
  ASSERT_THAT(Call<v1::CreateRequest>(
                  client(), "name: 'p' pipe { capacity_bytes: 65536 }")
                  .status,
              IsOk());
  ReadStream reader(client(), "name: 'p'");
  // A writer that goes on until the pipe is full and stays full.
  std::atomic<uint64_t> accepted{0};
  v1::WriteRequest request;
  request.set_name("p");
  request.set_data(std::string(32'768, 'x'));
  request.mutable_timeout()->set_seconds(1);
  for (;;) {
    const auto write = Call(client(), request);
    ASSERT_THAT(write.status, IsOk());
    accepted += write.response.accepted_bytes();
    if (write.response.accepted_bytes() < request.data().size()) break;
    ASSERT_LT(accepted, 16u << 20) << "nothing stops the writer";
  }
  // Nothing of it is lost.
  EXPECT_THAT(reader.ReadBytes(accepted), SizeIs(accepted.load()));
}

}  // namespace
}  // namespace waitq::test
