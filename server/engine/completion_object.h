// A named completion: how many things are done, and who waits for one.

#ifndef WAITQ_SERVER_ENGINE_COMPLETION_OBJECT_H_
#define WAITQ_SERVER_ENGINE_COMPLETION_OBJECT_H_

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "server/engine/object.h"
#include "server/engine/operation.h"

namespace waitq::engine {

// Sleeps until something is done, and takes it.
class CompletionOperation final : public Operation {
 public:
  CompletionOperation(Home* home, Caller* caller,
                      std::shared_ptr<CallerInfo> caller_info)
      : Operation(&OnWake, /*exclusive=*/true, home, caller,
                  std::move(caller_info)) {}

  // After its end: the completion's generation.
  uint64_t generation() const { return generation_; }
  // Somebody else had it before, and may have used it.
  bool redelivered() const { return redelivered_; }

  void GiveBack() override;
  std::string Describe() const override { return "done"; }

 private:
  friend class CompletionObject;
  static int OnWake(waitq::WaitEntry& entry, TaskState mode, int wake_flags,
                    void* key);

  uint64_t generation_ = 0;
  bool redelivered_ = false;
};

// Unlike the kernel's, it hands over: whom Complete() wakes has its one.
class CompletionObject final : public Object {
 public:
  static constexpr ObjectKind kKind = ObjectKind::kCompletion;
  // Done for good, until Reinit().
  static constexpr uint32_t kAll = std::numeric_limits<uint32_t>::max();

  struct Result {
    uint64_t woken = 0;
    uint32_t done = 0;
    uint64_t generation = 0;
  };

  CompletionObject(Shared* shared, std::string name, bool created);

  // `nr` more are done; kAll: for good. EIDRM if it was just removed: look it
  // up again. So for the others.
  absl::Status Complete(uint32_t nr, Result& result) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status Reinit(Result& result) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status TryWait(bool& taken) ABSL_LOCKS_EXCLUDED(mu_);
  uint32_t done() const ABSL_LOCKS_EXCLUDED(mu_);
  uint64_t generation() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  friend class CompletionOperation;
  struct Walk;

  Line& LineLocked(Operation&) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return line_;
  }
  void TestLocked(Operation& operation, DoneList& done) override
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void NoteEndLocked(Operation& operation) override
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool BlankLocked() const override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return done_ == 0;
  }
  std::vector<Line*> LinesLocked() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return {&line_};
  }
  // For `op`, or for a TryWait.
  bool TakeLocked(CompletionOperation* op) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // One that was taken, at that generation, is not: its taker has gone before
  // it had it.
  void GiveBack(uint64_t taken_at) ABSL_LOCKS_EXCLUDED(mu_);
  // More are done: wakes who waits for them.
  uint64_t WakeLocked(DoneList& ended) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  uint32_t done_ ABSL_GUARDED_BY(mu_) = 0;
  // Of these, given back: at most. They are taken first.
  uint32_t returned_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t generation_ ABSL_GUARDED_BY(mu_);
  uint64_t reinit_generation_ ABSL_GUARDED_BY(mu_) = 0;
  Line line_ ABSL_GUARDED_BY(mu_);
};

}  // namespace waitq::engine

#endif  // WAITQ_SERVER_ENGINE_COMPLETION_OBJECT_H_
