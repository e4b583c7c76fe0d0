#include "client/cli/parse.h"

#include <cstdint>
#include <limits>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace waitq::cli {
namespace {

constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

// Every text is refused with one line that quotes it and has `forms` in it.
template <class Parse>
void ExpectRefused(Parse parse, const std::string& forms,
                   const std::vector<std::string>& texts) {
  for (const std::string& text : texts) {
    const absl::Status status = parse(text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    const std::string message(status.message());
    EXPECT_TRUE(absl::StrContains(message, "'" + text + "'")) << message;
    EXPECT_TRUE(absl::StrContains(message, forms)) << message;
    EXPECT_FALSE(absl::StrContains(message, "\n")) << message;
  }
}

TEST(ParseConditionTest, EveryFormIsUnderstood) {
  using Kind = Condition::Test;
  const struct {
    const char* text;
    Condition condition;
  } kCases[] = {
      {"==1", {Kind::kEqual, 1}},
      {"==-1", {Kind::kEqual, -1}},
      {"==+1", {Kind::kEqual, 1}},
      {"==0x10", {Kind::kEqual, 16}},
      {"!=0", {Kind::kNotEqual, 0}},
      {"<5", {Kind::kLess, 5}},
      {"<=5", {Kind::kLessOrEqual, 5}},
      {">5", {Kind::kGreater, 5}},
      {">=-9223372036854775808", {Kind::kGreaterOrEqual, kMin}},
      {">=9223372036854775807", {Kind::kGreaterOrEqual, kMax}},
      {"all:0x3", Condition::AllBits(3)},
      {"any:0xffffffffffffffff", Condition::AnyBits(~uint64_t{0})},
      {"any:6", Condition::AnyBits(6)},
      {"changed:0", Condition::ChangedSince(0)},
      {"changed:18446744073709551615", Condition::ChangedSince(~uint64_t{0})},
  };
  for (const auto& [text, condition] : kCases) {
    const absl::StatusOr<Condition> parsed = ParseCondition(text);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, condition) << text;
  }
}

TEST(ParseConditionTest, AnythingElseIsRefused) {
  ExpectRefused(ParseCondition,
                "==N !=N <N <=N >N >=N all:0xM any:0xM changed:G",
                {"",
                 "1",
                 "=1",
                 "==",
                 "==a",
                 "== 1",
                 "==1 ",
                 "==1x",
                 "==--1",
                 "==0x",
                 "===1",
                 "<>1",
                 "all:0",
                 "any:0x0",
                 "all:",
                 "all:-1",
                 "ALL:0x1",
                 "changed:-1",
                 "changed",
                 "==9223372036854775808",
                 "all:0x10000000000000000",
                 "changed:18446744073709551616"});
}

TEST(ParseActionTest, EveryFormIsUnderstood) {
  const struct {
    const char* text;
    Action action;
  } kCases[] = {
      {"set:0", Action::Set(0)},
      {"set:-7", Action::Set(-7)},
      {"add:1", Action::Add(1)},
      {"add:-1", Action::Add(-1)},
      {"and:0xff", Action::AndBits(255)},
      {"and:0", Action::AndBits(0)},
      {"or:0x8000000000000000", Action::OrBits(uint64_t{1} << 63)},
  };
  for (const auto& [text, action] : kCases) {
    const absl::StatusOr<Action> parsed = ParseAction(text);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, action) << text;
  }
}

TEST(ParseActionTest, AnythingElseIsRefused) {
  ExpectRefused(ParseAction, "set:N add:N and:0xM or:0xM",
                {"", "1", "set", "set:", "set:x", "set=1", "and:-1", "xor:1",
                 "add:9223372036854775808"});
}

