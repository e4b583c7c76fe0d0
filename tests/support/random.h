// Random tests: a seed that is printed and taken back.
//
//   bazel test --test_env=WAITQ_SEED=7 ...     the same run again
//   bazel test --test_env=WAITQ_TIMES=100 ...  a hundred times as long

#ifndef WAITQ_TESTS_SUPPORT_RANDOM_H_
#define WAITQ_TESTS_SUPPORT_RANDOM_H_

#include <cstddef>
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
  // Draws from these bytes, which must outlive it, few for each number: a
  // fuzzer's. After their end nothing is OneIn() of anything, and Log() is 0.
  Random(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}

  // 0 to n - 1.
  uint64_t Below(uint64_t n) {
    return at_ == nullptr ? engine_() % n : BelowFromBytes(n);
  }
  // `from` to `to`, both included.
  int64_t Between(int64_t from, int64_t to) {
    return from +
           static_cast<int64_t>(Below(static_cast<uint64_t>(to - from) + 1));
  }
  bool OneIn(uint64_t n) { return Below(n) == 0; }
  // 0 to 2^bits - 1, each length in bits as likely as the others.
  int64_t Log(int bits) {
    if (at_ != nullptr) return LogFromBytes(bits);
    return static_cast<int64_t>(engine_() &
                                ((uint64_t{1} << Below(bits + 1)) - 1));
  }

  // Of bytes: those that are not used up.
  size_t left() const { return static_cast<size_t>(end_ - at_); }
  const uint8_t* rest() const { return at_; }

 private:
  uint64_t BelowFromBytes(uint64_t n);
  int64_t LogFromBytes(int bits);

  std::mt19937_64 engine_;
  const uint8_t* at_ = nullptr;
  const uint8_t* end_ = nullptr;
};

}  // namespace waitq::test

#endif  // WAITQ_TESTS_SUPPORT_RANDOM_H_
