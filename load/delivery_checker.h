// Whether every message of a queue came out of it, and only once.

#ifndef WAITQ_LOAD_DELIVERY_CHECKER_H_
#define WAITQ_LOAD_DELIVERY_CHECKER_H_

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "load/message.h"
#include "load/report.pb.h"

namespace waitq::load {

// Each host keeps one for what its own producers and consumers do; host 0 adds
// all of them up, and then asks.
//
// Thread safety: any thread may call any method.
// Memory: a bit for each message.
class DeliveryChecker {
 public:
  explicit DeliveryChecker(uint32_t producers);

  // The producer has sent its messages 0 to `count` - 1, and no more.
  void Sent(uint32_t producer, uint64_t count) ABSL_LOCKS_EXCLUDED(mu_);
  // Among these is one of which nobody knows whether it was sent.
  void Unknown(uint32_t producer, uint64_t sequence) ABSL_LOCKS_EXCLUDED(mu_);
  // `redelivered`: the server says that somebody may have had it before; that
  // is no failure, should it be so.
  void Received(const Message& message, bool redelivered)
      ABSL_LOCKS_EXCLUDED(mu_);

  void Save(DeliveriesData& data) const ABSL_LOCKS_EXCLUDED(mu_);
  void Merge(const DeliveriesData& data) ABSL_LOCKS_EXCLUDED(mu_);

  struct Verdict {
    uint64_t sent = 0;
    uint64_t received = 0;
    uint64_t lost = 0;
    uint64_t doubled = 0;
    uint64_t invented = 0;  // received, and never sent
    uint64_t unknown = 0;
    // A sentence for each producer with a failure.
    std::vector<std::string> failures = {};
  };
  Verdict Judge() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Producer {
    uint64_t sent = 0;
    std::vector<uint64_t> unknown;
    std::vector<uint64_t> received;  // bits
    // May wrap below 0 for a moment in Merge().
    uint64_t doubled = 0;
    std::vector<uint64_t> redelivered;
  };

  static Verdict JudgeOne(uint32_t number, const Producer& producer);

  mutable absl::Mutex mu_;
  std::vector<Producer> producers_ ABSL_GUARDED_BY(mu_);
};

// Whether each producer's messages stand in the queue in their order, as one
// consumer sees it. Several receives of a session may end at the same moment,
// and the later one's result arrive first: so what counts is where in the queue
// a message stood.
//
// Thread safety: none.
class OrderChecker {
 public:
  explicit OrderChecker(uint32_t producers) : recent_(producers) {}

  enum class Order {
    kRight,
    kLate,   // right, but one that stood behind it was received before it
    kWrong,  // it stood behind one that was sent after it
  };
  // `offset`: where it stood. What is redelivered may come late.
  Order Received(const Message& message, uint64_t offset, bool redelivered);

 private:
  struct Place {
    uint64_t offset;
    uint64_t sequence;
  };

  // Of each producer the latest, by offset.
  std::vector<std::deque<Place>> recent_;
};

}  // namespace waitq::load

#endif  // WAITQ_LOAD_DELIVERY_CHECKER_H_
