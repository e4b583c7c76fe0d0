// Grants, and what is made of them: locks, semaphores, events, latches and
// barriers.

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "client/barrier.h"
#include "client/error.h"
#include "client/event.h"
#include "client/latch.h"
#include "client/lock.h"
#include "client/semaphore.h"
#include "gtest/gtest.h"
#include "tests/client/scenario_call.h"
#include "tests/client/scenario_lists.h"

namespace waitq::test {
namespace {

// Of programs that leave: should the connection be cut just then, the server
// hears nothing of it, and waits for so long.
const ClientOptions kShortGrace = {.grace = absl::Seconds(2)};

// What Lock::Acquire() asks for, with a callback.
UnderWay<Grant> StartLock(Client& client, const std::string& name) {
  UnderWay<Grant> call;
  call.id = client.Acquire(
      name, {.condition = Condition::Equal(0), .then = Action::Set(1)}, {},
      call.Done());
  return call;
}

void ALockIsHeldByOne(Scene& scene) {
  const std::string name = scene.Name("lock");
  Lock mine(&scene.a, name), theirs(&scene.b, name);
  absl::StatusOr<Grant> first = mine.Acquire();
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_TRUE(first->is_held());
  const auto refused = theirs.Acquire({.nonblock = true});
  ASSERT_TRUE(refused.ok()) << refused.status();
  EXPECT_FALSE(refused->is_held());
  EXPECT_EQ(refused->result().outcome, Outcome::kWouldBlock);
  const auto late = theirs.Acquire({.timeout = absl::Milliseconds(1)});
  EXPECT_EQ(late->result().outcome, Outcome::kTimedOut);

  const auto next = StartLock(scene.b, name);
  scene.AwaitAsleep(name, 1);
  EXPECT_TRUE(first->GiveBack().ok());
  EXPECT_FALSE(first->is_held());
  ASSERT_TRUE(next.Await().ok());
  EXPECT_TRUE(next.Await()->is_held());
  EXPECT_GT(next.Await()->token(), first->token());
  const absl::Status twice = first->GiveBack().status();
  EXPECT_EQ(ErrorReason(twice), "ESTALE") << twice;
}

void WhatGoesOutOfScopeIsGivenBack(Scene& scene) {
  Lock lock(&scene.a, scene.Name("lock"));
  for (int i = 0; i < 3; ++i) {
    auto grant = lock.Acquire();
    ASSERT_TRUE(grant.ok()) << grant.status();
    const Grant moved = *std::move(grant);
    EXPECT_TRUE(moved.is_held());
  }
  Grant grant = *lock.Acquire();
  grant = Grant();  // given back, too
  EXPECT_TRUE(lock.Acquire()->is_held());
}

void WhoLeavesLetsGo(Scene& scene) {
  const std::string name = scene.Name("lock");
  auto leaves = scene.world.NewClient(kShortGrace);
  Grant grant = *Lock(leaves.get(), name).Acquire();
  ASSERT_TRUE(grant.is_held());
  absl::Notification lost;
  grant.OnLost([&](const absl::Status& why) {
    EXPECT_FALSE(why.ok());
    lost.Notify();
  });
  const auto next = StartLock(scene.b, name);
  scene.AwaitAsleep(name, 1);
  leaves = nullptr;
  EXPECT_TRUE(lost.HasBeenNotified());
  EXPECT_FALSE(grant.is_held());
  EXPECT_TRUE(next.Await().ok());
  // Told at once, who asks late.
  bool told = false;
  grant.OnLost([&](const absl::Status&) { told = true; });
  EXPECT_TRUE(told);
}

void AGrantWhoseObjectIsRemovedIsGone(Scene& scene) {
  const std::string name = scene.Name("lock");
  Lock lock(&scene.a, name);
  auto grant = lock.Acquire();
  ASSERT_TRUE(grant.ok()) << grant.status();
  EXPECT_EQ(ErrorReason(scene.b.Remove(name).status()), "EBUSY");
  EXPECT_TRUE(scene.b.Remove(name, /*force=*/true).ok());
  const absl::Status gone = grant->GiveBack().status();
  EXPECT_EQ(ErrorReason(gone), "ESTALE") << gone;
}

void ASemaphoreHasSoManyPermits(Scene& scene) {
  const std::string name = scene.Name("semaphore");
  Semaphore mine(&scene.a, name, 3), theirs(&scene.b, name, 3);
  auto two = mine.Acquire({}, 2);
  ASSERT_TRUE(two.ok()) << two.status();
  EXPECT_FALSE(theirs.Acquire({.nonblock = true}, 2)->is_held());
  auto one = theirs.Acquire();
  EXPECT_TRUE(one->is_held());
  EXPECT_FALSE(mine.Acquire({.nonblock = true})->is_held());
  EXPECT_TRUE(two->GiveBack().ok());
  EXPECT_TRUE(theirs.Acquire({.nonblock = true}, 2)->is_held());
  EXPECT_EQ(mine.Acquire({}, 4).status().code(),
            absl::StatusCode::kInvalidArgument);
}

void WhatIsKeptIsNotGivenBack(Scene& scene) {
  const std::string name = scene.Name("semaphore");
  {
    auto leaves = scene.world.NewClient(kShortGrace);
    Semaphore(leaves.get(), name, 3).Acquire()->Keep();
    EXPECT_TRUE(leaves->Get(name).ok());  // it has arrived
  }
  EXPECT_EQ(scene.b.Get(name)->value, 1);
}

void AnEventWakesAllOrOne(Scene& scene) {
  const std::string name = scene.Name("event");
  Event mine(&scene.a, name), theirs(&scene.b, name);
  EXPECT_EQ(*theirs.Wait({.nonblock = true}), Outcome::kWouldBlock);
  EXPECT_TRUE(mine.Set().ok());
  EXPECT_EQ(*theirs.Wait(), Outcome::kDone);
  EXPECT_EQ(*theirs.Wait(), Outcome::kDone);
  EXPECT_TRUE(mine.Clear().ok());
  EXPECT_EQ(*theirs.Wait({.timeout = absl::ZeroDuration()}),
            Outcome::kTimedOut);
  EXPECT_TRUE(mine.SetForOne().ok());
  EXPECT_EQ(*theirs.TakeOne(), Outcome::kDone);
  EXPECT_EQ(*theirs.TakeOne({.nonblock = true}), Outcome::kWouldBlock);
}

void ALatchOpensOnce(Scene& scene) {
  const std::string name = scene.Name("latch");
  Latch mine(&scene.a, name, 3), theirs(&scene.b, name, 3);
  EXPECT_TRUE(mine.CountDown().ok());
  EXPECT_EQ(*theirs.Wait({.nonblock = true}), Outcome::kWouldBlock);
  EXPECT_TRUE(theirs.CountDown(2).ok());
  EXPECT_EQ(*mine.Wait(), Outcome::kDone);
  EXPECT_EQ(*theirs.Wait({.nonblock = true}), Outcome::kDone);
}

// Comes in a thread of its own: arriving has two steps.
class Arrival {
 public:
  Arrival(Client* client, const std::string& name, int64_t parties,
          OnDeath on_death = OnDeath::kWithdraw,
          const AcquireOptions& options = {})
      : thread_([=, this] {
          result_ = Barrier(client, name, parties, on_death)
                        .Arrive(options, stop_.get_token());
        }) {}
  ~Arrival() {
    if (thread_.joinable()) thread_.join();
  }
  void Stop() { stop_.request_stop(); }
  const absl::StatusOr<BarrierResult>& Await() {
    if (thread_.joinable()) thread_.join();
    return result_;
  }

