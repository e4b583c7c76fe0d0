// Files through a named pipe, between two processes.

#include <cstdlib>
#include <filesystem>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/e2e/fixture.h"

namespace waitq::test {
namespace {

constexpr uint64_t kKiB = 1024;
constexpr uint64_t kMiB = 1024 * kKiB;
// Of a pipe that nobody has given another one.
constexpr uint64_t kCapacity = 64 * kKiB;

enum class First { kWriter, kReader };

class PipeFilesTest : public WaitqTest {
 protected:
  std::string Path(std::string_view name) const { return folder_.Path(name); }

  Process& StartWriter() {
    return StartWaitq({"write", "pipe", Path("source")});
  }
  Process& StartReader() {
    return StartWaitq({"read", "pipe"}, {.output_file = Path("copy")});
  }

  // Moves the `source` through the pipe into `copy`.
  void Move(First first) {
    Process* writer = nullptr;
    Process* reader = nullptr;
    if (first == First::kReader) {
      reader = &StartReader();
      AwaitSleepers("pipe", 1);
      writer = &StartWriter();
    } else {
      writer = &StartWriter();
      if (std::filesystem::file_size(Path("source")) <= kCapacity) {
        EXPECT_EQ(writer->WaitFor(), 0) << "all fits; nobody need read yet";
      } else {
        AwaitSleepers("pipe", 1);
      }
      reader = &StartReader();
    }
    EXPECT_EQ(writer->WaitFor(10 * kBound), 0) << writer->Errors();
    EXPECT_EQ(reader->WaitFor(10 * kBound), 0) << reader->Errors();
    EXPECT_TRUE(SameContents(Path("source"), Path("copy")));
  }

 private:
  TemporaryFolder folder_;
};

class PipeFileSizesTest
    : public PipeFilesTest,
      public ::testing::WithParamInterface<std::tuple<uint64_t, First>> {};

TEST_P(PipeFileSizesTest, ArriveIdenticalAndAgainOverTheSameName) {
  const auto& [size, first] = GetParam();
  WriteNoise(Path("source"), size);
  Move(first);
  Move(first);
  // And with the other side first: an end that was seen is over.
  Move(first == First::kReader ? First::kWriter : First::kReader);
}

INSTANTIATE_TEST_SUITE_P(
    Bytes, PipeFileSizesTest,
    ::testing::Combine(::testing::Values(0, 1, kCapacity - 1, kCapacity,
                                         kCapacity + 1, 64 * kMiB),
                       ::testing::Values(First::kWriter, First::kReader)),
    [](const auto& test) {
      return absl::StrCat(std::get<0>(test.param),
                          std::get<1>(test.param) == First::kWriter
                              ? "WriterFirst"
                              : "ReaderFirst");
    });

TEST_F(PipeFilesTest, AGibibyteCostsTheServerAtMost32MiB) {
  const char* long_tests = std::getenv("WAITQ_LONG");
  if (long_tests == nullptr || std::string_view(long_tests) != "1") {
    std::puts("SKIPPED: set WAITQ_LONG=1 to move a gibibyte");
    return;
  }
  WriteNoise(Path("source"), 1024 * kMiB);
  for (const First first : {First::kWriter, First::kReader}) {
    ResetPeak(server().pid());
    const int64_t before = server().Figures().resident_kib;
    Move(first);
    const int64_t peak = server().Figures().peak_resident_kib;
    EXPECT_LE(peak - before, 32 * 1024) << "KiB; it had " << before;
  }
}

TEST_F(PipeFilesTest, ReadEndsAfterItsMaximum) {
  WriteNoise(Path("source"), kCapacity);
  Process& writer = StartWriter();
  EXPECT_EQ(writer.WaitFor(), 0);
  EXPECT_EQ(WaitqOk({"read", "pipe", "--max", "1KiB"}).size(), kKiB);
}

TEST_F(PipeFilesTest, StandardInputIsWrittenWithoutAFile) {
  Process& reader = StartReader();
  AwaitSleepers("pipe", 1);
  WaitqOk({"write", "pipe"}, "from standard input");
  EXPECT_EQ(reader.WaitFor(), 0);
  EXPECT_EQ(std::filesystem::file_size(Path("copy")), 19u);
}

TEST_F(PipeFilesTest, TwoReadersShareWhatIsWritten) {
  WriteNoise(Path("source"), 4 * kMiB);
  Process& one = StartReader();
  Process& other =
      StartWaitq({"read", "pipe"}, {.output_file = Path("other_copy")});
  AwaitSleepers("pipe", 2);
  Process& writer = StartWriter();
  EXPECT_EQ(writer.WaitFor(), 0) << writer.Errors();
  // Both see the end of the file, and nothing came twice or not at all.
  EXPECT_EQ(one.WaitFor(), 0) << one.Errors();
  EXPECT_EQ(other.WaitFor(), 0) << other.Errors();
  EXPECT_EQ(std::filesystem::file_size(Path("copy")) +
                std::filesystem::file_size(Path("other_copy")),
            4 * kMiB);
}

}  // namespace
}  // namespace waitq::test
