// The programs of docs/kernel-tour.md print what it says.

#include <fstream>
#include <sstream>
#include <string>

#include "gtest/gtest.h"
#include "tests/support/process.h"

namespace waitq::test {
namespace {

std::string ReadTour() {
  std::ifstream file("docs/kernel-tour.md");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// What the tour shows as the output of a program: the first block of code after
// its link to it.
std::string Shown(const std::string& tour, const std::string& program) {
  const size_t link = tour.find("../examples/kernel/" + program + ".cc");
  const std::string fence = "```\n";
  const size_t begin = tour.find(fence, link) + fence.size();
  return tour.substr(begin, tour.find(fence, begin) - begin);
}

class KernelTourTest : public testing::TestWithParam<const char*> {};

TEST_P(KernelTourTest, TheProgramPrintsWhatTheTourShows) {
  const std::string program = GetParam();
  Process process({BuiltProgram("examples/kernel/" + program)});
  EXPECT_EQ(process.WaitFor(), 0) << process.Errors();
  EXPECT_EQ(process.Output(), Shown(ReadTour(), program));
  EXPECT_EQ(process.Errors(), "");
}

INSTANTIATE_TEST_SUITE_P(Programs, KernelTourTest,
                         testing::Values("sleepy", "getwritespace",
                                         "read_counter", "reinit", "busy_wait"),
                         [](const auto& test) {
                           return std::string(test.param);
                         });

}  // namespace
}  // namespace waitq::test
