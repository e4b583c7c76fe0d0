// Streams whose clients go, or talk nonsense, at any moment. Random: the seed
// is printed.

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fixture.h"
#include "tests/server/wire.h"
#include "tests/support/random.h"

namespace waitq::test {
namespace {

// Long enough to meet the server at another stage each time, from "has not
// heard of the call" on.
void Pause(Random& random) {
  const auto end = std::chrono::steady_clock::now() +
                   std::chrono::microseconds(random.Log(11));
  while (std::chrono::steady_clock::now() < end) std::this_thread::yield();
}

class StreamRaceTest : public EverywhereTest {
 protected:
  static void WriteNowBy(Client& other, const std::string& name,
                         const std::string& data) {
    v1::WriteRequest request;
    request.set_name(name);
    request.set_data(data);
    request.set_nonblock(true);
    Call(other, request);
  }
  // Between two rounds: when the last handle has been closed. (A write to the
  // pipe as it is would only find that its reader has left.)
  void RemovePipe() {
    EXPECT_TRUE(Await([&] {
      const auto stat = Call<v1::StatRequest>(client(), "name: 'p'");
      const v1::PipeStat& pipe = stat.response.object().pipe();
      return pipe.readers() == 0 && pipe.writers() == 0;
    })) << "a handle is left open";
    Call<v1::RemoveRequest>(client(), "name: 'p'");
  }

