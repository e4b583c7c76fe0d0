// Clients and an engine in one process, without gRPC: the messages of their
// sessions go from thread to thread, and their connections can be cut between
// any two of them.

#ifndef WAITQ_TESTS_CLIENT_LOCAL_LINK_H_
#define WAITQ_TESTS_CLIENT_LOCAL_LINK_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/client_impl.h"
#include "server/engine/engine.h"
#include "server/engine/limits.h"
#include "tests/client/event_thread.h"

namespace waitq::test {

struct LocalConnection;
class LocalTransport;

// Where a connection is to be cut, for good.
struct Cut {
  // With the message of this number, of all that are sent in either direction;
  // the end of a stream is one. 0: never.
  uint64_t message = 0;
  // And so again, each time after so many more. 0: never again.
  uint64_t every = 0;
  // It is the first that is lost; otherwise the last that arrives.
  bool lost = false;
  // The server is told, too. Otherwise it learns of it from the client's next
  // connection.
  bool server_told = true;
};

// The server: an engine, and a thread on which messages are served.
//
// Thread safety: any thread may call any method. Clients are to be destroyed
//   before.
class LocalServer {
 public:
  explicit LocalServer(const engine::Limits& limits);
  ~LocalServer();

  std::unique_ptr<Client> NewClient(const ClientOptions& options);

  // Does that with the engine, on the server's thread.
  void Run(const std::function<void(engine::Engine&)>& action);

  // Counts messages anew, and cuts where it says.
  void SetCut(const Cut& cut);
  // Whether that has happened.
  bool HasCut() const;

  // The server is gone, as if it had been killed, and its clients have heard
  // that their connections are; new ones are refused. Not on a client's thread.
  void Stop();
  // Another one is there, which knows nothing.
  void Start();

 private:
  friend class LocalLink;
  friend class LocalTransport;
  struct Life;  // of one server

  // From a client's end.
  void Connect(const std::shared_ptr<LocalConnection>& connection);
  void Write(const std::shared_ptr<LocalConnection>& connection,
             std::string message);
  void Disconnect(const std::shared_ptr<LocalConnection>& connection);
  // From the server's. Whether its transport may go on writing.
  bool Send(const std::shared_ptr<LocalConnection>& connection,
            const std::string& message);
  void Close(const std::shared_ptr<LocalConnection>& connection,
             const absl::Status& status);

  // Another message: whether it is the one that is cut.
  bool IsCutLocked(LocalConnection& connection)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // On the server's thread.
  void Serve(const std::shared_ptr<LocalConnection>& connection,
             const std::string& message);

  const engine::Limits limits_;
  std::unique_ptr<Life> life_;  // of the server's thread

  mutable absl::Mutex mu_;
  bool up_ ABSL_GUARDED_BY(mu_) = true;
  Cut cut_ ABSL_GUARDED_BY(mu_);
  uint64_t messages_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<std::shared_ptr<LocalConnection>> connections_
      ABSL_GUARDED_BY(mu_);

  EventThread thread_;  // last: its events use the others
};

// A client's end, with a thread of its own.
class LocalLink final : public ClientLink {
 public:
  explicit LocalLink(LocalServer* server);
  ~LocalLink() override;

  void Start(SessionMachine* machine) override { machine_ = machine; }
  void Stop() override;
  bool IsOwnThread() const override { return thread_->IsCurrent(); }

  void Connect(uint64_t number) override;
  void Write(uint64_t number, std::string message) override;
  void Disconnect(uint64_t number) override;
  void SetTimer(absl::Time when) override;
  absl::Time Now() override { return EventThread::Now(); }

 private:
  std::shared_ptr<LocalConnection> Find(uint64_t number);

  LocalServer& server_;
  // The server's end may outlive this one.
  const std::shared_ptr<EventThread> thread_ = std::make_shared<EventThread>();
  SessionMachine* machine_ = nullptr;

  absl::Mutex mu_;
  std::shared_ptr<LocalConnection> connection_ ABSL_GUARDED_BY(mu_);
};

}  // namespace waitq::test

#endif  // WAITQ_TESTS_CLIENT_LOCAL_LINK_H_
