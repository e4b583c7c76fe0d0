// Client's calls on any of several objects.

#include <utility>
#include <vector>

#include "client/client.h"
#include "client/client_requests.h"
#include "client/wire.h"

namespace waitq {
namespace {

// Returns whether it may be begun anew.
bool FillAlternative(const Alternative& alternative, v1::Alternative& message) {
  const std::string& name = alternative.name;
  if (const auto* wait = std::get_if<WaitOptions>(&alternative.options)) {
    const Undo* const undo = alternative.undo ? &*alternative.undo : nullptr;
    FillWait(name, *wait, undo, *message.mutable_wait());
    return IsRestartable(*wait, undo);
  }
  // What they have taken and nobody has acknowledged is given back.
  if (const auto* await = std::get_if<AwaitOptions>(&alternative.options)) {
    FillAwait(name, *await, *message.mutable_completion_wait());
    return true;
  }
  FillRead(name, std::get<ReadOptions>(alternative.options),
           *message.mutable_read());
  return true;
}

Plan PlanWaitAny(const std::vector<Alternative>& alternatives,
                 const WaitAnyOptions& options) {
  Plan plan{.timeout = options.timeout, .restartable = true, .sleeper = true};
  v1::WaitAnyRequest& request = *plan.Message().mutable_wait_any();
  for (const Alternative& alternative : alternatives) {
    plan.restartable &=
        FillAlternative(alternative, *request.add_alternatives());
  }
  SetSleep(options, request);
  return plan;
}

template <class Result, class Message>
absl::Status Read(Message& message, WaitAnyResult& result) {
  absl::StatusOr<Result> read = FromWire(message);
  if (!read.ok()) return read.status();
  result.result = *std::move(read);
  return absl::OkStatus();
}

absl::StatusOr<WaitAnyResult> ReadWaitAny(v1::Result& answer) {
  v1::WaitAnyResponse& response = *answer.mutable_wait_any();
  absl::StatusOr<Outcome> outcome = FromWire(response.outcome());
  if (!outcome.ok()) return outcome.status();
  WaitAnyResult result;
  result.outcome = *outcome;
  result.alternative = response.alternative();
  result.remaining = RemainingOf(response);
  result.slept = response.slept();
  result.timing = TimingOf(response);
  absl::Status status;
  switch (response.response_case()) {
    case v1::WaitAnyResponse::kWait:
      status = Read<WaitResult>(response.wait(), result);
      break;
    case v1::WaitAnyResponse::kCompletionWait:
      status = Read<AwaitResult>(response.completion_wait(), result);
      break;
    case v1::WaitAnyResponse::kRead:
      status = Read<ReadResult>(*response.mutable_read(), result);
      break;
    case v1::WaitAnyResponse::RESPONSE_NOT_SET:
      break;
  }
  if (!status.ok()) return status;
  return result;
}

// The names of those alternatives that are for a grant; "" for the others.
std::vector<std::string> NamesOfGrants(
    const std::vector<Alternative>& alternatives) {
  std::vector<std::string> names;
  for (const Alternative& alternative : alternatives) {
    names.push_back(alternative.undo ? alternative.name : std::string());
  }
  return names;
}

void MakeGrant(SessionMachine& machine, const std::vector<std::string>& names,
               const SessionReceipt& receipt, WaitAnyResult& result) {
  const auto* const wait = std::get_if<WaitResult>(&result.result);
  if (wait == nullptr || result.alternative >= names.size()) return;
  const std::string& name = names[result.alternative];
  if (!name.empty()) result.grant = Grant(&machine, name, *wait, receipt);
}

}  // namespace

absl::StatusOr<WaitAnyResult> Client::WaitAny(
    const std::vector<Alternative>& alternatives, const WaitAnyOptions& options,
    std::stop_token stop) {
  SessionReceipt receipt;
  absl::StatusOr<WaitAnyResult> result =
      WaitFor(impl_->machine, PlanWaitAny(alternatives, options), &ReadWaitAny,
              stop, &receipt);
  if (result.ok()) {
    MakeGrant(impl_->machine, NamesOfGrants(alternatives), receipt, *result);
  }
  // A grant is watched from before it is taken.
  impl_->machine.Settle(receipt);
  return result;
}

CallId Client::WaitAny(const std::vector<Alternative>& alternatives,
                       const WaitAnyOptions& options,
                       Callback<WaitAnyResult> done) {
  SessionMachine& machine = impl_->machine;
  return SubmitPlan(
      machine, PlanWaitAny(alternatives, options),
      [&machine, names = NamesOfGrants(alternatives), done = std::move(done)](
          const absl::Status& status, v1::Result* answer,
          SessionReceipt receipt) mutable {
        if (!status.ok()) {
          done(status);
          return true;
        }
        absl::StatusOr<WaitAnyResult> result = ReadWaitAny(*answer);
        if (result.ok()) MakeGrant(machine, names, receipt, *result);
        done(std::move(result));
        return true;
      });
}

}  // namespace waitq
