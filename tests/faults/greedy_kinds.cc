#include "tests/faults/greedy_kinds.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "grpcpp/grpcpp.h"
#include "tests/faults/greedy_streams.h"
#include "transport/error_info.h"
#include "waitq/v1/objects.grpc.pb.h"
#include "waitq/v1/pipes.grpc.pb.h"
#include "waitq/v1/sessions.grpc.pb.h"
#include "waitq/v1/wait_queues.grpc.pb.h"

namespace waitq::test {
namespace {

// Something that is sure to come.
constexpr absl::Duration kPatience = absl::Seconds(60);

template <class State>
void Await(const char* what, State state) {
  const absl::Time end = absl::Now() + kPatience;
  while (!state()) {
    if (absl::Now() > end) {
      std::fprintf(stderr, "greedy_client: waited in vain: %s\n", what);
      std::_Exit(1);
    }
    absl::SleepFor(absl::Milliseconds(1));
  }
}

// Of a refusal; "" of anything else.
std::string LimitOf(const grpc::Status& status) {
  const auto info = ParseErrorInfo(status);
  if (!info.has_value()) return "";
  const auto limit = info->metadata.find("limit");
  return limit == info->metadata.end() ? "" : limit->second;
}
std::string LimitOf(const v1::Failure& failure) {
  const auto limit = failure.metadata().find("limit");
  return limit == failure.metadata().end() ? "" : limit->second;
}

// A connection of its own, so a caller of its own.
class Connection {
 public:
  explicit Connection(const std::string& server) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetMaxSendMessageSize(-1);
    // As small as HTTP/2 has it: what a client does not read costs it little.
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 65'535);
    channel_ = grpc::CreateCustomChannel(
        server, grpc::InsecureChannelCredentials(), arguments);
    wait_queues = v1::WaitQueues::NewStub(channel_);
    pipes = v1::Pipes::NewStub(channel_);
    objects = v1::Objects::NewStub(channel_);
    sessions = v1::Sessions::NewStub(channel_);
  }

  // A call that does not sleep.
  template <class Stub, class Request, class Response>
  grpc::Status Call(Stub& stub,
                    grpc::Status (Stub::*method)(grpc::ClientContext*,
                                                 const Request&, Response*),
                    const Request& request, Response& response) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() +
                         absl::ToChronoSeconds(kPatience));
    return (stub.*method)(&context, request, &response);
  }

  grpc::Status MakePipe(const std::string& name, uint64_t bytes) {
    v1::CreateRequest request;
    request.set_name(name);
    request.mutable_pipe()->set_capacity_bytes(bytes);
    request.mutable_pipe()->set_atomic_max_bytes(bytes);
    v1::CreateResponse response;
    return Call(*objects, &v1::Objects::Stub::Create, request, response);
  }
  // Bytes that are there or not, without a sleep.
  grpc::Status Write(const std::string& name, uint64_t bytes,
                     v1::WriteResponse& response) {
    v1::WriteRequest request;
    request.set_name(name);
    request.set_data(std::string(bytes, 'x'));
    request.set_nonblock(true);
    return Call(*pipes, &v1::Pipes::Stub::Write, request, response);
  }
  // Until it is full; what limit refused it.
  std::string FillUp(const std::string& name, uint64_t piece_bytes) {
    for (;;) {
      v1::WriteResponse response;
      const grpc::Status status = Write(name, piece_bytes, response);
      if (!status.ok()) return LimitOf(status);
      if (response.outcome() == v1::OUTCOME_WOULD_BLOCK) return "";
    }
  }
  uint64_t SleepersOn(const std::string& name) {
    v1::StatRequest request;
    request.set_name(name);
    v1::StatResponse response;
    (void)Call(*objects, &v1::Objects::Stub::Stat, request, response);
    return response.object().sleepers();
  }

  std::unique_ptr<v1::WaitQueues::Stub> wait_queues;
  std::unique_ptr<v1::Pipes::Stub> pipes;
  std::unique_ptr<v1::Objects::Stub> objects;
  std::unique_ptr<v1::Sessions::Stub> sessions;

 private:
  std::shared_ptr<grpc::Channel> channel_;
};

