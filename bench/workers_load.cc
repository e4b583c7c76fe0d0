#include "bench/workers_load.h"

#include <time.h>

#include <algorithm>
#include <atomic>
#include <cinttypes>
#include <cstdio>
#include <limits>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "bench/load_connection.h"
#include "bench/session_target.h"

namespace waitq::bench {
namespace {

constexpr char kMessage = 'm';
// The first byte of the message behind all others, which goes on with how many
// they were, and the nanoseconds of processor time of their process.
constexpr char kEnd = 'e';

// Pops that have been sent for so long are asleep.
constexpr absl::Duration kParking = absl::Milliseconds(50);

int64_t ProcessorNanos() {
  timespec used;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return used.tv_sec * int64_t{1'000'000'000} + used.tv_nsec;
}

// What the consumers of a process have together.
struct Consumption {
  explicit Consumption(absl::Duration of_load) : duration(of_load) {}

  const absl::Duration duration;
  std::atomic<int64_t> begin{0};  // nanoseconds; 0: nothing has come yet
  std::atomic<uint64_t> in_time{0};
  std::atomic<uint64_t> total{0};
  std::atomic<uint64_t> expected{std::numeric_limits<uint64_t>::max()};
  std::atomic<int64_t> producers_processor_nanos{0};
  std::atomic<bool> is_done{false};
  absl::Notification done;

  void NotifyIfAll() {
    if (total >= expected && !is_done.exchange(true)) done.Notify();
  }
};

class Consumer final : public SessionUser {
 public:
  Consumer(Consumption* consumption, size_t message_bytes)
      : all_(*consumption), message_bytes_(message_bytes) {}

  void Start(QueueSession* session, uint64_t in_flight) {
    session_ = session;
    session_->Pop(in_flight);
  }

 private:
  void OnResults(uint64_t, std::span<const std::string_view> popped) override {
    uint64_t messages = 0;
    for (const std::string_view message : popped) {
      if (message.front() == kEnd) {
        OnEnd(std::string(message));
      } else if (message.size() == message_bytes_) {
        ++messages;
      } else {
        Die("another size came out");
      }
    }
    Count(messages);
    session_->Pop(popped.size());
  }

  void Count(uint64_t messages) {
    const int64_t now = absl::GetCurrentTimeNanos();
    int64_t begin = all_.begin;
    if (begin == 0) {
      const int64_t first = now + absl::ToInt64Nanoseconds(all_.duration) / 10;
      if (all_.begin.compare_exchange_strong(begin, first)) begin = first;
    }
    if (now >= begin && now < begin + absl::ToInt64Nanoseconds(all_.duration)) {
      all_.in_time += messages;
    }
    all_.total += messages;
    all_.NotifyIfAll();
  }

  void OnEnd(const std::string& message) {
    uint64_t total;
    int64_t processor_nanos;
    if (std::sscanf(message.c_str() + 1, "%" SCNu64 " %" SCNd64, &total,
                    &processor_nanos) != 2) {
      Die("the end that came out says nothing");
    }
    all_.producers_processor_nanos = processor_nanos;
    all_.expected = total;
  }

  Consumption& all_;
  const size_t message_bytes_;
  QueueSession* session_ = nullptr;
};

class Producer final : public SessionUser {
 public:
  explicit Producer(size_t message_bytes) : message_(message_bytes, kMessage) {}

  void Start(QueueSession* session, uint64_t in_flight, absl::Time end) {
    session_ = session;
    end_ = end;
    pushed_ = in_flight_ = in_flight;
    session_->Push(message_, in_flight);
  }

  // Until all is in the queue; how many.
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
    if (in_flight_ == 0) done_.Notify();
  }

  const std::string message_;
  QueueSession* session_ = nullptr;
  absl::Time end_;
  uint64_t in_flight_ = 0;
  uint64_t pushed_ = 0;
  absl::Notification done_;
};

// Pops so many, and no more.
class Taker final : public SessionUser {
 public:
  explicit Taker(uint64_t count) : to_ask_(count), to_come_(count) {}

