// A named object: its lock, its sleepers, and the one way in which sleeps end.
//
// Lock order: a shard of the object table, then an object, then the timers.
// No two objects' locks are held at once. No lock is held while results are
// delivered.

#ifndef WAITQ_SERVER_ENGINE_OBJECT_H_
#define WAITQ_SERVER_ENGINE_OBJECT_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "core/mutex.h"
#include "core/timers.h"
#include "core/wait_queue.h"
#include "server/engine/any_of.h"
#include "server/engine/limits.h"
#include "server/engine/operation.h"
#include "server/engine/ref.h"

namespace waitq::engine {

enum class ObjectKind : uint8_t { kWaitQueue, kCompletion, kPipe };

// "wait queue", "completion", "pipe".
const char* KindName(ObjectKind kind);

// What all objects of an engine share.
struct Shared {
  Shared(const Limits& limits_in, Timers* timers_in, uint64_t first_generation)
      : limits(limits_in),
        timers(*timers_in),
        generation(first_generation),
        objects("objects", limits.objects),
        sleepers("sleepers", limits.sleepers),
        pipe_bytes("pipe-bytes-in-all", limits.pipe_bytes_in_all),
        bytes_asleep("bytes-asleep", limits.bytes_asleep),
        bytes_unsent("bytes-unsent", limits.bytes_unsent),
        kept_answers("kept-answers", limits.kept_answers),
        kept_bytes("kept-bytes", limits.kept_bytes) {}

  absl::Time Now() const { return timers.clock().Now(); }
  // The number of one more executed change.
  uint64_t NextGeneration() { return generation.fetch_add(1) + 1; }

  const Limits limits;
  Timers& timers;
  // Removes an object, if it has expired. Set once, by the engine.
  std::function<void(Object&)> expire;
  std::atomic<uint64_t> generation;
  std::atomic<uint64_t> last_operation{0};
  std::atomic<uint64_t> asleep{0};  // sleepers, handles aside
  std::atomic<uint64_t> ended{0};   // sleepers that have ended
  std::atomic<bool> draining{false};
  // It is about to be gone: its sessions end, and nobody is given anything.
  std::atomic<bool> stopping{false};
  Budget objects;
  Budget sleepers;
  Budget pipe_bytes;
  Budget bytes_asleep;
  Budget bytes_unsent;
  Budget kept_answers;
  Budget kept_bytes;
};

// What `ps` shows of a sleeping operation.
struct TaskInfo {
  uint64_t id;
  std::string peer;
  std::string caller;
  TaskState state;
  std::string object;
  ObjectKind kind;
  std::string condition;
  absl::Duration age;
  std::optional<absl::Duration> remaining;
  uint64_t place;
  bool exclusive;
  bool detached;
  // Of a call that waits for any of several: which of them. All have its id.
  std::optional<uint32_t> alternative;
};

// What Start() did with an operation.
enum class Started : uint8_t {
  kEnded,   // it has its result, and will not be delivered
  kAsleep,  // it will be delivered, once
  kGone,    // the object was removed; nothing happened
};

// When an object may be removed.
enum class RemoveIf : uint8_t {
  kAlways,
  kNotBusy,  // no writer handle is open
  kExpired,  // made by first use, and idle for kIdleLife
};

// How long an object made by first use stays when it has nothing to remember.
inline constexpr absl::Duration kIdleLife = absl::Seconds(60);

// Operations in the order in which a walk comes to them, and how many of them
// are asleep.
struct Line : WaitList {
  uint64_t sleepers = 0;
};

// Thread safety: any thread may call any public method.
class Object : public RefCounted, private Timer {
 public:
  const std::string& name() const { return name_; }
  ObjectKind kind() const { return kind_; }
  uint64_t incarnation() const { return incarnation_; }
  // Made by Create: stays until Remove.
  bool created() const { return created_.load(std::memory_order_relaxed); }
  void MarkCreated() { created_.store(true, std::memory_order_relaxed); }

  // Tests the operation and, if it may and must, puts it to sleep.
  Started Start(Ref<Operation> operation, const SleepOptions& options)
      ABSL_LOCKS_EXCLUDED(mu_);

