#include "cli/manual.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace waitq::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(ManualTest, SaysWhatTheCommandLineSaysOfItself) {
  std::string server = "here:1", name;
  std::vector<std::string> words;
  bool quiet = false;
  CLI::App app("Does things.", "program");
  app.add_option("--server", server, "Where it is")
      ->type_name("ADDR")
      ->envname("THE_SERVER")
      ->capture_default_str();
  app.footer("Examples:\n  program run x");
  CLI::App* run = app.add_subcommand("run", "Run it");
  run->add_option("NAME", name, "Its name")->required();
  run->add_option("CMD", words, "What to run");
  run->add_flag("-q,--quiet", quiet, "Say nothing");
  app.add_subcommand("secret", "Not for people")->group("");

  EXPECT_THAT(
      ManualPage(app, {.section = 8,
                       .description = {"First.", "Second."},
                       .see_also = {"other(1)"}}),
      AllOf(HasSubstr(".TH PROGRAM 8"),
            HasSubstr(".SH NAME\nprogram \\- Does things\n"),
            HasSubstr(".PP\nFirst.\n.PP\nSecond.\n"),
            HasSubstr(".TP\n\\fB\\-\\-server\\fR \\fIADDR\\fR\nWhere it is. "
                      "Default: here:1. Environment: \\fBTHE_SERVER\\fR.\n"),
            HasSubstr(".SS \\fBprogram run\\fR [\\fIoptions\\fR] \\fINAME\\fR "
                      "[\\fICMD\\fR...]\nRun it.\n"),
            HasSubstr("\\fB\\-q\\fR, \\fB\\-\\-quiet\\fR\nSay nothing.\n"),
            HasSubstr("Examples:\n  program run x\n.fi\n"),
            HasSubstr("other(1)"), Not(HasSubstr("secret"))));
}

TEST(ManualTest, TextIsNotTakenForRequests) {
  CLI::App app(".so /etc/passwd is a \\request", "program");
  app.footer("'x\n.y\n-z");
  EXPECT_THAT(ManualPage(app, {}),
              AllOf(HasSubstr("\\&.so /etc/passwd is a \\erequest"),
                    HasSubstr("\n\\&'x\n\\&.y\n\\-z\n")));
}

}  // namespace
}  // namespace waitq::cli
