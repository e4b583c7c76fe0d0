// A server and a few programs on a simulated network, for tests that say what
// happens step by step. Each message takes 5 ms.

#ifndef WAITQ_TESTS_SESSIONS_SESSIONS_FIXTURE_H_
#define WAITQ_TESTS_SESSIONS_SESSIONS_FIXTURE_H_

#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/session/machine.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "server/engine/limits.h"
#include "server/engine/pipe_object.h"
#include "tests/sessions/sim_network.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq::sim {

// What became of an operation.
struct Call {
  uint64_t ticket = 0;
  int told = 0;  // how often
  absl::Status status;
  v1::Result result;
  SessionReceipt receipt;
  Nanos when = 0;

  // It has got something.
  bool done() const { return told == 1 && status.ok(); }
  bool asleep() const { return told == 0; }
  std::string reason() const;  // "" if it has not failed
  const std::string& data() const { return result.read().data(); }
};

struct CallOptions {
  bool keep = false;  // it says later whether it has taken the result
  absl::Duration give_up_after = absl::InfiniteDuration();
  bool restartable = false;
  uint64_t session = 0;
  bool sleeper = false;
};

// A program, that is a client of the server.
class Program {
 public:
  Program(SimNetwork* network, SimClient* end)
      : network_(*network), end_(*end) {}

  SimClient& end() { return end_; }
  SessionMachine& machine() { return *end_.machine(); }
  std::string token() { return machine().token(); }

  // The call lives as long as this.
  Call& Start(v1::Operation operation, const CallOptions& options = {});
  void Cancel(const Call& call) { machine().Cancel(call.ticket); }
  void Take(const Call& call) { machine().Settle(call.receipt, true); }
  void Return(const Call& call) { machine().Settle(call.receipt, false); }

  // Its connection is lost, with what is on its way; both ends are told at
  // once. It makes another, at once or after so long.
  void Cut(absl::Duration away = absl::ZeroDuration());
  // The same, but the server hears nothing of that.
  void CutUnseen(absl::Duration away = absl::ZeroDuration());

  const std::deque<Call>& calls() const { return calls_; }
  // In the order in which they were told.
  std::vector<const Call*> told;

 private:
  SimNetwork& network_;
  SimClient& end_;
  std::deque<Call> calls_;
};

// The requests of operations.
v1::Operation ReadPacket(const std::string& name);
v1::Operation WritePacket(const std::string& name, const std::string& data);
v1::Operation ReadStream(const std::string& name, uint64_t max_bytes);
v1::Operation WriteStream(const std::string& name, const std::string& data);
v1::Operation Wait(const std::string& completion);
v1::Operation Complete(const std::string& completion, uint32_t nr = 1);
// Sleeps until the word is not 0, then makes it 0.
v1::Operation Sleepy(const std::string& word);
// Sleeps until the word is not 0.
v1::Operation AwaitNotZero(const std::string& word);
v1::Operation Add(const std::string& word, int64_t n);
v1::Operation Get(const std::string& word);
v1::Operation Open(const std::string& name, bool write);
v1::Operation HandleRead(uint64_t handle, uint64_t max_bytes);
v1::Operation HandleWrite(uint64_t handle, const std::string& data);
v1::Operation CloseHandle(uint64_t handle);
v1::Operation WithTimeout(v1::Operation operation, absl::Duration timeout);
v1::Operation Nonblock(v1::Operation operation);

// Ends with everybody gone, and nothing left asleep, held or charged.
class SessionsFixture : public testing::Test, public NetworkObserver {
 protected:
  explicit SessionsFixture(const engine::Limits& limits = {});
  void TearDown() override;

  static constexpr absl::Duration kGrace = absl::Seconds(10);
  static constexpr Nanos kDelay = 5 * kMillisecond;

  Program& NewProgram(const std::string& name = "program",
                      absl::Duration grace = kGrace, int64_t fast_ppm = 0);
  void RunFor(absl::Duration duration) { network_.RunFor(duration); }
  // Until all who are not asleep have been told, and have said so.
  void Settle() { network_.RunFor(absl::Milliseconds(100)); }
  // Starts it, and settles.
  Call& Do(Program& program, v1::Operation operation,
           const CallOptions& options = {});

  engine::Engine& engine() { return *network_.engine(); }
  engine::PipeStat PipeStatOf(const std::string& name);
  int64_t WordOf(const std::string& name);
  uint64_t CompletionOf(const std::string& name);
  size_t sessions() { return engine().sessions().size(); }

  // What the server was sent, and has sent, since that was last asked for.
  std::vector<v1::SessionRequest> TakeRequests() {
    return std::exchange(requests_, {});
  }
  std::vector<v1::SessionResponse> TakeResponses() {
    return std::exchange(responses_, {});
  }

  // NetworkObserver
  void OnRequest(const std::string&,
                 const v1::SessionRequest& message) override {
    requests_.push_back(message);
  }
  void OnResponse(int, const std::string&,
                  const v1::SessionResponse& message) override {
    responses_.push_back(message);
  }

  SimNetwork network_;

 private:
  std::vector<v1::SessionRequest> requests_;
  std::vector<v1::SessionResponse> responses_;
  std::deque<Program> programs_;
};

}  // namespace waitq::sim

#endif  // WAITQ_TESTS_SESSIONS_SESSIONS_FIXTURE_H_
