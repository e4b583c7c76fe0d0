#include "client/barrier.h"

#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/error.h"
#include "client/grant.h"

namespace waitq {
namespace {

// The word of a broken barrier: it is beyond every round's end, so that all who
// wait see it.
constexpr int64_t kBroken = std::numeric_limits<int64_t>::max();
// No word is below it.
constexpr int64_t kNever = std::numeric_limits<int64_t>::min();

}  // namespace

Barrier::Barrier(Client* client, std::string name, int64_t parties,
                 OnDeath on_death)
    : client_(*client),
      name_(std::move(name)),
      parties_(parties),
      on_death_(on_death) {}

absl::StatusOr<BarrierResult> Barrier::Arrive(const AcquireOptions& options,
                                              std::stop_token stop) {
  if (parties_ < 1) {
    return MakeError(absl::StatusCode::kInvalidArgument, "EINVAL", name_,
                     absl::StrCat(name_, ": a barrier of ", parties_));
  }
  while (true) {
    const absl::StatusOr<GetResult> now = client_.Get(name_, stop);
    if (!now.ok() && !absl::IsNotFound(now.status())) return now.status();
    const int64_t value = now.ok() ? now->value : 0;
    if (value == kBroken) return BrokenError();
    if (value < 0 || value > kBroken - parties_ - 1) {
      return MakeError(
          absl::StatusCode::kFailedPrecondition, "EINVAL", name_,
          absl::StrCat(name_, ": its word, ", value, ", is no barrier's"));
    }
    // While the word is below this it is of this round: nothing takes it below
    // the end of a round that was passed.
    const int64_t threshold = (value / parties_ + 1) * parties_;
    // And below that there is no round of another barrier of this name, which
    // may come in its place between any two of the calls here.
    const WaitOptions arrive = {
        .condition = Condition::Less(threshold),
        .then = Action::Add(1),
        .then_wake = true,
        .seen_generation = now.ok() ? now->generation : 0,
        .nonblock = true};
    Undo undo = {.only_while = Condition::Less(threshold)};
    if (on_death_ == OnDeath::kBreak) undo.instead = Action::Set(kBroken);
    // An arrival that counts in any case is one that is never undone.
    if (on_death_ == OnDeath::kCount) undo.only_while = Condition::Less(kNever);
    absl::StatusOr<Grant> grant = client_.Acquire(name_, arrive, undo, stop);
    if (ErrorReason(grant.status()) == "EIDRM") continue;  // to the next one
    if (!grant.ok()) return grant.status();
    // Between the look and the arrival the round was passed by others.
    if (grant->result().outcome != Outcome::kDone) continue;
    return WaitFor(*std::move(grant), threshold, options, stop);
  }
}

absl::StatusOr<BarrierResult> Barrier::WaitFor(Grant grant, int64_t threshold,
                                               const AcquireOptions& options,
                                               std::stop_token stop) {
  const int64_t before = grant.result().value_before;
  BarrierResult result = {.round = static_cast<uint64_t>(before / parties_),
                          .place = static_cast<uint64_t>(before % parties_)};
  // The wait alone would be begun anew if the session is lost, or its server
  // replaced, and sleep for a round in which it has not come.
  std::stop_source leave;
  const std::stop_callback on_stop(stop, [&leave] { leave.request_stop(); });
  grant.OnLost([leave](const absl::Status&) mutable { leave.request_stop(); });
  WaitOptions wait = options.ToWait(Condition::AtLeast(threshold));
  wait.seen_generation = grant.token();
  const absl::StatusOr<WaitResult> passed =
      client_.Wait(name_, wait, leave.get_token());
  if (passed.ok() && passed->outcome == Outcome::kDone) {
    // Broken or passed: the arrival has had its effect. (Taken back, it would
    // break a barrier that was Reset() meanwhile.)
    grant.Keep();
    if (passed->value_after == kBroken) return BrokenError();
    return result;
  }
  // With the barrier the arrival is gone, and there may be a new one of that
  // name by now, at which it never was.
  if (ErrorReason(passed.status()) == "EIDRM") {
    grant.Keep();
    return passed.status();
  }
  // He goes, and has not come; unless the last one comes at this moment: who
  // takes the arrival back sees that.
  const bool lost = !grant.is_held();
  const absl::StatusOr<int64_t> value = TakeBack(grant, threshold);
  if (!value.ok()) {
    absl::Status failure =
        lost || passed.ok() ? value.status() : passed.status();
    // Until the server sees that, too, he counts; or for good.
    if (lost && ErrorReason(failure) == "ESTALE") {
      SetErrorField(failure, kUnknownKey, "true");
    }
    return failure;
  }
  const bool broken = *value == kBroken;
  if (*value >= threshold && !broken) return result;
  if (!passed.ok()) return passed.status();
  if (broken && on_death_ != OnDeath::kBreak) return BrokenError();
  result.outcome = passed->outcome;
  return result;
}

absl::StatusOr<int64_t> Barrier::TakeBack(Grant& grant, int64_t threshold) {
  if (on_death_ != OnDeath::kCount || !grant.is_held()) {
    const absl::StatusOr<WakeResult> gone = grant.GiveBack();
    if (!gone.ok()) return gone.status();
    return gone->value;
  }
  grant.Keep();  // it is not undone by itself
  while (true) {
    const absl::StatusOr<WaitResult> gone =
        client_.Wait(name_, {.condition = Condition::Less(threshold),
                             .then = Action::Add(-1),
                             .seen_generation = grant.token(),
                             .nonblock = true});
    if (!gone.ok()) return gone.status();
    // Whose session was passed by at that moment has to ask again.
    if (gone->outcome == Outcome::kDone || gone->value_before >= threshold) {
      return gone->value_before;
    }
  }
}

absl::Status Barrier::Reset(std::stop_token stop) {
  return client_
      .Wait(name_,
            {.condition = Condition::Equal(kBroken),
             .then = Action::Set(0),
             .nonblock = true},
            std::move(stop))
      .status();
}

absl::Status Barrier::BrokenError() const {
  return MakeError(
      absl::StatusCode::kAborted, "EOWNERDEAD", name_,
      absl::StrCat(name_, ": the barrier is broken: one who waited has died"));
}

}  // namespace waitq
