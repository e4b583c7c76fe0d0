#include "load/message.h"

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace waitq::load {
namespace {

constexpr uint64_t kRun = 77;

Message Some() {
  return {.producer = 3,
          .sequence = 12345678901,
          .intended = absl::FromUnixNanos(987654321)};
}

TEST(MessageTest, ComesOutAsItWentIn) {
  for (const size_t size : {40, 41, 64, 1000, 100'000}) {
    const std::string bytes = EncodeMessage(kRun, Some(), size);
    EXPECT_EQ(bytes.size(), size);
    const auto message = DecodeMessage(kRun, bytes, size);
    ASSERT_TRUE(message.ok()) << message.status();
    EXPECT_EQ(message->producer, 3u);
    EXPECT_EQ(message->sequence, 12345678901u);
    EXPECT_EQ(message->intended, absl::FromUnixNanos(987654321));
  }
}

TEST(MessageTest, ShowsEveryDamagedByte) {
  for (const size_t size : {40, 43, 100}) {
    const std::string good = EncodeMessage(kRun, Some(), size);
    for (size_t i = 0; i < size; ++i) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ 0x10);
      EXPECT_TRUE(absl::IsDataLoss(DecodeMessage(kRun, bad, size).status()))
          << "byte " << i << " of " << size;
    }
  }
}

TEST(MessageTest, ShowsThatItWasCutOrMended) {
  const std::string good = EncodeMessage(kRun, Some(), 64);
  EXPECT_FALSE(DecodeMessage(kRun, good.substr(0, 63), 64).ok());
  EXPECT_FALSE(DecodeMessage(kRun, good + "x", 64).ok());
  EXPECT_FALSE(DecodeMessage(kRun, "", 64).ok());
}

TEST(MessageTest, IsOfOneRunOnly) {
  const std::string bytes = EncodeMessage(kRun, Some(), 64);
  EXPECT_FALSE(DecodeMessage(kRun + 1, bytes, 64).ok());
}

TEST(StreamTest, IsFoundToBeRightHoweverItIsCut) {
  std::string whole(1000, '\0');
  FillStream(5, 0, whole);
  for (size_t offset = 0; offset < 40; ++offset) {
    for (size_t size = 0; size < 40; ++size) {
      const std::string part = whole.substr(offset, size);
      std::string filled(size, '\0');
      FillStream(5, offset, filled);
      ASSERT_EQ(filled, part);
      ASSERT_EQ(FindWrongByte(5, offset, part), std::string::npos);
    }
  }
}

TEST(StreamTest, ShowsTheFirstWrongByte) {
  std::string whole(100, '\0');
  FillStream(5, 3, whole);
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string bad = whole;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    EXPECT_EQ(FindWrongByte(5, 3, bad), i);
  }
  EXPECT_NE(FindWrongByte(6, 3, whole), std::string::npos) << "another stream";
  EXPECT_NE(FindWrongByte(5, 11, whole), std::string::npos) << "eight lost";
}

}  // namespace
}  // namespace waitq::load
