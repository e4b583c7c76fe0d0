// Plain TCP.

#ifndef WAITQ_BENCH_TCP_SOCKET_H_
#define WAITQ_BENCH_TCP_SOCKET_H_

#include <string>

namespace waitq::bench {

// Connects to IPV4:PORT, waiting for somebody to listen there for at most ten
// seconds, or dies. The socket blocks, and sends what it is given at once.
int ConnectTcp(const std::string& address);

}  // namespace waitq::bench

#endif  // WAITQ_BENCH_TCP_SOCKET_H_
