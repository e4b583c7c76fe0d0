#include "load/histogram.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "load/report.pb.h"
#include "tests/support/random.h"

namespace waitq::load {
namespace {

TEST(HistogramTest, IsZeroWhenEmpty) {
  const Histogram empty;
  EXPECT_EQ(empty.count(), 0u);
  EXPECT_EQ(empty.least(), 0u);
  EXPECT_EQ(empty.most(), 0u);
  EXPECT_EQ(empty.Quantile(0.5), 0u);
  EXPECT_EQ(empty.Mean(), 0);
}

TEST(HistogramTest, IsExactUpTo255) {
  Histogram histogram;
  for (uint64_t v = 0; v < 256; ++v) histogram.Record(v);
  for (uint64_t v = 0; v < 256; ++v) {
    EXPECT_EQ(histogram.Quantile((v + 1) / 256.0), v);
  }
}

TEST(HistogramTest, ErrsUpwardsAndByLessThanOnePart128) {
  std::mt19937_64 random(test::Seed());
  for (int i = 0; i < 10000; ++i) {
    const uint64_t value = random() >> (random() % 64);
    Histogram histogram;
    histogram.Record(value);
    // Not clamped to the greatest: so that the bucket's border is seen.
    histogram.Record(UINT64_MAX);
    histogram.Record(0);
    const uint64_t read = histogram.Quantile(0.5);
    ASSERT_GE(read, value);
    ASSERT_LE(static_cast<double>(read - value),
              static_cast<double>(value) / 128)
        << value;
  }
}

TEST(HistogramTest, ReadsTheExactRankOfASample) {
  std::mt19937_64 random(test::Seed());
  std::vector<uint64_t> sample(9999);
  Histogram histogram;
  for (uint64_t& value : sample) {
    value = random() % 10'000'000;
    histogram.Record(value);
  }
  std::sort(sample.begin(), sample.end());
  for (const double q : {0.0, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    const double rank = std::max(1.0, std::ceil(q * sample.size()));
    const uint64_t exact = sample[static_cast<size_t>(rank) - 1];
    EXPECT_GE(histogram.Quantile(q), exact) << q;
    EXPECT_LE(histogram.Quantile(q), exact + exact / 128) << q;
  }
  EXPECT_EQ(histogram.least(), sample.front());
  EXPECT_EQ(histogram.most(), sample.back());
}

TEST(HistogramTest, MergedIsAsIfAllHadBeenRecordedInOne) {
  std::mt19937_64 random(test::Seed());
  Histogram all, merged;
  for (int part = 0; part < 4; ++part) {
    Histogram one;
    for (int i = 0; i < 1000; ++i) {
      const uint64_t value = random() >> (random() % 64);
      one.Record(value);
      all.Record(value);
    }
    merged.Merge(one);
  }
  EXPECT_EQ(merged.count(), all.count());
  EXPECT_EQ(merged.least(), all.least());
  EXPECT_EQ(merged.most(), all.most());
  for (double q = 0; q <= 1; q += 0.01) {
    EXPECT_EQ(merged.Quantile(q), all.Quantile(q));
  }
}

TEST(HistogramTest, SurvivesTheWayToAnotherHost) {
  Histogram histogram;
  for (const uint64_t value : {0ul, 3ul, 70'000ul, 70'000ul, UINT64_MAX}) {
    histogram.Record(value);
  }
  HistogramData data;
  histogram.Save(data);
  EXPECT_EQ(data.bucket_size(), 4) << "only what is not empty";
  const auto loaded = Histogram::Load(data);
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ(loaded->count(), 5u);
  EXPECT_EQ(loaded->least(), 0u);
  EXPECT_EQ(loaded->most(), UINT64_MAX);
  EXPECT_EQ(loaded->Mean(), histogram.Mean());
  EXPECT_EQ(loaded->Quantile(0.8), histogram.Quantile(0.8));
}

TEST(HistogramTest, RefusesWhatItHasNotSaved) {
  Histogram histogram;
  histogram.Record(1000);
  histogram.Record(2000);
  HistogramData good;
  histogram.Save(good);
  HistogramData longer = good;
  longer.add_bucket(9000);
  EXPECT_FALSE(Histogram::Load(longer).ok());
  longer.add_count(1);
  EXPECT_FALSE(Histogram::Load(longer).ok()) << "there is no such bucket";
  HistogramData unordered = good;
  unordered.set_bucket(1, good.bucket(0));
  EXPECT_FALSE(Histogram::Load(unordered).ok());
  HistogramData greater = good;
  greater.set_most(100'000);
  EXPECT_FALSE(Histogram::Load(greater).ok());
}

}  // namespace
}  // namespace waitq::load
