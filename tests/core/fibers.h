// Simulated threads: many fibers on one thread of the operating system, which
// take turns as a seeded random number generator says.
//
// Each fiber is a thread to core's hooked build (core/pause.h): it has a task,
// and sleeps by not being chosen. Who goes on is decided at each pause point of
// core, at each Yield() and at each sleep; nowhere else. So a run is repeated
// exactly by its seed, and two fibers never contend for a lock: none pauses
// while it holds one.

#ifndef WAITQ_TESTS_CORE_FIBERS_H_
#define WAITQ_TESTS_CORE_FIBERS_H_

#include <array>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/pause.h"
#include "core/task.h"
#include "tests/core/fiber_stack.h"
#include "tests/support/random.h"

namespace waitq::test {

// Thread safety: for the thread that made it, and its fibers.
class Fibers final : private PauseHooks {
 public:
  enum class End {
    kReturned,  // all fibers have
    kStuck,     // all that have not are asleep
    kFailed,    // Fail() was called; the fibers are stopped for good
  };

  Fibers();
  // After a failure what the fibers had on their stacks is lost, not destroyed:
  // better leave all that they used alone too.
  ~Fibers();
  Fibers(const Fibers&) = delete;
  Fibers& operator=(const Fibers&) = delete;

  // Forgets all fibers, which must have returned, and begins anew: what follows
  // is the same for the same seed.
  void Reset(uint64_t seed);

  // A new fiber, for the next Run(). Returns its number.
  int Start(const char* name, std::function<void()> body);
  int count() const { return count_; }
  ThreadTask& task(int fiber) { return *fibers_[fiber]->task; }
  // It has a state other than running, and its thread would sleep.
  bool asleep(int fiber) const {
    return fibers_[fiber]->asleep && fibers_[fiber]->task->state() != kRunning;
  }

  // Runs the fibers. `idle` is called when all that have not returned are
  // asleep, on this stack; it returns whether it has woken somebody, or has
  // brought that nearer.
  End Run(const std::function<bool()>& idle);

  // For choices of the fibers and of who made them.
  Random& random() { return *random_; }

  // --- For fibers ------------------------------------------------------------

  // Its number.
  int current() const { return current_; }

  // Lets others go on, or not. `where` is for Trace(): a literal.
  void Yield(const char* where) { Step(where); }

  // While one lives, its fiber does not pause at these points: it holds a lock
  // there.
  class NoPauseAt {
   public:
    NoPauseAt(Fibers* fibers, std::initializer_list<PausePoint> points);
    ~NoPauseAt();
    NoPauseAt(const NoPauseAt&) = delete;
    NoPauseAt& operator=(const NoPauseAt&) = delete;

   private:
    Fibers& fibers_;
    const int fiber_;
    const uint32_t before_;
  };

  // --- Failure ---------------------------------------------------------------

  // Ends the run. A fiber that calls this does not come back.
  void Fail(std::string why);
  const std::string& failure() const { return failure_; }
  // The last steps, one a line.
  std::string Trace() const;

  // --- What was done ---------------------------------------------------------

  // Decisions since Reset(), and since construction.
  uint64_t steps() const { return steps_; }
  uint64_t all_steps() const { return all_steps_ + steps_; }
  // Of all decisions since Reset(): who stood where, and who went on.
  uint64_t trace_hash() const { return trace_hash_; }

 private:
  static constexpr int kNobody = -1;
  static constexpr uint64_t kTooManySteps = 1'000'000;

  struct Fiber {
    Fiber(Fibers* fibers_in, int number_in)
        : fibers(*fibers_in), number(number_in), stack(&RunBodies, this) {}
    Fibers& fibers;
    const int number;
    FiberStack stack;
    const char* name = "";
    std::function<void()> body;
    std::optional<ThreadTask> task;
    bool returned = true;
    bool asleep = false;
    uint32_t no_pause_at = 0;  // bits, by PausePoint
    uint64_t priority = 0;
  };
  struct Decision {
    int from;
    int to;
    const char* where;
  };
  // How it is decided who goes on: each finds races that others seldom do.
  enum class Policy {
    kAnybody,     // all are as likely
    kGoOn,        // mostly the one that runs already
    kByPriority,  // the first in an order that changes now and then
  };

  void Pause(PausePoint point) override;
  bool Park(ThreadTask& task) override;
  ThreadTask* Current() override;

  static void RunBodies(void* fiber);
  // A decision; the caller may be asleep, or have returned.
  void Step(const char* where);
  int Choose();
  int ChooseByPriority(const int* runnable, int count);
  void Note(int from, int to, const char* where);
  void SwitchTo(int to);
  FiberStack& StackOf(int fiber);

  FiberStack main_;
  std::vector<std::unique_ptr<Fiber>> fibers_;  // the first count_ are in use
  int count_ = 0;
  int current_ = kNobody;

  std::optional<Random> random_;
  Policy policy_ = Policy::kAnybody;
  uint64_t change_one_in_ = 1;
  uint64_t lowest_priority_ = 0;

  std::string failure_;
  uint64_t steps_ = 0;
  uint64_t all_steps_ = 0;
  uint64_t trace_hash_ = 0;
  std::array<Decision, 64> trace_ = {};
};

}  // namespace waitq::test

#endif  // WAITQ_TESTS_CORE_FIBERS_H_
