#include "tests/engine/engine_fixture.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace waitq::engine {

Limits SmallLimits() {
  Limits limits;
  limits.objects = 200;
  limits.sleepers = 2'000;
  limits.sleepers_per_object = 2'000;
  limits.pipe_bytes = 1 << 20;
  limits.pipe_bytes_in_all = 1 << 20;
  limits.bytes_asleep = 1 << 20;
  return limits;
}

void RemoveAll(Engine& engine) {
  for (;;) {
    const std::vector<ObjectStat> page = engine.List("", {});
    if (page.empty()) return;
    for (const ObjectStat& object : page) {
      EXPECT_TRUE(engine.Remove(object.name, /*force=*/true).ok());
    }
  }
}

void ExpectNothingHeld(Engine& engine, SimulatedClock& clock) {
  const Limits& limits = engine.limits();
  EXPECT_EQ(engine.asleep(), 0u);
  EXPECT_TRUE(engine.ListTasks({}, 10).empty());
  EXPECT_TRUE(engine.List("", {}).empty());
  EXPECT_FALSE(clock.timers().NextWork().has_value()) << "a timer is armed";

  for (uint64_t i = 0; i < limits.objects; ++i) {
    ASSERT_TRUE(engine.Create(absl::StrCat("probe", i), {}).ok())
        << "objects are held: " << limits.objects - i;
  }
  EXPECT_FALSE(engine.Create("one-too-many", {}).ok());
  RemoveAll(engine);

  ASSERT_EQ(limits.pipe_bytes, limits.pipe_bytes_in_all);
  CreateOptions options;
  options.kind = ObjectKind::kPipe;
  options.pipe.capacity_bytes = limits.pipe_bytes;
  ASSERT_TRUE(engine.Create("probe", options).ok());
  CollectingHome home;
  {
    WriteCall fill;
    fill.op =
        MakeWrite(std::string(limits.pipe_bytes, 'x'), nullptr, &home, &fill);
    ASSERT_TRUE(engine.Write("probe", fill.op, Nonblock()).ok());
    EXPECT_EQ(fill->ending(), Ending::kDone) << "bytes are held in pipes";
    WriteCall sleeps;
    sleeps.op = MakeWrite(std::string(limits.bytes_asleep, 'x'), nullptr, &home,
                          &sleeps);
    EXPECT_EQ(engine.Write("probe", sleeps.op, {}).value(), Started::kAsleep)
        << "bytes asleep are held";
    RemoveAll(engine);
    home.Run();
    EXPECT_EQ(sleeps.told(), 1);
  }
  EXPECT_EQ(engine.asleep(), 0u);
}

void EngineTest::TearDown() {
  // What the test has left. Handles last: nobody may be asleep with one.
  RemoveAll(*engine_);
  home_.Run();
  while (!readers_.empty()) Close(*readers_.back());
  while (!writers_.empty()) Close(*writers_.back());
  EXPECT_EQ(engine_->asleep(), 0u) << "somebody is left asleep";
  for (const auto& call : calls_) {
    const bool told = call->started == Started::kAsleep && !call->detached;
    EXPECT_EQ(call->told(), told ? 1 : 0) << "a call is answered once";
  }
  calls_.clear();  // the objects of these go with them
  EXPECT_FALSE(clock_.timers().NextWork().has_value()) << "a timer is armed";
  if (!drained_) ExpectNothingHeld(*engine_, clock_);
}

// --- Calls -------------------------------------------------------------------

Started EngineTest::Check(const absl::StatusOr<Started>& started) {
  EXPECT_TRUE(started.ok()) << started.status();
  return started.ok() ? *started : Started::kGone;
}

WaitCall& EngineTest::Wait(absl::string_view name, const WaitArgs& args) {
  WaitCall& call = NewCall<WaitOperation>();
  call.op = MakeWait(args, &home_, &call);
  call.started = Check(engine_->Wait(name, call.op, args.sleep));
  return call;
}

DoneCall& EngineTest::WaitDone(absl::string_view name,
                               const SleepOptions& sleep) {
  DoneCall& call = NewCall<CompletionOperation>();
  call.op = MakeDoneWait(&home_, &call);
  call.started = Check(engine_->Wait(name, call.op, sleep));
  return call;
}

ReadCall& EngineTest::Read(absl::string_view name, ReadSize size,
                           const SleepOptions& sleep) {
  ReadCall& call = NewCall<ReadOperation>();
  call.op = MakeRead(size, nullptr, &home_, &call);
  call.started = Check(engine_->Read(name, call.op, sleep));
  return call;
}

PollCall& EngineTest::Poll(absl::string_view name, bool in, bool out,
                           const SleepOptions& sleep) {
  PollCall& call = NewCall<PollOperation>();
  call.op = MakeRef<PollOperation>(in, out, &home_, &call, TestCaller());
  call.started = Check(engine_->Poll(name, call.op, sleep));
  return call;
}

PollCall& EngineTest::PollBeyond(absl::string_view name, bool in, bool out,
                                 const PipeEvents& known) {
  PollCall& call = NewCall<PollOperation>();
  call.op = MakeRef<PollOperation>(in, out, &home_, &call, TestCaller());
  call.op->SetKnown(known);
  call.started = Check(engine_->Poll(name, call.op, {}));
  return call;
}

ReadCall& EngineTest::Read(PipeReader& reader, ReadSize size,
                           const SleepOptions& sleep) {
  ReadCall& call = NewCall<ReadOperation>();
  call.op = MakeRead(size, &reader, &home_, &call);
  call.started = engine_->Read(reader, call.op, sleep);
  return call;
}

