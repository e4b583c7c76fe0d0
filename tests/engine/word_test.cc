#include "server/engine/word.h"

#include <cstdint>
#include <limits>
#include <string>

#include "gtest/gtest.h"
#include "tests/engine/calls.h"

namespace waitq::engine {
namespace {

constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

struct Row {
  Condition condition;
  int64_t value;
  bool holds;
};

TEST(ConditionTest, HoldsForTheValuesThatItNames) {
  const Row rows[] = {
      {Equal(3), 3, true},
      {Equal(3), 4, false},
      {Equal(kMin), kMin, true},
      {NotEqual(3), 3, false},
      {NotEqual(3), 4, true},
      {Less(3), 2, true},
      {Less(3), 3, false},
      {Less(kMin), kMin, false},
      {Less(0), kMin, true},
      {LessOrEqual(3), 3, true},
      {LessOrEqual(3), 4, false},
      {Greater(3), 4, true},
      {Greater(3), 3, false},
      {Greater(-1), 0, true},
      {Greater(0), kMin, false},
      {Greater(kMax), kMax, false},
      {GreaterOrEqual(3), 3, true},
      {GreaterOrEqual(3), 2, false},
      {GreaterOrEqual(kMin), kMin, true},
      {AllBits(6), 7, true},
      {AllBits(6), 6, true},
      {AllBits(6), 5, false},
      {AllBits(6), 0, false},
      {AllBits(-1), -1, true},
      {AllBits(-1), kMax, false},
      {AllBits(kMin), -5, true},
      {AnyBits(6), 4, true},
      {AnyBits(6), 9, false},
      {AnyBits(6), 0, false},
      {AnyBits(kMin), -1, true},
      {AnyBits(kMin), kMax, false},
  };
  for (const Row& row : rows) {
    for (const bool woken : {false, true}) {
      EXPECT_EQ(row.condition.Holds(row.value, 77, woken), row.holds)
          << row.condition.ToString() << " of " << row.value;
    }
  }
}

TEST(ConditionTest, ChangedSinceAsksForTheGenerationOnly) {
  EXPECT_FALSE(ChangedSince(7).Holds(123, 7, true));
  EXPECT_TRUE(ChangedSince(7).Holds(123, 8, false));
  EXPECT_TRUE(ChangedSince(7).Holds(123, 6, false)) << "any other one";
  constexpr uint64_t kHuge = std::numeric_limits<uint64_t>::max();
  EXPECT_FALSE(ChangedSince(kHuge).Holds(0, kHuge, false));
}

TEST(ConditionTest, NoneHoldsOnlyWhenWoken) {
  EXPECT_FALSE(Condition().Holds(0, 0, false));
  EXPECT_FALSE(Woken().Holds(1, 1, false));
  EXPECT_TRUE(Woken().Holds(0, 0, true));
}

TEST(ConditionTest, CanBeReadByPeople) {
  EXPECT_EQ(Equal(-3).ToString(), "value == -3");
  EXPECT_EQ(NotEqual(3).ToString(), "value != 3");
  EXPECT_EQ(Less(3).ToString(), "value < 3");
  EXPECT_EQ(LessOrEqual(3).ToString(), "value <= 3");
  EXPECT_EQ(Greater(3).ToString(), "value > 3");
  EXPECT_EQ(GreaterOrEqual(3).ToString(), "value >= 3");
  EXPECT_EQ(AllBits(255).ToString(), "all of 0xff");
  EXPECT_EQ(AnyBits(-1).ToString(), "any of 0xffffffffffffffff");
  EXPECT_EQ(ChangedSince(~uint64_t{0}).ToString(),
            "changed since 18446744073709551615");
  EXPECT_EQ(Woken().ToString(), "a wake");
}

TEST(ActionTest, ChangesTheValueAsItSays) {
  struct {
    Action action;
    int64_t before;
    int64_t after;
  } const rows[] = {
      {{}, 5, 5},
      {Set(-7), 5, -7},
      {Add(3), 5, 8},
      {Add(-6), 5, -1},
      {And(6), 5, 4},
      {And(kMin), -1, kMin},
      {Or(6), 5, 7},
      {Or(kMin), 0, kMin},
      {Add(0), kMax, kMax},
      {Add(kMax), -1, kMax - 1},
      {Add(kMin), kMax, -1},
      {Add(1), kMax - 1, kMax},
  };
  for (const auto& row : rows) {
    int64_t value = row.before;
    EXPECT_TRUE(row.action.Apply(value));
    EXPECT_EQ(value, row.after);
  }
}

TEST(ActionTest, AnOverflowChangesNothing) {
  struct {
    int64_t value;
    int64_t added;
  } const rows[] = {
      {kMax, 1}, {kMax, kMax}, {kMin, -1}, {kMin, kMin}, {-2, kMin}};
  for (const auto& row : rows) {
    int64_t value = row.value;
    EXPECT_FALSE(Add(row.added).Apply(value));
    EXPECT_EQ(value, row.value);
  }
}

}  // namespace
}  // namespace waitq::engine
