#include "tests/history/word_checker.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/history/explain.h"
#include "tests/history/linearizer.h"

namespace waitq::history {
namespace {

using Kind = WordCall::Kind;

constexpr int64_t kStepsToTellWhy = 100'000;

// One wait queue, for the Linearizer. An entry without a call is a restart, or
// the undoing of a grant.
class WordModel {
 public:
  struct State {
    int64_t value = 0;
    // Of the last change: this number if `exact`, else at least this.
    uint64_t generation = 0;
    bool exact = false;
    int life = 0;
    // The walk of a WakeUp that is under way: how many more it wakes. kOpen:
    // nobody knows how many.
    int64_t walk = 0;
    size_t waker = 0;
    // The earliest return among those in the walk, which are in one moment.
    int64_t walk_returned = 0;
    // Wakes of those whom nobody has seen woken, which may be passed on.
    int64_t passed_on = 0;
    // Grants that are out, by the entries of their waits: the word before each.
    std::map<size_t, int64_t> grants;
    // Whose `then` was the last change of the word, if it is one of these.
    size_t setter = Entry::kNone;

    bool operator==(const State&) const = default;
  };
  static constexpr int64_t kOpen = -1;

  WordModel(const std::vector<const WordCall*>& calls, const Lives& lives,
            bool use_generations)
      : use_generations_(use_generations) {
    for (const WordCall* call : calls) {
      if (!Matters(*call)) continue;
      const bool unknown = call->outcome == Outcome::kUnknown;
      calls_.push_back(call);
      entries_.push_back(
          {.invoked = call->invoked,
           .returned = unknown ? kNever : call->returned,
           .optional = unknown,
           .pure = !unknown && (call->outcome != Outcome::kDone ||
                                call->kind == Kind::kGet),
           .last_life = lives.Last(*call),
           .rank = use_generations_ ? call->generation : 0});
    }
    undo_of_.resize(calls_.size(), Entry::kNone);
    for (const int64_t restart : lives.restarts()) {
      calls_.push_back(nullptr);
      undo_of_.push_back(Entry::kNone);
      entries_.push_back({.invoked = restart, .returned = restart});
    }
    AddUndoings(lives);
    LinkTwins(entries_, [&](size_t a, size_t b) {
      if (calls_[a] == nullptr || calls_[b] == nullptr) return false;
      const WordCall& x = *calls_[a];
      const WordCall& y = *calls_[b];
      return x.kind == y.kind && x.condition == y.condition &&
             x.action == y.action && x.then_wake == y.then_wake && !x.undo &&
             !y.undo && x.grant == y.grant;
    });
  }

  const std::vector<Entry>& entries() const { return entries_; }

  std::string Name(size_t entry) const {
    if (calls_[entry] != nullptr) return ToString(*calls_[entry]);
    if (undo_of_[entry] != Entry::kNone) {
      return absl::StrCat("undone: ", ToString(*calls_[undo_of_[entry]]));
    }
    return absl::StrCat("[", entries_[entry].invoked, "] restart");
  }

  bool Apply(size_t entry, State& state) const {
    const WordCall* const call = calls_[entry];
    if (call == nullptr) {
      return undo_of_[entry] == Entry::kNone ? Restart(state)
                                             : Undo(entry, state);
    }
    // Nothing but waits comes into a walk.
    if (call->kind == Kind::kWait && (call->outcome == Outcome::kDone ||
                                      call->outcome == Outcome::kUnknown)) {
      return Wait(entry, *call, state);
    }
    if (state.walk > 0) return false;
    EndWalk(state);
    switch (call->kind) {
      case Kind::kWait:
        return !call->condition.Holds(state.value);
      case Kind::kWakeUp:
        return WakeUp(entry, *call, state);
      case Kind::kStore:
        if (Known(*call) && call->value_before != state.value) return false;
        state.value = call->action.operand;
        state.setter = Entry::kNone;
        return Changed(*call, state);
      case Kind::kGet:
        return call->value_after == state.value && Looked(*call, state);
    }
    return false;
  }

  bool Hopeless(size_t entry, const State& state) const {
    const WordCall* const call = calls_[entry];
    if (!use_generations_ || call == nullptr || call->generation == 0 ||
        call->outcome != Outcome::kDone ||
        entries_[entry].last_life > state.life) {
      return false;
    }
    return Changes(*call) ? call->generation <= state.generation
                          : call->generation < state.generation;
  }

  bool Complete(const State& state) const { return state.walk <= 0; }
  int Life(const State& state) const { return state.life; }

  void AppendKey(const State& state, std::string& key) const {
    const uint64_t words[] = {static_cast<uint64_t>(state.value),
                              state.generation,
                              static_cast<uint64_t>(state.exact ? 1 : 0),
                              static_cast<uint64_t>(state.life),
                              static_cast<uint64_t>(state.walk),
                              state.waker,
                              static_cast<uint64_t>(state.walk_returned),
                              static_cast<uint64_t>(state.passed_on),
                              state.setter};
    key.append(reinterpret_cast<const char*>(words), sizeof(words));
    for (const auto& [wait, before] : state.grants) {
      key.append(reinterpret_cast<const char*>(&wait), sizeof(wait));
      key.append(reinterpret_cast<const char*>(&before), sizeof(before));
    }
  }

