// The fuzzer's body with random bytes, so that it is built and run always.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/random.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace waitq {
namespace {

// What differs is a check failure.
TEST(PipeStateFuzzTest, APipeAndItsModelAgreeOnRandomInputs) {
  test::Random random(test::Seed());
  for (int i = test::Times(3'000); i > 0; --i) {
    std::vector<uint8_t> input(random.Below(400));
    for (uint8_t& byte : input) byte = static_cast<uint8_t>(random.Below(256));
    EXPECT_EQ(LLVMFuzzerTestOneInput(input.data(), input.size()), 0);
  }
}

}  // namespace
}  // namespace waitq
