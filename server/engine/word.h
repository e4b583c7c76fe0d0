// What can be asked of a wait queue's 64-bit word, and done to it.

#ifndef WAITQ_SERVER_ENGINE_WORD_H_
#define WAITQ_SERVER_ENGINE_WORD_H_

#include <cstdint>
#include <string>

namespace waitq::engine {

// A test of the word or of its generation.
struct Condition {
  enum class Test : uint8_t {
    kWoken,  // true only when a wake reaches the sleeper
    kEqual,
    kNotEqual,
    kLess,
    kLessOrEqual,
    kGreater,
    kGreaterOrEqual,
    kAllBits,
    kAnyBits,
    kChangedSince,
  };

  // `woken`: whether it is a wake-up that asks.
  bool Holds(int64_t value, uint64_t generation, bool woken) const;

  // For people: "value == 1".
  std::string ToString() const;

  Test test = Test::kWoken;
  // What the value is compared with; a mask or a generation as its bits.
  int64_t operand = 0;
};

// A change of the word.
struct Action {
  enum class Change : uint8_t { kNone, kSet, kAdd, kAnd, kOr };

  // Changes `value`, or leaves it alone and returns false: `add` overflows.
  bool Apply(int64_t& value) const;

  Change change = Change::kNone;
  int64_t operand = 0;
};

}  // namespace waitq::engine

#endif  // WAITQ_SERVER_ENGINE_WORD_H_
