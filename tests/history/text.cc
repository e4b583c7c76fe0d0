#include "tests/history/text.h"

#include <array>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace waitq::history {
namespace {

// --- Values ------------------------------------------------------------------

template <class Enum, size_t n>
struct Names {
  std::array<std::pair<Enum, absl::string_view>, n> names;
};

constexpr Names<Outcome, 7> kOutcomes{{{{Outcome::kDone, "DONE"},
                                        {Outcome::kTimedOut, "TIMED_OUT"},
                                        {Outcome::kWouldBlock, "WOULD_BLOCK"},
                                        {Outcome::kEndOfFile, "END_OF_FILE"},
                                        {Outcome::kInterrupted, "INTERRUPTED"},
                                        {Outcome::kNoEffect, "NO_EFFECT"},
                                        {Outcome::kUnknown, "UNKNOWN"}}}};
constexpr Names<WordCall::Kind, 4> kWordKinds{
    {{{WordCall::Kind::kWait, "Wait"},
      {WordCall::Kind::kWakeUp, "WakeUp"},
      {WordCall::Kind::kStore, "Store"},
      {WordCall::Kind::kGet, "Get"}}}};
constexpr Names<CompletionCall::Kind, 5> kCompletionKinds{
    {{{CompletionCall::Kind::kWait, "Wait"},
      {CompletionCall::Kind::kTryWait, "TryWait"},
      {CompletionCall::Kind::kComplete, "Complete"},
      {CompletionCall::Kind::kReinit, "Reinit"},
      {CompletionCall::Kind::kDone, "Done"}}}};
constexpr Names<PipeCall::Kind, 4> kPipeKinds{
    {{{PipeCall::Kind::kWrite, "Write"},
      {PipeCall::Kind::kRead, "Read"},
      {PipeCall::Kind::kAccept, "Accept"},
      {PipeCall::Kind::kRelease, "Release"}}}};
// The longer ones first: one is what the text begins with.
constexpr Names<Condition::Test, 9> kTests{
    {{{Condition::Test::kWoken, "wake"},
      {Condition::Test::kEqual, "=="},
      {Condition::Test::kNotEqual, "!="},
      {Condition::Test::kLessOrEqual, "<="},
      {Condition::Test::kGreaterOrEqual, ">="},
      {Condition::Test::kLess, "<"},
      {Condition::Test::kGreater, ">"},
      {Condition::Test::kAllBits, "all:"},
      {Condition::Test::kAnyBits, "any:"}}}};
constexpr Names<Action::Change, 5> kChanges{{{{Action::Change::kNone, "none"},
                                              {Action::Change::kSet, "set:"},
                                              {Action::Change::kAdd, "add:"},
                                              {Action::Change::kAnd, "and:"},
                                              {Action::Change::kOr, "or:"}}}};

template <class Enum, size_t n>
std::string NameOf(const Names<Enum, n>& names, Enum value) {
  for (const auto& [one, name] : names.names) {
    if (one == value) return std::string(name);
  }
  return "?";
}

// Takes the name off the text.
template <class Enum, size_t n>
bool TakeName(const Names<Enum, n>& names, absl::string_view& text,
              Enum& value) {
  for (const auto& [one, name] : names.names) {
    if (!absl::ConsumePrefix(&text, name)) continue;
    value = one;
    return true;
  }
  return false;
}

const auto& NamesFor(Outcome) { return kOutcomes; }
const auto& NamesFor(WordCall::Kind) { return kWordKinds; }
const auto& NamesFor(CompletionCall::Kind) { return kCompletionKinds; }
const auto& NamesFor(PipeCall::Kind) { return kPipeKinds; }

std::string ToValue(const std::string& value) {
  return absl::StrReplaceAll(absl::CHexEscape(value), {{" ", "\\040"}});
}
std::string ToValue(bool value) { return value ? "1" : "0"; }
template <class Number>
requires std::is_integral_v<Number> std::string ToValue(Number value) {
  if constexpr (std::is_same_v<Number, int64_t>) {
    if (value == kNever) return "never";
  } else if constexpr (std::is_same_v<Number, uint32_t>) {
    if (value == CompletionCall::kAll) return "all";
  }
  return absl::StrCat(value);
}
template <class Enum>
requires std::is_enum_v<Enum> std::string ToValue(Enum value) {
  return NameOf(NamesFor(value), value);
}
std::string ToValue(const Condition& value) {
  const std::string test = NameOf(kTests, value.test);
  return value.test == Condition::Test::kWoken
             ? test
             : absl::StrCat(test, value.operand);
}
std::string ToValue(const Action& value) {
  const std::string change = NameOf(kChanges, value.change);
  return value.change == Action::Change::kNone
             ? change
             : absl::StrCat(change, value.operand);
}

bool FromValue(absl::string_view text, std::string& value) {
  return absl::CUnescape(text, &value);
}
bool FromValue(absl::string_view text, bool& value) {
  value = text == "1";
  return value || text == "0";
}
template <class Number>
requires std::is_integral_v<Number>
bool FromValue(absl::string_view text, Number& value) {
  if constexpr (std::is_same_v<Number, int64_t>) {
    if (text == "never") {
      value = kNever;
      return true;
    }
  } else if constexpr (std::is_same_v<Number, uint32_t>) {
    if (text == "all") {
      value = CompletionCall::kAll;
      return true;
    }
  }
  return absl::SimpleAtoi(text, &value);
}
template <class Enum>
requires std::is_enum_v<Enum>
bool FromValue(absl::string_view text, Enum& value) {
  return TakeName(NamesFor(value), text, value) && text.empty();
}
bool FromValue(absl::string_view text, Condition& value) {
  if (!TakeName(kTests, text, value.test)) return false;
  if (value.test == Condition::Test::kWoken) return text.empty();
  return absl::SimpleAtoi(text, &value.operand);
}
bool FromValue(absl::string_view text, Action& value) {
  if (!TakeName(kChanges, text, value.change)) return false;
  if (value.change == Action::Change::kNone) return text.empty();
  return absl::SimpleAtoi(text, &value.operand);
}

// --- Fields ------------------------------------------------------------------

struct RestartEvent {
  int64_t at = 0;
};
struct OptionsEvent {
  std::string object;
  PipeOptions options;
};
struct LeftEvent {
  std::string object;
  uint64_t incarnation = 0;
};
struct ChunkEvent : LeftEvent {
  uint64_t offset = 0;
  std::string data;
};

// Each names its fields to `field(name, value, default)`, once.
template <class C, class Field>
void CallFields(C& call, Field& field) {
  field("object", call.object, std::string());
  field("client", call.client, -1);
  field("invoked", call.invoked, int64_t{-1});
  field("returned", call.returned, kNever);
  field("outcome", call.outcome, Outcome{255});
  field("outlives_restarts", call.outlives_restarts, false);
}

template <class Field>
void Fields(WordCall& call, Field& field) {
  field("kind", call.kind, WordCall::Kind{255});
  CallFields(call, field);
  field("condition", call.condition, Condition());
  field("action", call.action, Action());
  field("then_wake", call.then_wake, false);
  field("before", call.value_before, int64_t{0});
  field("after", call.value_after, int64_t{0});
  field("woken", call.woken, uint64_t{0});
  field("generation", call.generation, uint64_t{0});
  field("undo", call.undo, false);
  field("undone_from", call.undone_from, kNever);
  field("undone_by", call.undone_by, kNever);
  field("grant", call.grant, uint64_t{0});
  field("may_be_passed_on", call.may_be_passed_on, false);
}

template <class Field>
void Fields(CompletionCall& call, Field& field) {
  field("kind", call.kind, CompletionCall::Kind{255});
  CallFields(call, field);
  field("nr", call.nr, uint32_t{1});
  field("yes", call.yes, false);
  field("redelivered", call.redelivered, false);
  field("woken", call.woken, uint64_t{0});
  field("done", call.done, uint32_t{0});
  field("generation", call.generation, uint64_t{0});
  field("may_be_redelivered", call.may_be_redelivered, false);
}

template <class Field>
void Fields(PipeCall& call, Field& field) {
  field("kind", call.kind, PipeCall::Kind{255});
  CallFields(call, field);
  field("max", call.max_bytes, uint64_t{65536});
  field("min", call.min_bytes, uint64_t{1});
  field("data", call.data, std::string());
  field("accepted", call.accepted_bytes, uint64_t{0});
  field("offset", call.offset, uint64_t{0});
  field("incarnation", call.incarnation, uint64_t{0});
  field("redelivered", call.redelivered, false);
  field("hold", call.hold_id, uint64_t{0});
  field("up_to", call.up_to, uint64_t{0});
  field("stale", call.stale, false);
  field("taken", call.taken, true);
  field("put_back_by", call.put_back_by, kNever);
  field("may_be_redelivered", call.may_be_redelivered, false);
  field("lost_if_unknown", call.lost_if_unknown, false);
}

template <class Field>
void Fields(RestartEvent& event, Field& field) {
  field("at", event.at, int64_t{0});
}

template <class Field>
void Fields(OptionsEvent& event, Field& field) {
  field("object", event.object, std::string());
  field("packets", event.options.packets, false);
  field("atomic", event.options.atomic_max_bytes, uint64_t{4096});
}

template <class Field>
void Fields(LeftEvent& event, Field& field) {
  field("object", event.object, std::string());
  field("incarnation", event.incarnation, uint64_t{0});
}

template <class Field>
void Fields(ChunkEvent& event, Field& field) {
  Fields(static_cast<LeftEvent&>(event), field);
  field("offset", event.offset, uint64_t{0});
  field("data", event.data, std::string());
}

// --- Lines -------------------------------------------------------------------

struct Writer {
  std::string line;

