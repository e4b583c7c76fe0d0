// Client's calls on completions.

#include <utility>

#include "client/client.h"
#include "client/client_impl.h"
#include "client/client_requests.h"
#include "client/wire.h"

namespace waitq {
namespace {

Plan PlanAwait(const std::string& name, const AwaitOptions& options) {
  // One that was taken and not acknowledged is given back.
  Plan plan{.object = name,
            .timeout = options.timeout,
            .restartable = true,
            .sleeper = true};
  FillAwait(name, options, *plan.Message().mutable_completion_wait());
  return plan;
}

absl::StatusOr<AwaitResult> ReadAwait(v1::Result& result) {
  return FromWire(result.completion_wait());
}

Plan PlanComplete(const std::string& name, std::optional<uint32_t> nr) {
  Plan plan{.object = name};
  v1::CompleteRequest& request = *plan.Message().mutable_complete();
  request.set_name(name);
  if (nr.has_value()) {
    request.set_nr(*nr);
  } else {
    request.set_all(true);
  }
  return plan;
}

absl::StatusOr<CompleteResult> ReadComplete(v1::Result& result) {
  const v1::CompleteResponse& response = result.complete();
  return CompleteResult{.woken = response.woken(),
                        .done = response.done(),
                        .generation = response.generation()};
}

}  // namespace

void FillAwait(const std::string& name, const AwaitOptions& options,
               v1::CompletionWaitRequest& request) {
  request.set_name(name);
  SetSleep(options, request);
}

absl::StatusOr<AwaitResult> FromWire(
    const v1::CompletionWaitResponse& response) {
  absl::StatusOr<Outcome> outcome = FromWire(response.outcome());
  if (!outcome.ok()) return outcome.status();
  return AwaitResult{.outcome = *outcome,
                     .remaining = RemainingOf(response),
                     .slept = response.slept(),
                     .timing = TimingOf(response),
                     .generation = response.generation(),
                     .redelivered = response.redelivered()};
}

absl::StatusOr<AwaitResult> Client::Await(const std::string& name,
                                          const AwaitOptions& options,
                                          std::stop_token stop) {
  return WaitFor(impl_->machine, PlanAwait(name, options), &ReadAwait, stop);
}
CallId Client::Await(const std::string& name, const AwaitOptions& options,
                     Callback<AwaitResult> done) {
  return CallBack(impl_->machine, PlanAwait(name, options), &ReadAwait,
                  std::move(done));
}

absl::StatusOr<bool> Client::TryWait(const std::string& name,
                                     std::stop_token stop) {
  Plan plan{.object = name};
  plan.Message().mutable_try_wait()->set_name(name);
  return WaitFor<bool>(
      impl_->machine, std::move(plan),
      [](v1::Result& result) -> absl::StatusOr<bool> {
        return result.try_wait().taken();
      },
      stop);
}

absl::StatusOr<CompleteResult> Client::Complete(const std::string& name,
                                                uint32_t nr,
                                                std::stop_token stop) {
  return WaitFor(impl_->machine, PlanComplete(name, nr), &ReadComplete, stop);
}
CallId Client::Complete(const std::string& name, uint32_t nr,
                        Callback<CompleteResult> done) {
  return CallBack(impl_->machine, PlanComplete(name, nr), &ReadComplete,
                  std::move(done));
}

absl::StatusOr<CompleteResult> Client::CompleteAll(const std::string& name,
                                                   std::stop_token stop) {
  return WaitFor(impl_->machine, PlanComplete(name, std::nullopt),
                 &ReadComplete, stop);
}

absl::StatusOr<uint64_t> Client::Reinit(const std::string& name,
                                        std::stop_token stop) {
  Plan plan{.object = name};
  plan.Message().mutable_reinit()->set_name(name);
  return WaitFor<uint64_t>(
      impl_->machine, std::move(plan),
      [](v1::Result& result) -> absl::StatusOr<uint64_t> {
        return result.reinit().generation();
      },
      stop);
}

absl::StatusOr<bool> Client::Done(const std::string& name,
                                  std::stop_token stop) {
  Plan plan{.object = name, .restartable = true};
  plan.Message().mutable_done()->set_name(name);
  return WaitFor<bool>(
      impl_->machine, std::move(plan),
      [](v1::Result& result) -> absl::StatusOr<bool> {
        return result.done().done();
      },
      stop);
}

}  // namespace waitq
