#include "client/pipe_reader.h"

#include <algorithm>
#include <memory>
#include <optional>
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
    grpc::ServerReaderWriter<v1::ReadStreamResponse, v1::ReadStreamRequest>;

// The pipe's contents begin here in these tests.
constexpr uint64_t kStart = 1000;

v1::ReadStreamRequest::Open AcceptOpen(ServerStream& stream) {
  v1::ReadStreamRequest request;
  EXPECT_TRUE(stream.Read(&request));
  EXPECT_EQ(request.open().name(), "p");
  v1::ReadStreamResponse response;
  response.set_offset(kStart);
  response.set_incarnation(5);
  EXPECT_TRUE(stream.Write(response));
  return request.open();
}

void Send(ServerStream& stream, uint64_t offset, const std::string& data) {
  v1::ReadStreamResponse response;
  response.set_offset(offset);
  response.set_incarnation(5);
  response.set_data(data);
  stream.Write(response);
}

void SendLast(ServerStream& stream, uint64_t offset, v1::Outcome outcome,
              bool broken = false) {
  v1::ReadStreamResponse response;
  response.set_offset(offset);
  response.set_incarnation(5);
  response.set_outcome(outcome);
  response.set_broken(broken);
  stream.Write(response);
}

class PipeReaderTest : public testing::Test {
 protected:
  std::unique_ptr<PipeReader> Open(const OpenReaderOptions& options = {},
                                   std::stop_token stop = {}) {
    client_ = Client::Create({.server = server_.address()}).value();
    return client_->OpenReader("p", options, stop).value();
  }

  // Handlers wait on these, so they must be there until the server is gone.
  absl::Notification asleep_;
  absl::Notification ended_;
  FakeServer server_;
  std::unique_ptr<Client> client_;
};

TEST_F(PipeReaderTest, DataComesInOrderAndThenTheEndForEver) {
  server_.read_stream = [](ServerContext*, ServerStream* stream) {
    AcceptOpen(*stream);
    Send(*stream, kStart, "abc");
    Send(*stream, kStart + 3, "de");
    SendLast(*stream, kStart + 5, v1::OUTCOME_END_OF_FILE);
    return Status::OK;
  };
  const auto reader = Open();
  const PipeChunk first = reader->Read().value();
  EXPECT_EQ(first.data, "abc");
  EXPECT_EQ(first.offset, kStart);
  EXPECT_EQ(first.incarnation, 5u);
  EXPECT_EQ(first.end, std::nullopt);
  EXPECT_EQ(reader->Read()->data, "de");
  for (int i = 0; i < 2; ++i) {
    const PipeChunk end = reader->Read().value();
    EXPECT_EQ(end.data, "");
    EXPECT_EQ(end.offset, kStart + 5);
    EXPECT_EQ(end.end, Outcome::kEndOfFile);
    EXPECT_FALSE(end.broken);
  }
}

TEST_F(PipeReaderTest, ABrokenEndIsNoCleanOne) {
  server_.read_stream = [](ServerContext*, ServerStream* stream) {
    AcceptOpen(*stream);
    SendLast(*stream, kStart, v1::OUTCOME_END_OF_FILE, /*broken=*/true);
    return Status::OK;
  };
  EXPECT_TRUE(Open()->Read()->broken);
}

TEST_F(PipeReaderTest, TheOtherEndsAreTold) {
  v1::Outcome outcome = v1::OUTCOME_UNSPECIFIED;
  server_.read_stream = [&](ServerContext*, ServerStream* stream) {
    AcceptOpen(*stream);
    SendLast(*stream, kStart, outcome);
    return Status::OK;
  };
  outcome = v1::OUTCOME_TIMED_OUT;
  EXPECT_EQ(Open()->Read()->end, Outcome::kTimedOut);
  outcome = v1::OUTCOME_WOULD_BLOCK;
  EXPECT_EQ(Open()->Read()->end, Outcome::kWouldBlock);
  outcome = v1::OUTCOME_DONE;
  EXPECT_EQ(Open()->Read()->end, Outcome::kDone);
}

TEST_F(PipeReaderTest, AnErrorComesAfterTheDataBeforeIt) {
  server_.read_stream = [](ServerContext*, ServerStream* stream) {
    AcceptOpen(*stream);
    Send(*stream, kStart, "abc");
    return MakeStatus(StatusCode::ABORTED, "EIDRM", "removed");
  };
  const auto reader = Open();
  EXPECT_EQ(reader->Read()->data, "abc");
  EXPECT_EQ(ErrorReason(reader->Read().status()), "EIDRM");
  EXPECT_EQ(ErrorReason(reader->Read().status()), "EIDRM");
}

