// What one caller may have: the others are not to suffer from it.

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "server/engine/caller_info.h"
#include "server/engine/engine.h"
#include "tests/engine/engine_fixture.h"
#include "tests/engine/homes.h"
#include "tests/support/random.h"

namespace waitq::engine {
namespace {

Limits OfOneCaller() {
  Limits limits = SmallLimits();
  limits.sleepers_per_caller = 2;
  limits.bytes_unsent = 10;
  limits.bytes_per_caller = 8;
  return limits;
}

class CallerLimitsTest : public EngineTest {
 protected:
  CallerLimitsTest() : EngineTest(OfOneCaller()) {}

  void TearDown() override {
    RemoveAll(engine());
    home_.Run();
    EXPECT_EQ(greedy_->sleepers().used(), 0u);
    EXPECT_EQ(greedy_->bytes().used(), 0u);
    EngineTest::TearDown();
  }

  Ref<WaitOperation> Wait(const std::shared_ptr<CallerInfo>& who) {
    auto op = MakeRef<WaitOperation>(
        WaitSpec{.condition = Equal(1), .then = {}}, &home_, nullptr, who);
    EXPECT_TRUE(engine().Wait("word", op, {}).ok());
    return op;
  }
  Ref<WriteOperation> Write(const std::shared_ptr<CallerInfo>& who,
                            absl::string_view data) {
    auto op = MakeRef<WriteOperation>(absl::Cord(data), nullptr, &home_,
                                      nullptr, who);
    EXPECT_TRUE(engine().Write("pipe", op, {}).ok());
    return op;
  }
  Ref<ReadOperation> Read(const std::shared_ptr<CallerInfo>& who,
                          uint64_t max_bytes) {
    auto op = MakeRef<ReadOperation>(max_bytes, nullptr, &home_, nullptr, who);
    EXPECT_TRUE(engine().Read("pipe", op, {}).ok());
    return op;
  }

  CollectingHome home_;
  std::shared_ptr<CallerInfo> greedy_ = engine().FindCaller("peer:1", "greedy");
  std::shared_ptr<CallerInfo> other_ = engine().FindCaller("peer:1", "other");
};

TEST_F(CallerLimitsTest, SleepersAreLimitedForEachCaller) {
  const auto first = Wait(greedy_);
  const auto second = Wait(greedy_);
  const auto refused = Wait(greedy_);
  EXPECT_EQ(refused->ending(), Ending::kLimit);
  EXPECT_STREQ(refused->limit(), "sleepers-per-caller");
  EXPECT_EQ(Wait(other_)->ending(), Ending::kAsleep) << "others go on";
  engine().CallerGone(*first);
  EXPECT_EQ(Wait(greedy_)->ending(), Ending::kAsleep) << "there is room again";
}

TEST_F(CallerLimitsTest, BytesAsleepAreLimitedForEachCaller) {
  MakePipe("pipe", 4);
  EXPECT_EQ(Write(other_, "....")->ending(), Ending::kDone);
  const auto asleep = Write(greedy_, "1234");
  const auto refused = Write(greedy_, "56789");
  EXPECT_EQ(refused->ending(), Ending::kLimit);
  EXPECT_STREQ(refused->limit(), "bytes-per-caller");
  EXPECT_EQ(refused->accepted_bytes(), 0u);
  EXPECT_EQ(Write(other_, "56789")->ending(), Ending::kAsleep);
  EXPECT_EQ(greedy_->sleepers().used(), 1u) << "what was refused has no place";
}

TEST_F(CallerLimitsTest, WhatIsReadCountsUntilItsAnswerIsOut) {
  MakePipe("pipe", 100);
  Write(other_, "0123456789abcdefghij");
  auto first = Read(greedy_, 8);
  EXPECT_EQ(first->ending(), Ending::kDone);
  EXPECT_EQ(first->data(), "01234567");
  const auto refused = Read(greedy_, 1);
  EXPECT_EQ(refused->ending(), Ending::kLimit);
  EXPECT_STREQ(refused->limit(), "bytes-per-caller");
  EXPECT_TRUE(refused->data().empty()) << "it has taken nothing";
  EXPECT_EQ(Read(other_, 2)->data(), "89");
  first = nullptr;  // sent
  EXPECT_EQ(Read(greedy_, 1)->data(), "a");
}

TEST_F(CallerLimitsTest, UnsentBytesAreLimitedInAll) {
  MakePipe("pipe", 100);
  Write(other_, "0123456789abcdefghij");
  const auto first = Read(greedy_, 7);
  const auto refused = Read(other_, 4);
  EXPECT_EQ(refused->ending(), Ending::kLimit);
  EXPECT_STREQ(refused->limit(), "bytes-unsent");
  EXPECT_EQ(Read(other_, 3)->data(), "789");
}

// What sleeps meets the limit when it is served: it ends, and the bytes stay.
TEST_F(CallerLimitsTest, ASleepingReadThatMayHaveNoMoreLeavesTheBytes) {
  MakePipe("pipe", 100);
  const auto first = Read(greedy_, 6);
  const auto second = Read(greedy_, 6);
  EXPECT_EQ(second->ending(), Ending::kAsleep);
  Write(other_, "0123456789");
  EXPECT_EQ(first->ending(), Ending::kDone);
  EXPECT_STREQ(second->limit(), "bytes-per-caller");
  EXPECT_EQ(Read(other_, 4)->data(), "6789");
}

TEST_F(CallerLimitsTest, ACallerIsItsAddressAndItsName) {
  EXPECT_EQ(engine().FindCaller("peer:1", "greedy"), greedy_);
  EXPECT_NE(engine().FindCaller("peer:1", "other"), greedy_);
  EXPECT_NE(engine().FindCaller("peer:2", "greedy"), greedy_);
  EXPECT_EQ(greedy_->peer(), "peer:1");
  EXPECT_EQ(greedy_->name(), "greedy");
}

// The race of the last reference's end with a caller that comes back: guards
// the look at `expired()` in CallerTable::Forget().
TEST(CallerTableTest, WhoComesAndGoesIsOneCallerAtATime) {
  const Limits limits;
  CallerTable table(&limits);
  const int rounds = test::Times(20'000);
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < rounds; ++round) {
        const auto mine = table.Find("peer", "name");
        const auto again = table.Find("peer", "name");
        ASSERT_EQ(mine, again);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace waitq::engine