// This program's own.
std::string Name(const std::string& name) {
  return absl::StrCat(kGreedyPrefix, getpid(), "/", name);
}

// --- Unary calls that sleep --------------------------------------------------

// Counts those that come back: they were refused.
template <class Request, class Response>
class Sleeping {
 public:
  // The stub's method with a callback, for a request.
  using Start =
      std::function<void(grpc::ClientContext*, const Request*, Response*,
                         std::function<void(grpc::Status)>)>;

  // Starts one.
  void Begin(const Start& start, const Request& request) {
    struct Parts {
      grpc::ClientContext context;
      Request request;
      Response response;
    };
    auto* const parts =
        new Parts{.context = {}, .request = request, .response = {}};
    ++begun_;
    start(&parts->context, &parts->request, &parts->response,
          [this](const grpc::Status& status) {
            if (LimitOf(status).empty()) return;
            MutexLock lock(&mu_);
            limit_ = LimitOf(status);
            ++refused_;
          });
  }

  // Begins more and more, until some are refused. `object`: that they sleep on.
  Taken Fill(Connection& to_ask, const std::string& object,
             const std::function<void()>& begin) {
    constexpr uint64_t kTogether = 64;
    for (;;) {
      for (uint64_t i = 0; i < kTogether; ++i) begin();
      Await("sleepers",
            [&] { return to_ask.SleepersOn(object) + refused() >= begun_; });
      if (refused() > 0) break;
    }
    MutexLock lock(&mu_);
    return {.count = begun_ - refused_, .limit = limit_};
  }

 private:
  uint64_t refused() {
    MutexLock lock(&mu_);
    return refused_;
  }

  uint64_t begun_ = 0;
  Mutex mu_;
  uint64_t refused_ ABSL_GUARDED_BY(mu_) = 0;
  std::string limit_ ABSL_GUARDED_BY(mu_);
};

// Waits that nobody will wake, of one connection.
class Sleepers final : public GreedyKind {
 public:
  explicit Sleepers(const std::string& server) : connection_(server) {}
  Taken Fill() override {
    return sleeping_.Fill(connection_, Name("sleepers"), [this] { Insist(); });
  }
  void Insist() override {
    v1::WaitRequest request;
    request.set_name(Name("sleepers"));
    sleeping_.Begin(
        [this](auto* context, auto* wait, auto* response, auto done) {
          connection_.wait_queues->async()->Wait(context, wait, response,
                                                 std::move(done));
        },
        request);
  }

 private:
  Connection connection_;
  Sleeping<v1::WaitRequest, v1::WaitResponse> sleeping_;
};

// Writes into a pipe that is full, as long as a message may be about.
class BytesAsleep final : public GreedyKind {
 public:
  explicit BytesAsleep(const std::string& server) : connection_(server) {}
  Taken Fill() override {
    constexpr uint64_t kPipeBytes = 4096;
    (void)connection_.MakePipe(Name("full"), kPipeBytes);
    connection_.FillUp(Name("full"), kPipeBytes);
    Taken taken =
        sleeping_.Fill(connection_, Name("full"), [this] { Insist(); });
    taken.count *= kWriteBytes;
    return taken;
  }
  void Insist() override {
    v1::WriteRequest request;
    request.set_name(Name("full"));
    request.set_data(std::string(kWriteBytes, 'x'));
    sleeping_.Begin(
        [this](auto* context, auto* write, auto* response, auto done) {
          connection_.pipes->async()->Write(context, write, response,
                                            std::move(done));
        },
        request);
  }

 private:
  static constexpr uint64_t kWriteBytes = 128 << 10;

