#include "server/engine/ref.h"

#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace waitq::engine {
namespace {

int alive = 0;

class Thing : public RefCounted {
 public:
  explicit Thing(int number_in = 0) : number(number_in) { ++alive; }
  ~Thing() override { --alive; }

  const int number;
};

class Special final : public Thing {
 public:
  Special() : Thing(9) {}
};

class RefTest : public testing::Test {
 protected:
  void TearDown() override { EXPECT_EQ(alive, 0); }
};

TEST_F(RefTest, TheLastOneGoneTakesTheObjectAlong) {
  auto one = MakeRef<Thing>(7);
  EXPECT_EQ(alive, 1);
  EXPECT_EQ(one->number, 7);
  EXPECT_EQ((*one).number, 7);
  Ref<Thing> two = one;
  EXPECT_EQ(two.get(), one.get());
  one = nullptr;
  EXPECT_FALSE(one);
  EXPECT_TRUE(two);
  EXPECT_EQ(alive, 1);
  two = Ref<Thing>();
  EXPECT_EQ(alive, 0);
}

TEST_F(RefTest, MovingLeavesNothingBehind) {
  auto one = MakeRef<Thing>();
  Ref<Thing> two = std::move(one);
  EXPECT_EQ(one.get(), nullptr);
  Ref<Thing> three;
  three = std::move(two);
  EXPECT_EQ(two.get(), nullptr);
  EXPECT_EQ(alive, 1);
}

TEST_F(RefTest, AssigningDropsWhatWasThere) {
  auto one = MakeRef<Thing>(1);
  auto two = MakeRef<Thing>(2);
  one = two;
  EXPECT_EQ(alive, 1);
  EXPECT_EQ(one->number, 2);
  const Ref<Thing>& same = one;
  one = same;
  EXPECT_EQ(one->number, 2);
}

TEST_F(RefTest, AdoptAndReleasePassAReferenceThroughAPointer) {
  Thing* const pointer = MakeRef<Thing>().Release();
  EXPECT_EQ(alive, 1);
  {
    const Ref<Thing> one_more(pointer);  // counts on its own
  }
  EXPECT_EQ(alive, 1);
  { const auto adopted = Ref<Thing>::Adopt(pointer); }
  EXPECT_EQ(alive, 0);
}

TEST_F(RefTest, NoneIsNothing) {
  const Ref<Thing> none(static_cast<Thing*>(nullptr));
  EXPECT_FALSE(none);
  const Ref<Thing> copy = none;
  EXPECT_FALSE(copy);
}

TEST_F(RefTest, ARefToADerivedClassIsOneToItsBase) {
  auto special = MakeRef<Special>();
  const Ref<Thing> thing = special;
  special = nullptr;
  EXPECT_EQ(alive, 1);
  EXPECT_EQ(thing->number, 9);
}

// Guards the order of the last DropRef(): with the thread sanitizer.
TEST_F(RefTest, WhatHoldersWroteIsSeenByTheDestructor) {
  class Slots : public RefCounted {
   public:
    ~Slots() override {
      for (const int slot : slots) EXPECT_EQ(slot, 1);
    }
    int slots[4] = {};
  };
  for (int round = 0; round < 500; ++round) {
    auto shared = MakeRef<Slots>();
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([mine = shared, i]() mutable {
        mine->slots[i] = 1;
        mine = nullptr;
      });
    }
    shared = nullptr;
    for (std::thread& thread : threads) thread.join();
  }
}

}  // namespace
}  // namespace waitq::engine
