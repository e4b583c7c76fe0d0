#include "tests/client/event_thread.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/synchronization/notification.h"

namespace waitq::test {

absl::Time EventThread::Now() {
  return absl::UnixEpoch() +
         absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

bool EventThread::Post(Event event) {
  absl::MutexLock lock(&mu_);
  if (stopping_) return false;
  events_.push_back(std::move(event));
  changed_.Signal();
  return true;
}

bool EventThread::Run(const Event& event) {
  absl::Notification done;
  const bool posted = Post([&] {
    event();
    done.Notify();
  });
  if (posted) done.WaitForNotification();
  return posted;
}

void EventThread::SetTimer(absl::Time when, Event event) {
  absl::MutexLock lock(&mu_);
  timer_ = std::min(timer_, when);
  on_timer_ = std::move(event);
  changed_.Signal();
}

void EventThread::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
    changed_.Signal();
  }
  if (thread_.joinable()) thread_.join();
}

void EventThread::Serve() {
  for (;;) {
    Event event;
    {
      absl::MutexLock lock(&mu_);
      while (events_.empty()) {
        if (stopping_) return;
        const absl::Duration left = timer_ - Now();
        if (left <= absl::ZeroDuration()) {
          timer_ = absl::InfiniteFuture();
          events_.push_back(std::exchange(on_timer_, nullptr));
        } else if (left == absl::InfiniteDuration()) {
          changed_.Wait(&mu_);
        } else {
          changed_.WaitWithTimeout(&mu_, left);
        }
      }
      event = std::move(events_.front());
      events_.pop_front();
    }
    event();
  }
}

}  // namespace waitq::test
