#include "bench/tcp_socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "bench/load_connection.h"

namespace waitq::bench {
namespace {

sockaddr_in Parse(const std::string& address) {
  const size_t colon = address.rfind(':');
  sockaddr_in parsed{};
  parsed.sin_family = AF_INET;
  if (colon == std::string::npos ||
      inet_pton(AF_INET, address.substr(0, colon).c_str(), &parsed.sin_addr) !=
          1) {
    Die("not IPV4:PORT: " + address);
  }
  parsed.sin_port = htons(std::atoi(address.c_str() + colon + 1));
  return parsed;
}

}  // namespace

int ConnectTcp(const std::string& address) {
  const sockaddr_in server = Parse(address);
  const absl::Time end = absl::Now() + absl::Seconds(10);
  for (;;) {
    const int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (tcp < 0) Die("no more sockets: see ulimit -n");
    if (connect(tcp, reinterpret_cast<const sockaddr*>(&server),
                sizeof(server)) == 0) {
      const int on = 1;
      setsockopt(tcp, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
      return tcp;
    }
    close(tcp);
    if (absl::Now() > end) Die("cannot connect to " + address);
    absl::SleepFor(absl::Milliseconds(1));
  }
}

}  // namespace waitq::bench
