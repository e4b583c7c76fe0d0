#include "tests/support/cutting_proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace waitq::test {
namespace {

sockaddr_in Loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

void Must(bool good, const char* what) {
  if (good) return;
  std::perror(what);
  std::abort();
}

}  // namespace

CuttingProxy::CuttingProxy(const std::string& server)
    : server_port_(static_cast<uint16_t>(
          std::strtoul(server.c_str() + server.rfind(':') + 1, nullptr, 10))),
      listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  Must(listener_ >= 0 && bind(listener_, any, size) == 0 &&
           listen(listener_, 100) == 0 &&
           getsockname(listener_, any, &size) == 0,
       "a proxy's listener");
  address_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  acceptor_ = std::thread([this] { Accept(); });
}

CuttingProxy::~CuttingProxy() {
  stop_ = true;
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  CutAll();
  for (const auto& pair : pairs_) {
    pair->there.join();
    pair->back.join();
    close(pair->client);
    close(pair->server);
  }
  close(listener_);
}

int CuttingProxy::CutAll() {
  const std::lock_guard lock(mu_);
  int cut = 0;
  for (const auto& pair : pairs_) {
    if (pair->over.exchange(true)) continue;
    // A reset: what is in the buffers goes with it.
    const linger now{.l_onoff = 1, .l_linger = 0};
    for (const int fd : {pair->client, pair->server}) {
      setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
      shutdown(fd, SHUT_RDWR);
    }
    ++cut;
  }
  return cut;
}

void CuttingProxy::Accept() {
  for (;;) {
    const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0 || stop_) {
      if (client >= 0) close(client);
      return;
    }
    const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = Loopback(server_port_);
    if (refuse_ || connect(server, reinterpret_cast<const sockaddr*>(&address),
                           sizeof address) != 0) {
      close(client);
      close(server);
      continue;
    }
    const std::lock_guard lock(mu_);
    Pair& pair = *pairs_.emplace_back(std::make_unique<Pair>());
    pair.client = client;
    pair.server = server;
    pair.there =
        std::thread([this, &pair] { Pump(pair, pair.client, pair.server); });
    pair.back =
        std::thread([this, &pair] { Pump(pair, pair.server, pair.client); });
  }
}

void CuttingProxy::Pump(Pair& pair, int from, int to) {
  char buffer[16 * 1024];
  for (ssize_t got; (got = recv(from, buffer, sizeof buffer, 0)) > 0;) {
    bytes_ += static_cast<uint64_t>(got);
    for (std::string_view left(buffer, static_cast<size_t>(got));
         !left.empty();) {
      const ssize_t sent = send(to, left.data(), left.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      left.remove_prefix(static_cast<size_t>(sent));
    }
  }
  pair.over = true;
  shutdown(to, SHUT_RDWR);
}

}  // namespace waitq::test
