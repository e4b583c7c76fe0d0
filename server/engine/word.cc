#include "server/engine/word.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace waitq::engine {

bool Condition::Holds(int64_t value, uint64_t generation, bool woken) const {
  switch (test) {
    case Test::kWoken:
      return woken;
    case Test::kEqual:
      return value == operand;
    case Test::kNotEqual:
      return value != operand;
    case Test::kLess:
      return value < operand;
    case Test::kLessOrEqual:
      return value <= operand;
    case Test::kGreater:
      return value > operand;
    case Test::kGreaterOrEqual:
      return value >= operand;
    case Test::kAllBits:
      return (value & operand) == operand;
    case Test::kAnyBits:
      return (value & operand) != 0;
    case Test::kChangedSince:
      return generation != static_cast<uint64_t>(operand);
  }
  return false;
}

std::string Condition::ToString() const {
  switch (test) {
    case Test::kWoken:
      return "a wake";
    case Test::kEqual:
      return absl::StrCat("value == ", operand);
    case Test::kNotEqual:
      return absl::StrCat("value != ", operand);
    case Test::kLess:
      return absl::StrCat("value < ", operand);
    case Test::kLessOrEqual:
      return absl::StrCat("value <= ", operand);
    case Test::kGreater:
      return absl::StrCat("value > ", operand);
    case Test::kGreaterOrEqual:
      return absl::StrCat("value >= ", operand);
    case Test::kAllBits:
      return absl::StrFormat("all of 0x%x", operand);
    case Test::kAnyBits:
      return absl::StrFormat("any of 0x%x", operand);
    case Test::kChangedSince:
      return absl::StrCat("changed since ", static_cast<uint64_t>(operand));
  }
  return "";
}

bool Action::Apply(int64_t& value) const {
  switch (change) {
    case Change::kNone:
      return true;
    case Change::kSet:
      value = operand;
      return true;
    case Change::kAdd: {
      int64_t sum;
      if (__builtin_add_overflow(value, operand, &sum)) return false;
      value = sum;
      return true;
    }
    case Change::kAnd:
      value &= operand;
      return true;
    case Change::kOr:
      value |= operand;
      return true;
  }
  return true;
}

}  // namespace waitq::engine