  // Writes that are not there to be read, and reads that are not there to be
  // written for, so that streams meet both.
  void Disturb(Client& other, const std::string& name, Random& random) {
    if (random.OneIn(2)) {
      v1::WriteRequest write;
      write.set_name(name);
      write.set_data(std::string(random.Below(20) + 1, 'x'));
      write.set_nonblock(true);
      Call(other, write);
    } else {
      v1::ReadRequest read;
      read.set_name(name);
      read.set_max_bytes(random.Below(20) + 1);
      read.set_nonblock(true);
      Call(other, read);
    }
  }
};
WAITQ_TEST_EVERYWHERE(StreamRaceTest);

TEST_P(StreamRaceTest, ReaderThatCancelsAtAnyStageLeavesNothing) {
  Random random(Seed());
  const auto other = NewClient();
  for (int i = 0; i < Times(300); ++i) {
    // Up to this stage; then it goes.
    const uint64_t stage = random.Below(7);
    ReadStream reader(client());
    std::thread canceller(
        [&, pause = Random(random.Below(1'000'000))]() mutable {
          Pause(pause);
          Pause(pause);
          reader.Cancel();
        });
    if (stage > 0) reader.Send("open { name: 'p' window_bytes: 10 }");
    if (stage > 1) reader.Next();
    if (stage > 2) Disturb(*other, "p", random);
    if (stage > 3) {
      WriteNowBy(*other, "p", "some bytes");
      reader.Next();
    }
    if (stage > 4) reader.Report(reader.last().offset());
    if (stage > 5) reader.HalfClose();
    canceller.join();
    RemovePipe();
  }
  AwaitAsleep(0);
}

TEST_P(StreamRaceTest, WriterThatCancelsAtAnyStageLeavesNothing) {
  ASSERT_THAT(
      Call<v1::CreateRequest>(
          client(), "name: 'p' pipe { capacity_bytes: 20 atomic_max_bytes: 5 }")
          .status,
      IsOk());
  Random random(Seed());
  const auto other = NewClient();
  for (int i = 0; i < Times(300); ++i) {
    const uint64_t stage = random.Below(6);
    WriteStream writer(client());
    std::thread canceller(
        [&, pause = Random(random.Below(1'000'000))]() mutable {
          Pause(pause);
          Pause(pause);
          writer.Cancel();
        });
    if (stage > 0) writer.Send("open { name: 'p' }");
    if (stage > 1) writer.Next();
    if (stage > 2) writer.Write(std::string(random.Below(40), 'x'));
    if (stage > 3) Disturb(*other, "p", random);
    if (stage > 4) writer.HalfClose();
    canceller.join();
    // Some end while they sleep, some just after room has come.
    ReadNow("p");
  }
  AwaitAsleep(0);
}

// What has been read and what is left is all that was written: a reader that
// goes takes no byte but those that were on their way to it.
TEST_P(StreamRaceTest, ReaderThatCancelsLosesNoMoreThanItsWindow) {
  constexpr uint64_t kWindow = 5;
  Random random(Seed());
  const auto other = NewClient();
  for (int i = 0; i < Times(200); ++i) {
    ReadStream reader(client(),
                      absl::StrCat("name: 'p' window_bytes: ", kWindow));
    std::thread writer([&] {
      for (int n = 0; n < 3; ++n) WriteNowBy(*other, "p", "abcd");
    });
    std::thread canceller(
        [&, pause = Random(random.Below(1'000'000))]() mutable {
          Pause(pause);
          reader.Cancel();
        });
    const uint64_t got = reader.ReadAll().size();
    canceller.join();
    writer.join();
    AwaitHandles("p", 0, 0);
    const uint64_t taken = StatOf("p").pipe().read_offset();
    ASSERT_GE(taken, got);
    ASSERT_LE(taken, kWindow) << "it reported nothing";
    RemovePipe();
  }
}

// Many at once: then their results queue up behind their bad messages.
TEST_P(StreamRaceTest, BadMessageThatMeetsBytesEndsTheReader) {
  constexpr int kReaders = 30;
  Random random(Seed());
  const auto other = NewClient();
  for (int i = 0; i < Times(30); ++i) {
    const CallTime deadline =
        std::chrono::system_clock::now() + std::chrono::seconds(15);
    std::vector<std::unique_ptr<ReadStream>> readers;
    for (int n = 0; n < kReaders; ++n) {
      readers.push_back(std::make_unique<ReadStream>(
          client(), "name: 'p' window_bytes: 1", deadline));
    }
    AwaitAsleep(kReaders);
    std::thread writer([&, pause = Random(random.Below(1'000'000))]() mutable {
      Pause(pause);
      WriteNowBy(*other, "p", std::string(kReaders, 'x'));
    });
    Pause(random);
    for (auto& reader : readers) reader->Send("open { name: 'p' }");
    for (auto& reader : readers) {
      ASSERT_THAT(reader->Finish(),
                  FailsWith(grpc::StatusCode::INVALID_ARGUMENT, "EINVAL"))
          << "round " << i;
      EXPECT_EQ(reader->last().outcome(), v1::OUTCOME_UNSPECIFIED);
    }
    writer.join();
    RemovePipe();
  }
}

TEST_P(StreamRaceTest, RemoveThatMeetsStreamsEndsThem) {
  Random random(Seed());
  const auto other = NewClient();
  for (int i = 0; i < Times(200); ++i) {
    ReadStream reader(client(), "name: 'p'");
    WriteStream writer(client(), "name: 'p'");
    std::thread remover([&, pause = Random(random.Below(1'000'000))]() mutable {
      Pause(pause);
      EXPECT_THAT(
          Call<v1::RemoveRequest>(*other, "name: 'p' force: true").status,
          IsOk());
    });
    Pause(random);
    writer.Write("abc");
    writer.HalfClose();
    // Each ends, as it was before the removal or as it is after it.
    const grpc::Status written = writer.Finish();
    const grpc::Status read = reader.Finish();
    remover.join();
    const auto removed = FailsWith(grpc::StatusCode::ABORTED, "EIDRM");
    EXPECT_THAT(written, testing::AnyOf(IsOk(), removed));
    EXPECT_THAT(read, testing::AnyOf(IsOk(), removed));
    if (read.ok()) {
      EXPECT_EQ(reader.last().outcome(), v1::OUTCOME_END_OF_FILE);
    }
  }
}

TEST_P(StreamRaceTest, ConnectionsThatDieAtAnyMomentLeaveNothing) {
  Random random(Seed());
  for (int i = 0; i < Times(40); ++i) {
    Wire wire(server().address());
    const auto far = ClientOf(wire.address());
    ReadStream reader(*far);
    WriteStream writer(*far);
    Pending<v1::ReadRequest> read(*far, "name: 'p'");
    Pending<v1::WaitRequest> wait(*far,
                                  "name: 'q' condition { equal: 1 } "
                                  "then { set: 0 }");
    std::thread cutter([&, pause = Random(random.Below(1'000'000))]() mutable {
      for (int n = 0; n < 4; ++n) Pause(pause);
      wire.Cut();
    });
    reader.Send("open { name: 'p' window_bytes: 10 }");
    writer.Send("open { name: 'p' }");
    for (int n = 0; n < 20; ++n) {
      if (!writer.Write(std::string(random.Below(2000), 'x'))) break;
      if (random.OneIn(2)) Pause(random);
    }
    cutter.join();
  }
  AwaitAsleep(0);
}

}  // namespace
}  // namespace waitq::test
