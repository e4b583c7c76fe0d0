#include "client/pipe_writer.h"

#include <memory>
#include <stop_token>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/synchronization/notification.h"
#include "client/client.h"
#include "client/error.h"
#include "gtest/gtest.h"
#include "tests/client/fake_server.h"
#include "transport/error_info.h"

namespace waitq {
namespace {

using grpc::ServerContext;
using grpc::Status;
using grpc::StatusCode;
using ServerStream =
    grpc::ServerReaderWriter<v1::WriteStreamResponse, v1::WriteStreamRequest>;

// Answers the first request.
void AcceptOpen(ServerStream& stream) {
  v1::WriteStreamRequest request;
  EXPECT_TRUE(stream.Read(&request));
  EXPECT_EQ(request.open().name(), "p");
  EXPECT_TRUE(stream.Write(v1::WriteStreamResponse()));
}

void SendLast(ServerStream& stream, uint64_t accepted_bytes,
              v1::Outcome outcome) {
  v1::WriteStreamResponse response;
  response.set_accepted_bytes(accepted_bytes);
  response.set_outcome(outcome);
  stream.Write(response);
}

class PipeWriterTest : public testing::Test {
 protected:
  std::unique_ptr<PipeWriter> Open(std::stop_token stop = {}) {
    client_ = Client::Create({.server = server_.address()}).value();
    return client_->OpenWriter("p", {}, stop).value();
  }

