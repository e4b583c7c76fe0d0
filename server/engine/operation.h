// An operation: something that a caller wants of an object and may sleep for.
//
//   Start() ─► test ─► ended                 (condition true: no sleep)
//                │
//                ▼ in line, under the object's lock
//             asleep ─► wake │ timer │ signal │ caller gone │ removed │ drain
//                ▼ Object::FinishLocked(): the one place, the one claim
//             ended ─► its home's thread, after the lock is released
//
// An operation is a Task without a thread: the claim is its TryToWake(), which
// of all who try succeeds for one. It owns an id, and outlives its caller: a
// caller can be detached from it.

#ifndef WAITQ_SERVER_ENGINE_OPERATION_H_
#define WAITQ_SERVER_ENGINE_OPERATION_H_

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/task.h"
#include "core/timers.h"
#include "core/wait_queue.h"
#include "server/engine/caller_info.h"
#include "server/engine/ref.h"

namespace waitq::engine {

class AnyOf;
class Object;
class Operation;

// How an operation ended.
enum class Ending : uint8_t {
  kAsleep,      // not yet
  kDone,        // its condition held; bytes moved
  kTimedOut,    // its timeout, or the end of its call, is there
  kWouldBlock,  // it was not to sleep
  kEndOfFile,
  kCallerGone,
  kInterrupted,  // by signal()
  kRemoved,      // its object was
  kDraining,     // the server does not take new sleeps
  kNoReaders,    // EPIPE
  kOverflow,     // its action would overflow the word
  kTooLong,      // EMSGSIZE: a packet does not fit the read, or the pipe
  kLimit,        // limit() was reached
};

// What may end the sleep of an operation, besides its condition.
enum class Event : uint8_t {
  kTimer,         // its timeout has run out
  kDeadlineNear,  // its call ends too soon for an answer that gives something
  kGraceEnd,      // its caller has gone, and has not come back
  kSignal,        // one that its state admits
  kCallerGone,
  kRemove,
  kDrain,
  kStop,       // after a drain: whoever is left
  kNotChosen,  // another alternative of the same call is its end (any_of.h)
};

// How an operation may sleep.
struct SleepOptions {
  TaskState state = kInterruptible;  // or kKillable, kUninterruptible
  bool nonblock = false;
  std::optional<absl::Duration> timeout;  // from Start(); not negative
  // When the call ends for its caller, on the engine's clock. Nothing is handed
  // over within max(20 ms, 2 %) before it.
  absl::Time call_deadline = absl::InfiniteFuture();
  bool want_timing = false;
};

// A time on the engine's clock, in half the memory of an absl::Time: to the
// nanosecond, up to the year 2262, and infinite. There are a million of them.
class Instant {
 public:
  Instant& operator=(absl::Time time) {
    // Most are infinite, which ToUnixNanos() takes long to see.
    nanoseconds_ =
        time == absl::InfiniteFuture() ? kInfinite : absl::ToUnixNanos(time);
    return *this;
  }
  operator absl::Time() const {
    if (infinite()) return absl::InfiniteFuture();
    return absl::FromUnixNanos(nanoseconds_);
  }
  bool infinite() const { return nanoseconds_ == kInfinite; }
  friend bool operator<=(Instant a, Instant b) {
    return a.nanoseconds_ <= b.nanoseconds_;
  }

 private:
  static constexpr int64_t kInfinite = std::numeric_limits<int64_t>::max();
  int64_t nanoseconds_ = 0;
};

// Where the time of an operation went, for who asked for it.
struct OperationTiming {
  absl::Duration asleep;  // 0 if it did not sleep
  absl::Time ended;
  absl::Duration overshoot;  // if it timed out: of its timeout
  uint64_t place;            // in line, when it came: 0 is the next
};

// Who is told the result.
class Caller {
 public:
  // On the home's thread, once, with no lock held. The operation lives on for
  // as long as somebody keeps a Ref to it.
  virtual void OnEnded(Operation& operation) = 0;

 protected:
  ~Caller() = default;
};

class DoneList;

// Hands each operation to its home, in batches, in order. Within a delivery,
// or where a DeliveryBatch lives on this thread: when that is over.
void DeliverAll(DoneList done);
// At once: for DeliveryBatch.
void DeliverNow(DoneList done);

// Operations that have ended and are on their way home. Owns a reference to
// each. Not thread-safe.
class DoneList {
 public:
  DoneList() = default;
  DoneList(DoneList&& other) noexcept
      : first_(std::exchange(other.first_, nullptr)),
        last_(std::exchange(other.last_, nullptr)) {}
  DoneList& operator=(DoneList&&) = delete;
  ~DoneList();

  bool empty() const { return first_ == nullptr; }
  void Push(Ref<Operation> operation);
  Ref<Operation> Pop();
  // Appends `other`, which is then empty.
  void Append(DoneList&& other);

 private:
  friend void DeliverNow(DoneList done);

  bool OfOneHome() const;

  Operation* first_ = nullptr;
  Operation* last_ = nullptr;
};

// The queue thread that an operation's caller lives on.
class Home {
 public:
  // Calls Operation::Deliver() for each, in order, on its thread. Any thread
  // may call this; the caller holds no lock of the engine.
  virtual void Deliver(DoneList done) = 0;

