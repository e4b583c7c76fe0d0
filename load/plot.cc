#include "load/plot.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace waitq::load {
namespace {

constexpr double kWidth = 760;
constexpr double kHeight = 300;  // of each of the two
constexpr double kLeft = 80;
constexpr double kRight = 40;
constexpr double kTop = 40;
constexpr double kBottom = 40;
// Told apart by people who see no red or green, too.
constexpr const char* kColours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                    "#e69f00"};

const char* Colour(size_t i) { return kColours[i % std::size(kColours)]; }

std::string Escaped(const std::string& text) {
  return absl::StrReplaceAll(text,
                             {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}});
}

// One diagram: x and y from 0 to 1, the origin at the left and the bottom.
class Diagram {
 public:
  Diagram(double top, const std::string& title) : top_(top) {
    Text(kLeft, top + 20, "start", title, "bold");
    absl::StrAppendFormat(
        &svg_,
        "<rect x='%g' y='%g' width='%g' height='%g' fill='none' "
        "stroke='#888'/>\n",
        kLeft, top_ + kTop, Inner(kWidth, kLeft, kRight),
        Inner(kHeight, kTop, kBottom));
  }

  void XTick(double x, const std::string& label) {
    Line({{x, 0}, {x, 1}}, "#ddd", 1);
    Text(X(x), Y(0) + 18, "middle", label);
  }
  void YTick(double y, const std::string& label) {
    Line({{0, y}, {1, y}}, "#ddd", 1);
    Text(kLeft - 6, Y(y) + 4, "end", label);
  }
  void Line(const std::vector<std::pair<double, double>>& points,
            const char* colour, double width) {
    std::string places;
    for (const auto& [x, y] : points) {
      absl::StrAppendFormat(&places, "%.1f,%.1f ", X(x), Y(y));
    }
    absl::StrAppendFormat(&svg_,
                          "<polyline points='%s' fill='none' stroke='%s' "
                          "stroke-width='%g'/>\n",
                          places, colour, width);
  }
  void Legend(size_t i, const std::string& name) {
    const double x = kLeft + 200 + 105 * static_cast<double>(i);
    absl::StrAppendFormat(
        &svg_, "<rect x='%g' y='%g' width='10' height='10' fill='%s'/>\n", x,
        top_ + 12, Colour(i));
    Text(x + 14, top_ + 21, "start", name);
  }

  const std::string& svg() const { return svg_; }

 private:
  static double Inner(double all, double before, double behind) {
    return all - before - behind;
  }
  double X(double x) const { return kLeft + x * Inner(kWidth, kLeft, kRight); }
  double Y(double y) const {
    return top_ + kHeight - kBottom - y * Inner(kHeight, kTop, kBottom);
  }
  void Text(double x, double y, const char* anchor, const std::string& text,
            const char* weight = "normal") {
    absl::StrAppendFormat(
        &svg_,
        "<text x='%.1f' y='%.1f' text-anchor='%s' font-weight='%s'>%s</text>\n",
        x, y, anchor, weight, Escaped(text));
  }

  const double top_;
  std::string svg_;
};

// x: each nine one step further. y: logarithmic, by powers of ten.
std::string LatencyDiagram(const RunResult& result) {
  Diagram diagram(0, "latency by percentile");
  uint64_t least = UINT64_MAX, most = 1000;
  for (const SeriesResult& series : result.series) {
    if (series.operations == 0) continue;
    least = std::min(least, std::max<uint64_t>(1, series.latency_ns.least()));
    most = std::max(most, series.latency_ns.most());
  }
  least = std::min(least, most);
  const double low = std::floor(std::log10(static_cast<double>(least)));
  const double high =
      std::max(low + 1, std::ceil(std::log10(static_cast<double>(most))));
  constexpr double kNines = 5;
  for (const auto& [nines, label] :
       std::vector<std::pair<double, const char*>>{{0, "0"},
                                                   {0.301, "50"},
                                                   {1, "90"},
                                                   {2, "99"},
                                                   {3, "99.9"},
                                                   {4, "99.99"},
                                                   {5, "99.999 %"}}) {
    diagram.XTick(nines / kNines, label);
  }
  for (double power = low; power <= high; ++power) {
    diagram.YTick((power - low) / (high - low),
                  FormatNanoseconds(std::pow(10, power)));
  }
  for (size_t i = 0; i < result.series.size(); ++i) {
    const SeriesResult& series = result.series[i];
    diagram.Legend(i, series.name);
    std::vector<std::pair<double, double>> points;
    for (double nines = 0; nines <= kNines; nines += 0.05) {
      const double value = std::max<double>(
          1, static_cast<double>(
                 series.latency_ns.Quantile(1 - std::pow(10, -nines))));
      points.emplace_back(nines / kNines,
                          (std::log10(value) - low) / (high - low));
    }
    if (series.operations > 0) diagram.Line(points, Colour(i), 2);
  }
  return diagram.svg();
}

std::string ThroughputDiagram(const RunResult& result) {
  Diagram diagram(kHeight, "operations in each second");
  size_t seconds = 2;
  uint64_t most = 1;
  for (const SeriesResult& series : result.series) {
    seconds = std::max(seconds, series.per_second.size());
    for (const uint64_t n : series.per_second) most = std::max(most, n);
  }
  const size_t step = std::max<size_t>(1, seconds / 10);
  const auto last = static_cast<double>(seconds - 1);
  for (size_t i = 0; i < seconds; i += step) {
    diagram.XTick(static_cast<double>(i) / last, absl::StrCat(i, " s"));
  }
  for (int i = 0; i <= 4; ++i) {
    diagram.YTick(i / 4.0,
                  absl::StrFormat("%.0f", static_cast<double>(most) * i / 4));
  }
  for (size_t i = 0; i < result.series.size(); ++i) {
    std::vector<std::pair<double, double>> points;
    for (size_t s = 0; s < result.series[i].per_second.size(); ++s) {
      points.emplace_back(static_cast<double>(s) / last,
                          static_cast<double>(result.series[i].per_second[s]) /
                              static_cast<double>(most));
    }
    diagram.Line(points, Colour(i), 2);
  }
  return diagram.svg();
}

}  // namespace

std::string PlotSvg(const RunResult& result) {
  return absl::StrFormat(
      "<svg xmlns='http://www.w3.org/2000/svg' width='%g' height='%g' "
      "font-family='sans-serif' font-size='12'>\n"
      "<title>%s, %d hosts</title>\n"
      "<rect width='100%%' height='100%%' fill='white'/>\n%s%s</svg>\n",
      kWidth, 2 * kHeight, Escaped(result.scenario), result.hosts,
      LatencyDiagram(result), ThroughputDiagram(result));
}

}  // namespace waitq::load
