// A FIFO on which a script can be run: one interface, and two of it.

#ifndef WAITQ_TESTS_CORE_FIFO_WORLD_H_
#define WAITQ_TESTS_CORE_FIFO_WORLD_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "tests/core/fifo_script.h"

namespace waitq::test {

// The real one has a few more than scripts use, for who drives it otherwise.
inline constexpr int kActorsMax = kActors + 1;
inline constexpr int kFilesMax = kFiles + 2;

// What a call returned.
struct CallResult {
  int64_t result = 0;  // a count, or a negative errno: -EINTR for a signal
  bool sigpipe = false;
  uint32_t revents[2] = {0, 0};
};

class FifoWorld {
 public:
  virtual ~FifoWorld() = default;

  // In each actor's thread, before all else: it gets the two signals of
  // Signal(), and SIGPIPE does not harm it.
  virtual void Enter(int actor) = 0;
  // In the actor's thread: one step of a script, its `index`-th; sleeps as the
  // call does. Bytes that are read go to `buffer`.
  virtual CallResult Do(const Step& step, size_t index, char* buffer) = 0;
  // To an actor that sleeps in Do(), whose thread is `tid`. `restart`: the call
  // is to begin anew, if it can.
  virtual void Signal(int actor, pid_t tid, bool restart) = 0;
  // Of an actor that sleeps: what speaks against it, or nothing.
  virtual std::string Objection(int actor) = 0;
  // When nobody has it open any more: what is left, or nothing.
  virtual std::string Remains() = 0;
};

// Before 6.14 a read from a full pipe that frees no slot wakes a writer all the
// same, who then goes to the end of the line: others are served first.
bool KernelKeepsWritersInLine();

// The machine's kernel, with a FIFO at `path`.
std::unique_ptr<FifoWorld> MakeRealFifoWorld(const std::string& path);
// core/fifo.h.
std::unique_ptr<FifoWorld> MakeOurFifoWorld();

}  // namespace waitq::test

#endif  // WAITQ_TESTS_CORE_FIFO_WORLD_H_
