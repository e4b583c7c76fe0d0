#include "client/pipe_writer.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "client/error.h"
#include "client/pipe_streams.h"
#include "client/stream.h"
#include "client/wire.h"

namespace waitq {
namespace {

constexpr size_t kMessageBytes = 64 << 10;

}  // namespace

class PipeWriter::Impl {
 public:
  Impl(const ServerName& server, v1::Pipes::StubInterface& stub,
       const std::string& name, std::stop_token stop)
      : stream_(server, name, std::move(stop),
                [&stub](grpc::ClientContext* context,
                        grpc::CompletionQueue* queue) {
                  return stub.PrepareAsyncWriteStream(context, queue);
                }) {}

  // False: the stream has ended before the handle was open.
  bool Open(const v1::WriteStreamRequest::Open& open) {
    v1::WriteStreamRequest request;
    *request.mutable_open() = open;
    if (!stream_.ended()) Send(request);
    while (!open_ && !stream_.ended()) Step();
    return open_ && !outcome_.has_value();
  }

  absl::StatusOr<Outcome> Write(std::string_view data) {
    v1::WriteStreamRequest request;
    while (!data.empty() && !closed_ && !stream_.ended()) {
      const size_t bytes = std::min(data.size(), kMessageBytes);
      request.set_data(data.data(), bytes);
      data.remove_prefix(bytes);
      Send(request);
    }
    if (closed_ || stream_.ended()) return End();
    return Outcome::kDone;
  }

  absl::StatusOr<Outcome> Close() {
    if (!closed_ && !stream_.ended()) {
      closed_ = true;
      stream_.StartWritesDone();
    }
    return End();
  }

  // How the stream ended, once it has.
  absl::StatusOr<Outcome> End() {
    while (!stream_.ended()) Step();
    if (absl::Status status = stream_.status(); !status.ok()) {
      accepted_bytes_ =
          std::max(accepted_bytes_, ErrorAcceptedBytes(status).value_or(0));
      return status;
    }
    if (!outcome_.has_value() || (*outcome_ == v1::OUTCOME_DONE && !closed_)) {
      return absl::InternalError(
          "the server ended the stream without a reason");
    }
    return FromWire(*outcome_);
  }

  uint64_t accepted_bytes() const { return accepted_bytes_; }
  uint64_t offset() const { return offset_; }
  uint64_t incarnation() const { return incarnation_; }
  uint64_t sleeps() const { return sleeps_; }

 private:
  // Returns when flow control has let `request` through, or at the end.
  void Send(const v1::WriteStreamRequest& request) {
    stream_.StartRead();
    stream_.StartWrite(request);
    while (stream_.writing() && !stream_.ended()) Step();
    // The end is on its way: what else is written would be lost unnoticed.
    while ((outcome_.has_value() || stream_.write_failed()) &&
           !stream_.ended()) {
      Step();
    }
  }

  void Step() {
    stream_.StartRead();
    stream_.Step();
    std::optional<v1::WriteStreamResponse> response = stream_.TakeResponse();
    if (!response.has_value()) return;
    open_ = true;
    accepted_bytes_ = std::max(accepted_bytes_, response->accepted_bytes());
    offset_ = std::max(offset_, response->offset());
    incarnation_ = response->incarnation();
    sleeps_ = std::max(sleeps_, response->sleeps());
    if (response->outcome() != v1::OUTCOME_UNSPECIFIED) {
      outcome_ = response->outcome();
    }
  }

  uint64_t accepted_bytes_ = 0;
  uint64_t offset_ = 0;
  uint64_t incarnation_ = 0;
  uint64_t sleeps_ = 0;
  std::optional<v1::Outcome> outcome_;
  bool open_ = false;
  bool closed_ = false;
  Stream<v1::WriteStreamRequest, v1::WriteStreamResponse> stream_;
};

PipeWriter::PipeWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PipeWriter::~PipeWriter() = default;

absl::StatusOr<Outcome> PipeWriter::Write(std::string_view data) {
  return impl_->Write(data);
}

absl::StatusOr<Outcome> PipeWriter::Close() { return impl_->Close(); }

uint64_t PipeWriter::accepted_bytes() const { return impl_->accepted_bytes(); }

uint64_t PipeWriter::offset() const { return impl_->offset(); }

uint64_t PipeWriter::incarnation() const { return impl_->incarnation(); }

uint64_t PipeWriter::sleeps() const { return impl_->sleeps(); }

absl::StatusOr<std::unique_ptr<PipeWriter>> OpenPipeWriter(
    const ServerName& server, v1::Pipes::StubInterface& stub,
    const v1::WriteStreamRequest::Open& open, std::stop_token stop) {
  auto impl = std::make_unique<PipeWriter::Impl>(server, stub, open.name(),
                                                 std::move(stop));
  if (!impl->Open(open)) {
    absl::StatusOr<Outcome> end = impl->End();
    if (!end.ok()) return end.status();
  }
  return std::make_unique<PipeWriter>(std::move(impl));
}

}  // namespace waitq
