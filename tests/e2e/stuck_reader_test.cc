// Readers that open a stream and never read it, while writers pour: each costs
// what is unread in its pipe, a message and a window, and nobody waits for
// them.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/fixture.h"
#include "tests/server/client.h"
#include "tests/server/http2.h"

namespace waitq::test {
namespace {

// Of HTTP/2, unless the reader opens it further, which these never do.
constexpr uint64_t kWindowBytes = 65'535;
// The most that the server puts into one response of a stream of bytes.
constexpr uint64_t kMessageBytes = 128 << 10;

class StuckReaderTest : public WaitqTest {
 protected:
  void SetUp() override {
    WaitqTest::SetUp();
    client_ = std::make_unique<Client>(channel());
  }

  Client& client() { return *client_; }

  void MakePipe(const std::string& name, uint64_t capacity_bytes) {
    EXPECT_THAT(
        Call<v1::CreateRequest>(
            client(), absl::StrCat("name: '", name, "' pipe { capacity_bytes: ",
                                   capacity_bytes, " }"))
            .status,
        IsOk());
  }

  // A connection that opens a ReadStream of the pipe, and takes nothing.
  std::unique_ptr<Http2Connection> OpenAndNeverRead(const std::string& name) {
    v1::ReadStreamRequest open;
    open.mutable_open()->set_name(name);
    auto reader = std::make_unique<Http2Connection>(server().address());
    EXPECT_TRUE(reader->Send(
        Http2Preface() +
        ToBytes(Http2Frame{
            .type = Http2Frame::kHeaders,
            .flags = Http2Frame::kEndHeaders,
            .stream = 1,
            .payload = ToBytes(CallHeaders("/waitq.v1.Pipes/ReadStream"))}) +
        ToBytes(Http2Frame{.type = Http2Frame::kData,
                           .stream = 1,
                           .payload = GrpcMessage(open.SerializeAsString())})));
    EXPECT_TRUE(Await([&] { return Stat(name).pipe().readers() == 1; }));
    return reader;
  }

  // Writes until nothing more fits, and for a while nothing is taken.
  uint64_t Pour(const std::string& name) {
    v1::WriteRequest request;
    request.set_name(name);
    request.set_data(std::string(4096, 'x'));
    request.mutable_timeout()->set_nanos(100'000'000);
    uint64_t accepted = 0;
    for (;;) {
      const auto write = Call(client(), request);
      EXPECT_THAT(write.status, IsOk());
      accepted += write.response.accepted_bytes();
      if (write.response.outcome() != v1::OUTCOME_DONE) return accepted;
      if (accepted > (256 << 20)) return accepted;  // nothing stops it
    }
  }

 private:
  std::unique_ptr<Client> client_;
};

TEST_F(StuckReaderTest, TakesAWindowAndAMessageAndNoMore) {
  constexpr uint64_t kCapacity = 1 << 20;
  MakePipe("p", kCapacity);
  const auto reader = OpenAndNeverRead("p");
  const uint64_t accepted = Pour("p");
  EXPECT_GE(accepted, kCapacity);
  EXPECT_LE(accepted, kCapacity + kMessageBytes + kWindowBytes);
  EXPECT_EQ(Stat("p").pipe().unread_bytes(), kCapacity);
}

TEST_F(StuckReaderTest, ManyOfThemCostABoundedBufferEachAndNobodyElseWaits) {
  constexpr int kReaders = 25;
  constexpr uint64_t kCapacity = 256 << 10;
  {
    // What the first calls of each kind cost.
    MakePipe("warm", kCapacity);
    const auto reader = OpenAndNeverRead("warm");
    Pour("warm");
  }
  Client other(grpc::CreateChannel(server().address(),
                                   grpc::InsecureChannelCredentials()));
  ResetPeak(server().pid());
  const int64_t before_kib = server().Figures().resident_kib;

  std::vector<std::unique_ptr<Http2Connection>> readers;
  for (int i = 0; i < kReaders; ++i) {
    const std::string name = absl::StrCat("p", i);
    MakePipe(name, kCapacity);
    readers.push_back(OpenAndNeverRead(name));
    EXPECT_LE(Pour(name), kCapacity + kMessageBytes + kWindowBytes);
    // Others sleep and wake, and read and write, meanwhile.
    Pending<v1::WaitRequest> sleeper(
        other, "name: 'flag' condition { equal: 1 } then { set: 0 }");
    AwaitSleepers("flag", 1);
    WaitqOk({"wake", "flag", "--set", "1"});
    EXPECT_THAT(sleeper.status(), IsOk());
    EXPECT_THAT(
        Call<v1::WriteRequest>(other, "name: 'other' data: 'abc'").status,
        IsOk());
    EXPECT_EQ(Call<v1::ReadRequest>(other, "name: 'other'").response.data(),
              "abc");
  }
  // With its bytes in the pipe, and on their way twice (ours and gRPC's), and a
  // connection: an unbounded buffer would have taken more than all of it.
  const int64_t bound_kib =
      kReaders *
      static_cast<int64_t>(kCapacity + 2 * (kMessageBytes + kWindowBytes) +
                           (100 << 10)) /
      1024;
  EXPECT_LT(server().Figures().peak_resident_kib - before_kib, bound_kib);

  // When they go, so does what was on its way to them; what is in the pipes is
  // there for others.
  readers.clear();
  for (int i = 0; i < kReaders; ++i) {
    const std::string name = absl::StrCat("p", i);
    EXPECT_TRUE(Await([&] { return Stat(name).pipe().readers() == 0; }));
    EXPECT_EQ(Stat(name).pipe().unread_bytes(), kCapacity);
  }
}

}  // namespace
}  // namespace waitq::test
