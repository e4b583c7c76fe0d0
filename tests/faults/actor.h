// The clients of the history checker, and the history that they write down.

#ifndef WAITQ_TESTS_FAULTS_ACTOR_H_
#define WAITQ_TESTS_FAULTS_ACTOR_H_

#include <condition_variable>
#include <cstdint>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "absl/time/time.h"
#include "grpcpp/grpcpp.h"
#include "tests/faults/ask.h"
#include "tests/support/random.h"

namespace waitq::test {

// The history of all clients (tests/history/text.h), as it becomes known: what
// is written is final.
//
// Thread safety: any thread may call any method.
class HistoryFile {
 public:
  explicit HistoryFile(const std::string& path) : out_(path) {}

  void Add(const Ask& ask);
  void AddLine(const std::string& line);

 private:
  std::mutex mu_;
  std::ofstream out_;
};

struct ActorOptions {
  int client = 0;
  std::string server;
  absl::Duration grace;  // of a session
  absl::Duration hold;   // of a read
};

// How much longer than it may sleep a call is waited for.
inline constexpr absl::Duration kPatience = absl::Milliseconds(700);

std::shared_ptr<grpc::Channel> ConnectTo(const std::string& server);
// Why the server said that it failed, for certain; "" if only gRPC knows.
std::string ReasonOf(const grpc::Status& status);
// Cancels a call after a while, unless this is gone before.
class Canceller {
 public:
  Canceller(grpc::ClientContext* context, absl::Duration after);
  ~Canceller();

 private:
  std::mutex mu_;
  std::condition_variable over_;
  bool ended_ = false;
  std::thread thread_;
};

// The `server_epoch` of a result; 0: it has none.
uint64_t EpochOf(const v1::Result& result);

// Sends the request by its own method; fills the field of the same number.
class UnaryStubs {
 public:
  explicit UnaryStubs(const std::shared_ptr<grpc::Channel>& channel);
  ~UnaryStubs();

  grpc::Status Call(grpc::ClientContext* context,
                    const v1::Operation& operation, v1::Result* result);
  // Forgets the answer of the call with that id, or ends it. Whether the server
  // has said that it has.
  bool Cancel(const v1::Operation& operation, const std::string& request_id);
  // Ends the sleep of somebody on that object with a signal, if somebody does.
  void SignalSomebody(const std::string& object, Random& random);
  // Which server there is; 0: none answers.
  uint64_t FindEpoch();

 private:
  struct Stubs;
  std::unique_ptr<Stubs> stubs_;
};

// One client. A thread of its own calls it.
class Actor {
 public:
  virtual ~Actor() = default;
  // Does something, and waits for what comes of it. The objects are those of
  // the round.
  virtual void Step(const Objects& objects, Random& random) = 0;
  // The round ends: all that is known is written down, and nothing of it is
  // under way.
  virtual void EndRound() = 0;
};

// Unary calls: plain ones, with a request_id that is sent again, with a hold.
std::unique_ptr<Actor> MakeUnaryActor(const ActorOptions& options,
                                      HistoryFile& file);
// A session by the stub alone, which does what the library never would: it
// takes results late, returns them, leaves its stream, or the session, to
// itself.
std::unique_ptr<Actor> MakeSessionActor(const ActorOptions& options,
                                        HistoryFile& file);
// The C++ client.
std::unique_ptr<Actor> MakeClientActor(const ActorOptions& options,
                                       HistoryFile& file);

}  // namespace waitq::test

#endif  // WAITQ_TESTS_FAULTS_ACTOR_H_
