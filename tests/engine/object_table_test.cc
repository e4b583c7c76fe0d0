// The table of objects, and the moment between an object's idle timer and its
// removal, step by step.

#include "server/engine/object_table.h"

#include <csignal>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/simulated_clock.h"
#include "gtest/gtest.h"
#include "server/engine/error.h"
#include "server/engine/limits.h"
#include "server/engine/object.h"
#include "server/engine/wait_queue_object.h"
#include "tests/engine/calls.h"
#include "tests/engine/homes.h"

namespace waitq::engine {
namespace {

class ObjectTableTest : public testing::Test {
 protected:
  ObjectTableTest() {
    shared_.expire = [this](Object& object) {
      ++expired_;
      if (before_removal_) before_removal_();
      removed_ = table_.Remove(object, RemoveIf::kExpired);
    };
  }

  void TearDown() override {
    for (Ref<Object>& object : table_.All()) {
      table_.Remove(*object, RemoveIf::kAlways);
      object->EndAll(Event::kRemove);
    }
    home_.Run();
    EXPECT_EQ(shared_.objects.used(), 0u);
    EXPECT_EQ(shared_.sleepers.used(), 0u);
    EXPECT_FALSE(clock_.timers().NextWork().has_value()) << "a timer is armed";
  }

  static Limits Three() {
    Limits limits;
    limits.objects = 3;
    return limits;
  }

  // The queue of that name, made by first use.
  Ref<WaitQueueObject> Queue(absl::string_view name) {
    absl::StatusOr<Ref<Object>> object =
        table_.FindOrMake(name, [&](std::string made) -> Ref<Object> {
          return MakeRef<WaitQueueObject>(&shared_, std::move(made),
                                          /*created=*/false);
        });
    EXPECT_TRUE(object.ok()) << object.status();
    return Ref<WaitQueueObject>::Adopt(
        static_cast<WaitQueueObject*>(object->Release()));
  }
  void Store(WaitQueueObject& queue, int64_t value) {
    WordResult result;
    EXPECT_TRUE(queue.Store(value, result).ok());
  }

