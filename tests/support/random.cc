#include "tests/support/random.h"

#include <cstdio>
#include <cstdlib>

namespace waitq::test {

uint64_t Seed() {
  const char* const given = std::getenv("WAITQ_SEED");
  uint64_t seed;
  if (given != nullptr) {
    seed = std::strtoull(given, nullptr, 10);
  } else {
    std::random_device device;
    seed = device();
  }
  std::printf("WAITQ_SEED=%llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  return seed;
}

uint64_t Random::BelowFromBytes(uint64_t n) {
  if (at_ == end_) return n - 1;
  uint64_t drawn = 0;
  for (uint64_t most = n - 1; most > 0 && at_ != end_; most >>= 8) {
    drawn = drawn << 8 | *at_++;
  }
  return drawn % n;
}

int64_t Random::LogFromBytes(int bits) {
  if (at_ == end_) return 0;
  return static_cast<int64_t>(BelowFromBytes(uint64_t{1} << Below(bits + 1)));
}

int Times(int n) {
  const char* const times = std::getenv("WAITQ_TIMES");
  return times == nullptr ? n : n * std::atoi(times);
}

}  // namespace waitq::test
