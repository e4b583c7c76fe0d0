// Two things at the same moment, again and again.

#ifndef WAITQ_TESTS_SUPPORT_RIVAL_H_
#define WAITQ_TESTS_SUPPORT_RIVAL_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>

#include "absl/functional/function_ref.h"
#include "tests/support/random.h"
#include "tests/support/wait_until.h"

namespace waitq::test {

// A thread that does its part of a race whenever the test does the other.
//
// Whoever was over first waits a little longer the next time, so that in the
// end they meet, whatever they cost. And now and then one does wait for the
// other: on a machine that is too busy for two at once, both orders still come.
class Rival {
 public:
  explicit Rival(uint64_t seed) : random_(seed), thread_([this] { Run(); }) {}
  ~Rival() {
    stop_ = true;
    thread_.join();
  }
  Rival(const Rival&) = delete;
  Rival& operator=(const Rival&) = delete;

  // Runs `mine` in this thread and `theirs` in the other. Returns when both are
  // over. `in_turns`: either may be over before the other begins.
  void Race(absl::FunctionRef<void()> mine, absl::FunctionRef<void()> theirs,
            bool in_turns = true) {
    theirs_ = &theirs;
    // Around the balance, mostly by little.
    my_delay_ = std::max(balance_, 0) + static_cast<int>(random_.Log(9));
    their_delay_ = std::max(-balance_, 0) + static_cast<int>(random_.Log(9));
    const uint64_t polite = in_turns ? random_.Below(8) : 8;
    they_wait_ = polite == 1;
    const int round = ++round_;
    AwaitRound(ready_, round);
    go_ = round;
    if (polite == 0) AwaitRound(done_, round);
    Delay(my_delay_);
    mine();
    const bool first = over_.exchange(round) != round;
    AwaitRound(done_, round);
    if (polite < 2) return;
    // Faster and faster while it is always the same one.
    step_ = first == was_first_ ? std::min(2 * step_, kMostStep) : kStep;
    was_first_ = first;
    balance_ = std::clamp(balance_ + (first ? step_ : -step_), -kMost, kMost);
  }

 private:
  static constexpr int kStep = 32;
  static constexpr int kMostStep = 4'096;
  static constexpr int kMost = 100'000;

  // So long nobody lets others run: the start is to be sharp.
  static constexpr int kSpins = 5'000;

  static void AwaitRound(const std::atomic<int>& state, int round) {
    for (int i = 0; state != round && i < kSpins; ++i) {
    }
    WaitUntil([&] { return state == round; });
  }

  static void Delay(int turns) {
    for (int i = 0; i < turns; ++i) {
      std::atomic_signal_fence(
          std::memory_order_seq_cst);  // not optimised away
    }
  }

  void Run() {
    for (int round = 1;; ++round) {
      for (int i = 0; round_ != round; ++i) {
        if (stop_) return;
        if (i > kSpins) std::this_thread::yield();
      }
      const absl::FunctionRef<void()>& theirs = *theirs_;
      ready_ = round;
      AwaitRound(go_, round);
      if (they_wait_) AwaitRound(over_, round);
      Delay(their_delay_);
      theirs();
      over_.exchange(round);
      done_ = round;
    }
  }

  Random random_;
  const absl::FunctionRef<void()>* theirs_ = nullptr;  // before round_
  int my_delay_ = 0;
  int their_delay_ = 0;
  bool they_wait_ = false;
  int balance_ = 0;  // above 0: `mine` waits so much longer
  int step_ = kStep;
  bool was_first_ = false;
  std::atomic<int> round_ = 0;
  std::atomic<int> ready_ = 0;
  std::atomic<int> go_ = 0;
  std::atomic<int> over_ = 0;  // the round that one of the two has finished
  std::atomic<int> done_ = 0;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace waitq::test

#endif  // WAITQ_TESTS_SUPPORT_RIVAL_H_
