// queue: producers and consumers of one queue of packets.

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "client/client.h"
#include "client/error.h"
#include "client/types.h"
#include "load/delivery_checker.h"
#include "load/message.h"
#include "load/pacer.h"
#include "load/queue_port.h"
#include "load/workload.h"

namespace waitq::load {
namespace {

constexpr char kQueueName[] = "queue";

class Producer {
 public:
  Producer(Host& host, InFlight& in_flight, DeliveryChecker& checker,
           QueuePort& port, uint32_t number)
      : host_(host),
        in_flight_(in_flight),
        checker_(checker),
        port_(port),
        number_(number) {}

  void Send(absl::Time due) {
    in_flight_.Begin();
    uint64_t sequence;
    {
      // One at a time, so that they are sent in the order of their numbers. A
      // callback may come within Push(), but only with an error, and then sends
      // nothing.
      absl::MutexLock lock(&mu_);
      sequence = sent_++;
      port_.Push(
          EncodeMessage(
              host_.group.epoch(),
              {.producer = number_, .sequence = sequence, .intended = due},
              host_.scenario.size),
          [this, sequence](absl::StatusOr<WriteResult> result) {
            OnSent(sequence, result);
          });
    }
  }

  void StartClosedLoop() {
    closed_loop_ = true;
    for (uint64_t i = 0; i < host_.scenario.depth; ++i) {
      Send(host_.clock.Now());
    }
  }
  void Finish() { closed_loop_ = false; }
  void Report() {
    absl::MutexLock lock(&mu_);
    checker_.Sent(number_, sent_);
  }

 private:
  void OnSent(uint64_t sequence, const absl::StatusOr<WriteResult>& result) {
    if (!result.ok()) {
      checker_.Unknown(number_, sequence);
      if (OutcomeUnknown(result.status())) {
        host_.recorder.findings().Note("sends of unknown outcome");
      } else {
        host_.Failed(result.status(), "a send");
      }
    }
    if (result.ok() && closed_loop_) Send(host_.clock.Now());
    in_flight_.End();
  }

  Host& host_;
  InFlight& in_flight_;
  DeliveryChecker& checker_;
  QueuePort& port_;
  const uint32_t number_;
  std::atomic<bool> closed_loop_{false};
  absl::Mutex mu_;
  uint64_t sent_ ABSL_GUARDED_BY(mu_) = 0;
};

// Keeps `depth` pops under way, each until it gets the message that says that
// no more is coming.
class Consumer {
 public:
  Consumer(Host& host, Series& series, InFlight& in_flight,
           DeliveryChecker& checker, QueuePort& port)
      : host_(host),
        series_(series),
        in_flight_(in_flight),
        checker_(checker),
        port_(port),
        // Unary sends overtake each other on their way.
        ordered_(!host.scenario.unary),
        order_(static_cast<uint32_t>(host.scenario.producers)) {}

  void Start() {
    for (uint64_t i = 0; i < host_.scenario.depth; ++i) {
      in_flight_.Begin();
      Pop();
    }
  }

 private:
  void Pop() {
    port_.Pop([this](absl::StatusOr<ReadResult> result) {
      if (result.ok() ? OnMessage(*result) : OnError(result.status())) {
        return Pop();
      }
      in_flight_.End();
    });
  }

  // Both: whether to go on.
  bool OnError(const absl::Status& error) {
    if (!OutcomeUnknown(error)) {
      host_.Failed(error, "a receive");
      return false;
    }
    // Of a unary call, that may have taken one; and then that one is lost.
    host_.recorder.findings().Note("receives of unknown outcome");
    return !host_.group.stop().stop_requested();
  }

  bool OnMessage(const ReadResult& result) {
    const absl::Time now = host_.clock.Now();
    const absl::StatusOr<Message> message =
        DecodeMessage(host_.group.epoch(), result.data, host_.scenario.size);
    if (host_.Failed(message.status(), "a message") || !message.ok()) {
      return true;
    }
    if (message->producer == kEndProducer) return false;
    series_.Record(message->intended, now, result.data.size());
    if (result.redelivered) host_.recorder.findings().Note("redelivered");
    checker_.Received(*message, result.redelivered);
    if (ordered_) CheckOrder(*message, result);
    return true;
  }

  void CheckOrder(const Message& message, const ReadResult& result)
      ABSL_LOCKS_EXCLUDED(mu_) {
    OrderChecker::Order order;
    {
      absl::MutexLock lock(&mu_);
      order = order_.Received(message, result.offset, result.redelivered);
    }
    if (order == OrderChecker::Order::kLate) {
      host_.recorder.findings().Note("results that came before earlier ones");
    } else if (order == OrderChecker::Order::kWrong) {
      host_.recorder.findings().Fail(absl::StrCat(
          "producer ", message.producer, ": message ", message.sequence,
          " stood behind later ones in the queue"));
    }
  }

