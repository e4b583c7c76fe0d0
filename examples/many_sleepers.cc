// Puts many calls to sleep on one wait queue, over a few connections, and tells
// when they sleep and when they have all been woken:
//
//   many_sleepers --name herd --count 10000 --connections 4
//   asleep 10000
//                      (elsewhere: waitq wake herd --set 1 --all)
//   woken 10000
//
// Each is a unary call as any gRPC client would send it, on gRPC's asynchronous
// API: no thread sleeps, neither here nor at the server.

#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "waitq/v1/objects.grpc.pb.h"
#include "waitq/v1/wait_queues.grpc.pb.h"

namespace {

using ::waitq::v1::WaitQueues;

struct Options {
  std::string server = "127.0.0.1:7411";
  std::string name = "herd";
  uint64_t count = 10'000;
  uint64_t connections = 4;
  int64_t until = 1;
  bool take = false;
};

// How the calls of all connections have ended.
struct Ended {
  std::atomic<uint64_t> woken{0};
  std::atomic<uint64_t> otherwise{0};
};

std::shared_ptr<grpc::Channel> Connect(const std::string& server) {
  grpc::ChannelArguments arguments;
  // Otherwise all channels to one address share one connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // Each call is sent once; without this it would keep a copy to send again.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  // While AwaitConnected() waits.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  return grpc::CreateCustomChannel(server, grpc::InsecureChannelCredentials(),
                                   arguments);
}

// One connection and the calls that sleep on it.
//
// Thread safety: none; Run() is for a thread of its own.
class Connection {
 public:
  explicit Connection(const Options& options)
      : channel_(Connect(options.server)),
        stub_(WaitQueues::NewStub(channel_)) {
    request_.set_name(options.name);
    if (options.take) {
      request_.mutable_condition()->set_greater_or_equal(options.until);
      request_.mutable_then()->set_add(-options.until);
    } else {
      request_.mutable_condition()->set_equal(options.until);
    }
    request_.set_caller("many_sleepers");
  }

  // Calls on a connection that is still being made would all fail with it;
  // gRPC tries again.
  bool AwaitConnected() {
    return channel_->WaitForConnected(std::chrono::system_clock::now() +
                                      std::chrono::seconds(10));
  }

  // Sends `count` calls and returns when all have ended.
  void Run(uint64_t count, Ended* ended) {
    std::vector<std::unique_ptr<Call>> calls;
    for (uint64_t i = 0; i < count; ++i) {
      calls.push_back(std::make_unique<Call>());
      Call* call = calls.back().get();
      call->reader = stub_->AsyncWait(&call->context, request_, &queue_);
      call->reader->Finish(&call->response, &call->status, call);
    }
    void* tag = nullptr;
    bool ok = false;
    for (uint64_t i = 0; i < count && queue_.Next(&tag, &ok); ++i) {
      Count(*static_cast<Call*>(tag), ended);
    }
    queue_.Shutdown();
    while (queue_.Next(&tag, &ok)) {
    }
  }

 private:
  struct Call {
    grpc::ClientContext context;
    waitq::v1::WaitResponse response;
    grpc::Status status;
    std::unique_ptr<grpc::ClientAsyncResponseReader<waitq::v1::WaitResponse>>
        reader;
  };

  static void Count(const Call& call, Ended* ended) {
    if (call.status.ok() &&
        call.response.outcome() == waitq::v1::OUTCOME_DONE) {
      ++ended->woken;
      return;
    }
    // The first one tells the reason of all, most likely.
    if (ended->otherwise++ == 0) {
      std::cerr << "many_sleepers: a call ended with "
                << (call.status.ok()
                        ? waitq::v1::Outcome_Name(call.response.outcome())
                        : call.status.error_message())
                << std::endl;
    }
  }

  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<WaitQueues::Stub> stub_;
  waitq::v1::WaitRequest request_;
  grpc::CompletionQueue queue_;
};

// How many calls sleep on the queue, whoever sent them; 0 if it is not there.
uint64_t Sleepers(waitq::v1::Objects::Stub* objects, const std::string& name) {
  grpc::ClientContext context;
  waitq::v1::StatRequest request;
  request.set_name(name);
  waitq::v1::StatResponse response;
  if (!objects->Stat(&context, request, &response).ok()) return 0;
  return response.object().sleepers();
}

// Waits until all calls sleep; false if one has ended before.
bool AwaitAsleep(const Options& options, const Ended& ended) {
  // A connection of its own: the sleepers' may be busy.
  const auto objects = waitq::v1::Objects::NewStub(Connect(options.server));
  while (Sleepers(objects.get(), options.name) < options.count) {
    if (ended.woken + ended.otherwise > 0) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

int Sleep(const Options& options) {
  std::vector<std::unique_ptr<Connection>> connections;
  for (uint64_t i = 0; i < options.connections; ++i) {
    connections.push_back(std::make_unique<Connection>(options));
    if (!connections.back()->AwaitConnected()) {
      std::cerr << "many_sleepers: cannot connect to " << options.server
                << std::endl;
      return 1;
    }
  }
  Ended ended;
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < options.connections; ++i) {
    const uint64_t share = options.count / options.connections +
                           (i < options.count % options.connections ? 1 : 0);
    threads.emplace_back(&Connection::Run, connections[i].get(), share, &ended);
  }
  if (!AwaitAsleep(options, ended)) {
    std::cerr << "many_sleepers: a call ended before all slept" << std::endl;
    // The others, which would sleep on, go with this process.
    std::_Exit(1);
  }
  std::cout << "asleep " << options.count << std::endl;
  for (std::thread& thread : threads) thread.join();
  std::cout << "woken " << ended.woken << std::endl;
  return ended.otherwise == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Puts many calls to sleep on one wait queue of a waitq server.");
  app.add_option("--server", options.server, "where it listens, ADDRESS:PORT")
      ->envname("WAITQ_SERVER")
      ->capture_default_str();
  app.add_option("--name", options.name, "the wait queue")
      ->capture_default_str();
  app.add_option("--count", options.count, "how many calls")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app.add_option("--connections", options.connections, "over how many")
      ->check(CLI::Range(1, 1'000))
      ->capture_default_str();
  app.add_option("--until", options.until, "the value that they wait for")
      ->capture_default_str();
  app.add_flag("--take", options.take,
               "wait for so much at least, and take it: a semaphore");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return Sleep(options);
}