TEST(ParseTimeoutTest, EveryFormIsUnderstood) {
  const struct {
    const char* text;
    absl::Duration duration;
  } kCases[] = {
      {"0", absl::ZeroDuration()},        {"200ms", absl::Milliseconds(200)},
      {"1.5s", absl::Milliseconds(1500)}, {"2m", absl::Minutes(2)},
      {"1h30m", absl::Minutes(90)},       {"100us", absl::Microseconds(100)},
      {".5s", absl::Milliseconds(500)},
  };
  for (const auto& [text, duration] : kCases) {
    const absl::StatusOr<absl::Duration> parsed = ParseTimeout(text);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, duration) << text;
  }
}

TEST(ParseTimeoutTest, NegativeEndlessAndUnitlessOnesAreRefused) {
  ExpectRefused(ParseTimeout, "200ms 1.5s 2m",
                {"", "-1s", "-0", "+1s", "inf", "-inf", "5", "1 s", "1S", "s",
                 "1d", "forever", "99999999999999999999h"});
}

TEST(ParseSizeTest, EveryFormIsUnderstood) {
  const struct {
    const char* text;
    uint64_t bytes;
  } kCases[] = {
      {"0", 0},
      {"4096", 4096},
      {"10B", 10},
      {"64KiB", 65536},
      {"1MiB", 1 << 20},
      {"2GiB", uint64_t{2} << 30},
      {"1TiB", uint64_t{1} << 40},
      {"18446744073709551615", ~uint64_t{0}},
  };
  for (const auto& [text, bytes] : kCases) {
    const absl::StatusOr<uint64_t> parsed = ParseSize(text);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, bytes) << text;
  }
}

TEST(ParseSizeTest, AnythingElseIsRefused) {
  ExpectRefused(ParseSize, "4096 64KiB 1MiB",
                {"", "-1", "+1", "1.5KiB", "64KB", "64k", "64 KiB", "KiB",
                 "18446744073709551616", "99999999999999TiB"});
}

TEST(ParseIntegerTest, TheWholeRangeIsUnderstood) {
  EXPECT_EQ(ParseInteger("-9223372036854775808").value(), kMin);
  EXPECT_EQ(ParseInteger("9223372036854775807").value(), kMax);
  EXPECT_EQ(ParseInteger("-0x1").value(), -1);
}

TEST(ParseIntegerTest, AnythingElseIsRefused) {
  ExpectRefused(ParseInteger, "64-bit",
                {"", "-", "1.0", " 1", "1 ", "-9223372036854775809",
                 "9223372036854775808", "0x"});
}

TEST(ParseCountTest, ZeroIsNoCount) {
  EXPECT_EQ(ParseCount("1").value(), 1u);
  EXPECT_EQ(ParseCount("4294967295").value(), 4294967295u);
  ExpectRefused(ParseCount, "1 to 4294967295",
                {"0", "-1", "4294967296", "all", ""});
}

TEST(ParseMaskTest, ZeroIsNoMask) {
  EXPECT_EQ(ParseMask("1").value(), 1u);
  EXPECT_EQ(ParseMask("0xffffffffffffffff").value(), ~uint64_t{0});
  ExpectRefused(ParseMask, "0xffffffffffffffff", {"0", "0x0", "-1", "x", ""});
}

TEST(ParseTaskIdTest, ZeroIsNoTask) {
  EXPECT_EQ(ParseTaskId("17").value(), 17u);
  ExpectRefused(ParseTaskId, "ps", {"0", "-1", "x", ""});
}

TEST(ParseTaskSignalTest, NamesAndNumbersAreUnderstood) {
  for (const char* text : {"TERM", "SIGTERM", "term", "sigterm", "15"}) {
    EXPECT_EQ(ParseTaskSignal(text).value(), TaskSignal::kTerm) << text;
  }
  EXPECT_EQ(ParseTaskSignal("INT").value(), TaskSignal::kInt);
  EXPECT_EQ(ParseTaskSignal("9").value(), TaskSignal::kKill);
  ExpectRefused(ParseTaskSignal, "INT, TERM, KILL", {"HUP", "1", "SIG", ""});
}

