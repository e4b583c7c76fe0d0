// Wait queues and completions.

#include <cstdint>
#include <limits>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/error.h"
#include "gtest/gtest.h"
#include "tests/client/event_thread.h"
#include "tests/client/scenario_call.h"
#include "tests/client/scenario_lists.h"

namespace waitq::test {
namespace {

constexpr Condition AtLeast(int64_t value) {
  return {Condition::Test::kGreaterOrEqual, value};
}

void ATrueConditionEndsAWaitAtOnce(Scene& scene) {
  const std::string flag = scene.Name("flag");
  const auto stored = scene.b.Store(flag, 1);
  ASSERT_TRUE(stored.ok()) << stored.status();
  EXPECT_EQ(stored->value_before, 0);
  const auto result = scene.a.Wait(
      flag, {.condition = Condition::Equal(1), .then = Action::Set(5)});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->outcome, Outcome::kDone);
  EXPECT_FALSE(result->slept);
  EXPECT_EQ(result->value_before, 1);
  EXPECT_EQ(result->value_after, 5);
  EXPECT_GT(result->generation, stored->generation);
  EXPECT_EQ(scene.b.Get(flag)->value, 5);
}

void ASleeperIsWokenWhenItsConditionHolds(Scene& scene) {
  const std::string flag = scene.Name("flag");
  const auto call =
      StartWait(scene.a, flag,
                {.condition = Condition::Equal(2), .then = Action::Set(0)});
  scene.AwaitAsleep(flag, 1);
  // A wake that does not make it true uses up nothing.
  const auto early = scene.b.WakeUp(flag, {.update = Action::Set(1)});
  EXPECT_EQ(early->woken, 0u);
  EXPECT_EQ(early->value, 1);
  EXPECT_FALSE(call.HasEnded());
  const auto woken = scene.b.WakeUp(flag, {.update = Action::Add(1)});
  ASSERT_TRUE(woken.ok()) << woken.status();
  const auto& result = call.Await();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->outcome, Outcome::kDone);
  EXPECT_TRUE(result->slept);
  EXPECT_EQ(result->value_before, 2);
  EXPECT_EQ(result->value_after, 0);
  if (scene.world.is_calm()) {
    EXPECT_EQ(woken->woken, 1u);
    EXPECT_EQ(woken->woken_exclusive, 1u);
  }
  EXPECT_EQ(scene.b.Get(flag)->value, 0) << "done once";
}

void ATimedSleepEndsAndNeverEarly(Scene& scene) {
  const std::string flag = scene.Name("flag");
  constexpr absl::Duration kTimeout = absl::Milliseconds(20);
  const absl::Time before = EventThread::Now();
  const auto result = scene.a.Wait(flag, {.condition = Condition::Equal(1),
                                          .then = Action::Set(7),
                                          .timeout = kTimeout,
                                          .want_timing = true});
  EXPECT_GE(EventThread::Now() - before, kTimeout);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->outcome, Outcome::kTimedOut);
  EXPECT_TRUE(result->slept);
  ASSERT_TRUE(result->timing.has_value());
  EXPECT_GE(result->timing->asleep, kTimeout);
  EXPECT_EQ(scene.a.Await(scene.Name("job"), {.timeout = kTimeout})->outcome,
            Outcome::kTimedOut);
  EXPECT_EQ(scene.a.Read(scene.Name("pipe"), {.timeout = kTimeout})->outcome,
            Outcome::kTimedOut);
  EXPECT_EQ(scene.a.Poll(scene.Name("pipe"), {.in = true, .timeout = kTimeout})
                ->outcome,
            Outcome::kTimedOut);
}

void ATimeoutOf0IsOneTest(Scene& scene) {
  const std::string flag = scene.Name("flag");
  const WaitOptions options = {.condition = Condition::Equal(1),
                               .timeout = absl::ZeroDuration()};
  EXPECT_EQ(scene.a.Wait(flag, options)->outcome, Outcome::kTimedOut);
  EXPECT_TRUE(scene.b.Store(flag, 1).ok());
  EXPECT_EQ(scene.a.Wait(flag, options)->outcome, Outcome::kDone);
}

