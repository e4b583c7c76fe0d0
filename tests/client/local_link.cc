#include "tests/client/local_link.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/time/clock.h"
#include "client/error.h"
#include "core/clock.h"
#include "core/timers.h"
#include "server/engine/error.h"
#include "server/engine/session.h"
#include "server/rpc/session_messages.h"
#include "server/rpc/status_map.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq::test {
namespace {

using engine::Ref;
using engine::Session;

// As client/status_map.cc reads a status that server/rpc/status_map.cc wrote.
absl::Status OverTheWire(const absl::Status& status) {
  if (status.ok()) return status;
  absl::Status read(status.code(), status.message());
  const engine::ErrorDetails details = engine::DetailsOf(status);
  SetErrorField(read, kReasonKey, details.reason);
  for (const auto& [key, value] : details.metadata) {
    SetErrorField(read, key, value);
  }
  return read;
}

}  // namespace

// Both ends of it.
struct LocalConnection {
  uint64_t number = 0;
  SessionMachine* machine = nullptr;
  std::shared_ptr<EventThread> client;

  // The server's lock: whether what each end says reaches the other.
  bool open = true;
  // The server's thread. It may have a stream that the client knows no more of.
  bool served = true;
  Ref<LocalTransport> transport;
};

// The server's end of a stream, as server/rpc/session_call.cc is one.
class LocalTransport final : public engine::SessionTransport {
 public:
  LocalTransport(LocalServer* server, engine::Engine* engine,
                 std::shared_ptr<LocalConnection> connection)
      : server_(*server),
        engine_(*engine),
        connection_(std::move(connection)) {}

  // On the server's thread.
  void OnRead(const std::string& bytes) {
    if (!reading_) return;
    const auto message = std::make_shared<v1::SessionRequest>();
    if (!message->ParseFromString(bytes)) std::abort();
    if (session_) {
      session_->Run([self = Ref<LocalTransport>(this), message] {
        self->Serve(*message);
      });
      return;
    }
    auto session = rpc::FindSession(engine_, *message, "local");
    if (!session.ok()) {
      reading_ = false;
      return Close(session.status());
    }
    session_ = *std::move(session);
    session_->Run([self = Ref<LocalTransport>(this), message] {
      self->stream_ =
          rpc::AttachSession(*self->session_, *message, self, "local");
      if (self->stream_ == 0) return self->Close(rpc::SessionGoneError());
      self->Serve(*message);
    });
  }

  // The client's end is gone, as far as this one knows.
  void OnGone() {
    reading_ = false;
    if (!session_) return;
    session_->Run(
        [session = session_, stream = stream_] { session->Detach(stream); });
  }

  void Kick(uint64_t stream) override {
    engine::SessionMessage message;
    if (!session_->Take(stream, rpc::kSessionMessageBytes, message)) return;
    const std::string bytes =
        rpc::EncodeSessionMessage(engine_, *session_, message);
    if (!server_.Send(connection_, bytes)) return;
    server_.thread_.Post(
        [self = Ref<LocalTransport>(this), stream] { self->Kick(stream); });
  }

  void Close(const absl::Status& status) override {
    server_.Close(connection_, OverTheWire(status));
  }

  void Probe(std::function<void()> done) override {
    server_.thread_.Post(std::move(done));
  }

 private:
  void Serve(const v1::SessionRequest& message) {
    const std::string bytes = message.SerializeAsString();
    rpc::SessionInput input;
    if (!input.Parse(bytes)) std::abort();
    bool more = true;
    // Of an error the session's end has told this stream.
    (void)rpc::ServeSessionMessage(engine_, *session_, stream_, input, more);
    if (!more) reading_ = false;
  }

  LocalServer& server_;
  engine::Engine& engine_;
  const std::shared_ptr<LocalConnection> connection_;
  Ref<Session> session_;
  uint64_t stream_ = 0;
  bool reading_ = true;
};

// --- The server --------------------------------------------------------------

