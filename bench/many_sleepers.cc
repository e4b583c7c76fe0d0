#include "bench/many_sleepers.h"

#include <unistd.h>

#include <algorithm>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "absl/synchronization/blocking_counter.h"
#include "absl/time/clock.h"
#include "bench/load_connection.h"
#include "bench/session_target.h"
#include "client/client.h"

namespace waitq::bench {
namespace {

class Sleeper final : public SessionUser {
 public:
  explicit Sleeper(absl::BlockingCounter* left) : left_(*left) {}

 private:
  void OnResults(uint64_t, std::span<const std::string_view> popped) override {
    for (size_t i = 0; i < popped.size(); ++i) left_.DecrementCount();
  }

  absl::BlockingCounter& left_;
};

class Waker final : public SessionUser {
 private:
  void OnResults(uint64_t, std::span<const std::string_view>) override {}
};

class TimedSleeper final : public SessionUser {
 public:
  TimedSleeper(const std::vector<absl::Time>* due, absl::BlockingCounter* left)
      : due_(*due), left_(*left) {}

  // When all have ended.
  void AddTo(TimedSleepersResult& result) {
    for (const absl::Duration late : late_) {
      if (late < absl::ZeroDuration()) ++result.early;
      result.late.push_back(late);
    }
  }

 private:
  void OnResults(uint64_t, std::span<const std::string_view>) override {
    Die("something came for a sleeper that was to time out");
  }
  void OnTimedOut(uint64_t sleeper) override {
    late_.push_back(absl::Now() - due_[sleeper]);
    left_.DecrementCount();
  }

  const std::vector<absl::Time>& due_;
  absl::BlockingCounter& left_;
  std::vector<absl::Duration> late_;
};

std::string OwnName(const std::string& kind) {
  return kind + "." + std::to_string(getpid());
}

std::unique_ptr<Client> Connect(const std::string& address) {
  auto client = Client::Create({.server = address, .caller = "compare_load"});
  if (!client.ok()) Die(client.status().ToString());
  return *std::move(client);
}

uint64_t Asleep(Client& client, const std::vector<std::string>& names) {
  uint64_t asleep = 0;
  for (const std::string& name : names) {
    const auto stat = client.Stat(name);
    if (stat.ok()) asleep += stat->sleepers;
  }
  return asleep;
}

}  // namespace

absl::Duration RunManySleepers(const ManySleepers& sleepers,
                               const std::function<void(uint64_t)>& at_step) {
  const std::string queue = OwnName("sleepers");
  const uint64_t count = sleepers.asleep.back();
  absl::BlockingCounter left(static_cast<int>(count));
  Sleeper sleeper(&left);
  Waker waker;
  const auto waking =
      QueueSession::Open(sleepers.target, sleepers.address, queue, &waker);
  std::vector<std::unique_ptr<QueueSession>> sessions;
  uint64_t started = 0;
  for (const uint64_t step : sleepers.asleep) {
    for (; started < step; ++started) {
      if (started % sleepers.per_session == 0) {
        sessions.push_back(QueueSession::Open(sleepers.target, sleepers.address,
                                              queue, &sleeper));
      }
      sessions.back()->Pop(1);
    }
    at_step(step);
  }
  const absl::Time begin = absl::Now();
  waking->Push("wake", sleepers.one_push ? 1 : count);
  left.Wait();
  return absl::Now() - begin;
}

TimedSleepersResult RunTimedSleepers(const TimedSleepers& sleepers) {
  const std::string queue = OwnName("timeouts");
  absl::BlockingCounter left(static_cast<int>(sleepers.count));
  std::vector<absl::Time> due(sleepers.count);
  std::vector<std::unique_ptr<TimedSleeper>> users;
  std::vector<std::unique_ptr<QueueSession>> sessions;
  const uint64_t count =
      (sleepers.count + sleepers.per_session - 1) / sleepers.per_session;
  for (uint64_t i = 0; i < count; ++i) {
    users.push_back(std::make_unique<TimedSleeper>(&due, &left));
    sessions.push_back(QueueSession::Open(sleepers.target, sleepers.address,
                                          queue, users.back().get()));
  }
  const absl::Time begin = absl::Now();
  for (uint64_t i = 0; i < sleepers.count; ++i) {
    absl::SleepFor(begin + sleepers.spread * i / sleepers.count - absl::Now());
    due[i] = absl::Now() + absl::Seconds(sleepers.timeout_seconds);
    sessions[i % count]->PopWithin(sleepers.timeout_seconds, i);
  }
  left.Wait();
  sessions.clear();
  TimedSleepersResult result;
  for (const auto& user : users) user->AddTo(result);
  std::sort(result.late.begin(), result.late.end());
  return result;
}

void RunOthers(const std::string& address, int sessions, uint64_t objects,
               uint64_t count, const std::function<void()>& at_end) {
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < sessions; ++i) clients.push_back(Connect(address));
  std::vector<std::string> names;
  for (uint64_t i = 0; i < objects; ++i) {
    names.push_back(OwnName("other." + std::to_string(i)));
  }
  for (uint64_t i = 0; i < count; ++i) {
    clients[i % clients.size()]->Wait(
        names[i % objects], {.condition = Condition::Equal(1)},
        [](absl::StatusOr<WaitResult>) { Die("a sleeper was woken"); });
  }
  while (Asleep(*clients.front(), names) < count) {
    absl::SleepFor(absl::Milliseconds(100));
  }
  at_end();
}

}  // namespace waitq::bench