  template <class T>
  void operator()(const char* name, T& value, const T& plain) {
    if (value != plain) absl::StrAppend(&line, " ", name, "=", ToValue(value));
  }
};

struct Reader {
  std::map<absl::string_view, absl::string_view> values;
  std::string wrong;  // the first value that cannot be read

  template <class T>
  void operator()(const char* name, T& value, const T& plain) {
    const auto it = values.find(name);
    if (it == values.end()) {
      // An enum without a name has none.
      if constexpr (std::is_enum_v<T>) wrong = name;
      value = plain;
      return;
    }
    if (!FromValue(it->second, value) && wrong.empty()) wrong = name;
    values.erase(it);
  }
};

template <class Event>
std::string Line(const char* what, Event event) {
  Writer writer{what};
  Fields(event, writer);
  return writer.line;
}

// "": `event` is what `words` say, without the first one.
template <class Event>
std::string Parse(const std::vector<absl::string_view>& words, Event& event) {
  Reader reader;
  for (size_t i = 1; i < words.size(); ++i) {
    const std::pair<absl::string_view, absl::string_view> pair =
        absl::StrSplit(words[i], absl::MaxSplits('=', 1));
    reader.values[pair.first] = pair.second;
  }
  Fields(event, reader);
  if (!reader.wrong.empty()) return reader.wrong;
  if (reader.values.empty()) return "";
  return std::string(reader.values.begin()->first);
}

PipeLeft& LeftOf(History& history, const LeftEvent& event) {
  for (PipeLeft& left : history.left) {
    if (left.object == event.object && left.incarnation == event.incarnation) {
      return left;
    }
  }
  return history.left.emplace_back(
      PipeLeft{event.object, event.incarnation, {}});
}

// "": what the line says is in the history.
std::string ParseLine(absl::string_view line, History& history) {
  const std::vector<absl::string_view> words =
      absl::StrSplit(line, ' ', absl::SkipEmpty());
  const auto what = words[0];
  if (what == "word") return Parse(words, history.words.emplace_back());
  if (what == "completion") {
    return Parse(words, history.completions.emplace_back());
  }
  if (what == "pipe") return Parse(words, history.pipes.emplace_back());
  std::string wrong = std::string(what);
  if (what == "restart") {
    RestartEvent event;
    wrong = Parse(words, event);
    history.restarts.push_back(event.at);
  } else if (what == "options") {
    OptionsEvent event;
    wrong = Parse(words, event);
    history.pipe_options[event.object] = event.options;
  } else if (what == "left") {
    LeftEvent event;
    wrong = Parse(words, event);
    LeftOf(history, event);
  } else if (what == "chunk") {
    ChunkEvent event;
    wrong = Parse(words, event);
    LeftOf(history, event).chunks.push_back({event.offset, event.data});
  }
  return wrong;
}

}  // namespace

