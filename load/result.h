// What came out of a run, of all hosts together, and how it is shown.

#ifndef WAITQ_LOAD_RESULT_H_
#define WAITQ_LOAD_RESULT_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "load/delivery_checker.h"
#include "load/histogram.h"
#include "load/report.pb.h"
#include "load/scenario.h"

namespace waitq::load {

struct SeriesResult {
  std::string name;
  Histogram latency_ns;
  uint64_t operations = 0;
  uint64_t bytes = 0;
  std::vector<uint64_t> per_second;  // the warm-up's with them
};

struct BoundResult {
  std::string text;
  double measured = 0;  // of times: nanoseconds
  bool is_time = false;
  bool kept = false;
};

struct RunResult {
  std::string scenario;
  std::string kind;
  std::string run;
  int hosts = 1;
  absl::Duration seconds;
  absl::Duration clock_error;
  std::vector<SeriesResult> series;  // the scenario's main one first
  std::vector<std::pair<std::string, uint64_t>> notes;
  bool has_deliveries = false;
  DeliveryChecker::Verdict deliveries;
  uint64_t failed_checks = 0;
  std::vector<std::string> failures;  // the first few, in words
  std::vector<BoundResult> bounds;

  double RateOf(const SeriesResult& one) const {
    return static_cast<double>(one.operations) / absl::ToDoubleSeconds(seconds);
  }
  // All checks passed and all bounds kept.
  bool good() const;
};

// Adds the hosts' reports up, and judges. INVALID_ARGUMENT: one is damaged.
absl::StatusOr<RunResult> MergeReports(const Scenario& scenario,
                                       const std::string& run,
                                       const std::vector<HostReport>& reports);

// For people.
std::string FormatTable(const RunResult& result);
// One line of JSON, without its end. Times are in microseconds.
std::string FormatJson(const RunResult& result);

// "1.23ms".
std::string FormatNanoseconds(double ns);

}  // namespace waitq::load

#endif  // WAITQ_LOAD_RESULT_H_
