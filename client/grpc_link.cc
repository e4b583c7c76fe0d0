#include "client/grpc_link.h"

#include <algorithm>
#include <ctime>
#include <functional>
#include <utility>

#include "absl/status/status.h"
#include "client/status_map.h"
#include "google/protobuf/arena.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/proto_buffer_reader.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq {
namespace {

constexpr char kMethod[] = "/waitq.v1.Sessions/Attach";

// Should nothing else wake it.
constexpr absl::Duration kLongestWait = absl::Hours(1);

gpr_timespec ToGrpc(absl::Time time) {
  const timespec spec = absl::ToTimespec(time - absl::UnixEpoch());
  gpr_timespec result;
  result.tv_sec = spec.tv_sec;
  result.tv_nsec = static_cast<int32_t>(spec.tv_nsec);
  result.clock_type = GPR_CLOCK_MONOTONIC;
  return result;
}

}  // namespace

// What gRPC gives back, once.
class GrpcLink::Tag {
 public:
  using Done = void (Connection::*)(bool ok);
  explicit Tag(Done done) : done_(done) {}
  // With a reference to the connection, which it has until it comes back.
  void* Give(std::shared_ptr<Connection> connection) {
    connection_ = std::move(connection);
    return this;
  }
  void ComeBack(bool ok) {
    const std::shared_ptr<Connection> connection = std::move(connection_);
    ((*connection).*done_)(ok);
  }

 private:
  const Done done_;
  std::shared_ptr<Connection> connection_;
};

// One stream. It lives for as long as gRPC has a tag of it.
class GrpcLink::Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(GrpcLink* link, std::shared_ptr<grpc::GenericStub> stub,
             uint64_t number)
      : link_(*link), stub_(std::move(stub)), number_(number) {}

  uint64_t number() const { return number_; }

  void Start() {
    rpc_ = stub_->PrepareCall(&context_, kMethod, &link_.queue_);
    rpc_->StartCall(started_tag_.Give(shared_from_this()));
  }
  void Cancel() { context_.TryCancel(); }
  // Until then gRPC has no message of it. (The race of who asks and cancels it
  // then with a start at that moment costs a grace: such a message may arrive.)
  bool IsStarted() {
    absl::MutexLock lock(&mu_);
    return started_;
  }

  void Write(std::string message) {
    {
      absl::MutexLock lock(&mu_);
      if (!started_) {
        first_ = std::move(message);
        return;
      }
    }
    WriteNow(std::move(message));
  }

 private:
  void WriteNow(std::string message) {
    auto* const bytes = new std::string(std::move(message));
    const grpc::Slice slice(
        bytes->data(), bytes->size(),
        [](void* string) { delete static_cast<std::string*>(string); }, bytes);
    rpc_->Write(grpc::ByteBuffer(&slice, 1),
                wrote_tag_.Give(shared_from_this()));
  }

  void OnStarted(bool ok) {
    if (!ok) return Finish();
    std::string first;
    {
      absl::MutexLock lock(&mu_);
      started_ = true;
      first.swap(first_);
    }
    rpc_->Read(&incoming_, read_tag_.Give(shared_from_this()));
    if (!first.empty()) WriteNow(std::move(first));
  }

  void OnWrote(bool ok) {
    // If not, the read ends too, and says why.
    if (ok) link_.machine_->OnWritten(number_);
  }

  void OnRead(bool ok) {
    if (!ok) return Finish();
    google::protobuf::Arena arena;
    auto* const message =
        google::protobuf::Arena::CreateMessage<v1::SessionResponse>(&arena);
    bool parsed;
    {
      grpc::ProtoBufferReader reader(&incoming_);
      parsed =
          reader.status().ok() && message->ParseFromZeroCopyStream(&reader);
    }
    incoming_.Clear();
    if (parsed) {
      link_.machine_->OnMessage(number_, *message);
    } else {
      context_.TryCancel();  // that is no server of ours
    }
    rpc_->Read(&incoming_, read_tag_.Give(shared_from_this()));
  }

  void Finish() {
    rpc_->Finish(&status_, finished_tag_.Give(shared_from_this()));
  }

  void OnFinished(bool) {
    {
      // It has ended by itself: there is nothing to give up.
      absl::MutexLock lock(&link_.mu_);
      if (link_.connection_.get() == this) link_.connection_ = nullptr;
    }
    const bool sent = context_.peer() != link_.server_.target;
    absl::Status status =
        FromGrpcStatus(status_, CallSite{.server = link_.server_.address,
                                         .object = "",
                                         .sent = sent,
                                         .stopped = false});
    link_.machine_->OnClosed(number_, status, sent);
    absl::MutexLock lock(&link_.mu_);
    --link_.connections_;
  }

  GrpcLink& link_;
  const std::shared_ptr<grpc::GenericStub> stub_;
  const uint64_t number_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> rpc_;
  grpc::ByteBuffer incoming_;
  grpc::Status status_;

  absl::Mutex mu_;
  bool started_ ABSL_GUARDED_BY(mu_) = false;
  std::string first_ ABSL_GUARDED_BY(mu_);  // written before it was

  Tag started_tag_{&Connection::OnStarted};
  Tag read_tag_{&Connection::OnRead};
  Tag wrote_tag_{&Connection::OnWrote};
  Tag finished_tag_{&Connection::OnFinished};
};

