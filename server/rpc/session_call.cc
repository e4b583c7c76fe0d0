#include "server/rpc/session_call.h"

#include <atomic>
#include <cerrno>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "core/mutex.h"
#include "grpcpp/alarm.h"
#include "server/engine/error.h"
#include "server/engine/session.h"
#include "server/rpc/call.h"
#include "server/rpc/session_messages.h"
#include "server/rpc/status_map.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq::rpc {
namespace {

using engine::MakeError;
using engine::Ref;
using engine::Session;

// How long a client has to take the message that is on its way to it, when its
// stream is closed.
constexpr int kCloseTimeMs = 5'000;

// Unlike other calls it does not live on its queue's thread alone: whoever has
// a result for the session sends it from his own, without the way through the
// queue. Reads are the queue's; writes belong to whom the session has told
// (SessionTransport::Kick), and then to the queue until there is nothing more.
//
// Thread safety: see each method.
// Ownership: counted; each tag that gRPC has, and the session, has a reference.
class SessionCall final : public engine::SessionTransport {
 public:
  static void Arm(const StreamCall::Parts& parts) {
    auto* const call = new SessionCall(parts);  // the arrival's reference
    call->context_.AsyncNotifyWhenDone(&call->done_);
    parts.service->RequestStream(parts.index, &call->context_,
                                 &call->responder_, parts.queue->queue(),
                                 &call->arrived_);
  }

  // SessionTransport, on any thread.
  void Kick(uint64_t stream) override;
  void Close(const absl::Status& status) override;
  void Probe(std::function<void()> done) override;

 private:
  // A message, with the memory that it lies in.
  struct Message {
    grpc::Slice bytes;
    SessionInput input;
  };
  // Parses incoming_; an error as ParseRequest().
  absl::Status Parse(Message& message);

  explicit SessionCall(const StreamCall::Parts& parts) : parts_(parts) {
    parts_.queue->AddCall();
  }
  ~SessionCall() override = default;

  // Tags: on the queue's thread. Each gives back a reference.
  void OnArrived(bool ok);
  void OnRead(bool ok);
  void OnWrote(bool ok);
  void OnProbed(bool ok);
  void OnDone(bool ok);
  void OnFinished(bool ok);
  void DropTag();

  // Unless the call is closed.
  void StartRead();
  bool closed() {
    MutexLock lock(&mu_);
    return closed_;
  }
  // The call has one tag more. While it is not closed, done_ is one: so the
  // queue, which outlives the last one, is there.
  void AddTagLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    AddRef();
    ++tags_;
  }
  // Attaches the session, on the first message; then serves it and the next.
  void Begin(const std::shared_ptr<Message>& message);
  void Serve(const std::shared_ptr<Message>& message);
  // Its stream has ended; the session may live on.
  void Detach();
  void SetCloseAlarmLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Of finished_, which AddTagLocked() has added.
  void SendStatus();

  const StreamCall::Parts parts_;
  grpc::ServerContext context_;
  StreamResponder responder_{&context_};
  grpc::ByteBuffer incoming_;
  grpc::Alarm alarm_ ABSL_GUARDED_BY(mu_);

  // Set by the first message, before any other is read.
  Ref<Session> session_;
  uint64_t stream_ = 0;
  uint64_t sending_as_ = 0;  // whoever sends: as stream_, which may come later

  Mutex mu_;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  // alarm_ is set; and it is for kCloseTimeMs.
  bool probing_ ABSL_GUARDED_BY(mu_) = false;
  bool closing_ ABSL_GUARDED_BY(mu_) = false;
  std::function<void()> probed_ ABSL_GUARDED_BY(mu_);
  grpc::Status status_ ABSL_GUARDED_BY(mu_);
  // Tags that gRPC has not given back.
  std::atomic<int> tags_{1};

  CallTag<SessionCall> arrived_{this, &SessionCall::OnArrived};
  CallTag<SessionCall> read_{this, &SessionCall::OnRead};
  CallTag<SessionCall> wrote_{this, &SessionCall::OnWrote};
  CallTag<SessionCall> probed_tag_{this, &SessionCall::OnProbed};
  CallTag<SessionCall> done_{this, &SessionCall::OnDone};
  CallTag<SessionCall> finished_{this, &SessionCall::OnFinished};
};

void SessionCall::DropTag() {
  // The queue outlives the call as gRPC sees it; the session may hold on to
  // what is left of it longer.
  if (tags_.fetch_sub(1) == 1) parts_.queue->DropCall();
  DropRef();
}

void SessionCall::OnArrived(bool ok) {
  if (!ok) return DropTag();  // of this call no other tag comes back
  Arm(parts_);
  // The arrival's reference is now done_'s.
  StartRead();
}

// --- In ----------------------------------------------------------------------

void SessionCall::StartRead() {
  {
    MutexLock lock(&mu_);
    if (closed_) return;
    AddTagLocked();
  }
  responder_.Read(&incoming_, &read_);
}

void SessionCall::OnRead(bool ok) {
  const auto message = std::make_shared<Message>();
  absl::Status status;
  if (ok) {
    status = Parse(*message);
  } else if (!session_) {
    status = MakeError(EINVAL, "the first message has a hello");
  }
  if (!ok) {
    // Its client has closed its side, or is gone: the session may live on.
    Detach();
    Close(status);
  } else if (!status.ok()) {
    if (session_) {
      session_->Run([self = Ref<SessionCall>(this), status] {
        Session& session = *self->session_;
        if (session.Hear(self->stream_)) session.End(status);
      });
    }
    Close(status);
  } else if (session_) {
    session_->Run(
        [self = Ref<SessionCall>(this), message] { self->Serve(message); });
  } else {
    Begin(message);
  }
  DropTag();
}

