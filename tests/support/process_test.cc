#include "tests/support/process.h"

#include <signal.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "gtest/gtest.h"

namespace waitq::test {
namespace {

TEST(ProcessTest, GivesOutputErrorsAndExitCode) {
  Process process({"sh", "-c", "echo out; echo err >&2; exit 7"});
  EXPECT_EQ(process.WaitFor(), 7);
  EXPECT_EQ(process.Output(), "out\n");
  EXPECT_EQ(process.Errors(), "err\n");
}

TEST(ProcessTest, ReportsTheSignalThatEndedIt) {
  Process process({"sleep", "1000"});
  process.Signal(SIGINT);
  EXPECT_EQ(process.WaitFor(), 128 + SIGINT);
}

TEST(ProcessTest, WaitForGivesUpAfterItsBound) {
  Process process({"sleep", "1000"});
  EXPECT_EQ(process.WaitFor(absl::Milliseconds(20)), std::nullopt);
  EXPECT_TRUE(process.IsRunning());
}

TEST(ProcessTest, FeedsItsInput) {
  Process process({"cat"}, {.input_pipe = true});
  EXPECT_TRUE(process.WriteInput("first\n"));
  EXPECT_EQ(process.AwaitLine("first"), "first");
  EXPECT_TRUE(process.WriteInput("rest"));
  process.CloseInput();
  EXPECT_EQ(process.WaitFor(), 0);
  EXPECT_EQ(process.Output(), "first\nrest");
}

TEST(ProcessTest, ReadsAndWritesFiles) {
  TemporaryFolder folder;
  std::ofstream(folder.Path("in")) << "words";
  Process process({"cat"}, {.input_file = folder.Path("in"),
                            .output_file = folder.Path("out")});
  EXPECT_EQ(process.WaitFor(), 0);
  std::string words;
  std::ifstream(folder.Path("out")) >> words;
  EXPECT_EQ(words, "words");
}

TEST(ProcessTest, AddsToTheEnvironment) {
  Process process({"sh", "-c", "echo $HOME"},
                  {.environment = {{"HOME", "elsewhere"}}});
  EXPECT_EQ(process.AwaitLine("else"), "elsewhere");
}

TEST(ProcessTest, AwaitLineEndsWithTheProgram) {
  Process process({"sh", "-c", "echo one; printf two"});
  EXPECT_EQ(process.AwaitLine("one"), "one");
  EXPECT_EQ(process.AwaitLine("two"), std::nullopt) << "not a whole line";
}

TEST(ProcessTest, LeavesNothingBehind) {
  auto process =
      std::make_unique<Process>(std::vector<std::string>{"sleep", "1000"});
  const pid_t pid = process->pid();
  process->Signal(SIGSTOP);  // not even one that is stopped
  process.reset();
  EXPECT_EQ(kill(pid, 0), -1);
}

TEST(ProcessTest, LeavesNoGrandchildBehind) {
  auto process = std::make_unique<Process>(
      std::vector<std::string>{"sh", "-c", "sleep 1000 & echo $!; wait"});
  const std::optional<std::string> line = process->AwaitLine("");
  ASSERT_TRUE(line.has_value());
  process.reset();
  // It is reaped by whoever inherits it; a zombie would do too.
  EXPECT_TRUE(Await([&] {
    std::string state;
    std::ifstream stat("/proc/" + *line + "/stat");
    return !(stat >> state >> state >> state) || state == "Z";
  }));
}

TEST(ProcessTest, SaysWhenThereIsNoSuchProgram) {
  Process process({"/nonexistent/program"});
  EXPECT_EQ(process.WaitFor(), 127);
  EXPECT_NE(process.Errors(), "");
}

TEST(ProcessTest, KnowsTheFiguresOfAProcess) {
  const ProcessFigures figures = FiguresOf(getpid());
  EXPECT_GE(figures.threads, 1);
  EXPECT_GT(figures.resident_kib, 0);
  EXPECT_GE(figures.peak_resident_kib, figures.resident_kib);
  EXPECT_GT(figures.cpu_time, absl::ZeroDuration());
}

TEST(TemporaryFolderTest, GoesWithAllItHolds) {
  std::string path;
  {
    TemporaryFolder folder;
    path = folder.Path("file");
    std::ofstream(path) << "x";
    EXPECT_TRUE(std::filesystem::exists(path));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace waitq::test
