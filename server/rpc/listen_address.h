// Where the server listens.

#ifndef WAITQ_SERVER_RPC_LISTEN_ADDRESS_H_
#define WAITQ_SERVER_RPC_LISTEN_ADDRESS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace waitq::rpc {

// HOST:PORT, [IPV6]:PORT or unix:PATH.
struct ListenAddress {
  // INVALID_ARGUMENT, in one line, for anything else.
  static absl::StatusOr<ListenAddress> Parse(const std::string& text);

  bool is_unix() const { return !path.empty(); }
  // Reached from this machine only: a loopback address or a socket file.
  bool IsLocal() const;
  // As gRPC and as people write it, with another port if `port` is not 0.
  std::string ToString(int selected_port = 0) const;

  std::string host;  // without brackets
  int port = 0;      // 0: any free one
  std::string path;
};

// Holds the lock beside a socket file for as long as it lives: gRPC would
// silently take the path away from a server that listens on it.
class SocketFileLock {
 public:
  SocketFileLock() = default;
  SocketFileLock(const SocketFileLock&) = delete;
  SocketFileLock& operator=(const SocketFileLock&) = delete;
  ~SocketFileLock();

  // FAILED_PRECONDITION if another server has it. The lock file, PATH.lock,
  // stays when the server ends: whoever removed it could remove it from under
  // the next.
  absl::Status Lock(const std::string& path);

 private:
  int fd_ = -1;
};

// Why one cannot listen there, as the system says ("Address already in use");
// for an error message, after gRPC has failed to and has not said why.
std::string WhyNotListen(const ListenAddress& address);

}  // namespace waitq::rpc

#endif  // WAITQ_SERVER_RPC_LISTEN_ADDRESS_H_
