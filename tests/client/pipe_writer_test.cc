#include "client/pipe_writer.h"

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
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
using test::ResultFromText;
using test::Says;
using test::StreamError;
using test::WriteOf;

constexpr size_t kPiece = 128 << 10;

// The open is the session's first operation. Writes are accepted whole, unless
// the test answers them.
class PipeWriterTest : public testing::Test {
 protected:
  PipeWriterTest() {
    server_.set_script(
        [this](const v1::Operation& operation) -> std::optional<v1::Result> {
          if (operation.has_open()) return OpenAt(10, mode_);
          if (operation.has_close()) return ResultFromText("close {}");
          if (!operation.has_write() || !accept_) return std::nullopt;
          got_ += operation.write().data();
          v1::Result result = WriteOf(operation.write().data().size());
          result.mutable_write()->set_offset(10 + got_.size());
          return result;
        });
  }

  std::unique_ptr<PipeWriter> Open(const OpenWriterOptions& options = {},
                                   std::stop_token stop = {}) {
    if (client_ == nullptr) client_ = server_.NewClient();
    return client_->OpenWriter("p", options, std::move(stop)).value();
  }

  // What the writer says when its first write, of `bytes`, ends so.
  absl::StatusOr<Outcome> EndsWith(PipeWriter& writer, const v1::Result& result,
                                   const std::string& bytes = "abc") {
    EXPECT_EQ(writer.Write(bytes).value(), Outcome::kDone);
    server_.AwaitOperation(2);
    server_.Answer(2, result);
    return writer.Write("more");
  }

  v1::PipeMode mode_ = v1::PIPE_MODE_STREAM;
  bool accept_ = true;
  std::string got_;
  test::FakeServer server_;
  std::unique_ptr<Client> client_;
};