struct LocalServer::Life {
  explicit Life(const engine::Limits& limits)
      : timers(&Clock::Real()),
        engine(limits, &timers,
               static_cast<uint64_t>(absl::ToUnixNanos(absl::Now()))),
        timer_thread(&timers) {}

  Timers timers;
  engine::Engine engine;
  TimerThread timer_thread;  // destroyed first: it fires into the engine
};

LocalServer::LocalServer(const engine::Limits& limits)
    : limits_(limits), life_(std::make_unique<Life>(limits)) {}

LocalServer::~LocalServer() {
  Stop();
  thread_.Stop();
}

std::unique_ptr<Client> LocalServer::NewClient(const ClientOptions& options) {
  const std::string nowhere = "unix:/nonexistent/waitq.sock";
  return ClientMaker::Make(options, {.address = nowhere, .target = nowhere},
                           std::make_unique<LocalLink>(this));
}

void LocalServer::Run(const std::function<void(engine::Engine&)>& action) {
  thread_.Run([&] { action(life_->engine); });
}

void LocalServer::SetCut(const Cut& cut) {
  absl::MutexLock lock(&mu_);
  cut_ = cut;
  messages_ = 0;
}

bool LocalServer::HasCut() const {
  absl::MutexLock lock(&mu_);
  return cut_.message != 0 && messages_ >= cut_.message;
}

void LocalServer::Stop() {
  std::vector<std::shared_ptr<LocalConnection>> connections;
  thread_.Run([this, &connections] {
    if (life_ == nullptr) return;
    {
      absl::MutexLock lock(&mu_);
      up_ = false;
      connections.swap(connections_);
      for (const auto& connection : connections) {
        if (!std::exchange(connection->open, false)) continue;
        connection->client->Post([connection] {
          connection->machine->OnClosed(connection->number,
                                        absl::UnavailableError("killed"),
                                        /*sent=*/true);
        });
      }
    }
    for (const auto& connection : connections) {
      connection->served = false;
      connection->transport = Ref<LocalTransport>();
    }
    // What it says at its end nobody hears.
    life_->engine.Stop();
    life_ = nullptr;
  });
  for (const auto& connection : connections) connection->client->Run([] {});
}

void LocalServer::Start() {
  thread_.Run([this] {
    life_ = std::make_unique<Life>(limits_);
    absl::MutexLock lock(&mu_);
    up_ = true;
  });
}

bool LocalServer::IsCutLocked(LocalConnection& connection) {
  ++messages_;
  if (cut_.message == 0 || messages_ < cut_.message) return false;
  const uint64_t beyond = messages_ - cut_.message;
  if (beyond > 0 && (cut_.every == 0 || beyond % cut_.every != 0)) return false;
  connection.open = false;
  return true;
}

void LocalServer::Connect(const std::shared_ptr<LocalConnection>& connection) {
  absl::MutexLock lock(&mu_);
  if (up_) {
    // Those that are over are forgotten now and then.
    if (connections_.size() >= 64) {
      std::erase_if(connections_, [](const auto& old) { return !old->open; });
    }
    connections_.push_back(connection);
    return;
  }
  connection->open = false;
  connection->client->Post([connection] {
    connection->machine->OnClosed(connection->number,
                                  absl::UnavailableError("refused"),
                                  /*sent=*/false);
  });
}

void LocalServer::Write(const std::shared_ptr<LocalConnection>& connection,
                        std::string message) {
  absl::MutexLock lock(&mu_);
  if (!connection->open) return;
  const bool cut = IsCutLocked(*connection);
  if (!cut || !cut_.lost) {
    thread_.Post([this, connection, message = std::move(message)] {
      Serve(connection, message);
    });
  }
  if (!cut) {
    connection->client->Post(
        [connection] { connection->machine->OnWritten(connection->number); });
    return;
  }
  // After it was served: should the client come again before that, it would
  // count as lost.
  thread_.Post([connection, told = cut_.server_told] {
    if (told && connection->transport) connection->transport->OnGone();
    connection->client->Post([connection] {
      connection->machine->OnClosed(connection->number,
                                    absl::UnavailableError("cut"),
                                    /*sent=*/true);
    });
  });
}

