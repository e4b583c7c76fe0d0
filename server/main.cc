// waitqd: flags, start, wait, drain.

#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "cli/manual.h"
#include "google/protobuf/stubs/logging.h"
#include "grpc/support/log.h"
#include "server/rpc/accept.h"
#include "server/rpc/server.h"
#include "server/state_file.h"
#include "spdlog/sinks/stdout_color_sinks.h"
#include "spdlog/spdlog.h"

namespace waitq {
namespace {

using cli::ManualOptions;

constexpr int kUsageError = 2;

struct Flags {
  rpc::ServerOptions server;
  std::string grace = "10s";
  std::string state_file;
  bool verbose = false;
};

void AddFlags(CLI::App& app, Flags& flags) {
  rpc::ServerOptions& server = flags.server;
  engine::Limits& limits = server.limits;
  app.add_option("--listen", server.listen,
                 "HOST:PORT, [IPV6]:PORT or unix:PATH; port 0 takes a free one")
      ->capture_default_str();
  app.add_flag("--insecure", server.insecure,
               "Listen on an address that others can reach, without encryption "
               "or any check of who they are");
  app.add_option("--queues", server.queues,
                 "Completion queues, with a thread each; 0: four a core")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--grace", flags.grace,
                 "After SIGTERM, how long readers may take to empty the pipes")
      ->capture_default_str();
  app.add_option("--state-file", flags.state_file,
                 "Keeps the last generation here, so that generations rise "
                 "across a restart though the clock was set back");
  app.add_flag("--verbose", flags.verbose, "Log what gRPC says, too");

  // CLI11 would take -1 for the largest number, and so would it a larger one.
  const auto plain = [](const std::string& text) -> std::string {
    if (text.find('-') != std::string::npos) return "is negative";
    if (text.size() > 18) return "is too large";
    return "";
  };
  const auto count = [&](const char* name, uint64_t& limit, const char* what) {
    app.add_option(name, limit, what)
        ->check(plain)
        ->capture_default_str()
        ->group("Limits");
  };
  const auto bytes = [&](const char* name, uint64_t& limit, const char* what) {
    app.add_option(name, limit, what)
        ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false))
        ->check(plain)
        ->capture_default_str()
        ->group("Limits");
  };
  count("--objects", limits.objects, "Named objects");
  count("--sleepers", limits.sleepers, "Calls asleep and streams open");
  count("--sleepers-per-object", limits.sleepers_per_object,
        "Calls asleep on one object");
  count("--sleepers-per-caller", limits.sleepers_per_caller,
        "Calls asleep and streams open of one caller: an address and a name");
  bytes("--pipe-bytes", limits.pipe_bytes, "Capacity of one pipe");
  bytes("--pipe-bytes-in-all", limits.pipe_bytes_in_all, "Bytes in all pipes");
  bytes("--bytes-asleep", limits.bytes_asleep,
        "Bytes of writes that sleep, in all");
  bytes("--bytes-unsent", limits.bytes_unsent,
        "Bytes of answers that are not sent yet, in all");
  bytes("--bytes-per-caller", limits.bytes_per_caller,
        "Bytes asleep or unsent of one caller");
  count("--kept-answers", limits.kept_answers,
        "Answers of calls with a request_id, kept for 120 s");
  bytes("--kept-bytes", limits.kept_bytes, "Bytes of these answers");
  count("--sessions", limits.sessions, "Sessions");
  count("--operations-per-session", limits.operations_per_session,
        "Operations under way in a session, or with a result not taken");
  count("--results-per-session", limits.results_per_session,
        "Results not taken, at which nothing more is handed to a session");
  bytes("--result-bytes-per-session", limits.result_bytes_per_session,
        "Bytes in results not taken, likewise");
  bytes("--message-bytes", limits.message_bytes, "One message");
}