  // Something happened to an operation that may be asleep here. Does nothing
  // if it has ended already. True if this has ended it.
  bool OnEvent(Operation& operation, Event event, int signal = 0)
      ABSL_LOCKS_EXCLUDED(mu_);

  // The caller of a sleeping operation has gone, but may come back within
  // `grace`: the operation keeps its place. Until then what takes is passed by,
  // and is not tested; other events end it as ever. Does nothing to one that
  // has ended.
  void Detach(Operation& operation, absl::Duration grace)
      ABSL_LOCKS_EXCLUDED(mu_);
  // The caller is back, or another has taken its place, with a call that ends
  // at `call_deadline`: tested in place. Whoever this ends is put on `done`,
  // for the caller to deliver.
  void Attach(Operation& operation, absl::Time call_deadline, DoneList& done)
      ABSL_LOCKS_EXCLUDED(mu_);
  // The results of these operations, of this object, which have ended, are
  // their session's client's for good. Once for each.
  virtual void Taken(absl::Span<Operation* const>) {}

  // Everything that operations of this caller have of it, as holds and grants,
  // goes back.
  virtual void ReleaseAllOf(const CallerInfo&) {}

  // What has passed the operation by, because its session was away, may be
  // there still: tested in place; so are those that it is an alternative to.
  void Retest(Operation& operation) ABSL_LOCKS_EXCLUDED(mu_);
  // The operation's timer has fired.
  void OnTimer(Operation& operation) ABSL_LOCKS_EXCLUDED(mu_);

  // Ends all sleeps: Event::kDrain, kRemove or kStop. Returns how many. Open
  // handles are told, too, but not counted.
  uint64_t EndAll(Event event) ABSL_LOCKS_EXCLUDED(mu_);

  // Nobody can use it any more: whoever starts on it gets kGone. To be called
  // by the table only, which takes the name out. False if it was removed
  // already, or the condition does not hold.
  bool MarkRemoved(RemoveIf condition) ABSL_LOCKS_EXCLUDED(mu_);

  // Somebody has looked it up, and perhaps made it, and may not use it.
  void NoteIdle() ABSL_LOCKS_EXCLUDED(mu_);

