// The search against one that tries every order.

#include "tests/history/linearizer.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/random.h"

namespace waitq::history {
namespace {

// A counter: add one, look, or be forgotten.
struct CounterModel {
  struct State {
    int value = 0;
    int life = 0;
    bool operator==(const State&) const = default;
  };
  enum class Kind { kAdd, kLook, kRestart };
  struct Call {
    Kind kind;
    int seen;  // before
  };

  bool Apply(size_t entry, State& state) const {
    const Call& call = calls[entry];
    if (call.kind == Kind::kRestart) {
      state = {0, state.life + 1};
      return true;
    }
    if (!entries[entry].optional && call.seen != state.value) return false;
    if (call.kind == Kind::kAdd) ++state.value;
    return true;
  }
  bool Hopeless(size_t, const State&) const { return false; }
  bool Complete(const State&) const { return true; }
  int Life(const State& state) const { return state.life; }
  void AppendKey(const State& state, std::string& key) const {
    key.push_back(static_cast<char>(state.value));
    key.push_back(static_cast<char>(state.life));
  }

  void Add(Kind kind, int seen, Entry entry) {
    calls.push_back({kind, seen});
    entries.push_back(entry);
  }

  std::vector<Call> calls;
  std::vector<Entry> entries;
};

// Whether some order of all that is required, and some of the rest, fits.
bool AnyOrder(const CounterModel& model, std::vector<size_t>& order,
              const CounterModel::State& state) {
  const auto& entries = model.entries;
  const auto placed = [&](size_t i) {
    return std::find(order.begin(), order.end(), i) != order.end();
  };
  bool all = true;
  for (size_t i = 0; i < entries.size(); ++i) {
    all = all && (entries[i].optional || placed(i));
  }
  if (all) return true;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (placed(i)) continue;
    if (entries[i].optional && entries[i].last_life < state.life) continue;
    bool too_early = false;
    for (size_t j = 0; j < entries.size(); ++j) {
      too_early |= !entries[j].optional && !placed(j) &&
                   entries[j].returned < entries[i].invoked;
    }
    CounterModel::State next = state;
    if (too_early || !model.Apply(i, next)) continue;
    order.push_back(i);
    const bool found = AnyOrder(model, order, next);
    order.pop_back();
    if (found) return true;
  }
  return false;
}

TEST(LinearizerTest, FindsAnOrderWhereThereIsOne) {
  test::Random random(test::Seed());
  int found = 0;
  const int times = test::Times(20'000);
  for (int i = 0; i < times; ++i) {
    CounterModel model;
    const int64_t restart = random.OneIn(2) ? random.Between(0, 10) : kNever;
    const int64_t calls = random.Between(1, 6);
    for (int64_t n = 0; n < calls; ++n) {
      const int64_t invoked = random.Between(0, 10);
      const bool unknown = random.OneIn(4);
      const bool look = random.OneIn(3);
      model.Add(look ? CounterModel::Kind::kLook : CounterModel::Kind::kAdd,
                static_cast<int>(random.Below(4)),
                {.invoked = invoked,
                 .returned = unknown ? kNever : invoked + random.Between(0, 6),
                 .optional = unknown,
                 .pure = look,
                 .last_life = restart < invoked ? 1 : 0,
                 .rank = random.Below(3)});
    }
    if (restart != kNever) {
      model.Add(CounterModel::Kind::kRestart, 0,
                {.invoked = restart, .returned = restart});
    }
    std::vector<size_t> order;
    const bool expected = AnyOrder(model, order, {});
    const Linearization result = Linearizer(model, model.entries).Run(100'000);
    ASSERT_EQ(result.verdict,
              expected ? Verdict::kLinearizable : Verdict::kNot);
    if (expected) ++found;
  }
  EXPECT_GT(found, times / 20);
  EXPECT_LT(found, times);
}

TEST(LinearizerTest, SaysWhenItGivesUp) {
  CounterModel model;
  for (int i = 0; i < 20; ++i) {
    model.Add(CounterModel::Kind::kAdd, 0, {.returned = 9, .optional = true});
  }
  model.Add(CounterModel::Kind::kLook, 30, {.returned = 9});
  EXPECT_EQ(Linearizer(model, model.entries).Run(1000).verdict,
            Verdict::kUndecided);
}

}  // namespace
}  // namespace waitq::history
