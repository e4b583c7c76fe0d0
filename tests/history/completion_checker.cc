#include "tests/history/completion_checker.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/history/explain.h"
#include "tests/history/linearizer.h"

namespace waitq::history {
namespace {

using Kind = CompletionCall::Kind;
constexpr uint32_t kAll = CompletionCall::kAll;
constexpr int64_t kStepsToTellWhy = 100'000;

bool Takes(const CompletionCall& call) {
  return call.kind == Kind::kWait || call.kind == Kind::kTryWait;
}

// Whether the server may give again what it took.
bool Uncertain(const CompletionCall& call) {
  return Takes(call) &&
         (call.outcome == Outcome::kUnknown ||
          (call.outcome == Outcome::kDone && call.may_be_redelivered));
}

// One completion, for the Linearizer. An entry without a call is a restart, or
// the return of something that an uncertain taker had.
class CompletionModel {
 public:
  struct State {
    uint32_t count = 0;
    // Of those that an uncertain taker took: may come back; have come back and
    // were not given again with the mark.
    uint32_t away = 0;
    uint32_t marks = 0;
    // Of the last change, or less.
    uint64_t generation = 0;
    bool exact = false;
    int life = 0;
    // As in the model of the word.
    uint64_t walk = 0;
    size_t waker = 0;
    int64_t walk_returned = 0;

    bool operator==(const State&) const = default;
  };

  CompletionModel(const std::vector<const CompletionCall*>& calls,
                  const Lives& lives, bool use_generations)
      : use_generations_(use_generations) {
    std::vector<int64_t> takes;
    for (const CompletionCall* call : calls) {
      if (!Matters(*call)) continue;
      const bool unknown = call->outcome == Outcome::kUnknown;
      if (Uncertain(*call)) takes.push_back(call->invoked);
      calls_.push_back(call);
      entries_.push_back(
          {.invoked = call->invoked,
           .returned = unknown ? kNever : call->returned,
           .optional = unknown,
           .pure =
               !unknown && (call->outcome != Outcome::kDone || !Changes(*call)),
           .last_life = lives.Last(*call),
           .rank = use_generations_ ? call->generation : 0});
    }
    for (const int64_t invoked : takes) {
      calls_.push_back(nullptr);
      entries_.push_back(
          {.invoked = invoked,
           .optional = true,
           .last_life = static_cast<int>(lives.restarts().size())});
    }
    first_restart_ = entries_.size();
    for (const int64_t restart : lives.restarts()) {
      calls_.push_back(nullptr);
      entries_.push_back({.invoked = restart, .returned = restart});
    }
    LinkTwins(entries_, [&](size_t a, size_t b) {
      if (calls_[a] == nullptr || calls_[b] == nullptr) {
        return calls_[a] == calls_[b];
      }
      return calls_[a]->kind == calls_[b]->kind &&
             calls_[a]->nr == calls_[b]->nr;
    });
  }

  const std::vector<Entry>& entries() const { return entries_; }

  std::string Name(size_t entry) const {
    if (calls_[entry] != nullptr) return ToString(*calls_[entry]);
    if (entry < first_restart_) return "what an uncertain taker had comes back";
    return absl::StrCat("[", entries_[entry].invoked, "] restart");
  }

  bool Apply(size_t entry, State& state) const {
    const CompletionCall* const call = calls_[entry];
    if (call != nullptr && call->kind == Kind::kWait &&
        (call->outcome == Outcome::kDone ||
         call->outcome == Outcome::kUnknown)) {
      return Wait(entry, *call, state);
    }
    if (state.walk > 0) return false;
    if (call == nullptr) {
      return entry < first_restart_ ? Back(state) : Restart(state);
    }
    switch (call->kind) {
      case Kind::kWait:
        return state.count == 0;
      case Kind::kTryWait:
        if (Known(*call) && !call->yes) return state.count == 0;
        return Take(*call, state);
      case Kind::kComplete:
        return CompleteSome(entry, *call, state);
      case Kind::kReinit:
        state.count = 0;
        return Changed(*call, state);
      case Kind::kDone:
        return call->yes == (state.count > 0);
    }
    return false;
  }

  bool Hopeless(size_t entry, const State& state) const {
    const CompletionCall* const call = calls_[entry];
    return use_generations_ && call != nullptr && call->generation != 0 &&
           call->outcome == Outcome::kDone && Changes(*call) &&
           entries_[entry].last_life <= state.life &&
           call->generation <= state.generation;
  }

  bool Complete(const State& state) const { return state.walk == 0; }
  int Life(const State& state) const { return state.life; }

  void AppendKey(const State& state, std::string& key) const {
    const uint64_t words[] = {uint64_t{state.count} << 32 | state.away,
                              uint64_t{state.marks},
                              state.generation,
                              static_cast<uint64_t>(state.exact ? 1 : 0),
                              static_cast<uint64_t>(state.life),
                              state.walk,
                              state.waker,
                              static_cast<uint64_t>(state.walk_returned)};
    key.append(reinterpret_cast<const char*>(words), sizeof(words));
  }