TEST_F(PipeWriterTest, EverythingArrivesInOrderAndIsCounted) {
  std::string data;
  for (int i = 0; i < 100'000; ++i) data += std::to_string(i);
  const auto writer = Open();
  EXPECT_EQ(writer->offset(), 10u);
  EXPECT_EQ(writer->incarnation(), 5u);
  EXPECT_EQ(writer->Write(data).value(), Outcome::kDone);
  EXPECT_EQ(writer->Write("end").value(), Outcome::kDone);
  EXPECT_EQ(writer->Close().value(), Outcome::kDone);
  EXPECT_EQ(writer->Close().value(), Outcome::kDone);
  EXPECT_EQ(writer->accepted_bytes(), data.size() + 3);
  EXPECT_EQ(writer->offset(), 10 + data.size() + 3);
  EXPECT_EQ(got_, data + "end");
  const uint64_t pieces = (data.size() + kPiece - 1) / kPiece;
  for (uint64_t i = 2; i <= pieces; ++i) {
    EXPECT_EQ(server_.AwaitOperation(i).write().data().size(), kPiece);
  }
  EXPECT_EQ(server_.operations(), 1 + pieces + 1 + 1);
  EXPECT_THAT(server_.AwaitOperation(server_.operations()),
              Says("close { handle: 1 }"));
}

TEST_F(PipeWriterTest, OneWriteIsUnderWayAtATime) {
  accept_ = false;
  const auto writer = Open();
  std::jthread program([&] {
    EXPECT_EQ(writer->Write(std::string(2 * kPiece, 'x')).value(),
              Outcome::kDone);
  });
  server_.AwaitOperation(2);
  server_.Settle();
  EXPECT_EQ(server_.operations(), 2u);
  server_.Answer(2, WriteOf(kPiece));
  program.join();  // what is on its way may stay there
  server_.AwaitOperation(3);
  EXPECT_EQ(writer->accepted_bytes(), kPiece);
  server_.Answer(3, WriteOf(kPiece));
  EXPECT_EQ(writer->Close().value(), Outcome::kDone);
  EXPECT_EQ(writer->accepted_bytes(), 2 * kPiece);
}

TEST_F(PipeWriterTest, AnEmptyFileIsAFile) {
  const auto writer = Open();
  EXPECT_EQ(writer->Write("").value(), Outcome::kDone);
  EXPECT_EQ(writer->Close().value(), Outcome::kDone);
  EXPECT_THAT(server_.AwaitOperation(2), Says("close { handle: 1 }"));
}

TEST_F(PipeWriterTest, OptionsArriveAsTheyAre) {
  const auto writer = Open({.pipe = PipeOptions{.capacity_bytes = 7},
                            .timeout = absl::Seconds(3),
                            .nonblock = true,
                            .sleep = Sleep::kUninterruptible});
  EXPECT_THAT(
      server_.AwaitOperation(1),
      Says("open { name: 'p' write: true options { capacity_bytes: 7 } }"));
  EXPECT_EQ(writer->Write("abc").value(), Outcome::kDone);
  EXPECT_THAT(server_.AwaitOperation(2), Says(R"(handle: 1 write {
      data: 'abc' timeout { seconds: 3 } nonblock: true
      sleep: SLEEP_UNINTERRUPTIBLE })"));
}

TEST_F(PipeWriterTest, AnEndIsToldByEveryLaterCallAndBreaksTheFile) {
  accept_ = false;
  const auto writer = Open();
  v1::Result result = ResultFromText("write { outcome: OUTCOME_TIMED_OUT }");
  EXPECT_EQ(EndsWith(*writer, result).value(), Outcome::kTimedOut);
  EXPECT_EQ(writer->Write("x").value(), Outcome::kTimedOut);
  EXPECT_EQ(writer->Write("").value(), Outcome::kTimedOut);
  EXPECT_EQ(writer->Close().value(), Outcome::kTimedOut);
  EXPECT_EQ(writer->accepted_bytes(), 0u);
  EXPECT_THAT(server_.AwaitOperation(3),
              Says("close { handle: 1 broken: true when_idle: true }"));
  EXPECT_EQ(server_.operations(), 3u);
}

TEST_F(PipeWriterTest, AnOutcomeThatCutsAWriteShortEndsTheStream) {
  accept_ = false;
  const auto writer = Open();
  EXPECT_EQ(EndsWith(*writer, ResultFromText(R"(write {
                outcome: OUTCOME_DONE accepted_bytes: 2 offset: 12 slept: true
                ended_by: OUTCOME_WOULD_BLOCK })"))
                .value(),
            Outcome::kWouldBlock);
  EXPECT_EQ(writer->accepted_bytes(), 2u);
  EXPECT_EQ(writer->offset(), 12u);
  EXPECT_EQ(writer->sleeps(), 1u);
}

TEST_F(PipeWriterTest, AnErrorThatCutsAWriteShortIsTheStreams) {
  accept_ = false;
  const auto writer = Open();
  const absl::Status status = EndsWith(*writer, ResultFromText(R"(write {
          outcome: OUTCOME_DONE accepted_bytes: 2 offset: 12
          ended_by_error: 'EINTR' ended_by_signal: 15 })"))
                                  .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(ErrorReason(status), "EINTR");
  EXPECT_EQ(ErrorSignal(status), 15);
  EXPECT_EQ(ErrorObject(status), "p");
  EXPECT_EQ(ErrorAcceptedBytes(status), 2u);
  EXPECT_EQ(writer->accepted_bytes(), 2u);
  EXPECT_EQ(ErrorReason(writer->Close().status()), "EINTR");
}

TEST_F(PipeWriterTest, EachErrorHasTheCodeThatItHasByItself) {
  for (const auto& [reason, code] :
       {std::pair("EPIPE", absl::StatusCode::kFailedPrecondition),
        std::pair("EIDRM", absl::StatusCode::kAborted),
        std::pair("EINTR", absl::StatusCode::kAborted),
        std::pair("ESHUTDOWN", absl::StatusCode::kUnavailable),
        std::pair("ENOSPC", absl::StatusCode::kResourceExhausted),
        std::pair("ECANCELED", absl::StatusCode::kCancelled),
        std::pair("EBADMSG", absl::StatusCode::kUnknown)}) {
    accept_ = false;
    const auto writer = Open();
    const uint64_t open = server_.operations();
    EXPECT_EQ(writer->Write("abc").value(), Outcome::kDone);
    server_.AwaitOperation(open + 1);
    server_.Answer(open + 1,
                   ResultFromText(absl::StrCat(
                       "write { outcome: OUTCOME_DONE accepted_bytes: 1 "
                       "ended_by_error: '",
                       reason, "' }")));
    const absl::Status status = writer->Close().status();
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_EQ(ErrorReason(status), reason);
    EXPECT_EQ(ErrorSignal(status), std::nullopt);
  }
}

TEST_F(PipeWriterTest, ABigWriteNoticesThatTheLastReaderHasLeft) {
  accept_ = false;
  const auto writer = Open();
  std::jthread answerer([&] {
    server_.AwaitOperation(2);
    server_.Answer(2, WriteOf(kPiece));
    server_.AwaitOperation(3);
    server_.Answer(3, Failure(absl::StatusCode::kFailedPrecondition, "EPIPE"));
  });
  const absl::Status status =
      writer->Write(std::string(64 << 20, 'x')).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ErrorReason(status), "EPIPE");
  EXPECT_EQ(ErrorAcceptedBytes(status), kPiece);
  EXPECT_EQ(writer->accepted_bytes(), kPiece);
  EXPECT_EQ(ErrorReason(writer->Write("x").status()), "EPIPE");
  EXPECT_EQ(ErrorReason(writer->Close().status()), "EPIPE");
  server_.Settle();
  EXPECT_EQ(server_.operations(), 4u) << "two writes and a close";
}

