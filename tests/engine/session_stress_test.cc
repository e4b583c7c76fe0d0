// Sessions from many threads: their streams, those who complete what they wait
// for, and time. What was done equals what was taken and what is left.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/mutex.h"
#include "core/simulated_clock.h"
#include "gtest/gtest.h"
#include "server/engine/completion_object.h"
#include "server/engine/engine.h"
#include "server/engine/ref.h"
#include "server/engine/session.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/random.h"

namespace waitq::engine {
namespace {

using waitq::test::Random;
using waitq::test::Seed;
using waitq::test::Times;

constexpr int kNames = 3;
constexpr int kSessions = 2;
constexpr uint64_t kMostUnderWay = 40;
constexpr uint8_t kMethod = 1;

std::string Name(uint64_t i) { return absl::StrCat("done", i); }

// How many of that completion nobody has taken.
uint64_t Left(Engine& engine, uint64_t i) {
  const auto stat = engine.Stat(Name(i));
  if (!stat.ok()) return 0;  // there is none yet
  return std::get<CompletionObject::Result>(stat->state).done;
}

// What the session sends, on whatever thread that is, goes into a box. Of two
// messages the second is sent by whoever writes the stream.
class Stream final : public SessionTransport {
 public:
  explicit Stream(Ref<Session> session) : session_(std::move(session)) {}

  void Kick(uint64_t stream) override {
    EXPECT_FALSE(sending_) << "kicked while it sends";
    GoOn(stream);
  }
  void Close(const absl::Status&) override {}
  void Probe(std::function<void()> done) override { done(); }

  // For the client: what has come. The message that was being written is.
  std::vector<SessionMessage> Receive() {
    uint64_t stream = 0;
    std::vector<SessionMessage> come;
    {
      MutexLock lock(&mu_);
      stream = std::exchange(to_go_on_, 0);
      come = std::exchange(box_, {});
    }
    if (stream != 0) GoOn(stream);
    return come;
  }

 private:
  void GoOn(uint64_t stream) {
    if (!Send(stream)) return;
    MutexLock lock(&mu_);
    to_go_on_ = stream;
  }
  bool Send(uint64_t stream) {
    SessionMessage message;
    sending_ = false;  // before: if there is nothing the next kick may come
    if (!session_->Take(stream, /*max_bytes=*/500, message)) return false;
    sending_ = true;
    MutexLock lock(&mu_);
    box_.push_back(std::move(message));
    return true;
  }

  const Ref<Session> session_;
  std::atomic<bool> sending_{false};
  Mutex mu_;
  uint64_t to_go_on_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<SessionMessage> box_ ABSL_GUARDED_BY(mu_);
};

// The client of one session, in one thread.
class Client {
 public:
  Client(Engine* engine, uint64_t seed) : engine_(*engine), random_(seed) {
    session_ =
        engine_.sessions().Make("peer", "caller", absl::Hours(1)).value();
    Attach();
  }

  void Step() {
    Receive();
    switch (random_.Below(12)) {
      case 0:
        Cut();
        break;
      case 1:
        Cancel();
        break;
      default:
        Say(random_.Below(6));
    }
  }

  // Its operations end; what it has not acknowledged is given back.
  void End() {
    Receive();
    Say(0);
    session_->Run([this] { session_->End(absl::OkStatus()); });
    stream_ = nullptr;
    session_ = nullptr;
  }

  uint64_t taken() const { return taken_; }

 private:
  void Attach() {
    stream_ = MakeRef<Stream>(session_);
    session_->Run([this] {
      number_ = session_->Attach(stream_, "peer", {.results_received = last_});
    });
    EXPECT_NE(number_, 0u);
  }

  void Cut() {
    if (random_.OneIn(2)) {
      session_->Run([this] { session_->Detach(number_); });
    }  // if not, the new one takes over
    // What is in the old box is lost.
    Attach();
  }

  void Cancel() {
    if (sent_ == 0) return;
    const uint64_t operation = 1 + random_.Below(sent_);
    session_->Run([&] { session_->Cancel(operation); });
  }

