// The end of a server, or of a client, while calls of every kind are open.

#include <signal.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/fixture.h"
#include "tests/server/client.h"

namespace waitq::test {
namespace {

using ::testing::HasSubstr;

MATCHER(IsDrained, "") {
  return arg.error_code() == grpc::StatusCode::UNAVAILABLE &&
         ReasonOf(arg) == "ESHUTDOWN";
}

// One call of every kind that can be open: nine asleep, and two streams that
// are not.
class CallsOfEveryKind {
 public:
  explicit CallsOfEveryKind(Client& client)
      : pipes_(client),
        wait_(client, "name: 'word' condition { equal: 1 }"),
        bell_(client, "name: 'bell' sleep: SLEEP_KILLABLE"),
        completion_(client, "name: 'completion'"),
        read_(client, "name: 'empty'"),
        write_(client, "name: 'full' data: 'y'"),
        sure_write_(client,
                    "name: 'full' data: 'z' sleep: SLEEP_UNINTERRUPTIBLE"),
        poll_(client, "name: 'empty' in: true"),
        reader_(client, "name: 'empty'"),
        writer_(client, "name: 'full'"),
        idle_reader_(client, "name: 'window' window_bytes: 1"),
        idle_writer_(client, "name: 'other'") {
    writer_.Write("w");
    EXPECT_EQ(idle_reader_.ReadBytes(1), "a");
  }
  static constexpr size_t kAsleep = 9;

  // When the server drains: who sleeps is told so.
  void ExpectDrained() {
    EXPECT_THAT(wait_.status(), IsDrained());
    EXPECT_THAT(bell_.status(), IsDrained());
    EXPECT_THAT(completion_.status(), IsDrained());
    EXPECT_THAT(read_.status(), IsDrained());
    EXPECT_THAT(write_.status(), IsDrained());
    EXPECT_THAT(sure_write_.status(), IsDrained());
    EXPECT_THAT(poll_.status(), IsDrained());
    EXPECT_THAT(reader_.Finish(), IsDrained());
    EXPECT_THAT(writer_.Finish(), IsDrained());
  }
  // When it is gone: nobody waits any more.
  void ExpectEnded() {
    EXPECT_FALSE(idle_reader_.Finish().ok());
    EXPECT_FALSE(idle_writer_.Finish().ok());
  }

 private:
  // One that is full, and one with more than the reader's window.
  struct Pipes {
    explicit Pipes(Client& client) {
      EXPECT_THAT(Call<v1::WriteRequest>(client,
                                         "name: 'full' data: 'x' "
                                         "options { capacity_bytes: 1 }")
                      .status,
                  IsOk());
      EXPECT_THAT(
          Call<v1::WriteRequest>(client, "name: 'window' data: 'ab'").status,
          IsOk());
    }
  };
  Pipes pipes_;
  Pending<v1::WaitRequest> wait_, bell_;
  Pending<v1::CompletionWaitRequest> completion_;
  Pending<v1::ReadRequest> read_;
  Pending<v1::WriteRequest> write_, sure_write_;
  Pending<v1::PollRequest> poll_;
  ReadStream reader_;
  WriteStream writer_;
  ReadStream idle_reader_;
  WriteStream idle_writer_;
};

class StopTest : public WaitqTest {
 protected:
  void AwaitDrain() {
    EXPECT_TRUE(Await([this] {
      return Waitq({"wait", "flag", "--timeout", "1ms"}).exit == 1;
    }));
  }
};

TEST_F(StopTest, SigtermEndsCallsOfEveryKind) {
  StartServer("127.0.0.1:0", {"--grace", "0s"});
  Client client(channel());
  CallsOfEveryKind calls(client);
  AwaitSleepers("", CallsOfEveryKind::kAsleep);
  server().process().Signal(SIGTERM);
  calls.ExpectDrained();
  EXPECT_EQ(server().process().WaitFor(), 0) << server().process().Errors();
  calls.ExpectEnded();
  EXPECT_THAT(server().process().Errors(), HasSubstr("stopped"));
  ForgetServer();
}

TEST_F(StopTest, ASecondSigtermDoesNotWaitForAnyOfThem) {
  StartServer("127.0.0.1:0", {"--grace", "1h"});
  WaitqOk({"write", "kept"}, "words");
  Client client(channel());
  CallsOfEveryKind calls(client);
  AwaitSleepers("", CallsOfEveryKind::kAsleep);
  server().process().Signal(SIGTERM);
  calls.ExpectDrained();
  AwaitDrain();
  EXPECT_TRUE(server().process().IsRunning()) << "there are words to be read";
  server().process().Signal(SIGTERM);
  EXPECT_TRUE(server().process().WaitFor().has_value());
  calls.ExpectEnded();
  EXPECT_THAT(server().process().Errors(), HasSubstr("kept: 5 bytes"));
  ForgetServer();
}

// Two takers' processes; one dies while items come. What was not handed to
// somebody is there, or with the other.
TEST_F(StopTest, KilledTakersTakeOnlyWhatWasHandedToThem) {
  constexpr int kTakers = 1000;
  const auto start_takers = [this] {
    return std::make_unique<Process>(std::vector<std::string>{
        BuiltProgram("examples/many_sleepers"), "--server", server().address(),
        "--name", "items", "--count", std::to_string(kTakers), "--take"});
  };
  auto doomed = start_takers();
  ASSERT_TRUE(doomed->AwaitLine("asleep").has_value()) << doomed->Errors();

  Client client(channel());
  uint64_t handed = 0;
  const auto post = [&](int n) {
    for (int i = 0; i < n; ++i) {
      const auto wake =
          Call<v1::WakeUpRequest>(client, "name: 'items' update { add: 1 }");
      ASSERT_THAT(wake.status, IsOk());
      ASSERT_LE(wake.response.woken(), 1u);
      handed += wake.response.woken();
    }
  };
  post(kTakers / 4);
  EXPECT_EQ(handed, static_cast<uint64_t>(kTakers / 4));
  doomed->Signal(SIGKILL);
  post(kTakers);
  doomed->WaitFor();
  AwaitSleepers("items", 0);
  const auto left = Call<v1::GetRequest>(client, "name: 'items'");
  EXPECT_EQ(handed + static_cast<uint64_t>(left.response.value()),
            static_cast<uint64_t>(kTakers / 4 + kTakers));
  // What is left is for whoever comes.
  if (left.response.value() > 0) {
    WaitqOk({"wait", "items", "--until", ">=1", "--then",
             absl::StrCat("add:-", left.response.value())});
  }
}

}  // namespace
}  // namespace waitq::test
