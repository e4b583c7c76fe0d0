// A server in this process, on a port or a socket file of its own.

#ifndef WAITQ_TESTS_SERVER_FIXTURE_H_
#define WAITQ_TESTS_SERVER_FIXTURE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "server/rpc/server.h"
#include "tests/server/client.h"
#include "tests/support/process.h"

namespace waitq::test {

// Ends by checking that nothing is left: nobody asleep, no handle open, and a
// server that stops when it is told to.
class ServerTest : public testing::Test {
 protected:
  ServerTest();
  void TearDown() override;

  // To be changed before the server is first used.
  rpc::ServerOptions& options() { return options_; }
  std::string SocketFile() const { return folder_.Path("socket"); }

  // Started at its first use.
  rpc::Server& server();
  // Ends it now. What is left at `deadline` is cut.
  void StopServer(absl::Time deadline = absl::Now());
  // Ends it without telling it to stop before.
  void DropServer() { server_ = nullptr; }

  // The first connection, and others.
  Client& client();
  std::unique_ptr<Client> NewClient();
  // A client of a server at `address`.
  static std::unique_ptr<Client> ClientOf(const std::string& address);

  // Waits until so many operations sleep.
  void AwaitAsleep(uint64_t n);
  // Who sleeps on the object, or on any.
  std::vector<v1::Task> Sleepers(const std::string& name = "");
  // The object as it is now, which must be there.
  v1::ObjectStat StatOf(const std::string& name);
  // Waits until the pipe has so many handles.
  void AwaitHandles(const std::string& name, uint32_t readers,
                    uint32_t writers);
  // The word of a wait queue.
  int64_t ValueOf(const std::string& name);
  // Writes to a pipe, where there must be room, and reads what is there.
  void WriteNow(const std::string& name, const std::string& data);
  v1::ReadResponse ReadNow(const std::string& name);

 private:
  bool NoHandleIsOpen();

  const TemporaryFolder folder_;
  rpc::ServerOptions options_;
  std::unique_ptr<rpc::Server> server_;
  std::unique_ptr<Client> client_;
};

// Each test on a port, with as many queues as a server has; and on a socket
// file, with one queue, where all happens on one thread.
enum class Setup { kPort, kSocketFile };

class EverywhereTest : public ServerTest,
                       public testing::WithParamInterface<Setup> {
 protected:
  EverywhereTest() {
    if (GetParam() == Setup::kPort) return;
    options().listen = "unix:" + SocketFile();
    options().queues = 1;
  }
};

inline std::string SetupName(const testing::TestParamInfo<Setup>& info) {
  return info.param == Setup::kPort ? "Port" : "SocketFile";
}

}  // namespace waitq::test

// To be said once for each fixture that is derived from EverywhereTest.
#define WAITQ_TEST_EVERYWHERE(fixture)                                         \
  INSTANTIATE_TEST_SUITE_P(Everywhere, fixture,                                \
                           testing::Values(::waitq::test::Setup::kPort,        \
                                           ::waitq::test::Setup::kSocketFile), \
                           ::waitq::test::SetupName)

#endif  // WAITQ_TESTS_SERVER_FIXTURE_H_
