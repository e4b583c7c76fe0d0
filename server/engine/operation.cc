#include "server/engine/operation.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "server/engine/any_of.h"
#include "server/engine/object.h"

namespace waitq::engine {
namespace {

// A remote task's INT counts as handled: it ends an interruptible sleep, as
// Ctrl-C does, and leaves a killable one alone.
constexpr SignalDispositions kDispositions{
    .blocked = {}, .ignored = {}, .handled = SignalSet::Of(SIGINT)};

}  // namespace

Operation::Operation(WakeFunction wake, bool exclusive, Home* home,
                     Caller* caller, std::shared_ptr<CallerInfo> caller_info)
    : WaitEntry(&task_, wake, exclusive ? uint32_t{kExclusive} : 0),
      Timer(&OnTimer),
      task_(&kDispositions),
      home_(home),
      caller_(caller),
      caller_info_(std::move(caller_info)) {}

Operation::~Operation() = default;

std::optional<absl::Duration> Operation::remaining() const {
  if (!has_timeout_) return std::nullopt;
  return std::max(timeout_ - took(),
                  ending_ == Ending::kDone ? kTick : absl::ZeroDuration());
}

std::optional<OperationTiming> Operation::timing() const {
  if (!want_timing_) return std::nullopt;
  OperationTiming timing{.asleep = absl::ZeroDuration(),
                         .ended = ended_,
                         .overshoot = absl::ZeroDuration(),
                         .place = place_};
  if (slept_) timing.asleep = took();
  if (ending_ == Ending::kTimedOut && has_timeout_) {
    // Less than nothing if the end of its call was nearer.
    timing.overshoot = std::max(took() - timeout_, absl::ZeroDuration());
  }
  return timing;
}

void Operation::OnTimer(Timer& timer) {
  // The reference that arming the timer took.
  const auto operation = Ref<Operation>::Adopt(&static_cast<Operation&>(timer));
  operation->object_->OnTimer(*operation);
}

DoneList::~DoneList() {
  while (!empty()) Pop();
}

void DoneList::Push(Ref<Operation> operation) {
  Operation* const pushed = operation.Release();
  (first_ == nullptr ? first_ : last_->next_done_) = pushed;
  last_ = pushed;
}

Ref<Operation> DoneList::Pop() {
  auto popped = Ref<Operation>::Adopt(first_);
  first_ = std::exchange(popped->next_done_, nullptr);
  if (first_ == nullptr) last_ = nullptr;
  return popped;
}

bool DoneList::OfOneHome() const {
  const Operation* op = first_;
  while (op != nullptr && op->home_ == first_->home_) op = op->next_done_;
  return op == nullptr;
}

void DoneList::Append(DoneList&& other) {
  if (other.empty()) return;
  (first_ == nullptr ? first_ : last_->next_done_) = other.first_;
  last_ = other.last_;
  other.first_ = other.last_ = nullptr;
}

namespace {

// Of the thread's DeliveryBatch: what is collected, if there is one.
struct Collected {
  bool open = false;
  DoneList done;
};
thread_local Collected collected;

}  // namespace

DeliveryBatch::DeliveryBatch()
    : outermost_(!std::exchange(collected.open, true)) {}

DeliveryBatch::~DeliveryBatch() {
  if (!outermost_) return;
  // An end may bring about another, and so on: one after another.
  while (!collected.done.empty()) DeliverNow(std::move(collected.done));
  collected.open = false;
}

void DeliverAll(DoneList done) {
  if (done.empty()) return;
  const DeliveryBatch following;
  collected.done.Append(std::move(done));
}

void DeliverNow(DoneList done) {
  if (done.OfOneHome()) return done.first_->home_->Deliver(std::move(done));
  // As many lists as there are homes: a few, or as many as there are sessions.
  absl::InlinedVector<std::pair<Home*, DoneList>, 16> batches;
  absl::flat_hash_map<Home*, size_t> places;  // if they are many
  const auto place_of = [&](Home* home) {
    if (batches.size() <= 16) {
      size_t place = 0;
      while (place < batches.size() && batches[place].first != home) ++place;
      return place;
    }
    if (places.empty()) {
      for (size_t i = 0; i < batches.size(); ++i) places[batches[i].first] = i;
    }
    return places.emplace(home, batches.size()).first->second;
  };
  size_t last = 0;  // neighbours are often of one home
  while (!done.empty()) {
    Ref<Operation> operation = done.Pop();
    Home* const home = operation->home_;
    if (batches.empty() || batches[last].first != home) {
      last = place_of(home);
      if (last == batches.size()) batches.emplace_back(home, DoneList());
    }
    batches[last].second.Push(std::move(operation));
  }
  for (auto& [home, batch] : batches) home->Deliver(std::move(batch));
}

}  // namespace waitq::engine
