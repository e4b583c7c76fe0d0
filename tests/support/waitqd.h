// A server of its own for a test.

#ifndef WAITQ_TESTS_SUPPORT_WAITQD_H_
#define WAITQ_TESTS_SUPPORT_WAITQD_H_

#include <string>
#include <vector>

#include "tests/support/process.h"

namespace waitq::test {

// A running `waitqd`, killed on destruction.
//
// Needs //server:waitqd among the test's data.
class Waitqd {
 public:
  // Starts it and waits until it listens. A server that does not come up fails
  // the test and leaves `address` empty.
  explicit Waitqd(const std::string& listen = "127.0.0.1:0",
                  const std::vector<std::string>& flags = {});

  // As the server printed it: "127.0.0.1:40112", "unix:/tmp/s".
  const std::string& address() const { return address_; }
  pid_t pid() const { return process_.pid(); }
  ProcessFigures Figures() const { return FiguresOf(pid()); }
  Process& process() { return process_; }

  // Sends SIGTERM and gives the exit code; nothing if it does not end.
  std::optional<int> Stop();

 private:
  Process process_;
  std::string address_;
};

}  // namespace waitq::test

#endif  // WAITQ_TESTS_SUPPORT_WAITQD_H_
