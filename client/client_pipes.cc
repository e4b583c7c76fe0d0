// Client's calls on pipes.

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/client.h"
#include "client/client_impl.h"
#include "client/client_requests.h"
#include "client/error.h"
#include "client/pipe_streams.h"
#include "client/wire.h"
#include "transport/channel_arguments.h"
#include "transport/field_buffer.h"

namespace waitq {
namespace {

// Whether the options say nothing but what a read or a write does anyhow.
template <class Options>
bool IsPlain(const Options& options) {
  return !options.pipe && SleepsPlainly(options) && !options.want_timing;
}

Plan PlanRead(const std::string& name, const ReadOptions& options) {
  // What was read and not acknowledged is given back; what is held by its id,
  // only when the session ends at the server, too.
  Plan plan{.object = name,
            .timeout = options.timeout,
            .restartable = true,
            .sleeper = true};
  if (IsPlain(options) && !options.hold && options.min_bytes == 1) {
    plan.encoded = EncodePlainRead(/*handle=*/0, name, options.max_bytes);
    return plan;
  }
  // One for each thread: its memory is there already.
  thread_local v1::ReadRequest request;
  request.Clear();
  FillRead(name, options, request);
  plan.encoded = EncodeOperation(v1::Operation::kReadFieldNumber, request);
  return plan;
}

Plan PlanWrite(const std::string& name, std::string_view data,
               const WriteOptions& options) {
  Plan plan{.object = name, .timeout = options.timeout};
  if (IsPlain(options)) {
    plan.encoded = EncodePlainWrite(/*handle=*/0, name, data);
    return plan;
  }
  thread_local v1::WriteRequest request;
  request.Clear();
  request.set_name(name);
  request.set_data(data.data(), data.size());
  if (options.pipe) *request.mutable_options() = ToWire(*options.pipe);
  SetSleep(options, request);
  plan.encoded = EncodeOperation(v1::Operation::kWriteFieldNumber, request);
  constexpr size_t kKeptBytes = 64 << 10;
  if (data.size() > kKeptBytes) request = {};
  return plan;
}

Plan PlanPoll(const std::string& name, const PollOptions& options) {
  Plan plan{.object = name,
            .timeout = options.timeout,
            .restartable = true,
            .sleeper = true};
  v1::PollRequest& request = *plan.Message().mutable_poll();
  request.set_name(name);
  request.set_in(options.in);
  request.set_out(options.out);
  if (options.known.has_value()) {
    v1::Readiness& known = *request.mutable_known();
    known.set_in(options.known->in);
    known.set_out(options.known->out);
    known.set_hup(options.known->hup);
    known.set_err(options.known->err);
  }
  SetSleep(options, request);
  return plan;
}

absl::StatusOr<PollResult> ReadPoll(v1::Result& result) {
  const v1::PollResponse& response = result.poll();
  absl::StatusOr<Outcome> outcome = FromWire(response.outcome());
  if (!outcome.ok()) return outcome.status();
  return PollResult{.outcome = *outcome,
                    .in = response.in(),
                    .out = response.out(),
                    .hup = response.hup(),
                    .err = response.err(),
                    .slept = response.slept(),
                    .timing = TimingOf(response)};
}

absl::StatusOr<bool> ReadNothing(v1::Result&) { return true; }

}  // namespace

absl::Status CheckWriteSize(const std::string& name, std::string_view data) {
  constexpr size_t kOverhead = 1024;
  if (data.size() <= kMaxMessageBytes - kOverhead) return absl::OkStatus();
  absl::Status error = absl::InvalidArgumentError(
      absl::StrCat("one write of ", data.size(), " bytes; at most ",
                   kMaxMessageBytes - kOverhead, " fit into a message"));
  SetErrorField(error, kReasonKey, "EMSGSIZE");
  SetErrorField(error, kObjectKey, name);
  return error;
}

// By hand: of the operations that move through a queue by the hundreds of
// thousands the better part of the time went into a message's being filled,
// measured and written.
namespace {

// A v1::Operation, but for what is left of its request, of `left` bytes.
void AppendOperationHead(std::string& out, uint64_t handle, int field,
                         const FieldBuffer& request, size_t left) {
  FieldBuffer head;
  head.Varint(v1::Operation::kHandleFieldNumber, handle);
  head.BytesHead(field, request.size() + left);
  out.reserve(head.size() + request.size() + left);
  head.AppendTo(out);
}

}  // namespace

std::string EncodePlainRead(uint64_t handle, std::string_view name,
                            uint64_t max_bytes) {
  using R = v1::ReadRequest;
  FieldBuffer before;
  if (!name.empty()) before.BytesHead(R::kNameFieldNumber, name.size());
  FieldBuffer behind;
  behind.VarintAlways(R::kMaxBytesFieldNumber, max_bytes);
  std::string out;
  AppendOperationHead(out, handle, v1::Operation::kReadFieldNumber, before,
                      name.size() + behind.size());
  before.AppendTo(out);
  out += name;
  behind.AppendTo(out);
  return out;
}

std::string EncodePlainWrite(uint64_t handle, std::string_view name,
                             std::string_view data) {
  using W = v1::WriteRequest;
  FieldBuffer before;
  if (!name.empty()) before.BytesHead(W::kNameFieldNumber, name.size());
  FieldBuffer behind;
  if (!data.empty()) behind.BytesHead(W::kDataFieldNumber, data.size());
  std::string out;
  AppendOperationHead(out, handle, v1::Operation::kWriteFieldNumber, before,
                      name.size() + behind.size() + data.size());
  before.AppendTo(out);
  out += name;
  behind.AppendTo(out);
  out += data;
  return out;
}

void FillRead(const std::string& name, const ReadOptions& options,
              v1::ReadRequest& request) {
  request.set_name(name);
  request.set_max_bytes(options.max_bytes);
  if (options.min_bytes != 1) request.set_min_bytes(options.min_bytes);
  if (options.pipe) *request.mutable_options() = ToWire(*options.pipe);
  if (options.hold) *request.mutable_hold() = ToWire(*options.hold);
  SetSleep(options, request);
}

absl::StatusOr<ReadResult> ReadRead(v1::Result& result) {
  return FromWire(*result.mutable_read());
}

absl::StatusOr<ReadResult> FromWire(v1::ReadResponse& response) {
  absl::StatusOr<Outcome> outcome = FromWire(response.outcome());
  if (!outcome.ok()) return outcome.status();
  return ReadResult{.outcome = *outcome,
                    .data = std::move(*response.mutable_data()),
                    .offset = response.offset(),
                    .incarnation = response.incarnation(),
                    .broken = response.broken(),
                    .hold_id = response.hold_id(),
                    .redelivered = response.redelivered(),
                    .slept = response.slept(),
                    .timing = TimingOf(response)};
}

absl::StatusOr<WriteResult> ReadWrite(v1::Result& written) {
  const v1::WriteResponse& response = written.write();
  absl::StatusOr<Outcome> outcome = FromWire(response.outcome());
  if (!outcome.ok()) return outcome.status();
  WriteResult result{.outcome = *outcome,
                     .accepted_bytes = response.accepted_bytes(),
                     .ended_by = std::nullopt,
                     .ended_by_error = response.ended_by_error(),
                     .ended_by_signal = response.ended_by_signal(),
                     .offset = response.offset(),
                     .incarnation = response.incarnation(),
                     .slept = response.slept(),
                     .timing = TimingOf(response)};
  if (response.ended_by() != v1::OUTCOME_UNSPECIFIED) {
    absl::StatusOr<Outcome> ended_by = FromWire(response.ended_by());
    if (!ended_by.ok()) return ended_by.status();
    result.ended_by = *ended_by;
  }
  return result;
}

absl::StatusOr<ReadResult> Client::Read(const std::string& name,
                                        const ReadOptions& options,
                                        std::stop_token stop) {
  return WaitFor(impl_->machine, PlanRead(name, options), &ReadRead, stop);
}
CallId Client::Read(const std::string& name, const ReadOptions& options,
                    Callback<ReadResult> done) {
  return CallBack(impl_->machine, PlanRead(name, options), &ReadRead,
                  std::move(done));
}

absl::Status Client::Accept(const std::string& name, uint64_t hold_id,
                            std::optional<uint64_t> up_to_offset,
                            std::stop_token stop) {
  Plan plan{.object = name};
  v1::AcceptRequest& request = *plan.Message().mutable_accept();
  request.set_name(name);
  request.set_hold_id(hold_id);
  if (up_to_offset) request.set_up_to_offset(*up_to_offset);
  return WaitFor(impl_->machine, std::move(plan), &ReadNothing, stop).status();
}

absl::Status Client::Release(const std::string& name, uint64_t hold_id,
                             std::stop_token stop) {
  Plan plan{.object = name};
  v1::ReleaseRequest& request = *plan.Message().mutable_release();
  request.set_name(name);
  request.set_hold_id(hold_id);
  return WaitFor(impl_->machine, std::move(plan), &ReadNothing, stop).status();
}

absl::StatusOr<WriteResult> Client::Write(const std::string& name,
                                          std::string_view data,
                                          const WriteOptions& options,
                                          std::stop_token stop) {
  if (absl::Status status = CheckWriteSize(name, data); !status.ok())
    return status;
  return WaitFor(impl_->machine, PlanWrite(name, data, options), &ReadWrite,
                 stop);
}
CallId Client::Write(const std::string& name, std::string_view data,
                     const WriteOptions& options, Callback<WriteResult> done) {
  if (absl::Status status = CheckWriteSize(name, data); !status.ok()) {
    done(std::move(status));
    return 0;
  }
  return CallBack(impl_->machine, PlanWrite(name, data, options), &ReadWrite,
                  std::move(done));
}

absl::StatusOr<PollResult> Client::Poll(const std::string& name,
                                        const PollOptions& options,
                                        std::stop_token stop) {
  return WaitFor(impl_->machine, PlanPoll(name, options), &ReadPoll, stop);
}
CallId Client::Poll(const std::string& name, const PollOptions& options,
                    Callback<PollResult> done) {
  return CallBack(impl_->machine, PlanPoll(name, options), &ReadPoll,
                  std::move(done));
}

absl::StatusOr<std::unique_ptr<PipeReader>> Client::OpenReader(
    const std::string& name, const OpenReaderOptions& options,
    std::stop_token stop) {
  return OpenPipeReader(impl_->machine, name, options, std::move(stop));
}

absl::StatusOr<std::unique_ptr<PipeWriter>> Client::OpenWriter(
    const std::string& name, const OpenWriterOptions& options,
    std::stop_token stop) {
  return OpenPipeWriter(impl_->machine, name, options, std::move(stop));
}

}  // namespace waitq
