// The clients of the history checker: `actors` makes rounds of them. In each,
// all ask for random things of objects that no other round has, through the
// doors that they are given, and what they saw is written to a file; at the end
// of the round the pipes are read to their end.
//
// The harness (checker.py) makes the faults, and adds what it knows: when a
// server lost its memory.

#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "tests/faults/actor.h"
#include "tests/history/text.h"
#include "waitq/v1/objects.grpc.pb.h"

namespace waitq::test {
namespace {

constexpr absl::Duration kPause = absl::Milliseconds(10);
// What is held is over by then.
constexpr absl::Duration kSweepFor = absl::Seconds(20);

struct Settings {
  std::vector<std::string> doors;
  std::string server;
  std::string history;
  uint64_t seed = 1;
  int rounds = 1;
  int steps = 20;
  absl::Duration grace;
  absl::Duration hold;
};

// Begins and ends the rounds, on the straight way.
class Stagehand {
 public:
  Stagehand(const std::string& server, HistoryFile& file)
      : file_(file),
        channel_(ConnectTo(server)),
        stubs_(channel_),
        objects_(channel_) {}

  void Begin(const Objects& objects) {
    for (const std::string* pipe :
         {&objects.stream, &objects.queue, &objects.lossy}) {
      file_.AddLine(history::OptionsLine(*pipe, HistoryOptions(*pipe)));
    }
    // Permits; a lock is free as it is.
    Ask ask;
    auto& call = ask.call.emplace<history::WordCall>();
    call.object = objects.stock;
    call.client = kClient;
    call.kind = history::WordCall::Kind::kWakeUp;
    call.action = {history::Action::Change::kAdd, kPermits};
    ask.operation.mutable_wake_up()->set_name(call.object);
    ask.operation.mutable_wake_up()->mutable_update()->set_add(kPermits);
    Do(ask);
  }

  void End(const Objects& objects) {
    for (const std::string* pipe :
         {&objects.stream, &objects.queue, &objects.lossy}) {
      Sweep(*pipe);
    }
    for (const std::string* word :
         {&objects.word, &objects.stock, &objects.lock}) {
      Ask ask;
      auto& call = ask.call.emplace<history::WordCall>();
      call.object = *word;
      call.client = kClient;
      ask.operation.mutable_get()->set_name(*word);
      Do(ask);
    }
  }

  // A pipe could not be read to its end.
  bool is_stuck() const { return stuck_; }

 private:
  static constexpr int kClient = 99;

  // False: nobody knows what became of it.
  bool Do(Ask& ask) {
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(10)));
    v1::Result result;
    ask.base().invoked = Now();
    ask.base().outlives_restarts = true;
    const grpc::Status status = stubs_.Call(&context, ask.operation, &result);
    ask.base().returned = Now();
    const std::string reason = ReasonOf(status);
    if (status.ok()) {
      NoteResult(result, ask);
    } else if (!reason.empty()) {
      NoteFailure(reason, ask);
    } else {
      ask.base().outcome = history::Outcome::kUnknown;
    }
    file_.Add(ask);
    return status.ok() || !reason.empty();
  }

  std::optional<v1::ObjectStat> StatOf(const std::string& pipe) {
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(2)));
    v1::StatRequest request;
    request.set_name(pipe);
    v1::StatResponse response;
    if (!objects_.Stat(&context, request, &response).ok()) return std::nullopt;
    return response.object();
  }

  // Reads what is left, until nothing is, nor held.
  void Sweep(const std::string& pipe) {
    const absl::Time end = absl::Now() + kSweepFor;
    while (absl::Now() < end) {
      const auto stat = StatOf(pipe);
      if (!stat.has_value()) {
        // Not there, or no server: there is nothing to say.
        return;
      }
      if (stat->pipe().unread_bytes() > 0) {
        if (!Read(pipe)) return;
      } else if (stat->pipe().held_bytes() == 0) {
        file_.AddLine(
            history::ToLine(history::PipeLeft{pipe, stat->incarnation(), {}}));
        return;
      } else {
        absl::SleepFor(kPause);
      }
    }
    file_.AddLine(absl::StrCat("# ", pipe, " is not empty"));
    stuck_ = true;
  }

  bool Read(const std::string& pipe) {
    Ask ask;
    auto& call = ask.call.emplace<history::PipeCall>();
    call.object = pipe;
    call.client = kClient;
    call.lost_if_unknown = true;
    v1::ReadRequest& request = *ask.operation.mutable_read();
    request.set_name(pipe);
    request.set_nonblock(true);
    SetOptions(pipe, *request.mutable_options());
    return Do(ask);
  }

  HistoryFile& file_;
  const std::shared_ptr<grpc::Channel> channel_;
  UnaryStubs stubs_;
  v1::Objects::Stub objects_;
  bool stuck_ = false;
};

std::unique_ptr<Actor> MakeActor(const ActorOptions& options,
                                 HistoryFile& file) {
  switch (options.client % 3) {
    case 0:
      return MakeUnaryActor(options, file);
    case 1:
      return MakeSessionActor(options, file);
    default: {
      // What it does when its session is lost is to be seen often.
      ActorOptions shorter = options;
      shorter.grace /= 2;
      return MakeClientActor(shorter, file);
    }
  }
}

int Play(const Settings& settings) {
  HistoryFile file(settings.history);
  Stagehand stagehand(settings.server, file);
  std::vector<std::unique_ptr<Actor>> actors;
  for (size_t i = 0; i < settings.doors.size(); ++i) {
    actors.push_back(MakeActor({.client = static_cast<int>(i),
                                .server = settings.doors[i],
                                .grace = settings.grace,
                                .hold = settings.hold},
                               file));
  }
  for (int round = 1; round <= settings.rounds; ++round) {
    const Objects objects(static_cast<uint64_t>(round));
    stagehand.Begin(objects);
    std::vector<std::thread> threads;
    for (size_t i = 0; i < actors.size(); ++i) {
      threads.emplace_back([&, i] {
        Random random((settings.seed << 20) ^
                      (static_cast<uint64_t>(round) * 64 + i));
        for (int step = 0; step < settings.steps; ++step) {
          actors[i]->Step(objects, random);
        }
        actors[i]->EndRound();
      });
    }
    for (std::thread& thread : threads) thread.join();
    stagehand.End(objects);
    if (stagehand.is_stuck()) return 1;
    std::printf("round %d\n", round);
    std::fflush(stdout);
  }
  return 0;
}

int Run(int argc, char** argv) {
  // Debian's abseil checks lock orders at each lock, and aborts.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  Settings settings;
  double grace_s = 0.6;
  double hold_s = 0.3;
  CLI::App app("The clients of the history checker.");
  app.add_option("--door", settings.doors, "A client's way to the server; each")
      ->required();
  app.add_option("--server", settings.server, "The straight way")->required();
  app.add_option("--history", settings.history)->required();
  app.add_option("--seed", settings.seed);
  app.add_option("--rounds", settings.rounds);
  app.add_option("--steps", settings.steps, "Of each client, in each round");
  app.add_option("--grace", grace_s);
  app.add_option("--hold", hold_s);
  CLI11_PARSE(app, argc, argv);
  settings.grace = absl::Seconds(grace_s);
  settings.hold = absl::Seconds(hold_s);
  return Play(settings);
}

}  // namespace
}  // namespace waitq::test

int main(int argc, char** argv) { return waitq::test::Run(argc, argv); }
