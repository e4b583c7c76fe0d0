// The keys of scenarios, for the parser and for --help.

#ifndef WAITQ_LOAD_SCENARIO_KEYS_H_
#define WAITQ_LOAD_SCENARIO_KEYS_H_

#include <span>
#include <string>
#include <variant>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "load/scenario.h"

namespace waitq::load {

struct Key {
  absl::string_view name;
  // The kinds that know it, separated by spaces; "": all.
  absl::string_view kinds;
  // Where it goes, which says what it is: a number, a rate a second, a
  // duration, or yes/no by name.
  std::variant<uint64_t Scenario::*, double Scenario::*,
               absl::Duration Scenario::*, bool Scenario::*>
      field;
  // Of numbers and rates; of durations in milliseconds.
  double least;
  double most;
  absl::string_view unit;
  absl::string_view meaning;
};

std::span<const Key> Keys();

// Whether scenarios of this kind have the key.
bool Applies(const Key& key, Kind kind);

// OUT_OF_RANGE or INVALID_ARGUMENT: what would be right.
absl::Status SetKey(const Key& key, absl::string_view value,
                    Scenario& scenario);

// "1 to 10000", for people.
std::string RangeOf(const Key& key);
// As SetKey() takes it.
std::string ValueOf(const Key& key, const Scenario& scenario);

}  // namespace waitq::load

#endif  // WAITQ_LOAD_SCENARIO_KEYS_H_
