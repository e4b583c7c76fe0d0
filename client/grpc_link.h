// Carries a session's messages over gRPC.

#ifndef WAITQ_CLIENT_GRPC_LINK_H_
#define WAITQ_CLIENT_GRPC_LINK_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/call.h"
#include "client/client_impl.h"
#include "client/session/machine.h"
#include "grpcpp/alarm.h"
#include "grpcpp/channel.h"
#include "grpcpp/completion_queue.h"
#include "grpcpp/generic/generic_stub.h"

namespace waitq {

// A stream for each connection, and one thread for all that happens to them:
// it tells the machine, whose callbacks run on it. (As it is always inside of
// gRPC, it also answers the server's pings.)
//
// A stream that ends by itself is followed by another on the same channel,
// which connects anew if it has to, and backs off. One that the machine gives
// up, because nothing is heard from it, is followed by one on a new channel:
// gRPC would use the silent connection until its keepalive gives it up, too,
// which is later than a short grace ends.
//
// Thread safety: any thread may call any method, but for Start() and Stop().
class GrpcLink final : public ClientLink {
 public:
  // Makes a channel, which shares no connection with others.
  using NewChannel = std::function<std::shared_ptr<grpc::Channel>()>;

  // `server` must outlive this.
  GrpcLink(const ServerName* server, NewChannel new_channel);
  // Stop() has been called, or Start() never.
  ~GrpcLink() override;

  // `machine`: is told what happens, until Stop() has returned.
  void Start(SessionMachine* machine) override;
  // Cuts what is there. Not on the link's own thread.
  void Stop() override;
  // Whether the calling thread is the link's: what blocks it ends everything.
  bool IsOwnThread() const override;

  void Connect(uint64_t connection) override;
  void Write(uint64_t connection, std::string message) override;
  void Disconnect(uint64_t connection) override;
  bool MayHaveArrived(uint64_t connection) override;
  void SetTimer(absl::Time when) override;
  absl::Time Now() override;

 private:
  class Connection;
  class Tag;

  void Serve();
  void WakeUpLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const ServerName& server_;
  const NewChannel new_channel_;
  grpc::CompletionQueue queue_;
  SessionMachine* machine_ = nullptr;
  std::thread thread_;

  absl::Mutex mu_;
  // Of the channel; nullptr: the next connection makes one.
  std::shared_ptr<grpc::GenericStub> stub_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<Connection> connection_ ABSL_GUARDED_BY(mu_);  // the last
  int connections_ ABSL_GUARDED_BY(mu_) = 0;  // that are not finished
  absl::Time timer_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();
  // Until then the thread waits; before that it has to be woken.
  absl::Time waits_until_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  bool waking_ ABSL_GUARDED_BY(mu_) = false;  // alarm_ is on its way
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  grpc::Alarm alarm_ ABSL_GUARDED_BY(mu_);
};

}  // namespace waitq

#endif  // WAITQ_CLIENT_GRPC_LINK_H_
