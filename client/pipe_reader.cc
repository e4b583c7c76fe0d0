#include "client/pipe_reader.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "client/pipe_streams.h"
#include "client/stream.h"
#include "client/wire.h"

namespace waitq {

class PipeReader::Impl {
 public:
  using Response = v1::ReadStreamResponse;

  Impl(const ServerName& server, v1::Pipes::StubInterface& stub,
       const v1::ReadStreamRequest::Open& open, std::stop_token stop)
      : stream_(server, open.name(), std::move(stop),
                [&stub](grpc::ClientContext* context,
                        grpc::CompletionQueue* queue) {
                  return stub.PrepareAsyncReadStream(context, queue);
                }) {
    if (open.has_window_bytes()) window_bytes_ = open.window_bytes();
  }

  // False: the stream has ended before the handle was open.
  bool Open(const v1::ReadStreamRequest::Open& open) {
    if (stream_.ended()) return false;
    v1::ReadStreamRequest request;
    *request.mutable_open() = open;
    stream_.StartWrite(request);
    first_ = NextResponse();
    if (!first_.has_value()) return false;
    offset_ = reported_ = first_->offset();
    return true;
  }

  absl::StatusOr<PipeChunk> Read() {
    used_ = offset_;
    while (std::optional<Response> response = NextResponse()) {
      Note(*response);
      if (!response->data().empty()) {
        return Chunk(std::move(*response->mutable_data()), response->offset());
      }
    }
    return End();
  }

  absl::StatusOr<PipeChunk> End() {
    if (absl::Status status = stream_.status(); !status.ok()) return status;
    if (!outcome_.has_value()) {
      return absl::InternalError(
          "the server ended the stream without a reason");
    }
    absl::StatusOr<Outcome> outcome = FromWire(*outcome_);
    if (!outcome.ok()) return outcome.status();
    return PipeChunk{.data = {},
                     .offset = offset_,
                     .incarnation = incarnation_,
                     .end = *outcome,
                     .broken = broken_};
  }

  uint64_t sleeps() const { return sleeps_; }

 private:
  // None: the stream has ended.
  std::optional<Response> NextResponse() {
    if (first_.has_value()) return std::exchange(first_, std::nullopt);
    while (true) {
      if (std::optional<Response> response = stream_.TakeResponse()) {
        return response;
      }
      if (stream_.ended()) return std::nullopt;
      ReportUsed();
      stream_.StartRead();
      stream_.Step();
    }
  }

  // Half a window at a time: the server always has the other half to send.
  void ReportUsed() {
    if (!window_bytes_.has_value() || stream_.writing()) return;
    const uint64_t unreported = used_ - reported_;
    if (unreported == 0 || unreported < (*window_bytes_ + 1) / 2) return;
    v1::ReadStreamRequest request;
    request.set_read_up_to(used_);
    reported_ = used_;
    stream_.StartWrite(request);
  }

  void Note(const Response& response) {
    offset_ = response.offset() + response.data().size();
    incarnation_ = response.incarnation();
    sleeps_ = std::max(sleeps_, response.sleeps());
    if (response.outcome() != v1::OUTCOME_UNSPECIFIED) {
      outcome_ = response.outcome();
      broken_ = response.broken();
    }
  }

  PipeChunk Chunk(std::string data, uint64_t offset) {
    PipeChunk chunk;
    chunk.data = std::move(data);
    chunk.offset = offset;
    chunk.incarnation = incarnation_;
    return chunk;
  }

  std::optional<uint64_t> window_bytes_;
  // The one by which the server opened the handle.
  std::optional<Response> first_;
  // In the pipe: the end of what came, what the program has used of it, and
  // what the server knows to be used.
  uint64_t offset_ = 0;
  uint64_t used_ = 0;
  uint64_t reported_ = 0;
  uint64_t incarnation_ = 0;
  uint64_t sleeps_ = 0;
  std::optional<v1::Outcome> outcome_;
  bool broken_ = false;
  Stream<v1::ReadStreamRequest, v1::ReadStreamResponse> stream_;
};

PipeReader::PipeReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PipeReader::~PipeReader() = default;

absl::StatusOr<PipeChunk> PipeReader::Read() { return impl_->Read(); }

uint64_t PipeReader::sleeps() const { return impl_->sleeps(); }

absl::StatusOr<std::unique_ptr<PipeReader>> OpenPipeReader(
    const ServerName& server, v1::Pipes::StubInterface& stub,
    const v1::ReadStreamRequest::Open& open, std::stop_token stop) {
  auto impl =
      std::make_unique<PipeReader::Impl>(server, stub, open, std::move(stop));
  if (!impl->Open(open)) {
    absl::StatusOr<PipeChunk> end = impl->End();
    if (!end.ok()) return end.status();
  }
  return std::make_unique<PipeReader>(std::move(impl));
}

}  // namespace waitq
