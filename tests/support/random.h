// Random tests: a seed that is printed and taken back.
//
//   bazel test --test_env=WAITQ_SEED=7 ...     the same run again
//   bazel test --test_env=WAITQ_TIMES=100 ...  a hundred times as long

#ifndef WAITQ_TESTS_SUPPORT_RANDOM_H_
#define WAITQ_TESTS_SUPPORT_RANDOM_H_

#include <cstdint>
#include <random>

namespace waitq::test {

// Of this run: WAITQ_SEED, or a new one. Prints it.
uint64_t Seed();

// `n`, times WAITQ_TIMES if that is set: how long a random test or a race goes
// on.
int Times(int n);

// Random numbers, the same for the same seed.
//
// Thread safety: none; each thread has its own.
class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}

  // 0 to n - 1.
  uint64_t Below(uint64_t n) { return engine_() % n; }
  // `from` to `to`, both included.
  int64_t Between(int64_t from, int64_t to) {
    return from +
           static_cast<int64_t>(Below(static_cast<uint64_t>(to - from) + 1));
  }
  bool OneIn(uint64_t n) { return Below(n) == 0; }
  // 0 to 2^bits - 1, each length in bits as likely as the others.
  int64_t Log(int bits) {
    return static_cast<int64_t>(engine_() &
                                ((uint64_t{1} << Below(bits + 1)) - 1));
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace waitq::test

#endif  // WAITQ_TESTS_SUPPORT_RANDOM_H_