void ACallThatMustNotSleepWouldBlock(Scene& scene) {
  const auto result =
      scene.a.Wait(scene.Name("flag"), {.condition = Condition::Equal(1),
                                        .timeout = absl::Hours(1),
                                        .nonblock = true});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->outcome, Outcome::kWouldBlock);
  EXPECT_FALSE(result->slept);
  EXPECT_EQ(scene.a.Await(scene.Name("job"), {.nonblock = true})->outcome,
            Outcome::kWouldBlock);
  EXPECT_EQ(scene.a.Read(scene.Name("pipe"), {.nonblock = true})->outcome,
            Outcome::kWouldBlock);
}

void ThenChangesTheWord(Scene& scene) {
  const std::string word = scene.Name("word");
  EXPECT_TRUE(scene.b.Store(word, 5).ok());
  const auto then = [&](Action action) {
    return scene.a.Wait(word, {.condition = AtLeast(0), .then = action})
        ->value_after;
  };
  EXPECT_EQ(then(Action::Add(8)), 13);
  EXPECT_EQ(then(Action::AndBits(12)), 12);
  EXPECT_EQ(then(Action::OrBits(3)), 15);
  EXPECT_EQ(then(Action::Set(2)), 2);
  // What overflows is refused and has changed nothing.
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  EXPECT_TRUE(scene.b.Store(word, kMost).ok());
  const absl::Status waited =
      scene.a.Wait(word, {.condition = AtLeast(0), .then = Action::Add(1)})
          .status();
  EXPECT_EQ(waited.code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(ErrorReason(waited), "ERANGE");
  EXPECT_EQ(
      ErrorReason(scene.a.WakeUp(word, {.update = Action::Add(1)}).status()),
      "ERANGE");
  EXPECT_EQ(scene.b.Get(word)->value, kMost);
}

void ThenWakeHandsOn(Scene& scene) {
  const std::string word = scene.Name("word");
  const auto second =
      StartWait(scene.b, word,
                {.condition = Condition::Equal(2), .then = Action::Set(3)});
  scene.AwaitAsleep(word, 1);
  const auto first = StartWait(scene.a, word,
                               {.condition = Condition::Equal(1),
                                .then = Action::Set(2),
                                .then_wake = true});
  scene.AwaitAsleep(word, 2);
  EXPECT_TRUE(scene.b.WakeUp(word, {.update = Action::Set(1)}).ok());
  EXPECT_EQ(first.Await()->value_after, 2);
  EXPECT_EQ(second.Await()->value_before, 2);
  EXPECT_EQ(scene.b.Get(word)->value, 3);
}

void AKeyReachesThoseWhoHaveIt(Scene& scene) {
  const std::string queue = scene.Name("queue");
  const auto one = StartWait(scene.a, queue, {.key = 1});
  const auto both = StartWait(scene.b, queue, {.key = 3});
  const auto two = StartWait(scene.a, queue, {.key = 2});
  scene.AwaitAsleep(queue, 3);
  EXPECT_EQ(scene.b.WakeUp(queue, {.all = true, .key = 4})->woken, 0u);
  EXPECT_EQ(scene.b.WakeUp(queue, {.all = true, .key = 1})->woken, 2u);
  EXPECT_TRUE(one.Await().ok());
  EXPECT_TRUE(both.Await().ok());
  scene.AwaitAsleep(queue, 1);
  EXPECT_FALSE(two.HasEnded());
  EXPECT_EQ(scene.b.WakeUp(queue, {.all = true})->woken, 1u);
  EXPECT_TRUE(two.Await().ok());
}

void ExclusiveSleepersAreServedInOrder(Scene& scene) {
  const std::string semaphore = scene.Name("semaphore");
  std::vector<UnderWay<WaitResult>> calls;
  for (int i = 0; i < 4; ++i) {
    calls.push_back(
        StartWait(scene.a, semaphore,
                  {.condition = AtLeast(1), .then = Action::Add(-1)}));
    scene.AwaitAsleep(semaphore, i + 1);
  }
  for (int i = 0; i < 4; ++i) {
    EXPECT_TRUE(scene.b.WakeUp(semaphore, {.update = Action::Add(1)}).ok());
    EXPECT_EQ(calls[i].Await()->value_after, 0);
    for (int j = i + 1; j < 4; ++j) EXPECT_FALSE(calls[j].HasEnded());
  }
  EXPECT_EQ(scene.b.Get(semaphore)->value, 0);
}

void ALockAdmitsOneAtATime(Scene& scene) {
  const std::string lock = scene.Name("lock");
  absl::Mutex mu;
  int inside = 0, rounds = 0;
  const auto work = [&](Client& client) {
    for (int i = 0; i < 4; ++i) {
      const auto locked = client.Wait(
          lock, {.condition = Condition::Equal(0), .then = Action::Set(1)});
      ASSERT_TRUE(locked.ok()) << locked.status();
      {
        absl::MutexLock now(&mu);
        EXPECT_EQ(++inside, 1);
        ++rounds;
      }
      {
        absl::MutexLock now(&mu);
        --inside;
      }
      const auto unlocked = client.WakeUp(lock, {.update = Action::Set(0)});
      ASSERT_TRUE(unlocked.ok()) << unlocked.status();
    }
  };
  {
    std::vector<std::jthread> threads;
    for (Client* client : {&scene.a, &scene.b, &scene.a, &scene.b}) {
      threads.emplace_back([&, client] { work(*client); });
    }
  }
  EXPECT_EQ(rounds, 16);
  EXPECT_EQ(scene.a.Get(lock)->value, 0);
}

void ABarrierLetsAllGoTogether(Scene& scene) {
  const std::string barrier = scene.Name("barrier");
  constexpr int kParties = 6;
  std::vector<UnderWay<WaitResult>> calls;
  for (int i = 0; i < kParties; ++i) {
    calls.push_back(StartWait(i % 2 == 0 ? scene.a : scene.b, barrier,
                              {.condition = AtLeast(kParties)}));
  }
  scene.AwaitAsleep(barrier, kParties);
  for (int i = 0; i < kParties; ++i) {
    for (const auto& call : calls) EXPECT_FALSE(call.HasEnded());
    const auto woken =
        scene.b.WakeUp(barrier, {.update = Action::Add(1), .all = true});
    ASSERT_TRUE(woken.ok()) << woken.status();
    EXPECT_EQ(woken->value, i + 1) << "each counts once";
  }
  for (const auto& call : calls) {
    ASSERT_TRUE(call.Await().ok()) << call.Await().status();
    EXPECT_EQ(call.Await()->value_after, kParties);
  }
}

void AnEventCounterMissesNothing(Scene& scene) {
  const std::string counter = scene.Name("counter");
  constexpr int kEvents = 10;
  uint64_t seen = scene.a.Store(counter, 0)->generation;
  std::jthread producer([&] {
    for (int i = 0; i < kEvents; ++i) {
      const auto woken =
          scene.b.WakeUp(counter, {.update = Action::Add(1), .all = true});
      EXPECT_TRUE(woken.ok()) << woken.status();
    }
  });
  int64_t value = 0;
  while (value < kEvents) {
    const auto result =
        scene.a.Wait(counter, {.condition = Condition::ChangedSince(seen)});
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_GT(result->generation, seen);
    EXPECT_GT(result->value_after, value);
    seen = result->generation;
    value = result->value_after;
  }
  EXPECT_EQ(value, kEvents);
}

void AStoreWakesNobodyButIsSeenAtTheTimeout(Scene& scene) {
  const std::string flag = scene.Name("flag");
  const auto call = StartWait(
      scene.a, flag,
      {.condition = Condition::Equal(1), .timeout = absl::Milliseconds(60)});
  EXPECT_TRUE(scene.b.Store(flag, 1).ok());
  const auto& result = call.Await();
  ASSERT_TRUE(result.ok()) << result.status();
  // Unless it came too late.
  EXPECT_EQ(result->outcome == Outcome::kDone, result->value_before == 1);
}

void SignalsEndTheSleepsThatAdmitThem(Scene& scene) {
  const std::string flag = scene.Name("flag");
  const auto light =
      StartWait(scene.a, flag, {.condition = Condition::Equal(1)});
  scene.AwaitAsleep(flag, 1);
  EXPECT_EQ(scene.world.Signal(flag, TaskSignal::kInt), 1u);
  const absl::Status status = light.Await().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(ErrorReason(status), "EINTR");
  EXPECT_EQ(ErrorSignal(status), 2);
  EXPECT_EQ(ErrorObject(status), flag);

  const auto deep =
      StartWait(scene.a, flag,
                {.condition = Condition::Equal(1), .sleep = Sleep::kKillable});
  scene.AwaitAsleep(flag, 1);
  EXPECT_EQ(scene.world.Signal(flag, TaskSignal::kInt), 0u);
  EXPECT_EQ(scene.world.Asleep(flag), 1u);
  EXPECT_EQ(scene.world.Signal(flag, TaskSignal::kTerm), 1u);
  EXPECT_EQ(ErrorSignal(deep.Await().status()), 15);
}

// --- Completions -------------------------------------------------------------

void ACompletionIsTakenAsOftenAsItIsDone(Scene& scene) {
  const std::string job = scene.Name("job");
  EXPECT_EQ(scene.b.Complete(job, 3)->done, 3u);
  EXPECT_TRUE(scene.a.Done(job).value());
  EXPECT_TRUE(scene.a.TryWait(job).value());
  for (int i = 0; i < 2; ++i) {
    const auto result = scene.a.Await(job);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->outcome, Outcome::kDone);
    EXPECT_FALSE(result->slept);
    EXPECT_FALSE(result->redelivered);
  }
  EXPECT_FALSE(scene.a.TryWait(job).value());
  EXPECT_FALSE(scene.b.Done(job).value());
}

