// Client's calls on completions.

#include "client/client.h"
#include "client/client_impl.h"
#include "client/wire.h"

namespace waitq {
namespace {

using Completions = v1::Completions::StubInterface;

absl::StatusOr<CompleteResult> Complete(const ServerName& server,
                                        Completions& stub,
                                        const v1::CompleteRequest& request,
                                        std::stop_token stop) {
  auto response = Invoke(server, stub, &Completions::Complete, request, stop);
  if (!response.ok()) return response.status();
  return CompleteResult{.woken = response->woken(),
                        .done = response->done(),
                        .generation = response->generation()};
}

}  // namespace

absl::StatusOr<AwaitResult> Client::Await(const std::string& name,
                                          const AwaitOptions& options,
                                          std::stop_token stop) {
  v1::CompletionWaitRequest request;
  request.set_name(name);
  SetSleep(options, impl_->caller, request);
  auto response = Invoke(impl_->server, *impl_->taking.completions,
                         &Completions::Wait, request, stop, options.timeout);
  if (!response.ok()) return response.status();
  absl::StatusOr<Outcome> outcome = FromWire(response->outcome());
  if (!outcome.ok()) return outcome.status();
  return AwaitResult{.outcome = *outcome,
                     .remaining = RemainingOf(*response),
                     .slept = response->slept(),
                     .timing = TimingOf(*response),
                     .generation = response->generation()};
}

absl::StatusOr<bool> Client::TryWait(const std::string& name,
                                     std::stop_token stop) {
  v1::TryWaitRequest request;
  request.set_name(name);
  auto response = Invoke(impl_->server, *impl_->giving.completions,
                         &Completions::TryWait, request, stop);
  if (!response.ok()) return response.status();
  return response->taken();
}

absl::StatusOr<CompleteResult> Client::Complete(const std::string& name,
                                                uint32_t nr,
                                                std::stop_token stop) {
  v1::CompleteRequest request;
  request.set_name(name);
  request.set_nr(nr);
  return waitq::Complete(impl_->server, *impl_->giving.completions, request,
                         stop);
}

absl::StatusOr<CompleteResult> Client::CompleteAll(const std::string& name,
                                                   std::stop_token stop) {
  v1::CompleteRequest request;
  request.set_name(name);
  request.set_all(true);
  return waitq::Complete(impl_->server, *impl_->giving.completions, request,
                         stop);
}

absl::StatusOr<uint64_t> Client::Reinit(const std::string& name,
                                        std::stop_token stop) {
  v1::ReinitRequest request;
  request.set_name(name);
  auto response = Invoke(impl_->server, *impl_->giving.completions,
                         &Completions::Reinit, request, stop);
  if (!response.ok()) return response.status();
  return response->generation();
}

absl::StatusOr<bool> Client::Done(const std::string& name,
                                  std::stop_token stop) {
  v1::DoneRequest request;
  request.set_name(name);
  auto response = Invoke(impl_->server, *impl_->giving.completions,
                         &Completions::Done, request, stop);
  if (!response.ok()) return response.status();
  return response->done();
}

}  // namespace waitq
