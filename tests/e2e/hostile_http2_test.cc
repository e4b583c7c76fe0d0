// What gRPC's transport is known to take badly, sent to the built server: it
// stays up and small, and others notice nothing.

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "grpc/impl/codegen/compression_types.h"
#include "gtest/gtest.h"
#include "tests/e2e/fixture.h"
#include "tests/server/client.h"
#include "tests/server/http2.h"

namespace waitq::test {
namespace {

using ::testing::Each;
using ::testing::Truly;

constexpr char kWaitMethod[] = "/waitq.v1.WaitQueues/Wait";
// WaitRequest{name: "mine"}.
const char kWaitBytes[] = "\x0a\x04mine";

class HostileHttp2Test : public WaitqTest {
 protected:
  void SetUp() override {
    WaitqTest::SetUp();
    other_ = std::make_unique<Client>(channel());
    sleeper_ = std::make_unique<Pending<v1::WaitRequest>>(
        *other_, "name: 'flag' condition { equal: 1 }");
    AwaitSleepers("flag", 1);
  }

  // Somebody else has slept through it all, and calls are answered as ever.
  void TearDown() override {
    AwaitSleepers("flag", 1);
    Call<v1::WakeUpRequest>(*other_, "name: 'flag' update { set: 1 }");
    EXPECT_THAT(sleeper_->status(), IsOk());
    sleeper_ = nullptr;
    WaitqTest::TearDown();
  }

  // Of the server's memory, at its most, since `attack` began.
  int64_t GrownKib(const std::function<void()>& attack) {
    ResetPeak(server().pid());
    const int64_t before = server().Figures().resident_kib;
    attack();
    return server().Figures().peak_resident_kib - before;
  }

  static std::string HeadersOf(
      uint32_t stream, const std::string& method,
      const std::vector<std::pair<std::string, std::string>>& more = {}) {
    auto headers = CallHeaders(method);
    headers.insert(headers.end(), more.begin(), more.end());
    return ToBytes(Http2Frame{.type = Http2Frame::kHeaders,
                              .flags = Http2Frame::kEndHeaders,
                              .stream = stream,
                              .payload = ToBytes(headers)});
  }
  static std::string MessageOf(uint32_t stream, const std::string& bytes) {
    return ToBytes(Http2Frame{.type = Http2Frame::kData,
                              .flags = Http2Frame::kEndStream,
                              .stream = stream,
                              .payload = GrpcMessage(bytes)});
  }

  Client& other() { return *other_; }

  // A connection of its own.
  std::unique_ptr<Client> NewClient() {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetMaxSendMessageSize(-1);
    return std::make_unique<Client>(grpc::CreateCustomChannel(
        server().address(), grpc::InsecureChannelCredentials(), arguments));
  }

