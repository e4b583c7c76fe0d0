#include "server/engine/kept_results.h"

#include <algorithm>
#include <utility>

namespace waitq::engine {
namespace {

// A few holes are not worth a move.
constexpr size_t kHolesAllowed = 64;

}  // namespace

void KeptResults::Add(SessionResult result) {
  bytes_ += result.bytes();
  ++size_;
  results_.push_back(std::move(result));
}

const SessionResult* KeptResults::Find(uint64_t number) const {
  if (number < first_) {
    const auto it = old_.find(number);
    return it == old_.end() ? nullptr : &it->second;
  }
  if (number > last()) return nullptr;
  const SessionResult& result = results_[number - first_];
  return result.operation == 0 ? nullptr : &result;
}

uint64_t KeptResults::NextFrom(uint64_t number) const {
  if (const auto it = old_.lower_bound(number); it != old_.end()) {
    return it->first;
  }
  for (number = std::max(number, first_); number <= last(); ++number) {
    if (results_[number - first_].operation != 0) break;
  }
  return std::min(number, last() + 1);
}

void KeptResults::Remove(uint64_t number, std::vector<SessionResult>& out) {
  if (number > last()) return;
  if (number >= first_) {
    RemoveAt(number - first_, out);
    return Thin();
  }
  const auto it = old_.find(number);
  if (it == old_.end()) return;
  bytes_ -= it->second.bytes();
  --size_;
  out.push_back(std::move(it->second));
  old_.erase(it);
}

void KeptResults::RemoveUpTo(uint64_t number, std::vector<SessionResult>& out) {
  while (!old_.empty() && old_.begin()->first <= number) {
    Remove(old_.begin()->first, out);
  }
  if (first_ <= number) {
    out.reserve(out.size() +
                std::min<uint64_t>(number - first_ + 1, results_.size()));
  }
  while (first_ <= number && !results_.empty()) {
    RemoveAt(0, out);
    results_.pop_front();
    ++first_;
  }
}

void KeptResults::RemoveAt(size_t index, std::vector<SessionResult>& out) {
  if (results_[index].operation == 0) return;
  bytes_ -= results_[index].bytes();
  --size_;
  out.push_back(std::exchange(results_[index], SessionResult()));
}

void KeptResults::Thin() {
  while (!results_.empty()) {
    const size_t here = size_ - old_.size();
    SessionResult& front = results_.front();
    if (front.operation != 0) {
      if (results_.size() <= 2 * here + kHolesAllowed) return;
      old_.emplace_hint(old_.end(), first_, std::move(front));
    }
    results_.pop_front();
    ++first_;
  }
}

}  // namespace waitq::engine
