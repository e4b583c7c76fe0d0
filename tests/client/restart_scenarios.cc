// What becomes of calls whose server is lost with all that it knew.

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "client/error.h"
#include "client/poller.h"
#include "gtest/gtest.h"
#include "tests/client/scenario_call.h"
#include "tests/client/scenarios.h"
#include "tests/support/wait_until.h"

namespace waitq::test {
namespace {

void Restart(Scene& scene) {
  scene.world.StopServer();
  scene.world.StartServer();
}

void ExpectOwnerDead(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted) << status;
  EXPECT_EQ(ErrorReason(status), "EOWNERDEAD");
  EXPECT_TRUE(OutcomeUnknown(status)) << status;
}

void EveryCallThatSleptIsTold(Scene& scene) {
  const auto wait = StartWait(scene.a, scene.Name("flag"),
                              {.condition = Condition::Equal(1)});
  const auto act =
      StartWait(scene.a, scene.Name("flag"),
                {.condition = Condition::Equal(1), .then = Action::Set(0)});
  const auto await = StartAwait(scene.a, scene.Name("job"));
  const auto read = StartRead(scene.a, scene.Name("pipe"));
  const auto poll = StartPoll(scene.a, scene.Name("pipe"), {.in = true});
  const auto any =
      StartWaitAny(scene.a, {Alternative::Await(scene.Name("job")),
                             Alternative::Read(scene.Name("pipe"))});
  EXPECT_TRUE(
      scene.b.CreatePipe(scene.Name("full"), {.capacity_bytes = 4}).ok());
  EXPECT_TRUE(scene.b.Write(scene.Name("full"), "abcd").ok());
  const auto write = StartWrite(scene.b, scene.Name("full"), "e");
  scene.AwaitAsleep(scene.Name("flag"), 2);
  scene.AwaitAsleep(scene.Name("job"), 2);
  scene.AwaitAsleep(scene.Name("pipe"), 3);
  scene.AwaitAsleep(scene.Name("full"), 1);
  Restart(scene);
  ExpectOwnerDead(wait.Await().status());
  ExpectOwnerDead(act.Await().status());
  ExpectOwnerDead(await.Await().status());
  ExpectOwnerDead(read.Await().status());
  ExpectOwnerDead(poll.Await().status());
  ExpectOwnerDead(any.Await().status());
  ExpectOwnerDead(write.Await().status());
  // Nothing of it goes on at the other server, and new calls do.
  for (const char* name : {"flag", "job", "pipe", "full"}) {
    EXPECT_EQ(scene.world.Asleep(scene.Name(name)), 0u);
  }
  EXPECT_EQ(ErrorReason(scene.a.Get(scene.Name("flag")).status()), "ENOENT");
  EXPECT_EQ(scene.a.Store(scene.Name("flag"), 5)->value_before, 0);
  EXPECT_EQ(scene.b.Get(scene.Name("flag"))->value, 5);
}

void HandlesEndAndMayBeOpenedAnew(Scene& scene) {
  const std::string pipe = scene.Name("pipe");
  const auto writer = scene.a.OpenWriter(pipe);
  ASSERT_TRUE(writer.ok()) << writer.status();
  const auto reader = scene.b.OpenReader(pipe);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*writer)->Write("abc").value(), Outcome::kDone);
  EXPECT_EQ((*reader)->Read()->data, "abc");
  scene.AwaitAsleep(pipe, 1);
  Restart(scene);
  ExpectOwnerDead((*reader)->Read().status());
  absl::StatusOr<Outcome> closed = (*writer)->Close();
  EXPECT_FALSE(closed.ok());
  EXPECT_FALSE((*writer)->Write("x").ok());

  const auto new_writer = scene.a.OpenWriter(pipe);
  ASSERT_TRUE(new_writer.ok()) << new_writer.status();
  const auto new_reader = scene.b.OpenReader(pipe);
  ASSERT_TRUE(new_reader.ok()) << new_reader.status();
  EXPECT_NE((*new_writer)->incarnation(), (*writer)->incarnation());
  EXPECT_EQ((*new_writer)->Write("def").value(), Outcome::kDone);
  EXPECT_EQ((*new_writer)->Close().value(), Outcome::kDone);
  const auto chunk = (*new_reader)->Read();
  ASSERT_TRUE(chunk.ok()) << chunk.status();
  EXPECT_EQ(chunk->data, "def");
  EXPECT_EQ(chunk->offset, 0u);
  EXPECT_EQ((*new_reader)->Read()->end, Outcome::kEndOfFile);
}

