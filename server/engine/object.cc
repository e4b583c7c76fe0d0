#include "server/engine/object.h"

#include <algorithm>
#include <utility>

#include "core/check.h"

namespace waitq::engine {
namespace {

// Before the end of a call, in which nothing is handed to it any more: the
// answer might not arrive, and the caller would not know what it missed. The
// wire rounds deadlines up by as much as 1 %.
absl::Duration AnswerMargin(absl::Duration call_length) {
  return std::max(absl::Milliseconds(20), call_length / 50);
}

Ending EndingOf(Event event) {
  switch (event) {
    case Event::kTimer:
    case Event::kDeadlineNear:
      return Ending::kTimedOut;
    case Event::kSignal:
      return Ending::kInterrupted;
    case Event::kCallerGone:
    case Event::kGraceEnd:
    case Event::kNotChosen:
      return Ending::kCallerGone;
    case Event::kRemove:
      return Ending::kRemoved;
    case Event::kDrain:
    case Event::kStop:
      return Ending::kDraining;
  }
  return Ending::kRemoved;
}

}  // namespace

const char* KindName(ObjectKind kind) {
  switch (kind) {
    case ObjectKind::kWaitQueue:
      return "wait queue";
    case ObjectKind::kCompletion:
      return "completion";
    case ObjectKind::kPipe:
      return "pipe";
  }
  return "";
}

Object::Object(Shared* shared, ObjectKind kind, std::string name, bool created)
    : Timer(&OnIdleTimer),
      shared_(*shared),
      kind_(kind),
      name_(std::move(name)),
      incarnation_(shared->NextGeneration()),
      created_(created) {}

// --- Starting ----------------------------------------------------------------

Started Object::Start(Ref<Operation> operation, const SleepOptions& options) {
  Operation& op = *operation;
  DoneList done;
  Started result = Started::kEnded;
  {
    MutexLock lock(&mu_);
    if (removed_) return Started::kGone;
    op.object_ = Ref<Object>(this);
    op.id_ = op.any_of_ ? op.any_of_->id() : ++shared_.last_operation;
    op.starting_ = true;
    op.started_ = shared_.Now();
    op.want_timing_ = options.want_timing;
    if (options.timeout.has_value()) {
      op.has_timeout_ = true;
      op.timeout_ = *options.timeout;
    }
    op.task_.SetState(options.state);
    SetDeadlineLocked(op, options.call_deadline);
    LineLocked(op).Add(op);
    if (EndIfNearDeadlineLocked(op, done)) {
      // It came too late for any answer that gives something.
    } else if (shared_.draining && RefusedByDrain(op)) {
      FinishLocked(op, Ending::kDraining, done);
    } else if (!IsAwayLocked(op)) {
      TestLocked(op, done);
    }
    if (IsAsleepLocked(op)) {
      const Ending refusal = RefusalLocked(op, options);
      if (refusal != Ending::kAsleep) {
        FinishLocked(op, refusal, done);
        AfterLeaveLocked(done);
      }
    }
    op.starting_ = false;
    if (IsAsleepLocked(op)) {
      GoToSleepLocked(op);
      operation.Release();  // the line's reference, until FinishLocked()
      result = Started::kAsleep;
    } else {
      NoteIdleLocked();
    }
  }
  DeliverAll(std::move(done));
  return result;
}

void Object::SetDeadlineLocked(Operation& op, absl::Time call_deadline) {
  op.deadline_ = absl::InfiniteFuture();
  if (op.has_timeout_) op.deadline_ = absl::Time(op.started_) + op.timeout_;
  op.near_deadline_ends_ = false;
  // What runs on without its caller runs on past the end of its call, too.
  if (op.task_.state() == kUninterruptible) return;
  if (call_deadline == absl::InfiniteFuture()) return;
  const absl::Time near =
      call_deadline - AnswerMargin(call_deadline - shared_.Now());
  if (near < op.deadline_) {
    op.deadline_ = near;
    op.near_deadline_ends_ = true;
  }
}

Ending Object::RefusalLocked(Operation& op, const SleepOptions& options) {
  if (options.nonblock) return Ending::kWouldBlock;
  if (op.deadline_ <= op.started_) return Ending::kTimedOut;
  if (shared_.draining && op.ends_on_drain()) return Ending::kDraining;
  op.limit_ = AdmitLocked(op);
  return op.limit_ == nullptr ? Ending::kAsleep : Ending::kLimit;
}

const char* Object::AdmitLocked(Operation& op) {
  Budget& own = op.caller_info_->sleepers();
  if (op.is_sleeper() && sleepers_ >= shared_.limits.sleepers_per_object) {
    return "sleepers-per-object";
  }
  if (op.is_admitted()) return ChargeLocked(op);
  if (!shared_.sleepers.Take(1)) return shared_.sleepers.name();
  if (!own.Take(1)) {
    shared_.sleepers.Return(1);
    return own.name();
  }
  if (const char* limit = ChargeLocked(op)) {
    own.Return(1);
    shared_.sleepers.Return(1);
    return limit;
  }
  return nullptr;
}

void Object::GoToSleepLocked(Operation& op) {
  op.slept_ = true;
  Line& line = LineLocked(op);
  // Who is exclusive goes behind all, who is not before them.
  if (op.exclusive()) op.place_ = line.sleepers;
  ++line.sleepers;
  if (op.is_sleeper()) {
    ++sleepers_;
    shared_.asleep.fetch_add(1, std::memory_order_relaxed);
  }
  ArmTimerLocked(op);
}

void Object::ArmTimerLocked(Operation& op) {
  // Of alternatives the first has the timer of all: they have one timeout, are
  // tested in their order when it runs out, and end together.
  if (op.alternative_ > 0) return;
  if (op.timer_armed_) {
    // If it is firing at this moment it will find its deadline moved, and be
    // armed again.
    if (!shared_.timers.Cancel(op)) return;
    op.timer_armed_ = false;
    if (op.deadline_.infinite()) return op.DropRef();
  } else {
    if (op.deadline_.infinite()) return;
    op.AddRef();  // the timer's
  }
  op.timer_armed_ = true;
  shared_.timers.Arm(op, op.deadline_);
}

// --- Ending ------------------------------------------------------------------

void Object::FinishLocked(Operation& op, Ending ending, DoneList& done) {
  // The claim: of all who would end this sleep, one gets here. Everybody holds
  // the lock, so it cannot fail.
  WAITQ_CHECK(op.task_.TryToWake(~TaskState{0}), "an operation ends twice");
  WaitList::Remove(op);
  op.ending_ = ending;
  NoteEndLocked(op);
  if (op.has_timeout_ || op.want_timing_) {
    op.ended_ = shared_.Now();
  }
  if (op.starting_) return;  // Start() returns the result

  UnchargeLocked(op);
  --LineLocked(op).sleepers;
  if (op.is_sleeper()) {
    --sleepers_;
    // Counts, which order nothing else.
    shared_.asleep.fetch_sub(1, std::memory_order_relaxed);
    shared_.ended.fetch_add(1, std::memory_order_relaxed);
  }
  if (!op.is_admitted()) {
    op.caller_info_->sleepers().Return(1);
    shared_.sleepers.Return(1);
  }
  // If it fires at this moment it will find the operation ended; it has its own
  // reference for that.
  if (op.timer_armed_ && shared_.timers.Cancel(op)) op.DropRef();
  done.Push(Ref<Operation>::Adopt(&op));
}

bool Object::EndIfDeadlineCameNearLocked(Operation& op, DoneList& done) {
  if (op.deadline_ > shared_.Now()) return false;
  FinishLocked(op, Ending::kTimedOut, done);
  return true;
}

void Object::FinishAtLimitLocked(Operation& op, const char* limit,
                                 DoneList& done) {
  op.limit_ = limit;
  FinishLocked(op, Ending::kLimit, done);
}

bool Object::OnEvent(Operation& operation, Event event, int signal) {
  DoneList done;
  bool ended = false;
  {
    MutexLock lock(&mu_);
    // Of a removed object: Remove() is on its way to its sleepers, and counts
    // those that it ends. So everywhere.
    if (!IsAsleepLocked(operation) || removed_) {
      // An alternative has ended already, and the others are about to be tested
      // because of that: not for a caller that has gone.
      if (event == Event::kCallerGone || event == Event::kGraceEnd) {
        ClaimLocked(operation);
      }
      return false;
    }
    if (event == Event::kSignal) {
      if (!operation.task_.PostSignal(signal)) return false;
      operation.signal_ = static_cast<uint8_t>(signal);
    }
    OnEventLocked(operation, event, done);
    ended = !IsAsleepLocked(operation);
    NoteIdleLocked();
  }
  DeliverAll(std::move(done));
  return ended;
}

void Object::OnTimer(Operation& op) {
  DoneList done;
  {
    MutexLock lock(&mu_);
    op.timer_armed_ = false;
    if (!IsAsleepLocked(op) || removed_) return;
    const absl::Time now = shared_.Now();
    if (op.deadline_ > now) return ArmTimerLocked(op);  // it was moved
    Event event = op.near_deadline_ends_ ? Event::kDeadlineNear : Event::kTimer;
    // Its own timeout first, which is an answer to be kept.
    const bool timed_out =
        op.has_timeout_ && absl::Time(op.started_) + op.timeout_ <= now;
    if (op.detached_ && !timed_out) event = Event::kGraceEnd;
    OnEventLocked(op, event, done);
    NoteIdleLocked();
  }
  DeliverAll(std::move(done));
}

void Object::Detach(Operation& op, absl::Duration grace) {
  MutexLock lock(&mu_);
  if (!IsAsleepLocked(op)) return;
  if (op.task_.state() == kUninterruptible) return;  // it runs on anyway
  op.detached_ = true;
  op.grace_end_ = shared_.Now() + grace;
  SetDeadlineLocked(op, absl::InfiniteFuture());
  op.deadline_ = std::min<absl::Time>(op.deadline_, op.grace_end_);
  ArmTimerLocked(op);
}

void Object::Attach(Operation& op, absl::Time call_deadline, DoneList& done) {
  MutexLock lock(&mu_);
  if (!IsAsleepLocked(op) || removed_) return;
  op.detached_ = false;
  SetDeadlineLocked(op, call_deadline);
  ArmTimerLocked(op);
  // What came while nobody was there to take it.
  if (!EndIfNearDeadlineLocked(op, done)) TestLocked(op, done);
  if (!IsAsleepLocked(op)) AfterLeaveLocked(done);
  NoteIdleLocked();
}

void Object::Retest(Operation& op) {
  if (!op.any_of_) return RetestThis(op);
  for (const Ref<Operation>& leg : op.any_of_->Legs()) {
    leg->object().RetestThis(*leg);
  }
}

void Object::RetestThis(Operation& op) {
  DoneList done;
  {
    MutexLock lock(&mu_);
    if (!IsAsleepLocked(op) || removed_) return;
    if (!PassedByLocked(op, done)) TestLocked(op, done);
    if (!IsAsleepLocked(op)) AfterLeaveLocked(done);
    NoteIdleLocked();
  }
  DeliverAll(std::move(done));
}

void Object::OnEventLocked(Operation& op, Event event, DoneList& done) {
  if (event == Event::kCallerGone && op.task_.state() == kUninterruptible) {
    return;  // it runs on without its caller
  }
  // Condition beats timeout, signal and drain. Who is gone, or too near its
  // end, is not tested: it would be given something that it does not get. That
  // goes for all alternatives, from this moment on.
  if (event == Event::kTimer || event == Event::kSignal ||
      event == Event::kDrain) {
    if (!PassedByLocked(op, done)) TestLocked(op, done);
  } else if (event != Event::kNotChosen) {
    ClaimLocked(op);
  }
  if (IsAsleepLocked(op)) {
    Ending ending = EndingOf(event);
    if (event == Event::kSignal && op.deadline_ <= shared_.Now()) {
      ending = Ending::kTimedOut;  // timeout beats signal
    }
    FinishLocked(op, ending, done);
  }
  AfterLeaveLocked(done);
}

uint64_t Object::EndAll(Event event) {
  DoneList done;
  uint64_t ended = 0;
  {
    MutexLock lock(&mu_);
    if (removed_ && event != Event::kRemove) return 0;
    for (Line* line : LinesLocked()) {
      while (WaitEntry* entry = line->First()) {
        OnEventLocked(Operation::Of<Operation>(*entry), event, done);
        ++ended;
      }
    }
    EndHandlesLocked(event, done);
    NoteIdleLocked();
  }
  DeliverAll(std::move(done));
  return ended;
}

void Object::EndHandlesLocked(Event event, DoneList& done) {
  Line* const handles = HandlesLocked();
  if (handles == nullptr) return;
  for (WaitEntry* entry = handles->First(); entry != nullptr;) {
    auto& op = Operation::Of<Operation>(*entry);
    entry = handles->After(*entry);
    if (event == Event::kDrain && !op.ends_on_drain()) continue;
    FinishLocked(op, EndingOf(event), done);
  }
}

// --- The object's own life ---------------------------------------------------

void Object::NoteIdle() {
  MutexLock lock(&mu_);
  NoteIdleLocked();
}

void Object::NoteIdleLocked() {
  if (removed_ || created() || !IdleLocked()) return;
  idle_since_ = shared_.Now();
  ArmExpiryLocked();
}

void Object::ArmExpiryLocked() {
  // Not armed anew at each use: when it fires early it looks, and arms again.
  if (expiry_armed_) return;
  expiry_armed_ = true;
  AddRef();  // the timer's
  shared_.timers.Arm(*this, idle_since_ + kIdleLife);
}

void Object::OnIdleTimer(Timer& timer) {
  const auto object = Ref<Object>::Adopt(&static_cast<Object&>(timer));
  {
    MutexLock lock(&object->mu_);
    object->expiry_armed_ = false;
    if (object->removed_ || object->created() || !object->IdleLocked()) return;
    if (object->idle_since_ + kIdleLife > object->shared_.Now()) {
      object->ArmExpiryLocked();
      return;
    }
  }
  // Not under this lock: the table's comes first. It looks once more.
  object->shared_.expire(*object);
}

bool Object::MayRemoveLocked(RemoveIf condition) {
  switch (condition) {
    case RemoveIf::kAlways:
      return true;
    case RemoveIf::kNotBusy:
      return !BusyLocked();
    case RemoveIf::kExpired:
      return !created() && IdleLocked() &&
             idle_since_ + kIdleLife <= shared_.Now();
  }
  return false;
}

bool Object::MarkRemoved(RemoveIf condition) {
  bool drop = false;
  {
    MutexLock lock(&mu_);
    if (removed_ || !MayRemoveLocked(condition)) return false;
    removed_ = true;
    OnRemovedLocked();
    drop = expiry_armed_ && shared_.timers.Cancel(*this);
    if (drop) expiry_armed_ = false;
  }
  if (drop) DropRef();  // the timer's; the caller has another
  return true;
}

// --- Looking -----------------------------------------------------------------

void Object::ForEachSleeper(absl::FunctionRef<void(Operation&)> visit) {
  MutexLock lock(&mu_);
  for (Line* line : LinesLocked()) {
    for (WaitEntry* entry = line->First(); entry != nullptr;
         entry = line->After(*entry)) {
      visit(Operation::Of<Operation>(*entry));
    }
  }
}

Ref<Operation> Object::FindSleeper(uint64_t id) {
  MutexLock lock(&mu_);
  for (Line* line : LinesLocked()) {
    for (WaitEntry* entry = line->First(); entry != nullptr;
         entry = line->After(*entry)) {
      auto& op = Operation::Of<Operation>(*entry);
      if (op.id_ == id) return Ref<Operation>(&op);
    }
  }
  return Ref<Operation>();
}

void Object::DescribeSleepers(const std::vector<uint64_t>& ids,
                              std::vector<TaskInfo>& infos) {
  MutexLock lock(&mu_);
  const absl::Time now = shared_.Now();
  for (Line* line : LinesLocked()) {
    uint64_t place = 0;
    for (WaitEntry* entry = line->First(); entry != nullptr;
         entry = line->After(*entry), ++place) {
      const Operation& op = Operation::Of<Operation>(*entry);
      if (!std::binary_search(ids.begin(), ids.end(), op.id_)) continue;
      TaskInfo& info = infos.emplace_back();
      info.id = op.id_;
      info.peer = op.caller_info_->peer();
      info.caller = op.caller_info_->name();
      info.state = op.task_.state();
      info.object = name_;
      info.kind = kind_;
      info.condition = op.Describe();
      info.age = now - op.started_;
      if (op.deadline_ != absl::InfiniteFuture()) {
        info.remaining = std::max(op.deadline_ - now, absl::ZeroDuration());
      }
      info.place = place;
      info.exclusive = op.exclusive();
      info.detached = op.detached_ || op.caller_info_->away();
      if (op.any_of_) info.alternative = op.alternative_;
    }
  }
}

}  // namespace waitq::engine