TEST_F(PipeWriterTest, WhatAPipeDidNotTakeIsWrittenAgain) {
  // As a ring does where it ends: done, but not all of it.
  accept_ = false;
  const auto writer = Open();
  EXPECT_EQ(writer->Write("abcde").value(), Outcome::kDone);
  std::jthread answerer([&] {
    server_.AwaitOperation(2);
    server_.Answer(2, WriteOf(2));
    EXPECT_EQ(server_.AwaitOperation(3).write().data(), "cde");
    server_.Answer(3, WriteOf(3));
    EXPECT_EQ(server_.AwaitOperation(4).write().data(), "fg");
    server_.Answer(4, WriteOf(2));
  });
  EXPECT_EQ(writer->Write("fg").value(), Outcome::kDone);
  EXPECT_EQ(writer->Close().value(), Outcome::kDone);
  EXPECT_EQ(writer->accepted_bytes(), 7u);
}

TEST_F(PipeWriterTest, AWriteThatWasDoneWithoutAByteIsNoSuccess) {
  accept_ = false;
  const auto writer = Open();
  EXPECT_EQ(EndsWith(*writer, WriteOf(0)).status().code(),
            absl::StatusCode::kInternal);
}

TEST_F(PipeWriterTest, APacketIsOneWriteHoweverLong) {
  mode_ = v1::PIPE_MODE_PACKET;
  const auto writer = Open();
  const std::string packet(3 * kPiece, 'x');
  EXPECT_EQ(writer->Write(packet).value(), Outcome::kDone);
  EXPECT_EQ(writer->Write("abc").value(), Outcome::kDone);
  EXPECT_EQ(server_.AwaitOperation(2).write().data(), packet);
  EXPECT_EQ(server_.AwaitOperation(3).write().data(), "abc");
  // One that no message can carry is not sent, and has changed nothing.
  const absl::Status status = writer->Write(std::string(4 << 20, 'x')).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ErrorReason(status), "EMSGSIZE");
  EXPECT_EQ(writer->Close().value(), Outcome::kDone);
  EXPECT_EQ(server_.operations(), 4u);
}

