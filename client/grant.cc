#include "client/grant.h"

#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "client/client_impl.h"
#include "client/client_words.h"
#include "client/error.h"
#include "client/session/machine.h"

namespace waitq {

// The machine, while it watches, has a reference.
struct Grant::State {
  // Of the listener; and of the race between it and the grant's end.
  enum class Standing { kHeld, kGivenBack, kLost };

  State(SessionMachine* its_machine, std::string its_name, uint64_t its_token,
        uint64_t its_session)
      : machine(*its_machine),
        name(std::move(its_name)),
        token(its_token),
        session(its_session) {}

  // Whoever makes it so is the one that acts.
  bool GiveBack() {
    absl::MutexLock lock(&mu);
    if (standing != Standing::kHeld) return false;
    standing = Standing::kGivenBack;
    return true;
  }
  void Lose(const absl::Status& status) {
    absl::AnyInvocable<void(const absl::Status&)> told;
    {
      absl::MutexLock lock(&mu);
      if (standing != Standing::kHeld) return;
      standing = Standing::kLost;
      why = status;
      told = std::move(listener);
    }
    if (told) told(status);
  }
  absl::Status NotHeldError() {
    absl::MutexLock lock(&mu);
    if (standing == Standing::kLost) return why;
    absl::Status status = absl::FailedPreconditionError(
        absl::StrCat(name, ": it was given back already"));
    SetErrorField(status, kReasonKey, "ESTALE");
    SetErrorField(status, kObjectKey, name);
    return status;
  }
  Plan PlanGiveBack(const std::optional<Action>& update) const {
    Plan plan = PlanWakeUp(name, {.update = update, .grant = token});
    plan.session = session;
    return plan;
  }
  // Without waiting for the answer: if it does not arrive, the session is lost,
  // and the grant with it.
  void Send(const std::optional<Action>& update) {
    machine.Unwatch(watch);
    SubmitPlan(
        machine, PlanGiveBack(update),
        [](const absl::Status&, v1::Result*, SessionReceipt) { return true; });
  }

  SessionMachine& machine;  // as long as it is held
  const std::string name;
  const uint64_t token;
  const uint64_t session;
  uint64_t watch = 0;

  absl::Mutex mu;
  Standing standing ABSL_GUARDED_BY(mu) = Standing::kHeld;
  absl::Status why ABSL_GUARDED_BY(mu);
  absl::AnyInvocable<void(const absl::Status&)> listener ABSL_GUARDED_BY(mu);
};

Grant::Grant() = default;
Grant::Grant(Grant&&) noexcept = default;
Grant::Grant(const WaitResult& result) : result_(result) {}

Grant::Grant(SessionMachine* machine, std::string name,
             const WaitResult& result, const SessionReceipt& receipt)
    : result_(result),
      state_(std::make_shared<State>(machine, std::move(name),
                                     result.generation, receipt.session)) {
  state_->watch = machine->Watch(
      receipt.session,
      [state = state_](const absl::Status& why) { state->Lose(why); });
}

Grant& Grant::operator=(Grant&& other) noexcept {
  if (this == &other) return *this;
  Grant old = std::move(*this);
  result_ = other.result_;
  state_ = std::move(other.state_);
  return *this;
}

Grant::~Grant() {
  if (state_ && state_->GiveBack()) state_->Send(std::nullopt);
}

bool Grant::is_held() const {
  if (!state_) return false;
  absl::MutexLock lock(&state_->mu);
  return state_->standing == State::Standing::kHeld;
}

namespace {

// What a give-back is answered, if somebody waits for that.
struct Answer {
  void Set(absl::StatusOr<WakeResult> what) {
    absl::MutexLock lock(&mu);
    if (over) return;
    result = std::move(what);
    over = true;
  }

  absl::Mutex mu;
  bool over ABSL_GUARDED_BY(mu) = false;
  absl::StatusOr<WakeResult> result ABSL_GUARDED_BY(mu) =
      absl::UnknownError("");
};

}  // namespace

absl::StatusOr<WakeResult> Grant::GiveBack(const std::optional<Action>& update,
                                           std::stop_token stop) {
  if (!state_) return absl::FailedPreconditionError("nothing was granted");
  if (!state_->GiveBack()) return state_->NotHeldError();
  state_->machine.Unwatch(state_->watch);
  // Who is stopped, or may not wait, gives it back all the same: nobody else
  // could any more.
  const bool may_wait = !state_->machine.IsTelling();
  auto answer = std::make_shared<Answer>();
  CallBack<WakeResult>(state_->machine, state_->PlanGiveBack(update),
                       &ReadWakeUp,
                       [answer](absl::StatusOr<WakeResult> result) {
                         answer->Set(std::move(result));
                       });
  if (!may_wait) return DeadlockError(state_->name);
  const std::stop_callback on_stop(
      stop, [answer, name = state_->name] { answer->Set(StoppedError(name)); });
  absl::MutexLock lock(&answer->mu);
  answer->mu.Await(absl::Condition(&answer->over));
  return answer->result;
}

void Grant::Keep() {
  // Adding nothing is a change, which takes the place of the undoing.
  if (state_ && state_->GiveBack()) state_->Send(Action::Add(0));
}

void Grant::OnLost(absl::AnyInvocable<void(const absl::Status&)> listener) {
  if (!state_) return;
  absl::Status why;
  {
    absl::MutexLock lock(&state_->mu);
    if (state_->standing != State::Standing::kLost) {
      // The old one dies without the lock.
      std::swap(state_->listener, listener);
      return;
    }
    why = state_->why;
  }
  if (listener) listener(why);
}

}  // namespace waitq
