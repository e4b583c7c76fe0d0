#include "client/cli/json.h"

#include <limits>
#include <string>

#include "absl/time/time.h"
#include "client/types.h"
#include "gtest/gtest.h"

namespace waitq::cli {
namespace {

// The mapping: 64-bit numbers are strings, durations end in "s", what a script
// may look for is there though it is 0.
TEST(JsonTest, AnAnswerIsOneLineOfTheProtobufMapping) {
  const WaitResult result{.outcome = Outcome::kDone,
                          .value_before = 1,
                          .value_after = 0,
                          .generation = 17,
                          .remaining = absl::Milliseconds(1500),
                          .slept = false,
                          .timing = {}};
  EXPECT_EQ(Json(result),
            R"({"outcome":"OUTCOME_DONE","valueBefore":"1","valueAfter":"0",)"
            R"("generation":"17","slept":false,"remaining":"1.500s"})");
}

TEST(JsonTest, TimingIsInItIfItWasWanted) {
  AwaitResult result;
  result.slept = true;
  result.timing = Timing{.asleep = absl::Seconds(1),
                         .wake_to_send = absl::Microseconds(40),
                         .overshoot = absl::ZeroDuration(),
                         .place = 3};
  EXPECT_EQ(Json(result),
            R"({"outcome":"OUTCOME_DONE","slept":true,"generation":"0",)"
            R"("timing":{"place":"3","asleep":"1s","wakeToSend":"0.000040s",)"
            R"("overshoot":"0s"},"redelivered":false})");
}

TEST(JsonTest, OutcomesThatAreNotDoneAreNamed) {
  PollResult result;
  result.outcome = Outcome::kTimedOut;
  EXPECT_EQ(Json(result),
            R"({"outcome":"OUTCOME_TIMED_OUT","in":false,"out":false,)"
            R"("hup":false,"err":false,"slept":false})");
}

TEST(JsonTest, BytesAreBase64) {
  ReadResult result;
  result.data = std::string("\0\xff", 2);
  result.offset = 7;
  EXPECT_NE(Json(result).find(R"("data":"AP8=","offset":"7")"),
            std::string::npos)
      << Json(result);
}

TEST(JsonTest, CompleteAllIsTheLargestNumber) {
  CompleteResult result;
  result.done = std::numeric_limits<uint32_t>::max();
  EXPECT_EQ(Json(result),
            R"({"woken":"0","done":4294967295,"generation":"0"})");
}

TEST(JsonTest, AnObjectHasTheStateOfItsKind) {
  ObjectInfo object;
  object.name = "p";
  object.kind = ObjectKind::kPipe;
  object.state = PipeInfo{.capacity_bytes = 100};
  const std::string json = Json(object);
  EXPECT_EQ(json.rfind(R"({"object":{"name":"p","kind":"OBJECT_KIND_PIPE")", 0),
            0u)
      << json;
  EXPECT_NE(json.find(R"("pipe":{"capacityBytes":"100")"), std::string::npos)
      << json;
  EXPECT_EQ(json.find("waitQueue"), std::string::npos) << json;
}

TEST(JsonTest, AListIsOneLineToo) {
  EXPECT_EQ(Json(std::vector<TaskInfo>()),
            R"({"tasks":[],"nextPageToken":""})");
  TaskInfo task;
  task.id = 5;
  task.age = absl::Seconds(2);
  const std::string json = Json(std::vector<TaskInfo>(2, task));
  EXPECT_EQ(json.find('\n'), std::string::npos);
  EXPECT_NE(json.find(R"("age":"2s")"), std::string::npos) << json;
}

TEST(JsonTest, SingleNumbersAreAnswersToo) {
  EXPECT_EQ(JsonOfReinit(4), R"({"generation":"4"})");
  EXPECT_EQ(JsonOfRemove(0), R"({"ended":"0"})");
  EXPECT_EQ(JsonOfSignal(true), R"({"ended":true})");
}

}  // namespace
}  // namespace waitq::cli
