#include "client/cli/output.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "client/error.h"

namespace waitq::cli {
namespace {

using Row = std::vector<std::string>;

// Other people's text must not move the cursor of a terminal.
std::string Plain(std::string text) {
  for (char& c : text) {
    if (!absl::ascii_isprint(static_cast<unsigned char>(c))) c = '?';
  }
  return text;
}

const char* YesNo(bool value) { return value ? "yes" : "no"; }

std::string Short(absl::Duration duration) {
  return absl::FormatDuration(absl::Trunc(duration, absl::Milliseconds(1)));
}

const char* KindName(ObjectKind kind) {
  switch (kind) {
    case ObjectKind::kWaitQueue:
      return "queue";
    case ObjectKind::kCompletion:
      return "completion";
    case ObjectKind::kPipe:
      return "pipe";
  }
  return "?";
}

const char* StateLetter(Sleep state) {
  switch (state) {
    case Sleep::kInterruptible:
      return "S";
    case Sleep::kKillable:
      return "K";
    case Sleep::kUninterruptible:
      return "D";
  }
  return "?";
}

std::string DoneText(uint32_t done) {
  return done == std::numeric_limits<uint32_t>::max() ? "all"
                                                      : absl::StrCat(done);
}

// What there is to say about any object, by name.
const char* ProfileName(PipeProfile profile) {
  switch (profile) {
    case PipeProfile::kFifo:
      return "fifo";
    case PipeProfile::kQueue:
      return "queue";
    case PipeProfile::kScull:
      return "scull";
  }
  return "";
}

std::vector<std::pair<std::string, std::string>> StateFields(
    const ObjectInfo& object) {
  if (auto* queue = std::get_if<WaitQueueInfo>(&object.state)) {
    std::vector<std::pair<std::string, std::string>> fields = {
        {"value", absl::StrCat(queue->value)}};
    if (queue->grants > 0) {
      fields.emplace_back("grants", absl::StrCat(queue->grants));
    }
    return fields;
  }
  if (auto* completion = std::get_if<CompletionInfo>(&object.state)) {
    return {{"done", DoneText(completion->done)}};
  }
  const auto& pipe = std::get<PipeInfo>(object.state);
  return {{"unread", absl::StrCat(pipe.unread_bytes)},
          {"held", absl::StrCat(pipe.held_bytes)},
          {"capacity", absl::StrCat(pipe.capacity_bytes)},
          {"atomic_max", absl::StrCat(pipe.atomic_max_bytes)},
          {"read_offset", absl::StrCat(pipe.read_offset)},
          {"write_offset", absl::StrCat(pipe.write_offset)},
          {"readers", absl::StrCat(pipe.readers)},
          {"writers", absl::StrCat(pipe.writers)},
          {"mode", pipe.mode == PipeMode::kPacket ? "packet" : "stream"},
          {"profile", ProfileName(pipe.profile)}};
}

}  // namespace

std::string ErrorLine(const std::string& object, const std::string& what) {
  return Plain(object.empty() ? absl::StrCat("waitq: ", what)
                              : absl::StrCat("waitq: ", object, ": ", what));
}

std::string ErrorText(const std::string& object, const absl::Status& status) {
  absl::string_view what = status.message();
  // The server names the object too.
  if (!object.empty()) absl::ConsumePrefix(&what, absl::StrCat(object, ": "));
  std::string text(what);
  if (text.empty()) text = absl::StatusCodeToString(status.code());
  const std::string limit = ErrorLimit(status);
  if (!limit.empty() && !absl::StrContains(text, limit)) {
    absl::StrAppend(&text, " (", limit, ")");
  }
  return text;
}

std::string OutcomeText(Outcome outcome, bool broken,
                        std::optional<absl::Duration> timeout) {
  switch (outcome) {
    case Outcome::kDone:
      return "done";
    case Outcome::kTimedOut:
      return timeout.has_value() ? absl::StrCat("timed out after ",
                                                absl::FormatDuration(*timeout))
                                 : "timed out";
    case Outcome::kWouldBlock:
      return "would block";
    case Outcome::kEndOfFile:
      return broken ? "broken end of file: a writer went away without closing"
                    : "end of file";
  }
  return "?";
}

std::string WaitLine(const WaitResult& result, bool with_before) {
  std::string line = absl::StrCat("value=", result.value_after);
  if (with_before) absl::StrAppend(&line, " before=", result.value_before);
  absl::StrAppend(&line, " generation=", result.generation,
                  " slept=", YesNo(result.slept));
  if (result.remaining.has_value()) {
    absl::StrAppend(&line,
                    " remaining=", absl::FormatDuration(*result.remaining));
  }
  line += TimingText(result.timing);
  return line;
}

std::string TimingText(const std::optional<Timing>& timing) {
  if (!timing.has_value()) return "";
  return absl::StrCat(
      " asleep=", absl::FormatDuration(timing->asleep),
      " wake_to_send=", absl::FormatDuration(timing->wake_to_send),
      " overshoot=", absl::FormatDuration(timing->overshoot),
      " place=", timing->place);
}

std::string AwaitLine(const AwaitResult& result) {
  std::string line = absl::StrCat("generation=", result.generation,
                                  " slept=", YesNo(result.slept));
  line += TimingText(result.timing);
  return line;
}

std::string WaitAnyLine(const WaitAnyResult& result,
                        const std::vector<Alternative>& alternatives) {
  if (result.result.index() == 0 || result.alternative >= alternatives.size()) {
    return "";
  }
  const Alternative& alternative = alternatives[result.alternative];
  const auto begin = [&](ObjectKind kind) {
    return absl::StrCat("alternative=", result.alternative,
                        " kind=", KindName(kind), " name=", alternative.name,
                        " ");
  };
  std::string line;
  if (const auto* wait = std::get_if<WaitResult>(&result.result)) {
    const auto& options = std::get<WaitOptions>(alternative.options);
    line = begin(ObjectKind::kWaitQueue) +
           WaitLine(*wait, options.then.has_value());
  } else if (const auto* await = std::get_if<AwaitResult>(&result.result)) {
    line = begin(ObjectKind::kCompletion) + AwaitLine(*await);
  } else {
    const auto& read = std::get<ReadResult>(result.result);
    line = absl::StrCat(begin(ObjectKind::kPipe), "bytes=", read.data.size());
    if (read.outcome == Outcome::kEndOfFile) {
      absl::StrAppend(&line, " end_of_file=", read.broken ? "broken" : "clean");
    }
    absl::StrAppend(&line, " slept=", YesNo(read.slept));
  }
  return line + TimingText(result.timing);
}

std::string WakeLine(const WakeResult& result) {
  return absl::StrCat(
      "woken=", result.woken, " exclusive=", result.woken_exclusive,
      " value=", result.value, " generation=", result.generation);
}

std::string CompleteLine(const CompleteResult& result) {
  return absl::StrCat("woken=", result.woken, " done=", DoneText(result.done),
                      " generation=", result.generation);
}

std::string PollLine(const PollResult& result) {
  std::vector<std::string> events;
  if (result.in) events.push_back("in");
  if (result.out) events.push_back("out");
  if (result.hup) events.push_back("hup");
  if (result.err) events.push_back("err");
  return absl::StrJoin(events, " ") + TimingText(result.timing);
}

std::string Table(const std::vector<Row>& rows) {
  std::vector<size_t> widths;
  for (const Row& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  std::string result;
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      absl::StrAppend(&result, row[i]);
      // No blanks at the end of a line.
      if (i + 1 < row.size()) {
        result.append(widths[i] - row[i].size() + 2, ' ');
      }
    }
    result += '\n';
  }
  return result;
}

