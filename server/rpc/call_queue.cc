#include "server/rpc/call_queue.h"

#include <utility>

#include "core/check.h"

namespace waitq::rpc {
namespace {

// The queue that the running thread serves.
thread_local CallQueue* current_queue = nullptr;

}  // namespace

CallQueue::CallQueue(std::unique_ptr<grpc::ServerCompletionQueue> queue)
    : queue_(std::move(queue)) {}

CallQueue::~CallQueue() {
  WAITQ_CHECK(!thread_.joinable(), "a call queue dies while it is served");
  WAITQ_CHECK(calls_.load() == 0, "each call is dropped, and once");
}

void CallQueue::Start() {
  thread_ = std::thread([this] { Serve(); });
}

void CallQueue::DropCall() {
  // Releases what the call did, to Shutdown().
  if (calls_.fetch_sub(1, std::memory_order_release) == 1) calls_.notify_all();
}

void CallQueue::Shutdown() {
  // gRPC's server has shut down before its calls are gone: they have yet to
  // hear of it, and to give their last answers. On a queue that is shut down
  // that would end the program.
  for (int n; (n = calls_.load(std::memory_order_acquire)) > 0;) {
    calls_.wait(n, std::memory_order_acquire);
  }
  {
    MutexLock lock(&mu_);
    if (closed_) return;
    closed_ = true;
  }
  queue_->Shutdown();
  if (thread_.joinable()) {
    thread_.join();
    return;
  }
  Serve();  // never started: gRPC wants the queue drained all the same
}

void CallQueue::Serve() {
  current_queue = this;
  void* tag;
  bool ok;
  while (queue_->Next(&tag, &ok)) {
    static_cast<Tag*>(tag)->Proceed(ok);
    // Results of operations that this event has ended. A delivery may end more.
    while (!local_.empty()) local_.Pop()->Deliver();
  }
  current_queue = nullptr;
}

void CallQueue::Deliver(engine::DoneList done) {
  if (current_queue == this) {
    local_.Append(std::move(done));
    return;
  }
  MutexLock lock(&mu_);
  if (closed_) return;  // the calls are gone; `done` drops the operations
  inbox_.Append(std::move(done));
  if (called_) return;
  called_ = true;
  // An alarm in the past is gRPC's way to put a tag on a queue. Under the lock,
  // for the race with Shutdown(): a queue that is shut down takes no alarm.
  alarm_.Set(queue_.get(), gpr_time_0(GPR_CLOCK_MONOTONIC), &inbox_tag_);
}

void CallQueue::EmptyInbox() {
  engine::DoneList inbox;
  {
    MutexLock lock(&mu_);
    called_ = false;
    inbox.Append(std::move(inbox_));
  }
  while (!inbox.empty()) inbox.Pop()->Deliver();
}

}  // namespace waitq::rpc
