// `waitq --json`: every command that prints, one line each, of protobuf's JSON
// mapping; and `--timing`.

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"
#include "tests/e2e/fixture.h"
#include "waitq/v1/completions.pb.h"
#include "waitq/v1/objects.pb.h"
#include "waitq/v1/pipes.pb.h"
#include "waitq/v1/tasks.pb.h"
#include "waitq/v1/wait_queues.pb.h"

namespace waitq::test {
namespace {

using ::testing::MatchesRegex;

// The one line that a command printed, as the message that it is.
template <class Message>
Message FromJson(const std::string& output) {
  Message message;
  EXPECT_EQ(output.find('\n'), output.size() - 1) << "one line: " << output;
  EXPECT_TRUE(
      google::protobuf::util::JsonStringToMessage(output, &message).ok())
      << output;
  return message;
}

class CliJsonTest : public WaitqTest {
 protected:
  template <class Message>
  Message Json(std::vector<std::string> arguments) {
    arguments.push_back("--json");
    return FromJson<Message>(WaitqOk(arguments));
  }
};

TEST_F(CliJsonTest, WaitQueues) {
  EXPECT_EQ(Json<v1::StoreResponse>({"store", "q", "5"}).value_before(), 0);
  EXPECT_EQ(Json<v1::GetResponse>({"get", "q"}).value(), 5);
  const auto wait = Json<v1::WaitResponse>(
      {"wait", "q", "--until", "==5", "--then", "set:6", "--timing"});
  EXPECT_EQ(wait.value_before(), 5);
  EXPECT_EQ(wait.value_after(), 6);
  EXPECT_TRUE(wait.has_timing());
  EXPECT_EQ(Json<v1::WakeUpResponse>({"wake", "q", "--add", "1"}).value(), 7);
}

TEST_F(CliJsonTest, Completions) {
  EXPECT_EQ(Json<v1::CompleteResponse>({"complete", "c"}).done(), 1u);
  EXPECT_EQ(Json<v1::CompletionWaitResponse>({"await", "c"}).outcome(),
            v1::OUTCOME_DONE);
  EXPECT_GT(Json<v1::ReinitResponse>({"reinit", "c"}).generation(), 0u);
}

TEST_F(CliJsonTest, Pipes) {
  EXPECT_EQ(Json<v1::WriteResponse>({"send", "jobs", "abc"}).accepted_bytes(),
            3u);
  EXPECT_TRUE(Json<v1::PollResponse>({"poll", "jobs", "--in"}).in());
  EXPECT_EQ(Json<v1::ReadResponse>({"recv", "jobs"}).data(), "abc");
  const auto written =
      Json<v1::WriteStreamResponse>({"write", "p", "/dev/null"});
  EXPECT_EQ(written.outcome(), v1::OUTCOME_DONE);
  EXPECT_GT(written.incarnation(), 0u);
  EXPECT_EQ(Json<v1::ReadStreamResponse>({"read", "p"}).outcome(),
            v1::OUTCOME_END_OF_FILE);
}

TEST_F(CliJsonTest, AnyOfSeveral) {
  WaitqOk({"send", "work", "abc"});
  const auto any = Json<v1::WaitAnyResponse>(
      {"wait-any", "completion:stop", "pipe:work", "--timing"});
  EXPECT_EQ(any.outcome(), v1::OUTCOME_DONE);
  EXPECT_EQ(any.alternative(), 1u);
  EXPECT_EQ(any.read().data(), "abc");
  EXPECT_TRUE(any.has_timing());
  const Result none =
      Waitq({"wait-any", "completion:stop", "--nonblock", "--json"});
  EXPECT_EQ(none.exit, 11);
  EXPECT_FALSE(FromJson<v1::WaitAnyResponse>(none.out).has_alternative());
}

TEST_F(CliJsonTest, ObjectsAndTasks) {
  EXPECT_TRUE(
      Json<v1::CreateResponse>({"create", "o", "--kind", "queue"}).created());
  EXPECT_EQ(Json<v1::StatResponse>({"stat", "o"}).object().name(), "o");
  EXPECT_EQ(Json<v1::ListObjectsResponse>({"ls"}).objects_size(), 1);
  EXPECT_EQ(Json<v1::ListTasksResponse>({"ps"}).tasks_size(), 0);
  EXPECT_EQ(Json<v1::RemoveResponse>({"rm", "o"}).ended(), 0u);
}

// What did not happen is an answer, too; the exit code says the same.
TEST_F(CliJsonTest, OutcomesThatAreNotDone) {
  const auto timed_out =
      Waitq({"wait", "q", "--until", "==1", "--timeout", "1ms", "--json"});
  EXPECT_EQ(timed_out.exit, 124);
  EXPECT_EQ(FromJson<v1::WaitResponse>(timed_out.out).outcome(),
            v1::OUTCOME_TIMED_OUT);
  const auto would_block = Waitq({"recv", "jobs", "--nonblock", "--json"});
  EXPECT_EQ(would_block.exit, 11);
  EXPECT_EQ(FromJson<v1::ReadResponse>(would_block.out).outcome(),
            v1::OUTCOME_WOULD_BLOCK);
}

TEST_F(CliJsonTest, TimingOfWhatTimedOut) {
  EXPECT_THAT(
      Waitq({"wait", "q", "--until", "==9", "--timeout", "1ms", "--timing"})
          .err,
      ::testing::HasSubstr(" overshoot="));
  EXPECT_THAT(Waitq({"poll", "p", "--in", "--timeout", "1ms", "--timing"}).err,
              ::testing::HasSubstr(" overshoot="));
}

TEST_F(CliJsonTest, TimingForPeople) {
  WaitqOk({"complete", "c"});
  EXPECT_THAT(WaitqOk({"await", "c", "--timing"}),
              MatchesRegex("generation=[0-9]+ slept=no asleep=0 "
                           "wake_to_send=[0-9.µmnu]*s overshoot=0 place=0\n"));
}

}  // namespace
}  // namespace waitq::test