TEST(ParseNameTest, NamesAreWhatTheServerTakesForOnes) {
  for (const char* name : {"a", "A.b_c/d-9", "-", "/"}) {
    EXPECT_TRUE(ParseName(name).ok()) << name;
  }
  EXPECT_TRUE(ParseName(std::string(255, 'x')).ok());
  ExpectRefused(ParseName, "1 to 255 bytes",
                {"", "a b", "a:b", "a*", std::string(256, 'x')});
  // Quoted in a way that a terminal can bear.
  EXPECT_TRUE(
      absl::StrContains(ParseName("\x1b[2J").status().message(), "'\\x1b[2J'"));
}

TEST(ParsePrefixTest, MayBeNothing) {
  EXPECT_TRUE(ParsePrefix("").ok());
  EXPECT_TRUE(ParsePrefix("jobs/").ok());
  EXPECT_FALSE(ParsePrefix("*").ok());
}

TEST(ParseAlternativeTest, EveryFormIsUnderstood) {
  const auto word = ParseAlternative("queue:a/b,>=1,add:-1");
  ASSERT_TRUE(word.ok()) << word.status();
  EXPECT_EQ(word->name, "a/b");
  const auto& options = std::get<WaitOptions>(word->options);
  EXPECT_EQ(options.condition, Condition::AtLeast(1));
  EXPECT_EQ(options.then, Action::Add(-1));
  const auto look = ParseAlternative("queue:q,all:0x3");
  EXPECT_EQ(std::get<WaitOptions>(look->options).condition,
            Condition::AllBits(3));
  EXPECT_EQ(std::get<WaitOptions>(look->options).then, std::nullopt);
  const auto wake = ParseAlternative("queue:q");
  EXPECT_EQ(std::get<WaitOptions>(wake->options).condition, std::nullopt);
  const auto done = ParseAlternative("completion:c");
  EXPECT_EQ(done->name, "c");
  EXPECT_TRUE(std::holds_alternative<AwaitOptions>(done->options));
  EXPECT_EQ(
      std::get<ReadOptions>(ParseAlternative("pipe:p")->options).max_bytes,
      64u << 10);
  EXPECT_EQ(
      std::get<ReadOptions>(ParseAlternative("pipe:p,1KiB")->options).max_bytes,
      1u << 10);
}

TEST(ParseAlternativeTest, OthersAreRefusedWithWhatIsAccepted) {
  ExpectRefused(ParseAlternative, "queue:NAME[,COND[,ACTION]]",
                {"", "flag", "word:flag", "queue", "completion:c,1",
                 "pipe:p,1,2", "queue:q,==1,set:0,x"});
  for (const char* text : {"queue:", "completion:a b", "pipe:,1"}) {
    EXPECT_TRUE(absl::StrContains(ParseAlternative(text).status().message(),
                                  "1 to 255 bytes"))
        << text;
  }
  EXPECT_FALSE(ParseAlternative("queue:q,").ok());
  EXPECT_FALSE(ParseAlternative("queue:q,==1,").ok());
  EXPECT_FALSE(ParseAlternative("pipe:p,x").ok());
}

TEST(ParseProfileTest, NamesTheThree) {
  EXPECT_EQ(ParseProfile("fifo").value(), PipeProfile::kFifo);
  EXPECT_EQ(ParseProfile("queue").value(), PipeProfile::kQueue);
  EXPECT_EQ(ParseProfile("scull").value(), PipeProfile::kScull);
  ExpectRefused(ParseProfile, "fifo queue scull", {"FIFO", "", "pipe"});
}

TEST(ParseKindTest, NamesTheThree) {
  EXPECT_EQ(ParseKind("queue").value(), ObjectKind::kWaitQueue);
  EXPECT_EQ(ParseKind("completion").value(), ObjectKind::kCompletion);
  EXPECT_EQ(ParseKind("pipe").value(), ObjectKind::kPipe);
  ExpectRefused(ParseKind, "queue completion pipe", {"", "Pipe", "fifo"});
}

}  // namespace
}  // namespace waitq::cli
