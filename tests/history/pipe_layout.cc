#include "tests/history/pipe_layout.h"

#include <algorithm>
#include <tuple>

namespace waitq::history {

// Not tried before: the same place with the same bytes placed.
bool PipeLayout::First(size_t pipe, uint64_t offset) {
  std::string key;
  const auto append = [&](uint64_t word) {
    key.append(reinterpret_cast<const char*>(&word), sizeof(word));
  };
  append(pipe);
  append(offset);
  for (const uint64_t used : used_) append(used);
  return tried_.insert(std::move(key)).second;
}

uint64_t PipeLayout::Fits(const PipeSource& source, uint64_t used, size_t pipe,
                          uint64_t offset) const {
  const PipeContents& contents = pipes_[pipe];
  const std::string& data = source.call->data;
  uint64_t most = data.size() - used;
  if (source.done) {
    if (source.pipe != pipe || offset >= source.end) return 0;
    most = std::min(source.accepted - used, source.end - offset);
  } else if (source.last_life < contents.first_life ||
             source.first_life > contents.last_life) {
    return 0;
  }
  if (offset < source.not_before[pipe]) return 0;
  if (source.whole && used > 0) return 0;
  uint64_t fits = 0;
  for (; fits < most && offset + fits < contents.bytes.size(); ++fits) {
    const PipeContents::Byte& byte = contents.bytes[offset + fits];
    if (byte.fixed || byte.seen < source.call->invoked) break;
    if (byte.known && byte.value != data[used + fits]) break;
    // A packet is read as it was written.
    if (source.whole && fits > 0 && byte.begins) break;
  }
  if (!source.whole) return fits;
  const bool at_end = offset + fits == contents.bytes.size();
  if (fits < most && (contents.closed || !at_end)) return 0;
  const PipeContents::Byte& byte = contents.bytes[offset];
  const bool cut = byte.goes_on || (offset + fits < contents.bytes.size() &&
                                    contents.bytes[offset + fits].goes_on);
  return cut ? 0 : fits;
}

bool PipeLayout::Fill(size_t pipe, uint64_t offset) {
  // To the next byte that is not fixed.
  while (pipe < pipes_.size()) {
    const auto& bytes = pipes_[pipe].bytes;
    while (offset < bytes.size() && bytes[offset].fixed) ++offset;
    if (offset < bytes.size()) break;
    ++pipe;
    offset = 0;
  }
  if (std::tie(pipe, offset) > std::tie(worst_pipe_, worst_offset_)) {
    worst_pipe_ = pipe;
    worst_offset_ = offset;
  }
  if (pipe == pipes_.size()) {
    for (size_t i = 0; i < sources_.size(); ++i) {
      if (sources_[i].done && used_[i] != sources_[i].accepted) return false;
    }
    return true;
  }
  if (undecided() || !First(pipe, offset)) return false;
  for (size_t i = 0; i < sources_.size(); ++i) {
    const PipeSource& source = sources_[i];
    const uint64_t fits = Fits(source, used_[i], pipe, offset);
    // The longest piece first: with data that can be told apart it is right.
    for (uint64_t n = fits; n > 0; --n) {
      if (source.whole && n < fits) break;
      // The last byte of a write that is done stands where its answer says.
      if (source.done &&
          (used_[i] + n == source.accepted) != (offset + n == source.end)) {
        continue;
      }
      if (++steps_ > max_steps_) return false;
      used_[i] += n;
      const bool filled = Fill(pipe, offset + n);
      used_[i] -= n;
      if (filled) return true;
    }
  }
  return false;
}

}  // namespace waitq::history
