#include "load/scenario_keys.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"

namespace waitq::load {
namespace {

constexpr double kHour = 3600e3;
constexpr double kMessageMax = (4 << 20) - 1024;

constexpr Key kKeys[] = {
    {"rate", "", &Scenario::rate, 0, 10e6, "operations/s of all hosts",
     "open loop: so many are begun a second, whatever became of those before, "
     "and latency counts from when each was due; 0: closed loop, each worker "
     "begins the next when the last has ended"},
    {"seconds", "", &Scenario::seconds, 100, 24 * kHour, "time",
     "how long the load lasts, after the warm-up; --seconds goes before it"},
    {"warmup", "", &Scenario::warmup, 0, kHour, "time",
     "what ends in it is checked, and not measured"},
    {"sessions", "", &Scenario::sessions, 1, 1000, "sessions of each host",
     "a host's workers share them"},
    {"in_flight", "", &Scenario::in_flight, 1, 10e6, "operations of each host",
     "an open loop that has so many under way waits; what it is late counts"},
    {"grace", "", &Scenario::grace, 100, 24 * kHour, "time",
     "the sessions' grace: how long a cut may last"},
    {"pairs", "wake pingpong", &Scenario::pairs, 1, 100e3, "pairs",
     "sleepers, each with its waker"},
    {"producers", "queue mixed", &Scenario::producers, 1, 10e3, "producers",
     ""},
    {"consumers", "queue mixed", &Scenario::consumers, 1, 10e3, "consumers",
     ""},
    {"size", "queue mixed", &Scenario::size, 40, kMessageMax, "bytes",
     "of each message"},
    {"depth", "queue mixed", &Scenario::depth, 1, 100e3, "operations",
     "that each producer (in a closed loop) and consumer has under way"},
    {"unary", "queue mixed", &Scenario::unary, 0, 1, "yes or no",
     "plain unary calls on one connection a host, not a session"},
    {"capacity", "queue bulk mixed", &Scenario::capacity, 4096, 64 << 20,
     "bytes", "of each pipe"},
    {"streams", "bulk", &Scenario::streams, 1, 1000, "streams",
     "pipes with a writer and a reader"},
    {"chunk", "bulk", &Scenario::chunk, 1, 4 << 20, "bytes", "of each write"},
    {"sleepers", "herd", &Scenario::sleepers, 1, 1e6, "sleepers", ""},
    {"pause", "herd", &Scenario::pause, 0, kHour, "time", "between rounds"},
    {"deadlines", "timers", &Scenario::deadlines, 1, 1e6, "sleepers", ""},
    {"shortest", "timers", &Scenario::shortest, 1, kHour, "time",
     "of the sleepers' timeouts, which are spread evenly"},
    {"longest", "timers", &Scenario::longest, 1, kHour, "time", "the same"},
    {"locks", "locks mixed", &Scenario::locks, 1, 100e3, "locks", ""},
    {"lockers", "locks mixed", &Scenario::lockers, 1, 100e3, "workers",
     "each takes a lock, the next one each time"},
    {"permits", "locks mixed", &Scenario::permits, 1, 1e6, "holders",
     "that a lock may have: 1 is a lock, more a semaphore"},
    {"hold", "locks mixed", &Scenario::hold, 0, kHour, "time",
     "how long a lock is kept"},
    {"lock_rate", "mixed", &Scenario::lock_rate, 0, 10e6, "locks/s",
     "as rate, which is that of messages there"},
    {"visitors", "churn mixed", &Scenario::visitors, 1, 1000,
     "threads of each host",
     "each connects, sleeps, is woken or cancelled or just goes, and again"},
    {"stay", "churn mixed", &Scenario::stay, 0, kHour, "time",
     "how long a visitor sleeps at most"},
    {"visit_rate", "mixed", &Scenario::visit_rate, 0, 100e3, "visits/s",
     "as rate"},
};

std::string Number(double value) { return absl::StrFormat("%.10g", value); }

template <class T>
constexpr bool kIs(const Key& key) {
  return std::holds_alternative<T Scenario::*>(key.field);
}

// 4096, 64KiB, 1MiB, 2.5, 1e6.
bool ParseNumber(absl::string_view text, double& number) {
  double unit = 1;
  for (const auto& [suffix, factor] :
       {std::pair<absl::string_view, double>{"KiB", 1 << 10},
        std::pair<absl::string_view, double>{"MiB", 1 << 20}}) {
    if (!absl::EndsWith(text, suffix)) continue;
    text.remove_suffix(suffix.size());
    unit = factor;
  }
  if (!absl::SimpleAtod(text, &number)) return false;
  number *= unit;
  return std::isfinite(number);
}

}  // namespace

std::span<const Key> Keys() { return kKeys; }

bool Applies(const Key& key, Kind kind) {
  if (key.kinds.empty()) {
    // Nobody asks for timeouts, rounds or bytes at a rate.
    const bool closed = kind == Kind::kTimers || kind == Kind::kHerd;
    return key.name != "rate" || !closed;
  }
  for (const absl::string_view name : absl::StrSplit(key.kinds, ' ')) {
    if (name == NameOf(kind)) {
      return true;
    }
  }
  return false;
}

std::string RangeOf(const Key& key) {
  if (kIs<bool>(key)) return "yes or no";
  if (kIs<absl::Duration>(key)) {
    return absl::StrCat(absl::FormatDuration(absl::Milliseconds(key.least)),
                        " to ",
                        absl::FormatDuration(absl::Milliseconds(key.most)));
  }
  return absl::StrCat(Number(key.least), " to ", Number(key.most));
}

std::string ValueOf(const Key& key, const Scenario& scenario) {
  if (const auto* flag = std::get_if<bool Scenario::*>(&key.field)) {
    return scenario.**flag ? "yes" : "no";
  }
  if (const auto* time = std::get_if<absl::Duration Scenario::*>(&key.field)) {
    return absl::FormatDuration(scenario.**time);
  }
  if (const auto* rate = std::get_if<double Scenario::*>(&key.field)) {
    return Number(scenario.**rate);
  }
  return absl::StrCat(scenario.*std::get<uint64_t Scenario::*>(key.field));
}

absl::Status SetKey(const Key& key, absl::string_view value,
                    Scenario& scenario) {
  const absl::Status wrong = absl::InvalidArgumentError(absl::StrCat(
      key.name, " = '", value, "' (accepted: ", RangeOf(key), ")"));
  if (const auto* flag = std::get_if<bool Scenario::*>(&key.field)) {
    if (value != "yes" && value != "no") return wrong;
    scenario.** flag = value == "yes";
    return absl::OkStatus();
  }
  if (const auto* time = std::get_if<absl::Duration Scenario::*>(&key.field)) {
    absl::Duration duration;
    if (!absl::ParseDuration(std::string(value), &duration) ||
        duration < absl::Milliseconds(key.least) ||
        duration > absl::Milliseconds(key.most)) {
      return wrong;
    }
    scenario.** time = duration;
    return absl::OkStatus();
  }
  double number;
  if (!ParseNumber(value, number) || number < key.least || number > key.most) {
    return wrong;
  }
  if (const auto* rate = std::get_if<double Scenario::*>(&key.field)) {
    scenario.** rate = number;
    return absl::OkStatus();
  }
  if (number != std::floor(number)) return wrong;
  scenario.*std::get<uint64_t Scenario::*>(key.field) =
      static_cast<uint64_t>(number);
  return absl::OkStatus();
}

}  // namespace waitq::load
