// Puts a load on sessions, of waitqd or of the bare server, and says in a line
// of JSON what came of it:
//
//   session_load queue --target=bare --server=127.0.0.1:7411 --depth=256
//   session_load wake  --target=bare --server=... --wakes=5000
//   session_load sleepers --server=... --asleep=10000,1000000 --sessions=1
//   session_load timeouts --server=... --asleep=10000 --seconds=10
//
// The last two only on waitqd. `sleepers` writes a line whenever as many sleep
// as was asked for, and goes on when it reads one.
//
// `wake` is the sleeper's process. It starts the waker's, which is this program
// again (`session_load waker`), when it is asleep.

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "bench/load_connection.h"
#include "bench/queue_load.h"
#include "bench/session_sleepers.h"
#include "bench/this_program.h"
#include "bench/wake_load.h"
#include "transport/channel_arguments.h"

namespace waitq::bench {
namespace {

struct Options {
  std::string target = "bare";
  std::string server = "127.0.0.1:7411";
  uint64_t depth = 256;
  uint64_t message_bytes = 16;
  double seconds = 2;
  uint64_t wakes = 5'000;
  uint64_t pause_us = 500;
  std::string queue;
  std::vector<uint64_t> asleep = {10'000};
  int sessions = 1;
};

void Queue(const Options& options) {
  // All that is under way may come together; 32: the numbers around it.
  if (options.depth * (options.message_bytes + 32) > kMaxMessageBytes) {
    Die("--depth times --message-bytes is more than a message may carry");
  }
  const QueueLoadResult result =
      RunQueue(options.target, options.server, options.depth,
               options.message_bytes, absl::Seconds(options.seconds));
  std::printf("{\"messages\": %lu, \"seconds\": %g, \"behind\": %lu}\n",
              result.messages, options.seconds, result.behind);
}

WakeLoad LoadOf(const Options& options) {
  return {.target = options.target,
          .address = options.server,
          .queue = options.queue,
          .wakes = options.wakes,
          .message_bytes = options.message_bytes,
          .pause = absl::Microseconds(options.pause_us)};
}

// Until it has ended, well.
void RunWakerProcess(const Options& options) {
  RunThisProgram({
      "waker",
      "--target=" + options.target,
      "--server=" + options.server,
      "--queue=" + options.queue,
      "--wakes=" + std::to_string(options.wakes),
      "--message-bytes=" + std::to_string(options.message_bytes),
      "--pause-us=" + std::to_string(options.pause_us),
  });
}

void Wake(const Options& given) {
  Options options = given;
  options.queue = "wake." + std::to_string(getpid());
  const WakeLoadResult result =
      RunSleeper(LoadOf(options), [&] { RunWakerProcess(options); });
  const auto& latencies = result.latencies;
  if (latencies.empty()) Die("the pauses are too short for this machine");
  const auto percentile = [&](size_t p) {
    return absl::ToDoubleMicroseconds(
        latencies[(latencies.size() - 1) * p / 100]);
  };
  std::printf(
      "{\"wakes\": %zu, \"not_asleep\": %lu, \"p50_us\": %g, \"p99_us\": %g}\n",
      latencies.size(), result.not_asleep, percentile(50), percentile(99));
}

void Waker(const Options& options) { RunWaker(LoadOf(options)); }

void Sleepers(const Options& options) {
  const absl::Duration taken =
      RunSessionSleepers(options.server, options.sessions, options.asleep,
                         [](uint64_t asleep, absl::Duration parking) {
                           std::printf("{\"asleep\": %lu, \"seconds\": %g}\n",
                                       asleep, absl::ToDoubleSeconds(parking));
                           std::fflush(stdout);
                           std::string line;
                           if (!std::getline(std::cin, line))
                             Die("nobody says when to go on");
                         });
  std::printf("{\"woken\": %lu, \"seconds\": %g}\n", options.asleep.back(),
              absl::ToDoubleSeconds(taken));
}

void Timeouts(const Options& options) {
  const TimeoutsResult result = RunTimeouts(
      options.server, options.asleep.back(), absl::Seconds(options.seconds));
  const auto late = [&](size_t p) {
    return absl::ToDoubleMicroseconds(
        result.late[(result.late.size() - 1) * p / 100]);
  };
  std::printf(
      "{\"timeouts\": %zu, \"early\": %lu, \"p50_us\": %g, \"p99_us\": %g}\n",
      result.late.size(), result.early, late(50), late(99));
}

int Run(int argc, char** argv) {
  Options options;
  CLI::App app("Puts a load on sessions of waitqd or of the bare server.");
  app.require_subcommand(1);
  void (*load)(const Options&) = nullptr;
  const auto add = [&](const char* name, const char* what,
                       void (*run)(const Options&)) {
    CLI::App* const command = app.add_subcommand(name, what);
    command->add_option("--target", options.target, "waitq or bare")
        ->check(CLI::IsMember({"waitq", "bare"}))
        ->capture_default_str();
    command->add_option("--server", options.server, "ADDRESS:PORT")
        ->capture_default_str();
    command->callback([&load, run] { load = run; });
    return command;
  };
  const auto number = [](CLI::App* command, const char* name, auto& value,
                         uint64_t least) {
    command->add_option(name, value)
        ->check(CLI::Range(least, uint64_t{1} << 40))
        ->capture_default_str();
  };
  const auto wakes = [&](CLI::App* command) {
    number(command, "--wakes", options.wakes, 1);
    // A time stamp goes in.
    number(command, "--message-bytes", options.message_bytes, 8);
    number(command, "--pause-us", options.pause_us, 1);
  };

  CLI::App* command = add("queue", "Two sessions, as fast as it goes", &Queue);
  number(command, "--depth", options.depth, 1);
  number(command, "--message-bytes", options.message_bytes, 1);
  command->add_option("--seconds", options.seconds)
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  wakes(add("wake", "How long a wake takes, between two processes", &Wake));
  command = add("waker", "The other process of `wake`", &Waker);
  wakes(command);
  command->add_option("--queue", options.queue)->required();
  const auto asleep = [&](CLI::App* to) {
    to->add_option("--asleep", options.asleep, "N,N,..., rising")
        ->delimiter(',')
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
  };
  command = add("sleepers", "Calls that sleep, woken at once", &Sleepers);
  asleep(command);
  command->add_option("--sessions", options.sessions)
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command = add("timeouts", "Calls that time out", &Timeouts);
  asleep(command);
  command->add_option("--seconds", options.seconds)
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  load(options);
  return 0;
}

}  // namespace
}  // namespace waitq::bench

int main(int argc, char** argv) {
  // Debian's abseil checks lock orders at each lock.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  return waitq::bench::Run(argc, argv);
}
