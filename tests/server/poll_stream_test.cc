// waitq.v1.Pipes.PollStream: many names on one stream.

#include <unistd.h>

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fixture.h"
#include "tests/server/wire.h"
#include "tests/support/process.h"
#include "tests/support/random.h"

namespace waitq::test {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

class PollStreamTest : public EverywhereTest {
 protected:
  static std::string Shown(const v1::PollStreamResponse::Change& change) {
    if (!change.error().empty()) return change.error();
    const v1::Readiness& ready = change.ready();
    return absl::StrCat(ready.in() ? "i" : "", ready.out() ? "o" : "",
                        ready.hup() ? "h" : "", ready.err() ? "e" : "");
  }
  // To watch `n` names that are none.
  static v1::PollStreamRequest BadNames(int first, int n) {
    v1::PollStreamRequest request;
    for (int i = 0; i < n; ++i) request.add_watch()->set_id(first + i);
    return request;
  }
};
WAITQ_TEST_EVERYWHERE(PollStreamTest);

TEST_P(PollStreamTest, TellsWhatIsThereAndThenWhatHasChanged) {
  WriteNow("full", "x");
  PollStream stream(client());
  ASSERT_TRUE(stream.Send(
      "watch { id: 7 name: 'full' in: true } watch { id: 9 name: 'p' in: true "
      "} caller: 'me'"));
  std::map<uint64_t, std::string> first;
  while (first.size() < 2) {
    const auto response = stream.Next();
    ASSERT_TRUE(response.has_value());
    for (const auto& change : response->changes()) {
      EXPECT_TRUE(first.emplace(change.id(), Shown(change)).second);
    }
  }
  EXPECT_EQ(first[7], "i");
  EXPECT_EQ(first[9], "") << "nothing is told, too";
  AwaitAsleep(2);
  for (int i = 0; i < 3; ++i) {
    WriteNow("p", "x");
    EXPECT_EQ(Shown(stream.NextOf(9)), "i");
    EXPECT_EQ(ReadNow("p").data(), "x");
    EXPECT_EQ(Shown(stream.NextOf(9)), "");
  }
  EXPECT_EQ(ReadNow("full").data(), "x") << "nothing is taken";
}

TEST_P(PollStreamTest, EndsOfWritersAndReadersAreTold) {
  PollStream stream(client());
  ASSERT_TRUE(stream.Send("watch { id: 1 name: 'p' }"));
  EXPECT_EQ(Shown(stream.NextOf(1)), "");
  {
    WriteStream writer(client(), "name: 'p'");
    writer.HalfClose();
    EXPECT_TRUE(writer.Finish().ok());
  }
  EXPECT_EQ(Shown(stream.NextOf(1)), "h");
  WriteStream writer(client(), "name: 'p'");
  EXPECT_EQ(Shown(stream.NextOf(1)), "");
}

TEST_P(PollStreamTest, OneNameGoesWrongAndTheOthersGoOn) {
  ASSERT_THAT(Call<v1::StoreRequest>(client(), "name: 'word' value: 1").status,
              IsOk());
  PollStream stream(client());
  ASSERT_TRUE(stream.Send(
      "watch { id: 1 name: 'p' in: true } watch { id: 2 name: 'word' in: true "
      "} watch { id: 3 name: 'no name' } watch { id: 4 name: 'r' in: true }"));
  EXPECT_EQ(Shown(stream.NextOf(4)), "");
  AwaitAsleep(2);
  ASSERT_THAT(Call<v1::RemoveRequest>(client(), "name: 'r'").status, IsOk());
  const auto removed = stream.NextOf(4);
  EXPECT_EQ(removed.error(), "EIDRM");
  EXPECT_THAT(removed.error_message(), HasSubstr("r"));
  WriteNow("p", "x");
  EXPECT_EQ(Shown(stream.NextOf(1)), "i");
  // Its number is free, and the name is another one's.
  ASSERT_TRUE(stream.Send("watch { id: 4 name: 'r' in: true }"));
  EXPECT_EQ(Shown(stream.NextOf(4)), "");
}

TEST_P(PollStreamTest, WhatIsNoPipeIsToldAsSuch) {
  ASSERT_THAT(Call<v1::StoreRequest>(client(), "name: 'word' value: 1").status,
              IsOk());
  PollStream stream(client());
  ASSERT_TRUE(stream.Send("watch { id: 2 name: 'word' in: true }"));
  EXPECT_EQ(stream.NextOf(2).error(), "ENXIO");
  ASSERT_TRUE(stream.Send("watch { id: 3 name: 'no name' in: true }"));
  EXPECT_EQ(stream.NextOf(3).error(), "EINVAL");
}

TEST_P(PollStreamTest, WhatIsNotWatchedAnyMoreSleepsNoMore) {
  PollStream stream(client());
  ASSERT_TRUE(stream.Send(
      "watch { id: 1 name: 'a' in: true } watch { id: 2 name: 'b' in: true }"));
  AwaitAsleep(2);
  ASSERT_TRUE(stream.Send("unwatch: 1 unwatch: 77"));
  AwaitAsleep(1);
  WriteNow("a", "x");
  WriteNow("b", "x");
  EXPECT_EQ(Shown(stream.NextOf(2)), "");
  EXPECT_EQ(Shown(stream.NextOf(2)), "i");
  EXPECT_EQ(ReadNow("a").data() + ReadNow("b").data(), "xx");
}

TEST_P(PollStreamTest, AnIdIsWatchedOnce) {
  PollStream stream(client());
  ASSERT_TRUE(
      stream.Send("watch { id: 1 name: 'a' } watch { id: 1 name: 'b' }"));
  const grpc::Status status = stream.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("watched already"));
  AwaitAsleep(0);
}

