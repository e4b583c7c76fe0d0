#include "load/recorder.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace waitq::load {
namespace {

constexpr size_t kWordsMax = 8;

}  // namespace

void Series::Begin(absl::Time start, absl::Duration warmup, absl::Time end) {
  absl::MutexLock lock(&mu_);
  start_ = start;
  measured_from_ = start + warmup;
  end_ = end;
}

void Series::Record(absl::Time due, absl::Time now, uint64_t bytes) {
  // Clocks of two hosts agree only so well.
  const auto latency = static_cast<uint64_t>(
      std::max<int64_t>(0, absl::ToInt64Nanoseconds(now - due)));
  absl::MutexLock lock(&mu_);
  recent_.Record(latency);
  if (now < start_ || now >= end_) return;
  const auto second = static_cast<size_t>(absl::ToInt64Seconds(now - start_));
  if (second >= per_second_.size()) per_second_.resize(second + 1);
  ++per_second_[second];
  if (now < measured_from_) return;
  latency_.Record(latency);
  ++operations_;
  bytes_ += bytes;
}

void Series::Save(SeriesData& data) const {
  absl::MutexLock lock(&mu_);
  data.set_name(name_);
  latency_.Save(*data.mutable_latency_ns());
  data.set_operations(operations_);
  data.set_bytes(bytes_);
  // The last second may not be a whole one, and would look like a stall.
  const auto whole = static_cast<size_t>(
      std::max<int64_t>(1, absl::ToInt64Seconds(end_ - start_)));
  for (size_t i = 0; i < std::min(whole, per_second_.size()); ++i) {
    data.add_per_second(per_second_[i]);
  }
}

Histogram Series::TakeRecent() {
  absl::MutexLock lock(&mu_);
  return std::exchange(recent_, Histogram());
}

void Findings::Fail(const std::string& what) {
  absl::MutexLock lock(&mu_);
  ++failed_;
  if (words_.size() < kWordsMax) words_.push_back(what);
}

void Findings::Note(const std::string& name, uint64_t times) {
  if (times == 0) return;
  absl::MutexLock lock(&mu_);
  for (auto& [known, count] : notes_) {
    if (known != name) continue;
    count += times;
    return;
  }
  notes_.emplace_back(name, times);
}

bool Findings::failed() const {
  absl::MutexLock lock(&mu_);
  return failed_ > 0;
}

void Findings::Save(HostReport& report) const {
  absl::MutexLock lock(&mu_);
  report.set_failed_checks(failed_);
  for (const std::string& words : words_) report.add_failures(words);
  for (const auto& [name, count] : notes_) {
    NoteData& note = *report.add_notes();
    note.set_name(name);
    note.set_count(count);
  }
}

void Recorder::Begin(absl::Time start, absl::Duration warmup, absl::Time end) {
  for (Series& series : series_) series.Begin(start, warmup, end);
}

void Recorder::Save(HostReport& report) const {
  for (const Series& series : series_) series.Save(*report.add_series());
  findings_.Save(report);
}

}  // namespace waitq::load
