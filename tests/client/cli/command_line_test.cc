#include "client/cli/command_line.h"

#include <cstdlib>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"

namespace waitq::cli {
namespace {

absl::StatusOr<CommandLine> Parse(const std::string& line) {
  return ParseCommandLine(absl::StrSplit(line, ' ', absl::SkipEmpty()));
}

class CommandLineTest : public testing::Test {
 protected:
  CommandLineTest() { unsetenv("WAITQ_SERVER"); }
};

TEST_F(CommandLineTest, EveryCommandIsUnderstood) {
  for (const char* line : {
           "wait flag",
           "wait flag --until ==1 --then set:0 --timeout 200ms --killable",
           "wait flag --until all:0x3 --shared --nonblock",
           "wait flag --uninterruptible",
           "wake flag",
           "wake flag --set 1 --all --interruptible",
           "wake flag --add -1 --nr 2",
           "wake flag --set=-1",
           "get flag",
           "store flag -5",
           "wait-any completion:c",
           "wait-any queue:q,!=7 completion:c pipe:p,1KiB --timeout 1s",
           "wait-any pipe:p --nonblock --killable --timing",
           "write p",
           "write p file --timeout 1s --nonblock",
           "write p -",
           "read p",
           "read p --max 1MiB --timeout 0 --nonblock",
           "create p --kind pipe --capacity 64KiB --atomic-max 1KiB",
           "create q --kind queue",
           "create c --kind completion",
           "ls",
           "ls jobs/",
           "stat p",
           "rm p --force",
           "ps",
           "ps flag",
       }) {
    const absl::StatusOr<CommandLine> parsed = Parse(line);
    ASSERT_TRUE(parsed.ok()) << line << ": " << parsed.status();
    EXPECT_TRUE(parsed->command) << line;
    EXPECT_EQ(parsed->help, "") << line;
  }
}

TEST_F(CommandLineTest, ABadArgumentIsNamedWithWhatIsAccepted) {
  const struct {
    const char* line;
    std::vector<std::string> parts;
  } kCases[] = {
      {"", {"subcommand"}},
      {"frob x", {"'frob'", "wait", "ps"}},
      {"wait", {"NAME"}},
      {"wait a:b", {"NAME", "'a:b'", "1 to 255 bytes"}},
      {"wait flag extra", {"extra"}},
      {"wait flag --frob", {"--frob"}},
      {"wait flag --until =1", {"--until", "'=1'", "all:0xM"}},
      {"wait flag --then 1", {"--then", "'1'", "set:N"}},
      {"wait flag --timeout -1s", {"--timeout", "'-1s'", "200ms"}},
      {"wait flag --timeout", {"--timeout"}},
      {"wait flag --killable --uninterruptible", {"--killable"}},
      {"wake flag --nr 0", {"--nr", "'0'", "1 to"}},
      {"wake flag --nr 1 --all", {"--nr", "--all"}},
      {"wake flag --set 1 --add 1", {"--set", "--add"}},
      {"wait-any", {"TERM"}},
      {"wait-any pipe:p flag", {"TERM", "'flag'", "completion:NAME"}},
      {"wait-any queue:q,=1", {"TERM", "'=1'", "all:0xM"}},
      {"store flag", {"N"}},
      {"store flag one", {"N", "'one'", "64-bit"}},
      {"read p --max 1.5KiB", {"--max", "'1.5KiB'", "64KiB"}},
      {"create p", {"--kind"}},
      {"create p --kind fifo", {"--kind", "'fifo'", "pipe"}},
      {"create p --kind queue --capacity 1KiB", {"--capacity", "pipe"}},
      {"create p --kind pipe --capacity x", {"--capacity", "'x'", "64KiB"}},
      {"ls *", {"PREFIX", "'*'"}},
  };
  for (const auto& [line, parts] : kCases) {
    const absl::Status status = Parse(line).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << line;
    for (const std::string& part : parts) {
      EXPECT_TRUE(absl::StrContains(status.message(), part))
          << line << ": " << status.message() << " has no " << part;
    }
    EXPECT_FALSE(absl::StrContains(status.message(), "\n")) << line;
  }
}

TEST_F(CommandLineTest, ServerComesFromOptionThenEnvironmentThenDefault) {
  EXPECT_EQ(Parse("ps")->server, "127.0.0.1:7411");
  setenv("WAITQ_SERVER", "unix:/run/waitq", 1);
  EXPECT_EQ(Parse("ps")->server, "unix:/run/waitq");
  EXPECT_EQ(Parse("--server a:1 ps")->server, "a:1");
  EXPECT_EQ(Parse("ps --server a:1")->server, "a:1");
}

TEST_F(CommandLineTest, HelpHasExamplesAndNoCommand) {
  for (const char* line : {"--help", "wait --help", "-h"}) {
    const absl::StatusOr<CommandLine> parsed = Parse(line);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_FALSE(parsed->command) << line;
    EXPECT_TRUE(absl::StrContains(parsed->help, "xample")) << parsed->help;
  }
}

}  // namespace
}  // namespace waitq::cli
