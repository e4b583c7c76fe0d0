#include "load/clock_sync.h"

#include <cstdint>
#include <fstream>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "client/types.h"

namespace waitq::load {
namespace {

constexpr int kRounds = 20;
// Asked instead of a round's number.
constexpr int64_t kNoMore = -1;

// Names the kernel, for as long as it runs. Not 0, and the same in each process
// of this program.
int64_t KernelId() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  file >> id;
  uint64_t hash = 14695981039346656037u;  // FNV-1a
  for (const char c : id)
    hash = (hash ^ static_cast<uint8_t>(c)) * 1099511628211u;
  return static_cast<int64_t>(hash | 1);
}

class Exchange {
 public:
  Exchange(Client& client, HostGroup& group) : client_(client), group_(group) {}

  absl::Status Set(const std::string& name, int64_t value) {
    return client_
        .WakeUp(group_.Name("clock/" + name),
                {.update = Action::Set(value), .all = true}, group_.stop())
        .status();
  }
  // Sleeps until it is another value than 0, and makes it that.
  absl::StatusOr<int64_t> Take(const std::string& name) {
    const absl::StatusOr<WaitResult> result =
        client_.Wait(group_.Name("clock/" + name),
                     {.condition = Condition{Condition::Test::kNotEqual, 0},
                      .then = Action::Set(0)},
                     group_.stop());
    if (!result.ok()) return result.status();
    return result->value_before;
  }

 private:
  Client& client_;
  HostGroup& group_;
};

// Host 0, for one of the others.
absl::Status Answer(Exchange& exchange, int host, const RunClock& clock) {
  const std::string ask = absl::StrCat("ask/", host);
  const std::string answer = absl::StrCat("answer/", host);
  if (absl::Status sent = exchange.Set(answer, KernelId()); !sent.ok()) {
    return sent;
  }
  for (;;) {
    const absl::StatusOr<int64_t> asked = exchange.Take(ask);
    if (!asked.ok()) return asked.status();
    if (*asked == kNoMore) return absl::OkStatus();
    const absl::Status sent =
        exchange.Set(answer, absl::ToUnixNanos(clock.Now()));
    if (!sent.ok()) return sent;
  }
}

absl::StatusOr<absl::Duration> Ask(Exchange& exchange, int host,
                                   RunClock& clock) {
  const std::string ask = absl::StrCat("ask/", host);
  const std::string answer = absl::StrCat("answer/", host);
  const absl::StatusOr<int64_t> kernel = exchange.Take(answer);
  if (!kernel.ok()) return kernel.status();
  absl::Duration quickest = absl::InfiniteDuration();
  absl::Duration ahead;
  for (int i = 1; *kernel != KernelId() && i <= kRounds; ++i) {
    const absl::Time asked = clock.Now();
    if (absl::Status sent = exchange.Set(ask, i); !sent.ok()) return sent;
    const absl::StatusOr<int64_t> theirs = exchange.Take(answer);
    if (!theirs.ok()) return theirs.status();
    const absl::Duration way = clock.Now() - asked;
    if (way >= quickest) continue;
    quickest = way;
    ahead = absl::FromUnixNanos(*theirs) - (asked + way / 2);
  }
  if (absl::Status sent = exchange.Set(ask, kNoMore); !sent.ok()) return sent;
  if (*kernel == KernelId()) return absl::ZeroDuration();
  clock.SetAhead(ahead);
  return quickest / 2;
}

}  // namespace

absl::StatusOr<absl::Duration> SyncClock(Client& client, HostGroup& group,
                                         RunClock& clock) {
  Exchange exchange(client, group);
  if (group.host() != 0) return Ask(exchange, group.host(), clock);
  for (int host = 1; host < group.hosts(); ++host) {
    if (absl::Status status = Answer(exchange, host, clock); !status.ok()) {
      return status;
    }
  }
  return absl::ZeroDuration();
}

}  // namespace waitq::load