 protected:
  ~Home() = default;
};

// While one lives, DeliverAll() on its thread collects; its destruction
// delivers: what a message with a thousand operations brings about goes out in
// a few messages, not in a thousand. Not to be held for long. DeliverAll() has
// one of its own: what a delivery brings about follows it, and does not pile up
// on the stack.
class DeliveryBatch {
 public:
  DeliveryBatch();
  ~DeliveryBatch();
  DeliveryBatch(const DeliveryBatch&) = delete;
  DeliveryBatch& operator=(const DeliveryBatch&) = delete;

 private:
  const bool outermost_;
};

// Base of the operations of each kind of object.
//
// Thread safety: what is not const belongs to the object's lock until the
// operation has ended; after that to its home's thread. The caller belongs to
// the home's thread always.
class Operation : public RefCounted, private WaitEntry, private Timer {
 public:
  uint64_t id() const { return id_; }
  CallerInfo& caller_info() const { return *caller_info_; }
  const std::shared_ptr<CallerInfo>& shared_caller_info() const {
    return caller_info_;
  }
  // The object that it was started on.
  Object& object() const { return *object_; }

  // After its end.
  Ending ending() const { return ending_; }
  bool slept() const { return slept_; }
  // What was left of the timeout at the end; none without one. If the ending
  // is kDone, at least a tick.
  std::optional<absl::Duration> remaining() const;
  // If it was asked for.
  std::optional<OperationTiming> timing() const;
  // If kInterrupted.
  int signal() const { return signal_; }
  // If kLimit: which.
  const char* limit() const { return limit_; }

  // For the home: tells the caller, if there is one still.
  void Deliver() {
    if (Caller* caller = std::exchange(caller_, nullptr)) {
      caller->OnEnded(*this);
    }
  }
  // For the caller, on the home's thread: it will not be told.
  void Detach() { caller_ = nullptr; }

  // Whether it has moved bytes: then it has succeeded in part, whatever ended
  // it.
  virtual bool moved_bytes() const { return false; }
  // Whether it brings something, as a write does, rather than takes it.
  virtual bool gives() const { return false; }
  // Whether people would say that it sleeps: a call that waits for something,
  // rather than an open handle, which waits for nothing but its object's end.
  virtual bool is_sleeper() const { return true; }
  // Whether it counts in the limits by something else: it is of a handle, which
  // does already.
  virtual bool is_admitted() const { return false; }
  // Whether its success takes something that others then do not get. If so it
  // is passed by while it is detached.
  virtual bool takes() const { return true; }
  // Whether the server's drain ends it.
  virtual bool ends_on_drain() const { return true; }

  // Of a session's operation, after its end, with no lock held: nobody has its
  // result, and what it had taken is given back. Once, or instead of
  // Object::Taken().
  virtual void GiveBack() {}
  // After its end: nobody will ask for what it has left of its own data.
  virtual void DropUnused() {}
  // Bytes that its result carries.
  virtual uint64_t result_bytes() const { return 0; }

  // For its home: anything, and what the home has made of it. All alternatives
  // of a call have one together. (In any_of.h.)
  inline uint64_t tag() const;
  inline void set_tag(uint64_t tag);

  // Of a call that waits for any of several (any_of.h): whether it is an
  // alternative of one, and which, from 0.
  bool is_alternative() const { return any_of_.get() != nullptr; }
  uint8_t alternative() const { return alternative_; }

  // For people, what it waits for: "value == 1".
  virtual std::string Describe() const = 0;

 protected:
  // `home` outlives the operation; `caller` until told or detached.
  Operation(WakeFunction wake, bool exclusive, Home* home, Caller* caller,
            std::shared_ptr<CallerInfo> caller_info);
  ~Operation() override;

  // The operation that an object's walk has come to.
  template <class T>
  static T& Of(WaitEntry& entry) {
    return static_cast<T&>(static_cast<Operation&>(entry));
  }
  bool WakesIn(TaskState mode) const { return (task_.state() & mode) != 0; }

 private:
  friend class AnyOf;
  friend class DoneList;
  friend class Object;
  friend Ref<Operation> EndedOf(Ref<Operation> operation);
  friend void DeliverNow(DoneList done);

  static void OnTimer(Timer& timer);
  // After its end: from its start to there, if either was wanted.
  absl::Duration took() const { return absl::Time(ended_) - started_; }

  Task task_;
  Ending ending_ = Ending::kAsleep;
  bool starting_ = false;  // Start() has not returned: it will tell the result
  bool slept_ = false;
  bool has_timeout_ = false;
  bool want_timing_ = false;
  bool near_deadline_ends_ = false;  // deadline_ is the call's, not timeout's
  bool detached_ = false;            // deadline_ may be grace_end_
  bool timer_armed_ = false;         // and has a reference
  uint8_t signal_ = 0;
  uint8_t alternative_ = 0;
  uint64_t id_ = 0;
  uint64_t tag_ = 0;
  Home* home_;         // while an alternative is asleep: any_of_
  Ref<AnyOf> any_of_;  // of an alternative, from its start
  Caller* caller_;
  Ref<Object> object_;
  Operation* next_done_ = nullptr;  // DoneList's
  const char* limit_ = nullptr;
  Instant started_;
  Instant deadline_;
  Instant grace_end_;       // if detached_
  Instant ended_;           // if that is wanted
  absl::Duration timeout_;  // if has_timeout_
  uint64_t place_ = 0;      // when it went to sleep
  const std::shared_ptr<CallerInfo> caller_info_;
};

}  // namespace waitq::engine

#endif  // WAITQ_SERVER_ENGINE_OPERATION_H_