  bool removed() const ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(&mu_);
    return removed_;
  }
  uint64_t sleepers() const ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(&mu_);
    return sleepers_;
  }

  // Calls `visit` for each sleeper.
  void ForEachSleeper(absl::FunctionRef<void(Operation&)> visit)
      ABSL_LOCKS_EXCLUDED(mu_);
  // The sleeper of that id, or nothing.
  Ref<Operation> FindSleeper(uint64_t id) ABSL_LOCKS_EXCLUDED(mu_);
  // Describes those sleepers whose ids, in rising order, are in `ids`.
  void DescribeSleepers(const std::vector<uint64_t>& ids,
                        std::vector<TaskInfo>& infos) ABSL_LOCKS_EXCLUDED(mu_);

 protected:
  Object(Shared* shared, ObjectKind kind, std::string name, bool created);
  ~Object() override = default;

  // --- What each kind of object says, under its lock ------------------------

  // Where the operation stands in line.
  virtual Line& LineLocked(Operation& operation)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) = 0;
  // `operation` has come, or was ended by `event` unless served: ends it if its
  // condition holds.
  virtual void TestLocked(Operation& operation, DoneList& done)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) = 0;
  // A sleeper has left the line: others may have waited for that.
  virtual void AfterLeaveLocked(DoneList&) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {}
  // The operation is to sleep: takes what that costs, or names the limit that
  // forbids it.
  virtual const char* ChargeLocked(Operation&)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return nullptr;
  }
  // The operation, which was charged, is about to end.
  virtual void UnchargeLocked(Operation&) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {}
  // The operation has just ended; what of the object does its result show?
  virtual void NoteEndLocked(Operation&) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {}
  // Whether a new operation may not even be tested while the server drains.
  virtual bool RefusedByDrain(const Operation&) const { return false; }
  // The object has been removed: what it holds goes back to the budgets.
  virtual void OnRemovedLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {}
  // Whether somebody would be cut off by its removal.
  virtual bool BusyLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return false;
  }
  // Whether there is nothing to remember, sleepers aside.
  virtual bool BlankLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) = 0;
  // All lines, for walking over every sleeper.
  virtual std::vector<Line*> LinesLocked()
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) = 0;
  // Where those stand that are no sleepers; nullptr if there are none.
  virtual Line* HandlesLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return nullptr;
  }

  // --- For them --------------------------------------------------------------

  // Ends an operation: the only place that does. Claims it, takes it out of
  // line and puts it on `done` (unless Start() is about to return it).
  void FinishLocked(Operation& operation, Ending ending, DoneList& done)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void FinishAtLimitLocked(Operation& operation, const char* limit,
                           DoneList& done) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Whether a walk has to pass the operation by: to be asked by every wake
  // function first. Its caller has gone, and it would take; an alternative to
  // it has been chosen; or its call is so near its end that nothing may be
  // handed to it: then it has ended as timed out. (Its timer sees to that, too,
  // but may be late.)
  bool PassedByLocked(Operation& operation, DoneList& done)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return IsAwayLocked(operation) || EndIfNearDeadlineLocked(operation, done);
  }

  // Whether the operation may take what it waits for, which is there, and end:
  // to be asked last, before anything is changed, by whatever would let it. If
  // not an alternative to it has been chosen, perhaps since this walk has come
  // to it: it is passed by.
  static bool ClaimLocked(const Operation& operation) {
    return !operation.any_of_ || operation.any_of_->Claim(operation);
  }

  // To be called at the end of whatever may have left it blank.
  void NoteIdleLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Its node in line.
  static WaitEntry& EntryOf(Operation& operation) { return operation; }

  bool IsAsleepLocked(const Operation& operation) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return operation.ending_ == Ending::kAsleep;
  }
  bool RemovedLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return removed_;
  }

  Shared& shared_;
  mutable Mutex mu_;

 private:
  static void OnIdleTimer(Timer& timer);
  void ArmExpiryLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool MayRemoveLocked(RemoveIf condition) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Tells the open handles of an event.
  void EndHandlesLocked(Event event, DoneList& done)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // When a sleep ends at the latest: `call_deadline` is that of its call.
  void SetDeadlineLocked(Operation& operation, absl::Time call_deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Arms the operation's timer for its deadline, anew if need be.
  void ArmTimerLocked(Operation& operation) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Of one whose deadline is its call's, which as good as none is.
  bool EndIfNearDeadlineLocked(Operation& operation, DoneList& done)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return operation.near_deadline_ends_ &&
           EndIfDeadlineCameNearLocked(operation, done);
  }
  bool EndIfDeadlineCameNearLocked(Operation& operation, DoneList& done)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // It has no caller now whom it could give what it takes.
  bool IsAwayLocked(Operation& operation) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (operation.any_of_ && operation.any_of_->IsClaimedByAnother(operation)) {
      return true;
    }
    return operation.takes() &&
           (operation.detached_ || operation.caller_info_->PassBy());
  }
  void RetestThis(Operation& operation) ABSL_LOCKS_EXCLUDED(mu_);
  // Why an operation whose condition does not hold may not sleep; kAsleep if it
  // may.
  Ending RefusalLocked(Operation& operation, const SleepOptions& options)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Takes what a sleep costs of the limits; otherwise nothing, and names the
  // limit that is reached.
  const char* AdmitLocked(Operation& operation)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void GoToSleepLocked(Operation& operation) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void OnEventLocked(Operation& operation, Event event, DoneList& done)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // A handle that is being opened is there before it counts as open.
  bool IdleLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const Line* const handles = HandlesLocked();
    return sleepers_ == 0 && (handles == nullptr || handles->sleepers == 0) &&
           BlankLocked();
  }

  const ObjectKind kind_;
  const std::string name_;
  const uint64_t incarnation_;
  // Written under the table's lock; read as a hint.
  std::atomic<bool> created_;

  bool removed_ ABSL_GUARDED_BY(mu_) = false;
  // The timer of the idle life is armed; it owns a reference then.
  bool expiry_armed_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t sleepers_ ABSL_GUARDED_BY(mu_) = 0;  // handles aside
  absl::Time idle_since_ ABSL_GUARDED_BY(mu_);
};

}  // namespace waitq::engine

#endif  // WAITQ_SERVER_ENGINE_OBJECT_H_
