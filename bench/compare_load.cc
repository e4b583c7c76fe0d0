// Puts the same load on waitqd, on the bare server and on their peers, and says
// in a line of JSON what came of it. One job each:
//
//   compare_load queue    --target=redis --server=127.0.0.1:6379 --sessions=32
//   compare_load queue    --target=waitq --server=... --in-flight=32
//   compare_load pushpop  --target=redis-rpop --server=... --in-flight=256
//   compare_load wake     --target=beanstalkd --server=... --wakes=2000
//   compare_load sleepers --target=waitq --server=... --asleep=1000,10000
//   compare_load timeouts --target=redis --server=... --asleep=10000
//   compare_load bulk     --target=waitq --server=... --bytes=1000000000
//   compare_load others   --server=... --asleep=1000000 --objects=1000
//
// `queue` and `wake` are the consumer's process; when it is asleep it starts
// the producer's, which is this program again (`producers`, `waker`).
// `sleepers` and `others` write a line whenever as many sleep as was asked for,
// and go on when they read one.

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "bench/bulk_load.h"
#include "bench/load_connection.h"
#include "bench/many_sleepers.h"
#include "bench/session_sleepers.h"
#include "bench/this_program.h"
#include "bench/wake_load.h"
#include "bench/workers_load.h"

namespace waitq::bench {
namespace {

constexpr int kLongestSeconds = 120;

struct Options {
  std::string target = "waitq";
  std::string server = "127.0.0.1:7411";
  std::string queue;
  int sessions = 1;
  uint64_t in_flight = 1;
  uint64_t message_bytes = 16;
  double seconds = 1;
  uint64_t wakes = 2'000;
  uint64_t pause_us = 500;
  std::vector<uint64_t> asleep = {10'000};
  int timeout_seconds = 3;
  uint64_t objects = 1'000;
  uint64_t bytes = 1'000'000'000;
  uint64_t write_bytes = 128 << 10;
  uint64_t capacity_bytes = 1 << 20;
  std::string out;
};

double Micros(absl::Duration duration) {
  return absl::ToDoubleMicroseconds(duration);
}

double Percentile(const std::vector<absl::Duration>& ascending, size_t p) {
  return Micros(ascending[(ascending.size() - 1) * p / 100]);
}

// Somebody looks at the server meanwhile.
void AwaitGo(uint64_t asleep) {
  std::printf("{\"asleep\": %lu}\n", asleep);
  std::fflush(stdout);
  std::string line;
  if (!std::getline(std::cin, line)) Die("nobody says when to go on");
}

// What the other process of a load is to know, too.
std::vector<std::string> Arguments(const std::string& load,
                                   const Options& options) {
  return {load, "--target=" + options.target, "--server=" + options.server,
          "--queue=" + options.queue,
          "--message-bytes=" + std::to_string(options.message_bytes)};
}

WorkersLoad WorkersOf(const Options& options) {
  return {.target = options.target,
          .address = options.server,
          .queue = options.queue,
          .sessions = options.sessions,
          .in_flight = options.in_flight,
          .message_bytes = options.message_bytes,
          .duration = absl::Seconds(options.seconds)};
}

void Queue(Options& options) {
  options.queue = "queue." + std::to_string(getpid());
  const WorkersResult result = RunConsumers(WorkersOf(options), [&] {
    auto words = Arguments("producers", options);
    words.push_back("--sessions=" + std::to_string(options.sessions));
    words.push_back("--in-flight=" + std::to_string(options.in_flight));
    words.push_back("--seconds=" + std::to_string(options.seconds));
    RunThisProgram(words);
  });
  std::printf(
      "{\"messages\": %lu, \"seconds\": %g, \"total\": %lu, \"cpu_us\": %g}\n",
      result.messages, options.seconds, result.total, Micros(result.processor));
}

void Producers(Options& options) { RunProducers(WorkersOf(options)); }

void PushPop(Options& options) {
  options.queue = "queue." + std::to_string(getpid());
  const PushPopResult result = RunPushThenPop(WorkersOf(options));
  std::printf("{\"push_us\": %g, \"pop_us\": %g}\n", Micros(result.push),
              Micros(result.pop));
}

WakeLoad WakeOf(const Options& options) {
  return {.target = options.target,
          .address = options.server,
          .queue = options.queue,
          .wakes = options.wakes,
          .message_bytes = options.message_bytes,
          .pause = absl::Microseconds(options.pause_us)};
}

void Wake(Options& options) {
  options.queue = "wake." + std::to_string(getpid());
  const WakeLoadResult result = RunSleeper(WakeOf(options), [&] {
    auto words = Arguments("waker", options);
    words.push_back("--wakes=" + std::to_string(options.wakes));
    words.push_back("--pause-us=" + std::to_string(options.pause_us));
    RunThisProgram(words);
  });
  if (result.latencies.empty())
    Die("the pauses are too short for this machine");
  std::printf(
      "{\"wakes\": %zu, \"not_asleep\": %lu, \"p50_us\": %g, \"p99_us\": %g}\n",
      result.latencies.size(), result.not_asleep,
      Percentile(result.latencies, 50), Percentile(result.latencies, 99));
}

void Waker(Options& options) { RunWaker(WakeOf(options)); }

void Sleepers(Options& options) {
  absl::Duration taken;
  if (options.target == "waitq") {
    // Those who wait for a word to change: one WakeUp wakes all.
    taken = RunSessionSleepers(
        options.server, options.sessions, options.asleep,
        [](uint64_t asleep, absl::Duration) { AwaitGo(asleep); });
  } else {
    const bool publishes = options.target.ends_with("-publish");
    taken = RunManySleepers({.target = options.target,
                             .address = options.server,
                             .per_session = options.in_flight,
                             .asleep = options.asleep,
                             .one_push = publishes},
                            &AwaitGo);
  }
  std::printf("{\"woken\": %lu, \"seconds\": %g}\n", options.asleep.back(),
              absl::ToDoubleSeconds(taken));
  std::fflush(stdout);
  std::_Exit(0);  // 10,000 connections need not be closed one after the other
}

void Timeouts(Options& options) {
  const TimedSleepersResult result =
      RunTimedSleepers({.target = options.target,
                        .address = options.server,
                        .per_session = options.in_flight,
                        .count = options.asleep.back(),
                        .timeout_seconds = options.timeout_seconds,
                        .spread = absl::Seconds(options.seconds)});
  std::printf(
      "{\"timeouts\": %zu, \"early\": %lu, \"p50_us\": %g, \"p99_us\": %g}\n",
      result.late.size(), result.early, Percentile(result.late, 50),
      Percentile(result.late, 99));
}

void Bulk(Options& options) {
  const BulkLoad load = {.bytes = options.bytes,
                         .write_bytes = options.write_bytes};
  const absl::Duration taken =
      options.target == "waitq"
          ? RunPipeBulk(options.server, options.capacity_bytes, load)
          : RunTcpBulk(options.server, options.out, load);
  std::printf("{\"bytes\": %lu, \"seconds\": %g}\n", options.bytes,
              absl::ToDoubleSeconds(taken));
}

void Others(Options& options) {
  RunOthers(options.server, options.sessions, options.objects,
            options.asleep.back(), [&] { AwaitGo(options.asleep.back()); });
  std::_Exit(0);  // their server goes first
}

// A command line: each job has the options that it needs.
class Commands {
 public:
  explicit Commands(Options* options) : options_(*options) {
    app_.require_subcommand(1);
  }

