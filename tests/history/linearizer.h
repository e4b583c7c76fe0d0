// Wing and Gong's search for a sequential order that explains a concurrent
// history, with Lowe's memory of what was tried: a set of calls that are placed
// and the state that they left is tried once.
//
// W. Wing, C. Gong: Testing and Verifying Concurrent Objects (1993).
// G. Lowe: Testing for Linearizability (2017).

#ifndef WAITQ_TESTS_HISTORY_LINEARIZER_H_
#define WAITQ_TESTS_HISTORY_LINEARIZER_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "tests/history/history.h"

namespace waitq::history {

// One step that the search has to place.
struct Entry {
  static constexpr size_t kNone = ~size_t{0};

  int64_t invoked = 0;
  int64_t returned = kNever;
  // May stay out: of an unknown call.
  bool optional = false;
  // It only looks, wherever it stands: as soon as what it saw is there it can
  // be placed for good, because no other step needs it to be placed later.
  bool pure = false;
  // An optional one has no effect after this life of the server.
  int last_life = 0;
  // Which to try first: the lowest.
  uint64_t rank = 0;
  // Of an optional one: the entry that is placed before it, because one is as
  // good as the other. See LinkTwins().
  size_t twin = kNone;
};

// Optional entries that do the same are placed in the order in which they were
// invoked: any other order has one like that, and it is enough to try one.
// `same(a, b)`: two of these indexes do the same.
template <typename Same>
void LinkTwins(std::vector<Entry>& entries, const Same& same) {
  std::vector<size_t> optional;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (entries[i].optional) optional.push_back(i);
  }
  std::stable_sort(optional.begin(), optional.end(), [&](size_t a, size_t b) {
    return entries[a].invoked < entries[b].invoked;
  });
  for (size_t i = 0; i < optional.size(); ++i) {
    Entry& entry = entries[optional[i]];
    for (size_t j = i; j-- > 0;) {
      if (entries[optional[j]].last_life != entry.last_life ||
          !same(optional[j], optional[i])) {
        continue;
      }
      entry.twin = optional[j];
      break;
    }
  }
}

enum class Verdict : uint8_t { kLinearizable, kNot, kUndecided };

// How far the search came.
struct Linearization {
  Verdict verdict = Verdict::kUndecided;
  int64_t steps = 0;
  // The longest order found, as indexes of entries, and what could have come
  // next but fits no way.
  std::vector<size_t> order;
  std::vector<size_t> stuck;
};

// `Model` has:
//
//   struct State            the object; the first one is State()
//   bool Apply(size_t entry, State& state) const
//                           places the entry, or returns false
//   bool Hopeless(size_t entry, const State& state) const
//                           the entry can never follow this state; may always
//                           be false
//   bool Complete(const State& state) const
//                           the order may end here
//   int Life(const State& state) const
//   void AppendKey(const State& state, std::string& key) const
//                           other states, other keys
template <typename Model>
class Linearizer {
 public:
  using State = typename Model::State;

  // `entries` need no order. Both must outlive this.
  Linearizer(const Model& model, const std::vector<Entry>& entries)
      : model_(model), entries_(entries), placed_(entries.size()) {
    for (size_t i = 0; i < entries.size(); ++i) {
      (entries[i].optional ? optional_ : required_).push_back(i);
    }
    const auto earlier = [&](size_t a, size_t b) {
      return entries_[a].invoked < entries_[b].invoked;
    };
    std::stable_sort(required_.begin(), required_.end(), earlier);
    std::stable_sort(optional_.begin(), optional_.end(), earlier);
  }

  Linearization Run(int64_t max_steps) {
    Push(State(), kNone);
    while (!stack_.empty()) {
      if (found_) {
        result_.verdict = Verdict::kLinearizable;
        return std::move(result_);
      }
      Frame& top = stack_.back();
      if (top.next == top.candidates.size()) {
        Pop();
        continue;
      }
      const size_t entry = top.candidates[top.next++];
      State state = top.state;
      if (!model_.Apply(entry, state)) continue;
      if (++result_.steps > max_steps) return std::move(result_);
      Push(state, entry);
    }
    result_.verdict = Verdict::kNot;
    return std::move(result_);
  }

 private:
  static constexpr size_t kNone = Entry::kNone;

