#include "bench/session_sleepers.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "bench/load_connection.h"
#include "client/client.h"

namespace waitq::bench {
namespace {

std::unique_ptr<Client> Connect(const std::string& address) {
  auto client = Client::Create({.server = address, .caller = "session_load"});
  if (!client.ok()) Die(client.status().ToString());
  return *std::move(client);
}

uint64_t Asleep(Client& client, const std::string& name) {
  const auto stat = client.Stat(name);
  return stat.ok() ? stat->sleepers : 0;
}

}  // namespace

absl::Duration RunSessionSleepers(
    const std::string& address, int sessions,
    const std::vector<uint64_t>& steps,
    const std::function<void(uint64_t, absl::Duration)>& at_step) {
  const std::string name = "sleepers." + std::to_string(getpid());
  const std::unique_ptr<Client> control = Connect(address);
  if (!control->CreateWaitQueue(name).ok()) Die("cannot make the wait queue");
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < sessions; ++i) clients.push_back(Connect(address));

  absl::BlockingCounter left(static_cast<int>(steps.back()));
  uint64_t started = 0;
  absl::Duration parking;
  for (const uint64_t step : steps) {
    const absl::Time begin = absl::Now();
    for (; started < step; ++started) {
      // Looked at like this: it takes nothing, and all wake together.
      clients[started % clients.size()]->Wait(
          name, {.condition = Condition::Equal(1)},
          [&left](absl::StatusOr<WaitResult> result) {
            if (!result.ok()) Die("a sleep: " + result.status().ToString());
            left.DecrementCount();
          });
    }
    while (Asleep(*control, name) < step) absl::SleepFor(absl::Milliseconds(1));
    parking += absl::Now() - begin;
    at_step(step, parking);
  }
  const absl::Time begin = absl::Now();
  const auto woken =
      control->WakeUp(name, {.update = Action::Set(1), .all = true});
  if (!woken.ok() || woken->woken != steps.back()) Die("not all were asleep");
  left.Wait();
  const absl::Duration taken = absl::Now() - begin;
  (void)control->Remove(name);
  return taken;
}

TimeoutsResult RunTimeouts(const std::string& address, uint64_t count,
                           absl::Duration spread) {
  const std::string name = "timeouts." + std::to_string(getpid());
  const std::unique_ptr<Client> client = Connect(address);
  TimeoutsResult result;
  absl::Mutex mu;
  absl::BlockingCounter left(static_cast<int>(count));
  for (uint64_t i = 0; i < count; ++i) {
    const absl::Duration timeout = absl::Seconds(1) + spread * i / count;
    client->Wait(name,
                 {.condition = Condition::Equal(1),
                  .timeout = timeout,
                  .want_timing = true},
                 [&, timeout](absl::StatusOr<WaitResult> ended) {
                   if (!ended.ok() || ended->outcome != Outcome::kTimedOut ||
                       !ended->timing.has_value()) {
                     Die("a timeout: " + ended.status().ToString());
                   }
                   {
                     absl::MutexLock lock(&mu);
                     if (ended->timing->asleep < timeout) ++result.early;
                     result.late.push_back(ended->timing->overshoot);
                   }
                   left.DecrementCount();
                 });
  }
  left.Wait();
  std::sort(result.late.begin(), result.late.end());
  return result;
}

}  // namespace waitq::bench