void CompletionsAreHandedOverInOrder(Scene& scene) {
  const std::string job = scene.Name("job");
  const auto first = StartAwait(scene.a, job);
  scene.AwaitAsleep(job, 1);
  const auto second = StartAwait(scene.a, job);
  scene.AwaitAsleep(job, 2);
  const auto completed = scene.b.Complete(job);
  ASSERT_TRUE(completed.ok()) << completed.status();
  if (scene.world.is_calm()) {
    EXPECT_EQ(completed->woken, 1u);
    EXPECT_EQ(completed->done, 0u);
  }
  EXPECT_TRUE(first.Await()->slept);
  EXPECT_FALSE(second.HasEnded());
  EXPECT_TRUE(scene.b.Complete(job).ok());
  EXPECT_TRUE(second.Await()->slept);
  EXPECT_FALSE(scene.b.TryWait(job).value());
}

void CompleteAllLastsUntilReinit(Scene& scene) {
  const std::string job = scene.Name("job");
  const auto sleeper = StartAwait(scene.a, job);
  scene.AwaitAsleep(job, 1);
  EXPECT_EQ(scene.b.CompleteAll(job)->done,
            std::numeric_limits<uint32_t>::max());
  EXPECT_TRUE(sleeper.Await().ok());
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(scene.a.TryWait(job).value());
  EXPECT_TRUE(scene.a.Reinit(job).ok());
  EXPECT_FALSE(scene.b.Done(job).value());
  EXPECT_FALSE(scene.a.TryWait(job).value());
}

}  // namespace

