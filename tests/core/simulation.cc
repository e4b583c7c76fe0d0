#include "tests/core/simulation.h"

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "gtest/gtest.h"

namespace waitq::test {

// --- A world -----------------------------------------------------------------

int World::Start(const char* name, std::function<void()> body) {
  const int fiber = fibers_.Start(name, std::move(body));
  ThreadTask& own = fibers_.task(fiber);
  own.set_timers(&clock_.timers());
  // SIGUSR1 ends interruptible sleeps, SIGTERM killable ones too; SIGUSR2 and
  // SIGWINCH none.
  own.dispositions().handled = SignalSet::Of(SIGUSR1) | SignalSet::Of(SIGPIPE);
  own.dispositions().blocked = SignalSet::Of(SIGUSR2);
  return fiber;
}

void World::ClearSignals(ThreadTask& task) {
  for (const int signal : {SIGUSR1, SIGTERM, SIGKILL, SIGPIPE}) {
    task.ClearSignal(signal);
  }
}

void World::StartNoise(int times, std::function<void()> other) {
  if (times == 0) return;
  Start("noise", [this, times, other = std::move(other)] {
    for (int i = 0; i < times; ++i) {
      Yield("next noise");
      OneIn(4) ? other() : MakeNoise();
    }
  });
}

void World::MakeNoise() {
  static constexpr int kSignals[] = {SIGUSR1, SIGUSR1, SIGUSR1,
                                     SIGTERM, SIGUSR2, SIGWINCH};
  const auto victim =
      static_cast<int>(Between(0, static_cast<int64_t>(fibers_.count()) - 1));
  switch (Between(0, 5)) {
    case 0:
    case 1:
    case 2:
      fibers_.task(victim).SendSignal(kSignals[Between(0, 5)]);
      break;
    case 3:
      fibers_.task(victim).TryToWake(kNormal);
      break;
    case 4:
      clock_.Advance(Between(0, 12) * kTick);
      break;
    case 5:
      // Not a whole number of ticks.
      clock_.Advance(absl::Microseconds(Between(1, 250)));
      break;
  }
}

bool World::Run() {
  for (;;) {
    switch (fibers_.Run([this] { return Idle(); })) {
      case Fibers::End::kReturned:
        CheckEnd();
        Check(!clock_.timers().NextWork().has_value(),
              "no timer is armed in the end");
        return fibers_.failure().empty();
      case Fibers::End::kFailed:
        return false;
      case Fibers::End::kStuck:
        if (LetGo()) break;
        fibers_.Fail("all sleep, and nothing will wake them");
        return false;
    }
    if (!fibers_.failure().empty()) return false;
  }
}

bool World::Idle() {
  for (int i = 0; i < fibers_.count(); ++i) {
    const ThreadTask& sleeper = fibers_.task(i);
    Check(!fibers_.asleep(i) || !sleeper.SignalPendingIn(sleeper.state()),
          "nobody sleeps on with a signal that ends its sleep");
  }
  CheckAllMaySleep();
  if (!fibers_.failure().empty()) return false;
  const std::optional<absl::Time> work = clock_.timers().NextWork();
  if (!work.has_value()) return false;
  // Mostly just to the next timer; sometimes several are due at once.
  clock_.Advance(*work - Now() + (OneIn(4) ? 5 * kTick : absl::ZeroDuration()));
  return true;
}

// --- Many worlds -------------------------------------------------------------

namespace {

// Runs one world. If it fails, it and the fibers are left alone for ever: their
// stacks are in the middle of something.
bool RunWorld(std::unique_ptr<Fibers>& fibers, uint64_t seed,
              const MakeWorld& make) {
  fibers->Reset(seed);
  auto world = make(fibers.get());
  if (world->Run()) return true;
  ADD_FAILURE() << "after " << fibers->all_steps()
                << " steps; WAITQ_SEED=" << seed << " fails at once:\n"
                << fibers->Trace();
  (void)world.release();
  (void)fibers.release();
  return false;
}

}  // namespace

void Simulate(const char* name, int worlds, const MakeWorld& make) {
  const uint64_t seed = Seed();
  const bool is_long = std::getenv("WAITQ_LONG") != nullptr;
  const int count = Times(worlds) * (is_long ? 50 : 1);
  auto fibers = std::make_unique<Fibers>();
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < count; ++i) {
    if (!RunWorld(fibers, seed + static_cast<uint64_t>(i), make)) return;
  }
  const std::chrono::duration<double> took =
      std::chrono::steady_clock::now() - begin;
  const auto steps = static_cast<double>(fibers->all_steps());
  std::printf("%s: %.0f steps, %.0f a second\n", name, steps,
              steps / took.count());
}

std::pair<uint64_t, uint64_t> TraceOf(uint64_t seed, const MakeWorld& make) {
  auto fibers = std::make_unique<Fibers>();
  if (!RunWorld(fibers, seed, make)) return {0, 0};
  return {fibers->steps(), fibers->trace_hash()};
}

}  // namespace waitq::test
