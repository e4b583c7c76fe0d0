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

// Nobody is told.
void ForgetAnswer(WordCall& call) {
  call.value_before = call.value_after = 0;
  call.woken = call.generation = 0;
}
void ForgetAnswer(CompletionCall& call) {
  call.yes = call.redelivered = call.may_be_redelivered = false;
  call.woken = call.generation = 0;
  call.done = 0;
}
void ForgetAnswer(PipeCall& call) {
  call.stale = call.redelivered = call.may_be_redelivered = false;
  if (call.kind == PipeCall::Kind::kWrite) {
    call.accepted_bytes = call.offset = call.incarnation = 0;
  } else if (call.kind == PipeCall::Kind::kRead) {
    call.data.clear();
    call.offset = call.incarnation = call.hold_id = 0;
    call.taken = true;
    // It took something that is not known, perhaps.
    call.lost_if_unknown = true;
  }
}

void CutCalls(int64_t time, auto& calls) {
  std::erase_if(calls, [&](const Call& call) { return call.invoked > time; });
  for (auto& call : calls) {
    if (call.returned <= time) continue;
    call.outcome = Outcome::kUnknown;
    call.outlives_restarts = true;
    ForgetAnswer(call);
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
  return refused == moments.size() ? history : Until(moments[refused], history);
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
  return call.outcome != Outcome::kUnknown && call.outcome != Outcome::kDone &&
         !call.stale;
}

template <class C>
void LeaveOut(History& history, std::vector<C> History::*calls,
              const CheckOptions& options) {
  for (size_t i = (history.*calls).size(); i-- > 0;) {
    if (!ChangesNothing((history.*calls)[i])) continue;
    History without = history;
    (without.*calls)
        .erase((without.*calls).begin() + static_cast<ptrdiff_t>(i));
    if (IsRefused(without, options)) history = std::move(without);
  }
}

// Times from the first one on, and the calls in their order.
void Tidy(History& history) {
  int64_t first = kNever;
  const auto sort = [&](auto& calls) {
    std::sort(calls.begin(), calls.end(), [](const Call& a, const Call& b) {
      return a.invoked < b.invoked;
    });
    if (!calls.empty()) first = std::min(first, calls.front().invoked);
  };
  sort(history.words);
  sort(history.completions);
  sort(history.pipes);
  const auto shift = [&](int64_t& time) {
    if (time != kNever) time -= first;
  };
  const auto shift_calls = [&](auto& calls) {
    for (Call& call : calls) {
      shift(call.invoked);
      shift(call.returned);
    }
  };
  shift_calls(history.words);
  shift_calls(history.completions);
  shift_calls(history.pipes);
  for (WordCall& call : history.words) {
    shift(call.undone_from);
    shift(call.undone_by);
  }
  for (PipeCall& call : history.pipes) shift(call.put_back_by);
  for (int64_t& restart : history.restarts) shift(restart);
}

}  // namespace

History Shrink(const History& history, const std::string& object,
               const CheckOptions& options) {
  History small = OnlyOf(history, object);
  if (IsRefused(small, options)) {
    small = Earliest(small, options);
    LeaveOut(small, &History::words, options);
    LeaveOut(small, &History::completions, options);
    LeaveOut(small, &History::pipes, options);
  }
  Tidy(small);
  return small;
}

}  // namespace waitq::history
