// The bare server's session: a stream with many operations in a message, and
// many results.

#ifndef WAITQ_BENCH_BARE_QUEUE_STREAM_H_
#define WAITQ_BENCH_BARE_QUEUE_STREAM_H_

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "bench/bare.pb.h"
#include "bench/bare_stream.h"
#include "core/mutex.h"

namespace waitq::bench {

// What a session costs at least. There is one queue, with one lock, for all of
// them: the lock is taken once for a message, not for each operation, and
// neither parsing nor writing is done under it.
//
// Results wait while a message is written, and go out together in the next.
// Whoever makes one and finds nothing being written starts the write itself, on
// its own thread.
class BareQueueStream final : public BareStream {
 public:
  explicit BareQueueStream(const Parts& parts) : BareStream(parts) {}

 private:
  struct Pop {
    BareQueueStream* stream;
    uint64_t number;
  };
  struct Queue {
    // One of the two is empty.
    std::deque<std::string> messages;
    std::deque<Pop> asleep;
  };

  void OnOpened() override { StartRead(); }
  void OnMessage(const grpc::ByteBuffer& message) override
      ABSL_LOCKS_EXCLUDED(mu_);
  void OnNoMoreMessages() override ABSL_LOCKS_EXCLUDED(mu_);
  void OnWritten(bool ok) override ABSL_LOCKS_EXCLUDED(mu_);

  void DoLocked(QueueOperation& operation) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // A result of this stream, to be filled in. If nothing is being written there
  // the stream is put on the list of those to write.
  QueueResult* AddResultLocked(uint64_t number,
                               std::vector<BareQueueStream*>& to_write)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whoever may write takes all results that wait.
  void TakeResultsLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    results_.Swap(&being_written_);
  }
  void Write();

  static Queue& queue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  constinit static inline Mutex mu_;

  // On the queue's thread; kept from one message to the next for their memory.
  QueueRequest request_;
  // In the order of their results: who is woken comes before who woke it.
  std::vector<BareQueueStream*> to_write_;

  QueueResponse results_ ABSL_GUARDED_BY(mu_);
  // A message is written, or somebody is about to; with a Hold(). A stream may
  // have one at a time.
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  QueueResponse being_written_;  // of whoever has set writing_
};

}  // namespace waitq::bench

#endif  // WAITQ_BENCH_BARE_QUEUE_STREAM_H_