TEST_F(PipeReaderTest, AnEndWithoutAReasonIsNoEndOfFile) {
  server_.read_stream = [](ServerContext*, ServerStream* stream) {
    AcceptOpen(*stream);
    return Status::OK;
  };
  EXPECT_EQ(Open()->Read().status().code(), absl::StatusCode::kInternal);
}

TEST_F(PipeReaderTest, OptionsArriveAsTheyAre) {
  v1::ReadStreamRequest::Open open;
  server_.read_stream = [&](ServerContext*, ServerStream* stream) {
    open = AcceptOpen(*stream);
    SendLast(*stream, kStart, v1::OUTCOME_DONE);
    return Status::OK;
  };
  Open({.pipe = PipeOptions{.capacity_bytes = 7},
        .max_bytes = 0,
        .window_bytes = 9,
        .nonblock = true})
      ->Read()
      .value();
  EXPECT_EQ(open.options().capacity_bytes(), 7u);
  EXPECT_TRUE(open.has_max_bytes());
  EXPECT_EQ(open.window_bytes(), 9u);
  EXPECT_TRUE(open.nonblock());
}

TEST_F(PipeReaderTest, AWindowMovesOnWithWhatHasBeenUsedAndNeverStalls) {
  for (const uint64_t window : {1, 2, 3, 100, 65536}) {
    const uint64_t total = std::min<uint64_t>(window * 20, 1 << 20);
    server_.read_stream = [&](ServerContext*, ServerStream* stream) {
      AcceptOpen(*stream);
      uint64_t sent = 0, used = 0;
      while (sent < total) {
        // As much as the window admits, in two messages; then wait for it.
        while (sent < used + window && sent < total) {
          const uint64_t bytes =
              std::min({(window + 1) / 2, used + window - sent, total - sent});
          Send(*stream, kStart + sent, std::string(bytes, 'x'));
          sent += bytes;
        }
        if (sent == total) break;
        v1::ReadStreamRequest request;
        if (!stream->Read(&request)) break;
        EXPECT_GT(request.read_up_to(), kStart + used) << "backwards";
        EXPECT_LE(request.read_up_to(), kStart + sent)
            << "beyond what was sent";
        used = request.read_up_to() - kStart;
      }
      EXPECT_EQ(sent, total);
      SendLast(*stream, kStart + sent, v1::OUTCOME_END_OF_FILE);
      return Status::OK;
    };
    const auto reader = Open({.window_bytes = window});
    uint64_t got = 0;
    absl::StatusOr<PipeChunk> chunk;
    while ((chunk = reader->Read()).ok() && !chunk->end.has_value()) {
      got += chunk->data.size();
    }
    EXPECT_TRUE(chunk.ok()) << chunk.status();
    EXPECT_EQ(got, total) << "window " << window;
  }
}

TEST_F(PipeReaderTest, WhatHasNotBeenUsedIsNotReported) {
  absl::Notification done;
  server_.read_stream = [&](ServerContext* context, ServerStream* stream) {
    AcceptOpen(*stream);
    Send(*stream, kStart, "ab");
    // The program takes "ab" and is gone without asking for more.
    v1::ReadStreamRequest request;
    EXPECT_FALSE(stream->Read(&request)) << request.read_up_to();
    EXPECT_TRUE(context->IsCancelled());
    done.Notify();
    return Status::OK;
  };
  {
    const auto reader = Open({.window_bytes = 2});
    EXPECT_EQ(reader->Read()->data, "ab");
  }
  done.WaitForNotification();
}

TEST_F(PipeReaderTest, AStopEndsAReadThatSleeps) {
  server_.read_stream = [&](ServerContext*, ServerStream* stream) {
    AcceptOpen(*stream);
    asleep_.Notify();
    ended_.WaitForNotification();
    return Status::OK;
  };
  std::stop_source stop;
  const auto reader = Open({}, stop.get_token());
  std::jthread stopper([&] {
    asleep_.WaitForNotification();
    stop.request_stop();
  });
  EXPECT_EQ(reader->Read().status().code(), absl::StatusCode::kCancelled);
  ended_.Notify();
}

}  // namespace
}  // namespace waitq
