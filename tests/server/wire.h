// A wire between clients and a server that a test can cut.

#ifndef WAITQ_TESTS_SERVER_WIRE_H_
#define WAITQ_TESTS_SERVER_WIRE_H_

#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "core/mutex.h"

namespace waitq::test {

// A socket connected to an address as the server prints it: "HOST:PORT", of
// 127.0.0.1, or "unix:PATH". Dies if nobody listens there.
int ConnectTo(const std::string& address);

// Listens on a port and carries bytes to and from the server.
//
// Thread safety: any thread may call any method.
class Wire {
 public:
  explicit Wire(const std::string& server_address);
  // Cuts it.
  ~Wire();
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  const std::string& address() const { return address_; }

  // Both ends find their connections dead, whatever was on its way. Nobody can
  // connect any more.
  void Cut() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Accept() ABSL_LOCKS_EXCLUDED(mu_);
  static void Carry(int from, int to);

  const std::string server_address_;
  std::string address_;
  int listener_ = -1;
  std::thread acceptor_;

  Mutex mu_;
  bool cut_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<int> sockets_ ABSL_GUARDED_BY(mu_);
  std::vector<std::thread> carriers_ ABSL_GUARDED_BY(mu_);
};

}  // namespace waitq::test

#endif  // WAITQ_TESTS_SERVER_WIRE_H_