  Commands& Add(const char* name, const char* what, void (*run)(Options&)) {
    command_ = app_.add_subcommand(name, what);
    command_->callback([this, run] { run_ = run; });
    return Text("--target", options_.target).Text("--server", options_.server);
  }
  Commands& Text(const char* name, std::string& value) {
    command_->add_option(name, value)->capture_default_str();
    return *this;
  }
  template <class Value>
  Commands& Number(const char* name, Value& value) {
    command_->add_option(name, value)
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    return *this;
  }
  Commands& Asleep() {
    command_->add_option("--asleep", options_.asleep, "N,N,..., rising")
        ->delimiter(',')
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    return *this;
  }
  Commands& Workers() {
    return Number("--sessions", options_.sessions)
        .Number("--in-flight", options_.in_flight)
        .Number("--message-bytes", options_.message_bytes)
        .Number("--seconds", options_.seconds);
  }
  Commands& Wakes() {
    return Number("--wakes", options_.wakes)
        .Number("--message-bytes", options_.message_bytes)
        .Number("--pause-us", options_.pause_us);
  }

  int Run(int argc, char** argv) {
    CLI11_PARSE(app_, argc, argv);
    // What was lost is waited for no longer.
    if (run_ != &Others) alarm(kLongestSeconds);
    run_(options_);
    return 0;
  }

 private:
  Options& options_;
  CLI::App app_{"Puts a load on waitqd, on the bare server, or on a peer."};
  CLI::App* command_ = nullptr;
  void (*run_)(Options&) = nullptr;
};

int Run(int argc, char** argv) {
  Options o;
  Commands commands(&o);
  commands.Add("queue", "The consumers of a queue", &Queue).Workers();
  commands.Add("producers", "The other process of `queue`", &Producers)
      .Workers()
      .Text("--queue", o.queue);
  commands.Add("pushpop", "First pushes, then pops", &PushPop).Workers();
  commands.Add("wake", "How long a wake takes", &Wake).Wakes();
  commands.Add("waker", "The other process of `wake`", &Waker)
      .Wakes()
      .Text("--queue", o.queue);
  commands.Add("sleepers", "Many that are woken at once", &Sleepers)
      .Asleep()
      .Number("--sessions", o.sessions)
      .Number("--in-flight", o.in_flight);
  commands.Add("timeouts", "Many that time out", &Timeouts)
      .Asleep()
      .Number("--in-flight", o.in_flight)
      .Number("--timeout-seconds", o.timeout_seconds)
      .Number("--seconds", o.seconds);
  commands.Add("bulk", "From one connection to another", &Bulk)
      .Text("--out", o.out)
      .Number("--bytes", o.bytes)
      .Number("--write-bytes", o.write_bytes)
      .Number("--capacity-bytes", o.capacity_bytes);
  commands.Add("others", "Many of waitqd's that nobody wakes", &Others)
      .Asleep()
      .Number("--sessions", o.sessions)
      .Number("--objects", o.objects);
  return commands.Run(argc, argv);
}

}  // namespace
}  // namespace waitq::bench

int main(int argc, char** argv) {
  // Debian's abseil checks lock orders at each lock.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  return waitq::bench::Run(argc, argv);
}
