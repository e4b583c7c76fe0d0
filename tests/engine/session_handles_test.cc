// A session's handles, and what becomes of an operation that has ended: at the
// moments that no client can choose.

#include <cerrno>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "server/engine/operation.h"
#include "server/engine/pipe_object.h"
#include "server/engine/ref.h"
#include "server/engine/session.h"
#include "tests/engine/engine_fixture.h"

namespace waitq::engine {
namespace {

constexpr uint8_t kOpen = 1;
constexpr uint8_t kWrite = 2;

// Sends nothing by itself: the test takes.
class Stream final : public SessionTransport {
 public:
  void Kick(uint64_t) override {}
  void Close(const absl::Status&) override {}
  void Probe(std::function<void()> done) override { done(); }
};

class SessionHandlesTest : public EngineTest {
 protected:
  SessionHandlesTest() {
    session_ =
        engine().sessions().Make("peer", "caller", absl::Seconds(10)).value();
    session_->Run(
        [this] { stream_ = session_->Attach(MakeRef<Stream>(), "peer", {}); });
  }
  void TearDown() override {
    session_->Run([this] { session_->End(absl::OkStatus()); });
    session_ = nullptr;
    clock().Advance(absl::Seconds(1));  // the table of sessions stops looking
    EngineTest::TearDown();
  }

  void Begin(uint64_t number, uint8_t method) {
    ASSERT_EQ(session_->Receive(number, method), Session::Received::kNew);
  }
  std::vector<SessionResult> TakeResults() {
    std::vector<SessionResult> all;
    for (;;) {
      SessionMessage message;
      if (!session_->Take(stream_, /*max_bytes=*/1 << 20, message)) return all;
      for (SessionResult& result : message.results) {
        all.push_back(std::move(result));
      }
    }
  }

