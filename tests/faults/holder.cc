// A program of the fault lab, made to be killed while it holds a lock, or one
// of a semaphore's permits: it takes it, does something to a store under it a
// few times, and gives it back; what it knows is in a file at the moment at
// which it knows it, a line for each thing:
//
//   G TOKEN         holds it
//   A TOKEN HOW     has done something to the store: ok, or old (the store has
//                   seen a higher token; a store that checks would refuse it)
//   B TOKEN         is about to give it back
//   R TOKEN WHY     was told that it is given back: OK, or why not
//   L TOKEN WHY     was told that it is lost
//   N WHY           did not get it
//
// Each ends with the time, in nanoseconds of CLOCK_MONOTONIC. With --child it
// is what `waitq run` runs: it holds what WAITQ_TOKEN names, does not listen to
// SIGTERM, and ends after --acts.

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "client/client.h"
#include "client/error.h"
#include "client/grant.h"
#include "client/lock.h"
#include "client/semaphore.h"
#include "tests/faults/record.h"

namespace waitq::test {
namespace {

std::atomic<bool> over{false};

// What is guarded: a file that has the highest token that anybody came with.
class Store {
 public:
  explicit Store(const std::string& path)
      : file_(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
    if (file_ < 0) std::abort();
  }
  ~Store() { close(file_); }
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  void Act(uint64_t token, Record& record) {
    while (flock(file_, LOCK_EX) != 0) {
    }
    uint64_t highest = 0;
    if (pread(file_, &highest, sizeof(highest), 0) < 0) std::abort();
    const bool old = token < highest;
    if (!old && pwrite(file_, &token, sizeof(token), 0) < 0) std::abort();
    record.Say("A", {absl::StrCat(token), old ? "old" : "ok"});
    flock(file_, LOCK_UN);
  }

 private:
  const int file_;
};

struct Settings {
  std::string server;
  std::string name = "lab";
  std::string log;
  std::string store;
  int64_t permits = 0;  // 0: a lock
  double grace_s = 1;
  int acts = 8;  // at most, under one grant
  int pace_us = 2000;
  uint64_t seed = 1;
  bool child = false;
};

std::string Why(const absl::Status& status) {
  if (status.ok()) return "OK";
  const std::string reason = ErrorReason(status);
  return reason.empty() ? absl::StatusCodeToString(status.code()) : reason;
}

class Holder {
 public:
  explicit Holder(const Settings& settings)
      : settings_(settings),
        record_(settings.log),
        store_(settings.store),
        random_(static_cast<uint32_t>(settings.seed)) {}

  void HoldAgainAndAgain() {
    auto client = Client::Create({.server = settings_.server,
                                  .grace = absl::Seconds(settings_.grace_s)});
    if (!client.ok()) std::abort();
    while (!over) HoldOnce(**client);
  }

  void HoldAsChild() {
    const char* token = std::getenv("WAITQ_TOKEN");
    if (token == nullptr) std::abort();
    const uint64_t number = std::strtoull(token, nullptr, 10);
    record_.Say("G", {token});
    for (int left = settings_.acts; left > 0; --left) {
      store_.Act(number, record_);
      Pause();
    }
    record_.Say("B", {token});
  }

 private:
  absl::StatusOr<Grant> Acquire(Client& client) {
    const AcquireOptions options{.timeout = absl::Seconds(1)};
    if (settings_.permits == 0) {
      return Lock(&client, settings_.name).Acquire(options);
    }
    return Semaphore(&client, settings_.name, settings_.permits)
        .Acquire(options);
  }

  void HoldOnce(Client& client) {
    absl::StatusOr<Grant> grant = Acquire(client);
    if (!grant.ok() || !grant->is_held()) {
      record_.Say("N", {grant.ok() ? "TIMED_OUT" : Why(grant.status())});
      if (!grant.ok()) absl::SleepFor(absl::Milliseconds(10));
      return;
    }
    const std::string token = absl::StrCat(grant->token());
    record_.Say("G", {token});
    // The client's thread calls it, if at all, while `grant` is there.
    grant->OnLost([&](const absl::Status& why) {
      record_.Say("L", {token, Why(why)});
    });
    for (int left = 1 + Random(settings_.acts); left > 0; --left) {
      if (!grant->is_held()) return;
      store_.Act(grant->token(), record_);
      Pause();
    }
    record_.Say("B", {token});
    record_.Say("R", {token, Why(grant->GiveBack().status())});
    Pause();
  }

  int Random(int below) { return static_cast<int>(random_() % below); }
  void Pause() {
    absl::SleepFor(absl::Microseconds(Random(2 * settings_.pace_us)));
  }

  const Settings& settings_;
  Record record_;
  Store store_;
  std::minstd_rand random_;
};

int Run(int argc, char** argv) {
  // Debian's abseil checks lock orders at each lock, and aborts.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  Settings settings;
  CLI::App app("A holder of the fault lab.");
  app.add_option("--server", settings.server);
  app.add_option("--name", settings.name);
  app.add_option("--log", settings.log)->required();
  app.add_option("--store", settings.store)->required();
  app.add_option("--permits", settings.permits);
  app.add_option("--grace", settings.grace_s);
  app.add_option("--acts", settings.acts);
  app.add_option("--pace", settings.pace_us);
  app.add_option("--seed", settings.seed);
  app.add_flag("--child", settings.child);
  CLI11_PARSE(app, argc, argv);

  struct sigaction action = {};
  action.sa_handler = [](int) { over = true; };
  if (settings.child) action.sa_handler = SIG_IGN;
  sigaction(SIGTERM, &action, nullptr);

  Holder holder(settings);
  if (settings.child) {
    holder.HoldAsChild();
  } else {
    holder.HoldAgainAndAgain();
  }
  return 0;
}

}  // namespace
}  // namespace waitq::test

int main(int argc, char** argv) { return waitq::test::Run(argc, argv); }