  Connection connection_;
  Sleeping<v1::WriteRequest, v1::WriteResponse> sleeping_;
};

// --- Things with names -------------------------------------------------------

class Objects final : public GreedyKind {
 public:
  explicit Objects(const std::string& server) : connection_(server) {}
  Taken Fill() override {
    for (uint64_t n = 0;; ++n) {
      const grpc::Status status = Make(n);
      if (!status.ok()) return {.count = n, .limit = LimitOf(status)};
    }
  }
  void Insist() override { (void)Make(UINT64_MAX); }

 private:
  grpc::Status Make(uint64_t n) {
    v1::CreateRequest request;
    request.set_name(Name(absl::StrCat("object/", n)));
    request.mutable_wait_queue();
    v1::CreateResponse response;
    return connection_.Call(*connection_.objects, &v1::Objects::Stub::Create,
                            request, response);
  }

  Connection connection_;
};

// Bytes in pipes that nobody reads.
class PipeBytes final : public GreedyKind {
 public:
  explicit PipeBytes(const std::string& server) : connection_(server) {}
  Taken Fill() override {
    for (uint64_t n = 0;; ++n) {
      name_ = Name(absl::StrCat("bytes/", n));
      grpc::Status status = connection_.MakePipe(name_, kPipeBytes);
      std::string limit =
          status.ok() ? connection_.FillUp(name_, kPieceBytes) : "";
      if (status.ok() && limit.empty()) continue;
      // To the last byte of what such writes can take.
      v1::StatRequest stat;
      stat.set_name(name_);
      v1::StatResponse last;
      (void)connection_.Call(*connection_.objects, &v1::Objects::Stub::Stat,
                             stat, last);
      return {.count = n * kPipeBytes + last.object().pipe().unread_bytes(),
              .limit = status.ok() ? limit : LimitOf(status)};
    }
  }
  void Insist() override {
    v1::WriteResponse response;
    (void)connection_.Write(name_, kPieceBytes, response);
  }

 private:
  static constexpr uint64_t kPieceBytes = 64 << 10;
  static constexpr uint64_t kPipeBytes = 16 * kPieceBytes;

  Connection connection_;
  std::string name_;
};

// Answers that are to be kept.
class KeptAnswers final : public GreedyKind {
 public:
  explicit KeptAnswers(const std::string& server) : connection_(server) {}
  Taken Fill() override {
    for (uint64_t n = 0;; ++n) {
      const grpc::Status status = Store(n);
      if (!status.ok()) return {.count = n, .limit = LimitOf(status)};
    }
  }
  void Insist() override { (void)Store(UINT32_MAX); }

 private:
  grpc::Status Store(uint64_t n) {
    v1::StoreRequest request;
    request.set_name(kGreedyKept);
    request.set_request_id(absl::StrFormat("00000000-0000-0000-0000-%012d", n));
    v1::StoreResponse response;
    return connection_.Call(*connection_.wait_queues,
                            &v1::WaitQueues::Stub::Store, request, response);
  }

  Connection connection_;
};

// --- Streams that nobody reads -----------------------------------------------

// Readers of a full pipe, which take a message and no more. When what was read
// for them and is not sent reaches its limit, the next gets none.
class UnreadStreams final : public GreedyKind {
 public:
  explicit UnreadStreams(const std::string& server)
      : connection_(server), other_(server) {}
  Taken Fill() override {
    (void)other_.MakePipe(Name("unread"), kPipeBytes);
    for (;;) {
      const std::string limit = Open();
      if (!limit.empty()) return {.count = Readers(), .limit = limit};
    }
  }
  void Insist() override { (void)Open(); }

 private:
  using Stream = GreedyStream<v1::ReadStreamRequest, v1::ReadStreamResponse>;
  static constexpr uint64_t kPipeBytes = 512 << 10;
  static constexpr uint64_t kPieceBytes = 64 << 10;

