#include "server/state_file.h"

#include <cstdio>
#include <fstream>
#include <limits>
#include <string>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace waitq {
namespace {

using ::testing::HasSubstr;

class StateFileTest : public testing::Test {
 protected:
  ~StateFileTest() override { std::remove(path_.c_str()); }

  void Write(const std::string& text) { std::ofstream(path_) << text; }
  uint64_t First() { return StateFile::Open(path_).value().first_generation(); }

  const std::string path_ = testing::TempDir() + "/state";
};

TEST_F(StateFileTest, WithoutAFileTheClockSaysWhereToBegin) {
  const auto before = static_cast<uint64_t>(absl::GetCurrentTimeNanos());
  EXPECT_GE(First(), before);
}

TEST_F(StateFileTest, AFileAheadOfTheClockBeatsIt) {
  const uint64_t ahead = uint64_t{1} << 62;
  Write(std::to_string(ahead));
  EXPECT_EQ(First(), ahead);
}

// Killed at any moment: what it gave is below what the next one begins with.
TEST_F(StateFileTest, WhatAKilledServerGaveIsNotGivenAgain) {
  uint64_t generation;
  {
    StateFile state = StateFile::Open(path_).value();
    generation = state.first_generation();
    for (int i = 0; i < 20; ++i) {
      generation += 100'000'000;  // in one second
      ASSERT_TRUE(state.KeepAhead(generation).ok());
    }
    generation += 100'000'000;
  }
  Write([&] {  // and the clock set back: only the file is left
    std::ifstream file(path_);
    std::string text;
    std::getline(file, text);
    return text;
  }());
  EXPECT_GT(First(), generation);
}

TEST_F(StateFileTest, AStoppedServersLastOneIsWhereTheNextBegins) {
  const uint64_t last = uint64_t{1} << 61;
  ASSERT_TRUE(StateFile::Open(path_).value().Close(last).ok());
  EXPECT_EQ(First(), last);
}

TEST_F(StateFileTest, WhatIsNoStateFileIsRefused) {
  for (const char* text : {"", "x", "-1", "12 13", "99999999999999999999999"}) {
    Write(text);
    const absl::Status status = StateFile::Open(path_).status();
    EXPECT_THAT(std::string(status.message()), HasSubstr("not a state file"))
        << text;
  }
}

TEST_F(StateFileTest, AFolderThatIsNotThereIsSaidSo) {
  const absl::Status status = StateFile::Open("/no/such/folder/state").status();
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("/no/such/folder/state"));
}

}  // namespace
}  // namespace waitq
