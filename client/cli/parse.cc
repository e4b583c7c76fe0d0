#include "client/cli/parse.h"

#include <charconv>
#include <cstddef>
#include <limits>
#include <optional>
#include <string_view>
#include <system_error>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace waitq::cli {
namespace {

constexpr size_t kNameBytesMax = 255;

absl::Status NotA(absl::string_view what, const std::string& text,
                  absl::string_view forms) {
  return absl::InvalidArgumentError(absl::StrCat("'", absl::CHexEscape(text),
                                                 "' is not ", what,
                                                 " (accepted: ", forms, ")"));
}

// All of `text`, decimal or 0x and hexadecimal, or nothing.
template <class Integer>
std::optional<Integer> Number(std::string_view text) {
  bool negative = false;
  if (std::numeric_limits<Integer>::is_signed &&
      (text.starts_with('-') || text.starts_with('+'))) {
    negative = text.front() == '-';
    text.remove_prefix(1);
  }
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    base = 16;
    text.remove_prefix(2);
  }
  uint64_t magnitude;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), magnitude, base);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  constexpr auto kMax =
      static_cast<uint64_t>(std::numeric_limits<Integer>::max());
  if (magnitude > kMax + (negative ? 1 : 0)) return std::nullopt;
  // In unsigned arithmetic: the lowest number has no positive counterpart.
  return static_cast<Integer>(negative ? 0 - magnitude : magnitude);
}

// What follows `prefix` in `text`, if it begins so.
std::optional<std::string_view> After(std::string_view text,
                                      std::string_view prefix) {
  if (!text.starts_with(prefix)) return std::nullopt;
  return text.substr(prefix.size());
}

bool IsNameText(const std::string& text) {
  for (const char c : text) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '.' &&
        c != '_' && c != '/' && c != '-') {
      return false;
    }
  }
  return text.size() <= kNameBytesMax;
}

constexpr char kNameForms[] = "1 to 255 bytes of A-Z a-z 0-9 . _ / -";

}  // namespace

absl::StatusOr<Condition> ParseCondition(const std::string& text) {
  using Test = Condition::Test;
  constexpr struct {
    std::string_view prefix;
    Test test;
  } kComparisons[] = {
      // The longer ones first.
      {"==", Test::kEqual},          {"!=", Test::kNotEqual},
      {"<=", Test::kLessOrEqual},    {"<", Test::kLess},
      {">=", Test::kGreaterOrEqual}, {">", Test::kGreater},
  };
  for (const auto& [prefix, test] : kComparisons) {
    if (auto rest = After(text, prefix)) {
      if (auto number = Number<int64_t>(*rest)) {
        return Condition{test, *number};
      }
      break;
    }
  }
  // A mask without bits would be true always, or never.
  if (auto rest = After(text, "all:")) {
    auto mask = Number<uint64_t>(*rest);
    if (mask.value_or(0) != 0) return Condition::AllBits(*mask);
  } else if (auto bits = After(text, "any:")) {
    auto mask = Number<uint64_t>(*bits);
    if (mask.value_or(0) != 0) return Condition::AnyBits(*mask);
  } else if (auto since = After(text, "changed:")) {
    if (auto generation = Number<uint64_t>(*since)) {
      return Condition::ChangedSince(*generation);
    }
  }
  return NotA("a condition", text,
              "==N !=N <N <=N >N >=N all:0xM any:0xM changed:G; "
              "N a 64-bit number, M not 0");
}

absl::StatusOr<Action> ParseAction(const std::string& text) {
  if (auto rest = After(text, "set:")) {
    if (auto number = Number<int64_t>(*rest)) return Action::Set(*number);
  } else if (auto addend = After(text, "add:")) {
    if (auto number = Number<int64_t>(*addend)) return Action::Add(*number);
  } else if (auto kept = After(text, "and:")) {
    if (auto mask = Number<uint64_t>(*kept)) return Action::AndBits(*mask);
  } else if (auto added = After(text, "or:")) {
    if (auto mask = Number<uint64_t>(*added)) return Action::OrBits(*mask);
  }
  return NotA("an action", text,
              "set:N add:N and:0xM or:0xM; N and M 64-bit numbers");
}

absl::StatusOr<Alternative> ParseAlternative(const std::string& text) {
  const auto wrong = [&] {
    return NotA("what to wait for", text,
                "queue:NAME[,COND[,ACTION]] completion:NAME pipe:NAME[,SIZE]");
  };
  const size_t colon = text.find(':');
  if (colon == std::string::npos) return wrong();
  const absl::StatusOr<ObjectKind> kind = ParseKind(text.substr(0, colon));
  if (!kind.ok()) return wrong();
  const std::vector<std::string> parts =
      absl::StrSplit(text.substr(colon + 1), ',');
  absl::StatusOr<std::string> name = ParseName(parts[0]);
  if (!name.ok()) return name.status();
  switch (*kind) {
    case ObjectKind::kWaitQueue: {
      if (parts.size() > 3) return wrong();
      WaitOptions options;
      if (parts.size() > 1) {
        const absl::StatusOr<Condition> condition = ParseCondition(parts[1]);
        if (!condition.ok()) return condition.status();
        options.condition = *condition;
      }
      if (parts.size() > 2) {
        const absl::StatusOr<Action> then = ParseAction(parts[2]);
        if (!then.ok()) return then.status();
        options.then = *then;
      }
      return Alternative::Wait(*std::move(name), options);
    }
    case ObjectKind::kCompletion:
      if (parts.size() > 1) return wrong();
      return Alternative::Await(*std::move(name));
    case ObjectKind::kPipe: {
      if (parts.size() > 2) return wrong();
      ReadOptions options;
      if (parts.size() > 1) {
        const absl::StatusOr<uint64_t> size = ParseSize(parts[1]);
        if (!size.ok()) return size.status();
        options.max_bytes = *size;
      }
      return Alternative::Read(*std::move(name), options);
    }
  }
  return wrong();
}

