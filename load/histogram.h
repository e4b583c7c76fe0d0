// A histogram of the HDR kind: of any range, with a fixed relative error, and
// the histograms of many hosts add up to one.

#ifndef WAITQ_LOAD_HISTOGRAM_H_
#define WAITQ_LOAD_HISTOGRAM_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "load/report.pb.h"

namespace waitq::load {

// Buckets are one wide up to 255; above that each power of two is cut into 128
// of them. What is read from it is the upper border of a bucket, and so never
// below what was recorded, and above it by less than 1/128 (0.8 %). The least
// and the greatest value are exact.
//
// Thread safety: none.
// Memory: 8 bytes for each bucket up to the highest that was used; 59 KB at
//   most.
class Histogram {
 public:
  void Record(uint64_t value, uint64_t times = 1);
  // As if all that `other` has been told had been told to this one.
  void Merge(const Histogram& other);
  void Clear() { *this = Histogram(); }

  uint64_t count() const { return count_; }
  // These are 0 as long as nothing was recorded.
  uint64_t least() const { return count_ == 0 ? 0 : least_; }
  uint64_t most() const { return most_; }
  double Mean() const;
  // The value that a share `q` (0 to 1) of all values does not exceed.
  uint64_t Quantile(double q) const;

  void Save(HistogramData& data) const;
  // INVALID_ARGUMENT: it was not made by Save().
  static absl::StatusOr<Histogram> Load(const HistogramData& data);

 private:
  static size_t BucketOf(uint64_t value);
  static uint64_t UpperBorder(size_t bucket);

  std::vector<uint64_t> counts_;
  uint64_t count_ = 0;
  uint64_t least_ = UINT64_MAX;
  uint64_t most_ = 0;
  double sum_ = 0;
};

}  // namespace waitq::load

#endif  // WAITQ_LOAD_HISTOGRAM_H_
