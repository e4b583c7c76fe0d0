// A session on the bare server.

#ifndef WAITQ_BENCH_BARE_QUEUE_CLIENT_H_
#define WAITQ_BENCH_BARE_QUEUE_CLIENT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/notification.h"
#include "bench/bare.pb.h"
#include "bench/load_connection.h"
#include "bench/session_target.h"
#include "core/mutex.h"
#include "grpcpp/client_context.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/support/byte_buffer.h"

namespace waitq::bench {

// Writes as the server does: what is asked for while a message is written goes
// out together in the next one, and who finds nothing being written starts the
// write on its own thread.
class BareQueueClient final : public QueueSession {
 public:
  BareQueueClient(const std::string& address, SessionUser* user);
  ~BareQueueClient() override;

  void Push(std::string_view bytes, uint64_t count) override
      ABSL_LOCKS_EXCLUDED(mu_);
  void Pop(uint64_t count) override ABSL_LOCKS_EXCLUDED(mu_);

 private:
  class Done final : public Tag {
   public:
    Done(BareQueueClient* client, void (BareQueueClient::*done)(bool ok))
        : client_(*client), done_(done) {}
    void Proceed(bool ok) override { (client_.*done_)(ok); }

   private:
    BareQueueClient& client_;
    void (BareQueueClient::*const done_)(bool ok);
  };

  void OnStarted(bool ok);
  void OnRead(bool ok);
  void OnWrote(bool ok) ABSL_LOCKS_EXCLUDED(mu_);
  void OnWritesDone(bool ok);
  void OnFinished(bool ok);
  // gRPC has given back the last tag.
  void NotifyIfEnded() {
    if (writes_done_ && finished_) ended_.Notify();
  }

  QueueOperation* AddLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether the caller is to Write(), after the lock is released.
  bool MayWriteLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Write();

  SessionUser& user_;
  Connection connection_;
  grpc::ClientContext context_;
  const std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;

  Mutex mu_;
  QueueRequest operations_ ABSL_GUARDED_BY(mu_);
  uint64_t last_number_ ABSL_GUARDED_BY(mu_) = 0;
  // A message is written, or somebody is about to. So it is while the stream is
  // opened.
  bool writing_ ABSL_GUARDED_BY(mu_) = true;
  bool closing_ ABSL_GUARDED_BY(mu_) = false;
  QueueRequest being_written_;  // of whoever has set writing_

  // On the connection's thread; kept from one message to the next for their
  // memory.
  grpc::ByteBuffer incoming_;
  QueueResponse response_;
  std::vector<std::string_view> popped_;

  grpc::Status status_;
  bool writes_done_ = false;
  bool finished_ = false;
  absl::Notification ended_;
  Done started_tag_{this, &BareQueueClient::OnStarted};
  Done read_tag_{this, &BareQueueClient::OnRead};
  Done wrote_tag_{this, &BareQueueClient::OnWrote};
  Done writes_done_tag_{this, &BareQueueClient::OnWritesDone};
  Done finished_tag_{this, &BareQueueClient::OnFinished};
};

}  // namespace waitq::bench

#endif  // WAITQ_BENCH_BARE_QUEUE_CLIENT_H_
