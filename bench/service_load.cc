// Puts a load on waitqd or on the bare server, and says how long it took, in
// lines of JSON:
//
//   service_load unary    --target=waitq --server=127.0.0.1:7411
//   service_load sleepers --target=bare --server=... --asleep=10000,100000
//   service_load session  --target=bare ...
//   service_load relay    --target=waitq ...
//
// `sleepers` writes a line whenever as many sleep as was asked for, and goes on
// when it reads one: in between, others can look at the server.

#include <cstdint>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "bench/load_connection.h"
#include "bench/load_target.h"
#include "bench/stream_load.h"
#include "bench/unary_load.h"

namespace waitq::bench {
namespace {

struct Options {
  std::string target = "waitq";
  std::string server = "127.0.0.1:7411";
  int connections = 4;
  double seconds = 2;
  uint64_t in_flight = 64;
  std::vector<uint64_t> asleep = {10'000};
  uint64_t depth = 1;
  uint64_t message_bytes = 64;
  uint64_t messages = 100'000;
};

void Unary(const Options& options, Target& target) {
  const Connections connections = Connect(options.server, options.connections);
  const uint64_t answered = RunUnary(target, connections, options.in_flight,
                                     absl::Seconds(options.seconds));
  std::printf("{\"calls\": %lu, \"seconds\": %g}\n", answered, options.seconds);
}

void Sleepers(const Options& options, Target& target) {
  const Connections connections = Connect(options.server, options.connections);
  const absl::Duration taken =
      RunSleepers(target, connections, options.asleep,
                  [](uint64_t asleep, absl::Duration since) {
                    std::printf("{\"asleep\": %lu, \"seconds\": %g}\n", asleep,
                                absl::ToDoubleSeconds(since));
                    std::fflush(stdout);
                    std::string line;
                    if (!std::getline(std::cin, line))
                      Die("nobody says when to go on");
                  });
  std::printf("{\"woken\": %lu, \"seconds\": %g}\n", options.asleep.back(),
              absl::ToDoubleSeconds(taken));
}

void Session(const Options& options, Target& target) {
  Connection connection(options.server);
  const std::vector<absl::Duration> trips =
      RunSession(target, connection, options.depth, options.message_bytes,
                 absl::Seconds(options.seconds));
  if (trips.empty()) Die("no message came back in time");
  const auto percentile = [&](size_t p) {
    return absl::ToDoubleMicroseconds(trips[(trips.size() - 1) * p / 100]);
  };
  std::printf(
      "{\"messages\": %zu, \"seconds\": %g, \"p50_us\": %g, \"p99_us\": %g}\n",
      trips.size(), options.seconds, percentile(50), percentile(99));
}

void Relay(const Options& options, Target& target) {
  Connection writer(options.server);
  Connection reader(options.server);
  const absl::Duration taken =
      RunRelay(target, writer, reader, options.messages, options.message_bytes);
  std::printf("{\"messages\": %lu, \"bytes\": %lu, \"seconds\": %g}\n",
              options.messages, options.messages * options.message_bytes,
              absl::ToDoubleSeconds(taken));
}

int Run(int argc, char** argv) {
  Options options;
  CLI::App app("Puts a load on waitqd or on the bare server.");
  app.require_subcommand(1);
  void (*load)(const Options&, Target&) = nullptr;
  const auto add = [&](const char* name, const char* what,
                       void (*run)(const Options&, Target&)) {
    CLI::App* const command = app.add_subcommand(name, what);
    command->add_option("--target", options.target, "waitq or bare")
        ->check(CLI::IsMember({"waitq", "bare"}))
        ->capture_default_str();
    command->add_option("--server", options.server, "ADDRESS:PORT")
        ->capture_default_str();
    command->callback([&load, run] { load = run; });
    return command;
  };
  const auto connections = [&](CLI::App* command) {
    command->add_option("--connections", options.connections)
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
  };
  const auto number = [](CLI::App* command, const char* name, auto& value) {
    command->add_option(name, value)
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
  };

  CLI::App* command = add("unary", "Calls that are answered at once", &Unary);
  connections(command);
  number(command, "--in-flight", options.in_flight);
  number(command, "--seconds", options.seconds);
  command = add("sleepers", "Calls that sleep, woken at once", &Sleepers);
  connections(command);
  command->add_option("--asleep", options.asleep, "N,N,..., rising")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command = add("session", "Messages and answers on one stream", &Session);
  number(command, "--depth", options.depth);
  number(command, "--message-bytes", options.message_bytes);
  number(command, "--seconds", options.seconds);
  command = add("relay", "From one stream to another", &Relay);
  number(command, "--messages", options.messages);
  number(command, "--message-bytes", options.message_bytes);
  CLI11_PARSE(app, argc, argv);

  const Connection control(options.server);
  const std::unique_ptr<Target> target =
      Target::Make(options.target, control.channel());
  load(options, *target);
  return 0;
}

}  // namespace
}  // namespace waitq::bench

int main(int argc, char** argv) {
  // Debian's abseil checks lock orders at each lock.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  return waitq::bench::Run(argc, argv);
}
