// What a host measures while it runs.

#ifndef WAITQ_LOAD_RECORDER_H_
#define WAITQ_LOAD_RECORDER_H_

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "load/histogram.h"
#include "load/report.pb.h"

namespace waitq::load {

// One kind of operation.
//
// Thread safety: any thread may call any method.
class Series {
 public:
  explicit Series(std::string name) : name_(std::move(name)) {}

  const std::string& name() const { return name_; }

  // Operations count that end from `start` + `warmup` until `end`.
  void Begin(absl::Time start, absl::Duration warmup, absl::Time end)
      ABSL_LOCKS_EXCLUDED(mu_);
  // One that was due at `due` and has ended at `now`.
  void Record(absl::Time due, absl::Time now, uint64_t bytes = 0)
      ABSL_LOCKS_EXCLUDED(mu_);

  void Save(SeriesData& data) const ABSL_LOCKS_EXCLUDED(mu_);
  // What was recorded since the last call: for those who watch.
  Histogram TakeRecent() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  const std::string name_;
  mutable absl::Mutex mu_;
  absl::Time start_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();
  absl::Time measured_from_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();
  absl::Time end_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  Histogram latency_ ABSL_GUARDED_BY(mu_);
  Histogram recent_ ABSL_GUARDED_BY(mu_);
  uint64_t operations_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t bytes_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<uint64_t> per_second_ ABSL_GUARDED_BY(mu_);
};

// What a host finds wrong, and what it finds worth saying.
//
// Thread safety: any thread may call any method.
class Findings {
 public:
  // A check has failed. The first few are kept in words.
  void Fail(const std::string& what) ABSL_LOCKS_EXCLUDED(mu_);
  // Something that is no failure has happened once more.
  void Note(const std::string& name, uint64_t times = 1)
      ABSL_LOCKS_EXCLUDED(mu_);
  bool failed() const ABSL_LOCKS_EXCLUDED(mu_);
  void Save(HostReport& report) const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  mutable absl::Mutex mu_;
  uint64_t failed_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<std::string> words_ ABSL_GUARDED_BY(mu_);
  std::vector<std::pair<std::string, uint64_t>> notes_ ABSL_GUARDED_BY(mu_);
};

// All of a host.
class Recorder {
 public:
  // Before the start, by one thread; what it returns lives as long as this.
  Series& Add(const std::string& name) { return series_.emplace_back(name); }
  std::deque<Series>& series() { return series_; }
  Findings& findings() { return findings_; }

  void Begin(absl::Time start, absl::Duration warmup, absl::Time end);
  void Save(HostReport& report) const;

 private:
  std::deque<Series> series_;
  Findings findings_;
};

}  // namespace waitq::load

#endif  // WAITQ_LOAD_RECORDER_H_
