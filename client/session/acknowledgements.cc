#include "client/session/acknowledgements.h"

#include <algorithm>
#include <iterator>

namespace waitq {

bool Acknowledgements::Insert(Intervals& intervals, uint64_t number) {
  auto next = intervals.upper_bound(number);
  uint64_t last = number;
  if (next != intervals.begin()) {
    const auto before = std::prev(next);
    if (before->second >= number) return false;
    if (before->second + 1 == number) {
      if (next != intervals.end() && next->first == number + 1) {
        before->second = next->second;
        intervals.erase(next);
      } else {
        before->second = number;
      }
      return true;
    }
  }
  if (next != intervals.end() && next->first == number + 1) {
    last = next->second;
    intervals.erase(next);
  }
  intervals.emplace(number, last);
  return true;
}

void Acknowledgements::Erase(Intervals& intervals, uint64_t number) {
  auto it = intervals.upper_bound(number);
  if (it == intervals.begin()) return;
  --it;
  const auto [first, last] = *it;
  if (last < number) return;
  intervals.erase(it);
  if (first < number) intervals.emplace(first, number - 1);
  if (number < last) intervals.emplace(number + 1, last);
}

bool Acknowledgements::Settle(uint64_t number) {
  ++unsaid_;
  if (number <= up_to_) return false;
  if (number > up_to_ + 1) return Insert(others_, number);
  up_to_ = number;
  // The gap is closed.
  const auto next = others_.begin();
  if (next != others_.end() && next->first == up_to_ + 1) {
    up_to_ = next->second;
    others_.erase(next);
  }
  return true;
}

void Acknowledgements::Take(uint64_t number) {
  if (Settle(number) && number > up_to_) Insert(new_others_, number);
}

void Acknowledgements::Return(uint64_t number) {
  returned_.push_back(number);
  Settle(number);
}

void Acknowledgements::Say(v1::SessionRequest& message, size_t numbers_max) {
  if (unsaid_ == 0) return;
  unsaid_ = 0;
  size_t room = numbers_max;
  for (; returned_said_ < returned_.size(); ++returned_said_) {
    if (room == 0) {
      unsaid_ = returned_.size() - returned_said_;
      return;  // what follows would say that those are taken
    }
    message.add_returned(returned_[returned_said_]);
    --room;
  }
  message.set_taken_up_to(up_to_);
  while (!new_others_.empty()) {
    const auto it = new_others_.begin();
    const uint64_t last = it->second;
    uint64_t number = std::max(it->first, up_to_ + 1);
    for (; number <= last && room > 0; ++number, --room) {
      message.add_taken(number);
    }
    new_others_.erase(it);
    if (number <= last) {
      new_others_.emplace(number, last);
      unsaid_ = 1;
      return;
    }
  }
}

void Acknowledgements::Unsay() {
  returned_said_ = returned_marked_ = 0;
  new_others_ = others_;
  for (const uint64_t number : returned_) Erase(new_others_, number);
  unsaid_ = up_to_ == 0 && others_.empty() ? 0 : 1;
}

void Acknowledgements::Arrived() {
  returned_.erase(returned_.begin(), returned_.begin() + returned_marked_);
  returned_said_ -= returned_marked_;
  returned_marked_ = 0;
}

}  // namespace waitq