  Ref<Session> session_;
  uint64_t stream_ = 0;
};

// The race of an open with a removal on another thread.
TEST_F(SessionHandlesTest, AHandleThatEndsWhileItIsOpenedSaysSoAfterTheOpen) {
  session_->Run([this] {
    Begin(1, kOpen);
    ASSERT_TRUE(session_->OpenReader(1, kOpen, "f", {}).ok());
    ASSERT_TRUE(engine().Remove("f", /*force=*/true).ok());
    session_->Answer(1, kOpen, {.status = absl::OkStatus(), .bytes = "open"});
  });
  const std::vector<SessionResult> results = TakeResults();
  ASSERT_EQ(results.size(), 2u);
  ASSERT_TRUE(results[0].answer);
  EXPECT_EQ(results[0].answer->bytes, "open");
  ASSERT_TRUE(results[1].ended);
  EXPECT_EQ(results[1].ended->ending(), Ending::kRemoved);
}

// The race of a handle's end, on its way, with the end of its session.
TEST_F(SessionHandlesTest, AHandlesEndKeepsItsSession) {
  session_->Run([this] {
    Begin(1, kOpen);
    ASSERT_TRUE(session_->OpenReader(1, kOpen, "f", {}).ok());
    session_->Answer(1, kOpen, {.status = absl::OkStatus(), .bytes = {}});
  });
  const Ref<Session> other =
      engine().sessions().Make("peer", "caller", absl::Seconds(10)).value();
  const DeliveryBatch later;
  ASSERT_TRUE(engine().Remove("f", /*force=*/true).ok());
  session_->Run([this] { session_->End(absl::OkStatus()); });
  session_ = other;
}

// Guards `closing` in FindReader(): whoever is found then is freed when the
// last sleeper ends, on whichever thread that is.
TEST_F(SessionHandlesTest, AHandleThatIsToBeClosedIsFoundByNobody) {
  const auto read = [&](uint64_t number, PipeReader* reader) {
    auto op =
        MakeRef<ReadOperation>(ReadSize(10), reader, session_->home(),
                               /*caller=*/nullptr, session_->caller_info());
    op->set_tag(Session::TagOf(number, kWrite));
    Begin(number, kWrite);
    ASSERT_EQ(engine().Read(*reader, op, {}), Started::kAsleep);
    session_->Sleep(op, /*handle=*/1);
  };
  session_->Run([&] {
    Begin(1, kOpen);
    ASSERT_TRUE(session_->OpenReader(1, kOpen, "f", {}).ok());
    session_->Answer(1, kOpen, {.status = absl::OkStatus(), .bytes = {}});
    read(2, session_->FindReader(1));
  });
  ASSERT_EQ(TakeResults().size(), 1u);
  session_->Run([&] {
    ASSERT_TRUE(session_->Returned(1).ok());
    EXPECT_EQ(session_->FindReader(1), nullptr);
    EXPECT_FALSE(session_->CloseHandle(1, false, /*when_idle=*/true).ok());
  });
  EXPECT_EQ(StatPipe("f").readers, 1u) << "an operation of it is asleep";
  WriteNow("f", "x");
  EXPECT_EQ(StatPipe("f").readers, 0u);
}

// Who writes without listening to signals runs on, and the file ends after him.
TEST_F(SessionHandlesTest, AHandleIsClosedWhenItsLastSleeperHasEnded) {
  for (const bool broken : {false, true}) {
    SCOPED_TRACE(broken);
    const std::string name = broken ? "broken" : "clean";
    MakePipe(name, 4);
    const uint64_t number = broken ? 11 : 1;
    if (broken) {
      for (uint64_t skipped = 3; skipped < 11; ++skipped) {
        session_->Run([&] {
          Begin(skipped, kWrite);
          session_->Answer(skipped, kWrite,
                           {.status = absl::OkStatus(), .bytes = {}});
        });
      }
    }
    session_->Run([&] {
      Begin(number, kOpen);
      ASSERT_TRUE(session_->OpenWriter(number, kOpen, name, {}).ok());
      session_->Answer(number, kOpen,
                       {.status = absl::OkStatus(), .bytes = {}});
      PipeWriter* const writer = session_->FindWriter(number);
      WriteNow(name, "full");
      auto op =
          MakeRef<WriteOperation>(absl::Cord("more"), writer, session_->home(),
                                  /*caller=*/nullptr, session_->caller_info());
      op->set_tag(Session::TagOf(number + 1, kWrite));
      Begin(number + 1, kWrite);
      ASSERT_EQ(engine().Write(*writer, op, In(kUninterruptible)),
                Started::kAsleep);
      session_->Sleep(op, number);
      EXPECT_FALSE(
          session_->CloseHandle(number, broken, /*when_idle=*/false).ok());
      EXPECT_TRUE(
          session_->CloseHandle(number, broken, /*when_idle=*/true).ok());
      EXPECT_EQ(session_->FindWriter(number), nullptr);
    });
    EXPECT_EQ(StatPipe(name).writers, 1u);
    EXPECT_EQ(ReadNow(name), "full");
    EXPECT_EQ(StatPipe(name).writers, 0u);
    EXPECT_EQ(ReadNow(name), "more");
    ReadCall& end = Read(name, 10);
    EXPECT_EQ(EndingOf(end), Ending::kEndOfFile);
    EXPECT_EQ(end->broken(), broken);
  }
}

TEST_F(SessionHandlesTest, AWriteThatHasEndedKeepsNoBytes) {
  MakePipe("f", 4);
  WriteNow("f", "full");
  auto op = MakeRef<WriteOperation>(absl::Cord("more"), /*writer=*/nullptr,
                                    session_->home(), /*caller=*/nullptr,
                                    session_->caller_info());
  session_->Run([&] {
    Begin(1, kWrite);
    SleepOptions options;
    options.nonblock = true;
    ASSERT_EQ(engine().Write("f", op, options, {}).value(), Started::kEnded);
    session_->Answer(1, kWrite, op);
  });
  EXPECT_EQ(op->ending(), Ending::kWouldBlock);
  EXPECT_EQ(op->accepted_bytes(), 0u);
  EXPECT_TRUE(op->TakeRest().empty());
}

}  // namespace
}  // namespace waitq::engine
