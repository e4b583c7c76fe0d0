#include "core/pipe_holds.h"

#include <algorithm>
#include <utility>

#include "core/check.h"

namespace waitq {

void PipeHolds::Hold(uint64_t id, Chunk chunk) {
  held_bytes_ += chunk.data.size();
  const bool added = holds_.emplace(id, std::move(chunk)).second;
  WAITQ_CHECK(added, "two holds have one id");
}

std::optional<size_t> PipeHolds::Accept(uint64_t id, uint64_t up_to) {
  const auto it = holds_.find(id);
  if (it == holds_.end()) return std::nullopt;
  Chunk& chunk = it->second;
  if (up_to < chunk.offset || up_to - chunk.offset > chunk.data.size()) {
    return std::nullopt;
  }
  const size_t bytes = up_to - chunk.offset;
  chunk.data.RemovePrefix(bytes);
  chunk.offset = up_to;
  held_bytes_ -= bytes;
  if (chunk.data.empty()) holds_.erase(it);
  return bytes;
}

bool PipeHolds::PutBack(uint64_t id) {
  const auto it = holds_.find(id);
  if (it == holds_.end()) return false;
  Chunk chunk = std::move(it->second);
  holds_.erase(it);
  Return(std::move(chunk));
  return true;
}

void PipeHolds::PutBackElsewhere(Chunk chunk) {
  --kept_elsewhere_;
  Return(std::move(chunk));
}

void PipeHolds::Return(Chunk chunk) {
  held_bytes_ -= chunk.data.size();
  returned_bytes_ += chunk.data.size();
  returned_.emplace(chunk.offset, std::move(chunk.data));
}

std::optional<uint64_t> PipeHolds::EndOf(uint64_t id) const {
  const auto it = holds_.find(id);
  if (it == holds_.end()) return std::nullopt;
  return it->second.offset + it->second.data.size();
}

PipeHolds::Chunk PipeHolds::TakeReturned(size_t n) {
  const auto it = returned_.begin();
  Chunk taken{it->first, std::move(it->second)};
  returned_.erase(it);
  if (n < taken.data.size()) {
    absl::Cord rest = taken.data.Subcord(n, taken.data.size() - n);
    taken.data.RemoveSuffix(taken.data.size() - n);
    returned_.emplace(taken.offset + n, std::move(rest));
  }
  returned_bytes_ -= taken.data.size();
  return taken;
}

void PipeHolds::Clear() {
  holds_.clear();
  returned_.clear();
  kept_elsewhere_ = held_bytes_ = returned_bytes_ = 0;
}

}  // namespace waitq
