#include "tests/server/pipe_script.h"

#include <algorithm>
#include <iterator>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "tests/core/fifo_script.h"
#include "tests/support/random.h"

namespace waitq::test {
namespace {

using Kind = PipeStep::Kind;

// Steps of a script, its ending included, that can be told apart.
constexpr size_t kStepsMax = 200;

}  // namespace

std::string ToString(const PipeStep& step) {
  static constexpr const char* kNames[] = {
      "opens to read", "reads on",     "opens to write", "writes on",
      "closes",        "goes away",    "reads",          "writes",
      "polls",         "gets a signal"};
  std::string text = absl::StrCat("process ", step.process, " ",
                                  kNames[static_cast<int>(step.kind)]);
  if (step.units > 0) absl::StrAppend(&text, " ", step.units);
  if (step.nonblock) absl::StrAppend(&text, ", without blocking");
  return text;
}

std::string ToString(const ProcessReport& report) {
  static constexpr const char* kNames[] = {
      "",          "reads",     "holds a reader", "writes", "holds a writer",
      "in a read", "in a write"};
  return absl::StrCat(report.happened, report.happened.empty() ? "" : "; ",
                      kNames[static_cast<int>(report.doing)]);
}

PipeScript RandomPipeScript(uint64_t seed) {
  Random random(seed);
  PipeScript script;
  script.capacity_units = size_t{1} << random.Below(3);
  script.window_units =
      random.OneIn(2) ? 1 : static_cast<size_t>(random.Between(2, 6));
  static constexpr size_t kUnitBytes[] = {16, 100, 4096, 16384};
  script.unit_bytes = kUnitBytes[random.Below(std::size(kUnitBytes))];
  // Some kinds of steps often, others not at all.
  std::vector<Kind> kinds;
  const auto weight = [&](Kind kind, int64_t least) {
    kinds.insert(kinds.end(),
                 static_cast<size_t>(std::max(random.Between(-1, 4), least)),
                 kind);
  };
  weight(Kind::kOpenReader, 1);
  weight(Kind::kReadOn, 2);
  weight(Kind::kOpenWriter, 1);
  weight(Kind::kWriteOn, 2);
  weight(Kind::kClose, 1);
  weight(Kind::kGoAway, 0);
  weight(Kind::kRead, 0);
  weight(Kind::kWrite, 0);
  weight(Kind::kPoll, 0);
  weight(Kind::kSignal, 0);
  const int64_t units_max =
      random.Between(1, static_cast<int64_t>(2 * script.capacity_units));
  for (int64_t i = random.Between(10, 80); i > 0; --i) {
    PipeStep step{.kind = kinds[random.Below(kinds.size())],
                  .process = static_cast<int>(random.Below(kProcesses))};
    switch (step.kind) {
      case Kind::kOpenReader:
      case Kind::kReadOn:
        step.units = script.window_units;
        break;
      case Kind::kWriteOn:
        step.units = static_cast<size_t>(random.Between(1, units_max));
        break;
      case Kind::kRead:
      case Kind::kWrite:
        step.units = static_cast<size_t>(
            random.OneIn(10) ? 0 : random.Between(1, units_max));
        step.nonblock = random.OneIn(2);
        break;
      default:
        break;
    }
    script.steps.push_back(step);
  }
  return script;
}

bool MakesSense(const PipeStep& step, const PipeScript& script,
                const PipeReport& now) {
  const Doing doing = now[static_cast<size_t>(step.process)].doing;
  switch (step.kind) {
    case Kind::kOpenReader:
    case Kind::kRead: {
      if (doing != Doing::kNothing) return false;
      if (script.window_units == 1) return true;
      // Nobody else reads, and no call, which may be one.
      return std::none_of(now.begin(), now.end(), [](const auto& each) {
        return each.doing == Doing::kReads ||
               each.doing == Doing::kHoldsReader ||
               each.doing == Doing::kReadCall;
      });
    }
    case Kind::kReadOn:
      if (doing != Doing::kHoldsReader) return false;
      return script.window_units == 1 ||
             std::none_of(now.begin(), now.end(), [](const auto& each) {
               return each.doing == Doing::kReadCall;
             });
    case Kind::kOpenWriter:
    case Kind::kWrite:
    case Kind::kPoll:
      return doing == Doing::kNothing;
    case Kind::kWriteOn:
      return doing == Doing::kHoldsWriter;
    case Kind::kClose:
      return doing == Doing::kHoldsWriter || doing == Doing::kHoldsReader;
    case Kind::kGoAway:
      return doing != Doing::kNothing;
    case Kind::kSignal:
      return doing == Doing::kReads || doing == Doing::kWrites ||
             doing == Doing::kReadCall || doing == Doing::kWriteCall;
  }
  return false;
}

// --- Words -------------------------------------------------------------------

std::string UnitNames::ToString(std::string_view bytes) const {
  if (bytes.size() % unit_bytes_ != 0) {
    return absl::StrCat("read ", bytes.size(), " bytes, which are no units");
  }
  std::string text = "read";
  for (; !bytes.empty(); bytes.remove_prefix(unit_bytes_)) {
    const std::string_view unit = bytes.substr(0, unit_bytes_);
    bool found = false;
    for (size_t step = 0; step < kStepsMax && !found; ++step) {
      const std::string_view all = BytesOf(step, kMaxWrite);
      for (size_t k = 0; (k + 1) * unit_bytes_ <= all.size() && k < 16; ++k) {
        if (all.substr(k * unit_bytes_, unit_bytes_) != unit) continue;
        absl::StrAppend(&text, " ", step, ".", k);
        found = true;
        break;
      }
    }
    if (!found) absl::StrAppend(&text, " garbage");
  }
  return text;
}

std::string WroteText(size_t units, size_t of, const std::string& ended_by) {
  std::string text = absl::StrCat("wrote ", units, " of ", of);
  if (units < of || !ended_by.empty()) absl::StrAppend(&text, ", ", ended_by);
  return text;
}

std::string EndOfFileText(bool broken) {
  return broken ? "broken end of file" : "end of file";
}

std::string PollText(bool in, bool out, bool hup, bool err) {
  return absl::StrCat("polled", in ? " in" : "", out ? " out" : "",
                      hup ? " hup" : "", err ? " err" : "");
}

}  // namespace waitq::test