  struct Frame {
    State state;
    size_t entry;  // that led here
    size_t first;  // of required_: all before it are placed
    std::vector<size_t> candidates;
    size_t next = 0;
  };

  void Push(const State& state, size_t entry) {
    size_t first = stack_.empty() ? 0 : stack_.back().first;
    if (entry != kNone) placed_[entry] = true;
    while (first < required_.size() && placed_[required_[first]]) ++first;
    stack_.push_back({state, entry, first, {}, 0});
    Frame& frame = stack_.back();
    if (first == required_.size() && model_.Complete(state)) {
      found_ = true;
      return;
    }
    if (!tried_.insert(Key(frame)).second) return;
    FindCandidates(frame);
  }

  void Pop() {
    if (stack_.size() > deepest_) NoteProgress();
    if (stack_.back().entry != kNone) placed_[stack_.back().entry] = false;
    stack_.pop_back();
  }

  // What has begun before anything else that is not placed has ended.
  void FindCandidates(Frame& frame) {
    int64_t earliest_return = kNever;
    for (size_t i = frame.first; i < required_.size(); ++i) {
      const size_t index = required_[i];
      const Entry& entry = entries_[index];
      if (entry.invoked > earliest_return) break;
      if (placed_[index]) continue;
      if (model_.Hopeless(index, frame.state)) {
        frame.candidates.clear();
        return;
      }
      earliest_return = std::min(earliest_return, entry.returned);
      frame.candidates.push_back(index);
    }
    // The last ones may have come in before a return that forbids them.
    std::erase_if(frame.candidates, [&](size_t i) {
      return entries_[i].invoked > earliest_return;
    });
    for (const size_t index : frame.candidates) {
      State state = frame.state;
      if (!entries_[index].pure || !model_.Apply(index, state)) continue;
      if (!(state == frame.state)) continue;
      frame.candidates = {index};
      return;
    }
    std::sort(frame.candidates.begin(), frame.candidates.end(),
              [&](size_t a, size_t b) {
                return std::tie(entries_[a].rank, entries_[a].returned) <
                       std::tie(entries_[b].rank, entries_[b].returned);
              });
    for (const size_t index : optional_) {
      const Entry& entry = entries_[index];
      if (entry.invoked > earliest_return) break;
      if (placed_[index]) continue;
      if (entry.twin != kNone && !placed_[entry.twin]) continue;
      if (model_.Life(frame.state) > entry.last_life) continue;
      frame.candidates.push_back(index);
    }
  }

  std::string Key(const Frame& frame) const {
    std::string key;
    model_.AppendKey(frame.state, key);
    uint8_t bits = 0;
    int count = 0;
    const auto append = [&](bool bit) {
      bits = static_cast<uint8_t>(bits << 1 | (bit ? 1 : 0));
      if (++count % 8 == 0) key.push_back(static_cast<char>(bits));
    };
    const int life = model_.Life(frame.state);
    for (const size_t index : optional_) {
      // What can no longer have an effect is as good as placed.
      append(placed_[index] || entries_[index].last_life < life);
    }
    size_t last = required_.size();
    while (last > frame.first && !placed_[required_[last - 1]]) --last;
    for (size_t i = frame.first; i < last; ++i) append(placed_[required_[i]]);
    while (count % 8 != 0) append(false);
    key.append(reinterpret_cast<const char*>(&frame.first), sizeof(size_t));
    return key;
  }

  void NoteProgress() {
    deepest_ = stack_.size();
    result_.order.clear();
    for (const Frame& one : stack_) {
      if (one.entry != kNone) result_.order.push_back(one.entry);
    }
    result_.stuck.clear();
    for (size_t i = stack_.back().first; i < required_.size(); ++i) {
      if (!placed_[required_[i]]) result_.stuck.push_back(required_[i]);
      if (result_.stuck.size() == 12) break;
    }
  }

  const Model& model_;
  const std::vector<Entry>& entries_;
  std::vector<size_t> required_;  // by the time of their invocation
  std::vector<size_t> optional_;  // likewise
  std::vector<bool> placed_;      // by entry
  std::vector<Frame> stack_;
  absl::flat_hash_set<std::string> tried_;
  size_t deepest_ = 0;  // the stack, when result_ was noted
  bool found_ = false;
  Linearization result_;
};

}  // namespace waitq::history

#endif  // WAITQ_TESTS_HISTORY_LINEARIZER_H_
