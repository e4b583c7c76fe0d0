// Many names on one PollStream, which become ready and not ready at a rate.
// Prints a line of JSON: what was changed, what was told, how late, and the
// processor time of this program. Exit 1 if a change was missed: each name is
// changed anew only when the change before it was told, and the last one is
// waited for.

#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "bench/load_connection.h"
#include "client/client.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "waitq/v1/pipes.grpc.pb.h"

namespace waitq::bench {
namespace {

struct Options {
  std::string server;
  int names = 10'000;
  double rate = 1000;
  double seconds = 10;
};

std::string NameOf(uint64_t id) { return absl::StrCat("poll/", id); }

class Names {
 public:
  explicit Names(int count) : all_(count), untold_(count) {
    for (int i = 0; i < count; ++i) free_.push_back(i);
  }

  // One whose last change was told; what it is now.
  uint64_t Take(bool& ready) {
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(
        +[](std::deque<uint64_t>* free) { return !free->empty(); }, &free_));
    const uint64_t id = free_.front();
    free_.pop_front();
    ready = all_[id].ready;
    return id;
  }
  // It is about to be changed.
  void Expect(uint64_t id, bool ready) {
    absl::MutexLock lock(&mu_);
    all_[id] = {.ready = ready, .changed = absl::Now()};
    ++untold_;
  }
  void Tell(uint64_t id, bool ready) {
    absl::MutexLock lock(&mu_);
    Name& name = all_[id];
    if (ready != name.ready) Die("a name is told to be what it is not");
    --untold_;
    if (name.changed == absl::InfinitePast()) return;  // the first time
    late_.push_back(absl::Now() - name.changed);
    free_.push_back(id);
  }
  void AwaitAllTold() {
    absl::MutexLock lock(&mu_);
    const bool told = mu_.AwaitWithTimeout(
        absl::Condition(
            +[](int64_t* untold) { return *untold == 0; }, &untold_),
        absl::Seconds(30));
    if (!told) Die(absl::StrCat(untold_, " changes were not told"));
  }
  std::vector<absl::Duration> late() {
    absl::MutexLock lock(&mu_);
    return late_;
  }

 private:
  struct Name {
    bool ready = false;
    absl::Time changed = absl::InfinitePast();
  };

  absl::Mutex mu_;
  std::vector<Name> all_ ABSL_GUARDED_BY(mu_);
  int64_t untold_ ABSL_GUARDED_BY(mu_);
  std::deque<uint64_t> free_ ABSL_GUARDED_BY(mu_);
  std::vector<absl::Duration> late_ ABSL_GUARDED_BY(mu_);
};

double CpuSeconds() {
  timespec used;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return absl::ToDoubleSeconds(absl::DurationFromTimespec(used));
}

double Microseconds(const std::vector<absl::Duration>& sorted, double part) {
  const auto at = static_cast<size_t>(part * (sorted.size() - 1));
  return absl::ToDoubleMicroseconds(sorted[at]);
}

void Run(const Options& options) {
  auto client = Client::Create({.server = options.server});
  if (!client.ok()) Die(client.status().ToString());
  const auto stub = v1::Pipes::NewStub(
      grpc::CreateChannel(options.server, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  const auto stream = stub->PollStream(&context);
  Names names(options.names);
  std::thread listener([&] {
    v1::PollStreamResponse response;
    while (stream->Read(&response)) {
      for (const auto& change : response.changes()) {
        if (!change.error().empty()) Die(change.error_message());
        names.Tell(change.id(), change.ready().in());
      }
    }
  });
  constexpr int kWatchesMax = 16384;  // of a request
  for (int id = 0; id < options.names;) {
    v1::PollStreamRequest request;
    while (id < options.names && request.watch_size() < kWatchesMax) {
      auto& watch = *request.add_watch();
      watch.set_id(id);
      watch.set_name(NameOf(id++));
      watch.set_in(true);
    }
    if (!stream->Write(request)) Die(stream->Finish().error_message());
  }
  names.AwaitAllTold();

  std::puts("ready");
  std::fflush(stdout);
  std::getchar();  // the server's processor time is noted
  const double cpu = CpuSeconds();
  const absl::Time begin = absl::Now();
  const auto changes = static_cast<int64_t>(options.rate * options.seconds);
  for (int64_t i = 0; i < changes; ++i) {
    absl::SleepFor(begin +
                   absl::Seconds(static_cast<double>(i) / options.rate) -
                   absl::Now());
    bool ready;
    const uint64_t id = names.Take(ready);
    names.Expect(id, !ready);
    if (ready) {
      (*client)->Read(NameOf(id), {.max_bytes = 1},
                      [](const absl::StatusOr<ReadResult>& result) {
                        if (!result.ok()) Die(result.status().ToString());
                      });
    } else {
      (*client)->Write(NameOf(id), "x", {},
                       [](const absl::StatusOr<WriteResult>& result) {
                         if (!result.ok()) Die(result.status().ToString());
                       });
    }
  }
  names.AwaitAllTold();
  const double took = absl::ToDoubleSeconds(absl::Now() - begin);
  std::vector<absl::Duration> late = names.late();
  std::sort(late.begin(), late.end());
  std::printf(
      "{\"names\": %d, \"changes\": %lld, \"told\": %zu, \"seconds\": %.3f, "
      "\"p50_us\": %.1f, \"p99_us\": %.1f, \"cpu_seconds\": %.4f}\n",
      options.names, static_cast<long long>(changes), late.size(), took,
      Microseconds(late, 0.5), Microseconds(late, 0.99), CpuSeconds() - cpu);
  std::fflush(stdout);
  context.TryCancel();
  listener.join();
}

}  // namespace
}  // namespace waitq::bench

int main(int argc, char** argv) {
  waitq::bench::Options options;
  CLI::App app("Many names on one PollStream.");
  app.add_option("--server", options.server)->required();
  app.add_option("--names", options.names)->check(CLI::PositiveNumber);
  app.add_option("--rate", options.rate)->check(CLI::PositiveNumber);
  app.add_option("--seconds", options.seconds)->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  waitq::bench::Run(options);
  return 0;
}