 private:
  std::unique_ptr<Client> other_;
  std::unique_ptr<Pending<v1::WaitRequest>> sleeper_;
};

// 64 MiB of nothing are some 64 KB. gRPC would inflate them before it looks at
// any limit.
TEST_F(HostileHttp2Test, CompressedBombIsRefusedBeforeItIsInflated) {
  const auto attacker = NewClient();
  v1::WriteRequest request;
  request.set_name("mine");
  request.set_data(std::string(64 << 20, '\0'));
  const int64_t grown = GrownKib([&] {
    for (int i = 0; i < 3; ++i) {
      grpc::ClientContext context;
      context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
      v1::WriteResponse response;
      EXPECT_EQ(attacker->Invoke(&context, request, &response).error_code(),
                grpc::StatusCode::UNIMPLEMENTED);
    }
  });
  EXPECT_LT(grown, 16 << 10);
  EXPECT_EQ(Stat("mine").name(), "");
}

// A message that only says that it is compressed.
TEST_F(HostileHttp2Test, MessageThatSaysItIsCompressedIsRefused) {
  Http2Connection raw(server().address());
  ASSERT_TRUE(raw.Send(
      Http2Preface() + HeadersOf(1, kWaitMethod, {{"grpc-encoding", "gzip"}}) +
      ToBytes(Http2Frame{.type = Http2Frame::kData,
                         .flags = Http2Frame::kEndStream,
                         .stream = 1,
                         .payload = GrpcMessage(kWaitBytes, true)})));
  EXPECT_TRUE(raw.AwaitEndOf(1));
  EXPECT_TRUE(Sleepers("mine").empty());
}

// gRPC's own limit of 8 KB would cost the whole connection.
TEST_F(HostileHttp2Test, NineKilobytesOfMetadataAreTaken) {
  Pending<v1::WaitRequest> beside(other(), "name: 'mine'");
  AwaitSleepers("mine", 1);
  grpc::ClientContext context;
  context.AddMetadata("x-long", std::string(9000, 'x'));
  v1::GetRequest request;
  request.set_name("flag");
  v1::GetResponse response;
  EXPECT_THAT(other().Invoke(&context, request, &response), IsOk());
  AwaitSleepers("mine", 1);
  EXPECT_FALSE(beside.ended());
  Call<v1::WakeUpRequest>(other(), "name: 'mine'");
  EXPECT_THAT(beside.status(), IsOk());
}

TEST_F(HostileHttp2Test, FarTooMuchMetadataCostsNobodyElse) {
  const auto attacker = NewClient();
  grpc::ClientContext context;
  context.AddMetadata("x-long", std::string(200'000, 'x'));
  v1::GetRequest request;
  request.set_name("flag");
  v1::GetResponse response;
  EXPECT_FALSE(attacker->Invoke(&context, request, &response).ok());
}

// A server with an authentication hook would end here.
TEST_F(HostileHttp2Test, ReservedHeaderOfLoadBalancersIsHarmless) {
  Http2Connection raw(server().address());
  ASSERT_TRUE(raw.Send(Http2Preface() +
                       HeadersOf(1, "/waitq.v1.WaitQueues/Get",
                                 {{"grpclb_client_stats", "x"},
                                  {"lb-cost-bin", "AA"},
                                  {"grpc-previous-rpc-attempts", "-1"},
                                  {"grpc-timeout", "soon"}}) +
                       MessageOf(1,
                                 "\x0a\x04"
                                 "flag")));
  EXPECT_TRUE(raw.AwaitEndOf(1));
}

// An error is as short as it must be, however long what it is about.
TEST_F(HostileHttp2Test, ErrorsAboutHugeNamesStayShortAndPrintable) {
  std::string name;
  while (name.size() < (1 << 20)) name += "\xc3\xa4\n\x01";
  const auto expect_short = [](const grpc::Status& status) {
    EXPECT_EQ(ReasonOf(status), "EINVAL");
    EXPECT_LT(status.error_details().size() + status.error_message().size(),
              4096u);
    EXPECT_THAT(status.error_message(),
                Each(Truly([](char c) { return c >= ' ' && c <= '~'; })));
  };
  v1::WaitRequest wait;
  wait.set_name(name);
  expect_short(Call(other(), wait).status);
  wait.set_name("mine");
  wait.set_caller(name);
  expect_short(Call(other(), wait).status);
  v1::CreateRequest create;
  create.set_name(name);
  create.mutable_pipe();
  expect_short(Call(other(), create).status);
  v1::ListTasksRequest list;
  list.set_page_token(name);
  expect_short(Call(other(), list).status);
  ReadStream reader(other());
  v1::ReadStreamRequest open;
  open.mutable_open()->set_name(name);
  reader.Send(open);
  expect_short(reader.Finish());
}

// Each wants an answer, which nobody reads; and the server's own settings are
// never acknowledged, so gRPC's limits of streams do not hold for this client.
TEST_F(HostileHttp2Test, SettingsThatAreNeverAcknowledgedAreHarmless) {
  const std::string settings =
      ToBytes(Http2Frame{.type = Http2Frame::kSettings, .payload = ""});
  const int64_t grown = GrownKib([&] {
    Http2Connection raw(server().address());
    raw.Send(Http2Preface());
    for (int i = 0; i < 20'000 && raw.Send(settings); ++i) {
    }
    Call<v1::GetRequest>(other(), "name: 'flag'");
  });
  EXPECT_LT(grown, 64 << 10);
  Http2Connection raw(server().address());
  std::string calls = Http2Preface();
  for (uint32_t stream = 1; stream < 600; stream += 2) {
    calls += HeadersOf(stream, kWaitMethod) + MessageOf(stream, kWaitBytes);
  }
  ASSERT_TRUE(raw.Send(calls));
  AwaitSleepers("mine", 300);
  Call<v1::WakeUpRequest>(other(), "name: 'mine' all: true");
  EXPECT_TRUE(raw.AwaitEndOf(599));
}

TEST_F(HostileHttp2Test, FloodOfPingsEndsOnlyItsConnection) {
  const std::string ping = ToBytes(
      Http2Frame{.type = Http2Frame::kPing, .payload = std::string(8, 'x')});
  Http2Connection raw(server().address());
  raw.Send(Http2Preface());
  for (int i = 0; i < 20'000 && raw.Send(ping); ++i) {
  }
}

TEST_F(HostileHttp2Test, CallsThatAreResetAtOnceLeaveNothing) {
  Http2Connection raw(server().address());
  raw.Send(Http2Preface());
  for (uint32_t stream = 1; stream < 4000; stream += 2) {
    std::string call =
        HeadersOf(stream, kWaitMethod) + MessageOf(stream, kWaitBytes);
    call += ToBytes(Http2Frame{.type = Http2Frame::kRstStream,
                               .stream = stream,
                               .payload = std::string("\0\0\0\x08", 4)});
    if (!raw.Send(call)) break;
  }
  AwaitSleepers("mine", 0);
}

// Nothing has begun that could be timed out; it must at least go with them.
TEST_F(HostileHttp2Test, CallsWithoutAMessageGoWithTheirConnection) {
  {
    Http2Connection raw(server().address());
    std::string calls = Http2Preface();
    for (uint32_t stream = 1; stream < 1000; stream += 2) {
      calls += HeadersOf(stream, kWaitMethod);
    }
    ASSERT_TRUE(raw.Send(calls));
    Call<v1::GetRequest>(other(), "name: 'flag'");
    EXPECT_TRUE(Sleepers("mine").empty());
  }
  EXPECT_EQ(server().Stop(), 0) << "an open call would hold it up";
  SetUp();  // another server, for the end of this fixture
}

}  // namespace
}  // namespace waitq::test
