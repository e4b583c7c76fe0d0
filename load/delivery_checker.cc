#include "load/delivery_checker.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <iterator>
#include <optional>

#include "absl/strings/str_cat.h"

namespace waitq::load {
namespace {

// Sequence numbers come from a checked message, so they are those of a
// producer; but a broken one must not make us allocate all memory.
constexpr uint64_t kSequenceMax = uint64_t{1} << 33;

// How many receives may end at the same moment, and more.
constexpr size_t kRecentMax = 64;

bool Has(const std::vector<uint64_t>& bits, uint64_t n) {
  return n / 64 < bits.size() && (bits[n / 64] >> (n % 64) & 1) != 0;
}

}  // namespace

DeliveryChecker::DeliveryChecker(uint32_t producers) : producers_(producers) {}

void DeliveryChecker::Sent(uint32_t producer, uint64_t count) {
  absl::MutexLock lock(&mu_);
  producers_[producer].sent = count;
}

void DeliveryChecker::Unknown(uint32_t producer, uint64_t sequence) {
  absl::MutexLock lock(&mu_);
  producers_[producer].unknown.push_back(sequence);
}

void DeliveryChecker::Received(const Message& message, bool redelivered) {
  absl::MutexLock lock(&mu_);
  const uint64_t n = std::min(message.sequence, kSequenceMax);
  if (message.producer >= producers_.size()) {
    producers_.resize(message.producer + 1);
  }
  Producer& producer = producers_[message.producer];
  if (n / 64 >= producer.received.size()) {
    // By half, as push_back would.
    producer.received.reserve(
        std::max<size_t>(n / 64 + 1, producer.received.size() * 3 / 2));
    producer.received.resize(n / 64 + 1);
  }
  const uint64_t bit = uint64_t{1} << (n % 64);
  if (redelivered) {
    producer.redelivered.push_back(n);
  } else if ((producer.received[n / 64] & bit) != 0) {
    ++producer.doubled;
  }
  producer.received[n / 64] |= bit;
}

void DeliveryChecker::Save(DeliveriesData& data) const {
  absl::MutexLock lock(&mu_);
  for (uint32_t i = 0; i < producers_.size(); ++i) {
    const Producer& producer = producers_[i];
    DeliveryData& out = *data.add_producers();
    out.set_producer(i);
    out.set_sent(producer.sent);
    out.mutable_unknown()->Add(producer.unknown.begin(),
                               producer.unknown.end());
    out.mutable_received()->Add(producer.received.begin(),
                                producer.received.end());
    out.set_doubled(producer.doubled);
    out.mutable_redelivered()->Add(producer.redelivered.begin(),
                                   producer.redelivered.end());
  }
}

void DeliveryChecker::Merge(const DeliveriesData& data) {
  absl::MutexLock lock(&mu_);
  for (const DeliveryData& in : data.producers()) {
    if (in.producer() >= producers_.size()) {
      producers_.resize(in.producer() + 1);
    }
    Producer& producer = producers_[in.producer()];
    producer.sent += in.sent();
    producer.doubled += in.doubled();
    producer.unknown.insert(producer.unknown.end(), in.unknown().begin(),
                            in.unknown().end());
    if (producer.received.size() < static_cast<size_t>(in.received_size())) {
      producer.received.resize(in.received_size());
    }
    // One host had it, and another one was told that it might have.
    const std::vector<uint64_t> marked(in.redelivered().begin(),
                                       in.redelivered().end());
    producer.redelivered.insert(producer.redelivered.end(), marked.begin(),
                                marked.end());
    std::vector<uint64_t> excused = producer.redelivered;
    std::sort(excused.begin(), excused.end());
    excused.erase(std::unique(excused.begin(), excused.end()), excused.end());
    const std::vector<uint64_t> received(in.received().begin(),
                                         in.received().end());
    for (const uint64_t n : excused) {
      if (Has(received, n) && Has(producer.received, n)) --producer.doubled;
    }
    for (int i = 0; i < in.received_size(); ++i) {
      producer.doubled += std::popcount(producer.received[i] & in.received(i));
      producer.received[i] |= in.received(i);
    }
  }
}

DeliveryChecker::Verdict DeliveryChecker::JudgeOne(uint32_t number,
                                                   const Producer& producer) {
  Verdict verdict;
  verdict.sent = producer.sent;
  verdict.unknown = producer.unknown.size();
  verdict.doubled = producer.doubled;
  std::optional<uint64_t> first_lost;
  const uint64_t end =
      std::max<uint64_t>(producer.sent, producer.received.size() * 64);
  for (uint64_t n = 0; n < end; ++n) {
    const bool received = Has(producer.received, n);
    if (received) ++verdict.received;
    if (received && n >= producer.sent) ++verdict.invented;
    if (received || n >= producer.sent) continue;
    if (std::find(producer.unknown.begin(), producer.unknown.end(), n) !=
        producer.unknown.end()) {
      continue;
    }
    if (!first_lost.has_value()) first_lost = n;
    ++verdict.lost;
  }
  if (verdict.lost + verdict.doubled + verdict.invented == 0) return verdict;
  std::string failure = absl::StrCat("producer ", number, ": of ", verdict.sent,
                                     " messages ", verdict.lost, " lost");
  if (first_lost.has_value()) {
    absl::StrAppend(&failure, " (the first: ", *first_lost, ")");
  }
  absl::StrAppend(&failure, ", ", verdict.doubled, " came twice, ",
                  verdict.invented, " came that were never sent");
  verdict.failures.push_back(std::move(failure));
  return verdict;
}

DeliveryChecker::Verdict DeliveryChecker::Judge() const {
  absl::MutexLock lock(&mu_);
  Verdict all;
  for (uint32_t i = 0; i < producers_.size(); ++i) {
    Verdict one = JudgeOne(i, producers_[i]);
    all.sent += one.sent;
    all.received += one.received;
    all.lost += one.lost;
    all.doubled += one.doubled;
    all.invented += one.invented;
    all.unknown += one.unknown;
    all.failures.insert(all.failures.end(), one.failures.begin(),
                        one.failures.end());
  }
  return all;
}

OrderChecker::Order OrderChecker::Received(const Message& message,
                                           uint64_t offset, bool redelivered) {
  if (redelivered) return Order::kRight;
  if (message.producer >= recent_.size()) recent_.resize(message.producer + 1);
  std::deque<Place>& recent = recent_[message.producer];
  auto place = recent.end();
  while (place != recent.begin() && std::prev(place)->offset > offset) --place;
  const bool late = place != recent.end();
  // Those beside it may be redelivered ones' successors, but never the same.
  const bool wrong = (place != recent.begin() &&
                      std::prev(place)->sequence >= message.sequence) ||
                     (late && place->sequence <= message.sequence);
  recent.insert(place, {.offset = offset, .sequence = message.sequence});
  if (recent.size() > kRecentMax) recent.pop_front();
  if (wrong) return Order::kWrong;
  return late ? Order::kLate : Order::kRight;
}

}  // namespace waitq::load
