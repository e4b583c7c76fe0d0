// A fuzzer's body with what a fuzzer has found before (its corpus: files in the
// folder WAITQ_CORPUS) and with random bytes, so that it is built and run
// always. What is wrong is a check failure.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "gtest/gtest.h"
#include "tests/server/fuzz_steps.h"
#include "tests/support/random.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace waitq::test {
namespace {

using Input = std::vector<uint8_t>;

TEST(FuzzTest, NothingOfTheCorpusBreaksARule) {
  int inputs = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::getenv("WAITQ_CORPUS"))) {
    std::ifstream file(entry.path(), std::ios::binary);
    const Input input{std::istreambuf_iterator<char>(file), {}};
    // Before it, should it be the end of this program.
    SCOPED_TRACE(entry.path().string());
    EXPECT_EQ(LLVMFuzzerTestOneInput(input.data(), input.size()), 0);
    ++inputs;
  }
  EXPECT_GT(inputs, 0);
}

TEST(FuzzTest, NothingRandomBreaksARule) {
  Random random(Seed());
  for (int i = Times(3'000); i > 0; --i) {
    Input input;
    for (int64_t steps = random.Between(1, 40); steps > 0; --steps) {
      const uint64_t bytes = random.Below(random.OneIn(4) ? kStepBytesMax : 60);
      input.push_back(static_cast<uint8_t>(bytes));
      for (uint64_t n = bytes; n > 0; --n) {
        input.push_back(static_cast<uint8_t>(random.Below(256)));
      }
    }
    EXPECT_EQ(LLVMFuzzerTestOneInput(input.data(), input.size()), 0);
  }
}

}  // namespace
}  // namespace waitq::test
