// The streams of the bare server: a session that echoes, and a relay.

#ifndef WAITQ_BENCH_BARE_STREAM_H_
#define WAITQ_BENCH_BARE_STREAM_H_

#include <atomic>
#include <cstddef>
#include <deque>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "core/mutex.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "server/rpc/call_queue.h"
#include "server/rpc/raw_service.h"

namespace waitq::bench {

// A bidirectional stream: at most one read and one write under way.
//
// Thread safety: told of what happened on its queue's thread; any thread may
// start what is next, and lets go of the call with that.
// Ownership: its own; freed when gRPC has given back its last tag and nobody
// has a Hold() on it.
class BareStream {
 public:
  struct Parts {
    rpc::RawService* service;
    int index;
    BareStream* (*make)(const Parts& parts);
    rpc::CallQueue* queue;
  };

  // Takes one call of the method; when it comes, arms the next.
  static void Arm(const Parts& parts);

  void StartRead();
  void StartWrite(const grpc::ByteBuffer& message);
  void Finish();
  void Hold() { ++holds_; }
  void Release();

 protected:
  explicit BareStream(const Parts& parts) : parts_(parts) {}
  virtual ~BareStream() = default;

  virtual void OnOpened() = 0;
  virtual void OnMessage(const grpc::ByteBuffer& message) = 0;
  virtual void OnNoMoreMessages() = 0;
  virtual void OnWritten(bool ok) = 0;

 private:
  void OnArrived(bool ok);
  void OnRead(bool ok);
  void OnWrote(bool ok);
  void OnDone(bool ok);
  void OnFinished(bool ok);

  const Parts parts_;
  grpc::ServerContext context_;
  rpc::StreamResponder responder_{&context_};
  grpc::ByteBuffer incoming_;
  std::atomic<int> holds_{1};  // done_; and a tag or a Hold() each

  rpc::CallTag<BareStream> arrived_{this, &BareStream::OnArrived};
  rpc::CallTag<BareStream> read_{this, &BareStream::OnRead};
  rpc::CallTag<BareStream> wrote_{this, &BareStream::OnWrote};
  rpc::CallTag<BareStream> done_{this, &BareStream::OnDone};
  rpc::CallTag<BareStream> finished_{this, &BareStream::OnFinished};
};

// Answers each message with itself. While one is written the next is read.
class BareSession final : public BareStream {
 public:
  explicit BareSession(const Parts& parts) : BareStream(parts) {}

 private:
  void OnOpened() override { StartRead(); }
  void OnMessage(const grpc::ByteBuffer& message) override;
  void OnNoMoreMessages() override;
  void OnWritten(bool ok) override;

  std::optional<grpc::ByteBuffer> next_;
  bool writing_ = false;
  bool ended_ = false;
};

// From one writer to one reader, with a few messages between them, so that one
// need not wait for the other at each. There is one in the whole server, for a
// pair at a time.
class Relay {
 public:
  static Relay& Get();

  // From the writer, which has read a message, or the end.
  void Put(BareStream* writer, const grpc::ByteBuffer& message)
      ABSL_LOCKS_EXCLUDED(mu_);
  void End() ABSL_LOCKS_EXCLUDED(mu_);

  // From the reader, which can write a message now.
  void Next(BareStream* reader) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  static constexpr size_t kMessages = 16;

  Mutex mu_;
  std::deque<grpc::ByteBuffer> messages_ ABSL_GUARDED_BY(mu_);
  // Who waits for the other, with a Hold().
  BareStream* reader_ ABSL_GUARDED_BY(mu_) = nullptr;
  BareStream* writer_ ABSL_GUARDED_BY(mu_) = nullptr;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
};

class BareRelayWriter final : public BareStream {
 public:
  explicit BareRelayWriter(const Parts& parts) : BareStream(parts) {}

 private:
  void OnOpened() override { StartRead(); }
  void OnMessage(const grpc::ByteBuffer& message) override {
    Relay::Get().Put(this, message);
  }
  void OnNoMoreMessages() override {
    Relay::Get().End();
    Finish();
  }
  void OnWritten(bool) override {}
};

class BareRelayReader final : public BareStream {
 public:
  explicit BareRelayReader(const Parts& parts) : BareStream(parts) {}

 private:
  void OnOpened() override { Relay::Get().Next(this); }
  void OnMessage(const grpc::ByteBuffer&) override {}
  void OnNoMoreMessages() override {}
  void OnWritten(bool) override { Relay::Get().Next(this); }
};

template <class Stream>
BareStream* MakeStream(const BareStream::Parts& parts) {
  return new Stream(parts);
}

}  // namespace waitq::bench

#endif  // WAITQ_BENCH_BARE_STREAM_H_
