// Threads that run a script on a FIFO, step by step.

#ifndef WAITQ_TESTS_CORE_FIFO_CREW_H_
#define WAITQ_TESTS_CORE_FIFO_CREW_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/core/fifo_script.h"
#include "tests/core/fifo_world.h"
#include "tests/support/random.h"

namespace waitq::test {

// What each step brought about: who returned what, and who sleeps. Empty for a
// step that was passed over.
struct Trace {
  std::vector<std::string> steps;
  bool operator==(const Trace&) const = default;
};

// One thread for each actor, for one world.
class FifoCrew {
 public:
  // Of up to kActorsMax.
  explicit FifoCrew(FifoWorld* world, int actors = kActors);
  ~FifoCrew();

  // Whether this machine can tell who sleeps.
  static bool IsPossibleHere();

  // Runs `script`, then interrupts whoever sleeps and closes all files: these
  // steps are appended to the script's. After each step all threads have
  // returned or sleep, for nobody but a further step to wake.
  Trace Run(const Script& script);

  // Of an actor that was in a call, or has begun one.
  struct Outcome {
    int actor;
    Step step;  // its call
    bool sleeps;
    CallResult answer;       // if it has returned
    std::string_view bytes;  // that it has read, until its next call
  };
  // One step, as those of Run(). Nothing of a step that makes no sense.
  std::vector<Outcome> Do(const Step& step, size_t index);

  // The appended steps, for printing.
  static Script Ending();

  // How often it comes out differently who of several that are woken is first.
  // RaceMuch() draws processors and priorities; with `at_any_price` some give
  // way to all others, which takes time.
  void RaceLittle();
  void RaceMuch(Random& random, bool at_any_price);

 private:
  struct Actor {
    std::thread thread;
    std::atomic<pid_t> tid = 0;
    // Of /proc.
    int call_fd = -1;   // in which call it sleeps, or "running"
    int times_fd = -1;  // changes whenever it has run
    int state_fd = -1;  // how it sleeps
    // What it does: `asked` changes for each step, -1 at the end.
    std::atomic<int> asked = 0;
    std::atomic<int> done = 0;
    Step step;
    size_t index = 0;
    CallResult answer;
    std::string buffer;

    bool busy() const { return asked != done; }
  };
  struct File {
    bool is_open = false;
    uint32_t flags = 0;
    int users = 0;  // calls on it; one that opens it, too
  };

  void Work(int k);
  bool MakesSense(const Step& step) const;
  std::string RunStep(const Step& step, size_t index);
  // Until nobody runs, and so nobody can be woken.
  void AwaitQuiet();
  bool IsQuiet();
  void Collect(Actor& actor, Outcome& outcome);
  std::string Describe(const Outcome& outcome);

  FifoWorld& world_;
  std::deque<Actor> actors_;
  std::array<File, kFilesMax> files_;
};

}  // namespace waitq::test

#endif  // WAITQ_TESTS_CORE_FIFO_CREW_H_
