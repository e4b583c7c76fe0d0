#include "load/delivery_checker.h"

#include <cstdint>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "load/message.h"
#include "load/report.pb.h"

namespace waitq::load {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Message Of(uint32_t producer, uint64_t sequence) {
  return {.producer = producer, .sequence = sequence, .intended = {}};
}

// Producer 0 has sent 100, all were received.
void ReceiveAll(DeliveryChecker& checker) {
  checker.Sent(0, 100);
  for (uint64_t i = 0; i < 100; ++i) checker.Received(Of(0, i), false);
}

// As host 0 would see two hosts.
DeliveryChecker::Verdict Together(const DeliveryChecker& a,
                                  const DeliveryChecker& b) {
  DeliveryChecker all(0);
  for (const DeliveryChecker* one : {&a, &b}) {
    DeliveriesData data;
    one->Save(data);
    all.Merge(data);
  }
  return all.Judge();
}

TEST(DeliveryCheckerTest, IsContentWithAllInAnyOrder) {
  DeliveryChecker checker(2);
  checker.Sent(0, 70);
  checker.Sent(1, 3);
  for (uint64_t i = 70; i-- > 0;) checker.Received(Of(0, i), false);
  for (uint64_t i = 0; i < 3; ++i) checker.Received(Of(1, i), false);
  const auto verdict = checker.Judge();
  EXPECT_EQ(verdict.sent, 73u);
  EXPECT_EQ(verdict.received, 73u);
  EXPECT_THAT(verdict.failures, IsEmpty());
}

TEST(DeliveryCheckerTest, FindsAnyOneThatIsLost) {
  for (uint64_t lost = 0; lost < 100; ++lost) {
    DeliveryChecker checker(1);
    checker.Sent(0, 100);
    for (uint64_t i = 0; i < 100; ++i) {
      if (i != lost) checker.Received(Of(0, i), false);
    }
    const auto verdict = checker.Judge();
    EXPECT_EQ(verdict.lost, 1u);
    EXPECT_THAT(verdict.failures,
                ElementsAre(HasSubstr(
                    "1 lost (the first: " + std::to_string(lost) + ")")));
  }
}

TEST(DeliveryCheckerTest, FindsThatAllAreLost) {
  DeliveryChecker checker(1);
  checker.Sent(0, 5);
  EXPECT_EQ(checker.Judge().lost, 5u);
}

TEST(DeliveryCheckerTest, FindsOneThatCameTwice) {
  DeliveryChecker checker(1);
  ReceiveAll(checker);
  checker.Received(Of(0, 41), false);
  const auto verdict = checker.Judge();
  EXPECT_EQ(verdict.doubled, 1u);
  EXPECT_THAT(verdict.failures, ElementsAre(HasSubstr("1 came twice")));
}

TEST(DeliveryCheckerTest, FindsOneThatCameTwiceToDifferentHosts) {
  DeliveryChecker a(1), b(1);
  ReceiveAll(a);
  b.Received(Of(0, 41), false);
  EXPECT_EQ(Together(a, b).doubled, 1u);
  EXPECT_EQ(Together(b, a).doubled, 1u);
}

TEST(DeliveryCheckerTest, AcceptsASecondOneThatIsMarked) {
  DeliveryChecker here(1);
  ReceiveAll(here);
  here.Received(Of(0, 41), true);
  EXPECT_THAT(here.Judge().failures, IsEmpty());

  DeliveryChecker a(1), b(1);
  ReceiveAll(a);
  b.Received(Of(0, 41), true);
  EXPECT_THAT(Together(a, b).failures, IsEmpty());
  EXPECT_THAT(Together(b, a).failures, IsEmpty());
}

TEST(DeliveryCheckerTest, FindsOneThatNobodySent) {
  DeliveryChecker checker(1);
  ReceiveAll(checker);
  checker.Received(Of(0, 100), false);
  EXPECT_EQ(checker.Judge().invented, 1u);
  checker.Received(Of(7, 0), false);
  EXPECT_EQ(checker.Judge().invented, 2u);
  EXPECT_EQ(checker.Judge().failures.size(), 2u);
}

TEST(DeliveryCheckerTest, LeavesOpenWhatNobodyKnows) {
  DeliveryChecker checker(1);
  checker.Sent(0, 3);
  checker.Received(Of(0, 0), false);
  checker.Received(Of(0, 2), false);
  checker.Unknown(0, 1);
  EXPECT_THAT(checker.Judge().failures, IsEmpty());
  EXPECT_EQ(checker.Judge().unknown, 1u);
  checker.Received(Of(0, 1), false);
  EXPECT_THAT(checker.Judge().failures, IsEmpty());
}

TEST(DeliveryCheckerTest, AddsUpWhatHostsSentAndReceived) {
  DeliveryChecker sender(1), receiver(1);
  sender.Sent(0, 1000);
  for (uint64_t i = 0; i < 1000; ++i) {
    (i % 3 == 0 ? sender : receiver).Received(Of(0, i), false);
  }
  const auto verdict = Together(sender, receiver);
  EXPECT_EQ(verdict.received, 1000u);
  EXPECT_THAT(verdict.failures, IsEmpty());
}

using Order = OrderChecker::Order;

TEST(OrderCheckerTest, IsContentWithEachProducersOrder) {
  OrderChecker order(2);
  EXPECT_EQ(order.Received(Of(0, 0), 10, false), Order::kRight);
  EXPECT_EQ(order.Received(Of(1, 5), 20, false), Order::kRight);
  EXPECT_EQ(order.Received(Of(0, 2), 30, false), Order::kRight)
      << "1 went to another consumer";
  EXPECT_EQ(order.Received(Of(1, 6), 40, false), Order::kRight);
}

TEST(OrderCheckerTest, FindsThatOneWasOvertakenInTheQueue) {
  OrderChecker order(1);
  EXPECT_EQ(order.Received(Of(0, 2), 10, false), Order::kRight);
  EXPECT_EQ(order.Received(Of(0, 1), 20, false), Order::kWrong);
  EXPECT_EQ(order.Received(Of(0, 1), 30, false), Order::kWrong)
      << "the same again";
}

TEST(OrderCheckerTest, TellsALateResultFromAWrongOrder) {
  OrderChecker order(1);
  EXPECT_EQ(order.Received(Of(0, 1), 10, false), Order::kRight);
  EXPECT_EQ(order.Received(Of(0, 3), 30, false), Order::kRight);
  EXPECT_EQ(order.Received(Of(0, 2), 20, false), Order::kLate);
  EXPECT_EQ(order.Received(Of(0, 4), 25, false), Order::kWrong);
}

TEST(OrderCheckerTest, FindsItAfterManyToo) {
  OrderChecker order(1);
  for (uint64_t i = 0; i < 10'000; ++i) {
    ASSERT_EQ(order.Received(Of(0, i), 100 * i, false), Order::kRight);
  }
  EXPECT_EQ(order.Received(Of(0, 3), 1'000'000, false), Order::kWrong);
}

TEST(OrderCheckerTest, LetsWhatIsRedeliveredComeLate) {
  OrderChecker order(1);
  EXPECT_EQ(order.Received(Of(0, 8), 80, false), Order::kRight);
  EXPECT_EQ(order.Received(Of(0, 3), 30, true), Order::kRight);
  EXPECT_EQ(order.Received(Of(0, 8), 90, false), Order::kWrong);
}

}  // namespace
}  // namespace waitq::load
