#include "client/wire.h"

#include <cstdint>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/types.h"
#include "gtest/gtest.h"

namespace waitq {
namespace {

TEST(WireTest, EveryTestOfTheWordHasItsField) {
  using Kind = Condition::Test;
  EXPECT_EQ(ToWire(Condition{Kind::kEqual, -1}).equal(), -1);
  EXPECT_EQ(ToWire(Condition{Kind::kNotEqual, 2}).not_equal(), 2);
  EXPECT_EQ(ToWire(Condition{Kind::kLess, 3}).less(), 3);
  EXPECT_EQ(ToWire(Condition{Kind::kLessOrEqual, 4}).less_or_equal(), 4);
  EXPECT_EQ(ToWire(Condition{Kind::kGreater, 5}).greater(), 5);
  EXPECT_EQ(ToWire(Condition{Kind::kGreaterOrEqual, 6}).greater_or_equal(), 6);
  EXPECT_EQ(ToWire(Condition::AllBits(~uint64_t{0})).all_bits(), ~uint64_t{0});
  EXPECT_EQ(ToWire(Condition::AnyBits(7)).any_bits(), 7u);
  EXPECT_EQ(ToWire(Condition::ChangedSince(~uint64_t{1})).changed_since(),
            ~uint64_t{1});
}

TEST(WireTest, ATestAgainst0IsATestAllTheSame) {
  EXPECT_TRUE(ToWire(Condition::Equal(0)).has_equal());
  EXPECT_TRUE(ToWire(Condition::ChangedSince(0)).has_changed_since());
  EXPECT_TRUE(ToWire(Action::Set(0)).has_set());
}

TEST(WireTest, EveryChangeOfTheWordHasItsField) {
  EXPECT_EQ(ToWire(Action::Set(-1)).set(), -1);
  EXPECT_EQ(ToWire(Action::Add(2)).add(), 2);
  EXPECT_EQ(ToWire(Action::AndBits(~uint64_t{0})).and_bits(), ~uint64_t{0});
  EXPECT_EQ(ToWire(Action::OrBits(4)).or_bits(), 4u);
}

TEST(WireTest, OutcomesAreTheSameAtBothEnds) {
  EXPECT_EQ(FromWire(v1::OUTCOME_DONE).value(), Outcome::kDone);
  EXPECT_EQ(FromWire(v1::OUTCOME_TIMED_OUT).value(), Outcome::kTimedOut);
  EXPECT_EQ(FromWire(v1::OUTCOME_WOULD_BLOCK).value(), Outcome::kWouldBlock);
  EXPECT_EQ(FromWire(v1::OUTCOME_END_OF_FILE).value(), Outcome::kEndOfFile);
  EXPECT_EQ(FromWire(v1::OUTCOME_UNSPECIFIED).status().code(),
            absl::StatusCode::kInternal);
}

TEST(WireTest, OptionsThatAreNotSetStayTheServers) {
  v1::WaitRequest request;
  SetSleep(WaitOptions{}, request);
  EXPECT_FALSE(request.has_timeout());
  EXPECT_FALSE(request.nonblock());
  EXPECT_EQ(request.sleep(), v1::SLEEP_UNSPECIFIED);
  EXPECT_FALSE(ToWire(PipeOptions{}).has_capacity_bytes());
}

TEST(WireTest, ATimeoutOf0IsATimeout) {
  v1::WaitRequest request;
  SetSleep(WaitOptions{.timeout = absl::ZeroDuration()}, request);
  EXPECT_TRUE(request.has_timeout());
}

TEST(WireTest, AnObjectHasTheStateOfItsKind) {
  v1::ObjectStat stat;
  stat.set_name("p");
  stat.set_kind(v1::OBJECT_KIND_PIPE);
  stat.mutable_pipe()->set_unread_bytes(3);
  EXPECT_EQ(std::get<PipeInfo>(FromWire(stat).state).unread_bytes, 3u);
  stat.set_kind(v1::OBJECT_KIND_COMPLETION);
  stat.mutable_completion()->set_done(4);
  EXPECT_EQ(std::get<CompletionInfo>(FromWire(stat).state).done, 4u);
  stat.set_kind(v1::OBJECT_KIND_WAIT_QUEUE);
  stat.mutable_wait_queue()->set_value(-5);
  EXPECT_EQ(std::get<WaitQueueInfo>(FromWire(stat).state).value, -5);
}

TEST(WireTest, ATaskWithoutATimeoutHasNoneLeft) {
  v1::Task task;
  EXPECT_EQ(FromWire(task).remaining, std::nullopt);
  *task.mutable_remaining() = ToWire(absl::Seconds(1));
  task.set_state(v1::SLEEP_UNINTERRUPTIBLE);
  EXPECT_EQ(FromWire(task).remaining, absl::Seconds(1));
  EXPECT_EQ(FromWire(task).state, Sleep::kUninterruptible);
}

}  // namespace
}  // namespace waitq
