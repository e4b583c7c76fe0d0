// Our FIFO beside the machine's own: the same scripts, the same results.
//
//   bazel test --test_env=WAITQ_SEED=7 ...  begins with that script
//   bazel test --test_env=WAITQ_LONG=1 ...  ten times as many

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "tests/core/fifo_crew.h"
#include "tests/core/fifo_script.h"
#include "tests/core/fifo_world.h"
#include "tests/support/random.h"

namespace waitq::test {
namespace {

class FifoDifferentialTest : public testing::Test {
 protected:
  FifoDifferentialTest() {
    std::string folder = testing::TempDir() + "/fifo_XXXXXX";
    EXPECT_NE(mkdtemp(folder.data()), nullptr);
    folder_ = folder;
    real_world_ = MakeRealFifoWorld(folder + "/fifo");
    our_world_ = MakeOurFifoWorld();
    real_ = std::make_unique<FifoCrew>(real_world_.get());
    ours_ = std::make_unique<FifoCrew>(our_world_.get());
  }
  ~FifoDifferentialTest() override {
    real_.reset();
    real_world_.reset();
    std::filesystem::remove_all(folder_);
  }

  // Where several tasks are woken at once the kernel itself does now this, now
  // that: ours is right if the kernel does the same in one of `runs`.
  bool RealDoes(const Script& script, const Trace& trace, int runs) {
    for (int run = 0; run < runs; ++run) {
      real_->RaceMuch(race_, /*at_any_price=*/run >= 50);
      if (real_->Run(script) == trace) {
        most_runs_ = std::max(most_runs_, run + 1);
        return true;
      }
    }
    return false;
  }

  bool Differs(const Script& script, int runs) {
    return !RealDoes(script, ours_->Run(script), runs);
  }

  std::string Describe(const Script& script) {
    const Trace ours = ours_->Run(script);
    const Trace real = real_->Run(script);
    Script all = script;
    const Script ending = FifoCrew::Ending();
    all.insert(all.end(), ending.begin(), ending.end());
    std::string text;
    for (size_t i = 0; i < ours.steps.size(); ++i) {
      if (ours.steps[i].empty() && real.steps[i].empty()) continue;
      text += i < all.size() ? ToString(all[i]) : "at the end";
      text += "\n";
      if (ours.steps[i] == real.steps[i]) {
        text += "      both: " + ours.steps[i] + "\n";
      } else {
        text += "   ** real: " + real.steps[i] + "\n";
        text += "   ** ours: " + ours.steps[i] + "\n";
      }
    }
    return text;
  }

  std::string folder_;
  std::unique_ptr<FifoWorld> real_world_;
  std::unique_ptr<FifoWorld> our_world_;
  std::unique_ptr<FifoCrew> real_;
  std::unique_ptr<FifoCrew> ours_;
  Random race_{1};
  int most_runs_ = 0;  // that RealDoes() needed
};

TEST_F(FifoDifferentialTest, EveryScriptEndsAsOnTheMachinesOwnFifo) {
  if (!FifoCrew::IsPossibleHere()) {
    GTEST_SKIP() << "this machine's /proc does not tell who sleeps";
  }
  if (!KernelKeepsWritersInLine()) {
    GTEST_SKIP() << "this machine's kernel is older than what ours is after";
  }
  constexpr int kReruns = 3000;
  const uint64_t seed = Seed();
  const bool is_long = std::getenv("WAITQ_LONG") != nullptr;
  const int scripts = Times(is_long ? 100'000 : 10'000);
  int steps = 0;
  int rerun = 0;
  for (int i = 0; i < scripts; ++i) {
    const uint64_t own_seed = seed + static_cast<uint64_t>(i);
    const Script script = RandomScript(own_seed);
    real_->RaceLittle();
    if (i % 8 != 0) {
      ours_->RaceLittle();
    } else {
      ours_->RaceMuch(race_, /*at_any_price=*/false);
    }
    const Trace ours = ours_->Run(script);
    steps += static_cast<int>(
        std::count_if(ours.steps.begin(), ours.steps.end(),
                      [](const std::string& step) { return !step.empty(); }));
    if (real_->Run(script) == ours) continue;
    ++rerun;
    if (RealDoes(script, ours, 100)) continue;
    // Said now: on a busy machine it may take long to be sure.
    std::fprintf(stderr, "another result so far: WAITQ_SEED=%llu\n",
                 static_cast<unsigned long long>(own_seed));
    if (RealDoes(script, ours, kReruns)) continue;
    const Script shrunk = Shrink<Script>(
        script, [this](const Script& less) { return Differs(less, 50); });
    FAIL() << "the kernel does not do what we do: WAITQ_SEED=" << own_seed
           << "\n"
           << Describe(shrunk);
  }
  std::printf(
      "%d scripts, %d steps; %d scripts ran again on the kernel, %d times at "
      "most\n",
      scripts, steps, rerun, most_runs_);
}

}  // namespace
}  // namespace waitq::test