 private:
  static bool Known(const WordCall& call) {
    return call.outcome == Outcome::kDone;
  }

  static bool Changes(const WordCall& call) {
    return call.kind == Kind::kWakeUp || call.kind == Kind::kStore ||
           (call.kind == Kind::kWait &&
            call.action.change != Action::Change::kNone);
  }

  // Whether it says anything about the word.
  static bool Matters(const WordCall& call) {
    switch (call.outcome) {
      case Outcome::kDone:
        return true;
      case Outcome::kTimedOut:
      case Outcome::kWouldBlock:
      case Outcome::kInterrupted:
        return call.kind == Kind::kWait &&
               call.condition.test != Condition::Test::kWoken;
      case Outcome::kUnknown:
        return call.kind != Kind::kGet;
      case Outcome::kEndOfFile:
      case Outcome::kNoEffect:
        return false;
    }
    return false;
  }

  // Everything is forgotten; but generations rise on.
  static bool Restart(State& state) {
    if (state.walk > 0) return false;
    State next;
    next.generation = state.generation;
    next.life = state.life + 1;
    state = std::move(next);
    return true;
  }

  // Each grant is undone once, if it is out.
  void AddUndoings(const Lives& lives) {
    const size_t calls = calls_.size();
    for (size_t wait = 0; wait < calls; ++wait) {
      const WordCall* const call = calls_[wait];
      if (call == nullptr || !call->undo) continue;
      if (Known(*call) && call->generation != 0) {
        wait_of_grant_[call->generation] = wait;
      }
      if (call->undone_from == kNever && call->undone_by == kNever) continue;
      calls_.push_back(nullptr);
      undo_of_.push_back(wait);
      entries_.push_back(
          {.invoked = call->undone_from == kNever
                          ? call->invoked
                          : std::max(call->invoked, call->undone_from),
           .returned = call->undone_by,
           .optional = call->undone_by == kNever,
           .last_life = lives.Last(*call)});
    }
  }

  // What the word is when that grant is undone.
  std::optional<int64_t> Undone(size_t wait, int64_t before,
                                const State& state) const {
    const Action& then = calls_[wait]->action;
    if (then.change == Action::Change::kSet) {
      if (state.setter != wait) return std::nullopt;
      return before;
    }
    return Action{Action::Change::kAdd, -then.operand}.Apply(state.value);
  }

  bool Undo(size_t entry, State& state) const {
    if (state.walk > 0) return false;
    const size_t wait = undo_of_[entry];
    const auto grant = state.grants.find(wait);
    // It was given back, or forgotten with its server, before.
    if (grant == state.grants.end()) return !entries_[entry].optional;
    EndWalk(state);
    const std::optional<int64_t> value = Undone(wait, grant->second, state);
    state.grants.erase(grant);
    if (!value.has_value()) return true;
    state.value = *value;
    state.setter = Entry::kNone;
    if (use_generations_) ++state.generation;
    state.exact = false;
    // A wake follows, which tells nobody how many it wakes.
    state.walk = kOpen;
    state.waker = entry;
    state.walk_returned = entries_[entry].returned;
    return true;
  }

  // Takes back the grant that the call names; false: it is not out.
  bool GiveBack(const WordCall& call, State& state) const {
    const auto wait = wait_of_grant_.find(call.grant);
    if (wait == wait_of_grant_.end()) return false;
    const auto grant = state.grants.find(wait->second);
    if (grant == state.grants.end()) return false;
    if (call.action.change == Action::Change::kNone) {
      const auto value = Undone(wait->second, grant->second, state);
      if (value.has_value()) {
        state.value = *value;
        state.setter = Entry::kNone;
      }
    }
    state.grants.erase(grant);
    return true;
  }

  static void EndWalk(State& state) {
    state.walk = 0;
    state.waker = 0;
    state.walk_returned = 0;
  }

