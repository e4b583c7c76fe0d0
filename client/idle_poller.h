// Keeps connections alive while their program is busy elsewhere.

#ifndef WAITQ_CLIENT_IDLE_POLLER_H_
#define WAITQ_CLIENT_IDLE_POLLER_H_

#include <thread>

#include "absl/synchronization/notification.h"
#include "grpcpp/completion_queue.h"

namespace waitq {

// One thread that looks at gRPC's sockets now and then.
//
// gRPC reads its sockets only in threads that are inside one of its calls, and
// otherwise every 5 s. A server that pings a writer whose program is waiting
// for more input would take it for dead after kKeepaliveTimeoutMs, and break
// its file. A thread that polls all the time would answer too, but adds a hop
// between threads to every call of the program.
class IdlePoller {
 public:
  IdlePoller();
  ~IdlePoller();
  IdlePoller(const IdlePoller&) = delete;
  IdlePoller& operator=(const IdlePoller&) = delete;

 private:
  void Run();

  absl::Notification stop_;
  // Nothing is ever put in: waiting on any queue serves all sockets.
  grpc::CompletionQueue queue_;
  std::thread thread_;
};

}  // namespace waitq

#endif  // WAITQ_CLIENT_IDLE_POLLER_H_