 private:
  static bool Known(const CompletionCall& call) {
    return call.outcome == Outcome::kDone;
  }

  static bool Changes(const CompletionCall& call) {
    return call.kind == Kind::kTryWait ? call.yes : call.kind != Kind::kDone;
  }

  // Whether it says anything about the count.
  static bool Matters(const CompletionCall& call) {
    switch (call.outcome) {
      case Outcome::kDone:
        return true;
      case Outcome::kTimedOut:
      case Outcome::kWouldBlock:
      case Outcome::kInterrupted:
        return call.kind == Kind::kWait;
      case Outcome::kUnknown:
        return call.kind != Kind::kDone;
      case Outcome::kEndOfFile:
      case Outcome::kNoEffect:
        return false;
    }
    return false;
  }

  static bool Restart(State& state) {
    state = State{.generation = state.generation, .life = state.life + 1};
    return true;
  }

  static bool Back(State& state) {
    if (state.away == 0) return false;
    --state.away;
    ++state.marks;
    if (state.count != kAll) ++state.count;
    state.exact = false;
    return true;
  }

  bool Changed(const CompletionCall& call, State& state) const {
    if (!use_generations_) return true;
    if (!Known(call) || call.generation == 0) {
      ++state.generation;
      state.exact = false;
      return true;
    }
    if (call.generation <= state.generation) return false;
    state.generation = call.generation;
    state.exact = true;
    return true;
  }

  bool Take(const CompletionCall& call, State& state) const {
    if (state.count == 0) return false;
    if (Known(call) && call.redelivered) {
      if (state.marks == 0) return false;
      --state.marks;
    }
    if (state.count != kAll) {
      --state.count;
      if (Uncertain(call)) ++state.away;
    } else if (Uncertain(call)) {
      // Nothing was taken away that could come back; but it may be marked.
      ++state.marks;
    }
    return Changed(call, state);
  }

  bool CompleteSome(size_t entry, const CompletionCall& call,
                    State& state) const {
    state.count = call.nr > kAll - state.count ? kAll : state.count + call.nr;
    if (Known(call) && call.woken > 0) {
      state.walk = call.woken;
      state.waker = entry;
      state.walk_returned = entries_[entry].returned;
      // Its own number is not told: the answer has that of the last who took.
      if (use_generations_) ++state.generation;
      state.exact = false;
      return true;
    }
    if (Known(call) && call.done != state.count) return false;
    return Changed(call, state);
  }

  bool Wait(size_t entry, const CompletionCall& call, State& state) const {
    if (state.walk > 0) {
      if (call.invoked > state.walk_returned) return false;
      state.walk_returned =
          std::min(state.walk_returned, entries_[entry].returned);
    }
    if (!Take(call, state)) return false;
    if (state.walk == 0) return true;
    return --state.walk > 0 || EndOfComplete(state);
  }

  bool EndOfComplete(State& state) const {
    const CompletionCall& call = *calls_[state.waker];
    state.waker = 0;
    state.walk_returned = 0;
    if (call.done != state.count) return false;
    if (!use_generations_ || call.generation == 0) return true;
    if (call.generation < state.generation) return false;
    if (call.generation > state.generation && state.exact) return false;
    state.generation = call.generation;
    state.exact = true;
    return true;
  }

  const bool use_generations_;
  std::vector<const CompletionCall*> calls_;
  std::vector<Entry> entries_;
  size_t first_restart_ = 0;
};

void CheckCompletion(const std::string& object,
                     const std::vector<const CompletionCall*>& calls,
                     const Lives& lives, const CheckOptions& options,
                     Report& report) {
  const CompletionModel model(calls, lives, /*use_generations=*/true);
  const Linearization found =
      Linearizer(model, model.entries()).Run(options.max_steps);
  report.steps += found.steps;
  if (found.verdict == Verdict::kLinearizable) return;
  if (found.verdict == Verdict::kUndecided) {
    report.undecided.push_back(object);
    return;
  }
  // Tell whether it is the counts, or only the generations.
  const CompletionModel plain(calls, lives, /*use_generations=*/false);
  const Linearization again =
      Linearizer(plain, plain.entries())
          .Run(std::min(options.max_steps, kStepsToTellWhy));
  report.steps += again.steps;
  report.violations.push_back(
      {object,
       absl::StrCat(again.verdict == Verdict::kLinearizable
                        ? "their generations contradict the answers: "
                        : "",
                    Explain(found, model.entries().size(),
                            [&](size_t entry) { return model.Name(entry); }))});
}

}  // namespace

Report CheckCompletions(const History& history, const CheckOptions& options) {
  Report report;
  const Lives lives(history.restarts);
  std::map<std::string, std::vector<const CompletionCall*>> objects;
  for (const CompletionCall& call : history.completions) {
    objects[call.object].push_back(&call);
    ++report.calls;
    if (call.outcome == Outcome::kUnknown) ++report.unknown;
  }
  report.objects = static_cast<int64_t>(objects.size());
  for (const auto& [object, calls] : objects) {
    CheckCompletion(object, calls, lives, options, report);
  }
  return report;
}

}  // namespace waitq::history
