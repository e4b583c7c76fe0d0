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

int Times(int n) {
  const char* const times = std::getenv("WAITQ_TIMES");
  return times == nullptr ? n : n * std::atoi(times);
}

}  // namespace waitq::test