WriteCall& EngineTest::Write(absl::string_view name, absl::string_view data,
                             const SleepOptions& sleep) {
  WriteCall& call = NewCall<WriteOperation>();
  call.op = MakeWrite(data, nullptr, &home_, &call);
  call.started = Check(engine_->Write(name, call.op, sleep));
  return call;
}

WriteCall& EngineTest::Write(PipeWriter& writer, absl::string_view data,
                             const SleepOptions& sleep) {
  WriteCall& call = NewCall<WriteOperation>();
  call.op = MakeWrite(data, &writer, &home_, &call);
  call.started = engine_->Write(writer, call.op, sleep);
  return call;
}

AnyCall& EngineTest::WaitAny(const std::vector<Term>& terms,
                             const SleepOptions& sleep) {
  AnyCall& call = NewNoting<AnyCall>();
  const absl::Status status =
      engine::StartAny(*engine_, terms, sleep, &home_, call);
  EXPECT_TRUE(status.ok()) << status;
  return call;
}

absl::Status EngineTest::StartAny(const std::vector<Term>& terms,
                                  const SleepOptions& sleep) {
  return engine::StartAny(*engine_, terms, sleep, &home_, NewNoting<AnyCall>());
}

void EngineTest::Detach(Call& call) {
  call.detached = true;
  call.operation().Detach();
}

Ending EngineTest::EndingOf(Call& call) {
  home_.Run();
  return call.ended() ? call.operation().ending() : Ending::kAsleep;
}

std::vector<Call*> EngineTest::TakeEnded() {
  home_.Run();
  return std::exchange(told_, {});
}

// --- Shorter -----------------------------------------------------------------

WakeResult EngineTest::WakeUp(absl::string_view name,
                              const WakeOptions& options) {
  const absl::StatusOr<WakeResult> result = engine_->WakeUp(name, options);
  EXPECT_TRUE(result.ok()) << result.status();
  return result.value_or(WakeResult());
}

WakeResult EngineTest::WakeUp(absl::string_view name, Action update, int nr) {
  WakeOptions options;
  options.update = update;
  options.nr = nr;
  return WakeUp(name, options);
}

void EngineTest::Store(absl::string_view name, int64_t value) {
  EXPECT_TRUE(engine_->Store(name, value).ok());
}

int64_t EngineTest::Value(absl::string_view name) {
  const absl::StatusOr<WordResult> result = engine_->Get(name);
  EXPECT_TRUE(result.ok()) << result.status();
  return result.value_or(WordResult()).value;
}

CompletionObject::Result EngineTest::Complete(absl::string_view name,
                                              uint32_t nr) {
  const auto result = engine_->Complete(name, nr);
  EXPECT_TRUE(result.ok()) << result.status();
  return result.value_or(CompletionObject::Result());
}

bool EngineTest::TryWait(absl::string_view name) {
  const absl::StatusOr<bool> taken = engine_->TryWait(name);
  EXPECT_TRUE(taken.ok()) << taken.status();
  return taken.value_or(false);
}

void EngineTest::MakePipe(absl::string_view name, uint64_t capacity_bytes,
                          std::optional<uint64_t> atomic_max_bytes) {
  CreateOptions options;
  options.kind = ObjectKind::kPipe;
  options.pipe.capacity_bytes = capacity_bytes;
  options.pipe.atomic_max_bytes = atomic_max_bytes;
  const absl::StatusOr<bool> made = engine_->Create(name, options);
  ASSERT_TRUE(made.ok()) << made.status();
  ASSERT_TRUE(*made);
}

PipeStat EngineTest::StatPipe(absl::string_view name) {
  const absl::StatusOr<ObjectStat> stat = engine_->Stat(name);
  EXPECT_TRUE(stat.ok()) << stat.status();
  return std::get<PipeStat>(stat->state);
}

std::string EngineTest::ReadNow(absl::string_view name, uint64_t max_bytes) {
  ReadCall& call = Read(name, max_bytes, Nonblock());
  return std::string(call->data());
}

void EngineTest::WriteNow(absl::string_view name, absl::string_view data) {
  WriteCall& call = Write(name, data, Nonblock());
  ASSERT_EQ(EndingOf(call), Ending::kDone);
  ASSERT_EQ(call->accepted_bytes(), data.size());
}

// --- Handles -----------------------------------------------------------------

PipeReader& EngineTest::OpenReader(absl::string_view name,
                                   const PipeOptionsRequest& options) {
  auto reader = engine_->OpenReader(name, options);
  EXPECT_TRUE(reader.ok()) << reader.status();
  return *readers_.emplace_back(std::move(reader).value());
}

PipeWriter& EngineTest::OpenWriter(absl::string_view name,
                                   const PipeOptionsRequest& options) {
  auto writer = engine_->OpenWriter(name, options);
  EXPECT_TRUE(writer.ok()) << writer.status();
  return *writers_.emplace_back(std::move(writer).value());
}

void EngineTest::Close(PipeReader& reader) {
  const auto it =
      std::find_if(readers_.begin(), readers_.end(),
                   [&](const auto& other) { return other.get() == &reader; });
  std::unique_ptr<PipeReader> closed = std::move(*it);
  readers_.erase(it);
  PipeObject& pipe = closed->pipe();
  pipe.Close(std::move(closed));
}

void EngineTest::Close(PipeWriter& writer, bool clean) {
  const auto it =
      std::find_if(writers_.begin(), writers_.end(),
                   [&](const auto& other) { return other.get() == &writer; });
  std::unique_ptr<PipeWriter> closed = std::move(*it);
  writers_.erase(it);
  PipeObject& pipe = closed->pipe();
  pipe.Close(std::move(closed), clean);
}

}  // namespace waitq::engine
