#include "bench/stream_load.h"

#include <algorithm>
#include <deque>
#include <memory>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "grpcpp/client_context.h"

namespace waitq::bench {
namespace {

// A stream: reads all the time, and writes what Next() gives. A subclass lives
// on the connection's thread, but for Start() and Wait().
class Stream {
 public:
  Stream(Connection* connection, const std::string& method)
      : method_(method),
        call_(connection->stub().PrepareCall(&context_, method,
                                             connection->queue())) {}

  void Start() { call_->StartCall(&started_); }
  // Until the stream has ended, well.
  void Wait() { ended_.WaitForNotification(); }

 protected:
  virtual ~Stream() = default;

  // The next message to write; null: nothing now. After End() not asked again.
  virtual const grpc::ByteBuffer* Next() = 0;
  virtual void OnMessage(const grpc::ByteBuffer& message) = 0;

  // There is something to write again.
  void Kick() {
    if (!opened_ || writing_ || closed_) return;
    if (const grpc::ByteBuffer* message = Next()) {
      writing_ = true;
      call_->Write(*message, &wrote_);
    } else if (ending_) {
      closed_ = true;
      call_->WritesDone(&writes_done_);
    }
  }
  // Closes this side once Next() has nothing more.
  void End() { ending_ = true; }

 private:
  class Done final : public Tag {
   public:
    Done(Stream* stream, void (Stream::*done)(bool ok))
        : stream_(*stream), done_(done) {}
    void Proceed(bool ok) override { (stream_.*done_)(ok); }

   private:
    Stream& stream_;
    void (Stream::*const done_)(bool ok);
  };

  void OnStarted(bool) {
    opened_ = true;
    call_->Read(&incoming_, &read_);
    Kick();
  }
  void OnRead(bool ok) {
    if (!ok) {
      call_->Finish(&status_, &finished_);
      return;
    }
    OnMessage(incoming_);
    call_->Read(&incoming_, &read_);
  }
  void OnWrote(bool ok) {
    writing_ = false;
    if (ok) Kick();  // if not, the status says why
  }
  void OnWritesDone(bool) {
    closed_and_done_ = true;
    NotifyIfEnded();
  }
  void OnFinished(bool) {
    DieUnlessOk(status_, method_);
    over_ = true;
    NotifyIfEnded();
  }
  // gRPC has given back the last tag.
  void NotifyIfEnded() {
    if (over_ && closed_ == closed_and_done_) ended_.Notify();
  }

  const std::string method_;
  grpc::ClientContext context_;
  const std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
  grpc::ByteBuffer incoming_;
  grpc::Status status_;
  bool opened_ = false;
  bool writing_ = false;
  bool ending_ = false;
  bool closed_ = false;  // WritesDone() was called
  bool closed_and_done_ = false;
  bool over_ = false;
  absl::Notification ended_;
  Done started_{this, &Stream::OnStarted};
  Done read_{this, &Stream::OnRead};
  Done wrote_{this, &Stream::OnWrote};
  Done writes_done_{this, &Stream::OnWritesDone};
  Done finished_{this, &Stream::OnFinished};
};

class SessionClient final : public Stream {
 public:
  SessionClient(Connection* connection, const StreamJob& job, uint64_t depth,
                absl::Duration duration)
      : Stream(connection, job.method),
        message_(job.message),
        depth_(depth),
        begin_(absl::Now() + duration / 10),
        end_(begin_ + duration) {}

  // After Wait().
  std::vector<absl::Duration> RoundTrips() {
    std::sort(round_trips_.begin(), round_trips_.end());
    return std::move(round_trips_);
  }

 private:
  const grpc::ByteBuffer* Next() override {
    if (sent_.size() == depth_) return nullptr;
    const absl::Time now = absl::Now();
    if (now >= end_) {
      End();
      return nullptr;
    }
    sent_.push_back(now);
    return &message_;
  }

  void OnMessage(const grpc::ByteBuffer&) override {
    const absl::Time now = absl::Now();
    if (now >= begin_ && now < end_) {
      round_trips_.push_back(now - sent_.front());
    }
    sent_.pop_front();
    Kick();
  }

  const grpc::ByteBuffer message_;
  const uint64_t depth_;
  const absl::Time begin_;
  const absl::Time end_;
  std::deque<absl::Time> sent_;  // and not answered yet
  std::vector<absl::Duration> round_trips_;
};

class RelayWriterClient final : public Stream {
 public:
  RelayWriterClient(Connection* connection, StreamJob job, uint64_t count)
      : Stream(connection, job.method), job_(std::move(job)), left_(count) {}

 private:
  const grpc::ByteBuffer* Next() override {
    if (job_.first.has_value() && !first_sent_) {
      first_sent_ = true;
      return &*job_.first;
    }
    if (left_ > 0) {
      --left_;
      return &job_.message;
    }
    if (job_.last.has_value() && !last_sent_) {
      last_sent_ = true;
      return &*job_.last;
    }
    End();
    return nullptr;
  }
  void OnMessage(const grpc::ByteBuffer&) override {}

  const StreamJob job_;
  uint64_t left_;
  bool first_sent_ = false;
  bool last_sent_ = false;
};

class RelayReaderClient final : public Stream {
 public:
  RelayReaderClient(Connection* connection, StreamJob job)
      : Stream(connection, job.method), job_(std::move(job)) {}

  // After Wait().
  uint64_t bytes() const { return bytes_; }
  const grpc::ByteBuffer& last() const { return last_; }

 private:
  const grpc::ByteBuffer* Next() override {
    if (job_.first.has_value() && !first_sent_) {
      first_sent_ = true;
      return &*job_.first;
    }
    return nullptr;
  }
  void OnMessage(const grpc::ByteBuffer& message) override {
    bytes_ += message.Length();
    last_ = message;
  }

  const StreamJob job_;
  bool first_sent_ = false;
  uint64_t bytes_ = 0;
  grpc::ByteBuffer last_;
};

}  // namespace

std::vector<absl::Duration> RunSession(Target& target, Connection& connection,
                                       uint64_t depth, size_t message_bytes,
                                       absl::Duration duration) {
  SessionClient session(&connection, target.Session(message_bytes), depth,
                        duration);
  session.Start();
  session.Wait();
  return session.RoundTrips();
}

absl::Duration RunRelay(Target& target, Connection& writer_connection,
                        Connection& reader_connection, uint64_t count,
                        size_t message_bytes) {
  RelayReaderClient reader(&reader_connection, target.RelayReader());
  RelayWriterClient writer(&writer_connection,
                           target.RelayWriter(message_bytes), count);
  const absl::Time start = absl::Now();
  reader.Start();
  writer.Start();
  writer.Wait();
  reader.Wait();
  const absl::Duration taken = absl::Now() - start;
  if (!target.IsWhole(reader.bytes(), reader.last(), count * message_bytes)) {
    Die("the reader of the relay did not get all of it");
  }
  return taken;
}

}  // namespace waitq::bench
