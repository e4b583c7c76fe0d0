// Which write put which bytes where in a pipe, as far as the answers do not
// say it: of writes with an unknown outcome, and of large ones, which may be
// interleaved.

#ifndef WAITQ_TESTS_HISTORY_PIPE_LAYOUT_H_
#define WAITQ_TESTS_HISTORY_PIPE_LAYOUT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "tests/history/history.h"

namespace waitq::history {

// What is known of one incarnation of a pipe, byte by byte.
struct PipeContents {
  struct Byte {
    char value = 0;
    bool known = false;  // the value, from a read or a write
    bool fixed = false;  // belongs to a write whose place is known
    // Packets: a read, or what is left, begins here; it began before.
    bool begins = false;
    bool goes_on = false;
    // When the first reader had it: it was written before.
    int64_t seen = kNever;
  };
  uint64_t incarnation = 0;
  int first_life = 0;  // in which it can have been
  int last_life = 0;
  std::vector<Byte> bytes;  // of all offsets that are known to have been
  // Nothing can be behind them: otherwise the end of a write may, unread.
  bool closed = false;
};

// A write that may have put its bytes into what is not fixed.
struct PipeSource {
  const PipeCall* call = nullptr;
  // All of it in one piece; otherwise the beginning of it, in pieces.
  bool whole = false;
  // Of one that is DONE: how much, and the offset after that.
  bool done = false;
  size_t pipe = 0;  // which of the contents
  uint64_t accepted = 0;
  uint64_t end = 0;
  // Of an unknown one: the lives in which it can have had an effect.
  int first_life = 0;
  int last_life = 0;
  // By contents: it cannot stand before this offset, where something ends that
  // had been written before it was invoked.
  std::vector<uint64_t> not_before;
};

// Searches for a way to fill all that is not fixed.
class PipeLayout {
 public:
  PipeLayout(const std::vector<PipeContents>& pipes,
             const std::vector<PipeSource>& sources, int64_t max_steps)
      : pipes_(pipes),
        sources_(sources),
        used_(sources.size()),
        max_steps_(max_steps) {}

  // False: there is none, or the search was given up.
  bool Find() { return Fill(0, 0); }

  bool undecided() const { return steps_ > max_steps_; }
  int64_t steps() const { return steps_; }
  // Where the search that came furthest ended.
  size_t worst_pipe() const { return worst_pipe_; }
  uint64_t worst_offset() const { return worst_offset_; }

 private:
  bool Fill(size_t pipe, uint64_t offset);
  // How many bytes of the source fit there.
  uint64_t Fits(const PipeSource& source, uint64_t used, size_t pipe,
                uint64_t offset) const;
  bool First(size_t pipe, uint64_t offset);

  const std::vector<PipeContents>& pipes_;
  const std::vector<PipeSource>& sources_;
  std::vector<uint64_t> used_;  // by source: bytes that are placed
  const int64_t max_steps_;
  int64_t steps_ = 0;
  size_t worst_pipe_ = 0;
  uint64_t worst_offset_ = 0;
  absl::flat_hash_set<std::string> tried_;
};

}  // namespace waitq::history

#endif  // WAITQ_TESTS_HISTORY_PIPE_LAYOUT_H_
