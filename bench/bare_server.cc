// A gRPC server set up as waitqd is, with nothing behind it: what waitqd's jobs
// cost at least. Serves bench/bare.proto until it is killed.

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/synchronization/mutex.h"
#include "bench/bare.pb.h"
#include "bench/bare_queue_stream.h"
#include "bench/bare_stream.h"
#include "bench/bare_unary.h"
#include "bench/byte_buffer.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "server/rpc/call_queue.h"
#include "server/rpc/grpc_threads.h"
#include "server/rpc/raw_service.h"
#include "transport/channel_arguments.h"

namespace waitq::bench {
namespace {

void Echo(BareUnary& call) { call.AnswerWithRequest(); }

void Sleep(BareUnary& call) { call.Sleep(); }

void ReleaseAll(BareUnary& call) {
  for (const auto& queue : call.queues()) queue->Release();
  call.Answer(Serialize(ReleaseAllResponse()));
}

void CountAsleep(BareUnary& call) {
  uint64_t asleep = 0;
  for (const auto& queue : call.queues()) asleep += queue->asleep();
  CountAsleepResponse response;
  response.set_asleep(asleep);
  call.Answer(Serialize(response));
}

void ArmAll(rpc::RawService* service, BareQueues* queues) {
  const auto index = [&](const char* method) {
    return service->descriptor().FindMethodByName(method)->index();
  };
  const BareUnary::Method unary[] = {{index("Echo"), &Echo},
                                     {index("Sleep"), &Sleep},
                                     {index("ReleaseAll"), &ReleaseAll},
                                     {index("CountAsleep"), &CountAsleep}};
  for (auto& queue : *queues) {
    rpc::CallQueue* const calls = &queue->calls();
    const BareStream::Parts streams[] = {
        {service, index("Session"), &MakeStream<BareSession>, calls},
        {service, index("RelayWrite"), &MakeStream<BareRelayWriter>, calls},
        {service, index("RelayRead"), &MakeStream<BareRelayReader>, calls},
        {service, index("QueueSession"), &MakeStream<BareQueueStream>, calls}};
    for (int i = 0; i < rpc::kArmedCalls; ++i) {
      for (const auto& method : unary) {
        BareUnary::Arm(service, method, queues, queue.get());
      }
      for (const auto& parts : streams) BareStream::Arm(parts);
    }
  }
}

// As rpc::Server starts.
int Serve(const std::string& listen, int queue_count) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  SetServerArguments(builder);
  rpc::BoundSyncThreads(builder);
  int port = 0;
  builder.AddListeningPort(listen, grpc::InsecureServerCredentials(), &port);
  rpc::RawService service(Raw::descriptor()->file()->FindServiceByName("Bare"));
  builder.RegisterService(&service);
  BareQueues queues;
  for (int i = 0; i < rpc::QueueCount(queue_count); ++i) {
    queues.push_back(std::make_unique<BareQueue>(builder.AddCompletionQueue()));
  }
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port <= 0) {
    std::fprintf(stderr, "bare_server: cannot listen on %s\n", listen.c_str());
    return 1;
  }
  rpc::FillGrpcThreads();
  ArmAll(&service, &queues);
  for (auto& queue : queues) queue->calls().Start();
  std::printf("bare_server listening on 127.0.0.1:%d\n", port);
  std::fflush(stdout);
  for (;;) pause();
}

}  // namespace
}  // namespace waitq::bench

int main(int argc, char** argv) {
  // As in waitqd: Debian's abseil checks lock orders at each lock.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  std::string listen = "127.0.0.1:0";
  int queues = 0;
  CLI::App app("The least that a gRPC server set up as waitqd can do.");
  app.add_option("--listen", listen, "127.0.0.1:PORT")->capture_default_str();
  app.add_option("--queues", queues, "As waitqd's")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return waitq::bench::Serve(listen, queues);
}
