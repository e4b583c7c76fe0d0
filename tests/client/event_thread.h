// A thread on which things happen one after another.

#ifndef WAITQ_TESTS_CLIENT_EVENT_THREAD_H_
#define WAITQ_TESTS_CLIENT_EVENT_THREAD_H_

#include <deque>
#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace waitq::test {

// Thread safety: any thread may call any method; Stop() not on the own one.
class EventThread {
 public:
  using Event = std::function<void()>;

  EventThread() : thread_([this] { Serve(); }) {}
  ~EventThread() { Stop(); }
  EventThread(const EventThread&) = delete;
  EventThread& operator=(const EventThread&) = delete;

  // False: after Stop() it is not done, but dropped.
  bool Post(Event event);
  // Does it on the thread, and waits for that.
  bool Run(const Event& event);
  // One timer: `event` at that time of Now(), or earlier if it was set to that
  // before.
  void SetTimer(absl::Time when, Event event);
  // Does what was posted; no timer comes any more.
  void Stop();
  bool IsCurrent() const {
    return std::this_thread::get_id() == thread_.get_id();
  }

  // A clock that is never set.
  static absl::Time Now();

 private:
  void Serve();

  absl::Mutex mu_;
  std::deque<Event> events_ ABSL_GUARDED_BY(mu_);
  absl::Time timer_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();
  Event on_timer_ ABSL_GUARDED_BY(mu_);
  absl::CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace waitq::test

#endif  // WAITQ_TESTS_CLIENT_EVENT_THREAD_H_
