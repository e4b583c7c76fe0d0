#include "tests/history/shrink.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <vector>

#include "tests/history/check.h"

namespace waitq::history {
namespace {

bool IsRefused(const History& history, const CheckOptions& options) {
  return !Check(history, options).violations.empty();
}

History OnlyOf(const History& history, const std::string& object) {
  History only = history;
  const auto other = [&](const auto& one) { return one.object != object; };
  std::erase_if(only.words, other);
  std::erase_if(only.completions, other);
  std::erase_if(only.pipes, other);
  std::erase_if(only.left, other);
  std::erase_if(only.pipe_options,
                [&](const auto& one) { return one.first != object; });
  return only;
}

void CutCalls(int64_t time, auto& calls) {
  std::erase_if(calls, [&](const Call& call) { return call.invoked > time; });
  for (Call& call : calls) {
    if (call.returned <= time) continue;
    call.outcome = Outcome::kUnknown;
    call.outlives_restarts = true;
  }
}

// As it was known at that time.
History Until(int64_t time, const History& history) {
  History cut = history;
  CutCalls(time, cut.words);
  CutCalls(time, cut.completions);
  CutCalls(time, cut.pipes);
  for (WordCall& call : cut.words) {
    if (call.undone_by > time) call.undone_by = kNever;
  }
  for (PipeCall& call : cut.pipes) {
    if (call.put_back_by > time) call.put_back_by = kNever;
    // It took something that is not known, perhaps.
    if (call.outcome == Outcome::kUnknown) call.lost_if_unknown = true;
  }
  std::erase_if(cut.restarts, [&](int64_t at) { return at > time; });
  cut.left.clear();
  return cut;
}

std::vector<int64_t> Moments(const History& history) {
  std::vector<int64_t> moments;
  const auto add = [&](const auto& calls) {
    for (const Call& call : calls) {
      if (call.returned != kNever) moments.push_back(call.returned);
    }
  };
  add(history.words);
  add(history.completions);
  add(history.pipes);
  std::sort(moments.begin(), moments.end());
  return moments;
}

// The earliest moment at which it could be known. Whatever is refused at one
// is refused at each later one.
History Earliest(const History& history, const CheckOptions& options) {
  const std::vector<int64_t> moments = Moments(history);
  size_t refused = moments.size();  // moments[refused] is, or it is the end
  size_t accepted = 0;              // nothing before this one is
  while (accepted < refused) {
    const size_t middle = accepted + (refused - accepted) / 2;
    if (IsRefused(Until(moments[middle], history), options)) {
      refused = middle;
    } else {
      accepted = middle + 1;
    }
  }
  return refused == moments.size() ? history
                                   : Until(moments[refused], history);
}

bool ChangesNothing(const WordCall& call) {
  return call.outcome != Outcome::kUnknown &&
         (call.outcome != Outcome::kDone || call.kind == WordCall::Kind::kGet);
}
bool ChangesNothing(const CompletionCall& call) {
  return call.outcome != Outcome::kUnknown &&
         (call.outcome != Outcome::kDone ||
          call.kind == CompletionCall::Kind::kDone);
}
bool ChangesNothing(const PipeCall& call) {
  return call.outcome != Outcome::kUnknown &&
         call.outcome != Outcome::kDone && !call.stale;
}

template <class C>
void LeaveOut(History& history, std::vector<C> History::*calls,
              const CheckOptions& options) {
  for (size_t i = (history.*calls).size(); i-- > 0;) {
    if (!ChangesNothing((history.*calls)[i])) continue;
    History without = history;
    (without.*calls).erase((without.*calls).begin() +
                           static_cast<ptrdiff_t>(i));
    if (IsRefused(without, options)) history = std::move(without);
  }
}

}  // namespace

History Shrink(const History& history, const std::string& object,
               const CheckOptions& options) {
  History small = OnlyOf(history, object);
  if (!IsRefused(small, options)) return small;
  small = Earliest(small, options);
  LeaveOut(small, &History::words, options);
  LeaveOut(small, &History::completions, options);
  LeaveOut(small, &History::pipes, options);
  return small;
}

}  // namespace waitq::history
