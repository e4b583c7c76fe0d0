// A named pipe over gRPC beside the machine's own FIFO: the same scripts, the
// same results. What is different by promise, and how it is made the same, is
// in docs/testing.md.
//
//   bazel test --test_env=WAITQ_SEED=7 ...     begins with that script
//   bazel test --test_env=WAITQ_TIMES=100 ...  a hundred times as many

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/core/fifo_crew.h"
#include "tests/core/fifo_script.h"
#include "tests/core/fifo_world.h"
#include "tests/server/fixture.h"
#include "tests/server/pipe_script.h"
#include "tests/support/random.h"

namespace waitq::test {
namespace {

class PipeDifferentialTest : public EverywhereTest {
 protected:
  PipeDifferentialTest() : path_(testing::TempDir() + "/pipe_XXXXXX") {
    EXPECT_NE(mkdtemp(path_.data()), nullptr);
  }
  ~PipeDifferentialTest() override { std::filesystem::remove_all(path_); }

  void SetUp() override {
    kernel_ = MakeKernelPipeWorld(path_ + "/fifo");
    ours_ = MakeGrpcPipeWorld(&server(), client().channel());
  }
  void TearDown() override {
    kernel_ = nullptr;
    ours_ = nullptr;
    EverywhereTest::TearDown();
  }

  struct Done {
    PipeStep step;
    size_t index;
    PipeReport report;
  };

  // What our pipe does: the steps that make sense; then everybody goes away,
  // and what is left is read.
  std::vector<Done> RunOurs(const PipeScript& script) {
    std::vector<PipeStep> steps = script.steps;
    for (int k = 0; k < kProcesses; ++k) {
      steps.push_back({.kind = PipeStep::Kind::kGoAway, .process = k});
    }
    for (size_t k = 0; k < 2 * script.capacity_units; ++k) {
      steps.push_back({.kind = PipeStep::Kind::kRead,
                       .process = 0,
                       .units = 1,
                       .nonblock = true});
    }
    ours_->Begin(script);
    std::vector<Done> done;
    PipeReport now;
    for (size_t i = 0; i < steps.size(); ++i) {
      if (!MakesSense(steps[i], script, now)) continue;
      now = ours_->Do(steps[i], i);
      done.push_back({steps[i], i, now});
    }
    steps_ += static_cast<int>(done.size());
    return done;
  }

  // Up to the first difference. `text`, if given: all that happens.
  bool KernelDoes(const PipeScript& script, const std::vector<Done>& ours,
                  std::string* text = nullptr) {
    kernel_->Begin(script);
    for (const Done& done : ours) {
      const PipeReport report = kernel_->Do(done.step, done.index);
      if (text != nullptr) Describe(done, report, *text);
      if (report != done.report) return false;
    }
    return true;
  }

  static void Describe(const Done& ours, const PipeReport& kernel,
                       std::string& text) {
    absl::StrAppend(&text, ours.index, ": ", ToString(ours.step), "\n");
    for (size_t k = 0; k < kProcesses; ++k) {
      const ProcessReport& report = ours.report[k];
      if (kernel[k] != report) {
        absl::StrAppend(&text, "   ** [", k, "] kernel: ", ToString(kernel[k]),
                        "\n   ** [", k, "] ours:   ", ToString(report), "\n");
      } else if (report != ProcessReport()) {
        absl::StrAppend(&text, "      [", k, "] ", ToString(report), "\n");
      }
    }
  }

  // Where several are woken at once the kernel itself does now this, now that:
  // ours is right if the kernel does the same in one of several runs.
  bool KernelEverDoes(const PipeScript& script, const std::vector<Done>& ours) {
    if (KernelDoes(script, ours)) return true;
    ++reruns_;
    for (int run = 0; run < 300; ++run) {
      kernel_->Race(race_);
      if (KernelDoes(script, ours)) return true;
    }
    return false;
  }

  std::string path_;
  std::unique_ptr<PipeWorld> kernel_;
  std::unique_ptr<PipeWorld> ours_;
  Random race_{1};
  int steps_ = 0;
  int reruns_ = 0;
};
WAITQ_TEST_EVERYWHERE(PipeDifferentialTest);

TEST_P(PipeDifferentialTest, EveryScriptEndsAsOnAFifoThatKeepsOurPromises) {
  if (!FifoCrew::IsPossibleHere()) {
    GTEST_SKIP() << "this machine's /proc does not tell who sleeps";
  }
  if (!KernelKeepsWritersInLine()) {
    GTEST_SKIP() << "this machine's kernel is older than what ours is after";
  }
  const uint64_t seed = Seed();
  const int scripts = Times(200);
  for (int i = 0; i < scripts; ++i) {
    const uint64_t own_seed = seed + static_cast<uint64_t>(i);
    const PipeScript script = RandomPipeScript(own_seed);
    const std::vector<Done> ours = RunOurs(script);
    if (KernelEverDoes(script, ours)) continue;
    std::string text;
    KernelDoes(script, ours, &text);
    FAIL() << "the kernel does not do what we do: WAITQ_SEED=" << own_seed
           << ", capacity " << script.capacity_units << ", window "
           << script.window_units << ", unit " << script.unit_bytes << "\n"
           << text;
  }
  std::printf("%d scripts, %d steps; %d scripts ran again on the kernel\n",
              scripts, steps_, reruns_);
}

}  // namespace
}  // namespace waitq::test