GrpcLink::GrpcLink(const ServerName* server, NewChannel new_channel)
    : server_(*server), new_channel_(std::move(new_channel)) {}

GrpcLink::~GrpcLink() {
  if (!thread_.joinable()) {
    queue_.Shutdown();
    Serve();  // gRPC wants the queue drained all the same
  }
}

void GrpcLink::Start(SessionMachine* machine) {
  machine_ = machine;
  thread_ = std::thread([this] { Serve(); });
}

void GrpcLink::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
    if (connection_) connection_->Cancel();
    connection_ = nullptr;
    WakeUpLocked();
  }
  thread_.join();
}

bool GrpcLink::IsOwnThread() const {
  return std::this_thread::get_id() == thread_.get_id();
}

absl::Time GrpcLink::Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::TimeFromTimespec(now);
}

void GrpcLink::Connect(uint64_t number) {
  std::shared_ptr<Connection> made;
  {
    absl::MutexLock lock(&mu_);
    if (stopping_) return;
    if (!stub_) stub_ = std::make_shared<grpc::GenericStub>(new_channel_());
    made = std::make_shared<Connection>(this, stub_, number);
    connection_ = made;
    ++connections_;
  }
  made->Start();
}

void GrpcLink::Write(uint64_t number, std::string message) {
  std::shared_ptr<Connection> connection;
  {
    absl::MutexLock lock(&mu_);
    if (!connection_ || connection_->number() != number) return;
    connection = connection_;
  }
  connection->Write(std::move(message));
}

void GrpcLink::Disconnect(uint64_t number) {
  absl::MutexLock lock(&mu_);
  if (!connection_ || connection_->number() != number) return;
  connection_->Cancel();
  connection_ = nullptr;
  stub_ = nullptr;  // with its connection, when that stream is finished
}

bool GrpcLink::MayHaveArrived(uint64_t number) {
  std::shared_ptr<Connection> connection;
  {
    absl::MutexLock lock(&mu_);
    if (!connection_ || connection_->number() != number) return true;
    connection = connection_;
  }
  return connection->IsStarted();
}

void GrpcLink::SetTimer(absl::Time when) {
  absl::MutexLock lock(&mu_);
  // Those of two threads may come in another order than they were made in; too
  // early does no harm.
  timer_ = std::min(timer_, when);
  if (when < waits_until_ && !IsOwnThread()) WakeUpLocked();
}

void GrpcLink::WakeUpLocked() {
  if (std::exchange(waking_, true)) return;
  // An alarm in the past is gRPC's way to put a tag on a queue.
  alarm_.Set(&queue_, gpr_time_0(GPR_CLOCK_MONOTONIC), nullptr);
}

void GrpcLink::Serve() {
  bool shut_down = machine_ == nullptr;
  for (;;) {
    absl::Time deadline;
    bool ring = false;
    {
      absl::MutexLock lock(&mu_);
      const absl::Time now = Now();
      deadline = now + kLongestWait;
      if (!stopping_) deadline = std::min(timer_, deadline);
      ring = !stopping_ && timer_ <= now;
      if (ring) timer_ = absl::InfiniteFuture();
      // After the timer, which may be set anew, only a look.
      waits_until_ = ring ? absl::InfinitePast() : deadline;
      // A stream that was cut has yet to be finished, and on a queue that is
      // shut down that would end the program.
      if (stopping_ && connections_ == 0 && !std::exchange(shut_down, true)) {
        queue_.Shutdown();
      }
    }
    if (ring) machine_->OnTimer();
    void* tag;
    bool ok;
    switch (queue_.AsyncNext(&tag, &ok, ToGrpc(deadline))) {
      case grpc::CompletionQueue::SHUTDOWN:
        return;
      case grpc::CompletionQueue::TIMEOUT:
        continue;
      case grpc::CompletionQueue::GOT_EVENT:
        break;
    }
    if (tag != nullptr) {
      static_cast<Tag*>(tag)->ComeBack(ok);
      continue;
    }
    absl::MutexLock lock(&mu_);
    waking_ = false;
  }
}

}  // namespace waitq
