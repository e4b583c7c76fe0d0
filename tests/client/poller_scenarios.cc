// Many names in a program's own loop.

#include <poll.h>

#include <map>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "client/error.h"
#include "client/poller.h"
#include "gtest/gtest.h"
#include "tests/client/scenario_lists.h"
#include "tests/support/wait_until.h"

namespace waitq::test {
namespace {

bool IsReadable(const Poller& poller) {
  pollfd poll_fd = {.fd = poller.fd(), .events = POLLIN, .revents = 0};
  return poll(&poll_fd, 1, 0) == 1;
}

// As a program's loop would.
void AwaitReadable(const Poller& poller) {
  pollfd poll_fd = {.fd = poller.fd(), .events = POLLIN, .revents = 0};
  constexpr int kBoundMs = 60'000;
  EXPECT_EQ(poll(&poll_fd, 1, kBoundMs), 1);
}

std::unique_ptr<Poller> NewPoller(Client& client) {
  auto poller = Poller::Create(&client);
  EXPECT_TRUE(poller.ok()) << poller.status();
  return *std::move(poller);
}

void APollerGivesANameForAsLongAsItIsReady(Scene& scene) {
  const std::string pipe = scene.Name("pipe");
  const auto poller = NewPoller(scene.a);
  poller->Watch(pipe, {.in = true});
  scene.AwaitAsleep(pipe, 1);
  EXPECT_FALSE(IsReadable(*poller));
  EXPECT_TRUE(poller->Take().empty());
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(scene.b.Write(pipe, "x").ok());
    AwaitReadable(*poller);
    for (int again = 0; again < 3; ++again) {
      const auto events = poller->Take();
      ASSERT_EQ(events.size(), 1u);
      EXPECT_EQ(events[0].name, pipe);
      EXPECT_TRUE(events[0].ready.in);
      EXPECT_FALSE(events[0].ready.out) << "nobody has asked";
      EXPECT_TRUE(events[0].status.ok());
      EXPECT_TRUE(IsReadable(*poller));
    }
    EXPECT_EQ(scene.b.Read(pipe)->data, "x");
    WaitUntil([&] { return !IsReadable(*poller); });
    EXPECT_TRUE(poller->Take().empty());
  }
}

void APollerGivesOnlyWhatItWatches(Scene& scene) {
  const std::string one = scene.Name("one"), two = scene.Name("two");
  const auto poller = NewPoller(scene.a);
  poller->Watch(one, {.in = true});
  poller->Watch(two, {.in = true});
  EXPECT_TRUE(scene.b.Write(one, "x").ok());
  EXPECT_TRUE(scene.b.Write(two, "x").ok());
  std::set<std::string> ready;
  WaitUntil([&] {
    // One at a time: each has its turn.
    for (const auto& event : poller->Take(1)) ready.insert(event.name);
    return ready.size() == 2;
  });
  poller->Unwatch(one);
  EXPECT_EQ(poller->size(), 1u);
  for (const auto& event : poller->Take()) EXPECT_EQ(event.name, two);
  poller->Unwatch(two);
  EXPECT_FALSE(IsReadable(*poller));
  scene.AwaitAsleep(one, 0);
  // Another interest takes the place of the first.
  poller->Watch(one, {.in = true});
  poller->Watch(one, {.out = true});
  WaitUntil([&] { return !poller->Take().empty(); });
  EXPECT_TRUE(poller->Take()[0].ready.out);
  EXPECT_FALSE(poller->Take()[0].ready.in);
  EXPECT_EQ(scene.b.Read(one)->data + scene.b.Read(two)->data, "xx");
}

void APollerTellsOnceWhatWentWrong(Scene& scene) {
  const std::string pipe = scene.Name("pipe"), word = scene.Name("word");
  EXPECT_TRUE(scene.b.Store(word, 1).ok());
  const auto poller = NewPoller(scene.a);
  poller->Watch(pipe, {.in = true});
  poller->Watch(word, {.in = true});
  scene.AwaitAsleep(pipe, 1);
  EXPECT_TRUE(scene.b.Remove(pipe).ok());
  std::map<std::string, std::string> why;
  WaitUntil([&] {
    for (const auto& event : poller->Take()) {
      EXPECT_TRUE(why.emplace(event.name, ErrorReason(event.status)).second);
    }
    return why.size() == 2;
  });
  EXPECT_EQ(why[pipe], "EIDRM");
  EXPECT_EQ(why[word], "ENXIO");
  EXPECT_EQ(poller->size(), 0u);
  EXPECT_FALSE(IsReadable(*poller));
}

void APollerThatEndsLeavesNobodyAsleep(Scene& scene) {
  for (int i = 0; i < 10; ++i) {
    const auto poller = NewPoller(scene.a);
    for (const char* name : {"a", "b", "c"}) {
      poller->Watch(scene.Name(name), {.in = true});
    }
    if (i % 2 == 0) scene.AwaitAsleep(scene.Name("c"), 1);
  }
  for (const char* name : {"a", "b", "c"}) {
    scene.AwaitAsleep(scene.Name(name), 0);
  }
}

void APollerOfManyNamesMissesNone(Scene& scene) {
  constexpr int kNames = 200;
  const auto poller = NewPoller(scene.a);
  for (int i = 0; i < kNames; ++i) {
    poller->Watch(scene.Name(absl::StrCat(i)), {.in = true});
  }
  int written = 0, read = 0;
  for (int i = 0; i < 3 * kNames; i += 2) {
    EXPECT_TRUE(scene.b.Write(scene.Name(absl::StrCat(i % kNames)), "x").ok());
    ++written;
  }
  while (read < written) {
    AwaitReadable(*poller);
    for (const auto& event : poller->Take()) {
      const auto data =
          scene.a.Read(event.name, {.max_bytes = 1, .nonblock = true});
      ASSERT_TRUE(data.ok()) << data.status();
      read += static_cast<int>(data->data.size());
    }
  }
  WaitUntil([&] { return !IsReadable(*poller); });
}

}  // namespace

#define SCENARIO(claim) \
  Scenario { #claim, &claim }

const std::vector<Scenario>& PollerScenarios() {
  static const auto* const scenarios = new std::vector<Scenario>{
      SCENARIO(APollerGivesANameForAsLongAsItIsReady),
      SCENARIO(APollerGivesOnlyWhatItWatches),
      SCENARIO(APollerTellsOnceWhatWentWrong),
      SCENARIO(APollerThatEndsLeavesNobodyAsleep),
      {.name = "APollerOfManyNamesMissesNone",
       .run = &APollerOfManyNamesMissesNone,
       .is_long = true},
  };
  return *scenarios;
}

}  // namespace waitq::test