absl::StatusOr<absl::Duration> ParseTimeout(const std::string& text) {
  absl::Duration duration;
  // "inf" and what overflows are no durations to wait for, nor is "-0s".
  if (text.empty() || text.front() == '-' || text.front() == '+' ||
      !absl::ParseDuration(text, &duration) ||
      duration == absl::InfiniteDuration()) {
    return NotA("a duration", text, "200ms 1.5s 2m 1h30m 0; not negative");
  }
  return duration;
}

absl::StatusOr<uint64_t> ParseSize(const std::string& text) {
  constexpr struct {
    std::string_view suffix;
    int shift;
  } kUnits[] = {{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}, {"B", 0}};
  std::string_view number = text;
  int shift = 0;
  for (const auto& unit : kUnits) {
    if (number.ends_with(unit.suffix)) {
      number.remove_suffix(unit.suffix.size());
      shift = unit.shift;
      break;
    }
  }
  auto count = Number<uint64_t>(number);
  if (!count.has_value() ||
      *count > (std::numeric_limits<uint64_t>::max() >> shift)) {
    return NotA("a size", text, "4096 64KiB 1MiB 1GiB");
  }
  return *count << shift;
}

absl::StatusOr<int64_t> ParseInteger(const std::string& text) {
  auto number = Number<int64_t>(text);
  if (!number.has_value()) {
    return NotA("a signed 64-bit number", text, "-5 17 0x10");
  }
  return *number;
}

absl::StatusOr<uint64_t> ParseMask(const std::string& text) {
  auto mask = Number<uint64_t>(text);
  if (mask.value_or(0) == 0) {
    return NotA("a mask", text, "1 to 0xffffffffffffffff");
  }
  return *mask;
}

absl::StatusOr<uint64_t> ParseTaskId(const std::string& text) {
  auto id = Number<uint64_t>(text);
  if (id.value_or(0) == 0) return NotA("a task's id", text, "as ps shows it");
  return *id;
}

absl::StatusOr<TaskSignal> ParseTaskSignal(const std::string& text) {
  std::string name = absl::AsciiStrToUpper(text);
  if (std::string_view(name).starts_with("SIG")) name.erase(0, 3);
  if (name == "INT" || name == "2") return TaskSignal::kInt;
  if (name == "KILL" || name == "9") return TaskSignal::kKill;
  if (name == "TERM" || name == "15") return TaskSignal::kTerm;
  return NotA("a signal", text, "INT, TERM, KILL");
}

absl::StatusOr<int64_t> ParsePositive(const std::string& text) {
  const auto number = Number<int64_t>(text);
  if (number.value_or(0) <= 0) {
    return NotA("a number", text, "1 to 9223372036854775807");
  }
  return *number;
}

absl::StatusOr<SemaphoreName> ParseSemaphore(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) {
    return NotA("a semaphore", text, "NAME:N, N at a time");
  }
  absl::StatusOr<std::string> name = ParseName(text.substr(0, colon));
  if (!name.ok()) return name.status();
  const absl::StatusOr<int64_t> permits = ParsePositive(text.substr(colon + 1));
  if (!permits.ok()) return permits.status();
  return SemaphoreName{.name = *std::move(name), .permits = *permits};
}

absl::StatusOr<uint32_t> ParseCount(const std::string& text) {
  auto number = Number<uint32_t>(text);
  if (number.value_or(0) == 0) {
    return NotA("a count", text, "1 to 4294967295");
  }
  return *number;
}

absl::StatusOr<std::string> ParseName(const std::string& text) {
  if (text.empty() || !IsNameText(text)) {
    return NotA("a name", text, kNameForms);
  }
  return text;
}

absl::StatusOr<std::string> ParsePrefix(const std::string& text) {
  if (!IsNameText(text))
    return NotA("the beginning of a name", text, kNameForms);
  return text;
}

absl::StatusOr<ObjectKind> ParseKind(const std::string& text) {
  if (text == "queue") return ObjectKind::kWaitQueue;
  if (text == "completion") return ObjectKind::kCompletion;
  if (text == "pipe") return ObjectKind::kPipe;
  return NotA("a kind of object", text, "queue completion pipe");
}

absl::StatusOr<PipeProfile> ParseProfile(const std::string& text) {
  if (text == "fifo") return PipeProfile::kFifo;
  if (text == "queue") return PipeProfile::kQueue;
  if (text == "scull") return PipeProfile::kScull;
  return NotA("a profile", text, "fifo queue scull");
}

}  // namespace waitq::cli