TEST_F(PipeWriterTest, AStopEndsAWriteThatSleeps) {
  accept_ = false;
  std::stop_source stop;
  const auto writer = Open({}, stop.get_token());
  std::jthread stopper([&] {
    server_.AwaitOperation(2);
    server_.Settle();
    stop.request_stop();
    server_.AwaitCancel(2);
    server_.Answer(2, Failure(absl::StatusCode::kCancelled, "ECANCELED"));
  });
  EXPECT_EQ(writer->Write(std::string(64 << 20, 'x')).status().code(),
            absl::StatusCode::kCancelled);
  EXPECT_EQ(ErrorReason(writer->Close().status()), "ECANCELED");
}

TEST_F(PipeWriterTest, AStopBetweenWritesEndsTheNext) {
  std::stop_source stop;
  const auto writer = Open({}, stop.get_token());
  EXPECT_EQ(writer->Write("abc").value(), Outcome::kDone);
  server_.AwaitOperation(2);
  server_.Settle();
  stop.request_stop();
  const absl::Status status = writer->Write("def").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(ErrorAcceptedBytes(status), 3u);
}

TEST_F(PipeWriterTest, WithoutACloseTheFileIsBroken) {
  auto writer = Open();
  EXPECT_EQ(writer->Write("x").value(), Outcome::kDone);
  writer = nullptr;
  EXPECT_THAT(server_.AwaitOperation(3),
              Says("close { handle: 1 broken: true when_idle: true }"));
}

TEST_F(PipeWriterTest, AWriterThatGoesCancelsWhatIsUnderWay) {
  accept_ = false;
  auto writer = Open();
  EXPECT_EQ(writer->Write("x").value(), Outcome::kDone);
  server_.AwaitOperation(2);
  server_.Settle();
  writer = nullptr;  // does not wait for its answer
  server_.AwaitCancel(2);
  EXPECT_THAT(server_.AwaitOperation(3),
              Says("close { handle: 1 broken: true when_idle: true }"));
}

TEST_F(PipeWriterTest, AClosedWriterClosesOnce) {
  auto writer = Open();
  EXPECT_EQ(writer->Close().value(), Outcome::kDone);
  writer = nullptr;
  server_.Advance(absl::Seconds(1));
  EXPECT_EQ(server_.operations(), 2u);
}

TEST_F(PipeWriterTest, ARefusedOpenIsTheResultOfOpening) {
  server_.set_script([](const v1::Operation&) {
    return Failure(absl::StatusCode::kFailedPrecondition, "ENXIO");
  });
  client_ = server_.NewClient();
  EXPECT_EQ(ErrorReason(client_->OpenWriter("p").status()), "ENXIO");
}

TEST_F(PipeWriterTest, ItEndsWithItsSession) {
  accept_ = false;
  const auto writer = Open();
  EXPECT_EQ(writer->Write("abc").value(), Outcome::kDone);
  server_.AwaitOperation(2);
  server_.Settle();
  server_.Close(StreamError(absl::StatusCode::kAborted, "EOWNERDEAD"));
  for (int i = 0; i < 2; ++i) {
    const absl::Status status = writer->Close().status();
    EXPECT_EQ(ErrorReason(status), "EOWNERDEAD");
    EXPECT_EQ(ErrorObject(status), "p");
    EXPECT_TRUE(OutcomeUnknown(status));
  }
}

TEST_F(PipeWriterTest, ACallbackMustNotWriteButMayDestroyTheWriter) {
  accept_ = false;
  auto writer = Open();
  EXPECT_EQ(writer->Write("abc").value(), Outcome::kDone);
  absl::Notification told;
  client_->WakeUp("o", {}, [&](const auto&) {
    EXPECT_EQ(ErrorReason(writer->Write("x").status()), "EDEADLK");
    EXPECT_EQ(ErrorReason(writer->Close().status()), "EDEADLK");
    writer = nullptr;
    told.Notify();
  });
  server_.AwaitOperation(3);
  server_.Answer(3, ResultFromText("wake_up {}"));
  told.WaitForNotification();
  server_.AwaitCancel(2);
}

}  // namespace
}  // namespace waitq
