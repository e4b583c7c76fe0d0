#include "server/engine/repeats.h"

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "server/engine/error.h"

namespace waitq::engine {
namespace {

bool IsKept(const absl::Status& status) {
  return status.code() != absl::StatusCode::kCancelled &&
         status.code() != absl::StatusCode::kResourceExhausted &&
         status.code() != absl::StatusCode::kUnavailable;
}

absl::Status OtherArguments(const RepeatKey& key) {
  return MakeError(EINVAL,
                   absl::StrCat(key.object, ": request_id: ", key.request_id,
                                " was used with other arguments"),
                   {{"object", key.object}});
}

absl::Status StoreIsFull(const RepeatKey& key, const Budget& budget) {
  return MakeError(ENOSPC,
                   absl::StrCat(key.object, ": the limit ", budget.name(),
                                " is reached; nothing was done"),
                   {{"object", key.object}, {"limit", budget.name()}});
}

absl::Status Evicted() {
  return MakeError(ECANCELED, "the same call came again, and took its place");
}

}  // namespace

// --- One call ----------------------------------------------------------------

void Repeat::Answer(KeptAnswer answer) {
  const bool keep = IsKept(answer.status);
  const auto kept = std::make_shared<const KeptAnswer>(std::move(answer));
  Ref<RepeatWaiter> waiter;
  {
    MutexLock lock(&mu_);
    table_.mu_.AssertHeld();
    state_ = State::kAnswered;
    answer_ = kept;
    operation_ = nullptr;
    waiter = std::exchange(waiter_, nullptr);
    if (keep) {
      table_.KeepLocked(*this, kept->bytes.size());
    } else {
      table_.ForgetLocked(*this);
    }
  }
  if (waiter) RepeatTable::Tell(std::move(waiter), kept);
  DropRef();  // the run's
}

void Repeat::Sleep(Ref<Operation> operation) {
  DoneList done;
  bool cancelled = false;
  {
    MutexLock lock(&mu_);
    // It may have ended in the meantime, and been answered.
    if (state_ == State::kAnswered) return;
    operation_ = operation;
    // Or what could not be told to an operation that was not there has come.
    cancelled = cancelled_;
    if (!waiter_) {
      operation->object().Detach(*operation, kReattachGrace);
    } else if (waiter_.get() != first_) {
      operation->object().Attach(*operation, waiter_->call_deadline_, done);
    }
  }
  DeliverAll(std::move(done));
  if (cancelled) {
    operation->object().OnEvent(*operation, Event::kCallerGone);
  }
}

void Repeat::Leave(RepeatWaiter& waiter) {
  MutexLock lock(&mu_);
  if (waiter_.get() != &waiter) return;  // another has its place
  waiter_ = nullptr;
  // Under the lock, for the race with a call that comes again: its Attach()
  // must not be overtaken by this.
  if (operation_) operation_->object().Detach(*operation_, kReattachGrace);
}

void Repeat::Deliver(DoneList done) {
  while (!done.empty()) done.Pop()->Deliver();
}

void Repeat::OnEnded(Operation& operation) { Answer(encode_(operation)); }

// --- All of them -------------------------------------------------------------

absl::StatusOr<RepeatTable::Begun> RepeatTable::Begin(
    Call call, const Ref<RepeatWaiter>& waiter) {
  Begun begun{.repeat = {}, .is_new = false};
  Ref<RepeatWaiter> evicted;
  std::shared_ptr<const KeptAnswer> answer;
  DoneList done;
  {
    MutexLock lock(&mu_);
    ExpireLocked();
    const auto it = repeats_.find(call.key);
    if (it == repeats_.end()) {
      return MakeLocked(std::move(call), waiter);
    }
    begun.repeat = it->second;
    Repeat& repeat = *begun.repeat;
    repeat.mu_.AssertHeld();
    if (repeat.fingerprint_ != call.fingerprint) {
      return OtherArguments(call.key);
    }
    if (repeat.state_ == Repeat::State::kAnswered) {
      answer = repeat.answer_;
    } else {
      evicted = std::exchange(repeat.waiter_, waiter);
      if (repeat.operation_) {
        repeat.operation_->object().Attach(*repeat.operation_,
                                           waiter->call_deadline_, done);
      }
    }
  }
  if (evicted) {
    Tell(std::move(evicted), std::make_shared<const KeptAnswer>(
                                 KeptAnswer{.status = Evicted(), .bytes = {}}));
  }
  if (answer) Tell(waiter, std::move(answer));
  DeliverAll(std::move(done));
  return begun;
}

absl::StatusOr<RepeatTable::Begun> RepeatTable::MakeLocked(
    Call call, const Ref<RepeatWaiter>& waiter) {
  if (!shared_.kept_answers.Take(1)) {
    return StoreIsFull(call.key, shared_.kept_answers);
  }
  if (!shared_.kept_bytes.Take(call.answer_bytes)) {
    shared_.kept_answers.Return(1);
    return StoreIsFull(call.key, shared_.kept_bytes);
  }
  auto repeat =
      MakeRef<Repeat>(this, &mu_, call.key, call.fingerprint, call.answer_bytes,
                      waiter.get(), std::move(call.encode));
  repeat->mu_.AssertHeld();
  repeat->waiter_ = waiter;
  repeat->AddRef();  // the run's, until Answer(): its operation points to it
  repeats_.emplace(std::move(call.key), repeat);
  return Begun{.repeat = std::move(repeat), .is_new = true};
}

bool RepeatTable::Cancel(const RepeatKey& key) {
  Ref<Operation> operation;
  {
    MutexLock lock(&mu_);
    const auto it = repeats_.find(key);
    if (it == repeats_.end()) return false;
    const Ref<Repeat> repeat = it->second;
    repeat->mu_.AssertHeld();
    if (repeat->state_ == Repeat::State::kAnswered) {
      ForgetLocked(*repeat);
      return true;
    }
    operation = repeat->operation_;
    if (!operation) {  // it is just beginning: see Sleep()
      repeat->cancelled_ = true;
      return true;
    }
  }
  // Its end, which is CANCELLED, takes it out.
  return operation->object().OnEvent(*operation, Event::kCallerGone);
}

void RepeatTable::Expire() {
  MutexLock lock(&mu_);
  ExpireLocked();
}

void RepeatTable::ExpireLocked() {
  const absl::Time now = shared_.Now();
  while (!kept_.empty() && kept_.front().until <= now) {
    const Ref<Repeat> repeat = kept_.front().repeat;
    ForgetLocked(*repeat);
  }
}

void RepeatTable::KeepLocked(Repeat& repeat, uint64_t bytes) {
  repeat.mu_.AssertHeld();
  const uint64_t kept = std::min(bytes, repeat.charged_bytes_);
  shared_.kept_bytes.Return(repeat.charged_bytes_ - kept);
  repeat.charged_bytes_ = kept;
  repeat.kept_ = kept_.insert(
      kept_.end(), {shared_.Now() + kKeepAnswersFor, Ref<Repeat>(&repeat)});
}

void RepeatTable::ForgetLocked(Repeat& repeat) {
  repeat.mu_.AssertHeld();
  const auto it = repeats_.find(repeat.key_);
  if (it == repeats_.end() || it->second.get() != &repeat) return;
  shared_.kept_answers.Return(1);
  shared_.kept_bytes.Return(std::exchange(repeat.charged_bytes_, 0));
  if (repeat.kept_) kept_.erase(*repeat.kept_);
  // Not the last reference: whoever calls this has one.
  repeats_.erase(it);
}

void RepeatTable::Tell(Ref<RepeatWaiter> waiter,
                       std::shared_ptr<const KeptAnswer> answer) {
  waiter->answer_ = std::move(answer);
  DoneList done;
  done.Push(std::move(waiter));
  DeliverAll(std::move(done));
}

}  // namespace waitq::engine
