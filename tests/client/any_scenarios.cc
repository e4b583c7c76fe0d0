// Calls that wait for any of several objects.

#include <algorithm>
#include <cstdint>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/error.h"
#include "gtest/gtest.h"
#include "tests/client/event_thread.h"
#include "tests/client/scenario_call.h"
#include "tests/client/scenario_lists.h"
#include "tests/support/wait_until.h"

namespace waitq::test {
namespace {

// A word, a completion and a pipe.
std::vector<Alternative> All(const Scene& scene) {
  return {
      Alternative::Wait(scene.Name("word"), {.condition = Condition::AtLeast(1),
                                             .then = Action::Add(-1)}),
      Alternative::Await(scene.Name("done")),
      Alternative::Read(scene.Name("pipe"), {.max_bytes = 3})};
}

void AwaitAsleepOnAll(const Scene& scene, size_t n) {
  for (const char* name : {"word", "done", "pipe"}) {
    scene.AwaitAsleep(scene.Name(name), n);
  }
}

void EachKindEndsItAndTakesFromThatOneOnly(Scene& scene) {
  {
    const auto call = StartWaitAny(scene.a, All(scene));
    AwaitAsleepOnAll(scene, 1);
    EXPECT_TRUE(
        scene.b.WakeUp(scene.Name("word"), {.update = Action::Add(1)}).ok());
    const auto& result = call.Await();
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->outcome, Outcome::kDone);
    EXPECT_EQ(result->alternative, 0u);
    EXPECT_EQ(std::get<WaitResult>(result->result).value_before, 1);
    EXPECT_EQ(std::get<WaitResult>(result->result).value_after, 0);
    EXPECT_TRUE(result->slept);
    EXPECT_FALSE(result->grant.is_held());
    AwaitAsleepOnAll(scene, 0);
  }
  {
    const auto call = StartWaitAny(scene.a, All(scene));
    AwaitAsleepOnAll(scene, 1);
    EXPECT_TRUE(scene.b.Complete(scene.Name("done")).ok());
    const auto& result = call.Await();
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->alternative, 1u);
    EXPECT_GT(std::get<AwaitResult>(result->result).generation, 0u);
    AwaitAsleepOnAll(scene, 0);
  }
  {
    const auto call = StartWaitAny(scene.a, All(scene));
    AwaitAsleepOnAll(scene, 1);
    EXPECT_TRUE(scene.b.Write(scene.Name("pipe"), "abcde").ok());
    const auto& result = call.Await();
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->alternative, 2u);
    EXPECT_EQ(std::get<ReadResult>(result->result).data, "abc");
    AwaitAsleepOnAll(scene, 0);
  }
  EXPECT_EQ(scene.b.Get(scene.Name("word"))->value, 0);
  EXPECT_FALSE(scene.b.Done(scene.Name("done")).value());
  EXPECT_EQ(scene.b.Read(scene.Name("pipe"), {.nonblock = true})->data, "de");
}

void TheFirstThatHoldsAtOnceIsChosen(Scene& scene) {
  EXPECT_TRUE(scene.b.Complete(scene.Name("done")).ok());
  EXPECT_TRUE(scene.b.Write(scene.Name("pipe"), "abc").ok());
  const auto first = scene.a.WaitAny(All(scene));
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->alternative, 1u);
  EXPECT_FALSE(first->slept);
  const auto second = scene.a.WaitAny(All(scene), {.nonblock = true});
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->alternative, 2u);
}

void AnyTimesOutNeverEarlyOrWouldBlock(Scene& scene) {
  constexpr absl::Duration kTimeout = absl::Milliseconds(20);
  const absl::Time before = EventThread::Now();
  const auto timed =
      scene.a.WaitAny(All(scene), {.timeout = kTimeout, .want_timing = true});
  EXPECT_GE(EventThread::Now() - before, kTimeout);
  ASSERT_TRUE(timed.ok()) << timed.status();
  EXPECT_EQ(timed->outcome, Outcome::kTimedOut);
  EXPECT_EQ(timed->result.index(), 0u);
  EXPECT_EQ(timed->remaining, absl::ZeroDuration());
  ASSERT_TRUE(timed->timing.has_value());
  EXPECT_GE(timed->timing->asleep, kTimeout);
  const auto nonblock = scene.a.WaitAny(All(scene), {.nonblock = true});
  ASSERT_TRUE(nonblock.ok()) << nonblock.status();
  EXPECT_EQ(nonblock->outcome, Outcome::kWouldBlock);
  AwaitAsleepOnAll(scene, 0);
}

void AnyThatIsCancelledTakesNothing(Scene& scene) {
  const auto call = StartWaitAny(scene.a, All(scene));
  AwaitAsleepOnAll(scene, 1);
  scene.a.Cancel(call.id);
  EXPECT_EQ(call.Await().status().code(), absl::StatusCode::kCancelled);
  AwaitAsleepOnAll(scene, 0);
  EXPECT_EQ(scene.b.Complete(scene.Name("done"))->woken, 0u);
  EXPECT_TRUE(scene.b.TryWait(scene.Name("done")).value());
}

