// The unary calls of the bare server: echo, and sleep until all are released.

#ifndef WAITQ_BENCH_BARE_UNARY_H_
#define WAITQ_BENCH_BARE_UNARY_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "grpcpp/alarm.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "server/rpc/call_queue.h"
#include "server/rpc/raw_service.h"

namespace waitq::bench {

class BareUnary;

// A completion queue and the calls of Sleep that came in through it.
class BareQueue {
 public:
  explicit BareQueue(std::unique_ptr<grpc::ServerCompletionQueue> queue)
      : calls_(std::move(queue)) {}

  rpc::CallQueue& calls() { return calls_; }

  // Any thread: answers the sleeping calls, on the queue's own.
  void Release();
  // Any thread.
  uint64_t asleep() const { return count_; }

  // On the queue's thread. A call that sleeps is told its place.
  void Add(BareUnary* call);
  void Remove(size_t place);

 private:
  void OnRelease(bool ok);

  rpc::CallQueue calls_;
  std::vector<BareUnary*> asleep_;
  std::atomic<uint64_t> count_{0};
  std::atomic<bool> called_{false};  // release_ is on its way
  grpc::Alarm alarm_;
  rpc::CallTag<BareQueue> release_{this, &BareQueue::OnRelease};
};

using BareQueues = std::vector<std::unique_ptr<BareQueue>>;

// Thread safety: lives on its queue's thread. Ownership: its own.
class BareUnary {
 public:
  struct Method {
    int index;
    void (*serve)(BareUnary& call);
  };

  // Takes one call of the method; when it comes, arms the next.
  static void Arm(rpc::RawService* service, const Method& method,
                  BareQueues* queues, BareQueue* queue);

  // What a method may do with a call.
  void AnswerWithRequest();
  void Answer(const grpc::ByteBuffer& response);
  void Sleep();
  const BareQueues& queues() const { return queues_; }

  void set_place(size_t place) { place_ = place; }

 private:
  BareUnary(rpc::RawService* service, const Method& method, BareQueues* queues,
            BareQueue* queue);
  ~BareUnary() = default;

  void OnArrived(bool ok);
  void OnDone(bool ok);
  void OnFinished(bool ok);
  void Release();

  rpc::RawService& service_;
  const Method method_;
  BareQueues& queues_;
  BareQueue& queue_;

  grpc::ServerContext context_;
  grpc::ByteBuffer request_;
  rpc::UnaryResponder responder_{&context_};
  bool answered_ = false;
  size_t place_ = 0;  // among those asleep
  int holds_ = 2;     // until done_ and finished_ have come back

  rpc::CallTag<BareUnary> arrived_{this, &BareUnary::OnArrived};
  rpc::CallTag<BareUnary> done_{this, &BareUnary::OnDone};
  rpc::CallTag<BareUnary> finished_{this, &BareUnary::OnFinished};
};

}  // namespace waitq::bench

#endif  // WAITQ_BENCH_BARE_UNARY_H_