  SimulatedClock clock_;
  CollectingHome home_;
  Shared shared_{Three(), &clock_.timers(), 1};
  ObjectTable table_{&shared_};
  // Called between the timer's look at the object and the removal's.
  std::function<void()> before_removal_;
  int expired_ = 0;
  bool removed_ = false;
};

TEST_F(ObjectTableTest, FindsWhatWasMade) {
  EXPECT_FALSE(table_.Find("a"));
  const Ref<WaitQueueObject> a = Queue("a");
  EXPECT_EQ(table_.Find("a").get(), a.get());
  EXPECT_EQ(Queue("a").get(), a.get());
  EXPECT_FALSE(table_.Find("A"));
  EXPECT_EQ(table_.All().size(), 1u);
}

TEST_F(ObjectTableTest, ListsByPrefix) {
  for (const char* name : {"a/1", "a/2", "b"}) Queue(name);
  EXPECT_EQ(table_.All().size(), 3u);
  EXPECT_EQ(table_.All("a/").size(), 2u);
  EXPECT_EQ(table_.All("c").size(), 0u);
}

TEST_F(ObjectTableTest, AFullTableFindsButDoesNotMake) {
  for (const char* name : {"a", "b", "c"}) Queue(name);
  const absl::Status status = table_
                                  .FindOrMake("d",
                                              [](std::string) -> Ref<Object> {
                                                ADD_FAILURE()
                                                    << "there is no room";
                                                return nullptr;
                                              })
                                  .status();
  EXPECT_EQ(DetailsOf(status).metadata.at("limit"), "objects");
  EXPECT_TRUE(Queue("b"));
}

TEST_F(ObjectTableTest, ARemovedObjectIsGoneForItsUsersToo) {
  const Ref<WaitQueueObject> queue = Queue("a");
  EXPECT_TRUE(table_.Remove(*queue, RemoveIf::kAlways));
  EXPECT_TRUE(queue->removed());
  EXPECT_FALSE(table_.Find("a"));
  EXPECT_EQ(
      queue->Start(MakeWait({.condition = Equal(0)}, &home_, nullptr), {}),
      Started::kGone);
  WordResult word;
  EXPECT_EQ(DetailsOf(queue->Store(1, word)).reason, "EIDRM");
  WakeResult woken;
  EXPECT_EQ(DetailsOf(queue->WakeUp({}, woken)).reason, "EIDRM");
}

// Guards `removed_` in Object::MarkRemoved().
TEST_F(ObjectTableTest, AnObjectIsRemovedOnce) {
  const Ref<WaitQueueObject> old = Queue("a");
  EXPECT_TRUE(table_.Remove(*old, RemoveIf::kAlways));
  EXPECT_FALSE(table_.Remove(*old, RemoveIf::kAlways));
  EXPECT_FALSE(old->MarkRemoved(RemoveIf::kAlways));
  const Ref<WaitQueueObject> next = Queue("a");
  EXPECT_NE(next.get(), old.get());
  EXPECT_FALSE(table_.Remove(*old, RemoveIf::kAlways));
  EXPECT_EQ(table_.Find("a").get(), next.get()) << "another of that name";
  EXPECT_FALSE(next->removed());
}

// Between the two steps of a removal: it is marked, and its sleepers are not
// yet ended. The removal ends them all, and says how many.
//
// Guards `removed_` in Object::OnEvent() and EndAll().
TEST_F(ObjectTableTest, WhateverEndsASleepOnARemovedObjectIsItsRemoval) {
  for (const Event event :
       {Event::kTimer, Event::kSignal, Event::kCallerGone, Event::kDrain}) {
    const Ref<WaitQueueObject> queue = Queue("a");
    const Ref<WaitOperation> op =
        MakeWait({.condition = Equal(1), .then = Set(0)}, &home_, nullptr);
    ASSERT_EQ(queue->Start(op, {}), Started::kAsleep);
    Store(*queue, 1);  // its condition holds
    EXPECT_TRUE(table_.Remove(*queue, RemoveIf::kAlways));
    EXPECT_FALSE(queue->OnEvent(*op, event, SIGTERM));
    EXPECT_EQ(queue->EndAll(Event::kDrain), 0u);
    EXPECT_EQ(op->ending(), Ending::kAsleep);
    EXPECT_EQ(queue->EndAll(Event::kRemove), 1u);
    EXPECT_EQ(op->ending(), Ending::kRemoved);
    EXPECT_EQ(queue->Get().value, 1) << "nothing was taken";
  }
}

// Guards `removed_` in Object::OnTimer(): its condition would be tested, and
// what is removed be acted on.
TEST_F(ObjectTableTest, NorDoesATimerEndASleepOnARemovedObject) {
  const Ref<WaitQueueObject> queue = Queue("a");
  const Ref<WaitOperation> op =
      MakeWait({.condition = Equal(1), .then = Set(0)}, &home_, nullptr);
  ASSERT_EQ(queue->Start(op, For(absl::Seconds(1))), Started::kAsleep);
  Store(*queue, 1);  // its condition holds
  EXPECT_TRUE(table_.Remove(*queue, RemoveIf::kAlways));
  clock_.Advance(absl::Seconds(2));
  EXPECT_EQ(op->ending(), Ending::kAsleep);
  EXPECT_EQ(queue->EndAll(Event::kRemove), 1u);
  EXPECT_EQ(op->ending(), Ending::kRemoved);
  EXPECT_EQ(queue->Get().value, 1) << "nothing was taken";
}

// --- Between the timer and the removal ---------------------------------------
//
// These guard RemoveIf::kExpired in Object::MayRemoveLocked(): the timer's look
// is not the last one.

TEST_F(ObjectTableTest, AnIdleObjectExpires) {
  Store(*Queue("a"), 0);
  clock_.Advance(kIdleLife);
  EXPECT_EQ(expired_, 1);
  EXPECT_TRUE(removed_);
  EXPECT_FALSE(table_.Find("a"));
}

TEST_F(ObjectTableTest, AnObjectThatRemembersSomethingByThenStays) {
  const Ref<WaitQueueObject> queue = Queue("a");
  Store(*queue, 0);
  before_removal_ = [&] { Store(*queue, 1); };
  clock_.Advance(kIdleLife);
  EXPECT_EQ(expired_, 1);
  EXPECT_FALSE(removed_);
  EXPECT_EQ(queue->Get().value, 1);
  // And goes when it has nothing to remember again.
  before_removal_ = nullptr;
  Store(*queue, 0);
  clock_.Advance(kIdleLife);
  EXPECT_EQ(expired_, 2);
  EXPECT_TRUE(removed_);
}

TEST_F(ObjectTableTest, AnObjectThatIsSleptOnByThenStays) {
  const Ref<WaitQueueObject> queue = Queue("a");
  Store(*queue, 0);
  before_removal_ = [&] {
    EXPECT_EQ(
        queue->Start(MakeWait({.condition = Equal(1)}, &home_, nullptr), {}),
        Started::kAsleep);
  };
  clock_.Advance(kIdleLife);
  EXPECT_FALSE(removed_);
  EXPECT_EQ(queue->sleepers(), 1u);
}

TEST_F(ObjectTableTest, AnObjectThatIsUsedByThenBeginsItsMinuteAgain) {
  const Ref<WaitQueueObject> queue = Queue("a");
  Store(*queue, 0);
  before_removal_ = [&] { Store(*queue, 0); };
  clock_.Advance(kIdleLife);
  EXPECT_FALSE(removed_);
  before_removal_ = nullptr;
  clock_.Advance(kIdleLife - kTick);
  EXPECT_FALSE(removed_);
  clock_.Advance(2 * kTick);
  EXPECT_TRUE(removed_);
}

TEST_F(ObjectTableTest, AnObjectThatIsCreatedByThenStays) {
  const Ref<WaitQueueObject> queue = Queue("a");
  Store(*queue, 0);
  before_removal_ = [&] { queue->MarkCreated(); };
  clock_.Advance(kIdleLife);
  EXPECT_EQ(expired_, 1);
  EXPECT_FALSE(removed_);
  EXPECT_TRUE(table_.Find("a"));
}

// --- Names -------------------------------------------------------------------

TEST(CheckNameTest, ANameIs1To255BytesOfItsAlphabet) {
  for (int c = 0; c < 256; ++c) {
    const std::string name(1, static_cast<char>(c));
    const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                      (c >= '0' && c <= '9') || c == '.' || c == '_' ||
                      c == '/' || c == '-';
    EXPECT_EQ(CheckName(name).ok(), good) << c;
    EXPECT_EQ(CheckName("a" + name + "b").ok(), good) << c;
  }
  EXPECT_FALSE(CheckName("").ok());
  EXPECT_TRUE(CheckName(std::string(255, 'x')).ok());
  EXPECT_FALSE(CheckName(std::string(256, 'x')).ok());
}

}  // namespace
}  // namespace waitq::engine
