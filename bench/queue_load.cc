#include "bench/queue_load.h"

#include <unistd.h>

#include <memory>
#include <span>
#include <string_view>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "bench/load_connection.h"
#include "bench/session_target.h"

namespace waitq::bench {
namespace {

constexpr char kMessage = 'm';
// The first byte of the message behind all others.
constexpr char kEnd = 'e';

class Producer final : public SessionUser {
 public:
  Producer(uint64_t depth, size_t message_bytes, absl::Time end)
      : message_(message_bytes, kMessage), end_(end), in_flight_(depth) {}

  void Start(QueueSession* session) {
    session_ = session;
    pushed_ = in_flight_;
    session_->Push(message_, in_flight_);
  }

  // Waits until all is in the queue, and the end; how many before that.
  uint64_t Wait() {
    done_.WaitForNotification();
    return pushed_;
  }

 private:
  void OnResults(uint64_t pushed, std::span<const std::string_view>) override {
    if (absl::Now() < end_) {
      pushed_ += pushed;
      session_->Push(message_, pushed);
      return;
    }
    in_flight_ -= pushed;
    if (in_flight_ > 0) return;
    if (end_pushed_) return done_.Notify();
    end_pushed_ = true;
    in_flight_ = 1;
    session_->Push(std::string(message_.size(), kEnd), 1);
  }

  const std::string message_;
  const absl::Time end_;
  QueueSession* session_ = nullptr;
  uint64_t in_flight_;
  uint64_t pushed_ = 0;
  bool end_pushed_ = false;
  absl::Notification done_;
};

class Consumer final : public SessionUser {
 public:
  Consumer(uint64_t depth, size_t message_bytes, absl::Time begin,
           absl::Time end)
      : depth_(depth),
        message_bytes_(message_bytes),
        begin_(begin),
        end_(end) {}

  void Start(QueueSession* session) {
    session_ = session;
    session_->Pop(depth_);
  }

  // Until the end came out of the queue.
  void Wait() { done_.WaitForNotification(); }
  // After Wait(): messages that came before `begin`, then before `end`, then
  // in all.
  uint64_t before() const { return before_; }
  uint64_t in_time() const { return in_time_; }
  uint64_t total() const { return total_; }

 private:
  void OnResults(uint64_t, std::span<const std::string_view> popped) override {
    const absl::Time now = absl::Now();
    for (const std::string_view message : popped) {
      if (message.size() != message_bytes_) Die("another size came out");
      if (message.front() == kEnd) return done_.Notify();
      ++total_;
    }
    if (now < begin_) {
      before_ = total_;
    } else if (now < end_) {
      in_time_ = total_ - before_;
    }
    session_->Pop(popped.size());
  }

  const uint64_t depth_;
  const size_t message_bytes_;
  const absl::Time begin_;
  const absl::Time end_;
  QueueSession* session_ = nullptr;
  uint64_t before_ = 0;
  uint64_t in_time_ = 0;
  uint64_t total_ = 0;
  absl::Notification done_;
};

}  // namespace

QueueLoadResult RunQueue(const std::string& target, const std::string& address,
                         uint64_t depth, size_t message_bytes,
                         absl::Duration duration) {
  const std::string queue = "queue." + std::to_string(getpid());
  const absl::Time begin = absl::Now() + duration / 10;
  const absl::Time end = begin + duration;
  Consumer consumer(depth, message_bytes, begin, end);
  Producer producer(depth, message_bytes, end);
  const auto popping = QueueSession::Open(target, address, queue, &consumer);
  const auto pushing = QueueSession::Open(target, address, queue, &producer);
  consumer.Start(popping.get());
  producer.Start(pushing.get());
  const uint64_t pushed = producer.Wait();
  consumer.Wait();
  // The end is the last: a queue that another run has left full, or that does
  // not keep the order, is none to measure.
  if (consumer.total() != pushed) Die("another number came out of the queue");
  return {.messages = consumer.in_time(),
          .behind = pushed - consumer.before() - consumer.in_time()};
}

}  // namespace waitq::bench
