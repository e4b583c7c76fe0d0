// How libFuzzer changes inputs that are steps: whole steps come twice, go, or
// change places; or the bytes within one change, as libFuzzer would change them
// without this. (Its own ways alone would nearly always move a length into the
// middle of something.)

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "tests/server/fuzz_steps.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace waitq::test {
namespace {

using Steps = std::vector<std::string>;

Steps Parse(const uint8_t* data, size_t size) {
  Steps steps;
  ForEachStep(data, size, [&](const Random& random) {
    steps.emplace_back(reinterpret_cast<const char*>(random.rest()),
                       random.left());
  });
  return steps;
}

// As many as there is room for.
size_t Write(const Steps& steps, uint8_t* data, size_t max_size) {
  size_t size = 0;
  for (const std::string& step : steps) {
    if (size + 1 + step.size() > max_size) break;
    data[size] = static_cast<uint8_t>(step.size());
    if (!step.empty()) std::memcpy(data + size + 1, step.data(), step.size());
    size += 1 + step.size();
  }
  return size;
}

std::string Mutated(std::string step) {
  const size_t before = step.size();
  step.resize(kStepBytesMax);
  step.resize(LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(step.data()), before,
                               kStepBytesMax));
  return step;
}

void Mutate(Steps& steps, std::minstd_rand& random) {
  const auto below = [&](size_t n) { return random() / 7 % n; };
  if (steps.empty()) return steps.push_back(Mutated(""));
  const size_t at = below(steps.size());
  const auto begin = steps.begin();
  switch (below(8)) {
    case 0:
      steps.erase(begin + at);
      break;
    case 1: {
      std::string again = steps[below(steps.size())];
      steps.insert(begin + at, std::move(again));
      break;
    }
    case 2:
      std::swap(steps[at], steps[below(steps.size())]);
      break;
    case 3:
      steps.insert(begin + at, Mutated(""));
      break;
    default:
      steps[at] = Mutated(steps[at]);
  }
}

}  // namespace
}  // namespace waitq::test

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size,
                                          size_t max_size, unsigned int seed) {
  using namespace waitq::test;  // NOLINT
  Steps steps = Parse(data, size);
  std::minstd_rand random(seed);
  Mutate(steps, random);
  return Write(steps, data, max_size);
}

// The beginning of one, and the end of another.
extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* data1, size_t size1,
                                            const uint8_t* data2, size_t size2,
                                            uint8_t* out, size_t max_out_size,
                                            unsigned int seed) {
  using namespace waitq::test;  // NOLINT
  Steps steps = Parse(data1, size1);
  const Steps others = Parse(data2, size2);
  std::minstd_rand random(seed);
  steps.resize(random() / 7 % (steps.size() + 1));
  const size_t from = random() / 7 % (others.size() + 1);
  steps.insert(steps.end(), others.begin() + from, others.end());
  return Write(steps, out, max_out_size);
}
