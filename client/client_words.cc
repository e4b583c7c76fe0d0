#include "client/client_words.h"

#include <utility>

#include "client/client.h"
#include "client/client_requests.h"
#include "client/grant.h"
#include "client/wire.h"

namespace waitq {
namespace {

// `undo`: of a grant.
Plan PlanWait(const std::string& name, const WaitOptions& options,
              const Undo* undo = nullptr) {
  Plan plan{.object = name, .timeout = options.timeout, .sleeper = true};
  // One for each thread: its memory is there already.
  thread_local v1::WaitRequest request;
  request.Clear();
  FillWait(name, options, undo, request);
  plan.encoded = EncodeOperation(v1::Operation::kWaitFieldNumber, request);
  plan.restartable = IsRestartable(options, undo);
  return plan;
}

absl::StatusOr<WaitResult> ReadWait(v1::Result& result) {
  return FromWire(result.wait());
}

absl::StatusOr<GetResult> ReadGet(v1::Result& result) {
  return GetResult{.value = result.get().value(),
                   .generation = result.get().generation()};
}

absl::StatusOr<StoreResult> ReadStore(v1::Result& result) {
  return StoreResult{.value_before = result.store().value_before(),
                     .generation = result.store().generation()};
}

}  // namespace

void FillWait(const std::string& name, const WaitOptions& options,
              const Undo* undo, v1::WaitRequest& request) {
  request.set_name(name);
  if (options.condition.has_value()) {
    *request.mutable_condition() = ToWire(*options.condition);
  }
  if (options.then.has_value()) *request.mutable_then() = ToWire(*options.then);
  if (options.exclusive.has_value()) request.set_exclusive(*options.exclusive);
  request.set_then_wake(options.then_wake);
  request.set_key(options.key);
  if (options.seen_generation != 0) {
    request.set_seen_generation(options.seen_generation);
  }
  if (undo != nullptr) *request.mutable_undo() = ToWire(*undo);
  SetSleep(options, request);
}

bool IsRestartable(const WaitOptions& options, const Undo* undo) {
  // What changes the word is not known to have been undone, but for a grant
  // that is undone in any case; and the wake that a wait without a condition is
  // for may have come, and does not come again.
  const bool is_undone =
      undo != nullptr && !undo->only_while.has_value() && !undo->instead;
  return options.condition.has_value() &&
         (is_undone || !options.then.has_value());
}

absl::StatusOr<WaitResult> FromWire(const v1::WaitResponse& response) {
  absl::StatusOr<Outcome> outcome = FromWire(response.outcome());
  if (!outcome.ok()) return outcome.status();
  return WaitResult{.outcome = *outcome,
                    .value_before = response.value_before(),
                    .value_after = response.value_after(),
                    .generation = response.generation(),
                    .remaining = RemainingOf(response),
                    .slept = response.slept(),
                    .timing = TimingOf(response)};
}

Plan PlanWakeUp(const std::string& name, const WakeOptions& options) {
  Plan plan{.object = name};
  thread_local v1::WakeUpRequest request;
  request.Clear();
  request.set_name(name);
  if (options.update.has_value()) {
    *request.mutable_update() = ToWire(*options.update);
  }
  request.set_mode(options.interruptible_only
                       ? v1::WakeUpRequest::MODE_INTERRUPTIBLE
                       : v1::WakeUpRequest::MODE_NORMAL);
  if (options.all) {
    request.set_all(true);
  } else {
    request.set_nr(options.nr);
  }
  request.set_sync(options.sync);
  request.set_key(options.key);
  request.set_grant(options.grant);
  plan.encoded = EncodeOperation(v1::Operation::kWakeUpFieldNumber, request);
  return plan;
}

absl::StatusOr<WakeResult> ReadWakeUp(v1::Result& result) {
  const v1::WakeUpResponse& response = result.wake_up();
  return WakeResult{.woken = response.woken(),
                    .woken_exclusive = response.woken_exclusive(),
                    .value = response.value(),
                    .generation = response.generation()};
}

absl::StatusOr<WaitResult> Client::Wait(const std::string& name,
                                        const WaitOptions& options,
                                        std::stop_token stop) {
  return WaitFor(impl_->machine, PlanWait(name, options), &ReadWait, stop);
}
CallId Client::Wait(const std::string& name, const WaitOptions& options,
                    Callback<WaitResult> done) {
  return CallBack(impl_->machine, PlanWait(name, options), &ReadWait,
                  std::move(done));
}

absl::StatusOr<Grant> Client::Acquire(const std::string& name,
                                      const WaitOptions& options,
                                      const Undo& undo, std::stop_token stop) {
  SessionReceipt receipt;
  absl::StatusOr<WaitResult> result =
      WaitFor(impl_->machine, PlanWait(name, options, &undo), &ReadWait, stop,
              &receipt);
  if (!result.ok()) return result.status();
  Grant grant = result->outcome == Outcome::kDone
                    ? Grant(&impl_->machine, name, *result, receipt)
                    : Grant(*result);
  // Watched from before it is taken.
  impl_->machine.Settle(receipt);
  return grant;
}
CallId Client::Acquire(const std::string& name, const WaitOptions& options,
                       const Undo& undo, Callback<Grant> done) {
  SessionMachine& machine = impl_->machine;
  return SubmitPlan(machine, PlanWait(name, options, &undo),
                    [&machine, name, done = std::move(done)](
                        const absl::Status& status, v1::Result* result,
                        SessionReceipt receipt) mutable {
                      absl::StatusOr<WaitResult> read =
                          status.ok() ? ReadWait(*result)
                                      : absl::StatusOr<WaitResult>(status);
                      if (!read.ok()) {
                        done(read.status());
                      } else if (read->outcome == Outcome::kDone) {
                        done(Grant(&machine, name, *read, receipt));
                      } else {
                        done(Grant(*read));
                      }
                      return true;
                    });
}

absl::StatusOr<WakeResult> Client::WakeUp(const std::string& name,
                                          const WakeOptions& options,
                                          std::stop_token stop) {
  return WaitFor(impl_->machine, PlanWakeUp(name, options), &ReadWakeUp, stop);
}
CallId Client::WakeUp(const std::string& name, const WakeOptions& options,
                      Callback<WakeResult> done) {
  return CallBack(impl_->machine, PlanWakeUp(name, options), &ReadWakeUp,
                  std::move(done));
}

absl::StatusOr<GetResult> Client::Get(const std::string& name,
                                      std::stop_token stop) {
  Plan plan{.object = name, .restartable = true};
  plan.Message().mutable_get()->set_name(name);
  return WaitFor(impl_->machine, std::move(plan), &ReadGet, stop);
}

absl::StatusOr<StoreResult> Client::Store(const std::string& name,
                                          int64_t value, std::stop_token stop) {
  Plan plan{.object = name};
  plan.Message().mutable_store()->set_name(name);
  plan.Message().mutable_store()->set_value(value);
  return WaitFor(impl_->machine, std::move(plan), &ReadStore, stop);
}

}  // namespace waitq
