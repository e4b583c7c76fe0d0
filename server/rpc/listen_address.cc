#include "server/rpc/listen_address.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/algorithm/container.h"
#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace waitq::rpc {
namespace {

absl::Status BadAddress(const std::string& text) {
  return absl::InvalidArgumentError(absl::StrCat(
      "bad address '", text, "': it is HOST:PORT, [IPV6]:PORT or unix:PATH"));
}

absl::StatusOr<ListenAddress> ParseUnix(const std::string& text,
                                        absl::string_view path) {
  constexpr size_t kPathBytesMax = sizeof(sockaddr_un::sun_path) - 1;
  if (path.empty()) return BadAddress(text);
  if (path.size() > kPathBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "bad address '", text, "': a socket file's path is at most ",
        kPathBytesMax, " bytes"));
  }
  ListenAddress address;
  address.path = std::string(path);
  return address;
}

}  // namespace

absl::StatusOr<ListenAddress> ListenAddress::Parse(const std::string& text) {
  absl::string_view rest = text;
  if (absl::ConsumePrefix(&rest, "unix:")) return ParseUnix(text, rest);
  const size_t colon = rest.rfind(':');
  if (colon == absl::string_view::npos) return BadAddress(text);
  absl::string_view host = rest.substr(0, colon);
  if (absl::StartsWith(host, "[") && absl::EndsWith(host, "]")) {
    host = host.substr(1, host.size() - 2);
  } else if (absl::StrContains(host, ':')) {
    return BadAddress(text);  // an IPv6 address without its brackets
  }
  const absl::string_view port = rest.substr(colon + 1);
  ListenAddress address;
  address.host = std::string(host);
  // SimpleAtoi() would take blanks and signs.
  if (host.empty() || host.find_first_of("[] ") != absl::string_view::npos ||
      !absl::c_all_of(port, absl::ascii_isdigit) ||
      !absl::SimpleAtoi(port, &address.port) || address.port > 65535) {
    return BadAddress(text);
  }
  return address;
}

bool ListenAddress::IsLocal() const {
  if (is_unix() || host == "localhost") return true;
  // Not by the text: 127.example.org is a name like any other.
  in_addr v4;
  in6_addr v6;
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) {
    return ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
  }
  return inet_pton(AF_INET6, host.c_str(), &v6) == 1 &&
         IN6_IS_ADDR_LOOPBACK(&v6);
}

std::string ListenAddress::ToString(int selected_port) const {
  if (is_unix()) return absl::StrCat("unix:", path);
  const int shown = selected_port != 0 ? selected_port : port;
  return absl::StrContains(host, ':') ? absl::StrCat("[", host, "]:", shown)
                                      : absl::StrCat(host, ":", shown);
}

SocketFileLock::~SocketFileLock() {
  if (fd_ >= 0) close(fd_);
}

absl::Status SocketFileLock::Lock(const std::string& path) {
  const std::string lock_path = absl::StrCat(path, ".lock");
  fd_ = open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd_ < 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(lock_path, ": ", std::strerror(errno)));
  }
  if (flock(fd_, LOCK_EX | LOCK_NB) == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("another server listens there (it holds ", lock_path, ")"));
}

std::string WhyNotListen(const ListenAddress& address) {
  if (address.is_unix()) {
    const size_t slash = address.path.rfind('/');
    const std::string folder =
        slash == std::string::npos ? "." : address.path.substr(0, slash + 1);
    return access(folder.c_str(), W_OK) == 0 ? "gRPC could not bind it"
                                             : std::strerror(errno);
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(
      address.host.c_str(), absl::StrCat(address.port).c_str(), &hints, &found);
  if (error != 0) return gai_strerror(error);
  absl::Cleanup free_found = [found] { freeaddrinfo(found); };
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return std::strerror(errno);
  absl::Cleanup close_fd = [fd] { close(fd); };
  if (bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, 1) != 0) {
    return std::strerror(errno);
  }
  return "gRPC could not bind it";
}

}  // namespace waitq::rpc
