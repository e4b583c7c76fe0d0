#include "server/engine/operation.h"

#include <algorithm>

#include "absl/container/inlined_vector.h"
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

std::optional<absl::Duration> Operation::remaining() const {
  if (!has_timeout_) return std::nullopt;
  return std::max(timeout_ - took_,
                  ending_ == Ending::kDone ? kTick : absl::ZeroDuration());
}

std::optional<OperationTiming> Operation::timing() const {
  if (!want_timing_) return std::nullopt;
  OperationTiming timing{.asleep = absl::ZeroDuration(),
                         .ended = started_ + took_,
                         .overshoot = absl::ZeroDuration(),
                         .place = place_};
  if (slept_) timing.asleep = took_;
  if (ending_ == Ending::kTimedOut && has_timeout_) {
    // Less than nothing if the end of its call was nearer.
    timing.overshoot = std::max(took_ - timeout_, absl::ZeroDuration());
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

void DoneList::Append(DoneList&& other) {
  if (other.empty()) return;
  (first_ == nullptr ? first_ : last_->next_done_) = other.first_;
  last_ = other.last_;
  other.first_ = other.last_ = nullptr;
}

void DeliverAll(DoneList done) {
  // As many lists as there are homes: a few.
  absl::InlinedVector<std::pair<Home*, DoneList>, 16> batches;
  while (!done.empty()) {
    Ref<Operation> operation = done.Pop();
    Home* const home = operation->home_;
    DoneList* list = nullptr;
    for (auto& [other, batch] : batches) {
      if (other == home) list = &batch;
    }
    if (list == nullptr) {
      list = &batches.emplace_back(home, DoneList()).second;
    }
    list->Push(std::move(operation));
  }
  for (auto& [home, batch] : batches) home->Deliver(std::move(batch));
}

}  // namespace waitq::engine