  // The word was changed, and the call tells by which number.
  bool Changed(const WordCall& call, State& state) const {
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

  // The word was looked at, and the call tells the last change's number. A
  // word that is 0 may have been forgotten and made again in between.
  bool Looked(const WordCall& call, State& state) const {
    if (!use_generations_ || !Known(call) || call.generation == 0) return true;
    if (call.generation < state.generation) return false;
    if (call.generation > state.generation && state.exact &&
        (state.value != 0 || state.walk > 0)) {
      return false;
    }
    state.generation = call.generation;
    state.exact = true;
    return true;
  }

  bool WakeUp(size_t entry, const WordCall& call, State& state) const {
    if (call.grant != 0 && !GiveBack(call, state)) return false;
    if (call.action.change != Action::Change::kNone) {
      state.setter = Entry::kNone;
    }
    const std::optional<int64_t> value = call.action.Apply(state.value);
    if (!value.has_value()) return false;
    state.value = *value;
    if (Known(call) && call.woken == 0) {
      return call.value_after == state.value && Changed(call, state);
    }
    state.walk = Known(call) ? static_cast<int64_t>(call.woken) : kOpen;
    state.waker = entry;
    state.walk_returned = entries_[entry].returned;
    // The update has a number of its own, which the answer does not tell.
    if (use_generations_) ++state.generation;
    state.exact = false;
    return true;
  }

  bool Wait(size_t entry, const WordCall& call, State& state) const {
    const bool for_a_wake = call.condition.test == Condition::Test::kWoken;
    const bool passed = for_a_wake && state.walk == 0;
    if (passed ? state.passed_on == 0
               : !for_a_wake && !call.condition.Holds(state.value)) {
      return false;
    }
    const std::optional<int64_t> value = call.action.Apply(state.value);
    if (!value.has_value()) return false;
    if (Known(call) &&
        (call.value_before != state.value || call.value_after != *value)) {
      return false;
    }
    // Whom nobody has seen doing nothing can only be one of those woken.
    if (!Known(call) && !Changes(call) && !call.then_wake && state.walk <= 0) {
      return false;
    }
    // In a walk is who sleeps when the waker calls. An open walk does not say
    // who is in it, but a wait for a wake must be.
    if (state.walk > 0 || (state.walk == kOpen && for_a_wake)) {
      if (call.invoked > state.walk_returned) return false;
      state.walk_returned =
          std::min(state.walk_returned, entries_[entry].returned);
    }
    if (passed) --state.passed_on;
    if ((!Known(call) || call.may_be_passed_on) && !Changes(call)) {
      ++state.passed_on;
    }
    if (call.undo) state.grants.emplace(entry, state.value);
    if (Changes(call)) {
      state.setter = call.undo && call.action.change == Action::Change::kSet
                         ? entry
                         : Entry::kNone;
    }
    state.value = *value;
    if (!(Changes(call) ? Changed(call, state) : Looked(call, state))) {
      return false;
    }
    if (state.walk > 0) return --state.walk > 0 || EndOfWakeUp(state);
    if (call.then_wake) {
      state.walk = kOpen;
      state.waker = entry;
      state.walk_returned = entries_[entry].returned;
    }
    return true;
  }

  bool EndOfWakeUp(State& state) const {
    const WordCall& call = *calls_[state.waker];
    EndWalk(state);
    if (call.value_after != state.value) return false;
    if (!use_generations_ || call.generation == 0) return true;
    if (call.generation < state.generation) return false;
    if (call.generation > state.generation && state.exact) return false;
    state.generation = call.generation;
    state.exact = true;
    return true;
  }

  const bool use_generations_;
  std::vector<const WordCall*> calls_;
  std::vector<Entry> entries_;
  // By entry: of an undoing, that of the wait; else kNone.
  std::vector<size_t> undo_of_;
  std::map<uint64_t, size_t> wait_of_grant_;
};

// What is wrong with the call whatever the others did.
std::string Nonsense(const WordCall& call) {
  if (call.outcome != Outcome::kDone || call.kind != Kind::kWait) return "";
  if (call.condition.test != Condition::Test::kWoken &&
      !call.condition.Holds(call.value_before)) {
    return "is DONE although its condition does not hold";
  }
  if (call.action.Apply(call.value_before) != call.value_after) {
    return "has not done its `then`";
  }
  return "";
}

void CheckWord(const std::string& object,
               const std::vector<const WordCall*>& calls, const Lives& lives,
               const CheckOptions& options, Report& report) {
  for (const WordCall* call : calls) {
    const std::string nonsense = Nonsense(*call);
    if (nonsense.empty()) continue;
    report.violations.push_back(
        {object, absl::StrCat(nonsense, ": ", ToString(*call))});
    return;
  }
  const WordModel model(calls, lives, /*use_generations=*/true);
  const Linearization found =
      Linearizer(model, model.entries()).Run(options.max_steps);
  report.steps += found.steps;
  if (found.verdict == Verdict::kLinearizable) return;
  if (found.verdict == Verdict::kUndecided) {
    report.undecided.push_back(object);
    return;
  }
  // Tell whether it is the values, or only the generations.
  const WordModel plain(calls, lives, /*use_generations=*/false);
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

Report CheckWords(const History& history, const CheckOptions& options) {
  Report report;
  const Lives lives(history.restarts);
  std::map<std::string, std::vector<const WordCall*>> objects;
  for (const WordCall& call : history.words) {
    objects[call.object].push_back(&call);
    ++report.calls;
    if (call.outcome == Outcome::kUnknown) ++report.unknown;
  }
  report.objects = static_cast<int64_t>(objects.size());
  for (const auto& [object, calls] : objects) {
    CheckWord(object, calls, lives, options, report);
  }
  return report;
}

}  // namespace waitq::history