TEST_P(PollStreamTest, GoesOnWhenTheClientHasClosedItsSide) {
  PollStream stream(client());
  ASSERT_TRUE(stream.Send("watch { id: 1 name: 'p' in: true }"));
  stream.HalfClose();
  EXPECT_EQ(Shown(stream.NextOf(1)), "");
  WriteNow("p", "x");
  EXPECT_EQ(Shown(stream.NextOf(1)), "i");
  EXPECT_EQ(ReadNow("p").data(), "x");
  // Until there is nothing that it could be told.
  ASSERT_THAT(Call<v1::RemoveRequest>(client(), "name: 'p'").status, IsOk());
  EXPECT_TRUE(stream.Finish().ok());
  EXPECT_EQ(stream.last().changes(0).error(), "EIDRM");
}

TEST_P(PollStreamTest, WhoGoesLeavesNobodyAsleep) {
  for (int i = 0; i < 20; ++i) {
    Wire wire(server().address());
    const auto far = ClientOf(wire.address());
    PollStream cut(*far), cancelled(client());
    for (PollStream* stream : {&cut, &cancelled}) {
      ASSERT_TRUE(
          stream->Send("watch { id: 1 name: 'p' in: true } "
                       "watch { id: 2 name: 'q' in: true }"));
    }
    if (i % 2 == 0) AwaitAsleep(4);
    wire.Cut();
    cancelled.Cancel();
    AwaitAsleep(0);
  }
}

// Random: the seed is printed. Whatever comes and goes, what was told last is
// what is there.
TEST_P(PollStreamTest, TheLastThatIsToldIsWhatIsThere) {
  Random random(Seed());
  constexpr int kNames = 50;
  PollStream stream(client());
  v1::PollStreamRequest request;
  for (int i = 0; i < kNames; ++i) {
    auto& watch = *request.add_watch();
    watch.set_id(i);
    watch.set_name(absl::StrCat("p", i));
    watch.set_in(true);
  }
  ASSERT_TRUE(stream.Send(request));
  std::map<uint64_t, std::string> told;
  const auto read_until = [&](const auto& state) {
    while (!state()) {
      const auto response = stream.Next();
      ASSERT_TRUE(response.has_value());
      EXPECT_GT(response->changes_size(), 0);
      for (const auto& change : response->changes()) {
        told[change.id()] = Shown(change);
      }
    }
  };
  read_until([&] { return told.size() == kNames; });
  for (int round = 0; round < 20; ++round) {
    std::map<uint64_t, std::string> there;
    for (int i = 0; i < 200; ++i) {
      const uint64_t id = random.Below(kNames);
      const std::string name = absl::StrCat("p", id);
      if (random.OneIn(2)) {
        WriteNow(name, "x");
      } else {
        v1::ReadRequest read;
        read.set_name(name);
        read.set_nonblock(true);
        Call(client(), read);
      }
      there[id] = StatOf(name).pipe().unread_bytes() > 0 ? "i" : "";
    }
    read_until([&] {
      for (const auto& [id, state] : there) {
        if (told[id] != state) return false;
      }
      return true;
    });
  }
  for (int i = 0; i < kNames; ++i) {
    v1::ReadRequest read;
    read.set_name(absl::StrCat("p", i));
    read.set_nonblock(true);
    Call(client(), read);
  }
}

