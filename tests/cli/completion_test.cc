#include "cli/completion.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace waitq::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class CompletionTest : public testing::Test {
 protected:
  CompletionTest() {
    app_.fallthrough();
    app_.add_option("--server", server_, "Where it is");
    app_.add_flag("--json", json_, "As JSON");
    CLI::App* run = app_.add_subcommand("run", "Runs");
    run->add_option("-l,--lock", text_, "The lock");
    run->add_flag("--nonblock", json_, "At once");
    run->add_option("NAME", text_, "Its name");
    run->add_option("CMD", words_, "What to run");
    app_.add_subcommand("reinit", "Forgets");
    app_.add_subcommand("secret", "Not for people")->group("");
  }

  // What may follow.
  std::vector<std::string> WordsFor(const std::vector<std::string>& words) {
    std::vector<std::string> found;
    for (const Candidate& candidate : Complete(app_, words).candidates) {
      found.push_back(candidate.word);
    }
    return found;
  }
  // The option or argument whose value the last word is; "" if it is none.
  std::string ValueFor(const std::vector<std::string>& words) {
    const Completion completion = Complete(app_, words);
    if (completion.value == nullptr) return "";
    const bool positional = completion.value->get_positional();
    return completion.value->get_name(positional);
  }

  std::string server_, text_;
  std::vector<std::string> words_;
  bool json_ = false;
  CLI::App app_{"A program", "program"};
};

TEST_F(CompletionTest, TheFirstWordIsACommandThatIsNotHidden) {
  EXPECT_THAT(WordsFor({""}), ElementsAre("run", "reinit"));
  EXPECT_THAT(WordsFor({"re"}), ElementsAre("reinit"));
  EXPECT_THAT(WordsFor({"x"}), IsEmpty());
  EXPECT_THAT(WordsFor({}), ElementsAre("run", "reinit"));
}

TEST_F(CompletionTest, OptionsBeforeTheCommandAreSteppedOver) {
  EXPECT_THAT(WordsFor({"--json", "--server", "host:1", "ru"}),
              ElementsAre("run"));
  EXPECT_THAT(WordsFor({"--server=host:1", "ru"}), ElementsAre("run"));
}

TEST_F(CompletionTest, OptionsAreTheCommandsAndTheProgramsOnce) {
  EXPECT_THAT(
      WordsFor({"run", "--"}),
      ElementsAre("--help", "--lock", "--nonblock", "--server", "--json"));
  EXPECT_THAT(WordsFor({"run", "--l"}), ElementsAre("--lock"));
  EXPECT_THAT(WordsFor({"--s"}), ElementsAre("--server"));
}

TEST_F(CompletionTest, AnOptionIsFollowedByItsValue) {
  EXPECT_EQ(ValueFor({"run", "--lock", "re"}), "--lock");
  EXPECT_EQ(ValueFor({"run", "-l", ""}), "--lock");
  EXPECT_EQ(ValueFor({"run", "--server", ""}), "--server");
  // As bash sees --lock=a.
  EXPECT_EQ(ValueFor({"run", "--lock", "=", "a"}), "--lock");
  EXPECT_EQ(ValueFor({"run", "--lock", "="}), "--lock");
  EXPECT_EQ(Complete(app_, {"run", "--lock", "="}).typed, "");
  EXPECT_EQ(ValueFor({"run", "--nonblock", ""}), "NAME") << "a flag has none";
}

TEST_F(CompletionTest, ArgumentsComeOneAfterTheOther) {
  EXPECT_EQ(ValueFor({"run", ""}), "NAME");
  EXPECT_EQ(ValueFor({"run", "a"}), "NAME");
  EXPECT_EQ(ValueFor({"run", "a", ""}), "CMD");
  EXPECT_EQ(ValueFor({"run", "--lock", "x", "a", ""}), "CMD");
  EXPECT_EQ(ValueFor({"run", "a", "b", "c", ""}), "CMD") << "it takes many";
  EXPECT_EQ(ValueFor({"reinit", ""}), "") << "there is none";
}

TEST_F(CompletionTest, AfterTwoDashesThereAreNoOptions) {
  EXPECT_EQ(ValueFor({"run", "a", "--", "--"}), "CMD");
  EXPECT_THAT(WordsFor({"run", "a", "--", "--"}), IsEmpty());
}

TEST_F(CompletionTest, OfAnOptionThatIsGivenTwiceTheLastValueCounts) {
  EXPECT_EQ(
      ValueOf(app_, {"--server", "a", "run", "--server=b", ""}, "--server"),
      "b");
  EXPECT_EQ(ValueOf(app_, {"run", "--server", "a"}, "--server"), "")
      << "it is being typed";
}

}  // namespace
}  // namespace waitq::cli
