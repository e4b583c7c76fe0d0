// Who has a named pipe open, and the ends that this makes.
//
// End of file is a state, not an event: a writer has been open, none is now,
// and nothing is unread. Every reader in that state sees it. Differences from a
// FIFO's ends come from names that outlive their handles:
//   * An end that nobody has seen is kept for the first reader that comes; one
//     that comes later waits for a new writer.
//   * A writer that opens erases a clean end, but not an unseen broken one (a
//     writer died): that stays at its offset and is never shown as clean.
//   * Writers get EPIPE when the last reader leaves, not before the first one
//     comes. A writer handle opened after that waits for new readers, as
//     open(2) of a FIFO would.

#ifndef WAITQ_CORE_PIPE_ENDS_H_
#define WAITQ_CORE_PIPE_ENDS_H_

#include <cstdint>
#include <deque>

namespace waitq {

// What a reader sees where it stands.
enum class PipeEnd : uint8_t { kNone, kClean, kBroken };

// Thread safety: none; the pipe's shell holds its lock. Offsets are those of
// core/pipe_state.h.
class PipeEnds {
 public:
  // A handle's part of the state; owned by the handle.
  struct Reader {
    uint64_t seen = 0;  // the last end that is not for this reader any more
  };
  struct Writer {
    uint64_t departures = 0;  // times that the last reader had left, at open
  };

  // Without `has_ends` nobody sees an end, and writes are never broken: a pipe
  // that outlives its readers and writers, and only counts them.
  explicit PipeEnds(bool has_ends = true) : has_ends_(has_ends) {}

  Reader OpenReader();
  Writer OpenWriter();
  // True if it was the last one: sleeping writers then end with EPIPE.
  bool CloseReader();
  // Not clean: the writer went away without closing. If it was the last one,
  // an end stands at `write_offset`, broken if any writer since the last end
  // was not clean. True if so.
  bool CloseWriter(bool clean, uint64_t write_offset);

  uint32_t readers() const { return readers_; }
  uint32_t writers() const { return writers_; }

  // The end that a reader sees at `read_offset`, before any byte there;
  // `empty`: nothing is unread. A unary read has no handle and passes nullptr.
  PipeEnd EndAt(uint64_t read_offset, bool empty, const Reader* reader) const;

  // Tells a reader of the end that it sees there: it does not see it again.
  void Tell(uint64_t read_offset, Reader* reader) const;

  // The end there has been seen: to be called when all readers asleep at it,
  // and one at least, were told.
  void MarkSeen(uint64_t read_offset);

  // No read may go beyond a broken end that nobody has seen: where the first
  // of them stands; `write_offset` if there is none.
  uint64_t ReadLimit(uint64_t write_offset) const {
    return broken_.empty() ? write_offset : broken_.front();
  }

  // Whether a write has nobody to read it: EPIPE. Without a handle: nullptr.
  bool IsBrokenFor(const Writer* writer) const;

  // Writers have been there, and none is: poll()'s HUP.
  bool HungUp() const { return writers_ == 0 && last_serial_ > 0; }

  // No handle is open and no end waits to be seen.
  bool Idle() const;

 private:
  // A broken end stands there that nobody has seen.
  bool BrokenAt(uint64_t read_offset) const {
    return !broken_.empty() && broken_.front() == read_offset;
  }
  // The first of broken_ is the end that the last writer made.
  bool FirstBrokenIsLast() const {
    return broken_.size() == 1 && last_broken_ && !last_seen_;
  }

  const bool has_ends_;
  uint32_t readers_ = 0;
  uint32_t writers_ = 0;
  uint64_t departures_ = 0;   // times that the last reader left
  bool writer_died_ = false;  // since the last end

  // The last end. It is the pipe's state while no writer is open.
  uint64_t last_serial_ = 0;  // 0: there has been none
  bool last_broken_ = false;
  bool last_seen_ = false;

  // Where broken ends stand that nobody has seen.
  std::deque<uint64_t> broken_;
};

}  // namespace waitq

#endif  // WAITQ_CORE_PIPE_ENDS_H_
