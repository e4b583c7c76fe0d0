#include "load/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "absl/status/status.h"

namespace waitq::load {
namespace {

// Bits of a value that decide on its bucket: the highest one, and these.
constexpr int kBits = 7;
constexpr uint64_t kPerPower = uint64_t{1} << kBits;
// Below this the buckets are one wide.
constexpr uint64_t kExact = 2 * kPerPower;
constexpr size_t kBuckets = kExact + (64 - kBits - 1) * kPerPower;

}  // namespace

size_t Histogram::BucketOf(uint64_t value) {
  if (value < kExact) return value;
  const int shift = std::bit_width(value) - kBits - 1;
  return kExact + (shift - 1) * kPerPower + ((value >> shift) - kPerPower);
}

uint64_t Histogram::UpperBorder(size_t bucket) {
  if (bucket < kExact) return bucket;
  const size_t shift = (bucket - kExact) / kPerPower + 1;
  const uint64_t top = (bucket - kExact) % kPerPower + kPerPower;
  // The last bucket's border is the greatest number of 64 bits, by overflow.
  return ((top + 1) << shift) - 1;
}

void Histogram::Record(uint64_t value, uint64_t times) {
  if (times == 0) return;
  const size_t bucket = BucketOf(value);
  if (bucket >= counts_.size()) counts_.resize(bucket + 1);
  counts_[bucket] += times;
  count_ += times;
  least_ = std::min(least_, value);
  most_ = std::max(most_, value);
  sum_ += static_cast<double>(value) * static_cast<double>(times);
}

void Histogram::Merge(const Histogram& other) {
  if (other.counts_.size() > counts_.size()) {
    counts_.resize(other.counts_.size());
  }
  for (size_t i = 0; i < other.counts_.size(); ++i) {
    counts_[i] += other.counts_[i];
  }
  count_ += other.count_;
  least_ = std::min(least_, other.least_);
  most_ = std::max(most_, other.most_);
  sum_ += other.sum_;
}

double Histogram::Mean() const {
  return count_ == 0 ? 0 : sum_ / static_cast<double>(count_);
}

uint64_t Histogram::Quantile(double q) const {
  if (count_ == 0) return 0;
  const double exact = std::ceil(q * static_cast<double>(count_));
  const auto rank = std::clamp<uint64_t>(
      exact < 1 ? 1 : static_cast<uint64_t>(exact), 1, count_);
  uint64_t below = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    below += counts_[i];
    if (below >= rank) return std::clamp(UpperBorder(i), least_, most_);
  }
  return most_;
}

void Histogram::Save(HistogramData& data) const {
  data.Clear();
  for (size_t i = 0; i < counts_.size(); ++i) {
    if (counts_[i] == 0) continue;
    data.add_bucket(static_cast<uint32_t>(i));
    data.add_count(counts_[i]);
  }
  data.set_least(least());
  data.set_most(most_);
  data.set_sum(sum_);
}

absl::StatusOr<Histogram> Histogram::Load(const HistogramData& data) {
  const absl::Status bad =
      absl::InvalidArgumentError("the histogram is damaged");
  if (data.bucket_size() != data.count_size()) return bad;
  Histogram histogram;
  for (int i = 0; i < data.bucket_size(); ++i) {
    if (data.bucket(i) >= kBuckets) return bad;
    if (i > 0 && data.bucket(i) <= data.bucket(i - 1)) return bad;
    histogram.counts_.resize(data.bucket(i) + 1);
    histogram.counts_.back() = data.count(i);
    histogram.count_ += data.count(i);
  }
  if (histogram.count_ > 0) {
    histogram.least_ = data.least();
    histogram.most_ = data.most();
    if (BucketOf(histogram.most_) != histogram.counts_.size() - 1) return bad;
    if (histogram.least_ > histogram.most_) return bad;
  }
  histogram.sum_ = data.sum();
  return histogram;
}

}  // namespace waitq::load