absl::Status SessionCall::Parse(Message& message) {
  absl::Status status = CheckRequestSize(*parts_.engine, incoming_);
  if (!status.ok()) return status;
  if (!incoming_.TrySingleSlice(&message.bytes).ok() &&
      !incoming_.DumpToSingleSlice(&message.bytes).ok()) {
    return MakeError(EINVAL, "a message that cannot be read");
  }
  return ParseSessionMessage(
      absl::string_view(reinterpret_cast<const char*>(message.bytes.begin()),
                        message.bytes.size()),
      /*first=*/!session_, message.input);
}

void SessionCall::Begin(const std::shared_ptr<Message>& message) {
  auto session =
      FindSession(*parts_.engine, message->input.head(), context_.peer());
  if (!session.ok()) return Close(session.status());
  session_ = *std::move(session);
  session_->Run([self = Ref<SessionCall>(this), message] {
    // Its client may have gone while others were served: then it must not take
    // the session from the stream that follows it.
    if (self->closed()) return;
    Session& to = *self->session_;
    // What its first message brings is answered with the hello.
    to.Cork();
    self->stream_ =
        AttachSession(to, message->input.head(), self, self->context_.peer());
    if (self->stream_ == 0) {
      to.Uncork();
      return self->Close(SessionGoneError());
    }
    self->Serve(message);
  });
}

void SessionCall::Serve(const std::shared_ptr<Message>& message) {
  bool more = true;
  // Of an error the session's end has told this stream.
  (void)ServeSessionMessage(*parts_.engine, *session_, stream_, message->input,
                            more);
  if (more) StartRead();
}

void SessionCall::Detach() {
  if (!session_) return;
  // Asked for its number there: Begin() may not have had its turn.
  session_->Run([self = Ref<SessionCall>(this)] {
    if (self->stream_ != 0) self->session_->Detach(self->stream_);
  });
}

// --- Out ---------------------------------------------------------------------

void SessionCall::Kick(uint64_t stream) {
  engine::SessionMessage message;
  if (!session_->Take(stream, kSessionMessageBytes, message)) return;
  auto* const bytes =
      new std::string(EncodeSessionMessage(*parts_.engine, *session_, message));
  {
    MutexLock lock(&mu_);
    if (closed_) {
      delete bytes;
      return;
    }
    writing_ = true;  // for the race with Close(): it leaves the status to us
    AddTagLocked();
  }
  sending_as_ = stream;
  const grpc::Slice slice(
      bytes->data(), bytes->size(),
      [](void* string) { delete static_cast<std::string*>(string); }, bytes);
  responder_.Write(grpc::ByteBuffer(&slice, 1), &wrote_);
}

void SessionCall::OnWrote(bool ok) {
  bool closed = false;
  {
    MutexLock lock(&mu_);
    writing_ = false;
    closed = closed_;
    if (closed) AddTagLocked();
    if (closing_) alarm_.Cancel();  // the call is not to wait for it
  }
  if (closed) {
    SendStatus();
  } else if (ok) {
    Kick(sending_as_);
  }  // if not, done_ says so
  DropTag();
}

void SessionCall::Close(const absl::Status& status) {
  {
    MutexLock lock(&mu_);
    if (closed_) return;
    closed_ = true;
    if (!status.ok()) status_ = ToGrpcStatus(status);
    if (writing_) {
      // It goes out after that. But a client that does not read must not keep
      // this for ever.
      if (!probing_) SetCloseAlarmLocked();  // or OnProbed() does
      return;
    }
    AddTagLocked();
  }
  SendStatus();
}

void SessionCall::SetCloseAlarmLocked() {
  probing_ = closing_ = true;
  AddTagLocked();
  alarm_.Set(parts_.queue->queue(),
             gpr_time_from_millis(kCloseTimeMs, GPR_TIMESPAN), &probed_tag_);
}

void SessionCall::SendStatus() {
  grpc::Status status;
  {
    MutexLock lock(&mu_);
    status = status_;
  }
  responder_.Finish(status, &finished_);
}

void SessionCall::OnFinished(bool) { DropTag(); }

void SessionCall::OnDone(bool) {
  if (context_.IsCancelled()) {
    Detach();
    Close(CallerGoneError());
  }
  DropTag();
}

// --- Time --------------------------------------------------------------------

void SessionCall::Probe(std::function<void()> done) {
  MutexLock lock(&mu_);
  // After the last tag the queue may take no alarm any more.
  if (closed_) return;
  probed_ = std::move(done);
  if (std::exchange(probing_, true)) return;
  AddTagLocked();
  // Comes behind what is on the queue already.
  alarm_.Set(parts_.queue->queue(), gpr_time_0(GPR_CLOCK_MONOTONIC),
             &probed_tag_);
}

void SessionCall::OnProbed(bool) {
  std::function<void()> done;
  bool stuck = false;
  {
    MutexLock lock(&mu_);
    probing_ = false;
    done = std::exchange(probed_, nullptr);
    if (closed_ && writing_) {
      stuck = closing_;
      if (!closing_) SetCloseAlarmLocked();
    }
  }
  if (done) done();
  if (stuck) context_.TryCancel();
  DropTag();
}

}  // namespace

void ArmSessionCall(const StreamCall::Parts& parts) { SessionCall::Arm(parts); }

}  // namespace waitq::rpc
