// The gRPC server: services, queues and the engine behind them.

#ifndef WAITQ_SERVER_RPC_SERVER_H_
#define WAITQ_SERVER_RPC_SERVER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/timers.h"
#include "grpcpp/server.h"
#include "server/engine/engine.h"
#include "server/engine/limits.h"
#include "server/rpc/call_queue.h"
#include "server/rpc/listen_address.h"
#include "server/rpc/raw_service.h"
#include "server/rpc/services.h"

namespace waitq::rpc {

struct ServerOptions {
  std::string listen = "127.0.0.1:7411";
  // Listen on an address that others can reach, without TLS.
  bool insecure = false;
  // Completion queues, with a thread each; 0: as many as suit the machine.
  int queues = 0;
  // Generations begin above it; 0: at the wall clock, in nanoseconds.
  uint64_t first_generation = 0;
  engine::Limits limits;
};

// Thread safety: any thread may call any method, Shutdown() once.
class Server {
 public:
  // Binds and serves. An error is one line for people: INVALID_ARGUMENT for
  // options that cannot be, FAILED_PRECONDITION for what the system refuses.
  static absl::StatusOr<std::unique_ptr<Server>> Start(
      const ServerOptions& options);
  // Shutdown(), at once.
  ~Server();

  // "127.0.0.1:7411", with the port that was chosen; or "unix:PATH".
  const std::string& address() const { return address_; }
  engine::Engine& engine() { return engine_; }

  // Health says NOT_SERVING; who sleeps is ended, and new sleeps and writes are
  // refused. Reads of what is there go on.
  void Drain();

  // Stops listening, cuts the calls that are left at `deadline`, and returns
  // when none is left.
  void Shutdown(absl::Time deadline);

 private:
  explicit Server(const ServerOptions& options);
  absl::Status StartListening(const ServerOptions& options);
  void ArmAll();

  Timers timers_;
  // Outlive the engine, which delivers to them to its end.
  std::vector<std::unique_ptr<CallQueue>> queues_;
  engine::Engine engine_;
  // Destroyed first: it fires into the engine.
  TimerThread timer_thread_;

  std::vector<ServiceMethods> methods_;
  std::vector<std::unique_ptr<RawService>> services_;  // as methods_
  SocketFileLock socket_lock_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

}  // namespace waitq::rpc

#endif  // WAITQ_SERVER_RPC_SERVER_H_
