#include "tests/server/wire.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace waitq::test {
namespace {

[[noreturn]] void Die(const char* what) {
  std::perror(what);
  std::abort();
}

}  // namespace

int ConnectTo(const std::string& address) {
  if (absl::StartsWith(address, "unix:")) {
    sockaddr_un there{};
    there.sun_family = AF_UNIX;
    std::strncpy(there.sun_path, address.c_str() + 5,
                 sizeof there.sun_path - 1);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, reinterpret_cast<sockaddr*>(&there), sizeof there) != 0) {
      Die("connect");
    }
    return fd;
  }
  int port = 0;
  if (!absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port)) {
    Die("bad address");
  }
  sockaddr_in there{};
  there.sin_family = AF_INET;
  there.sin_port = htons(static_cast<uint16_t>(port));
  there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(fd, reinterpret_cast<sockaddr*>(&there), sizeof there) != 0) {
    Die("connect");
  }
  return fd;
}

Wire::Wire(const std::string& server_address)
    : server_address_(server_address) {
  sockaddr_in here{};
  here.sin_family = AF_INET;
  here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof here;
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(listener_, reinterpret_cast<sockaddr*>(&here), size) != 0 ||
      listen(listener_, 16) != 0 ||
      getsockname(listener_, reinterpret_cast<sockaddr*>(&here), &size) != 0) {
    Die("listen");
  }
  address_ = absl::StrCat("127.0.0.1:", ntohs(here.sin_port));
  acceptor_ = std::thread([this] { Accept(); });
}

Wire::~Wire() {
  Cut();
  acceptor_.join();
  std::vector<std::thread> carriers;
  std::vector<int> sockets;
  {
    MutexLock lock(&mu_);
    carriers.swap(carriers_);
    sockets.swap(sockets_);
  }
  for (std::thread& carrier : carriers) carrier.join();
  for (const int fd : sockets) close(fd);
  close(listener_);
}

void Wire::Cut() {
  MutexLock lock(&mu_);
  cut_ = true;
  shutdown(listener_, SHUT_RDWR);
  for (const int fd : sockets_) shutdown(fd, SHUT_RDWR);
}

void Wire::Accept() {
  for (;;) {
    const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) return;  // cut
    MutexLock lock(&mu_);
    if (cut_) {
      close(client);
      return;
    }
    const int server = ConnectTo(server_address_);
    sockets_.push_back(client);
    sockets_.push_back(server);
    carriers_.emplace_back(&Carry, client, server);
    carriers_.emplace_back(&Carry, server, client);
  }
}

void Wire::Carry(int from, int to) {
  char buffer[64 * 1024];
  for (;;) {
    const ssize_t got = recv(from, buffer, sizeof buffer, 0);
    if (got <= 0) break;
    for (ssize_t sent = 0; sent < got;) {
      const ssize_t n = send(to, buffer + sent, got - sent, MSG_NOSIGNAL);
      if (n <= 0) break;
      sent += n;
    }
  }
  // One side has closed, or is cut: so is the other.
  shutdown(from, SHUT_RDWR);
  shutdown(to, SHUT_RDWR);
}

}  // namespace waitq::test
