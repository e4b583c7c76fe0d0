// What clients asked of named objects and what they saw: the input of the
// checkers beside this file, which prove that nothing was lost and nothing
// happened twice.
//
// It knows nothing of the server: a simulation and a run over a real network
// record the same (text.h has it as text). A recorder fills one record per
// call; when the call began, when its answer came, what was asked, what came
// back. Times are nanoseconds of one clock that all clients share. Two events
// of the same time may have come in either order.

#ifndef WAITQ_TESTS_HISTORY_HISTORY_H_
#define WAITQ_TESTS_HISTORY_HISTORY_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace waitq::history {

inline constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

enum class Outcome : uint8_t {
  kDone,
  kTimedOut,
  kWouldBlock,
  kEndOfFile,
  // A signal ended it: the server has tested it once more before.
  kInterrupted,
  // Any other failure that is known to have changed nothing: cancelled, with
  // an answer that says so; draining; refused by a limit; removed; ERANGE.
  kNoEffect,
  // No answer, or one that says "unknown": it took effect once, at any time
  // after it was invoked, or never.
  kUnknown,
};

struct Call {
  std::string object;
  int client = 0;
  int64_t invoked = 0;
  int64_t returned = kNever;  // of kUnknown it does not matter
  Outcome outcome = Outcome::kUnknown;
  // Of kUnknown: it may have been sent only after a restart that it met, and
  // have had its effect then. Otherwise it has none after that restart.
  bool outlives_restarts = false;
};

// What a wait waits for.
struct Condition {
  enum class Test : uint8_t {
    kWoken,  // "none": until a wake reaches it
    kEqual,
    kNotEqual,
    kLess,
    kLessOrEqual,
    kGreater,
    kGreaterOrEqual,
    kAllBits,
    kAnyBits,
  };

  // kWoken never holds by itself.
  bool Holds(int64_t value) const;
  bool operator==(const Condition&) const = default;

  Test test = Test::kWoken;
  int64_t operand = 0;
};

// What a call does to the word.
struct Action {
  enum class Change : uint8_t { kNone, kSet, kAdd, kAnd, kOr };

  // Nothing: it would overflow.
  std::optional<int64_t> Apply(int64_t value) const;
  bool operator==(const Action&) const = default;

  Change change = Change::kNone;
  int64_t operand = 0;
};

// A call of a wait queue.
struct WordCall : Call {
  enum class Kind : uint8_t { kWait, kWakeUp, kStore, kGet };

  Kind kind = Kind::kGet;
  Condition condition;  // of kWait
  Action action;        // `then` of kWait, `update` of kWakeUp, kSet of kStore
  bool then_wake = false;

  // The answer, if it is kDone.
  int64_t value_before = 0;  // of kWait, kStore
  int64_t value_after = 0;   // of kWait; the `value` of kWakeUp, kGet
  uint64_t woken = 0;        // of kWakeUp
  uint64_t generation = 0;   // 0: not recorded

  // Of a kWait whose success is a grant: as long as that is out, it is undone
  // at some time from undone_from on, as its `undo` says by default; and not
  // later than undone_by, if that is known (then undone_from is after its
  // return). kNever, kNever: it was not undone.
  bool undo = false;
  int64_t undone_from = kNever;
  int64_t undone_by = kNever;
  // Of a kWakeUp that gives a grant back: the generation of its wait.
  uint64_t grant = 0;

  // Of a kWait for a wake: the server may not know that the application has had
  // it, and may pass it on to another. So may that of an unknown one.
  bool may_be_passed_on = false;
};

// A call of a completion.
struct CompletionCall : Call {
  enum class Kind : uint8_t { kWait, kTryWait, kComplete, kReinit, kDone };
  static constexpr uint32_t kAll = std::numeric_limits<uint32_t>::max();

  Kind kind = Kind::kDone;
  uint32_t nr = 1;  // of kComplete; kAll: for good

