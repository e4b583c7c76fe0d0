#include "bench/wake_load.h"

#include <time.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <semaphore>
#include <span>
#include <string_view>
#include <utility>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "bench/load_connection.h"
#include "bench/session_target.h"

namespace waitq::bench {
namespace {

// A pop that was sent this long before the push is asleep when it comes: about
// twice the way to the server.
constexpr int64_t kAsleepNanos = 100'000;

int64_t Nanos() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

uint64_t WarmUp(const WakeLoad& load) { return load.wakes / 10; }

class Sleeper final : public SessionUser {
 public:
  explicit Sleeper(const WakeLoad& load)
      : message_bytes_(load.message_bytes),
        warm_up_(WarmUp(load)),
        left_(load.wakes + warm_up_) {
    latencies_.reserve(load.wakes);
  }

  void Start(QueueSession* session) {
    session_ = session;
    popped_at_ = Nanos();
    session_->Pop(1);
  }

  WakeLoadResult Wait() {
    done_.WaitForNotification();
    std::sort(latencies_.begin(), latencies_.end());
    return {std::move(latencies_), not_asleep_};
  }

 private:
  void OnResults(uint64_t, std::span<const std::string_view> popped) override {
    const int64_t now = Nanos();
    if (popped.size() != 1 || popped.front().size() != message_bytes_) {
      Die("not the message that was to come");
    }
    int64_t sent;
    std::memcpy(&sent, popped.front().data(), sizeof(sent));
    const int64_t slept = sent - popped_at_;
    popped_at_ = now;
    if (--left_ > 0) session_->Pop(1);
    if (warm_up_ > 0) {
      --warm_up_;
    } else if (slept < kAsleepNanos) {
      ++not_asleep_;
    } else {
      latencies_.push_back(absl::Nanoseconds(now - sent));
    }
    if (left_ == 0) done_.Notify();
  }

  const size_t message_bytes_;
  QueueSession* session_ = nullptr;
  int64_t popped_at_ = 0;
  uint64_t warm_up_;
  uint64_t left_;
  uint64_t not_asleep_ = 0;
  std::vector<absl::Duration> latencies_;
  absl::Notification done_;
};

class Waker final : public SessionUser {
 public:
  void Await() { pushed_.acquire(); }

 private:
  void OnResults(uint64_t, std::span<const std::string_view>) override {
    pushed_.release();
  }

  std::binary_semaphore pushed_{0};
};

}  // namespace

WakeLoadResult RunSleeper(const WakeLoad& load,
                          const std::function<void()>& start_waker) {
  Sleeper sleeper(load);
  const auto session =
      QueueSession::Open(load.target, load.address, load.queue, &sleeper);
  sleeper.Start(session.get());
  start_waker();
  return sleeper.Wait();
}

void RunWaker(const WakeLoad& load) {
  Waker waker;
  const auto session =
      QueueSession::Open(load.target, load.address, load.queue, &waker);
  std::string message(load.message_bytes, '\0');
  for (uint64_t i = 0; i < load.wakes + WarmUp(load); ++i) {
    const int64_t sent = Nanos();
    std::memcpy(message.data(), &sent, sizeof(sent));
    session->Push(message, 1);
    // Not before the pause: the answer to the push has come by its end, and
    // wakes no thread that could be in the sleeper's way.
    absl::SleepFor(load.pause);
    waker.Await();
  }
}

}  // namespace waitq::bench
