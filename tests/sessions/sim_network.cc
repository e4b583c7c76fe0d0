#include "tests/sessions/sim_network.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/error.h"
#include "core/check.h"
#include "server/engine/error.h"
#include "server/rpc/session_messages.h"
#include "server/rpc/status_map.h"

namespace waitq::sim {
namespace {

using engine::Ref;
using engine::Session;

// So many events at one moment are not a busy one.
constexpr int64_t kSpinning = 200'000;

constexpr Nanos kOrigin = 3600 * kSecond;  // where a SimulatedClock begins

absl::Time ToTime(Nanos when) {
  return absl::UnixEpoch() + absl::Nanoseconds(when);
}

// As client/status_map.cc reads a status that server/rpc/status_map.cc wrote.
absl::Status OverTheWire(const absl::Status& status) {
  if (status.ok()) return status;
  absl::Status read(status.code(), status.message());
  const engine::ErrorDetails details = engine::DetailsOf(status);
  SetErrorField(read, kReasonKey, details.reason);
  for (const auto& [key, value] : details.metadata) {
    SetErrorField(read, key, value);
  }
  if (const auto after = rpc::RetryAfter(status)) {
    SetErrorField(read, kRetryAfterKey, absl::FormatDuration(*after));
  }
  return read;
}

uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace

// --- The server's end --------------------------------------------------------

SimTransport::SimTransport(SimNetwork* network,
                           std::shared_ptr<SimConnection> connection)
    : network_(*network), connection_(std::move(connection)) {}

SimTransport::~SimTransport() = default;

void SimTransport::OnRead(const std::string& bytes) {
  if (!reading_) return;
  const auto message = std::make_shared<v1::SessionRequest>();
  WAITQ_CHECK(message->ParseFromString(bytes), "clients send messages");
  if (session_) {
    session_->Run(
        [self = Ref<SimTransport>(this), message] { self->Serve(*message); });
    return;
  }
  const std::string peer =
      absl::StrCat("client-", connection_->client->index());
  auto session = rpc::FindSession(*network_.engine_, *message, peer);
  if (!session.ok()) {
    reading_ = false;
    return Close(session.status());
  }
  session_ = *std::move(session);
  token_ = session_->token();
  session_->Run([self = Ref<SimTransport>(this), message, peer] {
    self->stream_ = rpc::AttachSession(*self->session_, *message, self, peer);
    if (self->stream_ == 0) {
      self->reading_ = false;
      return self->Close(rpc::SessionGoneError());
    }
    self->Serve(*message);
  });
}

void SimTransport::Serve(v1::SessionRequest& message) {
  if (!closed_) network_.observer_.OnRequest(token_, message);
  const std::string bytes = message.SerializeAsString();
  rpc::SessionInput input;
  WAITQ_CHECK(input.Parse(bytes), "what was a message is one");
  bool more = true;
  (void)rpc::ServeSessionMessage(*network_.engine_, *session_, stream_, input,
                                 more);
  if (!more) reading_ = false;
}

void SimTransport::Kick(uint64_t stream) {
  engine::SessionMessage message;
  if (!session_->Take(stream, rpc::kSessionMessageBytes, message)) return;
  std::string bytes =
      rpc::EncodeSessionMessage(*network_.engine_, *session_, message);
  if (closed_) return;
  writing_ = true;
  sending_as_ = stream;
  network_.SendToClient(connection_, std::move(bytes));
  const Nanos wrote = network_.now() + static_cast<Nanos>(network_.Draw(
                                           300'000, connection_->id,
                                           ++connection_->messages, 3));
  network_.Push(wrote, /*server=*/true,
                [self = Ref<SimTransport>(this)] { self->OnWrote(); });
}

void SimTransport::OnWrote() {
  writing_ = false;
  if (!closed_ && session_) Kick(sending_as_);
}

void SimTransport::Close(const absl::Status& status) {
  if (std::exchange(closed_, true)) return;
  network_.CloseToClient(connection_, OverTheWire(status));
}

void SimTransport::Probe(std::function<void()> done) {
  // Behind what has come in, and has not been read. Not after its end.
  if (closed_) return;
  network_.Push(network_.now(), /*server=*/true, std::move(done));
}

void SimTransport::OnGone() {
  if (session_) {
    session_->Run(
        [session = session_, stream = stream_] { session->Detach(stream); });
  }
  reading_ = false;
  Close(absl::OkStatus());
}

void SimTransport::Drop() {
  reading_ = false;
  closed_ = true;
  session_ = Ref<Session>();
}

// --- A client's end ----------------------------------------------------------

SimClient::SimClient(SimNetwork* network, int index, Nanos offset,
                     int64_t fast_ppm)
    : network_(*network), index_(index), offset_(offset), fast_ppm_(fast_ppm) {}

SimClient::~SimClient() = default;

void SimClient::Start(const SessionOptions& options) {
  WAITQ_CHECK(machine_ == nullptr, "one program at a time");
  ++life_;
  ++timer_;
  machine_ = std::make_unique<SessionMachine>(this, options);
}

void SimClient::Crash(Nanos told) {
  machine_ = nullptr;
  if (connection_) network_.Cut(connection_, kForever, told);
  connection_ = nullptr;
}

bool SimClient::stalled() const { return network_.now() < stalled_until_; }

void SimClient::Stall(Nanos duration) {
  stalled_until_ = std::max(stalled_until_, network_.now() + duration);
}

void SimClient::Refuse(Nanos duration) {
  refused_until_ = std::max(refused_until_, network_.now() + duration);
}

void SimClient::Cut(Nanos client_told, Nanos server_told) {
  if (connection_) network_.Cut(connection_, client_told, server_told);
}

bool SimClient::HasConnection() const {
  return connection_ && connection_->up && !connection_->cut &&
         connection_->client_end && connection_->server_end;
}

void SimClient::At(Nanos when, std::function<void(SessionMachine&)> action) {
  network_.Push(
      when, /*server=*/false,
      [this, life = life_, action = std::move(action)] { Run(life, action); });
}

void SimClient::Run(uint64_t life,
                    const std::function<void(SessionMachine&)>& action) {
  if (life != life_ || machine_ == nullptr) return;
  if (stalled()) {
    network_.Push(stalled_until_, /*server=*/false,
                  [this, life, action] { Run(life, action); });
    return;
  }
  action(*machine_);
}

absl::Time SimClient::Now() {
  const Nanos now = network_.now();
  return ToTime(now + offset_ + (now - kOrigin) * fast_ppm_ / 1'000'000);
}

Nanos SimClient::ToGlobal(absl::Time when) const {
  const Nanos local = absl::ToInt64Nanoseconds(when - absl::UnixEpoch());
  Nanos global =
      kOrigin +
      static_cast<Nanos>(static_cast<__int128>(local - offset_ - kOrigin) *
                         1'000'000 / (1'000'000 + fast_ppm_));
  // Never early, whatever was rounded.
  while (global + offset_ + (global - kOrigin) * fast_ppm_ / 1'000'000 <
         local) {
    ++global;
  }
  return global;
}

void SimClient::SetTimer(absl::Time when) {
  const uint64_t timer = ++timer_;
  if (when == absl::InfiniteFuture()) return;
  const Nanos at = when <= Now() ? network_.now() : ToGlobal(when);
  At(at, [this, timer](SessionMachine&) { OnTimer(timer); });
}

void SimClient::OnTimer(uint64_t timer) {
  if (timer != timer_) return;
  ++timers_;
  machine_->OnTimer();
}

void SimClient::Connect(uint64_t number) {
  ++connects_;
  auto connection = std::make_shared<SimConnection>();
  connection->id = ++network_.last_connection_;
  connection->client = this;
  connection->life = life_;
  connection->number = number;
  connection_ = connection;
  network_.connections_.push_back(connection);
  const Nanos delay = network_.DelayOf(*connection, 0);
  if (network_.engine_ == nullptr || refused_until_ > network_.now()) {
    connection->cut = true;
    connection->server_end = false;
    network_.Push(network_.now() + delay, /*server=*/false,
                  [network = &network_, connection] {
                    network->TellClient(
                        connection, absl::UnavailableError("refused"), false);
                  });
    return;
  }
  connection->up = true;
}

void SimClient::Write(uint64_t number, std::string message) {
  if (!connection_ || connection_->number != number) return;
  const auto connection = connection_;
  const uint64_t written = ++connection->messages;
  const bool stuck = network_.options_.stuck_one_in > 0 &&
                     network_.Draw(network_.options_.stuck_one_in,
                                   connection->id, written, 5) == 0;
  network_.SendToServer(connection, std::move(message), stuck);
  if (stuck) return;
  const Nanos wrote =
      network_.now() +
      static_cast<Nanos>(network_.Draw(200'000, connection->id, written, 6));
  At(wrote, [number](SessionMachine& machine) { machine.OnWritten(number); });
}

void SimClient::Disconnect(uint64_t number) {
  if (!connection_ || connection_->number != number) return;
  const auto connection = std::exchange(connection_, nullptr);
  connection->client_end = false;
  // What another thread has in its hand already comes still.
  if (!connection->cut && !connection->to_client.empty() &&
      network_.Draw(4, connection->id, 7) == 0) {
    const auto late = std::make_shared<SimConnection::ToClient>(
        connection->to_client.front());
    At(network_.now(), [number, late](SessionMachine& machine) {
      if (late->end) {
        machine.OnClosed(number, *late->end, true);
      } else {
        machine.OnMessage(number, late->message);
      }
    });
  }
  connection->to_client.clear();
  network_.GoneToServer(connection);
}

// --- The network -------------------------------------------------------------

SimNetwork::SimNetwork(const NetworkOptions& options,
                       const engine::Limits& limits, NetworkObserver* observer)
    : options_(options),
      limits_(limits),
      observer_(observer == nullptr ? none_ : *observer),
      now_(kOrigin) {
  WAITQ_CHECK(clock_.Now() == ToTime(now_), "a clock begins at its origin");
  StartServer();
}

SimNetwork::~SimNetwork() {
  // Before the links that they use.
  for (const auto& client : clients_) client->machine_ = nullptr;
  if (engine_) StopServer(/*says_so=*/false, kForever);
  for (const auto& connection : connections_) {
    connection->transport = Ref<SimTransport>();
  }
}

SimClient& SimNetwork::AddClient(Nanos offset, int64_t fast_ppm) {
  clients_.push_back(std::make_unique<SimClient>(
      this, static_cast<int>(clients_.size()), offset, fast_ppm));
  return *clients_.back();
}

uint64_t SimNetwork::Draw(uint64_t n, uint64_t a, uint64_t b,
                          uint64_t c) const {
  return Mix(Mix(Mix(options_.seed + a) + b) + c) % n;
}

void SimNetwork::StartServer() {
  WAITQ_CHECK(engine_ == nullptr, "one server at a time");
  ++life_;
  generation_ += 1'000'000;
  engine_ =
      std::make_unique<engine::Engine>(limits_, &clock_.timers(), generation_);
}

void SimNetwork::StopServer(bool says_so, Nanos told) {
  if (engine_ == nullptr) return;
  const auto connections = connections_;
  if (!says_so) {
    for (const auto& connection : connections) {
      const Nanos when =
          told == kForever
              ? kForever
              : static_cast<Nanos>(
                    Draw(static_cast<uint64_t>(told) + 1, connection->id, 11));
      Cut(connection, when, kForever);
    }
  }
  engine_->EndSessions();
  for (const auto& connection : connections) {
    if (connection->transport) {
      connection->transport->Close(absl::UnavailableError("stops"));
      connection->transport->Drop();
    } else if (!connection->cut && connection->server_end) {
      CloseToClient(connection, absl::UnavailableError("stops"));
    }
    connection->transport = Ref<SimTransport>();
    connection->server_end = false;
    connection->to_server.clear();
  }
  engine_ = nullptr;
  ++life_;
  stalled_until_ = timers_wait_until_ = 0;
}

void SimNetwork::StallServer(Nanos duration, bool timers_first) {
  stalled_until_ = std::max(stalled_until_, now_ + duration);
  timers_wait_until_ =
      std::max(timers_wait_until_, stalled_until_ + (timers_first ? 0 : 1'000));
}

// --- Time --------------------------------------------------------------------

void SimNetwork::At(Nanos when, std::function<void()> action) {
  Push(when, /*server=*/false, std::move(action));
}

void SimNetwork::Push(Nanos when, bool server, std::function<void()> action) {
  if (server) {
    // Not on the next server.
    action = [this, life = life_, action = std::move(action)] {
      if (life == life_) action();
    };
  }
  queue_.push({std::max(when, now_), ++last_order_, server, std::move(action)});
}

void SimNetwork::MoveTo(Nanos when) {
  if (when <= now_) return;
  now_ = when;
  clock_.AdvanceWithoutTimers(ToTime(when) - clock_.Now());
}

bool SimNetwork::Spins() {
  ++events_;
  if (now_ != busy_at_) {
    busy_at_ = now_;
    busy_ = 0;
  }
  if (++busy_ > kSpinning) spins_ = true;
  return spins_;
}

void SimNetwork::RunUntil(Nanos until) {
  while (!spins_) {
    const Nanos next = queue_.empty() ? kForever : queue_.top().when;
    if (engine_ != nullptr) {
      if (const auto work = clock_.timers().NextWork()) {
        // Behind a stall of the server its timers are late.
        const Nanos due =
            std::max(absl::ToInt64Nanoseconds(*work - absl::UnixEpoch()),
                     std::max(timers_wait_until_, now_));
        if (due <= until && due <= next) {
          MoveTo(due);
          if (Spins()) return;
          if (clock_.timers().RunExpired() > 0) observer_.OnServerRan();
          continue;
        }
      }
    }
    if (next > until) break;
    MoveTo(next);
    if (Spins()) return;
    // The queue's top is const only so that nobody changes its place.
    Event event = std::move(const_cast<Event&>(queue_.top()));
    queue_.pop();
    if (event.server && now_ < stalled_until_) {
      event.when = stalled_until_;
      event.order = ++last_order_;
      queue_.push(std::move(event));
      continue;
    }
    event.action();
    if (event.server) observer_.OnServerRan();
  }
  MoveTo(until);
}

// --- Messages ----------------------------------------------------------------

Nanos SimNetwork::DelayOf(const SimConnection& connection,
                          uint64_t message) const {
  Nanos delay = options_.delay_min;
  if (options_.spread > 1) {
    const uint64_t more =
        Draw(16 * (options_.spread - 1), connection.id, message, 1);
    delay = delay * static_cast<Nanos>(16 + more) / 16;
  }
  if (options_.late_one_in > 0 &&
      Draw(options_.late_one_in, connection.id, message, 2) == 0) {
    delay +=
        static_cast<Nanos>(Draw(static_cast<uint64_t>(options_.late_max) + 1,
                                connection.id, message, 4));
  }
  return delay;
}

void SimNetwork::SendToServer(const std::shared_ptr<SimConnection>& connection,
                              std::string message, bool stuck, bool gone) {
  if (connection->cut || !connection->server_end) return;
  const Nanos when =
      std::max(connection->last_to_server,
               now_ + DelayOf(*connection, ++connection->messages));
  connection->last_to_server = when;
  connection->to_server.push_back({when, std::move(message), gone, stuck});
  Push(when, /*server=*/true,
       [this, connection] { DeliverToServer(connection); });
}

void SimNetwork::GoneToServer(
    const std::shared_ptr<SimConnection>& connection) {
  if (connection->cut || !connection->server_end) return;
  SendToServer(connection, std::string(), /*stuck=*/false, /*gone=*/true);
}

void SimNetwork::DeliverToServer(
    const std::shared_ptr<SimConnection>& connection) {
  if (connection->to_server.empty() || !connection->server_end) return;
  const SimConnection::ToServer sent = std::move(connection->to_server.front());
  connection->to_server.pop_front();
  if (sent.stuck && connection->client_end) {
    connection->client->At(
        now_, [number = connection->number](SessionMachine& machine) {
          machine.OnWritten(number);
        });
  }
  if (sent.gone) {
    if (connection->transport) connection->transport->OnGone();
    connection->server_end = false;
    connection->transport = Ref<SimTransport>();
    Sweep();
    return;
  }
  if (!connection->transport) {
    connection->transport =
        Ref<SimTransport>::Adopt(new SimTransport(this, connection));
  }
  // It may end within.
  const Ref<SimTransport> transport = connection->transport;
  transport->OnRead(sent.message);
}

void SimNetwork::SendToClient(const std::shared_ptr<SimConnection>& connection,
                              std::string message) {
  v1::SessionResponse response;
  WAITQ_CHECK(response.ParseFromString(message), "the server sends messages");
  observer_.OnResponse(connection->client->index(),
                       connection->transport->token(), response);
  if (connection->cut || !connection->client_end) return;
  const Nanos when =
      std::max(connection->last_to_client,
               now_ + DelayOf(*connection, ++connection->messages));
  connection->last_to_client = when;
  connection->to_client.push_back({when, std::move(response), {}});
  Push(when, /*server=*/false,
       [this, connection] { DeliverToClient(connection); });
}

void SimNetwork::CloseToClient(const std::shared_ptr<SimConnection>& connection,
                               const absl::Status& status) {
  if (connection->cut || !connection->client_end) return;
  const Nanos when =
      std::max(connection->last_to_client,
               now_ + DelayOf(*connection, ++connection->messages));
  connection->last_to_client = when;
  connection->to_client.push_back({when, {}, status});
  Push(when, /*server=*/false,
       [this, connection] { DeliverToClient(connection); });
}

void SimNetwork::DeliverToClient(
    const std::shared_ptr<SimConnection>& connection) {
  if (connection->to_client.empty()) return;
  SimClient& client = *connection->client;
  if (client.stalled()) {
    Push(client.stalled_until_, /*server=*/false,
         [this, connection] { DeliverToClient(connection); });
    return;
  }
  SimConnection::ToClient sent = std::move(connection->to_client.front());
  connection->to_client.pop_front();
  if (sent.end) return TellClient(connection, *sent.end, /*sent=*/true);
  if (!connection->client_end || client.machine_ == nullptr ||
      client.life_ != connection->life) {
    return;
  }
  client.machine_->OnMessage(connection->number, sent.message);
}

void SimNetwork::TellClient(const std::shared_ptr<SimConnection>& connection,
                            const absl::Status& status, bool sent) {
  SimClient& client = *connection->client;
  if (client.stalled()) {
    Push(client.stalled_until_, /*server=*/false,
         [this, connection, status, sent] {
           TellClient(connection, status, sent);
         });
    return;
  }
  if (!std::exchange(connection->client_end, false)) return;
  connection->to_client.clear();
  GoneToServer(connection);
  if (client.machine_ == nullptr || client.life_ != connection->life) return;
  client.machine_->OnClosed(connection->number, status, sent);
}

void SimNetwork::Cut(const std::shared_ptr<SimConnection>& connection,
                     Nanos client_told, Nanos server_told) {
  if (std::exchange(connection->cut, true)) return;
  connection->to_server.clear();
  connection->to_client.clear();
  if (client_told != kForever && connection->client_end) {
    Push(now_ + client_told, /*server=*/false, [this, connection] {
      TellClient(connection, absl::UnavailableError("connection lost"),
                 /*sent=*/true);
    });
  }
  if (server_told != kForever && connection->server_end) {
    Push(now_ + server_told, /*server=*/true, [this, connection] {
      if (!std::exchange(connection->server_end, false)) return;
      if (connection->transport) connection->transport->OnGone();
      connection->transport = Ref<SimTransport>();
      Sweep();
    });
  }
}

void SimNetwork::Sweep() {
  if (connections_.size() < 64) return;
  std::erase_if(connections_, [](const auto& connection) {
    return !connection->client_end && !connection->server_end;
  });
}

}  // namespace waitq::sim
