// Random scripts for a pipe: a few processes that open it to read or to write,
// or use it without, and close, go away and are signalled; one step after the
// other.

#ifndef WAITQ_TESTS_SERVER_PIPE_SCRIPT_H_
#define WAITQ_TESTS_SERVER_PIPE_SCRIPT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "grpcpp/channel.h"
#include "server/rpc/server.h"
#include "tests/support/random.h"

namespace waitq::test {

inline constexpr int kProcesses = 4;

// What one process does. All sizes are in units: see PipeWorld.
struct PipeStep {
  enum class Kind {
    kOpenReader,  // and reads `units`; then it holds on
    kReadOn,      // as many more
    kOpenWriter,
    kWriteOn,
    kClose,  // of a writer: cleanly
    kGoAway,
    kRead,  // without a handle
    kWrite,
    kPoll,
    kSignal,  // somebody sends one
  };
  Kind kind;
  int process;
  size_t units = 0;
  bool nonblock = false;  // kRead, kWrite
};

std::string ToString(const PipeStep& step);

struct PipeScript {
  size_t capacity_units;
  // What a reader reads before it waits to be told to read on. If it is more
  // than one, then there is one reader at a time: where two wait for more it is
  // luck who is first.
  size_t window_units;
  // On the wire. The machine's FIFO has units of its own.
  size_t unit_bytes;
  std::vector<PipeStep> steps;
};

PipeScript RandomPipeScript(uint64_t seed);

// What a process is at between two steps.
enum class Doing {
  kNothing,
  kReads,
  kHoldsReader,
  kWrites,
  kHoldsWriter,
  kReadCall,
  kWriteCall
};

struct ProcessReport {
  std::string happened;  // in the last step
  Doing doing = Doing::kNothing;
  bool operator==(const ProcessReport&) const = default;
};
using PipeReport = std::array<ProcessReport, kProcesses>;

std::string ToString(const ProcessReport& report);

// Whether the process can do the step, by what all are at.
bool MakesSense(const PipeStep& step, const PipeScript& script,
                const PipeReport& now);

// A pipe of `capacity_units`, and processes around it.
//
// A unit is as much as is always written whole. A pipe in which everything is
// in units is full when a unit does not fit: then slots and bytes count the
// same.
class PipeWorld {
 public:
  virtual ~PipeWorld() = default;

  // A new pipe, and processes that do nothing.
  virtual void Begin(const PipeScript& script) = 0;
  // A step that makes sense, the script's `index`-th; and what it brought
  // about, when nothing goes on any more.
  virtual PipeReport Do(const PipeStep& step, size_t index) = 0;
  // From now on it comes out differently who of several that are woken is
  // first, if that is luck.
  virtual void Race(Random& /*random*/) {}
};

// The machine's own FIFO, at `path`, and what we promise beyond it.
std::unique_ptr<PipeWorld> MakeKernelPipeWorld(const std::string& path);
// A server, of which the channel is one. Both must outlive it.
std::unique_ptr<PipeWorld> MakeGrpcPipeWorld(
    rpc::Server* server, const std::shared_ptr<grpc::Channel>& channel);

// --- What the two say in the same words --------------------------------------

// Of a call that has read: "read 3.0 3.1", the units by the step that wrote
// them and their places. Dies if they are no such units.
class UnitNames {
 public:
  explicit UnitNames(size_t unit_bytes) : unit_bytes_(unit_bytes) {}
  std::string ToString(std::string_view bytes) const;

 private:
  const size_t unit_bytes_;
};
std::string WroteText(size_t units, size_t of, const std::string& ended_by);
std::string EndOfFileText(bool broken);
std::string PollText(bool in, bool out, bool hup, bool err);

}  // namespace waitq::test

#endif  // WAITQ_TESTS_SERVER_PIPE_SCRIPT_H_