#define SCENARIO(claim) \
  Scenario { #claim, &claim }

const std::vector<Scenario>& WaitScenarios() {
  static const auto* const scenarios = new std::vector<Scenario>{
      SCENARIO(ATrueConditionEndsAWaitAtOnce),
      SCENARIO(ASleeperIsWokenWhenItsConditionHolds),
      SCENARIO(ATimedSleepEndsAndNeverEarly),
      SCENARIO(ATimeoutOf0IsOneTest),
      SCENARIO(ACallThatMustNotSleepWouldBlock),
      SCENARIO(ThenChangesTheWord),
      SCENARIO(ThenWakeHandsOn),
      SCENARIO(AKeyReachesThoseWhoHaveIt),
      SCENARIO(ExclusiveSleepersAreServedInOrder),
      SCENARIO(ALockAdmitsOneAtATime),
      SCENARIO(ABarrierLetsAllGoTogether),
      SCENARIO(AnEventCounterMissesNothing),
      SCENARIO(AStoreWakesNobodyButIsSeenAtTheTimeout),
      SCENARIO(SignalsEndTheSleepsThatAdmitThem),
      SCENARIO(ACompletionIsTakenAsOftenAsItIsDone),
      SCENARIO(CompletionsAreHandedOverInOrder),
      SCENARIO(CompleteAllLastsUntilReinit),
  };
  return *scenarios;
}

}  // namespace waitq::test
