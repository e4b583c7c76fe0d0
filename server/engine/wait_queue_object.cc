#include "server/engine/wait_queue_object.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <limits>

#include "absl/strings/str_cat.h"
#include "server/engine/error.h"

namespace waitq::engine {

absl::Status NoSuchGrant(const std::string& name, uint64_t grant) {
  return MakeError(ESTALE,
                   absl::StrCat(name, ": grant ", grant,
                                " is not out: it was given back, or undone"),
                   {{"object", name}});
}

namespace {

// How many exclusive sleepers may follow when a grant's end changes the word
// from one value to another: those who hold several permits give them back
// together, and one each is enough for who sleeps. (Each is tested, so none is
// woken in vain.)
int MayFollow(int64_t before, int64_t after) {
  const uint64_t by = before < after ? static_cast<uint64_t>(after) - before
                                     : static_cast<uint64_t>(before) - after;
  constexpr uint64_t kMost = std::numeric_limits<int>::max();
  return static_cast<int>(std::clamp<uint64_t>(by, 1, kMost));
}

}  // namespace

// What a walk hands to the wake functions.
struct WaitQueueObject::Walker {
  WaitQueueObject& queue;
  DoneList& done;
  const uint64_t key;
  const bool all;        // however many are exclusive
  const bool passed_on;  // the others have had this wake
  uint64_t woken = 0;
  bool once_more = false;  // somebody who was woken has a then_wake
};

int WaitOperation::OnWake(waitq::WaitEntry& entry, TaskState mode, int,
                          void* key) {
  auto& op = Of<WaitOperation>(entry);
  auto& walker = *static_cast<WaitQueueObject::Walker*>(key);
  walker.queue.mu_.AssertHeld();
  if (!op.WakesIn(mode)) return 0;
  if (!KeysMatch(walker.key, op.spec_.key)) return 0;
  if (walker.passed_on && !op.spec_.exclusive) return 0;
  if (walker.queue.PassedByLocked(op, walker.done)) return 0;
  // Tested against the word as those before it left it. False: it stays
  // asleep, and uses up no `nr`.
  if (!walker.queue.TryLocked(op, /*woken=*/true, walker.done)) return 0;
  if (op.ending() != Ending::kDone) return 0;
  ++walker.woken;
  op.used_a_wake_ = op.spec_.exclusive && !walker.all;
  op.spec_.key = walker.key;
  op.wake_mode_ = mode;
  if (op.spec_.then_wake) walker.once_more = true;
  return 1;
}

WaitQueueObject::WaitQueueObject(Shared* shared, std::string name, bool created)
    : Object(shared, kKind, std::move(name), created),
      generation_(incarnation()) {}

bool WaitQueueObject::TryLocked(WaitOperation& op, bool woken, DoneList& done) {
  if (!op.spec_.condition.Holds(value_, generation_, woken)) return false;
  if (!ClaimLocked(op)) return false;
  op.value_before_ = value_;
  if (op.grant_ && !ChargeGrantLocked(op, done)) return true;
  if (!op.spec_.then.Apply(value_)) {
    FinishLocked(op, Ending::kOverflow, done);
    return true;
  }
  if (op.spec_.then.change != Action::Change::kNone) {
    generation_ = word_changed_ = shared_.NextGeneration();
  }
  if (op.grant_) {
    grants_.emplace(generation_, Grant{.undo = op.grant_->undo,
                                       .then = op.spec_.then,
                                       .value_before = op.value_before_,
                                       .caller = op.shared_caller_info(),
                                       .charge = std::move(op.grant_->charge)});
  }
  FinishLocked(op, Ending::kDone, done);
  return true;
}

void WaitQueueObject::TestLocked(Operation& operation, DoneList& done) {
  auto& op = static_cast<WaitOperation&>(operation);
  // It was made later than what the caller has seen.
  if (op.spec_.seen_generation != 0 &&
      incarnation() > op.spec_.seen_generation) {
    if (ClaimLocked(op)) FinishLocked(op, Ending::kRemoved, done);
    return;
  }
  if (!TryLocked(op, /*woken=*/false, done)) return;
  if (op.ending() == Ending::kDone && op.spec_.then_wake) {
    WakeResult result;
    WakeLocked(WakeOptions(), result, done);
  }
}

void WaitQueueObject::WakeLocked(const WakeOptions& options, WakeResult& result,
                                 DoneList& done) {
  Walker walker{*this, done, options.key, /*all=*/options.nr == 0,
                options.passed_on};
  const int wake_flags = options.sync ? kWakeSync : 0;
  for (int walks = 0; walks < 2; ++walks) {
    result.woken_exclusive +=
        line_.Walk(options.mode, options.nr, wake_flags, &walker);
    // Twice, however many asked for it, and whoever asks for it in the second:
    // two that undo each other's `then` would go on for ever.
    if (!walker.once_more) break;
  }
  result.woken = walker.woken;
}

void WaitQueueObject::NoteEndLocked(Operation& operation) {
  auto& op = static_cast<WaitOperation&>(operation);
  if (op.ending() != Ending::kDone) op.value_before_ = value_;
  op.value_after_ = value_;
  op.generation_ = generation_;
}

absl::Status WaitQueueObject::WakeUp(const WakeOptions& options,
                                     WakeResult& result) {
  DoneList done;
  {
    MutexLock lock(&mu_);
    if (RemovedLocked()) return MakeError(EIDRM, "removed");
    Action update = options.update;
    WakeOptions wake = options;
    const auto grant = grants_.find(options.grant);
    if (options.grant != 0) {
      if (grant == grants_.end()) {
        NoteIdleLocked();
        return NoSuchGrant(name(), options.grant);
      }
      if (update.change == Action::Change::kNone) {
        if (const auto undone = UndoneLocked(grant->first, grant->second)) {
          update = {.change = Action::Change::kSet, .operand = *undone};
          if (wake.nr != 0) {
            wake.nr = std::max(wake.nr, MayFollow(value_, *undone));
          }
        }
      }
    }
    if (!update.Apply(value_)) {
      NoteIdleLocked();  // it may have been made for this
      return MakeError(ERANGE,
                       absl::StrCat(name(), ": adding ", update.operand, " to ",
                                    value_, " would overflow"),
                       {{"object", name()}});
    }
    if (options.grant != 0) grants_.erase(grant);
    generation_ = shared_.NextGeneration();
    if (update.change != Action::Change::kNone) word_changed_ = generation_;
    WakeLocked(wake, result, done);
    result.value = value_;
    result.generation = generation_;
    NoteIdleLocked();
  }
  DeliverAll(std::move(done));
  return absl::OkStatus();
}

absl::Status WaitQueueObject::Store(int64_t value, WordResult& result) {
  MutexLock lock(&mu_);
  if (RemovedLocked()) return MakeError(EIDRM, "removed");
  result.value = value_;
  value_ = value;
  result.generation = generation_ = word_changed_ = shared_.NextGeneration();
  NoteIdleLocked();
  return absl::OkStatus();
}

WordResult WaitQueueObject::Get() const {
  MutexLock lock(&mu_);
  return {value_, generation_, grants_.size()};
}

// --- Grants ------------------------------------------------------------------

bool WaitQueueObject::ChargeGrantLocked(WaitOperation& op, DoneList& done) {
  op.grant_->charge = std::make_unique<Charge>(&shared_.bytes_unsent,
                                               &op.caller_info().bytes());
  const char* const limit = op.grant_->charge->Take(kGrantCost);
  if (limit == nullptr) return true;
  FinishAtLimitLocked(op, limit, done);
  return false;
}

std::optional<int64_t> WaitQueueObject::UndoneLocked(uint64_t generation,
                                                     const Grant& grant) const {
  const Condition& only_while = grant.undo.only_while;
  if (!only_while.Holds(value_, generation_, /*woken=*/true)) {
    return std::nullopt;
  }
  int64_t value = value_;
  Action undo = grant.undo.instead;
  if (undo.change == Action::Change::kNone) {
    undo = grant.then;
    if (undo.change == Action::Change::kSet) {
      if (word_changed_ != generation) return std::nullopt;
      undo.operand = grant.value_before;
    } else if (__builtin_sub_overflow(0, undo.operand, &undo.operand)) {
      return std::nullopt;
    }
  }
  if (!undo.Apply(value)) return std::nullopt;  // there is no such number
  return value;
}

void WaitQueueObject::UndoLocked(Grants::iterator grant, DoneList& done) {
  const std::optional<int64_t> undone =
      UndoneLocked(grant->first, grant->second);
  grants_.erase(grant);
  // Whose session ends because the server does may not know it yet, when
  // another one is told that it has it now.
  if (!undone.has_value() || shared_.stopping) return;
  WakeOptions wake;
  wake.nr = MayFollow(value_, *undone);
  value_ = *undone;
  generation_ = word_changed_ = shared_.NextGeneration();
  WakeResult result;
  WakeLocked(wake, result, done);
}

void WaitQueueObject::ReleaseAllOf(const CallerInfo& caller) {
  DoneList done;
  {
    MutexLock lock(&mu_);
    std::vector<uint64_t> theirs;
    for (const auto& [generation, grant] : grants_) {
      if (grant.caller.get() == &caller) theirs.push_back(generation);
    }
    // By number: a wake may grant something to another.
    for (const uint64_t generation : theirs) {
      UndoLocked(grants_.find(generation), done);
    }
    NoteIdleLocked();
  }
  DeliverAll(std::move(done));
}

void WaitQueueObject::GiveBack(WaitOperation& op) {
  DoneList done;
  {
    MutexLock lock(&mu_);
    if (RemovedLocked()) return;
    if (op.grant_) {
      // Unless it was given back since, or undone.
      const auto grant = grants_.find(op.generation_);
      if (grant != grants_.end()) UndoLocked(grant, done);
    } else if (op.used_a_wake_ &&
               op.spec_.then.change == Action::Change::kNone) {
      WakeOptions wake;
      wake.key = op.spec_.key;
      wake.mode = op.wake_mode_;
      wake.passed_on = true;
      WakeResult result;
      WakeLocked(wake, result, done);
    }
    NoteIdleLocked();
  }
  DeliverAll(std::move(done));
}

void WaitOperation::GiveBack() {
  if (ending() != Ending::kDone) return;
  static_cast<WaitQueueObject&>(object()).GiveBack(*this);
}

}  // namespace waitq::engine
