// Simulations of core: small worlds, each with its own seed, thousands of them
// one after the other, each checked against a plain model of what it does.
//
// A world makes its fibers in its constructor; Simulate() runs them to the end.
// Whenever all are asleep it is asked whether somebody ought not to be: a
// wake-up that was lost shows at once, whatever would end that sleep later.

#ifndef WAITQ_TESTS_CORE_SIMULATION_H_
#define WAITQ_TESTS_CORE_SIMULATION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "core/simulated_clock.h"
#include "core/task.h"
#include "tests/core/fibers.h"
#include "tests/support/random.h"

namespace waitq::test {

// One simulated process: threads, a clock, and what disturbs them.
class World {
 public:
  explicit World(Fibers* fibers) : fibers_(*fibers) {}
  virtual ~World() = default;
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // Runs until all fibers have returned. False if something was wrong: then the
  // fibers' Trace() says what, and neither they nor this may be destroyed.
  bool Run();

 protected:
  // --- For subclasses to say -------------------------------------------------

  // All fibers that have not returned are asleep: Check() that none ought to be
  // running.
  virtual void CheckAllMaySleep() = 0;
  // The same, and no time would change it. Lets somebody go on; false if there
  // is nothing left to do.
  virtual bool LetGo() = 0;
  // All have returned.
  virtual void CheckEnd() {}

  // --- For subclasses to use -------------------------------------------------

  Random& random() { return fibers_.random(); }
  bool OneIn(uint64_t n) { return random().OneIn(n); }
  int64_t Between(int64_t from, int64_t to) {
    return random().Between(from, to);
  }
  absl::Time Now() const { return clock_.Now(); }
  ThreadTask& task() { return Task::Current(); }

  // Starts a fiber with timers, and with dispositions for each kind of signal.
  // Returns its number.
  int Start(const char* name, std::function<void()> body);
  // Starts a fiber that `times` times moves the clock, sends a signal to one of
  // the others, ends a sleep for nothing, or calls `other`.
  void StartNoise(int times, std::function<void()> other);

  // As if the signals had been delivered.
  void ClearSignals(ThreadTask& task);

  void Check(bool holds, const char* rule) {
    if (!holds) [[unlikely]]
      fibers_.Fail(std::string("not so: ") + rule);
  }
  void Yield(const char* where) { fibers_.Yield(where); }

  Fibers& fibers_;
  SimulatedClock clock_;

 private:
  bool Idle();
  void MakeNoise();
};

// Runs Times(`worlds`) worlds made by `make`; many more with WAITQ_LONG. The
// seed of each is one more than that of the one before, so that the seed of a
// failure, given back, fails in the first.
using MakeWorld = std::function<std::unique_ptr<World>(Fibers*)>;
void Simulate(const char* name, int worlds, const MakeWorld& make);

template <class W>
void Simulate(const char* name, int worlds) {
  Simulate(name, worlds,
           [](Fibers* fibers) { return std::make_unique<W>(fibers); });
}

// One world; its steps and the hash of its trace.
std::pair<uint64_t, uint64_t> TraceOf(uint64_t seed, const MakeWorld& make);

}  // namespace waitq::test

#endif  // WAITQ_TESTS_CORE_SIMULATION_H_
