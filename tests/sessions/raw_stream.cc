#include "tests/sessions/raw_stream.h"

#include <memory>
#include <utility>

#include "core/check.h"
#include "server/engine/error.h"
#include "server/rpc/session_messages.h"
#include "server/rpc/status_map.h"

namespace waitq::sim {

void RawStream::SendBytes(std::string bytes) {
  if (!more_ || (ended() && !session_)) return;
  const engine::Ref<RawStream> self(this);
  const auto message = std::make_shared<Message>();
  message->bytes = std::move(bytes);
  const absl::Status status = rpc::ParseSessionMessage(
      message->bytes, /*first=*/!session_, message->input);
  if (!status.ok()) {
    more_ = false;
    if (session_) {
      session_->Run([self, status] {
        if (self->session_->Hear(self->stream_)) self->session_->End(status);
      });
    }
    return Close(status);
  }
  if (session_) {
    return session_->Run([self, message] { self->Serve(*message); });
  }
  auto session = rpc::FindSession(engine_, message->input.head(), "raw");
  if (!session.ok()) return Close(session.status());
  session_ = *std::move(session);
  session_->Run([self, message] {
    self->stream_ =
        rpc::AttachSession(*self->session_, message->input.head(), self, "raw");
    if (self->stream_ == 0) return self->Close(rpc::SessionGoneError());
    self->Serve(*message);
  });
}

void RawStream::Serve(const Message& message) {
  (void)rpc::ServeSessionMessage(engine_, *session_, stream_, message.input,
                                 more_);
}

void RawStream::Hang() {
  more_ = false;
  if (session_) {
    session_->Run(
        [session = session_, stream = stream_] { session->Detach(stream); });
  }
  session_ = engine::Ref<engine::Session>();
}

void RawStream::Kick(uint64_t stream) {
  const engine::Ref<engine::Session> session = session_;
  do {
    engine::SessionMessage message;
    if (!session ||
        !session->Take(stream, rpc::kSessionMessageBytes, message)) {
      return;
    }
    v1::SessionResponse& response = responses_.emplace_back();
    WAITQ_CHECK(response.ParseFromString(
                    rpc::EncodeSessionMessage(engine_, *session, message)),
                "the server sends messages");
    if (response.has_hello()) hello_ = response.hello();
  } while (reads_);
  kicked_ = stream;
}

void RawStream::ReadOn() {
  reads_ = true;
  if (const uint64_t kicked = std::exchange(kicked_, 0)) Kick(kicked);
}

void RawStream::Close(const absl::Status& status) {
  if (!end_.has_value()) end_ = status;
}

void RawStream::Probe(std::function<void()> done) {
  if (hold_probes) return probes.push_back(std::move(done));
  done();
}

int RawStream::TimesOf(uint64_t result) const {
  int times = 0;
  for (const v1::SessionResponse& response : responses_) {
    const uint64_t first = response.first_result();
    if (first <= result &&
        result < first + static_cast<uint64_t>(response.results_size())) {
      ++times;
    }
  }
  return times;
}

const v1::Result* RawStream::ResultOf(uint64_t operation) const {
  const v1::Result* found = nullptr;
  for (const v1::SessionResponse& response : responses_) {
    for (const v1::Result& result : response.results()) {
      if (result.operation() == operation) found = &result;
    }
  }
  return found;
}

size_t RawStream::results() const {
  size_t all = 0;
  for (const v1::SessionResponse& response : responses_) {
    all += static_cast<size_t>(response.results_size());
  }
  return all;
}

std::string RawStream::end_reason() const {
  return end_.has_value() ? engine::DetailsOf(*end_).reason : "";
}

v1::SessionRequest NewSession() {
  v1::SessionRequest message;
  message.mutable_hello()->mutable_grace()->set_seconds(10);
  return message;
}

v1::SessionRequest Resume(const v1::SessionResponse::Hello& hello,
                          uint64_t results_received) {
  v1::SessionRequest message;
  message.mutable_hello()->set_token(hello.token());
  message.mutable_hello()->set_server_epoch(hello.server_epoch());
  message.mutable_hello()->set_results_received(results_received);
  return message;
}

v1::SessionRequest Operations(uint64_t first,
                              const std::vector<v1::Operation>& operations) {
  v1::SessionRequest message;
  message.set_first_operation(first);
  for (const v1::Operation& operation : operations) {
    *message.add_operations() = operation;
  }
  return message;
}

}  // namespace waitq::sim
