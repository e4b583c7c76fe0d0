#include "client/cli/output.h"

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/error.h"
#include "client/types.h"
#include "gtest/gtest.h"

namespace waitq::cli {
namespace {

TEST(ErrorTextTest, NamesTheLimitUnlessTheServerHas) {
  absl::Status status = absl::ResourceExhaustedError("too many objects");
  SetErrorField(status, kLimitKey, "objects");
  EXPECT_EQ(ErrorText("p", status), "too many objects");
  SetErrorField(status, kLimitKey, "objects=10");
  EXPECT_EQ(ErrorText("p", status), "too many objects (objects=10)");
}

TEST(ErrorTextTest, LeavesTheObjectToTheLine) {
  const absl::Status status = absl::AbortedError("p: was removed");
  EXPECT_EQ(ErrorText("p", status), "was removed");
  EXPECT_EQ(ErrorText("q", status), "p: was removed");
  EXPECT_EQ(ErrorText("", status), "p: was removed");
}

TEST(ErrorTextTest, IsNeverEmpty) {
  EXPECT_EQ(ErrorText("p", absl::Status(absl::StatusCode::kAborted, "")),
            "ABORTED");
}

TEST(ErrorLineTest, NamesTheObjectIfThereIsOne) {
  EXPECT_EQ(ErrorLine("p", "was removed"), "waitq: p: was removed");
  EXPECT_EQ(ErrorLine("", "was removed"), "waitq: was removed");
}

TEST(ErrorLineTest, IsOneLineWhateverTheServerSays) {
  EXPECT_EQ(ErrorLine("p", "a\nb\x1b[2J"), "waitq: p: a?b?[2J");
}

TEST(OutcomeTextTest, SaysHowLongItWaited) {
  EXPECT_EQ(OutcomeText(Outcome::kTimedOut, false, absl::Milliseconds(200)),
            "timed out after 200ms");
}

TEST(WaitLineTest, IsOneLineOfKeysAndValues) {
  const WaitResult result{
      .value_before = 1, .value_after = 0, .generation = 17, .slept = true};
  EXPECT_EQ(WaitLine(result, false), "value=0 generation=17 slept=yes");
  EXPECT_EQ(WaitLine(result, true), "value=0 before=1 generation=17 slept=yes");
}

TEST(WaitLineTest, TellsWhatWasLeftOfTheTimeout) {
  const WaitResult result{.remaining = absl::Milliseconds(1500)};
  EXPECT_EQ(WaitLine(result, false),
            "value=0 generation=0 slept=no remaining=1.5s");
}

TEST(WaitAnyLineTest, TellsWhichAndWhat) {
  const std::vector<Alternative> alternatives = {
      Alternative::Wait("flag", {.then = Action::Set(0)}),
      Alternative::Await("job"), Alternative::Read("work")};
  WaitAnyResult result;
  EXPECT_EQ(WaitAnyLine(result, alternatives), "") << "nothing has ended it";
  result.result = WaitResult{
      .value_before = 1, .value_after = 0, .generation = 17, .slept = true};
  EXPECT_EQ(WaitAnyLine(result, alternatives),
            "alternative=0 kind=queue name=flag value=0 before=1 "
            "generation=17 slept=yes");
  result.alternative = 1;
  result.result = AwaitResult{.generation = 4};
  EXPECT_EQ(WaitAnyLine(result, alternatives),
            "alternative=1 kind=completion name=job generation=4 slept=no");
  result.alternative = 2;
  result.result = ReadResult{.data = "abc", .slept = true};
  EXPECT_EQ(WaitAnyLine(result, alternatives),
            "alternative=2 kind=pipe name=work bytes=3 slept=yes");
  result.result =
      ReadResult{.outcome = Outcome::kEndOfFile, .broken = true, .slept = true};
  EXPECT_EQ(WaitAnyLine(result, alternatives),
            "alternative=2 kind=pipe name=work bytes=0 end_of_file=broken "
            "slept=yes");
}

TEST(WakeLineTest, TellsHowManyWoke) {
  const WakeResult result{
      .woken = 3, .woken_exclusive = 1, .value = -1, .generation = 9};
  EXPECT_EQ(WakeLine(result), "woken=3 exclusive=1 value=-1 generation=9");
}

TEST(TableTest, ColumnsAreAsWideAsNeededAndLinesEndWithoutBlanks) {
  EXPECT_EQ(Table({{"A", "BB"}, {"aaa", "b"}, {"a", "bbbb"}}),
            "A    BB\n"
            "aaa  b\n"
            "a    bbbb\n");
}

TEST(TaskTableTest, ShowsWhoSleepsAndForHowLong) {
  TaskInfo task;
  task.id = 7;
  task.peer = "ipv4:127.0.0.1:40112";
  task.caller = "me\x1b[2J";
  task.state = Sleep::kKillable;
  task.object = "flag";
  task.condition = "value == 1";
  task.age = absl::Milliseconds(1500) + absl::Nanoseconds(1);
  TaskInfo other;
  other.id = 8;
  other.peer = "unix:";
  other.object = "p";
  other.condition = "read";
  other.remaining = absl::Seconds(90);
  other.place = 1;
  other.alternative = 2;
  EXPECT_EQ(
      TaskTable({task, other}),
      "ID  STATE  AGE   LEFT   PLACE  OBJECT  CONDITION    CALLER  PEER\n"
      "7   K      1.5s  -      0      flag    value == 1   me?[2J  "
      "ipv4:127.0.0.1:40112\n"
      "8   S      0     1m30s  1      p       any 2: read  -       unix:\n");
}

TEST(ObjectTextTest, ShowsWhatTheKindHas) {
  ObjectInfo pipe;
  pipe.name = "p";
  pipe.kind = ObjectKind::kPipe;
  pipe.created = true;
  pipe.sleepers = 2;
  pipe.state = PipeInfo{.capacity_bytes = 65536,
                        .atomic_max_bytes = 4096,
                        .unread_bytes = 10,
                        .read_offset = 5,
                        .write_offset = 15,
                        .readers = 1,
                        .writers = 0};
  EXPECT_EQ(
      ObjectText(pipe),
      "name: p\nkind: pipe\ncreated: yes\nsleepers: 2\n"
      "incarnation: 0\ngeneration: 0\nunread: 10\nheld: 0\ncapacity: 65536\n"
      "atomic_max: 4096\nread_offset: 5\nwrite_offset: 15\n"
      "readers: 1\nwriters: 0\nmode: stream\nprofile: fifo\n");
  ObjectInfo completion;
  completion.name = "c";
  completion.kind = ObjectKind::kCompletion;
  completion.state = CompletionInfo{UINT32_MAX};
  EXPECT_EQ(ObjectTable({pipe, completion}),
            "NAME  KIND        SLEEPERS  STATE\n"
            "p     pipe        2         unread=10\n"
            "c     completion  0         done=all\n");
}

}  // namespace
}  // namespace waitq::cli