  // Handlers wait on these, so they must be there until the server is gone.
  absl::Notification asleep_;
  absl::Notification ended_;
  FakeServer server_;
  std::unique_ptr<Client> client_;
};

TEST_F(PipeWriterTest, EverythingArrivesInOrderAndIsCounted) {
  std::string got;
  server_.write_stream = [&](ServerContext*, ServerStream* stream) {
    AcceptOpen(*stream);
    v1::WriteStreamRequest request;
    while (stream->Read(&request)) {
      EXPECT_LE(request.data().size(), size_t{64} << 10);
      got += request.data();
    }
    SendLast(*stream, got.size(), v1::OUTCOME_DONE);
    return Status::OK;
  };
  std::string data;
  for (int i = 0; i < 100'000; ++i) data += std::to_string(i);
  const auto writer = Open();
  EXPECT_EQ(writer->Write(data).value(), Outcome::kDone);
  EXPECT_EQ(writer->Write("end").value(), Outcome::kDone);
  EXPECT_EQ(writer->Close().value(), Outcome::kDone);
  EXPECT_EQ(writer->Close().value(), Outcome::kDone);
  EXPECT_EQ(writer->accepted_bytes(), data.size() + 3);
  EXPECT_EQ(got, data + "end");
}

TEST_F(PipeWriterTest, AnEmptyFileIsAFile) {
  server_.write_stream = [](ServerContext*, ServerStream* stream) {
    AcceptOpen(*stream);
    v1::WriteStreamRequest request;
    EXPECT_FALSE(stream->Read(&request));
    SendLast(*stream, 0, v1::OUTCOME_DONE);
    return Status::OK;
  };
  EXPECT_EQ(Open()->Close().value(), Outcome::kDone);
}

TEST_F(PipeWriterTest, ABigWriteNoticesThatTheLastReaderHasLeft) {
  server_.write_stream = [](ServerContext*, ServerStream* stream) {
    AcceptOpen(*stream);
    v1::WriteStreamRequest request;
    EXPECT_TRUE(stream->Read(&request));
    v1::WriteStreamResponse response;
    response.set_accepted_bytes(10);
    stream->Write(response);
    // The rest is held up by flow control.
    return MakeStatus(StatusCode::FAILED_PRECONDITION, "EPIPE", "no readers");
  };
  const auto writer = Open();
  const absl::Status status =
      writer->Write(std::string(64 << 20, 'x')).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ErrorReason(status), "EPIPE");
  EXPECT_EQ(writer->accepted_bytes(), 10u);
  // It stays so.
  EXPECT_EQ(ErrorReason(writer->Write("x").status()), "EPIPE");
  EXPECT_EQ(ErrorReason(writer->Close().status()), "EPIPE");
}

TEST_F(PipeWriterTest, ABigWriteNoticesThatItTimedOut) {
  server_.write_stream = [](ServerContext*, ServerStream* stream) {
    AcceptOpen(*stream);
    SendLast(*stream, 7, v1::OUTCOME_TIMED_OUT);
    return Status::OK;
  };
  const auto writer = Open();
  EXPECT_EQ(writer->Write(std::string(64 << 20, 'x')).value(),
            Outcome::kTimedOut);
  EXPECT_EQ(writer->Close().value(), Outcome::kTimedOut);
  EXPECT_EQ(writer->accepted_bytes(), 7u);
}

TEST_F(PipeWriterTest, ProgressThatFillsTheWindowDoesNotStopTheEnd) {
  // Far more responses than the window of the stream holds, so that the status
  // comes only if they are read, while the writer is held up.
  constexpr int kResponses = 20'000;
  server_.write_stream = [](ServerContext*, ServerStream* stream) {
    AcceptOpen(*stream);
    v1::WriteStreamResponse response;
    for (int i = 1; i <= kResponses; ++i) {
      response.set_accepted_bytes(i);
      EXPECT_TRUE(stream->Write(response));
    }
    return MakeStatus(StatusCode::ABORTED, "EIDRM", "removed");
  };
  const auto writer = Open();
  const absl::Status status =
      writer->Write(std::string(64 << 20, 'x')).status();
  EXPECT_EQ(ErrorReason(status), "EIDRM") << status;
  EXPECT_EQ(writer->accepted_bytes(), uint64_t{kResponses});
}

TEST_F(PipeWriterTest, AStopEndsAWriteThatIsHeldUp) {
  server_.write_stream = [&](ServerContext*, ServerStream* stream) {
    AcceptOpen(*stream);
    asleep_.Notify();
    ended_.WaitForNotification();
    return Status::OK;
  };
  std::stop_source stop;
  const auto writer = Open(stop.get_token());
  std::jthread stopper([&] {
    asleep_.WaitForNotification();
    stop.request_stop();
  });
  EXPECT_EQ(writer->Write(std::string(64 << 20, 'x')).status().code(),
            absl::StatusCode::kCancelled);
  ended_.Notify();
}

TEST_F(PipeWriterTest, WithoutACloseTheServerSeesThatItWasCutOff) {
  absl::Notification gone;
  bool cancelled = false;
  server_.write_stream = [&](ServerContext* context, ServerStream* stream) {
    AcceptOpen(*stream);
    v1::WriteStreamRequest request;
    while (stream->Read(&request)) {
    }
    cancelled = context->IsCancelled();
    gone.Notify();
    return Status::OK;
  };
  {
    const auto writer = Open();
    EXPECT_EQ(writer->Write("x").value(), Outcome::kDone);
  }
  gone.WaitForNotification();
  EXPECT_TRUE(cancelled);
}

TEST_F(PipeWriterTest, ADoneBeforeTheCloseIsNoSuccess) {
  server_.write_stream = [](ServerContext*, ServerStream* stream) {
    AcceptOpen(*stream);
    SendLast(*stream, 0, v1::OUTCOME_DONE);
    return Status::OK;
  };
  const auto writer = Open();
  EXPECT_EQ(writer->Write(std::string(64 << 20, 'x')).status().code(),
            absl::StatusCode::kInternal);
}

TEST_F(PipeWriterTest, ARefusedOpenIsTheResultOfOpening) {
  server_.write_stream = [](ServerContext*, ServerStream* stream) {
    v1::WriteStreamRequest request;
    EXPECT_TRUE(stream->Read(&request));
    return MakeStatus(StatusCode::FAILED_PRECONDITION, "ENXIO", "no pipe");
  };
  client_ = Client::Create({.server = server_.address()}).value();
  EXPECT_EQ(ErrorReason(client_->OpenWriter("p").status()), "ENXIO");
}

}  // namespace
}  // namespace waitq
