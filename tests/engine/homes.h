// Where the results of a test's operations go.

#ifndef WAITQ_TESTS_ENGINE_HOMES_H_
#define WAITQ_TESTS_ENGINE_HOMES_H_

#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "core/mutex.h"
#include "server/engine/operation.h"
#include "tests/support/wait_until.h"

namespace waitq::engine {

// Keeps results until the test asks for them, in its own thread.
class CollectingHome final : public Home {
 public:
  void Deliver(DoneList done) override {
    MutexLock lock(&mu_);
    pending_.Append(std::move(done));
  }

  // Tells the callers.
  void Run() {
    for (;;) {
      Ref<Operation> operation;
      {
        MutexLock lock(&mu_);
        if (pending_.empty()) return;
        operation = pending_.Pop();
      }
      operation->Deliver();
    }
  }

 private:
  Mutex mu_;
  DoneList pending_ ABSL_GUARDED_BY(mu_);
};

// Tells the callers from a thread of its own, as a server does.
class ThreadHome final : public Home {
 public:
  ThreadHome() : thread_([this] { Run(); }) {}
  ~ThreadHome() {
    {
      MutexLock lock(&mu_);
      stop_ = true;
      changed_.NotifyAll();
    }
    thread_.join();
  }

  void Deliver(DoneList done) override {
    MutexLock lock(&mu_);
    pending_.Append(std::move(done));
    changed_.NotifyAll();
  }

  // Until it has told all, and holds on to no operation.
  void AwaitIdle() {
    waitq::test::WaitUntil([&] {
      MutexLock lock(&mu_);
      return pending_.empty() && !delivering_;
    });
  }

 private:
  void Run() {
    for (;;) {
      Ref<Operation> operation;
      {
        MutexLock lock(&mu_);
        delivering_ = false;
        while (pending_.empty() && !stop_) changed_.Wait(&mu_);
        if (pending_.empty()) return;
        operation = pending_.Pop();
        delivering_ = true;
      }
      operation->Deliver();
    }
  }

  Mutex mu_;
  CondVar changed_;
  DoneList pending_ ABSL_GUARDED_BY(mu_);
  bool delivering_ ABSL_GUARDED_BY(mu_) = false;
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace waitq::engine

#endif  // WAITQ_TESTS_ENGINE_HOMES_H_