TEST_P(PollStreamTest, ARequestHasALimit) {
  {
    PollStream stream(client());
    ASSERT_TRUE(stream.Send(BadNames(0, 16384)));
    EXPECT_EQ(Shown(stream.NextOf(16383)), "EINVAL");
  }
  PollStream many(client());
  ASSERT_TRUE(many.Send(BadNames(0, 16385)));
  EXPECT_THAT(many.Finish().error_message(), HasSubstr("16384 names"));

  v1::PollStreamRequest request;
  request.add_watch()->set_name(std::string(1 << 20, 'a'));
  PollStream large(client());
  ASSERT_TRUE(large.Send(request));
  const grpc::Status status = large.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("1048576 bytes"));
}

// Guards ReadOn(): a name that is none costs the server memory, and no sleeper,
// until that can be told.
TEST_P(PollStreamTest, WhoDoesNotReadIsNotReadFrom) {
  constexpr int kRequests = 100, kWatches = 4096;
  PollStream stream(client());
  std::atomic<bool> sent = false;
  std::thread sender([&] {
    for (int i = 0; i < kRequests; ++i) {
      EXPECT_TRUE(stream.Send(BadNames(i * kWatches, kWatches)));
    }
    sent = true;
  });
  EXPECT_FALSE(Await([&] { return sent.load(); }, absl::Seconds(1)));
  std::vector<int> told(kRequests * kWatches);
  for (size_t left = told.size(); left > 0;) {
    const auto response = stream.Next();
    if (!response.has_value()) {
      ADD_FAILURE() << left << " are not told";
      break;
    }
    for (const auto& change : response->changes()) {
      EXPECT_EQ(change.error(), "EINVAL");
      if (++told[change.id()] == 1) --left;
    }
  }
  sender.join();
  EXPECT_THAT(told, Each(1));
}

// What is to be told keeps no name: it may be as long as a request.
TEST_P(PollStreamTest, ALongNameThatIsNoneIsNotKept) {
  constexpr int kShort = 12'000, kLong = 600;
  const auto resident_kib = [] { return FiguresOf(getpid()).resident_kib; };
  PollStream stream(client());
  // More than the connection takes of answers that nobody reads.
  ASSERT_TRUE(stream.Send(BadNames(0, kShort)));
  const auto before = resident_kib();
  for (int i = 0; i < kLong; ++i) {
    v1::PollStreamRequest request = BadNames(kShort + i, 1);
    request.mutable_watch(0)->set_name(std::string(1'000'000, 'a'));
    ASSERT_TRUE(stream.Send(request));
  }
  EXPECT_LT(resident_kib(), before + 300'000);
  for (int told = 0; told < kShort + kLong;) {
    const auto response = stream.Next();
    ASSERT_TRUE(response.has_value());
    told += response->changes_size();
  }
}

TEST_P(PollStreamTest, WhatWaitsToBeToldIsASleeper) {
  options().limits.sleepers_per_caller = 1000;
  PollStream stream(client());
  ASSERT_TRUE(stream.Send(BadNames(0, 1001)));
  const grpc::Status status = stream.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("sleepers-per-caller"));
}

TEST_P(PollStreamTest, ADrainEndsIt) {
  PollStream stream(client());
  ASSERT_TRUE(stream.Send("watch { id: 1 name: 'p' in: true }"));
  EXPECT_EQ(Shown(stream.NextOf(1)), "");
  AwaitAsleep(1);
  server().Drain();
  EXPECT_FALSE(stream.Next().has_value());
  EXPECT_EQ(stream.Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace waitq::test
