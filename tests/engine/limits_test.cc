#include "server/engine/limits.h"

#include <atomic>
#include <cstdint>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/random.h"

namespace waitq::engine {
namespace {

using testing::HasSubstr;
using waitq::test::Times;

TEST(LimitsTest, TheDefaultsFitEachOther) {
  EXPECT_TRUE(Limits().Check().ok());
}

TEST(LimitsTest, TheDefaultsAreThoseOfTheManual) {
  const Limits limits;
  EXPECT_EQ(limits.objects, 1'000'000u);
  EXPECT_EQ(limits.sleepers, 2'000'000u);
  EXPECT_EQ(limits.pipe_bytes, 64u * 1024 * 1024);
  EXPECT_EQ(limits.pipe_bytes_in_all, 1024u * 1024 * 1024);
  EXPECT_EQ(limits.bytes_asleep, 256u * 1024 * 1024);
  EXPECT_EQ(limits.message_bytes, 4u * 1024 * 1024);
}

TEST(LimitsTest, WhatMakesNoSenseIsNamed) {
  struct {
    void (*change)(Limits&);
    const char* error;
  } const rows[] = {
      {[](Limits& l) { l.objects = 0; }, "objects is 0: it is at least 1"},
      {[](Limits& l) { l.sleepers_per_object = 0; },
       "sleepers-per-object is 0: it is at least 1"},
      {[](Limits& l) { l.sleepers_per_caller = 0; },
       "sleepers-per-caller is 0: it is at least 1"},
      {[](Limits& l) { l.sessions = 0; }, "sessions is 0: it is at least 1"},
      {[](Limits& l) { l.operations_per_session = 0; },
       "operations-per-session is 0: it is at least 1"},
      {[](Limits& l) { l.results_per_session = 0; },
       "results-per-session is 0: it is at least 1"},
      {[](Limits& l) { l.result_bytes_per_session = 0; },
       "result-bytes-per-session is 0: it is at least 1"},
      {[](Limits& l) { l.pipe_bytes = 0; },
       "pipe-bytes is 0: it is at least 1"},
      // A stream's message of 64 KiB would not fit with its frame.
      {[](Limits& l) { l.message_bytes = 131'071; },
       "message-bytes is 131071: it is at least 131072"},
      {[](Limits& l) { l.message_bytes = (1 << 30) + 1; },
       "message-bytes is 1073741825: it is at most 1073741824"},
      {[](Limits& l) { l.sleepers_per_object = l.sleepers + 1; },
       "sleepers-per-object (2000001) is above sleepers (2000000)"},
      {[](Limits& l) { l.sleepers_per_caller = l.sleepers + 1; },
       "sleepers-per-caller (2000001) is above sleepers (2000000)"},
      {[](Limits& l) { l.pipe_bytes = l.pipe_bytes_in_all + 1; },
       "pipe-bytes (1073741825) is above pipe-bytes-in-all (1073741824)"},
      {[](Limits& l) { l.bytes_asleep = l.message_bytes - 1; },
       "message-bytes (4194304) is above bytes-asleep (4194303)"},
      {[](Limits& l) { l.bytes_unsent = l.message_bytes - 1; },
       "message-bytes (4194304) is above bytes-unsent (4194303)"},
      {[](Limits& l) { l.bytes_per_caller = l.message_bytes - 1; },
       "message-bytes (4194304) is above bytes-per-caller (4194303)"},
  };
  for (const auto& row : rows) {
    Limits limits;
    row.change(limits);
    const absl::Status status = limits.Check();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(row.error));
  }
}

TEST(LimitsTest, EachMayBeAsLargeAsTheNext) {
  Limits limits;
  limits.sleepers_per_object = limits.sleepers;
  limits.pipe_bytes = limits.pipe_bytes_in_all;
  limits.bytes_asleep = limits.message_bytes;
  limits.bytes_unsent = limits.message_bytes;
  limits.bytes_per_caller = limits.message_bytes;
  EXPECT_TRUE(limits.Check().ok());
}

TEST(BudgetTest, GivesUpToItsLimitAndTakesBack) {
  Budget budget("things", 10);
  EXPECT_STREQ(budget.name(), "things");
  EXPECT_EQ(budget.limit(), 10u);
  EXPECT_TRUE(budget.Take(4));
  EXPECT_TRUE(budget.Take(6));
  EXPECT_EQ(budget.used(), 10u);
  EXPECT_FALSE(budget.Take(1));
  EXPECT_TRUE(budget.Take(0));
  EXPECT_EQ(budget.used(), 10u);
  budget.Return(3);
  EXPECT_FALSE(budget.Take(4)) << "all or nothing";
  EXPECT_EQ(budget.used(), 7u);
  EXPECT_TRUE(budget.Take(3));
  budget.Return(10);
  EXPECT_EQ(budget.used(), 0u);
}

TEST(BudgetTest, HugeNumbersDoNotWrapAround) {
  constexpr uint64_t kHuge = std::numeric_limits<uint64_t>::max();
  Budget budget("things", kHuge);
  EXPECT_TRUE(budget.Take(kHuge - 1));
  EXPECT_FALSE(budget.Take(kHuge));
  EXPECT_TRUE(budget.Take(1));
  Budget small("things", 5);
  EXPECT_FALSE(small.Take(kHuge));
  EXPECT_TRUE(small.Take(5));
}

// Guards the compare-and-swap in Budget::Take().
TEST(BudgetTest, ThreadsTogetherNeverGetMoreThanTheLimit) {
  constexpr uint64_t kLimit = 5;
  const int rounds = Times(100'000);
  Budget budget("things", kLimit);
  std::atomic<uint64_t> held = 0;
  std::atomic<bool> too_many = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < rounds; ++round) {
        if (!budget.Take(2)) continue;
        if (held.fetch_add(2) + 2 > kLimit) too_many = true;
        held -= 2;
        budget.Return(2);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(too_many);
  EXPECT_EQ(budget.used(), 0u);
}

}  // namespace
}  // namespace waitq::engine