void NothingIsDoneTwice(Scene& scene) {
  const std::string counter = scene.Name("counter");
  // From four threads, while servers come and go.
  absl::Mutex mu;
  struct Done {
    uint64_t generation;
    int64_t value;
  };
  std::vector<Done> done;
  bool stop = false;
  const auto count = [&](Client& client) {
    for (;;) {
      {
        absl::MutexLock lock(&mu);
        if (stop) return;
      }
      const auto result = client.WakeUp(counter, {.update = Action::Add(1)});
      if (result.ok()) {
        absl::MutexLock lock(&mu);
        done.push_back({result->generation, result->value});
      } else if (ErrorReason(result.status()) != "EOWNERDEAD") {
        // No server was there for a new session.
        EXPECT_EQ(result.status().code(), absl::StatusCode::kUnavailable);
      }
    }
  };
  std::vector<std::jthread> threads;
  for (Client* client : {&scene.a, &scene.b, &scene.a, &scene.b}) {
    threads.emplace_back([&, client] { count(*client); });
  }
  const auto await_more = [&] {
    absl::MutexLock lock(&mu);
    const size_t enough = done.size() + 20;
    const auto has_enough = [&] { return done.size() >= enough; };
    mu.Await(absl::Condition(&has_enough));
  };
  await_more();
  for (int i = 0; i < 5; ++i) {
    Restart(scene);
    await_more();
  }
  {
    absl::MutexLock lock(&mu);
    stop = true;
  }
  threads.clear();
  // Each server counted from 0, by one for each success, and perhaps for some
  // whose outcome is unknown: never the same twice.
  std::sort(done.begin(), done.end(), [](const Done& x, const Done& y) {
    return x.generation < y.generation;
  });
  for (size_t i = 1; i < done.size(); ++i) {
    EXPECT_NE(done[i].generation, done[i - 1].generation);
    // It goes up, but where another server begins.
    if (done[i].value <= done[i - 1].value) {
      EXPECT_LE(done[i].value, 8) << "another server, or done twice";
    }
  }
}

void WhatWasNotSentIsDoneByTheNextServer(Scene& scene) {
  const std::string flag = scene.Name("flag");
  const auto slept =
      StartWait(scene.a, flag, {.condition = Condition::Equal(1)});
  scene.AwaitAsleep(flag, 1);
  scene.world.StopServer();
  UnderWay<WakeResult> woken;
  scene.a.WakeUp(flag, {.update = Action::Add(1)}, woken.Done());
  scene.world.StartServer();
  ExpectOwnerDead(slept.Await().status());
  ASSERT_TRUE(woken.Await().ok()) << woken.Await().status();
  EXPECT_EQ(woken.Await()->value, 1);
  EXPECT_EQ(scene.b.Get(flag)->value, 1);
}

void WithoutAServerACallWaitsForTheSessionAndThenIsRefused(Scene& scene) {
  const auto client = scene.world.NewClient({.grace = absl::Seconds(1)});
  const std::string flag = scene.Name("flag");
  EXPECT_TRUE(client->Store(flag, 1).ok());
  scene.world.StopServer();
  // While the session may live on it waits; then nobody is there.
  const absl::Status status = client->Store(flag, 2).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_FALSE(OutcomeUnknown(status)) << status;
  scene.world.StartServer();
  EXPECT_EQ(client->Store(flag, 3)->value_before, 0);
}

void APollerAsksTheNextServerAnew(Scene& scene) {
  const std::string pipe = scene.Name("pipe");
  auto poller = Poller::Create(&scene.a);
  ASSERT_TRUE(poller.ok()) << poller.status();
  EXPECT_TRUE(scene.b.Write(pipe, "x").ok());
  (*poller)->Watch(pipe, {.in = true});
  WaitUntil([&] { return !(*poller)->Take().empty(); });
  Restart(scene);
  // What was there is gone, and is not given any more.
  WaitUntil([&] { return (*poller)->Take().empty(); });
  scene.AwaitAsleep(pipe, 1);
  WaitUntil([&] { return scene.b.Write(pipe, "y").ok(); });
  WaitUntil([&] { return !(*poller)->Take().empty(); });
  EXPECT_TRUE((*poller)->Take()[0].status.ok());
  EXPECT_EQ(scene.b.Read(pipe)->data.substr(0, 1), "y");
}

}  // namespace

#define SCENARIO(claim) \
  Scenario { #claim, &claim }

const std::vector<Scenario>& RestartScenarios() {
  static const auto* const scenarios = new std::vector<Scenario>{
      SCENARIO(APollerAsksTheNextServerAnew),
      SCENARIO(EveryCallThatSleptIsTold),
      SCENARIO(HandlesEndAndMayBeOpenedAnew),
      SCENARIO(NothingIsDoneTwice),
      SCENARIO(WhatWasNotSentIsDoneByTheNextServer),
      SCENARIO(WithoutAServerACallWaitsForTheSessionAndThenIsRefused),
  };
  return *scenarios;
}

}  // namespace waitq::test