  // Takes what has come, or returns it.
  void Receive() {
    for (const SessionMessage& message : stream_->Receive()) {
      uint64_t number = message.first_result;
      for (const SessionResult& result : message.results) {
        if (number++ <= last_) continue;  // sent again
        last_ = number - 1;
        ++answered_;
        const bool done = result.ended->ending() == Ending::kDone;
        if (done && random_.OneIn(4)) {
          to_return_.push_back(last_);
        } else if (done) {
          ++taken_;
        }
      }
    }
  }

  // A message: acknowledgements and `count` operations.
  void Say(uint64_t count) {
    if (sent_ - answered_ > kMostUnderWay) count = 0;
    session_->Run([&] {
      ASSERT_TRUE(session_->Hear(number_));
      session_->Cork();
      for (const uint64_t number : to_return_) {
        EXPECT_TRUE(session_->Returned(number).ok());
      }
      to_return_.clear();
      EXPECT_TRUE(session_->TakenUpTo(last_).ok());
      for (uint64_t i = 0; i < count; ++i) Wait();
      session_->Uncork();
    });
  }

  void Wait() {
    const uint64_t number = ++sent_;
    ASSERT_EQ(session_->Receive(number, kMethod), Session::Received::kNew);
    auto op = MakeRef<CompletionOperation>(session_->home(), /*caller=*/nullptr,
                                           session_->caller_info());
    op->set_tag(Session::TagOf(number, kMethod));
    SleepOptions options;
    if (random_.OneIn(3)) {
      options.timeout = absl::Microseconds(random_.Below(3'000));
    }
    const auto started = engine_.Wait(Name(random_.Below(kNames)), op, options);
    ASSERT_TRUE(started.ok()) << started.status();
    // Let it end before the session knows that it sleeps.
    if (random_.OneIn(8)) std::this_thread::yield();
    if (*started == Started::kEnded) {
      session_->Answer(number, kMethod, std::move(op));
    } else {
      session_->Sleep(std::move(op), /*handle=*/0);
    }
  }

  Engine& engine_;
  Random random_;
  Ref<Session> session_;
  Ref<Stream> stream_;
  uint64_t number_ = 0;    // of the stream
  uint64_t sent_ = 0;      // operations
  uint64_t answered_ = 0;  // of these
  uint64_t last_ = 0;      // result that has come
  uint64_t taken_ = 0;
  std::vector<uint64_t> to_return_;
};

TEST(SessionStressTest, WhatIsTakenAndLeftIsWhatWasDone) {
  const uint64_t seed = Seed();
  const int steps = Times(20'000);
  SimulatedClock clock;
  Engine engine{SmallLimits(), &clock.timers(), kFirstGeneration};
  std::atomic<uint64_t> posted = 0, taken = 0;
  std::atomic<bool> stop = false;

  std::vector<std::thread> others;
  others.emplace_back([&] {
    Random random(seed);
    while (!stop) {
      clock.Advance(absl::Microseconds(random.Below(500)));
      std::this_thread::yield();
    }
  });
  others.emplace_back([&] {
    Random random(seed + 1);
    while (!stop) {
      // Few at a time, so that there are sleepers.
      const uint64_t name = random.Below(kNames);
      if (Left(engine, name) < 3) {
        const auto nr = static_cast<uint32_t>(1 + random.Below(4));
        EXPECT_TRUE(engine.Complete(Name(name), nr).ok());
        posted += nr;
      }
      std::this_thread::yield();
    }
  });
  std::vector<std::thread> clients;
  for (int i = 0; i < kSessions; ++i) {
    clients.emplace_back([&, i] {
      Client client(&engine, seed + 10 + i);
      for (int step = 0; step < steps; ++step) client.Step();
      client.End();
      taken += client.taken();
    });
  }
  for (std::thread& thread : clients) thread.join();
  stop = true;
  for (std::thread& thread : others) thread.join();

  uint64_t left = 0;
  for (int i = 0; i < kNames; ++i) left += Left(engine, i);
  EXPECT_GT(taken, 0u);
  EXPECT_EQ(posted, taken + left);
  clock.Advance(absl::Seconds(1));  // the table of sessions stops looking
  RemoveAll(engine);
  ExpectNothingHeld(engine, clock);
}

}  // namespace
}  // namespace waitq::engine
