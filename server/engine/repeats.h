// Calls that may be sent again: the same call, by its request id, is done once
// and answered as often as it is asked for.
//
//   Begin() ─► new ─► running ─► asleep ⇄ detached
//     │                 │           │        │ grace ends, or Cancel()
//     ▼ the same        ▼           ▼        ▼
//   waits with it     answered, kept for 120 s   forgotten
//
// A call that comes again while the first one sleeps takes its place in line;
// the call that it takes it from is told so (evicted). Source of the ids:
// AIP-155.

#ifndef WAITQ_SERVER_ENGINE_REPEATS_H_
#define WAITQ_SERVER_ENGINE_REPEATS_H_

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/mutex.h"
#include "server/engine/object.h"
#include "server/engine/operation.h"
#include "server/engine/ref.h"

namespace waitq::engine {

// What a call was answered. `bytes` are the transport's, if the status is OK.
struct KeptAnswer {
  absl::Status status;
  std::string bytes;
};

// Which call it is: the id, within its method and its object.
struct RepeatKey {
  std::string request_id;
  std::string object;
  std::string method;

  bool operator==(const RepeatKey&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const RepeatKey& key) {
    return H::combine(std::move(h), key.request_id, key.object, key.method);
  }
};

// A call that waits for its answer, or for the one that another call gets. An
// operation on no object: its caller is told, once, on its home's thread.
class RepeatWaiter final : public Operation {
 public:
  RepeatWaiter(Home* home, Caller* caller,
               std::shared_ptr<CallerInfo> caller_info,
               absl::Time call_deadline)
      : Operation(&OnWake, /*exclusive=*/false, home, caller,
                  std::move(caller_info)),
        call_deadline_(call_deadline) {}

  // When it is told: the answer.
  const KeptAnswer& answer() const { return *answer_; }

  std::string Describe() const override { return "repeat"; }

 private:
  friend class Repeat;
  friend class RepeatTable;
  static int OnWake(waitq::WaitEntry&, TaskState, int, void*) { return 0; }

  const absl::Time call_deadline_;
  std::shared_ptr<const KeptAnswer> answer_;
};

class RepeatTable;

// How long an answer is kept, and how long a sleeping call whose caller has
// gone waits for it to come back.
inline constexpr absl::Duration kKeepAnswersFor = absl::Seconds(120);
inline constexpr absl::Duration kReattachGrace = absl::Seconds(30);

class Repeat;

// An answer that is kept, and until when.
struct KeptRepeat {
  absl::Time until;
  Ref<Repeat> repeat;
};

// One call and its repeats. Home and caller of its operation, which outlives
// the calls.
//
// Thread safety: any thread may call any method.
class Repeat final : public RefCounted, private Home, private Caller {
 public:
  // What the call's operation is made with.
  Home* home() { return this; }
  Caller* caller() { return this; }

  // Makes the answer of an operation that has ended. On any thread, with no
  // lock held.
  using Encode = std::function<KeptAnswer(Operation& operation)>;

  // The call is answered: whoever waits is told, and so is who repeats it
  // later. Once for each call that is new. An answer is not kept where nothing
  // has happened and the same call may succeed later: CANCELLED,
  // RESOURCE_EXHAUSTED, UNAVAILABLE.
  void Answer(KeptAnswer answer);

  // The operation with which the call began sleeps, or has ended by now. It was
  // made with this as home and caller.
  void Sleep(Ref<Operation> operation);

  // The call of this waiter has gone. If it is the one that waits, its
  // operation is detached, and ends when the grace does.
  void Leave(RepeatWaiter& waiter);

 private:
  friend class RepeatTable;
  enum class State : uint8_t { kRunning, kAnswered };

  Repeat(RepeatTable* table, Mutex* mu, RepeatKey key, uint64_t fingerprint,
         uint64_t charged_bytes, const RepeatWaiter* first, Encode encode)
      : table_(*table),
        mu_(*mu),
        key_(std::move(key)),
        fingerprint_(fingerprint),
        encode_(std::move(encode)),
        charged_bytes_(charged_bytes),
        first_(first) {}
  template <class T, class... Args>
  friend Ref<T> MakeRef(Args&&... args);

  // Home: on the thread of whoever ended the operation.
  void Deliver(DoneList done) override;
  // Caller
  void OnEnded(Operation& operation) override;

  RepeatTable& table_;
  Mutex& mu_;  // the table's
  const RepeatKey key_;
  const uint64_t fingerprint_;
  const Encode encode_;
  State state_ ABSL_GUARDED_BY(mu_) = State::kRunning;
  uint64_t charged_bytes_ ABSL_GUARDED_BY(mu_);
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;  // before it slept
  // Its place among those that are kept, if it is answered and is one.
  std::optional<std::list<KeptRepeat>::iterator> kept_ ABSL_GUARDED_BY(mu_);
  const RepeatWaiter* const first_;                // only to compare with
  Ref<RepeatWaiter> waiter_ ABSL_GUARDED_BY(mu_);  // who is told
  Ref<Operation> operation_ ABSL_GUARDED_BY(mu_);  // while it sleeps
  std::shared_ptr<const KeptAnswer> answer_ ABSL_GUARDED_BY(mu_);
};

// Thread safety: any thread may call any method.
// Lock order: before an object's. Nobody is told under it.
class RepeatTable {
 public:
  // `shared` must outlive this.
  explicit RepeatTable(Shared* shared) : shared_(*shared) {}

  struct Begun {
    Ref<Repeat> repeat;
    bool is_new;  // run it; else it runs, or has run, and the waiter is told
  };
  // What there is to know of a call that comes.
  struct Call {
    RepeatKey key;
    uint64_t fingerprint;   // of its arguments, the timeout aside
    uint64_t answer_bytes;  // at most
    Repeat::Encode encode;
  };
  // A call has come; `waiter` is told its answer. INVALID_ARGUMENT (EINVAL):
  // the id was used with other arguments. RESOURCE_EXHAUSTED (ENOSPC): no more
  // answers can be kept; the call has not run.
  absl::StatusOr<Begun> Begin(Call call, const Ref<RepeatWaiter>& waiter)
      ABSL_LOCKS_EXCLUDED(mu_);

  // The call is not wanted any more: one that sleeps ends, having consumed
  // nothing; an answer that is kept is forgotten. False: there is none.
  bool Cancel(const RepeatKey& key) ABSL_LOCKS_EXCLUDED(mu_);

  // Forgets answers whose time is over. To be called now and then.
  void Expire() ABSL_LOCKS_EXCLUDED(mu_);

  // How many calls and answers are known.
  size_t size() const ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(&mu_);
    return repeats_.size();
  }

 private:
  friend class Repeat;
  absl::StatusOr<Begun> MakeLocked(Call call, const Ref<RepeatWaiter>& waiter)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ExpireLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // It is answered, with so many bytes.
  void KeepLocked(Repeat& repeat, uint64_t bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // If the table still has it: its place may be another's by now.
  void ForgetLocked(Repeat& repeat) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Tells a waiter, which is nobody's any more.
  static void Tell(Ref<RepeatWaiter> waiter,
                   std::shared_ptr<const KeptAnswer> answer);

  Shared& shared_;
  mutable Mutex mu_;
  absl::flat_hash_map<RepeatKey, Ref<Repeat>> repeats_ ABSL_GUARDED_BY(mu_);
  std::list<KeptRepeat> kept_ ABSL_GUARDED_BY(mu_);  // soonest first
};

}  // namespace waitq::engine

#endif  // WAITQ_SERVER_ENGINE_REPEATS_H_
