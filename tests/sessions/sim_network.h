// A simulated network between clients' session machines and one engine: a
// single thread, one clock, everything that happens in one order that a seed
// decides.
//
// Each connection is a queue of messages in each direction, as bytes, with
// delays of their own: within one they keep their order, connections overtake
// each other. A connection can be cut between any two messages: what is on its
// way is lost, and its two ends are told later, each at its own time or never.
// The server can stall, stop and come again; so can clients, whose clocks run
// at their own rates.

#ifndef WAITQ_TESTS_SESSIONS_SIM_NETWORK_H_
#define WAITQ_TESTS_SESSIONS_SIM_NETWORK_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <queue>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/session/link.h"
#include "client/session/machine.h"
#include "core/simulated_clock.h"
#include "server/engine/engine.h"
#include "server/engine/limits.h"
#include "server/engine/session.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq::sim {

// Nanoseconds of the one clock that knows all: the server's.
using Nanos = int64_t;
inline constexpr Nanos kForever = INT64_MAX;
inline constexpr Nanos kMillisecond = 1'000'000;
inline constexpr Nanos kSecond = 1'000 * kMillisecond;

// How the network behaves when nothing is wrong.
struct NetworkOptions {
  uint64_t seed = 1;
  // A message takes `delay_min` to `spread` times that; one in `late_one_in`
  // (0: none) up to `late_max` longer.
  Nanos delay_min = 50'000;
  uint64_t spread = 16;
  uint64_t late_one_in = 0;
  Nanos late_max = 0;
  // One in so many writes of a client (0: none) is not over before the server
  // has read it.
  uint64_t stuck_one_in = 0;
};

class SimNetwork;
class SimClient;

// One connection, both ends of it.
struct SimConnection;

// The server's end, as server/rpc/session_call.cc is one.
class SimTransport final : public engine::SessionTransport {
 public:
  SimTransport(SimNetwork* network, std::shared_ptr<SimConnection> connection);
  ~SimTransport() override;

  void Kick(uint64_t stream) override;
  void Close(const absl::Status& status) override;
  void Probe(std::function<void()> done) override;

  bool closed() const { return closed_; }
  const std::string& token() const { return token_; }

 private:
  friend class SimNetwork;

  void OnRead(const std::string& bytes);
  void Serve(v1::SessionRequest& message);
  void OnWrote();
  // The client, or the way to it, is gone.
  void OnGone();
  // The server is no more.
  void Drop();

  SimNetwork& network_;
  std::shared_ptr<SimConnection> connection_;
  engine::Ref<engine::Session> session_;
  std::string token_;
  uint64_t stream_ = 0;
  uint64_t sending_as_ = 0;
  bool reading_ = true;
  bool writing_ = false;
  bool closed_ = false;
};

// A client's end: its clock, its timer, and its connections. The machine's
// owner crashes it by taking it out.
class SimClient final : public SessionLink {
 public:
  // Its clock begins at `offset`, and runs faster by so many millionths.
  SimClient(SimNetwork* network, int index, Nanos offset, int64_t fast_ppm);
  ~SimClient() override;

  // A new program begins here. The old one must have been crashed.
  void Start(const SessionOptions& options);
  // The program is gone, without a word; `told`: when the server is told that
  // its connection is, kForever for never.
  void Crash(Nanos told);
  SessionMachine* machine() { return machine_.get(); }
  int index() const { return index_; }

  // Nothing runs here for so long.
  void Stall(Nanos duration);
  bool stalled() const;
  // Connections are refused for so long.
  void Refuse(Nanos duration);
  // The connection that there is loses what is on its way, and is lost: its
  // ends are told in so much time; kForever: never.
  void Cut(Nanos client_told, Nanos server_told);
  // The next messages in that direction, until the next cut, vanish.
  bool HasConnection() const;

  // How often the timer came; how many connections were made.
  int64_t timers() const { return timers_; }
  uint64_t connects() const { return connects_; }

  // SessionLink
  void Connect(uint64_t connection) override;
  void Write(uint64_t connection, std::string message) override;
  void Disconnect(uint64_t connection) override;
  void SetTimer(absl::Time when) override;
  absl::Time Now() override;

 private:
  friend class SimNetwork;
  friend class SimTransport;

  Nanos ToGlobal(absl::Time when) const;
  // Runs on this client, when it runs at all; not if its program has crashed
  // since.
  void At(Nanos when, std::function<void(SessionMachine&)> action);
  void Run(uint64_t life, const std::function<void(SessionMachine&)>& action);
  void OnTimer(uint64_t timer);

  SimNetwork& network_;
  const int index_;
  const Nanos offset_;
  const int64_t fast_ppm_;
  std::unique_ptr<SessionMachine> machine_;
  uint64_t life_ = 0;
  std::shared_ptr<SimConnection> connection_;  // the last one
  uint64_t timer_ = 0;                         // what is older does not count
  Nanos stalled_until_ = 0;
  Nanos refused_until_ = 0;
  int64_t timers_ = 0;
  uint64_t connects_ = 0;
};

