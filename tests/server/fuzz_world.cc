#include "tests/server/fuzz_world.h"

#include <cstdio>
#include <iterator>
#include <utility>

#include "absl/status/status.h"
#include "core/check.h"
#include "core/task.h"
#include "google/protobuf/stubs/logging.h"
#include "server/engine/limits.h"
#include "server/engine/repeats.h"

namespace waitq::test {
namespace {

engine::Limits LowLimits() {
  engine::Limits limits;
  limits.objects = 8;
  limits.sleepers = 24;
  limits.sleepers_per_object = 8;
  limits.sleepers_per_caller = 12;
  limits.message_bytes = 128 << 10;
  limits.pipe_bytes = 160 << 10;
  limits.pipe_bytes_in_all = 160 << 10;
  limits.bytes_asleep = 144 << 10;
  limits.bytes_unsent = 144 << 10;
  limits.bytes_per_caller = 128 << 10;
  limits.kept_answers = 6;
  limits.kept_bytes = 256 << 10;
  limits.sessions = 3;
  limits.operations_per_session = 12;
  limits.results_per_session = 6;
  limits.result_bytes_per_session = 16 << 10;
  WAITQ_CHECK(limits.Check().ok(), "the limits fit each other");
  return limits;
}

}  // namespace

FuzzWorld::FuzzWorld()
    : engine_(std::make_unique<engine::Engine>(LowLimits(), &clock_.timers(),
                                               /*first_generation=*/1000)) {
  for (const char* name : {"", "fuzz"}) {
    callers_.push_back(engine_->FindCaller(kFuzzPeer, name));
  }
}

FuzzWorld::~FuzzWorld() {
  EndAll();
  CheckNothingIsLeft();
}

void FuzzWorld::Call(const FuzzMethod& method, const std::string& bytes,
                     absl::Duration deadline, Learn learn) {
  FuzzCall& call = calls_.emplace_back(
      engine_.get(), &home_, clock_.Now() + deadline, std::move(learn));
  call.Serve(method, bytes);
  TellCallers();
}

void FuzzWorld::LeaveOne(Random& random) {
  if (calls_.empty()) return;
  std::next(calls_.begin(), random.Below(calls_.size()))->Go();
  TellCallers();
}

void FuzzWorld::Happen(Random& random) {
  // Up to half a minute: some graces are over, some deadlines, some not.
  const auto time = absl::Milliseconds(random.Log(15));
  switch (random.Below(8)) {
    case 0:
      clock_.AdvanceWithoutTimers(time);
      break;
    case 1:  // what nobody uses is forgotten, and so are answers
      clock_.Advance(absl::Seconds(61) + time);
      engine_->repeats().Expire();
      break;
    case 2:
      if (random.OneIn(4)) engine_->Drain();
      break;
    default:
      clock_.Advance(time);
  }
  TellCallers();
}

void FuzzWorld::TellCallers() {
  home_.Run();
  calls_.remove_if([](const FuzzCall& call) { return call.over(); });
}

void FuzzWorld::EndAll() {
  // Most sessions expire by themselves; but a grace may be a day.
  clock_.Advance(absl::Seconds(1));
  engine_->sessions().EndAll(absl::CancelledError("the end"));
  for (FuzzCall& call : calls_) call.Go();
  TellCallers();
  WAITQ_CHECK(calls_.empty(), "whose caller has gone ends");
  clock_.Advance(engine::kKeepAnswersFor + engine::kReattachGrace);
  engine_->repeats().Expire();
  // The objects are still there, and end nobody.
  for (const engine::TaskInfo& task : engine_->ListTasks({}, 1000)) {
    WAITQ_CHECK(task.state == kUninterruptible,
                "who has gone sleeps on only where he said so");
  }
  for (const engine::ObjectStat& object : engine_->List("", {})) {
    WAITQ_CHECK(engine_->Remove(object.name, /*force=*/true).ok(),
                "what is there can be removed");
  }
  home_.Run();
  clock_.Advance(absl::Seconds(1));  // the last tick that looks for sessions
}

void FuzzWorld::CheckNothingIsLeft() {
  WAITQ_CHECK(engine_->asleep() == 0, "somebody is left asleep");
  WAITQ_CHECK(engine_->ListTasks({}, 1).empty(), "a task is left");
  WAITQ_CHECK(engine_->sessions().size() == 0, "a session is left");
  WAITQ_CHECK(engine_->repeats().size() == 0, "an answer is left");
  WAITQ_CHECK(!clock_.timers().NextWork().has_value(), "a timer is armed");
  for (const engine::Budget* budget : engine_->budgets()) {
    if (budget->used() == 0) continue;
    std::fprintf(stderr, "%s: %llu\n", budget->name(),
                 static_cast<unsigned long long>(budget->used()));
    WAITQ_CHECK(false, "a limit has something in use");
  }
  for (const auto& caller : callers_) {
    WAITQ_CHECK(caller->sleepers().used() == 0, "a caller's sleepers are left");
    WAITQ_CHECK(caller->bytes().used() == 0, "a caller's bytes are left");
  }
}

void KeepProtobufQuiet() {
  [[maybe_unused]] static const auto& silence =
      *new google::protobuf::LogSilencer;
}

}  // namespace waitq::test
