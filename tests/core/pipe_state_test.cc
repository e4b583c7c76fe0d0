#include "core/pipe_state.h"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <string>

#include "absl/strings/cord.h"
#include "gtest/gtest.h"
#include "tests/support/random.h"

namespace waitq {
namespace {

using test::Random;
using test::Seed;
using test::Times;

constexpr size_t kPage = 4096;
constexpr size_t kPages = 16;

PipeState LinuxPipe() {
  return PipeState({.capacity_bytes = kPages * kPage, .slot_bytes = kPage});
}

// write(2), nonblocking and by a sleeping shell's turns: what fits goes in.
size_t Write(PipeState& pipe, const std::string& data, bool first = true,
             size_t atomic_max = kPage) {
  const size_t n = pipe.Room(data.size(), data.size() <= atomic_max, first);
  pipe.Append(absl::Cord(data.substr(0, n)), first);
  return n;
}

std::string Read(PipeState& pipe, size_t n) {
  return std::string(pipe.Take(n));
}

// --- Any pipe ----------------------------------------------------------------

class AnyPipeTest : public testing::TestWithParam<size_t> {
 protected:
  PipeState pipe_{{.capacity_bytes = kPages * kPage, .slot_bytes = GetParam()}};
};

TEST_P(AnyPipeTest, BeginsEmptyAtOffsetZero) {
  EXPECT_TRUE(pipe_.empty());
  EXPECT_FALSE(pipe_.full());
  EXPECT_EQ(pipe_.unread_bytes(), 0u);
  EXPECT_EQ(pipe_.read_offset(), 0u);
  EXPECT_EQ(pipe_.write_offset(), 0u);
  EXPECT_EQ(pipe_.capacity_bytes(), kPages * kPage);
  EXPECT_EQ(Read(pipe_, 10), "");
}

TEST_P(AnyPipeTest, BytesComeOutInTheOrderInWhichTheyWentIn) {
  EXPECT_EQ(Write(pipe_, "abc"), 3u);
  EXPECT_EQ(Write(pipe_, "defg"), 4u);
  EXPECT_EQ(Read(pipe_, 5), "abcde");
  EXPECT_EQ(Read(pipe_, 5), "fg") << "what is there, not more";
  EXPECT_TRUE(pipe_.empty());
}

TEST_P(AnyPipeTest, OffsetsCountTheBytesSinceItsBeginning) {
  Write(pipe_, "abcdef");
  Read(pipe_, 4);
  EXPECT_EQ(pipe_.read_offset(), 4u);
  EXPECT_EQ(pipe_.write_offset(), 6u);
  Write(pipe_, "gh");
  EXPECT_EQ(pipe_.read_offset(), 4u);
  EXPECT_EQ(pipe_.write_offset(), 8u);
  Read(pipe_, 100);
  EXPECT_EQ(pipe_.read_offset(), 8u);
  EXPECT_EQ(pipe_.write_offset(), 8u);
}

TEST_P(AnyPipeTest, NothingIsAWriteOfNothing) {
  EXPECT_EQ(pipe_.Room(0, true, true), 0u);
  EXPECT_EQ(Write(pipe_, ""), 0u);
  EXPECT_EQ(Read(pipe_, 0), "");
  EXPECT_TRUE(pipe_.empty());
}

TEST_P(AnyPipeTest, HoldsItsCapacityAndNoMore) {
  EXPECT_EQ(Write(pipe_, std::string(100'000, 'x')), kPages * kPage);
  EXPECT_TRUE(pipe_.full());
  EXPECT_EQ(pipe_.Room(1, true, true), 0u);
  EXPECT_EQ(pipe_.Room(34'464, false, false), 0u);
  EXPECT_EQ(Read(pipe_, 1'000'000).size(), kPages * kPage);
  EXPECT_FALSE(pipe_.full());
}

TEST_P(AnyPipeTest, AWholeWriteFitsOrDoesNot) {
  Write(pipe_, std::string(kPages * kPage - kPage, 'x'));
  EXPECT_EQ(pipe_.Room(kPage, true, true), kPage);
  EXPECT_EQ(pipe_.Room(kPage + 1, true, true), 0u);
  EXPECT_EQ(pipe_.Room(kPage + 1, false, false), kPage) << "its first bytes";
}

INSTANTIATE_TEST_SUITE_P(, AnyPipeTest, testing::Values(1, kPage),
                         [](const auto& slot) {
                           return "SlotsOf" + std::to_string(slot.param);
                         });

// --- Slots of a byte ---------------------------------------------------------

TEST(BytePipeTest, IsFullWhenItsBytesAre) {
  PipeState pipe({.capacity_bytes = 10, .slot_bytes = 1});
  EXPECT_EQ(Write(pipe, "123456789"), 9u);
  EXPECT_FALSE(pipe.full());
  EXPECT_EQ(Write(pipe, "ab"), 0u) << "whole or nothing";
  EXPECT_EQ(Write(pipe, "ab", true, /*atomic_max=*/1), 1u);
  EXPECT_TRUE(pipe.full());
  EXPECT_EQ(Read(pipe, 1), "1");
  EXPECT_FALSE(pipe.full()) << "a byte's room is room";
  EXPECT_EQ(Write(pipe, "c"), 1u);
  EXPECT_EQ(Read(pipe, 100), "23456789ac");
}

TEST(BytePipeTest, MayHoldOneByte) {
  PipeState pipe({.capacity_bytes = 1, .slot_bytes = 1});
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Write(pipe, "x"), 1u);
    EXPECT_TRUE(pipe.full());
    EXPECT_EQ(Write(pipe, "y"), 0u);
    EXPECT_EQ(Read(pipe, 2), "x");
  }
  EXPECT_EQ(pipe.read_offset(), 3u);
}

TEST(BytePipeTest, TheFirstTryMakesNoDifference) {
  PipeState pipe({.capacity_bytes = 10, .slot_bytes = 1});
  Write(pipe, "123");
  for (const bool first : {false, true}) {
    EXPECT_EQ(pipe.Room(7, true, first), 7u);
    EXPECT_EQ(pipe.Room(8, true, first), 0u);
    EXPECT_EQ(pipe.Room(8, false, first), 7u);
  }
}

// --- Slots of a page: Linux --------------------------------------------------

TEST(PagePipeTest, IsFullWhenNoPageIsFreeHoweverLittleIsInThem) {
  PipeState pipe = LinuxPipe();
  // Full pages cannot be filled up by what comes next.
  for (size_t i = 0; i < kPages - 1; ++i) Write(pipe, std::string(kPage, 'x'));
  EXPECT_FALSE(pipe.full());
  Write(pipe, "y");
  EXPECT_TRUE(pipe.full());
  EXPECT_EQ(pipe.unread_bytes(), (kPages - 1) * kPage + 1);
}

TEST(PagePipeTest, SmallWritesShareAPage) {
  PipeState pipe = LinuxPipe();
  for (size_t i = 0; i < kPage; ++i) Write(pipe, "x");
  for (size_t i = 0; i < kPages - 1; ++i) {
    EXPECT_EQ(Write(pipe, std::string(kPage, 'y')), kPage);
  }
  EXPECT_TRUE(pipe.full());
}

TEST(PagePipeTest, APageIsFreeOnlyWhenAllOfItIsRead) {
  PipeState pipe = LinuxPipe();
  EXPECT_EQ(Write(pipe, std::string(kPages * kPage, 'x')), kPages * kPage);
  Read(pipe, 1);
  EXPECT_TRUE(pipe.full()) << "poll would not say OUT";
  EXPECT_EQ(Write(pipe, "y"), 0u) << "EAGAIN";
  Read(pipe, kPage - 2);
  EXPECT_TRUE(pipe.full());
  Read(pipe, 1);
  EXPECT_FALSE(pipe.full());
  EXPECT_EQ(Write(pipe, "y"), 1u);
}

TEST(PagePipeTest, TheLastPageTakesAWholeWriteThatFitsIntoIt) {
  PipeState pipe = LinuxPipe();
  Write(pipe, std::string((kPages - 1) * kPage, 'x'));
  Write(pipe, std::string(10, 'y'));
  ASSERT_TRUE(pipe.full());
  EXPECT_EQ(Write(pipe, std::string(4'090, 'z')), 0u) << "EAGAIN";
  EXPECT_EQ(Write(pipe, std::string(4'086, 'z')), 4'086u);
  EXPECT_EQ(pipe.unread_bytes(), kPages * kPage);
  EXPECT_EQ(Write(pipe, "z"), 0u);
}

TEST(PagePipeTest, WhatIsReadOfTheLastPageDoesNotMakeRoomInIt) {
  PipeState pipe({.capacity_bytes = kPage, .slot_bytes = kPage});
  Write(pipe, std::string(4'000, 'x'));
  Read(pipe, 3'999);
  EXPECT_EQ(Write(pipe, std::string(97, 'y')), 0u);
  EXPECT_EQ(Write(pipe, std::string(96, 'y')), 96u);
}

TEST(PagePipeTest, OfALargeWriteTheOddBytesMayFillUpTheLastPage) {
  PipeState pipe = LinuxPipe();
  Write(pipe, std::string((kPages - 1) * kPage, 'x'));
  Write(pipe, std::string(10, 'y'));
  // 8000 = 4096 + 3904
  EXPECT_EQ(Write(pipe, std::string(8'000, 'z')), 3'904u);
}

TEST(PagePipeTest, OfALargeWriteTheOddBytesGoWholeOrNotAtAll) {
  PipeState pipe = LinuxPipe();
  Write(pipe, std::string((kPages - 1) * kPage, 'x'));
  Write(pipe, std::string(200, 'y'));
  EXPECT_EQ(Write(pipe, std::string(8'000, 'z')), 0u) << "200 + 3904 > 4096";
}

TEST(PagePipeTest, ALargeWriteIsTakenByWholePagesAfterItsOddBytes) {
  PipeState pipe = LinuxPipe();
  Write(pipe, std::string((kPages - 2) * kPage, 'x'));
  Write(pipe, std::string(10, 'y'));
  // 10000 = 2 * 4096 + 1808; one page is free.
  EXPECT_EQ(Write(pipe, std::string(10'000, 'z')), 1'808u + kPage);
  EXPECT_TRUE(pipe.full());
}

TEST(PagePipeTest, OnlyTheFirstTryOfAWriteFillsUpTheLastPage) {
  PipeState pipe = LinuxPipe();
  Write(pipe, std::string((kPages - 1) * kPage, 'x'));
  Write(pipe, std::string(10, 'y'));
  EXPECT_EQ(pipe.Room(100, true, /*first=*/false), 0u);
  EXPECT_EQ(pipe.Room(100, true, /*first=*/true), 100u);
}

TEST(PagePipeTest, TheRestOfALargeWriteBeginsANewPage) {
  PipeState pipe({.capacity_bytes = 2 * kPage, .slot_bytes = kPage});
  Write(pipe, "abc");
  EXPECT_EQ(Write(pipe, "rest", /*first=*/false), 4u);
  EXPECT_TRUE(pipe.full()) << "two pages, seven bytes";
  EXPECT_EQ(Read(pipe, 3), "abc");
  EXPECT_FALSE(pipe.full());
}

TEST(PagePipeTest, AWritersHundredThousandBytesStopAt65536) {
  PipeState pipe = LinuxPipe();
  const std::string data(100'000, 'x');
  EXPECT_EQ(Write(pipe, data), 65'536u);
  EXPECT_EQ(Write(pipe, data.substr(65'536), /*first=*/false), 0u);
  Read(pipe, kPage);
  EXPECT_EQ(Write(pipe, data.substr(65'536), /*first=*/false), kPage);
}

// --- Against a plain model ---------------------------------------------------

// Pages as fs/pipe.c has them: the bytes that were ever in each.
class PagesModel {
 public:
  PagesModel(size_t pages, size_t page_bytes)
      : pages_max_(pages), page_bytes_(page_bytes) {}

  // A write(2) that cannot sleep, with these bytes; how many went in.
  size_t Write(const std::string& data, bool whole) {
    const std::string odd = data.substr(0, data.size() % page_bytes_);
    std::deque<Page> before = pages_;
    size_t in = 0;
    if (!odd.empty() && !pages_.empty() &&
        pages_.back().bytes.size() + odd.size() <= page_bytes_) {
      pages_.back().bytes += odd;
      in = odd.size();
    }
    while (in < data.size() && pages_.size() < pages_max_) {
      pages_.push_back({data.substr(in, page_bytes_), 0});
      in += pages_.back().bytes.size();
    }
    if (whole && in < data.size()) {
      pages_ = before;
      return 0;
    }
    return in;
  }

  std::string Read(size_t n) {
    std::string data;
    while (n > 0 && !pages_.empty()) {
      Page& page = pages_.front();
      const std::string piece = page.bytes.substr(page.read, n);
      data += piece;
      page.read += piece.size();
      n -= piece.size();
      if (page.read == page.bytes.size()) pages_.pop_front();
    }
    return data;
  }

  bool full() const { return pages_.size() == pages_max_; }
  size_t unread_bytes() const {
    size_t bytes = 0;
    for (const Page& page : pages_) bytes += page.bytes.size() - page.read;
    return bytes;
  }

 private:
  struct Page {
    std::string bytes;
    size_t read;
  };

  const size_t pages_max_;
  const size_t page_bytes_;
  std::deque<Page> pages_;
};

TEST(PipeStateModelTest, DoesWhatPagesDo) {
  Random random(Seed());
  struct {
    size_t pages;
    size_t page_bytes;
  } const shapes[] = {{16, 16}, {1, 16}, {2, 64}, {7, 5}, {64, 1}, {1, 1}};
  for (const auto& shape : shapes) {
    SCOPED_TRACE(testing::Message()
                 << shape.pages << " x " << shape.page_bytes);
    PipeState pipe({.capacity_bytes = shape.pages * shape.page_bytes,
                    .slot_bytes = shape.page_bytes});
    PagesModel model(shape.pages, shape.page_bytes);
    uint64_t read = 0, written = 0;
    const int steps = Times(20'000);
    for (int i = 0; i < steps; ++i) {
      // Sizes around that of a page and that of the pipe.
      const size_t n = random.OneIn(2)
                           ? random.Below(2 * shape.page_bytes + 2)
                           : random.Below(2 * pipe.capacity_bytes());
      if (random.OneIn(2)) {
        std::string data(n, 0);
        for (char& c : data) c = static_cast<char>('a' + random.Below(26));
        const bool whole = n <= shape.page_bytes;
        const size_t in = Write(pipe, data, true, shape.page_bytes);
        ASSERT_EQ(in, model.Write(data, whole));
        written += in;
      } else {
        const std::string data = Read(pipe, n);
        ASSERT_EQ(data, model.Read(n));
        read += data.size();
      }
      ASSERT_EQ(pipe.full(), model.full());
      ASSERT_EQ(pipe.unread_bytes(), model.unread_bytes());
      ASSERT_EQ(pipe.read_offset(), read);
      ASSERT_EQ(pipe.write_offset(), written);
    }
  }
}

// --- Misuse ------------------------------------------------------------------

TEST(PipeStateDeathTest, APipeHoldsAWholeNumberOfSlots) {
  EXPECT_DEATH(PipeState({.capacity_bytes = 0, .slot_bytes = 1}),
               "a whole number of slots");
  EXPECT_DEATH(PipeState({.capacity_bytes = 10, .slot_bytes = 0}),
               "a whole number of slots");
  EXPECT_DEATH(PipeState({.capacity_bytes = 5'000, .slot_bytes = kPage}),
               "a whole number of slots");
}

TEST(PipeStateDeathTest, NobodyAppendsWhatDoesNotFit) {
  PipeState pipe({.capacity_bytes = 3, .slot_bytes = 1});
  EXPECT_DEATH(pipe.Append(absl::Cord("1234"), true), "more than its capacity");
  PipeState pages({.capacity_bytes = kPage, .slot_bytes = kPage});
  pages.Append(absl::Cord("1"), true);
  EXPECT_DEATH(pages.Append(absl::Cord("2"), false), "more than its capacity");
}

}  // namespace
}  // namespace waitq
