// Objects as such; and calls that are cancelled, refused, or many.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <stop_token>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "client/error.h"
#include "gtest/gtest.h"
#include "tests/client/scenario_call.h"
#include "tests/client/scenario_lists.h"

namespace waitq::test {
namespace {

void WhatIsNotThereOrOfAnotherKindIsAnError(Scene& scene) {
  const std::string name = scene.Name("thing");
  for (const absl::Status& status :
       {scene.a.Get(name).status(), scene.a.Done(name).status(),
        scene.a.Remove(name).status(), scene.a.Accept(name, 1)}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
    EXPECT_EQ(ErrorReason(status), "ENOENT");
    EXPECT_EQ(ErrorObject(status), name);
  }
  EXPECT_TRUE(scene.b.Store(name, 1).ok());
  for (const absl::Status& status :
       {scene.a.Await(name).status(), scene.a.Complete(name).status(),
        scene.a.Read(name).status(), scene.a.Write(name, "x").status(),
        scene.a.OpenReader(name).status(), scene.a.OpenWriter(name).status(),
        scene.a.CreatePipe(name).status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_EQ(ErrorReason(status), "ENXIO");
  }
  EXPECT_EQ(ErrorReason(scene.a.Get("no name").status()), "EINVAL");
  EXPECT_EQ(scene.b.Get(name)->value, 1);
}

void ACreatedObjectKeepsItsOptions(Scene& scene) {
  const std::string pipe = scene.Name("pipe");
  const PipeOptions options = {.capacity_bytes = 100};
  const auto made = scene.a.CreatePipe(pipe, options);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_TRUE(made->created);
  EXPECT_TRUE(made->object.created);
  EXPECT_EQ(std::get<PipeInfo>(made->object.state).capacity_bytes, 100u);
  const auto again = scene.b.CreatePipe(pipe, options);
  EXPECT_FALSE(again->created);
  EXPECT_EQ(again->object.incarnation, made->object.incarnation);
  const absl::Status other =
      scene.b.CreatePipe(pipe, {.capacity_bytes = 101}).status();
  EXPECT_EQ(other.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(ErrorReason(other), "EEXIST");
  const PipeOptions packets = {.mode = PipeMode::kPacket};
  EXPECT_EQ(ErrorReason(scene.b.Read(pipe, {.pipe = packets}).status()),
            "EEXIST");
  EXPECT_EQ(ErrorReason(scene.b.OpenWriter(pipe, {.pipe = packets}).status()),
            "EEXIST");
  EXPECT_TRUE(scene.a.CreateWaitQueue(scene.Name("queue"))->created);
  EXPECT_TRUE(scene.a.CreateCompletion(scene.Name("job"))->created);
}

void RemoveEndsWhoSleeps(Scene& scene) {
  const std::string flag = scene.Name("flag");
  const auto call =
      StartWait(scene.a, flag, {.condition = Condition::Equal(1)});
  scene.AwaitAsleep(flag, 1);
  EXPECT_EQ(scene.b.Remove(flag).value(), 1u);
  const absl::Status status = call.Await().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(ErrorReason(status), "EIDRM");
  EXPECT_EQ(ErrorObject(status), flag);
  EXPECT_EQ(ErrorReason(scene.b.Get(flag).status()), "ENOENT");
  // The next of this name is another one.
  EXPECT_EQ(scene.b.Store(flag, 1)->value_before, 0);
}

void APipeInUseIsRemovedOnlyByForce(Scene& scene) {
  const std::string pipe = scene.Name("pipe");
  const auto writer = scene.a.OpenWriter(pipe);
  ASSERT_TRUE(writer.ok()) << writer.status();
  const auto reader = scene.b.OpenReader(pipe);
  ASSERT_TRUE(reader.ok()) << reader.status();
  const absl::Status busy = scene.b.Remove(pipe).status();
  EXPECT_EQ(busy.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ErrorReason(busy), "EBUSY");
  EXPECT_TRUE(scene.b.Remove(pipe, /*force=*/true).ok());
  const absl::Status read = (*reader)->Read().status();
  EXPECT_EQ(ErrorReason(read), "EIDRM") << read;
  EXPECT_EQ((*writer)->Write("abc").value(), Outcome::kDone) << "on its way";
  EXPECT_EQ(ErrorReason((*writer)->Close().status()), "EIDRM");
}

void ACancelledCallConsumesNothing(Scene& scene) {
  const std::string flag = scene.Name("flag");
  const WaitOptions options = {.condition = Condition::Equal(1),
                               .then = Action::Set(0)};
  const auto call = StartWait(scene.a, flag, options);
  scene.AwaitAsleep(flag, 1);
  scene.a.Cancel(call.id);
  const absl::Status status = call.Await().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(ErrorReason(status), "ECANCELED");
  scene.AwaitAsleep(flag, 0);

  std::stop_source stop;
  std::jthread sleeper([&] {
    EXPECT_EQ(
        ErrorReason(scene.a.Wait(flag, options, stop.get_token()).status()),
        "ECANCELED");
  });
  scene.AwaitAsleep(flag, 1);
  stop.request_stop();
  sleeper.join();
  scene.AwaitAsleep(flag, 0);
  EXPECT_EQ(scene.b.WakeUp(flag, {.update = Action::Set(1)})->woken, 0u);
  EXPECT_EQ(scene.b.Get(flag)->value, 1);
}

void ACancelledHandleTakesNothing(Scene& scene) {
  const std::string pipe = scene.Name("pipe");
  std::stop_source stop;
  auto reader = scene.a.OpenReader(pipe, {}, stop.get_token());
  ASSERT_TRUE(reader.ok()) << reader.status();
  scene.AwaitAsleep(pipe, 1);
  stop.request_stop();
  EXPECT_EQ(ErrorReason((*reader)->Read().status()), "ECANCELED");
  scene.AwaitAsleep(pipe, 0);
  // Its handle is closed with that.
  const auto last = scene.a.OpenReader(pipe);
  ASSERT_TRUE(last.ok()) << last.status();
  EXPECT_TRUE(scene.b.Write(pipe, "abc").ok());
  EXPECT_EQ((*last)->Read()->data, "abc");
}

void ManySleepersAreWokenAtOnce(Scene& scene) {
  const std::string flag = scene.Name("flag");
  constexpr int kCalls = 200;
  std::atomic<int> left = kCalls;
  absl::Notification done;
  for (int i = 0; i < kCalls; ++i) {
    scene.a.Wait(flag, {.condition = Condition::Equal(1)},
                 [&](const absl::StatusOr<WaitResult>& result) {
                   EXPECT_TRUE(result.ok()) << result.status();
                   if (left.fetch_sub(1) == 1) done.Notify();
                 });
  }
  scene.AwaitAsleep(flag, kCalls);
  const auto woken =
      scene.b.WakeUp(flag, {.update = Action::Set(1), .all = true});
  ASSERT_TRUE(woken.ok()) << woken.status();
  EXPECT_EQ(woken->woken, static_cast<uint64_t>(kCalls));
  done.WaitForNotification();
}

void WhereTheServerTakesNoMoreSleepersWaitAndWakersDoNot(Scene& scene) {
  // More than operations_per_session.
  const std::string semaphore = scene.Name("semaphore");
  constexpr int kCalls = 400;
  std::atomic<int> left = kCalls;
  absl::Notification done;
  for (int i = 0; i < kCalls; ++i) {
    scene.a.Wait(semaphore,
                 {.condition = Condition{Condition::Test::kGreater, 0},
                  .then = Action::Add(-1)},
                 [&](const absl::StatusOr<WaitResult>& result) {
                   EXPECT_TRUE(result.ok()) << result.status();
                   if (left.fetch_sub(1) == 1) done.Notify();
                 });
  }
  const auto woken =
      scene.a.WakeUp(semaphore, {.update = Action::Add(kCalls), .all = true});
  ASSERT_TRUE(woken.ok()) << woken.status();
  done.WaitForNotification();
  EXPECT_EQ(scene.b.Get(semaphore)->value, 0);
}

void ALimitIsAnErrorThatNamesIt(Scene& scene) {
  const absl::Status large =
      scene.a.CreatePipe(scene.Name("pipe"), {.capacity_bytes = 9 << 20})
          .status();
  EXPECT_EQ(large.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ErrorLimit(large), "pipe-bytes");
  EXPECT_EQ(
      ErrorReason(scene.a.Write(scene.Name("pipe"), std::string(5 << 20, 'x'))
                      .status()),
      "EMSGSIZE");

  const std::string flag = scene.Name("flag");
  constexpr size_t kMost = 300;  // of LimitsOfWorlds()
  std::vector<UnderWay<WaitResult>> calls;
  for (size_t i = 0; i < kMost; ++i) {
    calls.push_back(StartWait(i % 2 == 0 ? scene.a : scene.b, flag,
                              {.condition = Condition::Equal(1)}));
  }
  scene.AwaitAsleep(flag, kMost);
  const absl::Status status =
      scene.a.Wait(flag, {.condition = Condition::Equal(1)}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ErrorReason(status), "ENOSPC");
  EXPECT_EQ(ErrorLimit(status), "sleepers-per-object");
  EXPECT_EQ(ErrorObject(status), flag);
  EXPECT_TRUE(ErrorRetryAfter(status).has_value());
  EXPECT_TRUE(
      scene.b.WakeUp(flag, {.update = Action::Set(1), .all = true}).ok());
  for (const auto& call : calls) EXPECT_TRUE(call.Await().ok());
}

void AChainOfCallbacksGoesOn(Scene& scene) {
  // Each result asks for the next; nobody waits in between.
  const std::string ball = scene.Name("ball");
  constexpr int kRounds = 10;
  struct Player {
    Client& client;
    const std::string& ball;
    const int64_t mine;
    const int64_t others;
    int rounds = 0;
    absl::Notification done = {};

    void Wait() {
      client.Wait(ball, {.condition = Condition::Equal(mine)},
                  [this](const absl::StatusOr<WaitResult>& result) {
                    EXPECT_TRUE(result.ok()) << result.status();
                    Pass();
                  });
    }
    void Pass() {
      client.WakeUp(ball, {.update = Action::Set(others)},
                    [this](const absl::StatusOr<WakeResult>& result) {
                      EXPECT_TRUE(result.ok()) << result.status();
                      if (++rounds == kRounds) return done.Notify();
                      Wait();
                    });
    }
  };
  Player one{.client = scene.a, .ball = ball, .mine = 1, .others = 2};
  Player two{.client = scene.b, .ball = ball, .mine = 2, .others = 1};
  two.Wait();
  one.Wait();
  EXPECT_TRUE(scene.a.WakeUp(ball, {.update = Action::Set(1)}).ok());
  one.done.WaitForNotification();
  two.done.WaitForNotification();
}

}  // namespace

#define SCENARIO(claim, ...) \
  Scenario { #claim, &claim, ##__VA_ARGS__ }

const std::vector<Scenario>& ObjectScenarios() {
  static const auto* const scenarios = new std::vector<Scenario>{
      SCENARIO(WhatIsNotThereOrOfAnotherKindIsAnError),
      SCENARIO(ACreatedObjectKeepsItsOptions),
      SCENARIO(RemoveEndsWhoSleeps),
      SCENARIO(APipeInUseIsRemovedOnlyByForce),
      SCENARIO(ACancelledCallConsumesNothing),
      SCENARIO(ACancelledHandleTakesNothing),
      SCENARIO(ManySleepersAreWokenAtOnce),
      SCENARIO(WhereTheServerTakesNoMoreSleepersWaitAndWakersDoNot),
      SCENARIO(ALimitIsAnErrorThatNamesIt),
      SCENARIO(AChainOfCallbacksGoesOn),
  };
  return *scenarios;
}

}  // namespace waitq::test