void AnyEndsWithOneOfItsObjectsOrByASignal(Scene& scene) {
  const auto removed = StartWaitAny(scene.a, All(scene));
  AwaitAsleepOnAll(scene, 1);
  EXPECT_TRUE(scene.b.Remove(scene.Name("done")).ok());
  EXPECT_EQ(ErrorReason(removed.Await().status()), "EIDRM");
  EXPECT_EQ(ErrorObject(removed.Await().status()), scene.Name("done"));
  AwaitAsleepOnAll(scene, 0);
  const auto signalled = StartWaitAny(scene.a, All(scene));
  AwaitAsleepOnAll(scene, 1);
  EXPECT_EQ(scene.world.Signal(scene.Name("pipe"), TaskSignal::kTerm), 1u);
  EXPECT_EQ(ErrorReason(signalled.Await().status()), "EINTR");
  AwaitAsleepOnAll(scene, 0);
}

void AGrantThatIsChosenIsHeldUntilItIsGivenBack(Scene& scene) {
  const std::string lock = scene.Name("lock");
  const WaitOptions take{.condition = Condition::Equal(0),
                         .then = Action::Set(1)};
  const std::vector<Alternative> alternatives = {
      Alternative::Await(scene.Name("shutdown")),
      Alternative::Acquire(lock, take)};
  auto held = scene.a.WaitAny(alternatives);
  ASSERT_TRUE(held.ok()) << held.status();
  EXPECT_EQ(held->alternative, 1u);
  EXPECT_TRUE(held->grant.is_held());
  EXPECT_EQ(held->grant.token(), std::get<WaitResult>(held->result).generation);
  // The other waits for it, and gets it; or for the end.
  auto next = StartWaitAny(scene.b, alternatives);
  scene.AwaitAsleep(lock, 1);
  EXPECT_TRUE(held->grant.GiveBack().ok());
  ASSERT_TRUE(next.Await().ok()) << next.Await().status();
  EXPECT_TRUE(next.Await()->grant.is_held());
  const auto last = StartWaitAny(scene.a, alternatives);
  scene.AwaitAsleep(lock, 1);
  EXPECT_TRUE(scene.b.Complete(scene.Name("shutdown")).ok());
  ASSERT_TRUE(last.Await().ok()) << last.Await().status();
  EXPECT_EQ(last.Await()->alternative, 0u);
  EXPECT_FALSE(last.Await()->grant.is_held());
  EXPECT_EQ(scene.b.Get(lock)->value, 1);
}

// What it is for: workers that take jobs until they are to stop.
void WorkersTakeEachJobOnceUntilTheyAreToStop(Scene& scene) {
  constexpr int kJobs = 60;
  const std::string jobs = scene.Name("jobs");
  ASSERT_TRUE(scene.b.CreatePipe(jobs, {.mode = PipeMode::kPacket}).ok());
  absl::Mutex mu;
  std::vector<std::string> taken;
  const auto work = [&](Client& client) {
    for (;;) {
      const auto result = client.WaitAny(
          {Alternative::Read(jobs), Alternative::Await(scene.Name("stop"))});
      ASSERT_TRUE(result.ok()) << result.status();
      if (result->alternative == 1) return;
      absl::MutexLock lock(&mu);
      taken.push_back(std::get<ReadResult>(result->result).data);
    }
  };
  std::vector<std::jthread> workers;
  for (Client* client : {&scene.a, &scene.b, &scene.a, &scene.b}) {
    workers.emplace_back([&work, client] { work(*client); });
  }
  std::vector<std::string> given;
  for (int i = 0; i < kJobs; ++i) {
    given.push_back(absl::StrCat("job ", 100 + i));
    ASSERT_TRUE(scene.b.Write(jobs, given.back()).ok());
  }
  WaitUntil([&] {
    absl::MutexLock lock(&mu);
    return taken.size() == kJobs;
  });
  EXPECT_TRUE(scene.b.CompleteAll(scene.Name("stop")).ok());
  workers.clear();
  std::sort(taken.begin(), taken.end());
  EXPECT_EQ(taken, given);
}

}  // namespace

#define SCENARIO(claim) \
  Scenario { #claim, &claim }

const std::vector<Scenario>& AnyScenarios() {
  static const auto* const scenarios = new std::vector<Scenario>{
      SCENARIO(EachKindEndsItAndTakesFromThatOneOnly),
      SCENARIO(TheFirstThatHoldsAtOnceIsChosen),
      SCENARIO(AnyTimesOutNeverEarlyOrWouldBlock),
      SCENARIO(AnyThatIsCancelledTakesNothing),
      SCENARIO(AnyEndsWithOneOfItsObjectsOrByASignal),
      SCENARIO(AGrantThatIsChosenIsHeldUntilItIsGivenBack),
      {"WorkersTakeEachJobOnceUntilTheyAreToStop",
       &WorkersTakeEachJobOnceUntilTheyAreToStop, /*is_long=*/true},
  };
  return *scenarios;
}

}  // namespace waitq::test
