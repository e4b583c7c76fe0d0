#include "client/pipe_reader.h"

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/fake_link.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq {
namespace {

using test::Failure;
using test::OpenAt;
using test::ReadEnd;
using test::ReadOf;
using test::ResultFromText;
using test::Says;
using test::StreamError;

// The pipe's contents begin here in these tests.
constexpr uint64_t kStart = 1000;

// The open is the session's first operation; what comes after it the test
// answers.
class PipeReaderTest : public testing::Test {
 protected:
  PipeReaderTest() {
    server_.set_script(
        [this](const v1::Operation& operation) -> std::optional<v1::Result> {
          if (operation.has_open()) return OpenAt(kStart, mode_);
          if (operation.has_close()) return ResultFromText("close {}");
          return std::nullopt;
        });
  }

  std::unique_ptr<PipeReader> Open(const OpenReaderOptions& options = {},
                                   std::stop_token stop = {}) {
    if (client_ == nullptr) client_ = server_.NewClient();
    return client_->OpenReader("p", options, std::move(stop)).value();
  }

  // Answers that operation, when it has come; returns the result's number.
  uint64_t Answer(uint64_t operation, const v1::Result& result) {
    server_.AwaitOperation(operation);
    return server_.Answer(operation, result);
  }

  v1::PipeMode mode_ = v1::PIPE_MODE_STREAM;
  test::FakeServer server_;
  std::unique_ptr<Client> client_;
};

TEST_F(PipeReaderTest, DataComesInOrderAndThenTheEndForEver) {
  const auto reader = Open();
  Answer(2, ReadOf("abc", kStart));
  const PipeChunk first = reader->Read().value();
  EXPECT_EQ(first.data, "abc");
  EXPECT_EQ(first.offset, kStart);
  EXPECT_EQ(first.incarnation, 5u);
  EXPECT_EQ(first.end, std::nullopt);
  v1::Result second = ReadOf("de", kStart + 3);
  second.mutable_read()->set_slept(true);
  Answer(3, second);
  EXPECT_EQ(reader->Read()->data, "de");
  EXPECT_EQ(reader->sleeps(), 1u);
  Answer(4, ReadEnd(v1::OUTCOME_END_OF_FILE));
  for (int i = 0; i < 2; ++i) {
    const PipeChunk end = reader->Read().value();
    EXPECT_EQ(end.data, "");
    EXPECT_EQ(end.offset, kStart + 5);
    EXPECT_EQ(end.incarnation, 5u);
    EXPECT_EQ(end.end, Outcome::kEndOfFile);
    EXPECT_FALSE(end.broken);
  }
  EXPECT_THAT(server_.AwaitOperation(5),
              Says("close { handle: 1 when_idle: true }"));
}

TEST_F(PipeReaderTest, TheNextReadIsUnderWayWhileTheProgramUsesWhatItHas) {
  const auto reader = Open();
  const v1::Operation ahead = server_.AwaitOperation(2);
  EXPECT_THAT(ahead, Says("handle: 1 read { max_bytes: 131072 }"));
  Answer(2, ReadOf("abc", kStart));
  EXPECT_EQ(reader->Read()->data, "abc");
  EXPECT_THAT(server_.AwaitOperation(3), Says(ahead.ShortDebugString()));
}

TEST_F(PipeReaderTest, ABrokenEndIsNoCleanOne) {
  const auto reader = Open();
  Answer(2, ReadEnd(v1::OUTCOME_END_OF_FILE, /*broken=*/true));
  EXPECT_TRUE(reader->Read()->broken);
}

TEST_F(PipeReaderTest, TheOtherEndsAreTold) {
  for (const auto& [outcome, end] :
       {std::pair(v1::OUTCOME_TIMED_OUT, Outcome::kTimedOut),
        std::pair(v1::OUTCOME_WOULD_BLOCK, Outcome::kWouldBlock)}) {
    server_.Settle();  // the reader before has closed
    const uint64_t next = server_.operations() + 2;
    const auto reader = Open();
    Answer(next, ReadEnd(outcome));
    EXPECT_EQ(reader->Read()->end, end);
    EXPECT_EQ(reader->Read()->end, end);
  }
}

TEST_F(PipeReaderTest, AnErrorComesAfterTheDataBeforeItAndStays) {
  const auto reader = Open();
  Answer(2, ReadOf("abc", kStart));
  Answer(1, Failure(absl::StatusCode::kAborted, "EIDRM"));  // of the handle
  EXPECT_EQ(reader->Read()->data, "abc");
  Answer(3, Failure(absl::StatusCode::kAborted, "EIDRM"));
  for (int i = 0; i < 2; ++i) {
    const absl::Status status = reader->Read().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
    EXPECT_EQ(ErrorReason(status), "EIDRM");
    EXPECT_EQ(ErrorObject(status), "p");
  }
  EXPECT_THAT(server_.AwaitOperation(4),
              Says("close { handle: 1 when_idle: true }"));
}

TEST_F(PipeReaderTest, AnOutcomeOfANewerServerIsAnErrorAndTakesNothing) {
  const auto reader = Open();
  const uint64_t result = Answer(2, ReadEnd(static_cast<v1::Outcome>(99)));
  EXPECT_EQ(reader->Read().status().code(), absl::StatusCode::kInternal);
  server_.AwaitReturned(result);
}

TEST_F(PipeReaderTest, OptionsArriveAsTheyAre) {
  const auto reader = Open({.pipe = PipeOptions{.capacity_bytes = 7},
                            .max_bytes = 100,
                            .timeout = absl::Seconds(3),
                            .sleep = Sleep::kKillable});
  EXPECT_THAT(server_.AwaitOperation(1),
              Says("open { name: 'p' options { capacity_bytes: 7 } }"));
  EXPECT_THAT(server_.AwaitOperation(2), Says(R"(handle: 1 read {
      max_bytes: 100 timeout { seconds: 3 } sleep: SLEEP_KILLABLE })"));
  Answer(2, ReadEnd(v1::OUTCOME_TIMED_OUT));
  EXPECT_EQ(reader->Read()->end, Outcome::kTimedOut);
}

TEST_F(PipeReaderTest, WhereAReadMustNotSleepNothingIsReadAhead) {
  // It would be told that nothing is there while what came before is held.
  for (const OpenReaderOptions& options :
       {OpenReaderOptions{.nonblock = true},
        OpenReaderOptions{.timeout = absl::ZeroDuration()}}) {
    server_.Settle();  // the reader before has closed
    const uint64_t read = server_.operations() + 2;
    const auto reader = Open(options);
    server_.Settle();
    EXPECT_EQ(server_.operations(), read - 1);
    std::jthread answerer([&] { Answer(read, ReadOf("abc", kStart)); });
    EXPECT_EQ(reader->Read()->data, "abc");
    const v1::ReadRequest request = server_.AwaitOperation(read).read();
    EXPECT_EQ(request.nonblock(), options.nonblock);
    EXPECT_EQ(request.has_timeout(), options.timeout.has_value());
    server_.Settle();
    EXPECT_EQ(server_.operations(), read);
  }
}

TEST_F(PipeReaderTest, WhatWasReadAheadOfADrainIsAskedForOnceMore) {
  const auto reader = Open();
  Answer(2, ReadOf("abc", kStart));
  EXPECT_EQ(reader->Read()->data, "abc");
  // Refused while "abc" was held; now the end of the file is there.
  Answer(3, Failure(absl::StatusCode::kUnavailable, "ESHUTDOWN"));
  std::jthread answerer([&] { Answer(4, ReadEnd(v1::OUTCOME_END_OF_FILE)); });
  EXPECT_EQ(reader->Read()->end, Outcome::kEndOfFile);
}

TEST_F(PipeReaderTest, MoreThanMaxBytesIsNeverAskedFor) {
  const auto reader = Open({.max_bytes = 5});
  EXPECT_EQ(server_.AwaitOperation(2).read().max_bytes(), 5u);
  Answer(2, ReadOf("abc", kStart));
  EXPECT_EQ(reader->Read()->data, "abc");
  EXPECT_EQ(server_.AwaitOperation(3).read().max_bytes(), 2u);
  Answer(3, ReadOf("de", kStart + 3));
  EXPECT_EQ(reader->Read()->data, "de");
  for (int i = 0; i < 2; ++i) {
    const PipeChunk end = reader->Read().value();
    EXPECT_EQ(end.end, Outcome::kDone);
    EXPECT_EQ(end.offset, kStart + 5);
  }
  EXPECT_THAT(server_.AwaitOperation(4),
              Says("close { handle: 1 when_idle: true }"));
}

TEST_F(PipeReaderTest, AMaxOf0ReadsNothing) {
  const auto reader = Open({.max_bytes = 0});
  EXPECT_EQ(reader->Read()->end, Outcome::kDone);
  EXPECT_THAT(server_.AwaitOperation(2),
              Says("close { handle: 1 when_idle: true }"));
}

TEST_F(PipeReaderTest, WithAWindowNothingIsReadAhead) {
  const auto reader = Open({.window_bytes = 9});
  server_.Settle();
  EXPECT_EQ(server_.operations(), 1u);
  std::jthread answerer([&] { Answer(2, ReadOf("abc", kStart)); });
  EXPECT_EQ(reader->Read()->data, "abc");
  EXPECT_EQ(server_.AwaitOperation(2).read().max_bytes(), 9u);
  server_.Settle();
  EXPECT_EQ(server_.operations(), 2u);
}

TEST_F(PipeReaderTest, AWindowOf0IsRefused) {
  client_ = server_.NewClient();
  const absl::Status status =
      client_->OpenReader("p", {.window_bytes = 0}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ErrorReason(status), "EINVAL");
  EXPECT_EQ(ErrorObject(status), "p");
}

TEST_F(PipeReaderTest, OfPacketsAsMuchIsAskedForAsTheLongestMayHave) {
  mode_ = v1::PIPE_MODE_PACKET;
  const auto reader = Open();
  EXPECT_EQ(server_.AwaitOperation(2).read().max_bytes(), (4u << 20) - 1024);
  // A window bounds what is on its way by one packet at least.
  const auto careful = Open({.window_bytes = 9});
  std::jthread answerer([&] { Answer(4, ReadOf("abc", kStart)); });
  EXPECT_EQ(careful->Read()->data, "abc");
  EXPECT_EQ(server_.AwaitOperation(4).read().max_bytes(), (4u << 20) - 1024);
}

TEST_F(PipeReaderTest, AskingForMoreSaysThatWhatCameBeforeIsUsed) {
  const auto reader = Open();
  const uint64_t first = Answer(2, ReadOf("abc", kStart));
  EXPECT_EQ(reader->Read()->data, "abc");
  const uint64_t second = Answer(3, ReadOf("de", kStart + 3));
  server_.Advance(absl::Seconds(1));
  EXPECT_FALSE(server_.IsTaken(first)) << "the program still uses it";
  EXPECT_EQ(reader->Read()->data, "de");
  server_.AwaitTaken(first);
  server_.Advance(absl::Seconds(1));
  EXPECT_FALSE(server_.IsTaken(second));
}

TEST_F(PipeReaderTest, AReaderThatGoesHasUsedWhatItHasAndGivesBackTheRest) {
  auto reader = Open();
  const uint64_t used = Answer(2, ReadOf("abc", kStart));
  EXPECT_EQ(reader->Read()->data, "abc");
  const uint64_t ahead = Answer(3, ReadOf("de", kStart + 3));
  server_.Settle();
  reader = nullptr;
  server_.AwaitTaken(used);
  server_.AwaitReturned(ahead);
  EXPECT_FALSE(server_.IsTaken(ahead));
  EXPECT_THAT(server_.AwaitOperation(4),
              Says("close { handle: 1 when_idle: true }"));
}

TEST_F(PipeReaderTest, AReaderThatGoesCancelsWhatItReadsAhead) {
  auto reader = Open();
  server_.AwaitOperation(2);
  server_.Settle();
  reader = nullptr;  // does not wait for its answer
  server_.AwaitCancel(2);
  EXPECT_THAT(server_.AwaitOperation(3),
              Says("close { handle: 1 when_idle: true }"));
  // What it brings all the same is given back.
  server_.AwaitReturned(Answer(2, ReadOf("abc", kStart)));
}

TEST_F(PipeReaderTest, AStopEndsAReadThatSleeps) {
  std::stop_source stop;
  const auto reader = Open({}, stop.get_token());
  std::jthread stopper([&] {
    server_.AwaitOperation(2);
    server_.Settle();
    stop.request_stop();
    server_.AwaitCancel(2);
    server_.Answer(2, Failure(absl::StatusCode::kCancelled, "ECANCELED"));
  });
  for (int i = 0; i < 2; ++i) {
    const absl::Status status = reader->Read().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
    EXPECT_EQ(ErrorReason(status), "ECANCELED");
  }
}

TEST_F(PipeReaderTest, ARefusedOpenIsTheResultOfOpening) {
  server_.set_script([](const v1::Operation&) {
    return Failure(absl::StatusCode::kFailedPrecondition, "ENXIO");
  });
  client_ = server_.NewClient();
  EXPECT_EQ(ErrorReason(client_->OpenReader("p").status()), "ENXIO");
}

TEST_F(PipeReaderTest, ItEndsWithItsSessionAndAnotherMayBeOpened) {
  const auto reader = Open();
  server_.AwaitOperation(2);
  server_.Settle();
  server_.Close(StreamError(absl::StatusCode::kAborted, "EOWNERDEAD"));
  for (int i = 0; i < 2; ++i) {
    const absl::Status status = reader->Read().status();
    EXPECT_EQ(ErrorReason(status), "EOWNERDEAD");
    EXPECT_EQ(ErrorObject(status), "p");
    EXPECT_TRUE(OutcomeUnknown(status));
  }
  // The next session knows nothing of the old one's handle.
  const auto another = Open();
  Answer(2, ReadOf("abc", kStart));
  EXPECT_EQ(another->Read()->data, "abc");
  for (uint64_t i = 1; i <= server_.operations(); ++i) {
    EXPECT_FALSE(server_.AwaitOperation(i).has_close());
  }
}

TEST_F(PipeReaderTest, ACallbackMustNotReadButMayDestroyTheReader) {
  auto reader = Open();
  absl::Notification told;
  server_.AwaitOperation(2);
  client_->WakeUp("o", {}, [&](const auto&) {
    EXPECT_EQ(ErrorReason(reader->Read().status()), "EDEADLK");
    reader = nullptr;
    told.Notify();
  });
  Answer(3, ResultFromText("wake_up {}"));
  told.WaitForNotification();
  server_.AwaitCancel(2);
}

}  // namespace
}  // namespace waitq
