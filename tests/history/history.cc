#include "tests/history/history.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"

namespace waitq::history {
namespace {

absl::string_view Name(Outcome outcome) {
  switch (outcome) {
    case Outcome::kDone:
      return "DONE";
    case Outcome::kTimedOut:
      return "TIMED_OUT";
    case Outcome::kWouldBlock:
      return "WOULD_BLOCK";
    case Outcome::kEndOfFile:
      return "END_OF_FILE";
    case Outcome::kInterrupted:
      return "interrupted";
    case Outcome::kNoEffect:
      return "failed without effect";
    case Outcome::kUnknown:
      return "UNKNOWN";
  }
  return "?";
}

std::string Time(int64_t time) {
  return time == kNever ? "never" : absl::StrCat(time);
}

// "[10, 20] client 1: q.Wait(value == 1) = DONE"
std::string Line(const Call& call, absl::string_view asked,
                 absl::string_view answer) {
  return absl::StrCat("[", Time(call.invoked), ", ", Time(call.returned),
                      "] client ", call.client, ": ", call.object, ".", asked,
                      " = ", Name(call.outcome),
                      call.outcome == Outcome::kDone ? answer : "");
}

std::string ToString(const Condition& condition) {
  using Test = Condition::Test;
  const int64_t x = condition.operand;
  switch (condition.test) {
    case Test::kWoken:
      return "a wake";
    case Test::kEqual:
      return absl::StrCat("value == ", x);
    case Test::kNotEqual:
      return absl::StrCat("value != ", x);
    case Test::kLess:
      return absl::StrCat("value < ", x);
    case Test::kLessOrEqual:
      return absl::StrCat("value <= ", x);
    case Test::kGreater:
      return absl::StrCat("value > ", x);
    case Test::kGreaterOrEqual:
      return absl::StrCat("value >= ", x);
    case Test::kAllBits:
      return absl::StrFormat("all of 0x%x", x);
    case Test::kAnyBits:
      return absl::StrFormat("any of 0x%x", x);
  }
  return "?";
}

std::string ToString(const Action& action) {
  switch (action.change) {
    case Action::Change::kNone:
      return "";
    case Action::Change::kSet:
      return absl::StrCat("set ", action.operand);
    case Action::Change::kAdd:
      return absl::StrCat("add ", action.operand);
    case Action::Change::kAnd:
      return absl::StrFormat("and 0x%x", action.operand);
    case Action::Change::kOr:
      return absl::StrFormat("or 0x%x", action.operand);
  }
  return "?";
}

std::string Generation(uint64_t generation) {
  return generation == 0 ? "" : absl::StrCat(", generation ", generation);
}

std::string Quoted(const std::string& data) {
  constexpr size_t kShown = 40;
  return absl::StrCat("\"", absl::CHexEscape(data.substr(0, kShown)), "\"",
                      data.size() > kShown ? "..." : "", " (", data.size(),
                      " bytes)");
}

}  // namespace

bool Condition::Holds(int64_t value) const {
  switch (test) {
    case Test::kWoken:
      return false;
    case Test::kEqual:
      return value == operand;
    case Test::kNotEqual:
      return value != operand;
    case Test::kLess:
      return value < operand;
    case Test::kLessOrEqual:
      return value <= operand;
    case Test::kGreater:
      return value > operand;
    case Test::kGreaterOrEqual:
      return value >= operand;
    case Test::kAllBits:
      return (value & operand) == operand;
    case Test::kAnyBits:
      return (value & operand) != 0;
  }
  return false;
}

std::optional<int64_t> Action::Apply(int64_t value) const {
  switch (change) {
    case Change::kNone:
      return value;
    case Change::kSet:
      return operand;
    case Change::kAdd: {
      const __int128 sum = static_cast<__int128>(value) + operand;
      if (sum != static_cast<int64_t>(sum)) return std::nullopt;
      return static_cast<int64_t>(sum);
    }
    case Change::kAnd:
      return value & operand;
    case Change::kOr:
      return value | operand;
  }
  return std::nullopt;
}

std::string ToString(const WordCall& call) {
  const std::string action = ToString(call.action);
  const std::string generation = Generation(call.generation);
  switch (call.kind) {
    case WordCall::Kind::kWait:
      return Line(call,
                  absl::StrCat("Wait(", ToString(call.condition),
                               action.empty() ? "" : "; then ", action,
                               call.then_wake ? ", wake" : "",
                               call.undo ? ", undo)" : ")"),
                  absl::StrCat(" ", call.value_before, " -> ", call.value_after,
                               generation));
    case WordCall::Kind::kWakeUp:
      return Line(
          call,
          absl::StrCat(
              "WakeUp(", action, action.empty() || call.grant == 0 ? "" : ", ",
              call.grant == 0 ? "" : absl::StrCat("grant ", call.grant), ")"),
          absl::StrCat(" value ", call.value_after, ", woken ", call.woken,
                       generation));
    case WordCall::Kind::kStore:
      return Line(call, absl::StrCat("Store(", call.action.operand, ")"),
                  absl::StrCat(" before ", call.value_before, generation));
    case WordCall::Kind::kGet:
      return Line(call, "Get()",
                  absl::StrCat(" ", call.value_after, generation));
  }
  return "?";
}

std::string ToString(const CompletionCall& call) {
  const std::string generation = Generation(call.generation);
  const std::string taker =
      absl::StrCat(call.redelivered ? ", redelivered" : "",
                   call.may_be_redelivered ? ", may come again" : "");
  const auto count = [](uint32_t n) {
    return n == CompletionCall::kAll ? "all" : absl::StrCat(n);
  };
  switch (call.kind) {
    case CompletionCall::Kind::kWait:
      return Line(call, "Wait()", absl::StrCat(taker, generation));
    case CompletionCall::Kind::kTryWait:
      return Line(
          call, "TryWait()",
          absl::StrCat(call.yes ? " taken" : " nothing", taker, generation));
    case CompletionCall::Kind::kComplete:
      return Line(call, absl::StrCat("Complete(", count(call.nr), ")"),
                  absl::StrCat(" woken ", call.woken, ", done ",
                               count(call.done), generation));
    case CompletionCall::Kind::kReinit:
      return Line(call, "Reinit()", generation);
    case CompletionCall::Kind::kDone:
      return Line(call, "Done()", call.yes ? " true" : " false");
  }
  return "?";
}

std::string ToString(const PipeCall& call) {
  if (call.kind == PipeCall::Kind::kAccept) {
    return absl::StrCat(
        Line(call,
             absl::StrCat(
                 "Accept(", call.hold_id, " of ", call.incarnation,
                 call.up_to == 0 ? "" : absl::StrCat(", up to ", call.up_to),
                 ")"),
             ""),
        call.stale ? ", stale" : "");
  }
  if (call.kind == PipeCall::Kind::kRelease) {
    return absl::StrCat(Line(call,
                             absl::StrCat("Release(", call.hold_id, " of ",
                                          call.incarnation, ")"),
                             ""),
                        call.stale ? ", stale" : "");
  }
  if (call.kind == PipeCall::Kind::kWrite) {
    return Line(call, absl::StrCat("Write(", Quoted(call.data), ")"),
                absl::StrCat(" accepted ", call.accepted_bytes, ", up to ",
                             call.offset, " of ", call.incarnation));
  }
  return Line(
      call,
      absl::StrCat("Read(max ", call.max_bytes, ", min ", call.min_bytes, ")"),
      absl::StrCat(
          " ", Quoted(call.data), " at ", call.offset, " of ", call.incarnation,
          call.redelivered ? ", redelivered" : "",
          call.hold_id == 0 ? "" : absl::StrCat(", hold ", call.hold_id),
          call.taken ? "" : ", not taken",
          call.may_be_redelivered ? ", may come again" : ""));
}

Lives::Lives(std::vector<int64_t> restarts) : restarts_(std::move(restarts)) {
  std::sort(restarts_.begin(), restarts_.end());
}

int Lives::First(const Call& call) const {
  return static_cast<int>(
      std::lower_bound(restarts_.begin(), restarts_.end(), call.invoked) -
      restarts_.begin());
}

int Lives::Last(const Call& call) const {
  int64_t end = call.returned;
  if (call.outcome == Outcome::kUnknown) {
    end = call.outlives_restarts ? kNever : call.invoked;
  }
  return static_cast<int>(
      std::upper_bound(restarts_.begin(), restarts_.end(), end) -
      restarts_.begin());
}

int64_t Lives::End(int life) const {
  const size_t i = static_cast<size_t>(life);
  return i < restarts_.size() ? restarts_[i] : kNever;
}

std::string Report::ToString() const {
  std::string text =
      absl::StrCat(calls, " calls (", unknown, " unknown) of ", objects,
                   " objects, ", steps, " steps: ", violations.size(),
                   " violations, ", undecided.size(), " undecided\n");
  for (const Violation& one : violations) {
    absl::StrAppend(&text, one.object, ": ", one.what, "\n");
  }
  for (const std::string& object : undecided) {
    absl::StrAppend(&text, object, ": undecided, the search took too long\n");
  }
  return text;
}

void Report::Add(const Report& other) {
  violations.insert(violations.end(), other.violations.begin(),
                    other.violations.end());
  undecided.insert(undecided.end(), other.undecided.begin(),
                   other.undecided.end());
  objects += other.objects;
  calls += other.calls;
  unknown += other.unknown;
  steps += other.steps;
}

}  // namespace waitq::history
