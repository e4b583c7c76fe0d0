// KeptResults, beside a map that does the same.

#include "server/engine/kept_results.h"

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/random.h"

namespace waitq::engine {
namespace {

using waitq::test::Random;
using waitq::test::Seed;
using waitq::test::Times;

class KeptResultsTest : public testing::Test {
 protected:
  void Add(uint64_t operation) {
    kept_.Add({.operation = operation, .method = 1, .ended = {}, .answer = {}});
    model_.emplace(++last_, operation);
  }
  void Remove(uint64_t number) {
    std::vector<SessionResult> out;
    kept_.Remove(number, out);
    const auto it = model_.find(number);
    ASSERT_EQ(out.size(), it == model_.end() ? 0u : 1u);
    if (it == model_.end()) return;
    EXPECT_EQ(out[0].operation, it->second);
    model_.erase(it);
  }
  void RemoveUpTo(uint64_t number) {
    std::vector<SessionResult> out;
    kept_.RemoveUpTo(number, out);
    for (const SessionResult& result : out) {
      ASSERT_FALSE(model_.empty());
      EXPECT_LE(model_.begin()->first, number);
      EXPECT_EQ(result.operation, model_.begin()->second);  // in their order
      model_.erase(model_.begin());
    }
    EXPECT_TRUE(model_.empty() || model_.begin()->first > number);
  }
  void Compare(uint64_t number) {
    EXPECT_EQ(kept_.last(), last_);
    EXPECT_EQ(kept_.size(), model_.size());
    const auto next = model_.lower_bound(number);
    EXPECT_EQ(kept_.NextFrom(number),
              next == model_.end() ? last_ + 1 : next->first);
    const auto it = model_.find(number);
    const SessionResult* const found = kept_.Find(number);
    ASSERT_EQ(found != nullptr, it != model_.end());
    EXPECT_TRUE(found == nullptr || found->operation == it->second);
  }

  KeptResults kept_;
  std::map<uint64_t, uint64_t> model_;
  uint64_t last_ = 0;
};

TEST_F(KeptResultsTest, AreThoseThatWereNotTaken) {
  Random random(Seed());
  for (int i = Times(200'000); i > 0 && !HasFailure(); --i) {
    const uint64_t number = 1 + random.Below(last_ + 2);
    switch (random.Below(20)) {
      case 0:
        // The old ones are left for long.
        if (random.OneIn(50)) RemoveUpTo(number);
        break;
      case 1:
        Remove(number);
        break;
      default:
        if (random.OneIn(2)) Add(100 + random.Below(1000));
        Remove(last_ - random.Below(last_ + 1) / 10);
    }
    Compare(1 + random.Below(last_ + 2));
  }
  RemoveUpTo(last_);
  Compare(1);
}

TEST_F(KeptResultsTest, OneThatIsLeftDoesNotKeepThePlaceOfTheOthers) {
  Add(7);
  for (int i = 0; i < 100'000; ++i) {
    Add(8);
    Remove(last_);
  }
  EXPECT_EQ(kept_.size(), 1u);
  EXPECT_EQ(kept_.first(), 1u);
  EXPECT_EQ(kept_.NextFrom(2), last_ + 1);
  RemoveUpTo(last_);
  EXPECT_EQ(kept_.size(), 0u);
}

}  // namespace
}  // namespace waitq::engine
