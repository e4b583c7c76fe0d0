#include "core/pipe_state.h"

#include <algorithm>
#include <utility>

#include "core/check.h"

namespace waitq {

PipeState::PipeState(const Options& options) : options_(options) {
  WAITQ_CHECK(options.slot_bytes > 0 && options.capacity_bytes > 0 &&
                  options.capacity_bytes % options.slot_bytes == 0,
              "a pipe holds a whole number of slots, at least one");
  WAITQ_CHECK(
      !options.ring || (options.slot_bytes == 1 && options.capacity_bytes > 1),
      "a ring counts bytes, and holds one less than its capacity");
}

size_t PipeState::free_slots() const {
  if (options_.slot_bytes > 1) return slots() - used_.size();
  const size_t free = slots() - used_bytes();
  if (!options_.packets) return free;
  return free > kPacketCost ? free - kPacketCost : 0;  // the next one's
}

size_t PipeState::Mergeable(size_t n, bool first) const {
  if (!first || used_.empty()) return 0;
  const size_t head = n % options_.slot_bytes;
  return used_.back().end + head <= options_.slot_bytes ? head : 0;
}

size_t PipeState::Room(size_t n, bool whole, bool first) const {
  const size_t merged = Mergeable(n, first);
  size_t room = std::min(n, merged + free_slots() * options_.slot_bytes);
  if (options_.ring) room = std::min(room, BeforeWrap(write_offset()));
  return (whole || options_.packets) && room < n ? 0 : room;
}

void PipeState::Append(absl::Cord data, bool first) {
  size_t left = data.size();
  unread_bytes_ += left;
  if (options_.packets) {
    // Not in one cord: cutting small pieces from a long one is slow.
    packets_.push_back(std::move(data));
  } else {
    contents_.Append(std::move(data));
  }
  if (options_.slot_bytes > 1) {
    const size_t merged = Mergeable(left, first);
    if (merged > 0) used_.back().end += merged;
    left -= merged;
    while (left > 0) {
      const size_t piece = std::min(left, options_.slot_bytes);
      used_.push_back({0, piece});
      left -= piece;
    }
  }
  WAITQ_CHECK(
      used_bytes() <= options_.capacity_bytes && used_.size() <= slots(),
      "a pipe holds more than its capacity");
}

size_t PipeState::Readable(size_t n) const {
  if (options_.packets) {
    return first_packet_bytes() <= n ? first_packet_bytes() : 0;
  }
  n = std::min(n, unread_bytes_);
  return options_.ring ? std::min(n, BeforeWrap(read_offset_)) : n;
}

absl::Cord PipeState::Take(size_t n) {
  n = Readable(n);
  if (n == 0) return absl::Cord();
  read_offset_ += n;
  unread_bytes_ -= n;
  if (options_.packets) {
    absl::Cord taken = std::move(packets_.front());
    packets_.pop_front();
    return taken;
  }
  absl::Cord taken = contents_.Subcord(0, n);
  contents_.RemovePrefix(n);
  while (n > 0 && !used_.empty()) {
    Slot& slot = used_.front();
    const size_t piece = std::min(n, slot.end - slot.begin);
    slot.begin += piece;
    n -= piece;
    if (slot.begin == slot.end) used_.pop_front();
  }
  return taken;
}

void PipeState::Clear() {
  read_offset_ += unread_bytes_;
  ring_begin_ = read_offset_;
  unread_bytes_ = 0;
  contents_.Clear();
  used_.clear();
  packets_.clear();
  charged_bytes_ = 0;
}

}  // namespace waitq
