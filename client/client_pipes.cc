// Client's calls on pipes.

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/client.h"
#include "client/client_impl.h"
#include "client/error.h"
#include "client/pipe_streams.h"
#include "client/wire.h"
#include "transport/channel_arguments.h"

namespace waitq {
namespace {

using Pipes = v1::Pipes::StubInterface;

}  // namespace

absl::StatusOr<ReadResult> Client::Read(const std::string& name,
                                        const ReadOptions& options,
                                        std::stop_token stop) {
  v1::ReadRequest request;
  request.set_name(name);
  request.set_max_bytes(options.max_bytes);
  request.set_min_bytes(options.min_bytes);
  if (options.pipe) *request.mutable_options() = ToWire(*options.pipe);
  if (options.hold) *request.mutable_hold() = ToWire(*options.hold);
  SetSleep(options, impl_->caller, request);
  auto response = Invoke(impl_->server, *impl_->taking.pipes, &Pipes::Read,
                         request, stop, options.timeout);
  if (!response.ok()) return response.status();
  absl::StatusOr<Outcome> outcome = FromWire(response->outcome());
  if (!outcome.ok()) return outcome.status();
  return ReadResult{.outcome = *outcome,
                    .data = std::move(*response->mutable_data()),
                    .offset = response->offset(),
                    .incarnation = response->incarnation(),
                    .broken = response->broken(),
                    .hold_id = response->hold_id(),
                    .redelivered = response->redelivered(),
                    .slept = response->slept(),
                    .timing = TimingOf(*response)};
}

absl::Status Client::Accept(const std::string& name, uint64_t hold_id,
                            std::optional<uint64_t> up_to_offset,
                            std::stop_token stop) {
  v1::AcceptRequest request;
  request.set_name(name);
  request.set_hold_id(hold_id);
  if (up_to_offset) request.set_up_to_offset(*up_to_offset);
  return Invoke(impl_->server, *impl_->giving.pipes, &Pipes::Accept, request,
                stop)
      .status();
}

absl::Status Client::Release(const std::string& name, uint64_t hold_id,
                             std::stop_token stop) {
  v1::ReleaseRequest request;
  request.set_name(name);
  request.set_hold_id(hold_id);
  return Invoke(impl_->server, *impl_->giving.pipes, &Pipes::Release, request,
                stop)
      .status();
}

absl::StatusOr<WriteResult> Client::Write(const std::string& name,
                                          std::string_view data,
                                          const WriteOptions& options,
                                          std::stop_token stop) {
  // The server says so too, unless the message is so large that gRPC drops it
  // before the server sees it.
  if (data.size() > kMaxMessageBytes) {
    absl::Status error = absl::InvalidArgumentError(
        absl::StrCat("one write of ", data.size(), " bytes; at most ",
                     kMaxMessageBytes, " fit into a message"));
    SetErrorField(error, kReasonKey, "EMSGSIZE");
    SetErrorField(error, kObjectKey, name);
    return error;
  }
  v1::WriteRequest request;
  request.set_name(name);
  request.set_data(data.data(), data.size());
  if (options.pipe) *request.mutable_options() = ToWire(*options.pipe);
  SetSleep(options, impl_->caller, request);
  auto response = Invoke(impl_->server, *impl_->giving.pipes, &Pipes::Write,
                         request, stop, options.timeout);
  if (!response.ok()) return response.status();
  absl::StatusOr<Outcome> outcome = FromWire(response->outcome());
  if (!outcome.ok()) return outcome.status();
  WriteResult result{.outcome = *outcome,
                     .accepted_bytes = response->accepted_bytes(),
                     .ended_by = std::nullopt,
                     .ended_by_error = response->ended_by_error(),
                     .offset = response->offset(),
                     .incarnation = response->incarnation(),
                     .slept = response->slept(),
                     .timing = TimingOf(*response)};
  if (response->ended_by() != v1::OUTCOME_UNSPECIFIED) {
    absl::StatusOr<Outcome> ended_by = FromWire(response->ended_by());
    if (!ended_by.ok()) return ended_by.status();
    result.ended_by = *ended_by;
  }
  return result;
}

absl::StatusOr<PollResult> Client::Poll(const std::string& name,
                                        const PollOptions& options,
                                        std::stop_token stop) {
  v1::PollRequest request;
  request.set_name(name);
  request.set_in(options.in);
  request.set_out(options.out);
  SetSleep(options, impl_->caller, request);
  auto response = Invoke(impl_->server, *impl_->taking.pipes, &Pipes::Poll,
                         request, stop, options.timeout);
  if (!response.ok()) return response.status();
  absl::StatusOr<Outcome> outcome = FromWire(response->outcome());
  if (!outcome.ok()) return outcome.status();
  return PollResult{.outcome = *outcome,
                    .in = response->in(),
                    .out = response->out(),
                    .hup = response->hup(),
                    .err = response->err(),
                    .slept = response->slept(),
                    .timing = TimingOf(*response)};
}

absl::StatusOr<std::unique_ptr<PipeReader>> Client::OpenReader(
    const std::string& name, const OpenReaderOptions& options,
    std::stop_token stop) {
  v1::ReadStreamRequest::Open open;
  open.set_name(name);
  if (options.pipe.has_value()) *open.mutable_options() = ToWire(*options.pipe);
  if (options.max_bytes.has_value()) open.set_max_bytes(*options.max_bytes);
  if (options.window_bytes.has_value()) {
    open.set_window_bytes(*options.window_bytes);
  }
  SetSleep(options, impl_->caller, open);
  return OpenPipeReader(impl_->server, *impl_->taking.pipes, open,
                        std::move(stop));
}

absl::StatusOr<std::unique_ptr<PipeWriter>> Client::OpenWriter(
    const std::string& name, const OpenWriterOptions& options,
    std::stop_token stop) {
  v1::WriteStreamRequest::Open open;
  open.set_name(name);
  if (options.pipe.has_value()) *open.mutable_options() = ToWire(*options.pipe);
  SetSleep(options, impl_->caller, open);
  return OpenPipeWriter(impl_->server, *impl_->giving.pipes, open,
                        std::move(stop));
}

}  // namespace waitq
