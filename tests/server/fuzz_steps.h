// What a fuzzer's input is: steps, each a length and so many bytes, from which
// it is drawn what the step does. So what changes in one step leaves the others
// as they are.

#ifndef WAITQ_TESTS_SERVER_FUZZ_STEPS_H_
#define WAITQ_TESTS_SERVER_FUZZ_STEPS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "tests/support/random.h"

namespace waitq::test {

inline constexpr size_t kStepBytesMax = 255;

// The last step may be cut short.
template <class Do>
void ForEachStep(const uint8_t* data, size_t size, Do step) {
  while (size > 0) {
    const size_t bytes = std::min<size_t>(data[0], size - 1);
    Random random(data + 1, bytes);
    step(random);
    data += 1 + bytes;
    size -= 1 + bytes;
  }
}

}  // namespace waitq::test

#endif  // WAITQ_TESTS_SERVER_FUZZ_STEPS_H_
