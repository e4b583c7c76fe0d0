#include "server/engine/any_of.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/engine/object.h"

namespace waitq::engine {
namespace {

// What the other legs are told of, if one has ended so and was not claimed: an
// event that lets each be tested once more. Nothing of a leg that was refused.
std::optional<Event> TestingEventOf(Ending ending) {
  switch (ending) {
    case Ending::kTimedOut:
      return Event::kTimer;
    case Ending::kInterrupted:
      return Event::kSignal;
    case Ending::kDraining:
      return Event::kDrain;
    default:
      return std::nullopt;
  }
}

}  // namespace

// --- Starting ----------------------------------------------------------------

void AnyOf::Bind(const std::vector<Alternative>& alternatives, Shared& shared) {
  id_ = ++shared.last_operation;
  tag_ = alternatives.front().operation->tag_;
  home_ = alternatives.front().operation->home_;
  uint8_t number = 0;
  for (const Alternative& alternative : alternatives) {
    Operation& leg = *alternative.operation;
    leg.any_of_ = Ref<AnyOf>(this);
    leg.alternative_ = number++;
    leg.home_ = this;
  }
}

absl::StatusOr<Started> AnyOf::Start(Shared& shared,
                                     std::vector<Alternative> alternatives,
                                     SleepOptions options) {
  // What legs bring about on this thread comes when this is done.
  const DeliveryBatch later;
  Bind(alternatives, shared);
  const std::optional<absl::Duration> timeout = options.timeout;
  const absl::Time begin = shared.Now();
  std::vector<Ref<Operation>> asleep;
  Ref<Operation> ended;  // the first that may not sleep, or the chosen one
  absl::Status failure;
  for (const Alternative& alternative : alternatives) {
    if (IsClaimed()) break;  // by one that sleeps
    const Ref<Operation>& leg = alternative.operation;
    if (timeout.has_value()) {
      options.timeout =
          std::max(*timeout - (shared.Now() - begin), absl::ZeroDuration());
    }
    const absl::StatusOr<Started> started = alternative.start(options);
    if (!started.ok()) {
      // Unless another has ended the call meanwhile.
      if (Claim(*leg)) failure = started.status();
      break;
    }
    if (*started == Started::kAsleep) {
      asleep.push_back(leg);
    } else if (IsClaimed()) {
      if (Claim(*leg)) ended = leg;
      break;
    } else if (!ended) {
      ended = leg;
      options.nonblock = true;  // the others are only tested
    }
  }

  DoneList early;
  {
    MutexLock lock(&mu_);
    legs_ = std::move(asleep);
    starting_ = false;
    early.Append(std::move(early_));
  }
  if (!failure.ok()) {
    EndOthers(nullptr);
    return failure;
  }
  if (ended && Conclude(*ended)) {
    ended_ = std::move(ended);
    return Started::kEnded;
  }
  while (!early.empty()) {
    Ref<Operation> leg = early.Pop();
    if (!Conclude(*leg)) continue;
    ended_ = std::move(leg);
    return Started::kEnded;
  }
  return Started::kAsleep;
}

Ref<Operation> EndedOf(Ref<Operation> operation) {
  if (!operation->any_of_) return operation;
  return operation->any_of_->TakeEnded();
}

// --- Ending ------------------------------------------------------------------

void AnyOf::Deliver(DoneList done) {
  {
    MutexLock lock(&mu_);
    // Start() is at it, and looks at these at its end.
    if (starting_) return early_.Append(std::move(done));
  }
  while (!done.empty()) {
    Ref<Operation> leg = done.Pop();
    if (!Conclude(*leg)) continue;
    leg->home_ = home_;
    DoneList home;
    home.Push(std::move(leg));
    DeliverAll(std::move(home));
  }
}

bool AnyOf::Conclude(const Operation& leg) {
  if (const auto event = TestingEventOf(leg.ending());
      event.has_value() && !IsClaimed()) {
    for (const Ref<Operation>& other : Legs()) {
      if (other.get() == &leg) continue;
      other->object().OnEvent(*other, *event, leg.signal());
    }
  }
  // Unless one of those tests, or somebody else meanwhile, has chosen another.
  if (!Claim(leg)) return false;
  EndOthers(&leg);
  return true;
}

void AnyOf::EndOthers(const Operation* chosen) {
  std::vector<Ref<Operation>> legs;
  {
    MutexLock lock(&mu_);
    legs = std::exchange(legs_, {});
  }
  // Each may have stood in somebody's way.
  for (const Ref<Operation>& leg : legs) {
    if (leg.get() != chosen) leg->object().OnEvent(*leg, Event::kNotChosen);
  }
}

std::vector<Ref<Operation>> AnyOf::Legs() const {
  MutexLock lock(&mu_);
  return legs_;
}

}  // namespace waitq::engine