void LocalServer::Serve(const std::shared_ptr<LocalConnection>& connection,
                        const std::string& message) {
  if (!connection->served || life_ == nullptr) return;
  if (!connection->transport) {
    connection->transport = Ref<LocalTransport>::Adopt(
        new LocalTransport(this, &life_->engine, connection));
  }
  // It may end within.
  const Ref<LocalTransport> transport = connection->transport;
  transport->OnRead(message);
}

void LocalServer::Disconnect(
    const std::shared_ptr<LocalConnection>& connection) {
  absl::MutexLock lock(&mu_);
  if (!std::exchange(connection->open, false)) return;
  thread_.Post([connection] {
    if (connection->transport) connection->transport->OnGone();
    connection->transport = Ref<LocalTransport>();
    connection->served = false;
  });
}

bool LocalServer::Send(const std::shared_ptr<LocalConnection>& connection,
                       const std::string& message) {
  absl::MutexLock lock(&mu_);
  if (!connection->open) return false;
  const bool cut = IsCutLocked(*connection);
  if (!cut || !cut_.lost) {
    connection->client->Post([connection, message] {
      v1::SessionResponse response;
      if (!response.ParseFromString(message)) std::abort();
      connection->machine->OnMessage(connection->number, response);
    });
  }
  if (!cut) return true;
  if (cut_.server_told) {
    thread_.Post([connection] {
      if (connection->transport) connection->transport->OnGone();
    });
  }
  connection->client->Post([connection] {
    connection->machine->OnClosed(connection->number,
                                  absl::UnavailableError("cut"),
                                  /*sent=*/true);
  });
  return false;
}

void LocalServer::Close(const std::shared_ptr<LocalConnection>& connection,
                        const absl::Status& status) {
  // Not within what has called it.
  thread_.Post([connection] {
    connection->served = false;
    connection->transport = Ref<LocalTransport>();
  });
  absl::MutexLock lock(&mu_);
  if (!connection->open) return;
  const bool lost = IsCutLocked(*connection) && cut_.lost;
  connection->open = false;
  connection->client->Post(
      [connection, status = lost ? absl::UnavailableError("cut") : status] {
        connection->machine->OnClosed(connection->number, status,
                                      /*sent=*/true);
      });
}

// --- A client's end ----------------------------------------------------------

LocalLink::LocalLink(LocalServer* server) : server_(*server) {}
LocalLink::~LocalLink() = default;

void LocalLink::Stop() {
  std::shared_ptr<LocalConnection> last;
  {
    absl::MutexLock lock(&mu_);
    last = std::move(connection_);
  }
  if (last) server_.Disconnect(last);
  thread_->Stop();
}

std::shared_ptr<LocalConnection> LocalLink::Find(uint64_t number) {
  absl::MutexLock lock(&mu_);
  if (!connection_ || connection_->number != number) return nullptr;
  return connection_;
}

void LocalLink::Connect(uint64_t number) {
  auto connection = std::make_shared<LocalConnection>();
  connection->number = number;
  connection->machine = machine_;
  connection->client = thread_;
  {
    absl::MutexLock lock(&mu_);
    connection_ = connection;
  }
  server_.Connect(connection);
}

void LocalLink::Write(uint64_t number, std::string message) {
  if (const auto connection = Find(number)) {
    server_.Write(connection, std::move(message));
  }
}

void LocalLink::Disconnect(uint64_t number) {
  const auto connection = Find(number);
  if (!connection) return;
  {
    absl::MutexLock lock(&mu_);
    if (connection_ == connection) connection_ = nullptr;
  }
  server_.Disconnect(connection);
}

void LocalLink::SetTimer(absl::Time when) {
  thread_->SetTimer(when, [this] { machine_->OnTimer(); });
}

}  // namespace waitq::test