  // Which limit has refused it its first bytes, or "".
  std::string Open() {
    std::atomic<int> came = 0;
    auto* const stream =
        new Stream(2, [&came](const v1::ReadStreamResponse&) { ++came; });
    connection_.pipes->async()->ReadStream(stream->context(), stream);
    stream->Begin();
    v1::ReadStreamRequest open;
    open.mutable_open()->set_name(Name("unread"));
    stream->Send(open);
    Await("a reader", [&] {
      // What others took makes room.
      other_.FillUp(Name("unread"), kPieceBytes);
      return came == 2 || stream->ended().has_value();
    });
    const auto ended = stream->ended();
    return ended.has_value() ? LimitOf(*ended) : "";
  }
  uint64_t Readers() {
    v1::StatRequest stat;
    stat.set_name(Name("unread"));
    v1::StatResponse response;
    (void)other_.Call(*other_.objects, &v1::Objects::Stub::Stat, stat,
                      response);
    return response.object().pipe().readers();
  }

  Connection connection_;
  Connection other_;  // what it does counts as another caller's
};

// Polls of many names, or of one many times, whose changes are not read.
class UnreadPolls final : public GreedyKind {
 public:
  explicit UnreadPolls(const std::string& server)
      : connection_(server), other_(server) {}
  Taken Fill() override {
    (void)other_.MakePipe(Name("polled"), 4096);
    for (;;) {
      const uint64_t before = SleepersOnPolled();
      Open();
      // Some of them may be refused, which is not read: then their number stays
      // as it is.
      uint64_t now = before;
      int same = 0;
      Await("polls", [&] {
        const uint64_t last = std::exchange(now, SleepersOnPolled());
        same = now == last ? same + 1 : 0;
        return now == before + kTogether || same == 50;
      });
      const std::string limit = LimitOf(Wait());
      if (!limit.empty()) return {.count = now, .limit = limit};
    }
  }
  // They all change.
  void Insist() override {
    v1::WriteResponse written;
    (void)other_.Write(Name("polled"), 1, written);
    v1::ReadRequest request;
    request.set_name(Name("polled"));
    request.set_nonblock(true);
    v1::ReadResponse read;
    (void)other_.Call(*other_.pipes, &v1::Pipes::Stub::Read, request, read);
  }

 private:
  using Stream = GreedyStream<v1::PollStreamRequest, v1::PollStreamResponse>;
  static constexpr uint64_t kTogether = 100;

  void Open() {
    auto* const stream = new Stream(0);
    connection_.pipes->async()->PollStream(stream->context(), stream);
    stream->Begin();
    v1::PollStreamRequest watch;
    for (uint64_t id = 1; id <= kTogether; ++id) {
      auto& one = *watch.add_watch();
      one.set_id(id);
      one.set_name(Name("polled"));
      one.set_in(true);
    }
    stream->Send(watch);
  }
  uint64_t SleepersOnPolled() { return other_.SleepersOn(Name("polled")); }
  // For a moment; refused when the caller has as many as it may.
  grpc::Status Wait() {
    v1::WaitRequest request;
    request.set_name(Name("moment"));
    request.mutable_timeout()->set_nanos(1'000'000);
    v1::WaitResponse response;
    return connection_.Call(*connection_.wait_queues,
                            &v1::WaitQueues::Stub::Wait, request, response);
  }

  Connection connection_;
  Connection other_;
};

// --- Sessions ----------------------------------------------------------------

// Operations in a message.
constexpr uint64_t kInMessage = 16;

class GreedySession;

// Beats for all sessions of the program, or they would expire.
class Heart {
 public:
  static Heart& Get() {
    static auto& heart = *new Heart;
    return heart;
  }
  void Add(GreedySession* session) {
    MutexLock lock(&mu_);
    sessions_.push_back(session);
  }

 private:
  Heart() {
    std::thread([this] { Run(); }).detach();
  }
  [[noreturn]] void Run();

