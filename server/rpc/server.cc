#include "server/rpc/server.h"

#include <sys/stat.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/clock.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "server/rpc/grpc_threads.h"
#include "transport/channel_arguments.h"

namespace waitq::rpc {
namespace {

// A generation higher than those of a server that ran here before, as long as
// the wall clock was not set back.
uint64_t FirstGeneration(const ServerOptions& options) {
  if (options.first_generation > 0) return options.first_generation;
  return static_cast<uint64_t>(absl::ToUnixNanos(absl::Now()));
}

// Keeps a socket file from others for as long as it lives.
class PrivateUmask {
 public:
  PrivateUmask() : before_(umask(0177)) {}
  ~PrivateUmask() { umask(before_); }

 private:
  const mode_t before_;
};

}  // namespace

Server::Server(const ServerOptions& options)
    : timers_(&Clock::Real()),
      engine_(options.limits, &timers_, FirstGeneration(options)),
      timer_thread_(&timers_) {
  methods_.push_back(WaitQueuesMethods());
  methods_.push_back(CompletionsMethods());
  methods_.push_back(PipesMethods());
  methods_.push_back(ObjectsMethods());
  methods_.push_back(TasksMethods());
  methods_.push_back(SessionsMethods());
}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(
    const ServerOptions& options) {
  absl::Status status = options.limits.Check();
  if (!status.ok()) return status;
  std::unique_ptr<Server> server(new Server(options));
  status = server->StartListening(options);
  if (!status.ok()) return status;
  return server;
}

absl::Status Server::StartListening(const ServerOptions& options) {
  auto listen = ListenAddress::Parse(options.listen);
  if (!listen.ok()) return listen.status();
  if (!listen->IsLocal() && !options.insecure) {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", options.listen,
        "' can be reached by others, and nothing is encrypted or checked: say "
        "--insecure to listen there all the same"));
  }
  if (listen->is_unix()) {
    const absl::Status locked = socket_lock_.Lock(listen->path);
    if (!locked.ok()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "cannot listen on ", options.listen, ": ", locked.message()));
    }
  }

  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  SetServerArguments(builder);
  // gRPC's own limit follows ours, a little above it, so that ours speaks.
  builder.SetMaxReceiveMessageSize(
      static_cast<int>(options.limits.message_bytes) + kMaxReceiveBytes -
      kMaxMessageBytes);
  BoundSyncThreads(builder);
  int port = 0;
  builder.AddListeningPort(listen->ToString(),
                           grpc::InsecureServerCredentials(), &port);
  for (const ServiceMethods& methods : methods_) {
    services_.push_back(std::make_unique<RawService>(methods.descriptor));
    builder.RegisterService(services_.back().get());
  }
  for (int i = 0; i < QueueCount(options.queues); ++i) {
    queues_.push_back(
        std::make_unique<CallQueue>(builder.AddCompletionQueue()));
  }
  {
    const PrivateUmask only_for_us;
    server_ = builder.BuildAndStart();
  }
  if (server_ == nullptr || port <= 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "cannot listen on ", options.listen, ": ", WhyNotListen(*listen)));
  }
  address_ = listen->ToString(port);
  FillGrpcThreads();
  ArmAll();
  for (auto& queue : queues_) queue->Start();
  return absl::OkStatus();
}

void Server::ArmAll() {
  for (size_t s = 0; s < services_.size(); ++s) {
    RawService* const service = services_[s].get();
    const auto& descriptor = service->descriptor();
    for (int index = 0; index < descriptor.method_count(); ++index) {
      const std::string& name = descriptor.method(index)->name();
      bool found = false;
      for (auto& queue : queues_) {
        for (int i = 0; i < kArmedCalls; ++i) {
          for (const UnaryMethod& method : methods_[s].unary) {
            if (name != method.name) continue;
            found = true;
            UnaryCall::Arm(service, index, &method, &engine_, queue.get());
          }
          for (const StreamMethod& method : methods_[s].streams) {
            if (name != method.name) continue;
            found = true;
            method.arm({service, index, &method, &engine_, queue.get()});
          }
        }
      }
      WAITQ_CHECK(found, "every method of every service is served");
    }
  }
}

void Server::Drain() {
  if (auto* health = server_->GetHealthCheckService()) {
    health->SetServingStatus(false);
  }
  engine_.Drain();
}

void Server::Shutdown(absl::Time deadline) {
  // Whoever is left is told why, before it is cut off; and what runs on without
  // its caller ends here: its call would never be gone.
  engine_.Stop();
  if (server_ != nullptr) server_->Shutdown(absl::ToChronoTime(deadline));
  engine_.Stop();  // also who came in the meantime
  // gRPC wants its queues emptied, also if it did not start.
  for (auto& queue : queues_) queue->Shutdown();
  server_ = nullptr;
}

Server::~Server() { Shutdown(absl::Now()); }

}  // namespace waitq::rpc
