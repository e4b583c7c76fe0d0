// What a client says of the results that it has.

#include "client/session/acknowledgements.h"

#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq::sim {
namespace {

struct Said {
  uint64_t up_to;
  std::vector<uint64_t> taken;
  std::vector<uint64_t> returned;

  bool operator==(const Said& other) const = default;
};

// One message.
Said SayPart(Acknowledgements& acknowledgements, size_t numbers_max) {
  v1::SessionRequest message;
  acknowledgements.Say(message, numbers_max);
  return {message.taken_up_to(),
          {message.taken().begin(), message.taken().end()},
          {message.returned().begin(), message.returned().end()}};
}

Said Say(Acknowledgements& acknowledgements) {
  const Said said = SayPart(acknowledgements, 1000);
  EXPECT_EQ(acknowledgements.unsaid(), 0u);
  return said;
}

TEST(AcknowledgementsTest, OthersAreFoldedWhenTheGapCloses) {
  Acknowledgements all;
  all.Take(1);
  all.Take(3);
  all.Take(5);
  EXPECT_EQ(Say(all), (Said{1, {3, 5}, {}}));
  EXPECT_EQ(Say(all), (Said{0, {}, {}}));
  all.Take(2);
  EXPECT_EQ(Say(all), (Said{3, {}, {}}));
  all.Take(4);
  all.Take(7);
  EXPECT_EQ(Say(all), (Said{5, {7}, {}}));
}

TEST(AcknowledgementsTest, WhatIsReturnedIsNotSaidToBeTaken) {
  Acknowledgements all;
  all.Return(3);
  all.Take(5);
  EXPECT_EQ(Say(all), (Said{0, {5}, {3}}));
}

TEST(AcknowledgementsTest, AllIsSaidAgainThatMayHaveBeenLost) {
  Acknowledgements all;
  all.Take(1);
  all.Return(3);
  all.Take(5);
  Say(all);
  all.Unsay();
  EXPECT_GT(all.unsaid(), 0u);
  EXPECT_EQ(Say(all), (Said{1, {5}, {3}}));
}

TEST(AcknowledgementsTest, AReturnThatHasArrivedIsNotSaidAgain) {
  Acknowledgements all;
  all.Return(1);
  Say(all);
  all.Mark();
  all.Return(2);
  Say(all);  // behind the mark
  all.Arrived();
  all.Unsay();
  EXPECT_EQ(Say(all), (Said{2, {}, {2}}));
}

TEST(AcknowledgementsTest, AMarkOfALostConnectionProvesNothing) {
  Acknowledgements all;
  all.Return(1);
  Say(all);
  all.Mark();
  all.Unsay();
  all.Arrived();
  EXPECT_EQ(Say(all), (Said{1, {}, {1}}));
}

TEST(AcknowledgementsTest, WhatDoesNotFitIsSaidWithTheNextMessages) {
  Acknowledgements all;
  for (uint64_t number = 3; number <= 9; ++number) all.Take(number);
  all.Take(1);
  EXPECT_EQ(SayPart(all, 3), (Said{1, {3, 4, 5}, {}}));
  EXPECT_GT(all.unsaid(), 0u);
  all.Take(11);
  EXPECT_EQ(SayPart(all, 3), (Said{1, {6, 7, 8}, {}}));
  EXPECT_GT(all.unsaid(), 0u);
  EXPECT_EQ(SayPart(all, 3), (Said{1, {9, 11}, {}}));
  EXPECT_EQ(all.unsaid(), 0u);
  all.Unsay();
  EXPECT_EQ(SayPart(all, 4), (Said{1, {3, 4, 5, 6}, {}}));
  // What is said by the others need not be said again.
  all.Take(2);
  EXPECT_EQ(SayPart(all, 4), (Said{9, {11}, {}}));
  EXPECT_EQ(all.unsaid(), 0u);
}

TEST(AcknowledgementsTest, NothingGoesOverReturnsThatAreYetToBeSaid) {
  Acknowledgements all;
  for (const uint64_t number : {2, 3, 4}) all.Return(number);
  all.Take(1);
  all.Take(6);
  EXPECT_EQ(SayPart(all, 2), (Said{0, {}, {2, 3}}));
  EXPECT_GT(all.unsaid(), 0u);
  EXPECT_EQ(SayPart(all, 2), (Said{4, {6}, {4}}));
  EXPECT_EQ(all.unsaid(), 0u);
  all.Unsay();
  EXPECT_EQ(SayPart(all, 2), (Said{0, {}, {2, 3}}));
  EXPECT_EQ(SayPart(all, 2), (Said{4, {6}, {4}}));
  EXPECT_EQ(all.unsaid(), 0u);
}

TEST(AcknowledgementsTest, WhatIsTakenAmongReturnsIsNotLost) {
  Acknowledgements all;
  // In any order.
  for (const uint64_t number : {9, 5, 7, 8, 3}) all.Take(number);
  for (const uint64_t number : {6, 11, 4}) all.Return(number);
  EXPECT_EQ(Say(all), (Said{0, {3, 5, 7, 8, 9}, {6, 11, 4}}));
  all.Unsay();
  EXPECT_EQ(Say(all), (Said{0, {3, 5, 7, 8, 9}, {6, 11, 4}}));
  all.Mark();
  all.Arrived();
  all.Take(2);
  all.Take(1);
  EXPECT_EQ(Say(all), (Said{9, {}, {}}));
}

TEST(AcknowledgementsTest, NothingIsNothing) {
  Acknowledgements all;
  all.Unsay();
  EXPECT_EQ(all.unsaid(), 0u);
}

}  // namespace
}  // namespace waitq::sim
