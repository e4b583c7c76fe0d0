// Operations as a test sees them: what was asked for, and what became of it.

#ifndef WAITQ_TESTS_ENGINE_CALLS_H_
#define WAITQ_TESTS_ENGINE_CALLS_H_

#include <atomic>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/engine/any_of.h"
#include "server/engine/caller_info.h"
#include "server/engine/engine.h"
#include "server/engine/object.h"
#include "server/engine/operation.h"
#include "server/engine/word.h"

namespace waitq::engine {

// For messages of failures.
inline const char* NameOf(Ending ending) {
  switch (ending) {
    case Ending::kAsleep:
      return "asleep";
    case Ending::kDone:
      return "done";
    case Ending::kTimedOut:
      return "timed out";
    case Ending::kWouldBlock:
      return "would block";
    case Ending::kEndOfFile:
      return "end of file";
    case Ending::kCallerGone:
      return "caller gone";
    case Ending::kInterrupted:
      return "interrupted";
    case Ending::kRemoved:
      return "removed";
    case Ending::kDraining:
      return "draining";
    case Ending::kNoReaders:
      return "no readers";
    case Ending::kOverflow:
      return "overflow";
    case Ending::kTooLong:
      return "too long";
    case Ending::kLimit:
      return "limit";
  }
  return "?";
}

inline void PrintTo(Ending ending, std::ostream* out) {
  *out << NameOf(ending);
}

inline void PrintTo(Started started, std::ostream* out) {
  *out << (started == Started::kEnded    ? "ended"
           : started == Started::kAsleep ? "asleep"
                                         : "gone");
}

// What can be asked of a word.
inline Condition Equal(int64_t x) { return {Condition::Test::kEqual, x}; }
inline Condition NotEqual(int64_t x) { return {Condition::Test::kNotEqual, x}; }
inline Condition Less(int64_t x) { return {Condition::Test::kLess, x}; }
inline Condition LessOrEqual(int64_t x) {
  return {Condition::Test::kLessOrEqual, x};
}
inline Condition Greater(int64_t x) { return {Condition::Test::kGreater, x}; }
inline Condition GreaterOrEqual(int64_t x) {
  return {Condition::Test::kGreaterOrEqual, x};
}
inline Condition AllBits(int64_t x) { return {Condition::Test::kAllBits, x}; }
inline Condition AnyBits(int64_t x) { return {Condition::Test::kAnyBits, x}; }
inline Condition ChangedSince(uint64_t generation) {
  return {Condition::Test::kChangedSince, static_cast<int64_t>(generation)};
}
inline Condition Woken() { return {Condition::Test::kWoken, 0}; }

// And done to it.
inline Action Set(int64_t x) { return {Action::Change::kSet, x}; }
inline Action Add(int64_t x) { return {Action::Change::kAdd, x}; }
inline Action And(int64_t x) { return {Action::Change::kAnd, x}; }
inline Action Or(int64_t x) { return {Action::Change::kOr, x}; }

struct WaitArgs {
  Condition condition = {};
  Action then = {};
  // If absent: only with a `then`.
  std::optional<bool> exclusive = std::nullopt;
  bool then_wake = false;
  uint64_t key = 0;
  uint64_t seen_generation = 0;
  SleepOptions sleep = {};

  bool IsExclusive() const {
    return exclusive.value_or(then.change != Action::Change::kNone);
  }
};

// Ways to sleep.
inline SleepOptions For(absl::Duration timeout) {
  SleepOptions options;
  options.timeout = timeout;
  return options;
}
inline SleepOptions Nonblock() {
  SleepOptions options;
  options.nonblock = true;
  return options;
}
inline SleepOptions In(TaskState state) {
  SleepOptions options;
  options.state = state;
  return options;
}

// What a test holds of an operation: its caller, and a reference.
//
// Thread safety: the home's thread tells it; any thread may ask.
class Call : public Caller {
 public:
  virtual ~Call() = default;

  void OnEnded(Operation&) override { told_.fetch_add(1); }

  // How often it was told the result of a sleep.
  int told() const { return told_.load(); }
  bool ended() const { return started == Started::kEnded || told() > 0; }

  virtual Operation& operation() = 0;

  // As Start() has returned it. kGone until then.
  Started started = Started::kGone;
  // Nobody waits for the answer.
  bool detached = false;

