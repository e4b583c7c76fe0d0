#include "load/scenario.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "load/scenario_keys.h"

namespace waitq::load {
namespace {

constexpr absl::string_view kTimeMetrics[] = {"p50",   "p90", "p99",
                                              "p99.9", "max", "mean"};
constexpr absl::string_view kPlainMetrics[] = {"rate", "bytes", "operations"};

template <class Names>
bool Contains(const Names& names, absl::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

// "p99", "locks.p99.9": a series' name has no dot of its own.
void SplitMetric(absl::string_view text, Bound& bound) {
  const std::vector<std::string> parts =
      absl::StrSplit(text, absl::MaxSplits('.', 1));
  if (parts.size() == 2 && !Contains(kTimeMetrics, text)) {
    bound.series = parts[0];
    bound.metric = parts[1];
  } else {
    bound.metric = std::string(text);
  }
}

absl::StatusOr<Bound> ParseBound(absl::string_view text) {
  const std::vector<std::string> words =
      absl::StrSplit(text, ' ', absl::SkipEmpty());
  const absl::Status wrong = absl::InvalidArgumentError(absl::StrCat(
      "'require ", text,
      "' (accepted: require [SERIES.]METRIC <= VALUE, or >=; METRIC is p50 p90 "
      "p99 p99.9 max mean, whose VALUE is a time, or rate bytes operations)"));
  if (words.size() != 3 || (words[1] != "<=" && words[1] != ">=")) return wrong;
  Bound bound;
  bound.text = absl::StrJoin(words, " ");
  bound.at_most = words[1] == "<=";
  SplitMetric(words[0], bound);
  if (Contains(kTimeMetrics, bound.metric)) {
    absl::Duration time;
    if (!absl::ParseDuration(words[2], &time)) return wrong;
    bound.value = absl::ToDoubleNanoseconds(time);
  } else if (!Contains(kPlainMetrics, bound.metric) ||
             !absl::SimpleAtod(words[2], &bound.value)) {
    return wrong;
  }
  return bound;
}

absl::StatusOr<Kind> ParseKind(absl::string_view text) {
  std::string names;
  for (const Kind kind : kKinds) {
    if (text == NameOf(kind)) return kind;
    absl::StrAppend(&names, " ", NameOf(kind));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("kind = '", text, "' (accepted:", names, ")"));
}

struct Line {
  int number;
  std::string key;
  std::string value;
};

// `key = value` or `key value`; what follows a # is for people.
absl::StatusOr<Line> SplitLine(int number, absl::string_view text) {
  text = absl::StripAsciiWhitespace(text.substr(0, text.find('#')));
  Line line{.number = number, .key = {}, .value = {}};
  if (text.empty()) return line;
  const size_t end = text.find_first_of(" \t=");
  if (end == absl::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", text, "' has no value (accepted: KEY = VALUE)"));
  }
  line.key = std::string(text.substr(0, end));
  absl::string_view rest = absl::StripLeadingAsciiWhitespace(text.substr(end));
  if (absl::StartsWith(rest, "=") && line.key != "require") {
    rest = absl::StripLeadingAsciiWhitespace(rest.substr(1));
  }
  line.value = std::string(rest);
  return line;
}

absl::Status SetLine(const Line& line, Scenario& scenario) {
  if (line.key == "require") {
    absl::StatusOr<Bound> bound = ParseBound(line.value);
    if (!bound.ok()) return bound.status();
    scenario.bounds.push_back(*std::move(bound));
    return absl::OkStatus();
  }
  std::string known = "kind require";
  for (const Key& key : Keys()) {
    if (!Applies(key, scenario.kind)) continue;
    if (key.name == line.key) {
      return SetKey(key, line.value, scenario);
    }
    absl::StrAppend(&known, " ", key.name);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", line.key, "' is no key of kind ", NameOf(scenario.kind),
                   " (accepted: ", known, ")"));
}

absl::Status At(const std::string& file, int line, const absl::Status& error) {
  return absl::InvalidArgumentError(
      absl::StrCat(file, ":", line, ": ", error.message()));
}

// What single keys cannot know.
absl::Status CheckTogether(const Scenario& scenario) {
  if (scenario.shortest > scenario.longest) {
    return absl::InvalidArgumentError("shortest is longer than longest");
  }
  if (scenario.size > scenario.capacity && scenario.kind != Kind::kBulk) {
    return absl::InvalidArgumentError("size is more than capacity");
  }
  return absl::OkStatus();
}

std::string BaseName(const std::string& path) {
  std::string name = path.substr(path.find_last_of('/') + 1);
  if (absl::EndsWith(name, ".load")) name.resize(name.size() - 5);
  return name;
}

}  // namespace

absl::string_view NameOf(Kind kind) {
  switch (kind) {
    case Kind::kWake:
      return "wake";
    case Kind::kPingPong:
      return "pingpong";
    case Kind::kQueue:
      return "queue";
    case Kind::kBulk:
      return "bulk";
    case Kind::kHerd:
      return "herd";
    case Kind::kTimers:
      return "timers";
    case Kind::kLocks:
      return "locks";
    case Kind::kChurn:
      return "churn";
    case Kind::kMixed:
      return "mixed";
  }
  return "?";
}

absl::StatusOr<Scenario> ParseScenario(const std::string& file,
                                       absl::string_view text) {
  Scenario scenario;
  scenario.name = BaseName(file);
  std::vector<Line> lines;
  int number = 0;
  bool has_kind = false;
  for (const absl::string_view raw : absl::StrSplit(text, '\n')) {
    absl::StatusOr<Line> line = SplitLine(++number, raw);
    if (!line.ok()) return At(file, number, line.status());
    if (line->key == "kind") {
      // First, since it decides which keys there are, wherever it stands.
      absl::StatusOr<Kind> kind = ParseKind(line->value);
      if (!kind.ok()) return At(file, number, kind.status());
      if (has_kind) {
        return At(file, number, absl::InvalidArgumentError("a second kind"));
      }
      scenario.kind = *kind;
      has_kind = true;
    } else if (!line->key.empty()) {
      lines.push_back(*std::move(line));
    }
  }
  if (!has_kind) {
    return At(file, number, absl::InvalidArgumentError("there is no kind"));
  }
  std::set<std::string> seen;
  for (const Line& line : lines) {
    if (line.key != "require" && !seen.insert(line.key).second) {
      return At(file, line.number,
                absl::InvalidArgumentError("a second " + line.key));
    }
    if (absl::Status status = SetLine(line, scenario); !status.ok()) {
      return At(file, line.number, status);
    }
  }
  if (absl::Status status = CheckTogether(scenario); !status.ok()) {
    return At(file, number, status);
  }
  return scenario;
}

absl::StatusOr<Scenario> ReadScenario(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  if (!(text << file.rdbuf())) {
    return absl::NotFoundError(
        absl::StrCat(path, ": cannot be read: ", std::strerror(errno)));
  }
  return ParseScenario(path, text.str());
}

std::string DescribeKeys() {
  std::string text;
  const Scenario defaults;
  for (const Key& key : Keys()) {
    absl::StrAppendFormat(&text, "  %-11s%s\n", key.name,
                          key.kinds.empty() ? "(all)" : key.kinds);
    absl::StrAppendFormat(&text, "             %s; %s; default %s\n", key.unit,
                          RangeOf(key), ValueOf(key, defaults));
    if (!key.meaning.empty()) {
      absl::StrAppendFormat(&text, "             %s\n", key.meaning);
    }
  }
  return text;
}

}  // namespace waitq::load
