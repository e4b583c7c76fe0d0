#include "client/client.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/time/clock.h"
#include "client/address.h"
#include "client/client_impl.h"
#include "client/grpc_link.h"
#include "client/wire.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/wire_format_lite.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "transport/channel_arguments.h"

namespace waitq {
namespace {

// How long the server has to hear that the session is over.
constexpr absl::Duration kGoodbye = absl::Seconds(2);

std::shared_ptr<grpc::Channel> NewChannel(const ServerName& server) {
  return grpc::CreateCustomChannel(
      server.target, grpc::InsecureChannelCredentials(), ClientArguments());
}

}  // namespace

absl::Duration GiveUpAfter(std::optional<absl::Duration> timeout) {
  if (!timeout.has_value()) return absl::InfiniteDuration();
  return *timeout + absl::Seconds(5) + *timeout / 32;
}

absl::Status StoppedError(absl::string_view object) {
  return MakeError(absl::StatusCode::kCancelled, "ECANCELED", object,
                   "cancelled");
}

absl::Status DeadlockError(absl::string_view object) {
  return MakeError(
      absl::StatusCode::kFailedPrecondition, "EDEADLK", object,
      "a callback must not wait for a call: use one with a callback");
}

std::string EncodeOperation(int field,
                            const google::protobuf::MessageLite& request) {
  using google::protobuf::internal::WireFormatLite;
  using google::protobuf::io::CodedOutputStream;
  const size_t size = request.ByteSizeLong();
  const uint32_t tag =
      WireFormatLite::MakeTag(field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
  std::string bytes(CodedOutputStream::VarintSize32(tag) +
                        CodedOutputStream::VarintSize32(size) + size,
                    '\0');
  auto* to = reinterpret_cast<uint8_t*>(bytes.data());
  to = CodedOutputStream::WriteVarint32ToArray(tag, to);
  to = CodedOutputStream::WriteVarint32ToArray(static_cast<uint32_t>(size), to);
  request.SerializeWithCachedSizesToArray(to);
  return bytes;
}

uint64_t SubmitPlan(SessionMachine& machine, Plan&& plan,
                    SessionMachine::Done done) {
  return machine.Submit({.operation = std::move(plan.operation),
                         .encoded = std::move(plan.encoded),
                         .done = std::move(done),
                         .give_up_after = GiveUpAfter(plan.timeout),
                         .restartable = plan.restartable,
                         .session = plan.session,
                         .sleeper = plan.sleeper});
}

Stubs::Stubs(const std::shared_ptr<grpc::Channel>& channel)
    : objects(v1::Objects::NewStub(channel)),
      tasks(v1::Tasks::NewStub(channel)) {}

// The connections are made when they are needed.
Client::Impl::Impl(ServerName name, const ClientOptions& options,
                   std::unique_ptr<ClientLink> given_link)
    : server(std::move(name)),
      link(given_link ? std::move(given_link)
                      : std::make_unique<GrpcLink>(
                            &server, [this] { return NewChannel(server); })),
      machine(link.get(), {.caller = options.caller,
                           .grace = options.grace,
                           .server = server.address}),
      looking(NewChannel(server)) {
  link->Start(&machine);
}

Client::Impl::~Impl() {
  // The thread that runs the callback cannot wait for its own end, and whoever
  // has called back goes on with what would be gone.
  if (machine.IsTelling() || link->IsOwnThread()) {
    std::fputs(
        "waitq: a Client is destroyed within a callback of its own, which "
        "client.h forbids: destroy it on another thread\n",
        stderr);
    std::abort();
  }
  machine.Close();
  // What was taken is said with the goodbye, on another connection if that one
  // is lost: it is worth a moment.
  const absl::Time enough = absl::Now() + kGoodbye;
  machine.AwaitOver(enough);
  link->Stop();
}

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::~Client() = default;

std::unique_ptr<Client> ClientMaker::Make(const ClientOptions& options,
                                          ServerName server,
                                          std::unique_ptr<ClientLink> link) {
  return std::unique_ptr<Client>(new Client(std::make_unique<Client::Impl>(
      std::move(server), options, std::move(link))));
}

absl::StatusOr<std::unique_ptr<Client>> Client::Create(
    const ClientOptions& options) {
  absl::StatusOr<std::string> target = AddressToTarget(options.server);
  if (!target.ok()) return target.status();
  return ClientMaker::Make(
      options, {.address = options.server, .target = *std::move(target)},
      nullptr);
}

void Client::Cancel(CallId call) { impl_->machine.Cancel(call); }

}  // namespace waitq