 private:
  absl::StatusOr<BarrierResult> result_ = absl::UnknownError("");
  std::stop_source stop_;
  std::thread thread_;
};

// As Barrier comes, in a program that ends before it has passed. Without a way
// to undo it, it counts.
void ComeAndDie(Scene& scene, const std::string& name, int64_t parties,
                const std::optional<Undo>& undo) {
  Grant grant;  // is gone after its client
  const auto dies = scene.world.NewClient(kShortGrace);
  // The session is there before it comes: its first message may be in doubt.
  (void)dies->Get(name);
  const WaitOptions come = {.condition = Condition::Less(parties),
                            .then = Action::Add(1),
                            .then_wake = true};
  if (!undo.has_value()) {
    EXPECT_TRUE(dies->Wait(name, come).ok());
    return;
  }
  auto arrived = dies->Acquire(name, come, *undo);
  ASSERT_TRUE(arrived.ok()) << arrived.status();
  grant = *std::move(arrived);
}

void ABarrierLetsAllThroughAgainAndAgain(Scene& scene) {
  const std::string name = scene.Name("barrier");
  for (uint64_t round = 0; round < 3; ++round) {
    Arrival first(&scene.a, name, 2);
    Arrival second(&scene.b, name, 2);
    ASSERT_TRUE(first.Await().ok()) << first.Await().status();
    ASSERT_TRUE(second.Await().ok()) << second.Await().status();
    EXPECT_EQ(first.Await()->round, round);
    EXPECT_EQ(second.Await()->round, round);
    EXPECT_EQ(first.Await()->place + second.Await()->place, 1u);
  }
}

void WhoDiesAtABarrierHasNotCome(Scene& scene) {
  const std::string name = scene.Name("barrier");
  ComeAndDie(scene, name, 2, Undo{.only_while = Condition::Less(2)});
  EXPECT_TRUE(scene.b.Wait(name, {.condition = Condition::Equal(0)}).ok());
  Arrival first(&scene.a, name, 2);
  scene.AwaitAsleep(name, 1);
  Arrival second(&scene.b, name, 2);
  EXPECT_TRUE(first.Await().ok()) << first.Await().status();
  EXPECT_TRUE(second.Await().ok()) << second.Await().status();
  // Who has passed it has come for good.
  EXPECT_EQ(scene.b.Get(name)->value, 2);
}

void WhoDiesMayBreakABarrier(Scene& scene) {
  const std::string name = scene.Name("barrier");
  Arrival waits(&scene.a, name, 3, OnDeath::kBreak);
  scene.AwaitAsleep(name, 1);
  ComeAndDie(scene, name, 3,
             Undo{.only_while = Condition::Less(3),
                  .instead = Action::Set(std::numeric_limits<int64_t>::max())});
  EXPECT_EQ(ErrorReason(waits.Await().status()), "EOWNERDEAD")
      << waits.Await().status();
  Barrier barrier(&scene.b, name, 3, OnDeath::kBreak);
  EXPECT_EQ(ErrorReason(barrier.Arrive().status()), "EOWNERDEAD");
  EXPECT_TRUE(barrier.Reset().ok());
  EXPECT_EQ(scene.b.Get(name)->value, 0);
}

void WhoDiesMayCountAtABarrier(Scene& scene) {
  const std::string name = scene.Name("barrier");
  ComeAndDie(scene, name, 2, std::nullopt);
  const auto passed = Barrier(&scene.b, name, 2, OnDeath::kCount).Arrive();
  ASSERT_TRUE(passed.ok()) << passed.status();
  EXPECT_EQ(passed->place, 1u);
}

void WhoseTimeIsOverHasNotCome(Scene& scene) {
  for (const OnDeath on_death : {OnDeath::kWithdraw, OnDeath::kCount}) {
    const std::string name =
        scene.Name(on_death == OnDeath::kCount ? "counting" : "withdrawing");
    Barrier barrier(&scene.a, name, 2, on_death);
    const auto late = barrier.Arrive({.timeout = absl::Milliseconds(1)});
    ASSERT_TRUE(late.ok()) << late.status();
    EXPECT_EQ(late->outcome, Outcome::kTimedOut);
    EXPECT_EQ(scene.b.Get(name)->value, 0);
  }
}

}  // namespace

#define SCENARIO(claim) \
  Scenario { #claim, &claim }

const std::vector<Scenario>& KitScenarios() {
  static const auto* const scenarios = new std::vector<Scenario>{
      SCENARIO(ALockIsHeldByOne),
      SCENARIO(WhatGoesOutOfScopeIsGivenBack),
      SCENARIO(WhoLeavesLetsGo),
      SCENARIO(AGrantWhoseObjectIsRemovedIsGone),
      SCENARIO(ASemaphoreHasSoManyPermits),
      SCENARIO(WhatIsKeptIsNotGivenBack),
      SCENARIO(AnEventWakesAllOrOne),
      SCENARIO(ALatchOpensOnce),
      SCENARIO(ABarrierLetsAllThroughAgainAndAgain),
      SCENARIO(WhoDiesAtABarrierHasNotCome),
      SCENARIO(WhoDiesMayBreakABarrier),
      SCENARIO(WhoDiesMayCountAtABarrier),
      SCENARIO(WhoseTimeIsOverHasNotCome),
  };
  return *scenarios;
}

}  // namespace waitq::test