  // The answer, if the outcome is kDone.
  bool yes = false;          // `taken` of kTryWait, `done` of kDone
  bool redelivered = false;  // of kWait, kTryWait
  uint64_t woken = 0;        // of kComplete
  uint32_t done = 0;         // of kComplete
  uint64_t generation = 0;   // 0: not recorded

  // Of a kWait or kTryWait that took one: the server may not know that the
  // application has it, and may give it to another. So may what an unknown one
  // took.
  bool may_be_redelivered = false;
};

// A call of a pipe.
struct PipeCall : Call {
  enum class Kind : uint8_t { kWrite, kRead, kAccept, kRelease };

  Kind kind = Kind::kRead;
  std::string data;  // of kWrite: what was asked; of kRead: what came
  uint64_t max_bytes = 65536;
  uint64_t min_bytes = 1;

  // The answer, if it is kDone.
  uint64_t accepted_bytes = 0;  // of kWrite
  uint64_t offset =
      0;  // of kRead: of the first byte; of kWrite: after the last
  uint64_t incarnation = 0;
  bool redelivered = false;

  // Of a kRead that is held: its number in this incarnation, which kAccept and
  // kRelease name. What became of it these say, and not `taken` and
  // `may_be_redelivered`.
  uint64_t hold_id = 0;
  // Of a kAccept: below this offset; 0: all of it.
  uint64_t up_to = 0;
  // Of a kAccept or kRelease that has failed: it was not held any more.
  bool stale = false;

  // Of a kRead that is kDone: the application has taken what came. Otherwise it
  // goes back to the pipe; by then, if that is known.
  bool taken = true;
  int64_t put_back_by = kNever;
  // Of a kRead that is kDone: the server may not know that it was taken, and
  // deliver it again.
  bool may_be_redelivered = false;
  // Of a kRead that is kUnknown: what it took is gone; it was no hold.
  bool lost_if_unknown = false;
};

// What the checker has to know of a pipe. One that History::pipes does not name
// has these defaults.
struct PipeOptions {
  bool packets = false;
  // Up to this size a write is whole, in one piece; a larger one may be
  // interleaved with others. Packets are always whole.
  uint64_t atomic_max_bytes = 4096;
};

// What was in a pipe when all was over: unread or held.
struct PipeLeft {
  struct Chunk {
    uint64_t offset = 0;
    std::string data;
  };
  std::string object;
  uint64_t incarnation = 0;
  std::vector<Chunk> chunks;
};

struct History {
  std::vector<WordCall> words;
  std::vector<CompletionCall> completions;
  std::vector<PipeCall> pipes;
  // When the server lost its memory.
  std::vector<int64_t> restarts;
  std::map<std::string, PipeOptions> pipe_options;
  // Of an incarnation that is listed here, nothing may be lost.
  std::vector<PipeLeft> left;
};

// For people, on one line.
std::string ToString(const WordCall& call);
std::string ToString(const CompletionCall& call);
std::string ToString(const PipeCall& call);

// Which server lives a call can have belonged to; the first is 0.
class Lives {
 public:
  explicit Lives(std::vector<int64_t> restarts);

  int First(const Call& call) const;
  // An unknown call does nothing after the first restart that it meets, unless
  // it outlives_restarts.
  int Last(const Call& call) const;
  // When a life ends; kNever if it does not.
  int64_t End(int life) const;
  const std::vector<int64_t>& restarts() const { return restarts_; }

 private:
  std::vector<int64_t> restarts_;
};

struct Violation {
  std::string object;
  std::string what;  // names the calls
};

struct Report {
  std::vector<Violation> violations;
  // Objects whose search was given up.
  std::vector<std::string> undecided;
  int64_t objects = 0;
  int64_t calls = 0;
  int64_t unknown = 0;  // calls
  int64_t steps = 0;    // of all searches

  // Proved: an undecided object is not.
  bool ok() const { return violations.empty() && undecided.empty(); }
  std::string ToString() const;
  void Add(const Report& other);
};

struct CheckOptions {
  // How many steps the search may take for one object.
  int64_t max_steps = 1'000'000;
};

}  // namespace waitq::history

#endif  // WAITQ_TESTS_HISTORY_HISTORY_H_
