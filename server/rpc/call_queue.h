// A completion queue with the one thread that serves it: the home of the calls
// that came in through it.
//
// Everything that happens to a call happens on this thread: what gRPC has to
// say of it, and the results of its operations. So a call needs no lock.
//
// Several queues, not one: Debian's gRPC looks through all outstanding calls
// of a queue at each event. Not the callback API: it has one queue for the
// whole process, and its threads nap for 100 ms when idle.

#ifndef WAITQ_SERVER_RPC_CALL_QUEUE_H_
#define WAITQ_SERVER_RPC_CALL_QUEUE_H_

#include <atomic>
#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "core/mutex.h"
#include "grpcpp/alarm.h"
#include "grpcpp/completion_queue.h"
#include "server/engine/operation.h"

namespace waitq::rpc {

// What is given to gRPC with a request, and comes back once when it is done.
class Tag {
 public:
  // On the queue's thread. `ok` as grpc::CompletionQueue::Next() says.
  virtual void Proceed(bool ok) = 0;

 protected:
  ~Tag() = default;
};

// A tag that calls a member function of the call that it is part of.
template <class Call>
class CallTag final : public Tag {
 public:
  CallTag(Call* call, void (Call::*done)(bool ok))
      : call_(*call), done_(done) {}
  void Proceed(bool ok) override { (call_.*done_)(ok); }

 private:
  Call& call_;
  void (Call::*const done_)(bool ok);
};

// How many calls of each method wait for a client, in each queue. One would do:
// the next is armed when a call comes; a second one takes a burst.
inline constexpr int kArmedCalls = 2;

class CallQueue final : public engine::Home {
 public:
  explicit CallQueue(std::unique_ptr<grpc::ServerCompletionQueue> queue);
  // Shutdown() has been called, or Start() never.
  ~CallQueue();

  // Starts the thread.
  void Start();
  // After the server's own shutdown, and when nothing on the engine sleeps any
  // more: waits until all calls are gone, and joins the thread. What is
  // delivered later is dropped. A second call does nothing.
  void Shutdown();

  // Each call says so when it is made, which is before it comes, and when it is
  // gone. On the queue's thread, or before Start().
  void AddCall() { calls_.fetch_add(1, std::memory_order_relaxed); }
  void DropCall();

  grpc::ServerCompletionQueue* queue() { return queue_.get(); }

  // engine::Home. From the queue's own thread it costs no lock and no event.
  void Deliver(engine::DoneList done) override ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // Comes back through the queue when another thread has delivered something.
  class InboxTag final : public Tag {
   public:
    explicit InboxTag(CallQueue* owner) : owner_(*owner) {}
    void Proceed(bool) override { owner_.EmptyInbox(); }

   private:
    CallQueue& owner_;
  };

  void Serve();
  void EmptyInbox() ABSL_LOCKS_EXCLUDED(mu_);

  const std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::thread thread_;
  engine::DoneList local_;  // delivered by the thread to itself
  InboxTag inbox_tag_{this};
  std::atomic<int> calls_{0};

  Mutex mu_;
  engine::DoneList inbox_ ABSL_GUARDED_BY(mu_);
  // inbox_tag_ is on its way.
  bool called_ ABSL_GUARDED_BY(mu_) = false;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  grpc::Alarm alarm_ ABSL_GUARDED_BY(mu_);
};

}  // namespace waitq::rpc

#endif  // WAITQ_SERVER_RPC_CALL_QUEUE_H_
