// The results of a session that its client has not taken yet, by their numbers.

#ifndef WAITQ_SERVER_ENGINE_KEPT_RESULTS_H_
#define WAITQ_SERVER_ENGINE_KEPT_RESULTS_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "absl/container/btree_map.h"
#include "server/engine/operation.h"
#include "server/engine/ref.h"
#include "server/engine/repeats.h"

namespace waitq::engine {

// The end of one of a session's operations.
struct SessionResult {
  // The operation's number in its session; 0: this is none (any more).
  uint64_t operation = 0;
  // What was asked for, as the transport numbers it.
  uint8_t method = 0;
  // What ended; or, of one that never slept, what was answered.
  Ref<Operation> ended;
  std::shared_ptr<const KeptAnswer> answer;

  // What it costs to keep it, beside the operation, which the number of results
  // bounds.
  uint64_t bytes() const {
    if (ended) return ended->result_bytes();
    if (!answer) return 0;
    constexpr uint64_t kFailureBytes = 256;  // its reason and metadata
    return answer->bytes.size() +
           (answer->status.ok()
                ? 0
                : kFailureBytes + answer->status.message().size());
  }
};

// Numbers rise by one, from 1. They are taken in any order: what is left of the
// old ones costs what it is, however many were taken behind it.
//
// Thread safety: none; the session holds its lock.
class KeptResults {
 public:
  // The numbers of the first that is here (behind the last, if none is), and of
  // the last that ever was.
  uint64_t first() const { return NextFrom(1); }
  uint64_t last() const { return first_ + results_.size() - 1; }
  size_t size() const { return size_; }
  uint64_t bytes() const { return bytes_; }

  void Add(SessionResult result);

  // nullptr: it is not here (any more).
  const SessionResult* Find(uint64_t number) const;
  // The first that is here, at or behind that number; last() + 1: none.
  uint64_t NextFrom(uint64_t number) const;

  // Takes one out, if it is here, and puts it on `out`.
  void Remove(uint64_t number, std::vector<SessionResult>& out);
  // All up to that number.
  void RemoveUpTo(uint64_t number, std::vector<SessionResult>& out);
  void RemoveAll(std::vector<SessionResult>& out) { RemoveUpTo(last(), out); }

 private:
  void RemoveAt(size_t index, std::vector<SessionResult>& out);
  // Moves the first ones away where holes are the most.
  void Thin();

  // Before first_: those that are left of many.
  absl::btree_map<uint64_t, SessionResult> old_;
  std::deque<SessionResult> results_;  // with holes
  uint64_t first_ = 1;                 // of results_
  size_t size_ = 0;                    // of both, holes aside
  uint64_t bytes_ = 0;
};

}  // namespace waitq::engine

#endif  // WAITQ_SERVER_ENGINE_KEPT_RESULTS_H_