  void Start(QueueSession* session, uint64_t in_flight) {
    session_ = session;
    Ask(in_flight);
  }
  void Wait() { done_.WaitForNotification(); }

 private:
  void OnResults(uint64_t, std::span<const std::string_view> popped) override {
    for (const std::string_view message : popped) {
      if (message.empty()) Die("the queue is empty too soon");
    }
    to_come_ -= popped.size();
    if (to_come_ == 0) return done_.Notify();
    Ask(popped.size());
  }

  void Ask(uint64_t count) {
    count = std::min(count, to_ask_);
    if (count == 0) return;
    to_ask_ -= count;
    session_->Pop(count);
  }

  QueueSession* session_ = nullptr;
  uint64_t to_ask_;
  uint64_t to_come_;
  absl::Notification done_;
};

// Nobody's results.
class Closer final : public SessionUser {
 public:
  void Wait() { pushed_.WaitForNotification(); }

 private:
  void OnResults(uint64_t, std::span<const std::string_view>) override {
    pushed_.Notify();
  }

  absl::Notification pushed_;
};

template <class User>
std::vector<std::unique_ptr<QueueSession>> Open(
    const WorkersLoad& load, const std::vector<std::unique_ptr<User>>& users) {
  std::vector<std::unique_ptr<QueueSession>> sessions;
  for (const auto& user : users) {
    sessions.push_back(
        QueueSession::Open(load.target, load.address, load.queue, user.get()));
  }
  return sessions;
}

}  // namespace

WorkersResult RunConsumers(const WorkersLoad& load,
                           const std::function<void()>& start_producers) {
  Consumption all(load.duration);
  std::vector<std::unique_ptr<Consumer>> consumers;
  for (int i = 0; i < load.sessions; ++i) {
    consumers.push_back(std::make_unique<Consumer>(&all, load.message_bytes));
  }
  auto sessions = Open(load, consumers);
  for (int i = 0; i < load.sessions; ++i) {
    consumers[i]->Start(sessions[i].get(), load.in_flight);
  }
  absl::SleepFor(kParking);
  const int64_t before = ProcessorNanos();
  start_producers();
  all.done.WaitForNotification();
  const int64_t used = ProcessorNanos() - before;
  sessions.clear();
  if (all.total != all.expected) Die("more came out than was put in");
  return {.messages = all.in_time,
          .total = all.total,
          .processor = absl::Nanoseconds(used + all.producers_processor_nanos)};
}

void RunProducers(const WorkersLoad& load) {
  Closer closer;
  const auto closing =
      QueueSession::Open(load.target, load.address, load.queue, &closer);
  std::vector<std::unique_ptr<Producer>> producers;
  for (int i = 0; i < load.sessions; ++i) {
    producers.push_back(std::make_unique<Producer>(load.message_bytes));
  }
  const auto sessions = Open(load, producers);
  // When all are connected, which may take long; and a little longer than the
  // consumers look, who begin later.
  const absl::Time end = absl::Now() + 1.3 * load.duration;
  const int64_t before = ProcessorNanos();
  for (int i = 0; i < load.sessions; ++i) {
    producers[i]->Start(sessions[i].get(), load.in_flight, end);
  }
  uint64_t total = 0;
  for (const auto& producer : producers) total += producer->Wait();
  const int64_t used = ProcessorNanos() - before;
  closing->Push(kEnd + std::to_string(total) + " " + std::to_string(used), 1);
  closer.Wait();
}

PushPopResult RunPushThenPop(const WorkersLoad& load) {
  Producer producer(load.message_bytes);
  absl::Time begin;
  uint64_t count;
  {
    const auto session =
        QueueSession::Open(load.target, load.address, load.queue, &producer);
    begin = absl::Now();
    producer.Start(session.get(), load.in_flight, begin + load.duration);
    count = producer.Wait();
  }
  const absl::Time between = absl::Now();
  Taker taker(count);
  const auto session =
      QueueSession::Open(load.target, load.address, load.queue, &taker);
  taker.Start(session.get(), load.in_flight);
  taker.Wait();
  return {.push = (between - begin) / count,
          .pop = (absl::Now() - between) / count};
}

}  // namespace waitq::bench