// A limit that was not given does not stand in the way of one that was.
void FitLimits(const CLI::App& app, engine::Limits& limits) {
  const auto fit = [&](const char* name, uint64_t& limit, uint64_t most) {
    if (app.count(name) == 0) limit = std::min(limit, most);
  };
  fit("--sleepers-per-object", limits.sleepers_per_object, limits.sleepers);
  fit("--sleepers-per-caller", limits.sleepers_per_caller, limits.sleepers);
  fit("--pipe-bytes", limits.pipe_bytes, limits.pipe_bytes_in_all);
  fit("--message-bytes", limits.message_bytes,
      std::min({limits.bytes_asleep, limits.bytes_unsent,
                limits.bytes_per_caller, limits.kept_bytes}));
}

int Fail(const std::string& message) {
  std::fprintf(stderr, "waitqd: %s\n", message.c_str());
  return kUsageError;
}

// What gRPC logs is about its own insides; we report errors ourselves.
void LogOfGrpc(gpr_log_func_args* args) {
  spdlog::debug("grpc: {} ({}:{})", args->message, args->file, args->line);
}

void SetUpLog(bool verbose) {
  spdlog::set_default_logger(spdlog::stderr_color_mt("waitqd"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
  spdlog::set_level(verbose ? spdlog::level::debug : spdlog::level::info);
  gpr_set_log_function(&LogOfGrpc);
  // A line for each message that does not parse would let clients fill the log.
  google::protobuf::SetLogHandler(nullptr);
}

// Each connection needs a descriptor, and the usual soft limit is low.
void RaiseDescriptorLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// Waits for one of `signals`, at most for `timeout`; 0 if none came.
int WaitForSignal(const sigset_t& signals, absl::Duration timeout) {
  const timespec wait = absl::ToTimespec(timeout);
  const int signal = sigtimedwait(&signals, nullptr, &wait);
  return signal > 0 ? signal : 0;
}

// Gives memory back to the system after many sleepers or bytes have gone: glibc
// would keep it. Off the threads that serve, and seldom.
class MemoryKeeper {
 public:
  explicit MemoryKeeper(const engine::Engine& engine) : engine_(engine) {}

  // To be called about once a second.
  void Tick() {
    constexpr uint64_t kManySleepers = 5000;
    constexpr uint64_t kManyBytes = 16 << 20;
    const uint64_t asleep = engine_.asleep();
    const uint64_t ended = engine_.ended();
    const uint64_t bytes = engine_.bytes();
    most_asleep_ = std::max(most_asleep_, asleep);
    most_bytes_ = std::max(most_bytes_, bytes);
    const bool many_gone = most_asleep_ - asleep >= kManySleepers ||
                           ended - ended_before_ >= kManySleepers ||
                           most_bytes_ - bytes >= kManyBytes;
    ended_before_ = ended;
    if (many_gone) {
      // Those that have ended are not freed yet: their answers go out now.
      most_asleep_ = asleep;
      most_bytes_ = bytes;
      trim_next_ = true;
    } else if (trim_next_) {
      trim_next_ = false;
      malloc_trim(0);
    }
  }

 private:
  const engine::Engine& engine_;
  // Since many have gone.
  uint64_t most_asleep_ = 0;
  uint64_t most_bytes_ = 0;
  uint64_t ended_before_ = 0;
  bool trim_next_ = false;
};

void Drain(rpc::Server& server, absl::Duration grace, const sigset_t& stop) {
  spdlog::info("draining, for {} at most; {} calls asleep",
               absl::FormatDuration(grace), server.engine().asleep());
  // Not the wall clock, which somebody may set.
  const auto started = std::chrono::steady_clock::now();
  const auto is_over = [&] {
    return absl::FromChrono(std::chrono::steady_clock::now() - started) >=
           grace;
  };
  server.Drain();
  // Who is refused, and is not told so, cannot know that he was.
  const auto all_told = [&] {
    return server.engine().sessions().unsent() == 0;
  };
  // What has been read is not gone before it is sent.
  const auto is_empty = [&] {
    return server.engine().UnreadPipes().empty() &&
           server.engine().bytes_unsent() == 0 && all_told();
  };
  while (!is_over() && !is_empty()) {
    if (WaitForSignal(stop, absl::Milliseconds(50)) == 0) continue;
    spdlog::info("second signal: stopping at once");
    break;
  }
  for (const auto& [name, bytes] : server.engine().UnreadPipes()) {
    spdlog::warn("{}: {} bytes were not read, or not accepted", name, bytes);
  }
  if (const uint64_t unsent = server.engine().bytes_unsent(); unsent > 0) {
    spdlog::warn("{} bytes were read and not sent: their readers are slow",
                 unsent);
  }
  // A moment for answers that are on their way; then what is left is cut.
  constexpr absl::Duration kPoll = absl::Milliseconds(5);
  for (int i = 0; i < 100 && !all_told(); ++i) {
    if (WaitForSignal(stop, kPoll) != 0) break;
  }
  server.Shutdown(absl::Now() + absl::Milliseconds(500));
  spdlog::info("stopped");
}

// What goes wrong with the state file after the start ends nothing: the wall
// clock is still there.
void Log(const absl::Status& status) {
  if (!status.ok()) spdlog::error("{}", std::string(status.message()));
}

ManualOptions Manual() {
  return {
      .section = 8,
      .description =
          {"Programs on any machine sleep here, on objects with names, until "
           "another one wakes them: with waitq(1), a client library, or any "
           "program that speaks gRPC.",
           "All is in memory. SIGTERM drains: nothing new begins, readers "
           "may empty the pipes, and what is asleep is told to begin anew on "
           "the next server; a second signal stops at once.",
           "Who calls is not checked and nothing is encrypted: without "
           "--insecure, only addresses of this machine are listened on."},
      .see_also = {"waitq(1)", "waitq-load(1)"}};
}

int Run(int argc, char** argv) {
  // Debian's abseil checks lock orders at each lock, and aborts.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);

  Flags flags;
  CLI::App app("Hosts named wait queues, completions and pipes over gRPC.",
               "waitqd");
  AddFlags(app, flags);
  bool manual = false;
  app.add_flag("--manual", manual, "Print the manual page, for man");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::fputs(app.help().c_str(), stdout);
    return 0;
  } catch (const CLI::ParseError& error) {
    return Fail(error.what());
  }
  if (manual) {
    std::fputs(cli::ManualPage(app, Manual()).c_str(), stdout);
    return 0;
  }
  FitLimits(app, flags.server.limits);
  absl::Duration grace;
  if (!absl::ParseDuration(flags.grace, &grace) ||
      grace < absl::ZeroDuration()) {
    return Fail(absl::StrCat("--grace: bad duration '", flags.grace, "'"));
  }

  SetUpLog(flags.verbose);
  RaiseDescriptorLimit();
  rpc::KeepDescriptorForRefusals();
  // Whoever reads our output may go: that must not end the server.
  std::signal(SIGPIPE, SIG_IGN);
  // Before any thread is there: all inherit it.
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTERM);
  sigaddset(&stop, SIGINT);
  pthread_sigmask(SIG_BLOCK, &stop, nullptr);

  std::optional<StateFile> state;
  if (!flags.state_file.empty()) {
    absl::StatusOr<StateFile> opened = StateFile::Open(flags.state_file);
    if (!opened.ok()) return Fail(std::string(opened.status().message()));
    flags.server.first_generation = opened->first_generation();
    state = *std::move(opened);
  }
  auto server = rpc::Server::Start(flags.server);
  if (!server.ok()) return Fail(std::string(server.status().message()));
  std::printf("waitqd listening on %s\n", (*server)->address().c_str());
  std::fflush(stdout);

  MemoryKeeper memory((*server)->engine());
  while (WaitForSignal(stop, absl::Seconds(1)) == 0) {
    memory.Tick();
    (*server)->engine().repeats().Expire();
    if (state) Log(state->KeepAhead((*server)->engine().generation()));
  }
  Drain(**server, grace, stop);
  if (state) Log(state->Close((*server)->engine().generation()));
  return 0;
}

}  // namespace
}  // namespace waitq

int main(int argc, char** argv) { return waitq::Run(argc, argv); }
