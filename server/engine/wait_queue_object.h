// A named wait queue: a 64-bit word, and who sleeps until it is right.

#ifndef WAITQ_SERVER_ENGINE_WAIT_QUEUE_OBJECT_H_
#define WAITQ_SERVER_ENGINE_WAIT_QUEUE_OBJECT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/status/status.h"
#include "server/engine/limits.h"
#include "server/engine/object.h"
#include "server/engine/operation.h"
#include "server/engine/word.h"

namespace waitq::engine {

// What becomes of a wait's `then` when the session that has it ends, or says
// that it had no use for the result. By default an `add` is undone by its
// opposite, and a `set` puts back what was there, unless the word has been
// changed since.
struct Undo {
  // Undone only if the word is so then; kWoken: however it is.
  Condition only_while;
  // Done instead of the default, and whatever has happened since.
  Action instead;
};

// What a wait is for: sleep until `condition` holds, then do `then` in the same
// step.
struct WaitSpec {
  Condition condition;
  Action then;
  // After `then`, which may have made the condition of others true, the walk
  // over the sleepers is done once more; a wait that did not sleep does one
  // walk, as WakeUp with its defaults.
  bool then_wake = false;
  bool exclusive = false;
  uint64_t key = 0;  // which wakes reach it: KeysMatch()
  // Only of the queue that has had this one: another of its name counts as
  // removed. 0: of whichever has the name.
  uint64_t seen_generation = 0;
};

// What a grant costs of its caller's bytes while it is out.
inline constexpr uint64_t kGrantCost = 256;

// Whether a wake with the one key reaches a sleeper with the other.
inline bool KeysMatch(uint64_t a, uint64_t b) {
  return a == 0 || b == 0 || (a & b) != 0;
}

class WaitOperation final : public Operation {
 public:
  WaitOperation(const WaitSpec& spec, Home* home, Caller* caller,
                std::shared_ptr<CallerInfo> caller_info)
      : Operation(&OnWake, spec.exclusive, home, caller,
                  std::move(caller_info)),
        spec_(spec) {}

  // Before Start(): its success is a grant, of a session. `undo`: of a `then`
  // that sets or adds, or with an action of its own.
  void MakeGrant(const Undo& undo) {
    grant_ = std::make_unique<NewGrant>(undo);
  }

  // After its end: the word before and after `then`, and its generation.
  int64_t value_before() const { return value_before_; }
  int64_t value_after() const { return value_after_; }
  uint64_t generation() const { return generation_; }

  // What only looks at the word takes nothing.
  bool takes() const override {
    return spec_.exclusive || spec_.then.change != Action::Change::kNone;
  }
  std::string Describe() const override { return spec_.condition.ToString(); }
  // A grant is undone; an exclusive wake is passed on to the next.
  void GiveBack() override;

 private:
  friend class WaitQueueObject;
  struct NewGrant {
    explicit NewGrant(const Undo& how) : undo(how) {}
    const Undo undo;
    std::unique_ptr<Charge> charge;  // for the grant to take over
  };
  static int OnWake(waitq::WaitEntry& entry, TaskState mode, int wake_flags,
                    void* key);

  WaitSpec spec_;             // its key, once a wake has ended it: the wake's
  bool used_a_wake_ = false;  // of those that a WakeUp has for exclusive ones
  TaskState wake_mode_ = kNormal;    // that wake's
  std::unique_ptr<NewGrant> grant_;  // if it is to be one
  int64_t value_before_ = 0;
  int64_t value_after_ = 0;
  uint64_t generation_ = 0;
};

struct WakeOptions {
  Action update;
  TaskState mode = kNormal;  // or kInterruptible
  int nr = 1;                // exclusive sleepers; 0: all
  bool sync = false;         // the waker is about to sleep: a hint
  uint64_t key = 0;          // whom it reaches: KeysMatch()
  // The grant that is given back, which is then nobody's; without an update it
  // is undone. 0: none.
  uint64_t grant = 0;
  // Of one who was woken, and had no use for it: for one exclusive sleeper.
  bool passed_on = false;
};

struct WakeResult {
  uint64_t woken = 0;
  uint64_t woken_exclusive = 0;
  int64_t value = 0;
  uint64_t generation = 0;
};

struct WordResult {
  int64_t value = 0;
  uint64_t generation = 0;
  uint64_t grants = 0;  // Get(): that are out
};

// ESTALE: that grant of the wait queue is nobody's.
absl::Status NoSuchGrant(const std::string& name, uint64_t grant);

class WaitQueueObject final : public Object {
 public:
  static constexpr ObjectKind kKind = ObjectKind::kWaitQueue;

  WaitQueueObject(Shared* shared, std::string name, bool created);

  // Changes the word, then ends the sleepers whose condition holds, in order.
  // OUT_OF_RANGE if the update overflows; ESTALE if the grant is not out (any
  // more): then nothing has happened. EIDRM if it was just removed: look it up
  // again.
  absl::Status WakeUp(const WakeOptions& options, WakeResult& result)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Changes the word and wakes nobody; the result has the word as it was.
  absl::Status Store(int64_t value, WordResult& result)
      ABSL_LOCKS_EXCLUDED(mu_);
  WordResult Get() const ABSL_LOCKS_EXCLUDED(mu_);
  void ReleaseAllOf(const CallerInfo& caller) override ABSL_LOCKS_EXCLUDED(mu_);

 private:
  friend class WaitOperation;
  struct Walker;
  // A success that is undone if its session ends.
  struct Grant {
    Undo undo;
    Action then;
    int64_t value_before;
    std::shared_ptr<CallerInfo> caller;
    std::unique_ptr<Charge> charge;
  };
  using Grants = absl::btree_map<uint64_t, Grant>;  // by generation

  Line& LineLocked(Operation&) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return line_;
  }
  void TestLocked(Operation& operation, DoneList& done) override
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // True if the operation has ended.
  bool TryLocked(WaitOperation& operation, bool woken, DoneList& done)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Ends the sleepers whose condition holds, in order; once more if one of them
  // was to wake others.
  void WakeLocked(const WakeOptions& options, WakeResult& result,
                  DoneList& done) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void NoteEndLocked(Operation& operation) override
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Takes what a grant costs, or ends the operation at the limit.
  bool ChargeGrantLocked(WaitOperation& operation, DoneList& done)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The word as the grant's end leaves it; nothing if it stays as it is.
  std::optional<int64_t> UndoneLocked(uint64_t generation,
                                      const Grant& grant) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Undoes it, if that is to be done, and wakes who waited for that.
  void UndoLocked(Grants::iterator grant, DoneList& done)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void GiveBack(WaitOperation& operation) ABSL_LOCKS_EXCLUDED(mu_);
  void OnRemovedLocked() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    grants_.clear();
  }
  bool BusyLocked() const override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return !grants_.empty();
  }
  bool BlankLocked() const override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return value_ == 0 && grants_.empty();
  }
  std::vector<Line*> LinesLocked() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return {&line_};
  }

  int64_t value_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t generation_ ABSL_GUARDED_BY(mu_);
  // Of the last update, `then` or Store.
  uint64_t word_changed_ ABSL_GUARDED_BY(mu_) = 0;
  Grants grants_ ABSL_GUARDED_BY(mu_);
  Line line_ ABSL_GUARDED_BY(mu_);
};

}  // namespace waitq::engine

#endif  // WAITQ_SERVER_ENGINE_WAIT_QUEUE_OBJECT_H_
