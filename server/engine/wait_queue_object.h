// A named wait queue: a 64-bit word, and who sleeps until it is right.

#ifndef WAITQ_SERVER_ENGINE_WAIT_QUEUE_OBJECT_H_
#define WAITQ_SERVER_ENGINE_WAIT_QUEUE_OBJECT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "server/engine/object.h"
#include "server/engine/operation.h"
#include "server/engine/word.h"

namespace waitq::engine {

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
};

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

  // After its end: the word before and after `then`, and its generation.
  int64_t value_before() const { return value_before_; }
  int64_t value_after() const { return value_after_; }
  uint64_t generation() const { return generation_; }

  // What only looks at the word takes nothing.
  bool takes() const override {
    return spec_.exclusive || spec_.then.change != Action::Change::kNone;
  }
  std::string Describe() const override { return spec_.condition.ToString(); }

 private:
  friend class WaitQueueObject;
  static int OnWake(waitq::WaitEntry& entry, TaskState mode, int wake_flags,
                    void* key);

  const WaitSpec spec_;
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
};

class WaitQueueObject final : public Object {
 public:
  static constexpr ObjectKind kKind = ObjectKind::kWaitQueue;

  WaitQueueObject(Shared* shared, std::string name, bool created);

  // Changes the word, then ends the sleepers whose condition holds, in order.
  // OUT_OF_RANGE if the update overflows. EIDRM if it was just removed: look it
  // up again.
  absl::Status WakeUp(const WakeOptions& options, WakeResult& result)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Changes the word and wakes nobody; the result has the word as it was.
  absl::Status Store(int64_t value, WordResult& result)
      ABSL_LOCKS_EXCLUDED(mu_);
  WordResult Get() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  friend class WaitOperation;
  struct Walker;

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
  bool BlankLocked() const override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return value_ == 0;
  }
  std::vector<Line*> LinesLocked() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return {&line_};
  }

  int64_t value_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t generation_ ABSL_GUARDED_BY(mu_);
  Line line_ ABSL_GUARDED_BY(mu_);
};

}  // namespace waitq::engine

#endif  // WAITQ_SERVER_ENGINE_WAIT_QUEUE_OBJECT_H_
