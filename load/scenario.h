// A scenario: what is to be done to the server, how fast, and what must come
// out. Read from a small text file (docs/load.md).

#ifndef WAITQ_LOAD_SCENARIO_H_
#define WAITQ_LOAD_SCENARIO_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace waitq::load {

enum class Kind {
  kWake,
  kPingPong,
  kQueue,
  kBulk,
  kHerd,
  kTimers,
  kLocks,
  kChurn,
  kMixed,
};
inline constexpr Kind kKinds[] = {Kind::kWake,  Kind::kPingPong, Kind::kQueue,
                                  Kind::kBulk,  Kind::kHerd,     Kind::kTimers,
                                  Kind::kLocks, Kind::kChurn,    Kind::kMixed};

// As it is written in a scenario: "wake".
absl::string_view NameOf(Kind kind);

// `require SERIES.METRIC <= VALUE`: a bound on what comes out.
struct Bound {
  std::string text;    // as written, for reports
  std::string series;  // "": the scenario's main one
  std::string metric;  // p50 p90 p99 p99.9 max mean rate bytes operations
  bool at_most = true;
  double value = 0;  // of times: nanoseconds
};

// The fields are the keys; scenario_keys.cc tells what they mean.
struct Scenario {
  std::string name;
  Kind kind = Kind::kWake;
  double rate = 0;
  absl::Duration seconds = absl::Seconds(10);
  absl::Duration warmup = absl::Milliseconds(500);
  uint64_t sessions = 1;
  uint64_t in_flight = 100'000;
  absl::Duration grace = absl::Seconds(30);

  uint64_t pairs = 1;  // wake, ping-pong

  uint64_t producers = 1;  // queue
  uint64_t consumers = 1;
  uint64_t size = 64;
  uint64_t depth = 1;
  bool unary = false;
  uint64_t capacity = 1 << 20;  // queue, bulk

  uint64_t streams = 1;  // bulk
  uint64_t chunk = 128 << 10;

  uint64_t sleepers = 1000;  // herd
  absl::Duration pause = absl::Milliseconds(10);

  uint64_t deadlines = 1000;  // timers
  absl::Duration shortest = absl::Milliseconds(100);
  absl::Duration longest = absl::Seconds(1);

  uint64_t locks = 1;  // locks
  uint64_t lockers = 8;
  uint64_t permits = 1;
  absl::Duration hold;
  double lock_rate = 0;  // in mixed

  uint64_t visitors = 2;  // churn
  absl::Duration stay = absl::Milliseconds(5);
  double visit_rate = 0;  // in mixed

  std::vector<Bound> bounds;
};

// INVALID_ARGUMENT: "FILE:LINE: what is wrong, and what would be right".
absl::StatusOr<Scenario> ParseScenario(const std::string& file,
                                       absl::string_view text);

// The same of a file. NOT_FOUND: it cannot be read.
absl::StatusOr<Scenario> ReadScenario(const std::string& path);

// All keys, one a line, with unit, range, default and meaning: for --help.
std::string DescribeKeys();

}  // namespace waitq::load

#endif  // WAITQ_LOAD_SCENARIO_H_