  Mutex mu_;
  std::vector<GreedySession*> sessions_ ABSL_GUARDED_BY(mu_);
};

// One that acknowledges nothing.
class GreedySession {
 public:
  GreedySession(Connection& connection, bool reads)
      : stream_(reads ? Stream::kAll : 0,
                [this](const auto& response) { See(response); }) {
    connection.sessions->async()->Attach(stream_.context(), &stream_);
    stream_.Begin();
    v1::SessionRequest first;
    first.mutable_hello()->mutable_grace()->set_seconds(kGraceSeconds);
    stream_.Send(first);
    Heart::Get().Add(this);
  }

  // Sends so many of them.
  void Do(const v1::Operation& operation, uint64_t times) {
    v1::SessionRequest message;
    message.set_first_operation(operations_ + 1);
    for (uint64_t i = 0; i < times; ++i) {
      *message.add_operations() = operation;
    }
    operations_ += times;
    stream_.Send(message);
  }
  // On any thread. Returns the number of the heartbeat.
  uint64_t Beat() {
    MutexLock lock(&mu_);
    v1::SessionRequest message;
    message.set_heartbeat(++beats_);
    stream_.Send(message);
    return beats_;
  }
  // Until the server has begun what it was sent; which limit has refused the
  // whole session, or "".
  std::string Settle() {
    const uint64_t beat = Beat();
    Await("a heartbeat", [&] {
      MutexLock lock(&mu_);
      return beaten_ >= beat || stream_.ended().has_value();
    });
    const auto ended = stream_.ended();
    return ended.has_value() ? LimitOf(*ended) : "";
  }
  // Sends more of them until one is refused: how many were not.
  Taken FillWith(const std::vector<v1::Operation>& operations) {
    for (;;) {
      for (const v1::Operation& each : operations) Do(each, kInMessage);
      Settle();
      MutexLock lock(&mu_);
      if (refused_ > 0) return {.count = refused_ - 1, .limit = limit_};
    }
  }

 private:
  using Stream = GreedyStream<v1::SessionRequest, v1::SessionResponse>;
  static constexpr int kGraceSeconds = 10;

  void See(const v1::SessionResponse& response) {
    MutexLock lock(&mu_);
    beaten_ = std::max(beaten_, response.heartbeat());
    for (const v1::Result& result : response.results()) {
      if (!result.has_failure() || LimitOf(result.failure()).empty()) continue;
      if (refused_ != 0 && result.operation() > refused_) continue;
      refused_ = result.operation();
      limit_ = LimitOf(result.failure());
    }
  }

  uint64_t operations_ = 0;
  Mutex mu_;
  uint64_t beats_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t beaten_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t refused_ ABSL_GUARDED_BY(mu_) = 0;  // the first operation
  std::string limit_ ABSL_GUARDED_BY(mu_);
  Stream stream_;
};

void Heart::Run() {
  for (;;) {
    absl::SleepFor(absl::Milliseconds(500));
    MutexLock lock(&mu_);
    for (GreedySession* session : sessions_) session->Beat();
  }
}

v1::Operation WaitForEver() {
  v1::Operation operation;
  operation.mutable_wait()->set_name(Name("never"));
  return operation;
}
v1::Operation ReadOf(const std::string& name) {
  v1::Operation operation;
  operation.mutable_read()->set_name(name);
  operation.mutable_read()->set_max_bytes(8192);
  return operation;
}
v1::Operation WriteOf(const std::string& name) {
  v1::Operation operation;
  operation.mutable_write()->set_name(name);
  operation.mutable_write()->set_data(std::string(8192, 'x'));
  return operation;
}

// Keeps all that it is given: its results' bytes, then their number.
class Unacknowledged final : public GreedyKind {
 public:
  explicit Unacknowledged(const std::string& server)
      : connection_(server), session_(connection_, /*reads=*/true) {}
  Taken Fill() override {
    // What is held for it stays in the pipe.
    (void)connection_.MakePipe(Name("unacknowledged"), 1 << 20);
    return session_.FillWith(
        {WriteOf(Name("unacknowledged")), ReadOf(Name("unacknowledged"))});
  }
  void Insist() override {}  // so many more would end the session