// What a test wants to see of what passes.
class NetworkObserver {
 public:
  virtual ~NetworkObserver() = default;
  // The server is about to do what a message says; it counts.
  virtual void OnRequest(const std::string& token,
                         const v1::SessionRequest& message) {
    (void)token, (void)message;
  }
  // The server has sent this, to a client of that index.
  virtual void OnResponse(int client, const std::string& token,
                          const v1::SessionResponse& message) {
    (void)client, (void)token, (void)message;
  }
  // Timers have fired at the server, or a message was served there.
  virtual void OnServerRan() {}
};

class SimNetwork {
 public:
  SimNetwork(const NetworkOptions& options, const engine::Limits& limits,
             NetworkObserver* observer = nullptr);
  ~SimNetwork();
  SimNetwork(const SimNetwork&) = delete;
  SimNetwork& operator=(const SimNetwork&) = delete;

  Nanos now() const { return now_; }
  SimulatedClock& clock() { return clock_; }

  // A client that has no program yet.
  SimClient& AddClient(Nanos offset = 0, int64_t fast_ppm = 0);
  SimClient& client(size_t index) { return *clients_[index]; }

  // --- The server ------------------------------------------------------------

  // nullptr: it is down.
  engine::Engine* engine() { return engine_.get(); }
  void StartServer();
  // It is gone; connections are refused until it is started again. Clients are
  // told by it (ESHUTDOWN), or only that their connections are lost, in up to
  // so much time.
  void StopServer(bool says_so, Nanos told);
  // Nothing runs there for so long; what comes in waits. Then timers go first,
  // or messages do.
  void StallServer(Nanos duration, bool timers_first);
  Nanos stalled_until() const { return stalled_until_; }

  // --- Time ------------------------------------------------------------------

  void At(Nanos when, std::function<void()> action);
  // Runs all that happens until then.
  void RunUntil(Nanos when);
  void RunFor(absl::Duration duration) {
    RunUntil(now_ + absl::ToInt64Nanoseconds(duration));
  }
  // Events; if it goes on at one moment for ever this says so.
  int64_t events() const { return events_; }
  bool spins() const { return spins_; }

  // 0 to n - 1; of the same names always the same.
  uint64_t Draw(uint64_t n, uint64_t a, uint64_t b, uint64_t c = 0) const;

 private:
  friend class SimClient;
  friend class SimTransport;

  struct Event {
    Nanos when;
    uint64_t order;
    bool server;
    std::function<void()> action;
  };
  struct Later {
    bool operator()(const Event& a, const Event& b) const {
      return a.when != b.when ? a.when > b.when : a.order > b.order;
    }
  };

  void Push(Nanos when, bool server, std::function<void()> action);
  void MoveTo(Nanos when);
  Nanos DelayOf(const SimConnection& connection, uint64_t message) const;
  bool Spins();

  void SendToServer(const std::shared_ptr<SimConnection>& connection,
                    std::string message, bool stuck, bool gone = false);
  void SendToClient(const std::shared_ptr<SimConnection>& connection,
                    std::string message);
  void CloseToClient(const std::shared_ptr<SimConnection>& connection,
                     const absl::Status& status);
  void GoneToServer(const std::shared_ptr<SimConnection>& connection);
  void DeliverToServer(const std::shared_ptr<SimConnection>& connection);
  void DeliverToClient(const std::shared_ptr<SimConnection>& connection);
  void TellClient(const std::shared_ptr<SimConnection>& connection,
                  const absl::Status& status, bool sent);
  void Cut(const std::shared_ptr<SimConnection>& connection, Nanos client_told,
           Nanos server_told);
  void Sweep();

  const NetworkOptions options_;
  const engine::Limits limits_;
  NetworkObserver none_;
  NetworkObserver& observer_;
  Nanos now_;
  SimulatedClock clock_;
  std::unique_ptr<engine::Engine> engine_;
  uint64_t generation_ = 1000;
  uint64_t life_ = 0;
  Nanos stalled_until_ = 0;
  Nanos timers_wait_until_ = 0;
  std::vector<std::unique_ptr<SimClient>> clients_;
  std::vector<std::shared_ptr<SimConnection>> connections_;
  std::priority_queue<Event, std::vector<Event>, Later> queue_;
  uint64_t last_order_ = 0;
  uint64_t last_connection_ = 0;
  int64_t events_ = 0;
  Nanos busy_at_ = 0;
  int64_t busy_ = 0;
  bool spins_ = false;
};

struct SimConnection {
  // What is on its way to the client: a message, or the end.
  struct ToClient {
    Nanos when;
    v1::SessionResponse message;
    std::optional<absl::Status> end;
  };
  struct ToServer {
    Nanos when;
    std::string message;
    bool gone = false;   // the client has closed it
    bool stuck = false;  // its writer waits until it is read
  };

  uint64_t id = 0;
  SimClient* client = nullptr;
  uint64_t life = 0;    // of the client's program
  uint64_t number = 0;  // as its machine calls it
  bool up = false;      // the server has taken it
  bool cut = false;
  bool client_end = true;  // the client's end is open
  bool server_end = true;
  engine::Ref<SimTransport> transport;
  std::deque<ToServer> to_server;
  std::deque<ToClient> to_client;
  Nanos last_to_server = 0;
  Nanos last_to_client = 0;
  uint64_t messages = 0;
};

}  // namespace waitq::sim

#endif  // WAITQ_TESTS_SESSIONS_SIM_NETWORK_H_
