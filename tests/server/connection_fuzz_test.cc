// Garbage on the port, and conversations in HTTP/2 that are cut, damaged, or
// were never right: the server answers or closes, and lives.
//
// WAITQ_SEED=N begins with the connections that printed it; WAITQ_TIMES=N makes
// N times as many.

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "google/protobuf/stubs/logging.h"
#include "grpc/support/log.h"
#include "gtest/gtest.h"
#include "tests/server/fixture.h"
#include "tests/server/hostile_requests.h"
#include "tests/server/http2.h"
#include "tests/support/random.h"

namespace waitq::test {
namespace {

using Headers = std::vector<std::pair<std::string, std::string>>;

// One that is in place of another of the same name, or more.
const Headers kBadHeaders = {
    {":method", "GET"},
    {":path", "/waitq.v1.Pipes"},
    {":path", ""},
    {":authority", ""},
    {":status", "200"},
    {":unknown", "x"},
    {"", "nothing"},
    {"UPPER", "case"},
    {"content-type", "text/html"},
    {"te", "gzip"},
    {"grpc-timeout", "1n"},
    {"grpc-timeout", "5m"},
    {"grpc-timeout", "99999999H"},
    {"grpc-timeout", "-1S"},
    {"grpc-timeout", "soon"},
    {"grpc-encoding", "gzip"},
    {"grpc-encoding", "rot13"},
    {"grpc-accept-encoding", "gzip,,,,deflate"},
    {"grpc-message", "%%%"},
    {"grpc-status", "99999999999"},
    {"grpc-previous-rpc-attempts", "x"},
    {"grpc-internal-encoding-request", "gzip"},
    {"grpclb_client_stats", "x"},
    {"noise-bin", "?"},
    {"noise-bin", "AAAA,A=A="},
    {"noise", "\r\n\xff"},
    {"host", "else.where"},
    {"connection", "close"},
    {"transfer-encoding", "chunked"},
    {"content-length", "1"},
    {"long", std::string(9'000, 'x')},
    {"longer", std::string(16'000, 'x')},
};

const std::string kOtherProtocols[] = {
    "",
    "\r\n",
    "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r",
    "PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n",
    std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11),  // TLS
    "SSH-2.0-OpenSSH_9.2\r\n",
    "*1\r\n$4\r\nPING\r\n",
    std::string(70'000, '\0'),
};

std::string Noise(Random& random, size_t n) {
  std::string noise(n, '\0');
  for (char& c : noise) c = static_cast<char>(random.Below(256));
  return noise;
}

// What a client sends in its whole life, frame by frame.
class HostileConversation {
 public:
  HostileConversation(Random* random, HostileRequests* requests)
      : random_(*random), requests_(*requests) {}

  std::string Bytes() {
    if (random_.OneIn(32)) {
      return kOtherProtocols[random_.Below(std::size(kOtherProtocols))];
    }
    if (random_.OneIn(32)) return Noise(random_, random_.Below(2'000));
    frames_.clear();
    Add(Http2Frame::kSettings, 0, 0,
        random_.OneIn(3) ? Noise(random_, 6 * random_.Below(4)) : "");
    const uint32_t calls = static_cast<uint32_t>(random_.Between(1, 4));
    for (uint32_t i = 0; i < calls; ++i) AddCall(2 * i + 1);
    std::string bytes = kHttp2Magic;
    const bool damaged = !random_.OneIn(8);
    for (int64_t i = damaged ? random_.Between(0, 3) : 0; i > 0; --i) {
      DamageFrames();
    }
    for (const Http2Frame& frame : frames_) bytes += ToBytes(frame);
    for (int64_t i = damaged ? random_.Between(0, 3) : 0; i > 0; --i) {
      DamageBytes(bytes);
    }
    return bytes;
  }

 private:
  void Add(int type, int flags, uint32_t stream, std::string payload) {
    frames_.push_back({.type = static_cast<uint8_t>(type),
                       .flags = static_cast<uint8_t>(flags),
                       .stream = stream,
                       .payload = std::move(payload)});
  }

  void AddCall(uint32_t stream) {
    const auto& method = requests_.Method();
    AddHeaders(stream, PathOf(method));
    std::string data;
    for (const std::string& message : requests_.Messages(method)) {
      std::string framed = GrpcMessage(message, random_.OneIn(20));
      if (random_.OneIn(20)) framed[random_.Between(1, 4)] ^= 1;  // its length
      data += framed;
    }
    // A frame has 16 KiB at most.
    while (data.size() > 16'384 || random_.OneIn(4)) {
      const size_t n = random_.Below(std::min<size_t>(data.size(), 16'384) + 1);
      Add(Http2Frame::kData, 0, stream, data.substr(0, n));
      data.erase(0, n);
      AddOther(stream);
    }
    Add(Http2Frame::kData, random_.OneIn(4) ? 0 : Http2Frame::kEndStream,
        stream, data);
    AddOther(stream);
  }

  void AddHeaders(uint32_t stream, const std::string& path) {
    Headers headers = CallHeaders(path);
    while (random_.OneIn(3)) {
      const auto& bad = kBadHeaders[random_.Below(kBadHeaders.size())];
      auto same = headers.begin();
      while (same != headers.end() && same->first != bad.first) ++same;
      if (same != headers.end() && random_.OneIn(2)) {
        *same = bad;
      } else {
        headers.push_back(bad);
      }
    }
    if (random_.OneIn(16)) headers.erase(headers.begin());
    std::string block = ToBytes(headers);
    if (random_.OneIn(16)) block += Noise(random_, random_.Below(30));
    const bool in_two = block.size() > 16'384 || random_.OneIn(8);
    const size_t n =
        in_two ? std::min<size_t>(block.size(), 16'384) / 2 : block.size();
    Add(Http2Frame::kHeaders, in_two ? 0 : Http2Frame::kEndHeaders, stream,
        block.substr(0, n));
    if (!in_two) return;
    if (random_.OneIn(8)) AddOther(stream);
    Add(Http2Frame::kContinuation, Http2Frame::kEndHeaders, stream,
        block.substr(n));
  }

  void AddOther(uint32_t stream) {
    if (random_.OneIn(2)) return;
    const uint32_t where = random_.OneIn(3) ? 0 : stream;
    switch (random_.Below(6)) {
      case 0:
        return Add(Http2Frame::kWindowUpdate, 0, where,
                   random_.OneIn(2) ? std::string("\0\0\x10\0", 4)
                                    : Noise(random_, 4));
      case 1:
        return Add(Http2Frame::kPing, static_cast<int>(random_.Below(2)), 0,
                   Noise(random_, 8));
      case 2:
        return Add(Http2Frame::kRstStream, 0, stream, Noise(random_, 4));
      case 3:
        return Add(Http2Frame::kSettings, static_cast<int>(random_.Below(2)), 0,
                   random_.OneIn(2) ? "" : Noise(random_, 6));
      case 4:
        return Add(Http2Frame::kPriority, 0, stream, Noise(random_, 5));
      case 5:
        return Add(Http2Frame::kGoAway, 0, 0, Noise(random_, 8));
    }
  }

  void DamageFrames() {
    const size_t at = random_.Below(frames_.size());
    Http2Frame& frame = frames_[at];
    switch (random_.Below(7)) {
      case 0:
        frame.type = static_cast<uint8_t>(random_.Below(12));
        return;
      case 1:
        frame.flags = static_cast<uint8_t>(random_.Below(256));
        return;
      case 2:
        frame.stream = random_.OneIn(2)
                           ? static_cast<uint32_t>(random_.Below(10))
                           : static_cast<uint32_t>(random_.Log(32));
        return;
      case 3:
        frame.payload.resize(random_.Below(frame.payload.size() + 1));
        return;
      case 4:
        frame.payload += Noise(random_, random_.Below(40));
        return;
      case 5:
        std::swap(frame, frames_[random_.Below(frames_.size())]);
        return;
      case 6: {
        const Http2Frame again = frame;
        for (int64_t i = random_.Log(7); i > 0; --i) frames_.push_back(again);
        return;
      }
    }
  }

  void DamageBytes(std::string& bytes) {
    const size_t at = random_.Below(bytes.size() + 1);
    switch (random_.Below(4)) {
      case 0:  // cut off: mostly within a frame
        return bytes.resize(at);
      case 1:
        if (at < bytes.size())
          bytes[at] ^= static_cast<char>(1 + random_.Below(255));
        return;
      case 2:
        bytes.erase(at, random_.Below(20));
        return;
      case 3:
        bytes.insert(at, Noise(random_, random_.Below(20)));
        return;
    }
  }

  Random& random_;
  HostileRequests& requests_;
  std::vector<Http2Frame> frames_;
};

class ConnectionFuzzTest : public EverywhereTest {
 protected:
  static constexpr int kRoundConnections = 200;

  // gRPC tells of everything that it refuses.
  ConnectionFuzzTest() {
    gpr_set_log_function([](gpr_log_func_args*) {});
  }
  ~ConnectionFuzzTest() override { gpr_set_log_function(nullptr); }

  void Round(uint64_t seed);

 private:
  // protobuf tells of every string that is no UTF-8.
  const google::protobuf::LogSilencer silence_;
};
WAITQ_TEST_EVERYWHERE(ConnectionFuzzTest);

void ConnectionFuzzTest::Round(uint64_t seed) {
  SCOPED_TRACE(absl::StrCat("WAITQ_SEED=", seed));
  HostileRequests requests(seed);
  HostileConversation conversation(&requests.random(), &requests);
  for (int i = 0; i < kRoundConnections; ++i) {
    Http2Connection connection(server().address());
    connection.Send(conversation.Bytes());
    // Now and then it is just gone.
    if (requests.random().OneIn(8)) continue;
    EXPECT_TRUE(connection.Close()) << "connection " << i << " stays open";
  }
  // Those who have honest business do not notice.
  WriteNow("other", "hello");
  EXPECT_EQ(ReadNow("other").data(), "hello");
  // Writes that run on, too, when their pipes go.
  for (const auto& object :
       server().engine().List("", {.size = 10'000, .after = ""})) {
    EXPECT_TRUE(server().engine().Remove(object.name, /*force=*/true).ok());
  }
  AwaitAsleep(0);
}

TEST_P(ConnectionFuzzTest, WhateverComesTheServerAnswersOrClosesAndLives) {
  const uint64_t seed = Seed();
  const int rounds = Times(10);
  for (int i = 0; i < rounds && !HasFailure(); ++i) {
    const uint64_t own_seed = seed + static_cast<uint64_t>(i);
    // Before it, should it be the end of this program.
    if (i > 0 && i % 50 == 0) {
      std::printf("%d connections; next is WAITQ_SEED=%llu\n",
                  i * kRoundConnections,
                  static_cast<unsigned long long>(own_seed));
      std::fflush(stdout);
    }
    Round(own_seed);
  }
}

}  // namespace
}  // namespace waitq::test
