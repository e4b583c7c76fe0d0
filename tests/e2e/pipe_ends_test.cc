// How a transfer ends when one side does not play along.

#include <signal.h>

#include <chrono>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/fixture.h"

namespace waitq::test {
namespace {

using ::testing::HasSubstr;

class PipeEndsTest : public WaitqTest {
 protected:
  std::string Path(std::string_view name) const { return folder_.Path(name); }

  // A writer that feeds the pipe what the test feeds it.
  Process& StartFedWriter() {
    return StartWaitq({"write", "pipe"}, {.input_pipe = true});
  }

 private:
  TemporaryFolder folder_;
};

TEST_F(PipeEndsTest, KilledWriterGivesTheReaderABrokenEnd) {
  Process& reader = StartWaitq({"read", "pipe"});
  AwaitSleepers("pipe", 1);
  Process& writer = StartFedWriter();
  writer.WriteInput("all that came\n");
  EXPECT_TRUE(reader.AwaitLine("all that came").has_value());
  writer.Signal(SIGKILL);
  EXPECT_EQ(reader.WaitFor(), 1);
  EXPECT_EQ(reader.Output(), "all that came\n");
  EXPECT_TRUE(FailsClearly({1, reader.Output(), reader.Errors()}, 1, {"pipe"}));
}

TEST_F(PipeEndsTest, ABrokenEndIsKeptForAReaderThatComesLater) {
  Process& writer = StartFedWriter();
  writer.WriteInput("all that came\n");
  ASSERT_TRUE(
      Await([this] { return Stat("pipe").pipe().unread_bytes() == 14; }));
  writer.Signal(SIGKILL);
  EXPECT_EQ(writer.WaitFor(), 128 + SIGKILL);
  const Result late = Waitq({"read", "pipe"});
  EXPECT_EQ(late.out, "all that came\n");
  EXPECT_EQ(late.exit, 1) << late.err;
}

TEST_F(PipeEndsTest, ReaderThatLeavesGivesTheWriter141AndTheCount) {
  WriteNoise(Path("source"), 64 << 20);
  Process& writer = StartWaitq({"write", "pipe", Path("source")});
  AwaitSleepers("pipe", 1);
  EXPECT_EQ(WaitqOk({"read", "pipe", "--max", "100000"}).size(), 100000u);
  EXPECT_EQ(writer.WaitFor(), 141);
  EXPECT_THAT(writer.Errors(), HasSubstr(" of 67108864 bytes"));
  EXPECT_THAT(writer.Errors(), HasSubstr("wrote "));
}

TEST_F(PipeEndsTest, KilledReaderGivesTheWriter141) {
  WriteNoise(Path("source"), 64 << 20);
  Process& reader = StartWaitq({"read", "pipe"}, {.output_file = Path("copy")});
  AwaitSleepers("pipe", 1);
  // Stopped, it takes what is on its way, but not all.
  reader.Signal(SIGSTOP);
  Process& writer = StartWaitq({"write", "pipe", Path("source")});
  ASSERT_TRUE(Await([this] {
    const auto sleepers = Sleepers("pipe");
    return sleepers.size() == 1 &&
           sleepers[0].condition().find("write") != std::string::npos;
  }));
  reader.Signal(SIGKILL);
  EXPECT_EQ(writer.WaitFor(), 141);
  EXPECT_THAT(writer.Errors(), HasSubstr(" of 67108864 bytes"));
}

TEST_F(PipeEndsTest, WriteThatTimesOutSaysHowMuchWentIn) {
  WriteNoise(Path("source"), 100'000);
  const Result result =
      Waitq({"write", "pipe", Path("source"), "--timeout", "100ms"});
  EXPECT_TRUE(FailsClearly(result, 124, {"wrote 65536 of 100000 bytes"}));
}

TEST_F(PipeEndsTest, WriteThatWouldBlockSaysHowMuchWentIn) {
  WriteNoise(Path("source"), 100'000);
  const Result result = Waitq({"write", "pipe", Path("source"), "--nonblock"});
  EXPECT_TRUE(FailsClearly(result, 11, {"wrote 65536 of 100000 bytes"}));
}

TEST_F(PipeEndsTest, InterruptedWriterSaysHowMuchWentIn) {
  WriteNoise(Path("source"), 100'000);
  Process& writer = StartWaitq({"write", "pipe", Path("source")});
  AwaitSleepers("pipe", 1);
  writer.Signal(SIGINT);
  EXPECT_EQ(writer.WaitFor(), 130);
  EXPECT_THAT(writer.Errors(), HasSubstr("wrote 65536 of 100000 bytes"));
}

TEST_F(PipeEndsTest, ReadTimeoutEndsWith124AndNeverEarly) {
  const auto start = std::chrono::steady_clock::now();
  const Result result = Waitq({"read", "pipe", "--timeout", "200ms"});
  EXPECT_EQ(result.exit, 124) << result.err;
  EXPECT_GE(std::chrono::steady_clock::now() - start,
            std::chrono::milliseconds(200));
}

TEST_F(PipeEndsTest, ReadNonblockEndsWith11) {
  EXPECT_EQ(Waitq({"read", "pipe", "--nonblock"}).exit, 11);
}

TEST_F(PipeEndsTest, InterruptedReaderTakesNothingMore) {
  Process& reader = StartWaitq({"read", "pipe"});
  AwaitSleepers("pipe", 1);
  reader.Signal(SIGINT);
  EXPECT_EQ(reader.WaitFor(), 130);
  AwaitSleepers("pipe", 0);
}

TEST_F(PipeEndsTest, ReaderThatCannotWriteItsOutputFails) {
  Process& reader = StartWaitq({"read", "pipe"}, {.output_file = "/dev/full"});
  AwaitSleepers("pipe", 1);
  WaitqOk({"write", "pipe"}, "words");
  EXPECT_EQ(reader.WaitFor(), 1);
  EXPECT_NE(reader.Errors(), "");
}

}  // namespace
}  // namespace waitq::test
