// Just enough HTTP/2 to send what no gRPC client would.

#ifndef WAITQ_TESTS_SERVER_HTTP2_H_
#define WAITQ_TESTS_SERVER_HTTP2_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace waitq::test {

struct Http2Frame {
  enum Type : uint8_t {
    kData = 0,
    kHeaders = 1,
    kPriority = 2,
    kRstStream = 3,
    kSettings = 4,
    kPushPromise = 5,
    kPing = 6,
    kGoAway = 7,
    kWindowUpdate = 8,
    kContinuation = 9,
  };
  static constexpr uint8_t kEndStream = 1;
  static constexpr uint8_t kEndHeaders = 4;

  uint8_t type = kData;
  uint8_t flags = 0;
  uint32_t stream = 0;
  std::string payload;
};

// The first bytes of every connection.
inline constexpr char kHttp2Magic[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
// Bytes that begin a connection, with no settings of its own.
std::string Http2Preface();
std::string ToBytes(const Http2Frame& frame);
// Headers as they are: not compressed, not indexed.
std::string ToBytes(
    const std::vector<std::pair<std::string, std::string>>& headers);
// The headers of a call to a method ("/waitq.v1.Tasks/List").
std::vector<std::pair<std::string, std::string>> CallHeaders(
    const std::string& method);
// A message in gRPC's framing, said to be compressed or not.
std::string GrpcMessage(const std::string& bytes, bool compressed = false);

// A connection, on which nothing is said but what the test says.
class Http2Connection {
 public:
  explicit Http2Connection(const std::string& address);
  ~Http2Connection();
  Http2Connection(const Http2Connection&) = delete;
  Http2Connection& operator=(const Http2Connection&) = delete;

  // False if the server has closed it.
  bool Send(const std::string& bytes);
  // The next frame; none if the server closes the connection.
  std::optional<Http2Frame> Next();
  // Reads on until the stream is over. False if the connection is before.
  bool AwaitEndOf(uint32_t stream);
  // Says that no more comes, and reads on until the server closes, too. False
  // if it does not.
  bool Close();

 private:
  bool ReadExactly(char* bytes, size_t n);

  const int fd_;
};

}  // namespace waitq::test

#endif  // WAITQ_TESTS_SERVER_HTTP2_H_
