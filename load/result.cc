#include "load/result.h"

#include <algorithm>
#include <map>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace waitq::load {
namespace {

SeriesResult& SeriesNamed(RunResult& result, const std::string& name) {
  for (SeriesResult& series : result.series) {
    if (series.name == name) return series;
  }
  result.series.emplace_back().name = name;
  return result.series.back();
}

absl::Status AddSeries(const SeriesData& data, RunResult& result) {
  SeriesResult& series = SeriesNamed(result, data.name());
  const absl::StatusOr<Histogram> latency = Histogram::Load(data.latency_ns());
  if (!latency.ok()) return latency.status();
  series.latency_ns.Merge(*latency);
  series.operations += data.operations();
  series.bytes += data.bytes();
  const auto seconds = static_cast<size_t>(data.per_second_size());
  if (series.per_second.size() < seconds) series.per_second.resize(seconds);
  for (size_t i = 0; i < seconds; ++i) {
    series.per_second[i] += data.per_second(static_cast<int>(i));
  }
  return absl::OkStatus();
}

void AddNote(const NoteData& data, RunResult& result) {
  for (auto& [name, count] : result.notes) {
    if (name != data.name()) continue;
    count += data.count();
    return;
  }
  result.notes.emplace_back(data.name(), data.count());
}

void Judge(const std::vector<HostReport>& reports, RunResult& result) {
  DeliveryChecker checker(0);
  for (const HostReport& report : reports) {
    for (const auto& [queue, deliveries] : report.deliveries()) {
      checker.Merge(deliveries);
      result.has_deliveries = true;
    }
  }
  result.deliveries = checker.Judge();
  for (const std::string& failure : result.deliveries.failures) {
    ++result.failed_checks;
    result.failures.push_back(failure);
  }
  if (result.series.empty() || result.series.front().operations == 0) {
    ++result.failed_checks;
    result.failures.push_back("nothing was measured");
  }
}

// False: nothing was measured, and no bound is kept.
bool Measure(const RunResult& result, const SeriesResult& series,
             const std::string& metric, double& value) {
  static const std::map<std::string, double> kQuantiles = {
      {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1}};
  if (const auto quantile = kQuantiles.find(metric);
      quantile != kQuantiles.end()) {
    value = static_cast<double>(series.latency_ns.Quantile(quantile->second));
  } else if (metric == "mean") {
    value = series.latency_ns.Mean();
  } else if (metric == "rate") {
    value = result.RateOf(series);
  } else if (metric == "bytes") {
    value = static_cast<double>(series.bytes);
  } else {
    value = static_cast<double>(series.operations);
  }
  return series.operations > 0;
}

void CheckBounds(const Scenario& scenario, RunResult& result) {
  for (const Bound& bound : scenario.bounds) {
    BoundResult out{.text = bound.text,
                    .is_time = bound.metric.starts_with('p') ||
                               bound.metric.starts_with('m')};
    for (const SeriesResult& series : result.series) {
      const bool is_main = &series == &result.series.front();
      if (bound.series.empty() ? !is_main : series.name != bound.series) {
        continue;
      }
      out.kept = Measure(result, series, bound.metric, out.measured) &&
                 (bound.at_most ? out.measured <= bound.value
                                : out.measured >= bound.value);
    }
    result.bounds.push_back(out);
  }
}

}  // namespace

bool RunResult::good() const {
  return failed_checks == 0 &&
         std::all_of(bounds.begin(), bounds.end(),
                     [](const BoundResult& bound) { return bound.kept; });
}

absl::StatusOr<RunResult> MergeReports(const Scenario& scenario,
                                       const std::string& run,
                                       const std::vector<HostReport>& reports) {
  RunResult result;
  result.scenario = scenario.name;
  result.kind = std::string(NameOf(scenario.kind));
  result.run = run;
  result.hosts = static_cast<int>(reports.size());
  result.seconds = scenario.seconds;
  for (const HostReport& report : reports) {
    for (const SeriesData& data : report.series()) {
      if (absl::Status status = AddSeries(data, result); !status.ok()) {
        return status;
      }
    }
    for (const NoteData& note : report.notes()) AddNote(note, result);
    result.failed_checks += report.failed_checks();
    result.failures.insert(result.failures.end(), report.failures().begin(),
                           report.failures().end());
    result.clock_error = std::max(
        result.clock_error,
        absl::Nanoseconds(static_cast<int64_t>(report.clock_error_ns())));
  }
  Judge(reports, result);
  CheckBounds(scenario, result);
  return result;
}

}  // namespace waitq::load