std::string ToLine(const WordCall& call) { return Line("word", call); }
std::string ToLine(const CompletionCall& call) {
  return Line("completion", call);
}
std::string ToLine(const PipeCall& call) { return Line("pipe", call); }

std::string RestartLine(int64_t time) {
  return Line("restart", RestartEvent{time});
}

std::string OptionsLine(const std::string& object, const PipeOptions& options) {
  return Line("options", OptionsEvent{object, options});
}

std::string ToLine(const PipeLeft& left) {
  std::string lines = Line("left", LeftEvent{left.object, left.incarnation});
  for (const PipeLeft::Chunk& chunk : left.chunks) {
    ChunkEvent event;
    event.object = left.object;
    event.incarnation = left.incarnation;
    event.offset = chunk.offset;
    event.data = chunk.data;
    absl::StrAppend(&lines, "\n", Line("chunk", event));
  }
  return lines;
}

std::string ToText(const History& history) {
  std::string text;
  for (const auto& call : history.words) {
    absl::StrAppend(&text, ToLine(call), "\n");
  }
  for (const auto& call : history.completions) {
    absl::StrAppend(&text, ToLine(call), "\n");
  }
  for (const auto& call : history.pipes) {
    absl::StrAppend(&text, ToLine(call), "\n");
  }
  for (const int64_t restart : history.restarts) {
    absl::StrAppend(&text, RestartLine(restart), "\n");
  }
  for (const auto& [object, options] : history.pipe_options) {
    absl::StrAppend(&text, OptionsLine(object, options), "\n");
  }
  for (const PipeLeft& left : history.left) {
    absl::StrAppend(&text, ToLine(left), "\n");
  }
  return text;
}

absl::StatusOr<History> ParseHistory(absl::string_view text) {
  History history;
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    if (absl::StripAsciiWhitespace(line).empty() || line[0] == '#') continue;
    const std::string wrong = ParseLine(line, history);
    if (!wrong.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", number, ": ", wrong));
    }
  }
  return history;
}

}  // namespace waitq::history
