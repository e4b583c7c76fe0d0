// The bytes of a pipe: what is there, what fits, and in what pieces.
//
// The one pipe state machine under all pipes. It never sleeps and has no lock
// and no queue: the shells around it (threads' FIFOs, named pipes) ask it what
// can be done now and do the sleeping and waking. Who has it open, and when it
// ends, is core/pipe_ends.h.
//
// Room is counted in slots, as in fs/pipe.c. With `slot_bytes` 4096 a pipe is
// full when no slot is free, however little stands in each; with 1 it is full
// when its bytes are. A ring (LDD3's scull/pipe.c) is one byte short of its
// capacity, and what stands on both sides of its end takes two reads, or
// writes.

#ifndef WAITQ_CORE_PIPE_STATE_H_
#define WAITQ_CORE_PIPE_STATE_H_

#include <cstddef>
#include <cstdint>
#include <deque>

#include "absl/strings/cord.h"

namespace waitq {

// Thread safety: none; the shell holds its lock.
class PipeState {
 public:
  struct Options {
    // A multiple of slot_bytes, 1 slot or more.
    size_t capacity_bytes = 64 * 1024;
    size_t slot_bytes = 1;
    bool ring = false;     // then slot_bytes is 1
    bool packets = false;  // then slot_bytes is 1, and it is no ring
  };

  // What a packet costs besides its bytes: many small ones are bounded too.
  static constexpr size_t kPacketCost = 64;

  explicit PipeState(const Options& options);

  // What can be read, in bytes, and where it stands: offsets count the bytes
  // since the pipe was made.
  size_t unread_bytes() const { return unread_bytes_; }
  bool empty() const { return unread_bytes_ == 0; }
  uint64_t read_offset() const { return read_offset_; }
  uint64_t write_offset() const { return read_offset_ + unread_bytes_; }
  size_t capacity_bytes() const { return options_.capacity_bytes; }

  // Of the capacity: with what packets cost, and what was taken and is charged
  // still.
  size_t used_bytes() const {
    return unread_bytes_ + packets_.size() * kPacketCost + charged_bytes_;
  }

  // Bytes that were taken out take up room still, until Discharge(): somebody
  // holds them (core/pipe_holds.h). Only where slot_bytes is 1.
  void Charge(size_t n) { charged_bytes_ += n; }
  void Discharge(size_t n) { charged_bytes_ -= n; }

  // No slot is free: poll() would not say OUT.
  bool full() const { return free_slots() == 0; }

  // How many of the first bytes of a write of `n` would fit now. With `whole`
  // (a write of at most the atomic size): all of them, or none. `first`: this
  // is the write's first try, which alone may fill up the last slot; it does so
  // with the first n % slot_bytes bytes, if they fit whole.
  size_t Room(size_t n, bool whole, bool first) const;

  // Appends all of `data`, whose size Room() has returned for these.
  void Append(absl::Cord data, bool first);

  // How many of `n` bytes a read would get now. Of packets: the first one, or 0
  // if it is longer.
  size_t Readable(size_t n) const;

  // The size of the first packet; 0 if there is none.
  size_t first_packet_bytes() const {
    return packets_.empty() ? 0 : packets_.front().size();
  }

  // Takes out the first bytes, as many as Readable() says.
  absl::Cord Take(size_t n);

  // Forgets what is unread, and what is charged; a ring begins anew. scull's
  // open().
  void Clear();

 private:
  size_t slots() const {
    return options_.capacity_bytes / options_.slot_bytes -
           (options_.ring ? 1 : 0);
  }
  // From an offset to the end of the ring.
  size_t BeforeWrap(uint64_t offset) const {
    return options_.capacity_bytes -
           (offset - ring_begin_) % options_.capacity_bytes;
  }
  size_t free_slots() const;
  // How many bytes of a write of n go into the last slot.
  size_t Mergeable(size_t n, bool first) const;

  struct Slot {
    size_t begin;  // what was read of it already
    size_t end;
  };

  const Options options_;
  absl::Cord contents_;  // unless they are packets
  size_t unread_bytes_ = 0;
  uint64_t read_offset_ = 0;
  size_t charged_bytes_ = 0;
  uint64_t ring_begin_ = 0;  // an offset at which the ring begins
  // Only for slot_bytes > 1: one byte a slot needs no bookkeeping.
  std::deque<Slot> used_;
  std::deque<absl::Cord> packets_;
};

}  // namespace waitq

#endif  // WAITQ_CORE_PIPE_STATE_H_
