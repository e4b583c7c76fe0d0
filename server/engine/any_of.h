// One call that sleeps on several objects and is ended by one of them.
//
//   alternative 0 ─► in its object's line ─┐ the condition of one holds, under
//   alternative 1 ─► in its object's line ─┤ its own object's lock: Claim(),
//   alternative 2 ─► in its object's line ─┘ then it takes what it takes
//                                          ▼
//                     the others are dead from that moment, are passed by as
//                     those are whose caller has gone, and leave their lines
//                     afterwards, one by one, outside every lock
//
// Each alternative is an ordinary operation, which stands in its own object's
// line and ends through Object::FinishLocked() as any other. So no walk takes a
// second object's lock, and an alternative that is not chosen has consumed
// nothing: it was never let to.

#ifndef WAITQ_SERVER_ENGINE_ANY_OF_H_
#define WAITQ_SERVER_ENGINE_ANY_OF_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "core/mutex.h"
#include "server/engine/operation.h"
#include "server/engine/ref.h"

namespace waitq::engine {

enum class Started : uint8_t;
struct Shared;

// Thread safety: any thread may call any method, but for Start(), which is
//   called once.
// Lock order: its own lock is the last; it is never held while a leg is told
//   anything. Claim() and the readers beside it take none.
// Lifetime: counted; its legs hold on to it.
class AnyOf final : public RefCounted, private Home {
 public:
  // An operation that was not started, and how it is. All are made with the
  // same home and caller, which are told of the one that has ended them all.
  struct Alternative {
    Ref<Operation> operation;
    std::function<absl::StatusOr<Started>(const SleepOptions& options)> start;
  };

  // Starts them in their order, until one has ended all: each is tested, and
  // sleeps. `options` are for the whole. kEnded: TakeEnded() is the one that
  // has ended; kAsleep: it will be delivered to its home. An error, of the
  // first that could not be started: none has taken anything.
  absl::StatusOr<Started> Start(Shared& shared,
                                std::vector<Alternative> alternatives,
                                SleepOptions options) ABSL_LOCKS_EXCLUDED(mu_);
  Ref<Operation> TakeEnded() { return std::move(ended_); }

  // The id of all of them.
  uint64_t id() const { return id_; }

  // For an object, under its lock, which is about to let `leg` succeed, or to
  // end it for good: whether the end of it is the end of all. To be asked
  // before anything is consumed. Of all legs one gets true, as often as it
  // asks.
  bool Claim(const Operation& leg) {
    const Operation* claimed = nullptr;
    return claimed_.compare_exchange_strong(claimed, &leg) || claimed == &leg;
  }
  bool IsClaimedByAnother(const Operation& leg) const {
    const Operation* const claimed = claimed_.load();
    return claimed != nullptr && claimed != &leg;
  }

  // Those that have been started, in their order; nothing when it is over.
  std::vector<Ref<Operation>> Legs() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  friend class Operation;

  // Home: a leg has ended.
  void Deliver(DoneList done) override ABSL_LOCKS_EXCLUDED(mu_);
  void Bind(const std::vector<Alternative>& alternatives, Shared& shared);
  // A leg has ended: whether that is the end of all, who then have ended.
  bool Conclude(const Operation& leg) ABSL_LOCKS_EXCLUDED(mu_);
  // Those that are asleep leave their lines.
  void EndOthers(const Operation* chosen) ABSL_LOCKS_EXCLUDED(mu_);
  bool IsClaimed() const { return claimed_.load() != nullptr; }

  uint64_t id_ = 0;
  uint64_t tag_ = 0;      // as Operation's, of all of them
  Home* home_ = nullptr;  // theirs
  Ref<Operation> ended_;
  // The leg whose end is the end of all.
  std::atomic<const Operation*> claimed_{nullptr};

  mutable Mutex mu_;
  bool starting_ ABSL_GUARDED_BY(mu_) = true;
  // Legs that have ended meanwhile.
  DoneList early_ ABSL_GUARDED_BY(mu_);
  std::vector<Ref<Operation>> legs_ ABSL_GUARDED_BY(mu_);
};

// The operation that has ended, where Object::Start() has said kEnded of this
// one: another, if it is an alternative.
Ref<Operation> EndedOf(Ref<Operation> operation);

inline uint64_t Operation::tag() const {
  return any_of_ ? any_of_->tag_ : tag_;
}
inline void Operation::set_tag(uint64_t tag) {
  (any_of_ ? any_of_->tag_ : tag_) = tag;
}

}  // namespace waitq::engine

#endif  // WAITQ_SERVER_ENGINE_ANY_OF_H_