std::string TaskTable(const std::vector<TaskInfo>& tasks) {
  std::vector<Row> rows = {{"ID", "STATE", "AGE", "LEFT", "PLACE", "OBJECT",
                            "CONDITION", "CALLER", "PEER"}};
  for (const TaskInfo& task : tasks) {
    rows.push_back(
        {absl::StrCat(task.id),
         absl::StrCat(StateLetter(task.state), task.detached ? "d" : ""),
         Short(task.age),
         task.remaining.has_value() ? Short(*task.remaining) : "-",
         absl::StrCat(task.place), Plain(task.object),
         task.alternative.has_value()
             ? absl::StrCat("any ", *task.alternative, ": ",
                            Plain(task.condition))
             : Plain(task.condition),
         task.caller.empty() ? "-" : Plain(task.caller), Plain(task.peer)});
  }
  return Table(rows);
}

std::string ObjectTable(const std::vector<ObjectInfo>& objects) {
  std::vector<Row> rows = {{"NAME", "KIND", "SLEEPERS", "STATE"}};
  for (const ObjectInfo& object : objects) {
    // The first field is the one that people look for.
    const auto [key, value] = StateFields(object).front();
    rows.push_back({Plain(object.name), KindName(object.kind),
                    absl::StrCat(object.sleepers),
                    absl::StrCat(key, "=", value)});
  }
  return Table(rows);
}

std::string ObjectText(const ObjectInfo& object) {
  std::string result = absl::StrCat(
      "name: ", Plain(object.name), "\nkind: ", KindName(object.kind),
      "\ncreated: ", YesNo(object.created), "\nsleepers: ", object.sleepers,
      "\nincarnation: ", object.incarnation,
      "\ngeneration: ", object.generation, "\n");
  for (const auto& [key, value] : StateFields(object)) {
    absl::StrAppend(&result, key, ": ", value, "\n");
  }
  return result;
}

}  // namespace waitq::cli
