#include "tests/server/http2.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>

#include "tests/server/wire.h"
#include "tests/support/process.h"

namespace waitq::test {
namespace {

void AppendNumber(uint64_t number, int bytes, std::string& to) {
  for (int i = bytes - 1; i >= 0; --i) {
    to.push_back(static_cast<char>(number >> (8 * i)));
  }
}

// A string as HPACK has it, without Huffman's code.
void AppendString(const std::string& text, std::string& to) {
  constexpr size_t kPrefixMax = 127;
  if (text.size() < kPrefixMax) {
    to.push_back(static_cast<char>(text.size()));
  } else {
    to.push_back(static_cast<char>(kPrefixMax));
    size_t rest = text.size() - kPrefixMax;
    for (; rest >= 128; rest /= 128) {
      to.push_back(static_cast<char>(rest % 128 + 128));
    }
    to.push_back(static_cast<char>(rest));
  }
  to += text;
}

}  // namespace

std::string Http2Preface() {
  return kHttp2Magic +
         ToBytes(Http2Frame{.type = Http2Frame::kSettings, .payload = ""});
}

std::string ToBytes(const Http2Frame& frame) {
  std::string bytes;
  AppendNumber(frame.payload.size(), 3, bytes);
  AppendNumber(frame.type, 1, bytes);
  AppendNumber(frame.flags, 1, bytes);
  AppendNumber(frame.stream, 4, bytes);
  return bytes + frame.payload;
}

std::string ToBytes(
    const std::vector<std::pair<std::string, std::string>>& headers) {
  std::string bytes;
  for (const auto& [name, value] : headers) {
    bytes.push_back('\0');  // literal, not to be indexed, with a new name
    AppendString(name, bytes);
    AppendString(value, bytes);
  }
  return bytes;
}

std::vector<std::pair<std::string, std::string>> CallHeaders(
    const std::string& method) {
  return {{":method", "POST"}, {":scheme", "http"},
          {":path", method},   {":authority", "localhost"},
          {"te", "trailers"},  {"content-type", "application/grpc"}};
}

std::string GrpcMessage(const std::string& bytes, bool compressed) {
  std::string message(1, compressed ? '\1' : '\0');
  AppendNumber(bytes.size(), 4, message);
  return message + bytes;
}

Http2Connection::Http2Connection(const std::string& address)
    : fd_(ConnectTo(address)) {
  // A server that says nothing when it should is a failure, not a wait.
  const timeval bound{.tv_sec = absl::ToInt64Seconds(kBound), .tv_usec = 0};
  setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof bound);
}

Http2Connection::~Http2Connection() { close(fd_); }

bool Http2Connection::Send(const std::string& bytes) {
  for (size_t sent = 0; sent < bytes.size();) {
    const ssize_t n =
        send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) return false;
    sent += static_cast<size_t>(n);
  }
  return true;
}

bool Http2Connection::ReadExactly(char* bytes, size_t n) {
  while (n > 0) {
    const ssize_t got = recv(fd_, bytes, n, 0);
    if (got <= 0) return false;
    bytes += got;
    n -= static_cast<size_t>(got);
  }
  return true;
}

std::optional<Http2Frame> Http2Connection::Next() {
  unsigned char head[9];
  if (!ReadExactly(reinterpret_cast<char*>(head), sizeof head)) {
    return std::nullopt;
  }
  Http2Frame frame;
  frame.payload.resize((head[0] << 16) | (head[1] << 8) | head[2]);
  frame.type = head[3];
  frame.flags = head[4];
  frame.stream = (uint32_t{head[5]} << 24) | (uint32_t{head[6]} << 16) |
                 (uint32_t{head[7]} << 8) | uint32_t{head[8]};
  if (!ReadExactly(frame.payload.data(), frame.payload.size())) {
    return std::nullopt;
  }
  return frame;
}

bool Http2Connection::AwaitEndOf(uint32_t stream) {
  while (const auto frame = Next()) {
    if (frame->stream != stream) continue;
    if (frame->type == Http2Frame::kRstStream) return true;
    const bool may_end =
        frame->type == Http2Frame::kHeaders || frame->type == Http2Frame::kData;
    if (may_end && (frame->flags & Http2Frame::kEndStream) != 0) return true;
  }
  return false;
}

bool Http2Connection::Close() {
  shutdown(fd_, SHUT_WR);
  char bytes[4096];
  ssize_t got;
  do {
    got = recv(fd_, bytes, sizeof bytes, 0);
  } while (got > 0);
  return got == 0 || errno == ECONNRESET;
}

}  // namespace waitq::test
