// What service_load and session_load have in common: connections, and the end
// of a load that cannot go on.

#ifndef WAITQ_BENCH_LOAD_CONNECTION_H_
#define WAITQ_BENCH_LOAD_CONNECTION_H_

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "grpcpp/channel.h"
#include "grpcpp/completion_queue.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/support/status.h"

namespace waitq::bench {

// Ends the program with a line for people, and 1.
[[noreturn]] void Die(const std::string& what);
void DieUnlessOk(const grpc::Status& status, const std::string& what);

// What is given to gRPC with a request, and comes back once when it is done.
class Tag {
 public:
  virtual void Proceed(bool ok) = 0;

 protected:
  ~Tag() = default;
};

// A connection of its own, a completion queue, and the one thread that serves
// it: Debian's gRPC looks through all outstanding calls of a queue at each
// event, so each connection has one.
//
// Thread safety: any thread may start calls. They must have ended before this
// is destroyed.
class Connection {
 public:
  // Connects, or dies.
  explicit Connection(const std::string& address);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  grpc::GenericStub& stub() { return stub_; }
  grpc::CompletionQueue* queue() { return &queue_; }

 private:
  void Serve();

  const std::shared_ptr<grpc::Channel> channel_;
  grpc::GenericStub stub_;
  grpc::CompletionQueue queue_;
  std::thread thread_;
};

using Connections = std::vector<std::unique_ptr<Connection>>;

Connections Connect(const std::string& address, int count);

}  // namespace waitq::bench

#endif  // WAITQ_BENCH_LOAD_CONNECTION_H_
