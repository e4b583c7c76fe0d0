// An engine on a simulated clock, and a test that is all its callers.

#ifndef WAITQ_TESTS_ENGINE_ENGINE_FIXTURE_H_
#define WAITQ_TESTS_ENGINE_ENGINE_FIXTURE_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/simulated_clock.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "tests/engine/calls.h"
#include "tests/engine/homes.h"

namespace waitq::engine {

inline constexpr uint64_t kFirstGeneration = 1'000;

// Small enough for ExpectNothingHeld() to use up.
Limits SmallLimits();

// Takes all that the limits allow of everything, and gives it back: whatever
// the engine still held would be missing. Nothing may be in it any more.
void ExpectNothingHeld(Engine& engine, SimulatedClock& clock);

// Removes all objects, whoever uses them.
void RemoveAll(Engine& engine);

// One test's engine. Single-threaded: results are handed out when the test asks
// for the state of a call.
//
// At its end the test's leftovers are removed, and then: nobody sleeps, each
// call was answered once, no timer is armed, and no limit has anything used up.
class EngineTest : public testing::Test {
 protected:
  explicit EngineTest(const Limits& limits = SmallLimits())
      : engine_(std::make_unique<Engine>(limits, &clock_.timers(),
                                         kFirstGeneration)) {}
  void TearDown() override;

  Engine& engine() { return *engine_; }
  SimulatedClock& clock() { return clock_; }
  absl::Time Now() const { return clock_.Now(); }

  // --- Calls that may sleep. They live as long as the test. ------------------

  WaitCall& Wait(absl::string_view name, const WaitArgs& args);
  DoneCall& WaitDone(absl::string_view name, const SleepOptions& sleep = {});
  ReadCall& Read(absl::string_view name, ReadSize size,
                 const SleepOptions& sleep = {});
  PollCall& Poll(absl::string_view name, bool in, bool out,
                 const SleepOptions& sleep = {});
  // Until it is something else than `known`.
  PollCall& PollBeyond(absl::string_view name, bool in, bool out,
                       const PipeEvents& known);
  ReadCall& Read(PipeReader& reader, ReadSize size,
                 const SleepOptions& sleep = {});
  WriteCall& Write(absl::string_view name, absl::string_view data,
                   const SleepOptions& sleep = {});
  WriteCall& Write(PipeWriter& writer, absl::string_view data,
                   const SleepOptions& sleep = {});

  // Any of these. A failure is the test's, but for StartAny()'s.
  AnyCall& WaitAny(const std::vector<Term>& terms,
                   const SleepOptions& sleep = {});
  absl::Status StartAny(const std::vector<Term>& terms,
                        const SleepOptions& sleep = {});

  // Its caller goes, and will not be told.
  static void Detach(Call& call);

  // How it has ended; kAsleep if it has not.
  Ending EndingOf(Call& call);
  bool Asleep(Call& call) { return EndingOf(call) == Ending::kAsleep; }
  // The calls that were told since this was asked last, in order.
  std::vector<Call*> TakeEnded();

  // --- Shorter
  // ----------------------------------------------------------------

  WakeResult WakeUp(absl::string_view name, const WakeOptions& options = {});
  // Sets the word and wakes `nr`.
  WakeResult WakeUp(absl::string_view name, Action update, int nr = 1);
  void Store(absl::string_view name, int64_t value);
  int64_t Value(absl::string_view name);
  CompletionObject::Result Complete(absl::string_view name, uint32_t nr = 1);
  bool TryWait(absl::string_view name);
  // Makes a pipe of these bytes; atomic_max is at most that.
  void MakePipe(absl::string_view name, uint64_t capacity_bytes,
                std::optional<uint64_t> atomic_max_bytes = std::nullopt);
  PipeStat StatPipe(absl::string_view name);
  // What a read that does not sleep gets; "" if it would.
  std::string ReadNow(absl::string_view name, uint64_t max_bytes = 1 << 20);
  // All of it must fit.
  void WriteNow(absl::string_view name, absl::string_view data);

  // Handles; what a test does not close is closed at its end.
  PipeReader& OpenReader(absl::string_view name,
                         const PipeOptionsRequest& options = {});
  PipeWriter& OpenWriter(absl::string_view name,
                         const PipeOptionsRequest& options = {});
  void Close(PipeReader& reader);
  void Close(PipeWriter& writer, bool clean = true);

  void Drain() {
    drained_ = true;
    engine_->Drain();
  }

 private:
  // Notes the order in which calls are told.
  template <class C>
  class NotingCall final : public C {
   public:
    explicit NotingCall(std::vector<Call*>* told) : told_(*told) {}
    void OnEnded(Operation& operation) override {
      C::OnEnded(operation);
      told_.push_back(this);
    }

   private:
    std::vector<Call*>& told_;
  };

  template <class Op>
  CallOf<Op>& NewCall() {
    return NewNoting<CallOf<Op>>();
  }
  template <class C>
  C& NewNoting() {
    auto call = std::make_unique<NotingCall<C>>(&told_);
    C& result = *call;
    calls_.push_back(std::move(call));
    return result;
  }
  static Started Check(const absl::StatusOr<Started>& started);

  SimulatedClock clock_;
  CollectingHome home_;
  std::unique_ptr<Engine> engine_;
  bool drained_ = false;
  // Before the engine: they hold on to its objects.
  std::vector<std::unique_ptr<PipeReader>> readers_;
  std::vector<std::unique_ptr<PipeWriter>> writers_;
  std::deque<std::unique_ptr<Call>> calls_;
  std::vector<Call*> told_;
};

}  // namespace waitq::engine

#endif  // WAITQ_TESTS_ENGINE_ENGINE_FIXTURE_H_