 private:
  Connection connection_;
  GreedySession session_;
};

// Asks for much, and reads none of it.
class UnreadSession final : public GreedyKind {
 public:
  explicit UnreadSession(const std::string& server)
      : connection_(server), session_(connection_, /*reads=*/false) {}
  Taken Fill() override {
    (void)connection_.MakePipe(Name("unread-session"), 1 << 20);
    for (uint64_t n = 0; n < kTimes; n += kInMessage) {
      session_.Do(WriteOf(Name("unread-session")), kInMessage);
      session_.Do(ReadOf(Name("unread-session")), kInMessage);
    }
    // Its operations have all begun when it has none of the pipe's bytes to
    // come.
    session_.Do(WaitForEver(), 1);
    Await("an unread session",
          [&] { return connection_.SleepersOn(Name("never")) > 0; });
    return {.count = 2 * kTimes + 1, .limit = ""};
  }
  void Insist() override {}  // so many more would end the session

 private:
  static constexpr uint64_t kTimes = 192;

  Connection connection_;
  GreedySession session_;
};

// As many sleepers as a session may have, in several of them.
class Parked final : public GreedyKind {
 public:
  explicit Parked(const std::string& server) : connection_(server) {}
  Taken Fill() override {
    Taken all;
    for (int i = 0; i < kSessions; ++i) {
      sessions_.push_back(
          std::make_unique<GreedySession>(connection_, /*reads=*/true));
      const Taken taken = sessions_.back()->FillWith({WaitForEver()});
      all.count += taken.count;
      all.limit = taken.limit;
    }
    return all;
  }
  void Insist() override {}  // as above

 private:
  static constexpr int kSessions = 4;

  Connection connection_;
  std::vector<std::unique_ptr<GreedySession>> sessions_;
};

// Each has a sleeper, by which it is seen when it is gone.
class Sessions final : public GreedyKind {
 public:
  explicit Sessions(const std::string& server) : connection_(server) {}
  Taken Fill() override {
    for (;;) {
      const std::string limit = Open();
      if (!limit.empty()) return {.count = sessions_.size(), .limit = limit};
    }
  }
  void Insist() override { (void)Open(); }

 private:
  // Which limit has refused it, or "".
  std::string Open() {
    auto session = std::make_unique<GreedySession>(connection_, /*reads=*/true);
    const std::string limit = session->Settle();
    if (limit.empty()) {
      session->Do(WaitForEver(), 1);
      session->Settle();
      sessions_.push_back(std::move(session));
    } else {
      (void)session.release();  // lives as long as its program
    }
    return limit;
  }

  Connection connection_;
  std::vector<std::unique_ptr<GreedySession>> sessions_;
};

template <class Kind>
std::unique_ptr<GreedyKind> Make(const std::string& server) {
  return std::make_unique<Kind>(server);
}

}  // namespace

const std::vector<GreedyKindMaker>& GreedyKinds() {
  static const auto& kinds = *new std::vector<GreedyKindMaker>{
      {"unread-session", &Make<UnreadSession>},
      {"unacknowledged", &Make<Unacknowledged>},
      {"parked", &Make<Parked>},
      {"sessions", &Make<Sessions>},
      {"sleepers", &Make<Sleepers>},
      {"bytes-asleep", &Make<BytesAsleep>},
      {"unread-streams", &Make<UnreadStreams>},
      {"unread-polls", &Make<UnreadPolls>},
      {"kept-answers", &Make<KeptAnswers>},
      {"pipe-bytes", &Make<PipeBytes>},
      {"objects", &Make<Objects>},
  };
  return kinds;
}

}  // namespace waitq::test