  Host& host_;
  Series& series_;
  InFlight& in_flight_;
  DeliveryChecker& checker_;
  QueuePort& port_;
  const bool ordered_;
  absl::Mutex mu_;
  OrderChecker order_ ABSL_GUARDED_BY(mu_);
};

class Queue final : public Workload {
 public:
  Queue(Host& host, double rate)
      : host_(host),
        rate_(rate),
        name_(host.group.Name(kQueueName)),
        series_(host.recorder.Add("messages")),
        sending_(host.scenario.in_flight),
        receiving_(UINT64_MAX),
        checker_(static_cast<uint32_t>(host.scenario.producers)) {}

  absl::Status Prepare() override {
    const absl::Status made =
        host_.other
            ->CreatePipe(name_,
                         {.capacity_bytes = host_.scenario.capacity,
                          .atomic_max_bytes = host_.scenario.capacity,
                          .mode = PipeMode::kPacket,
                          .profile = PipeProfile::kQueue},
                         host_.group.stop())
            .status();
    if (!made.ok()) return made;
    if (absl::Status status = OpenPorts(); !status.ok()) return status;
    size_t port = 0;
    for (const uint64_t n : host_.Mine(host_.scenario.producers)) {
      producers_.push_back(std::make_unique<Producer>(
          host_, sending_, checker_, *ports_[port++ % ports_.size()],
          static_cast<uint32_t>(n)));
    }
    port = 0;
    for (size_t i = host_.Mine(host_.scenario.consumers).size(); i > 0; --i) {
      consumers_.push_back(
          std::make_unique<Consumer>(host_, series_, receiving_, checker_,
                                     *ports_[port++ % ports_.size()]));
      consumers_.back()->Start();
    }
    return absl::OkStatus();
  }

  void Start(absl::Time start) override {
    if (producers_.empty()) return;
    if (rate_ == 0) {
      for (auto& producer : producers_) producer->StartClosedLoop();
      return;
    }
    pacer_ = std::make_unique<Pacer>(
        host_.clock, host_.RateOf(rate_), host_.FirstOf(rate_, start),
        [this](uint64_t n, absl::Time due) {
          if (!sending_.BeginWhenRoom(host_.group.stop())) return;
          producers_[n % producers_.size()]->Send(due);
          sending_.End();
        });
  }

  void Finish() override {
    pacer_.reset();
    for (auto& producer : producers_) producer->Finish();
    sending_.AwaitNone(host_.group.stop());
    for (auto& producer : producers_) producer->Report();
  }

  // All that was sent is in the queue, or has been; what is put in now comes
  // out behind it.
  void Drain() override {
    if (host_.group.host() == 0) SendEnds();
    receiving_.AwaitNone(host_.group.stop());
    for (auto& port : ports_) port->Stop();
  }

  void Save(HostReport& report) override {
    checker_.Save((*report.mutable_deliveries())[kQueueName]);
  }

 private:
  absl::Status OpenPorts() {
    const uint64_t bytes = std::max<uint64_t>(host_.scenario.size, 4096);
    if (host_.scenario.unary) {
      auto port = UnaryQueuePort(host_.server, name_, bytes);
      if (!port.ok()) return port.status();
      ports_.push_back(*std::move(port));
      return absl::OkStatus();
    }
    for (auto& session : host_.sessions) {
      ports_.push_back(SessionQueuePort(*session, name_, bytes));
    }
    return absl::OkStatus();
  }

  void SendEnds() {
    const uint64_t pops = host_.scenario.consumers * host_.scenario.depth;
    for (uint64_t i = 0; i < pops; ++i) {
      const absl::Status sent =
          host_.other
              ->Write(name_,
                      EncodeMessage(host_.group.epoch(),
                                    {.producer = kEndProducer,
                                     .sequence = i,
                                     .intended = absl::UnixEpoch()},
                                    host_.scenario.size),
                      {}, host_.group.stop())
              .status();
      if (host_.Failed(sent, "sending an end") || !sent.ok()) return;
    }
  }

  Host& host_;
  const double rate_;
  const std::string name_;
  Series& series_;
  InFlight sending_;
  InFlight receiving_;
  DeliveryChecker checker_;
  // Before the ports, whose calls end with them.
  std::vector<std::unique_ptr<Producer>> producers_;
  std::vector<std::unique_ptr<Consumer>> consumers_;
  std::vector<std::unique_ptr<QueuePort>> ports_;
  std::unique_ptr<Pacer> pacer_;
};

}  // namespace

std::unique_ptr<Workload> MakeQueue(Host& host, double rate) {
  return std::make_unique<Queue>(host, rate);
}

}  // namespace waitq::load
