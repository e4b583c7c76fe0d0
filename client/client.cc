#include "client/client.h"

#include <utility>

#include "client/address.h"
#include "client/client_impl.h"
#include "client/wire.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "transport/channel_arguments.h"

namespace waitq {
namespace {

using WaitQueues = v1::WaitQueues::StubInterface;

std::shared_ptr<grpc::Channel> NewChannel(const ServerName& server) {
  return grpc::CreateCustomChannel(
      server.target, grpc::InsecureChannelCredentials(), ClientArguments());
}

}  // namespace

Stubs::Stubs(const std::shared_ptr<grpc::Channel>& channel)
    : wait_queues(v1::WaitQueues::NewStub(channel)),
      completions(v1::Completions::NewStub(channel)),
      pipes(v1::Pipes::NewStub(channel)),
      objects(v1::Objects::NewStub(channel)),
      tasks(v1::Tasks::NewStub(channel)) {}

Client::Impl::Impl(ServerName name, std::string caller_name)
    : server(std::move(name)),
      caller(std::move(caller_name)),
      taking(NewChannel(server)),
      giving(NewChannel(server)) {}

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::~Client() = default;

absl::StatusOr<std::unique_ptr<Client>> Client::Create(
    const ClientOptions& options) {
  absl::StatusOr<std::string> target = AddressToTarget(options.server);
  if (!target.ok()) return target.status();
  return std::unique_ptr<Client>(new Client(std::make_unique<Impl>(
      ServerName{.address = options.server, .target = *std::move(target)},
      options.caller)));
}

absl::StatusOr<WaitResult> Client::Wait(const std::string& name,
                                        const WaitOptions& options,
                                        std::stop_token stop) {
  v1::WaitRequest request;
  request.set_name(name);
  if (options.condition.has_value()) {
    *request.mutable_condition() = ToWire(*options.condition);
  }
  if (options.then.has_value()) *request.mutable_then() = ToWire(*options.then);
  if (options.exclusive.has_value()) request.set_exclusive(*options.exclusive);
  request.set_then_wake(options.then_wake);
  request.set_key(options.key);
  SetSleep(options, impl_->caller, request);
  auto response = Invoke(impl_->server, *impl_->taking.wait_queues,
                         &WaitQueues::Wait, request, stop, options.timeout);
  if (!response.ok()) return response.status();
  absl::StatusOr<Outcome> outcome = FromWire(response->outcome());
  if (!outcome.ok()) return outcome.status();
  return WaitResult{.outcome = *outcome,
                    .value_before = response->value_before(),
                    .value_after = response->value_after(),
                    .generation = response->generation(),
                    .remaining = RemainingOf(*response),
                    .slept = response->slept(),
                    .timing = TimingOf(*response)};
}

absl::StatusOr<WakeResult> Client::WakeUp(const std::string& name,
                                          const WakeOptions& options,
                                          std::stop_token stop) {
  v1::WakeUpRequest request;
  request.set_name(name);
  if (options.update.has_value()) {
    *request.mutable_update() = ToWire(*options.update);
  }
  request.set_mode(options.interruptible_only
                       ? v1::WakeUpRequest::MODE_INTERRUPTIBLE
                       : v1::WakeUpRequest::MODE_NORMAL);
  if (options.all) {
    request.set_all(true);
  } else {
    request.set_nr(options.nr);
  }
  request.set_sync(options.sync);
  request.set_key(options.key);
  auto response = Invoke(impl_->server, *impl_->giving.wait_queues,
                         &WaitQueues::WakeUp, request, stop);
  if (!response.ok()) return response.status();
  return WakeResult{.woken = response->woken(),
                    .woken_exclusive = response->woken_exclusive(),
                    .value = response->value(),
                    .generation = response->generation()};
}

absl::StatusOr<GetResult> Client::Get(const std::string& name,
                                      std::stop_token stop) {
  v1::GetRequest request;
  request.set_name(name);
  auto response = Invoke(impl_->server, *impl_->giving.wait_queues,
                         &WaitQueues::Get, request, stop);
  if (!response.ok()) return response.status();
  return GetResult{.value = response->value(),
                   .generation = response->generation()};
}

absl::StatusOr<StoreResult> Client::Store(const std::string& name,
                                          int64_t value, std::stop_token stop) {
  v1::StoreRequest request;
  request.set_name(name);
  request.set_value(value);
  auto response = Invoke(impl_->server, *impl_->giving.wait_queues,
                         &WaitQueues::Store, request, stop);
  if (!response.ok()) return response.status();
  return StoreResult{.value_before = response->value_before(),
                     .generation = response->generation()};
}

}  // namespace waitq
