// Bytes of a pipe that a reader has, but not for good: it accepts them, or they
// are put back.
//
// A hold is what one read took. While it lasts its bytes stay charged to the
// pipe. What is accepted, from its beginning, is gone; what is put back stands
// in the place of its offset again, before all that was never taken, and is
// read before it, lowest offset first.

#ifndef WAITQ_CORE_PIPE_HOLDS_H_
#define WAITQ_CORE_PIPE_HOLDS_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/cord.h"

namespace waitq {

// Thread safety: none; the pipe's shell holds its lock. Offsets are those of
// core/pipe_state.h, and so is the cost of a packet, which is the shell's to
// count.
class PipeHolds {
 public:
  // Bytes and where they stand.
  struct Chunk {
    uint64_t offset;
    absl::Cord data;
  };

  // Nothing is held and nothing is put back: all that was taken is gone.
  bool empty() const { return holds() == 0 && returned_.empty(); }
  size_t holds() const { return holds_.size() + kept_elsewhere_; }
  size_t held_bytes() const { return held_bytes_; }
  // What is put back, to be read first.
  size_t returned_bytes() const { return returned_bytes_; }
  size_t returned_chunks() const { return returned_.size(); }

  // A read has taken this, and holds it. `id` is not that of another hold.
  void Hold(uint64_t id, Chunk chunk);

  // The bytes of a hold below `up_to` are gone for good: how many those were.
  // When none are left the hold is over. Nothing if there is no such hold, or
  // `up_to` is not in it.
  std::optional<size_t> Accept(uint64_t id, uint64_t up_to);

  // The hold is over: what is left of it is put back. False: there is none.
  bool PutBack(uint64_t id);

  // The same for a hold whose holder keeps its bytes himself: it needs no id.
  // To be ended once, by accepting all of it or by putting back what it was.
  void HoldElsewhere(size_t bytes) {
    ++kept_elsewhere_;
    held_bytes_ += bytes;
  }
  void AcceptElsewhere(size_t bytes) {
    --kept_elsewhere_;
    held_bytes_ -= bytes;
  }
  void PutBackElsewhere(Chunk chunk);

  // The end of a hold's bytes; nothing if there is none.
  std::optional<uint64_t> EndOf(uint64_t id) const;

  // What is read first, where returned_chunks() > 0: a packet, or the bytes
  // that were put back at one place.
  size_t first_returned_bytes() const {
    return returned_.begin()->second.size();
  }
  // Takes up to `n` of them.
  Chunk TakeReturned(size_t n);

  void Clear();

 private:
  void Return(Chunk chunk);

  absl::flat_hash_map<uint64_t, Chunk> holds_;
  absl::btree_map<uint64_t, absl::Cord> returned_;  // by offset
  size_t kept_elsewhere_ = 0;
  size_t held_bytes_ = 0;
  size_t returned_bytes_ = 0;
};

}  // namespace waitq

#endif  // WAITQ_CORE_PIPE_HOLDS_H_
