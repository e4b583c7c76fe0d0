// Random scripts for a FIFO: a few actors that open, read, write, poll and
// close, one step after the other.

#ifndef WAITQ_TESTS_CORE_FIFO_SCRIPT_H_
#define WAITQ_TESTS_CORE_FIFO_SCRIPT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/support/random.h"

namespace waitq::test {

inline constexpr int kActors = 4;
inline constexpr int kFiles = 4;

// One call of one actor, on one of the files, which all may use. What makes no
// sense when its turn comes (the actor sleeps, the file is not open) is passed
// over.
struct Step {
  enum class Kind {
    kOpen,
    kRead,
    kWrite,
    kPoll,
    kClose,
    kSetNonblock,
    kSignal
  };

  Kind kind;
  int actor;
  int file = 0;
  // kOpen: a Fifo::Flags; kPoll: the events; kSetNonblock: whether on or off;
  // kSignal: whether the call is to be restarted (SA_RESTART).
  uint32_t flags = 0;
  // kRead, kWrite: bytes.
  size_t n = 0;
  // kPoll: sleeps until something is there, or only looks.
  bool sleeps = false;
  // kPoll: a second file, if not negative.
  int file2 = -1;
};

using Script = std::vector<Step>;

std::string ToString(const Step& step);

// With habits of its own: sizes, kinds of steps, how often it does not block.
Script RandomScript(uint64_t seed);

// `script`, a vector of steps of any kind, without what it also fails without.
template <class Steps>
Steps Shrink(Steps script, const std::function<bool(const Steps&)>& fails) {
  // Longer pieces first; then the same again, as long as anything goes.
  for (size_t piece = std::max<size_t>(script.size() / 2, 1);;) {
    bool dropped = false;
    for (size_t from = 0; from < script.size();) {
      Steps less = script;
      const auto first = less.begin() + static_cast<ptrdiff_t>(from);
      less.erase(first, first + static_cast<ptrdiff_t>(
                                    std::min(piece, script.size() - from)));
      if (fails(less)) {
        script = std::move(less);
        dropped = true;
      } else {
        from += piece;
      }
    }
    if (piece > 1) {
      piece /= 2;
    } else if (!dropped) {
      return script;
    }
  }
}

// The bytes that the `step`-th step writes: others for each step and at each
// place. kMaxWrite at most.
inline constexpr size_t kMaxWrite = 128 * 1024;
std::string_view BytesOf(size_t step, size_t n);

}  // namespace waitq::test

#endif  // WAITQ_TESTS_CORE_FIFO_SCRIPT_H_
