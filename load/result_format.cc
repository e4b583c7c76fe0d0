#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "load/result.h"

namespace waitq::load {
namespace {

std::string Quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      absl::StrAppend(&out, "\\", std::string(1, c));
    } else if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppendFormat(&out, "\\u%04x", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

// Joins what `format` makes of each element: of JSON's lists.
template <class List, class Format>
std::string Listed(const List& list, Format format) {
  std::string out;
  for (const auto& element : list) {
    absl::StrAppend(&out, out.empty() ? "" : ", ", format(element));
  }
  return out;
}

double Microseconds(uint64_t ns) { return static_cast<double>(ns) / 1000; }

std::string SeriesJson(const RunResult& result, const SeriesResult& series) {
  const Histogram& latency = series.latency_ns;
  std::string out = absl::StrFormat(
      "{\"name\": %s, \"operations\": %d, \"rate\": %.1f, \"bytes\": %d, "
      "\"bytes_per_second\": %.0f",
      Quoted(series.name), series.operations, result.RateOf(series),
      series.bytes,
      static_cast<double>(series.bytes) /
          absl::ToDoubleSeconds(result.seconds));
  absl::StrAppendFormat(
      &out,
      ", \"latency_us\": {\"min\": %.1f, \"mean\": %.1f, \"p50\": %.1f, "
      "\"p90\": %.1f, \"p99\": %.1f, \"p99.9\": %.1f, \"max\": %.1f}",
      Microseconds(latency.least()), latency.Mean() / 1000,
      Microseconds(latency.Quantile(0.5)), Microseconds(latency.Quantile(0.9)),
      Microseconds(latency.Quantile(0.99)),
      Microseconds(latency.Quantile(0.999)), Microseconds(latency.most()));
  absl::StrAppend(
      &out, ", \"per_second\": [",
      Listed(series.per_second, [](uint64_t n) { return absl::StrCat(n); }),
      "]}");
  return out;
}

std::string DeliveriesJson(const DeliveryChecker::Verdict& verdict) {
  return absl::StrCat(
      "{\"sent\": ", verdict.sent, ", \"received\": ", verdict.received,
      ", \"lost\": ", verdict.lost, ", \"doubled\": ", verdict.doubled,
      ", \"invented\": ", verdict.invented, ", \"unknown\": ", verdict.unknown,
      "}");
}

// Times as microseconds.
std::string BoundJson(const BoundResult& bound) {
  return absl::StrFormat("{\"bound\": %s, \"measured\": %.1f, \"kept\": %s}",
                         Quoted(bound.text),
                         bound.is_time ? bound.measured / 1000 : bound.measured,
                         bound.kept ? "true" : "false");
}

// 12345678 as "12,345,678".
std::string Grouped(double value) {
  std::string digits = absl::StrFormat("%.0f", value);
  for (int i = static_cast<int>(digits.size()) - 3; i > 0; i -= 3) {
    digits.insert(i, ",");
  }
  return digits;
}

}  // namespace

std::string FormatNanoseconds(double ns) {
  if (ns < 1e3) return absl::StrFormat("%.0fns", ns);
  if (ns < 1e6) return absl::StrFormat("%.3gus", ns / 1e3);
  if (ns < 1e9) return absl::StrFormat("%.3gms", ns / 1e6);
  return absl::StrFormat("%.3gs", ns / 1e9);
}

std::string FormatTable(const RunResult& result) {
  std::string out =
      absl::StrFormat("%s (%s), %d %s, %s\n\n", result.scenario, result.kind,
                      result.hosts, result.hosts == 1 ? "host" : "hosts",
                      absl::FormatDuration(result.seconds));
  absl::StrAppendFormat(&out, "%-12s%12s%12s%10s%10s%10s%10s%10s\n", "what",
                        "operations", "/s", "p50", "p90", "p99", "p99.9",
                        "max");
  for (const SeriesResult& series : result.series) {
    const Histogram& latency = series.latency_ns;
    absl::StrAppendFormat(&out, "%-12s%12s%12s", series.name,
                          Grouped(static_cast<double>(series.operations)),
                          Grouped(result.RateOf(series)));
    for (const double q : {0.5, 0.9, 0.99, 0.999, 1.0}) {
      absl::StrAppendFormat(
          &out, "%10s",
          FormatNanoseconds(static_cast<double>(latency.Quantile(q))));
    }
    if (series.bytes > 0) {
      absl::StrAppendFormat(&out, "  %.1f MB/s",
                            static_cast<double>(series.bytes) / 1e6 /
                                absl::ToDoubleSeconds(result.seconds));
    }
    out += "\n";
  }
  out += "\n";
  if (result.clock_error > absl::ZeroDuration()) {
    absl::StrAppend(&out, "the hosts' clocks agree within ",
                    absl::FormatDuration(result.clock_error), "\n");
  }
  if (result.has_deliveries) {
    const DeliveryChecker::Verdict& all = result.deliveries;
    absl::StrAppend(&out, "messages: ", all.sent, " sent, ", all.received,
                    " received, ", all.lost, " lost, ", all.doubled,
                    " doubled\n");
  }
  for (const auto& [name, count] : result.notes) {
    absl::StrAppend(&out, "noted: ", name, ": ", count, "\n");
  }
  for (const BoundResult& bound : result.bounds) {
    absl::StrAppend(&out, bound.kept ? "kept:   " : "MISSED: ", bound.text,
                    " (",
                    bound.is_time ? FormatNanoseconds(bound.measured)
                                  : Grouped(bound.measured),
                    ")\n");
  }
  for (const std::string& failure : result.failures) {
    absl::StrAppend(&out, "FAILED: ", failure, "\n");
  }
  absl::StrAppend(&out, "checks: ",
                  result.failed_checks == 0
                      ? "all passed"
                      : absl::StrCat(result.failed_checks, " failed"),
                  "\n");
  return out;
}

std::string FormatJson(const RunResult& result) {
  std::string out = absl::StrFormat(
      "{\"scenario\": %s, \"kind\": %s, \"run\": %s, \"hosts\": %d, "
      "\"seconds\": %g, \"clock_error_us\": %.1f, \"good\": %s",
      Quoted(result.scenario), Quoted(result.kind), Quoted(result.run),
      result.hosts, absl::ToDoubleSeconds(result.seconds),
      absl::ToDoubleMicroseconds(result.clock_error),
      result.good() ? "true" : "false");
  absl::StrAppend(&out, ", \"series\": [",
                  Listed(result.series,
                         [&result](const SeriesResult& series) {
                           return SeriesJson(result, series);
                         }),
                  "]");
  if (result.has_deliveries) {
    absl::StrAppend(&out,
                    ", \"deliveries\": ", DeliveriesJson(result.deliveries));
  }
  absl::StrAppend(&out, ", \"notes\": {",
                  Listed(result.notes,
                         [](const std::pair<std::string, uint64_t>& note) {
                           return absl::StrCat(Quoted(note.first), ": ",
                                               note.second);
                         }),
                  "}");
  absl::StrAppend(&out, ", \"bounds\": [", Listed(result.bounds, BoundJson),
                  "]");
  absl::StrAppend(&out, ", \"failed_checks\": ", result.failed_checks,
                  ", \"failures\": [", Listed(result.failures, Quoted), "]}");
  return out;
}

}  // namespace waitq::load