 private:
  std::atomic<int> told_ = 0;
};

template <class Op>
class CallOf : public Call {
 public:
  Operation& operation() override { return *op; }
  Op* operator->() const { return op.get(); }

  Ref<Op> op;
};
using WaitCall = CallOf<WaitOperation>;
using DoneCall = CallOf<CompletionOperation>;
using ReadCall = CallOf<ReadOperation>;
using WriteCall = CallOf<WriteOperation>;
using PollCall = CallOf<PollOperation>;

// Of a call that waits for any of several: its alternatives, and the one that
// has ended.
class AnyCall : public Call {
 public:
  void OnEnded(Operation& operation) override {
    ended_one = Ref<Operation>(&operation);
    Call::OnEnded(operation);
  }
  Operation& operation() override { return ended_one ? *ended_one : *legs[0]; }
  int alternative() { return operation().alternative(); }
  template <class Op>
  Op& As() {
    return static_cast<Op&>(operation());
  }

  std::vector<Ref<Operation>> legs;
  Ref<Operation> ended_one;
};

// Makes the operation of a call.
inline std::shared_ptr<CallerInfo> TestCaller() {
  static const auto info =
      std::make_shared<CallerInfo>("peer:1", "tester", Limits());
  return info;
}
inline Ref<WaitOperation> MakeWait(const WaitArgs& args, Home* home,
                                   Caller* caller) {
  const WaitSpec spec{.condition = args.condition,
                      .then = args.then,
                      .then_wake = args.then_wake,
                      .exclusive = args.IsExclusive(),
                      .key = args.key,
                      .seen_generation = args.seen_generation};
  return MakeRef<WaitOperation>(spec, home, caller, TestCaller());
}
inline Ref<CompletionOperation> MakeDoneWait(Home* home, Caller* caller) {
  return MakeRef<CompletionOperation>(home, caller, TestCaller());
}
inline Ref<ReadOperation> MakeRead(ReadSize size, PipeReader* reader,
                                   Home* home, Caller* caller) {
  return MakeRef<ReadOperation>(size, reader, home, caller, TestCaller());
}
inline Ref<WriteOperation> MakeWrite(absl::string_view data, PipeWriter* writer,
                                     Home* home, Caller* caller) {
  return MakeRef<WriteOperation>(absl::Cord(data), writer, home, caller,
                                 TestCaller());
}

// What one alternative waits for.
struct OnWord {
  std::string name;
  WaitArgs args;
};
struct OnDone {
  std::string name;
};
struct OnRead {
  std::string name;
  ReadSize size = 1;
};
using Term = std::variant<OnWord, OnDone, OnRead>;

inline AnyOf::Alternative MakeAlternative(Engine& engine, const Term& term,
                                          Home* home, Caller* caller) {
  if (const auto* word = std::get_if<OnWord>(&term)) {
    auto op = MakeWait(word->args, home, caller);
    return {op, [&engine, name = word->name, op](const SleepOptions& sleep) {
              return engine.Wait(name, op, sleep);
            }};
  }
  if (const auto* done = std::get_if<OnDone>(&term)) {
    auto op = MakeDoneWait(home, caller);
    return {op, [&engine, name = done->name, op](const SleepOptions& sleep) {
              return engine.Wait(name, op, sleep);
            }};
  }
  const auto& read = std::get<OnRead>(term);
  auto op = MakeRead(read.size, nullptr, home, caller);
  return {op, [&engine, name = read.name, op](const SleepOptions& sleep) {
            return engine.Read(name, op, sleep);
          }};
}

// Starts it.
inline absl::Status StartAny(Engine& engine, const std::vector<Term>& terms,
                             const SleepOptions& sleep, Home* home,
                             AnyCall& call) {
  std::vector<AnyOf::Alternative> alternatives;
  for (const Term& term : terms) {
    alternatives.push_back(MakeAlternative(engine, term, home, &call));
    call.legs.push_back(alternatives.back().operation);
  }
  const auto any_of = MakeRef<AnyOf>();
  const auto started = engine.WaitAny(*any_of, std::move(alternatives), sleep);
  if (!started.ok()) return started.status();
  call.started = *started;
  if (call.started == Started::kEnded) call.ended_one = any_of->TakeEnded();
  return absl::OkStatus();
}

}  // namespace waitq::engine

#endif  // WAITQ_TESTS_ENGINE_CALLS_H_
