// The specification's case of the lockless look for sleepers, by number: a
// litmus test of the machine's memory order.

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <thread>

#include "core/task.h"
#include "core/wait_list.h"
#include "core/wait_queue.h"
#include "gtest/gtest.h"
#include "tests/support/random.h"
#include "tests/support/rival.h"

namespace waitq {
namespace {

struct Slot {
  WaitQueue queue;
  std::atomic<bool> condition = false;
  std::optional<WaitEntry> entry;
  bool sleeper_saw = false;
  bool waker_saw = false;
};

// How often sleeper and waker miss each other: the one sees the old condition,
// the other sees nobody. They go through many slots side by side, so that they
// meet in most of them.
int Missed(bool (WaitQueue::*look)() const, int rounds) {
  constexpr int kSlots = 1000;
  test::Rival rival(test::Seed());
  auto slots = std::make_unique<std::array<Slot, kSlots>>();
  int missed = 0;
  for (int round = 0; round < rounds; round += kSlots) {
    for (Slot& slot : *slots) {
      slot.condition = false;
      slot.entry.emplace(&Task::Current(), &AutoremoveWakeFunction);
    }
    std::atomic<int> begun = 0;
    rival.Race(
        [&] {
          int turns = 0;
          for (Slot& slot : *slots) {
            begun.fetch_add(1, std::memory_order_relaxed);
            // As long as the news takes to the other processor, about.
            turns = (turns + 7) % 200;
            for (int n = 0; n < turns; ++n) {
              std::atomic_signal_fence(std::memory_order_seq_cst);
            }
            slot.queue.PrepareToWait(*slot.entry, kUninterruptible);
            slot.sleeper_saw = slot.condition.load(std::memory_order_relaxed);
          }
        },
        [&] {
          for (int i = 0; i < kSlots; ++i) {
            Slot& slot = (*slots)[static_cast<size_t>(i)];
            for (int n = 0; begun.load(std::memory_order_relaxed) <= i; ++n) {
              if (n > 1000) std::this_thread::yield();
            }
            slot.condition.store(true, std::memory_order_relaxed);
            slot.waker_saw = (slot.queue.*look)();
          }
        },
        /*in_turns=*/false);
    for (Slot& slot : *slots) {
      if (!slot.sleeper_saw && !slot.waker_saw) ++missed;
      slot.queue.FinishWait(*slot.entry);
    }
  }
  return missed;
}

TEST(SpecFenceTest, Spec39_WithItsBarrierNobodyIsMissed) {
  const int rounds =
      test::Times(std::getenv("WAITQ_LONG") == nullptr ? 200'000 : 10'000'000);
  EXPECT_EQ(Missed(&WaitQueue::HasSleeper, rounds), 0);
  // Not a claim: whether it shows is the machine's affair.
  std::printf("without: %d of %d missed\n",
              Missed(&WaitQueue::WaitqueueActive, rounds), rounds);
}

}  // namespace
}  // namespace waitq
