// A server, and command lines to run against it.

#ifndef WAITQ_TESTS_E2E_FIXTURE_H_
#define WAITQ_TESTS_E2E_FIXTURE_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/process.h"
#include "tests/support/waitqd.h"
#include "waitq/v1/objects.pb.h"
#include "waitq/v1/tasks.pb.h"

namespace waitq::test {

// How a command line ended.
struct Result {
  int exit = -1;
  std::string out;
  std::string err;
};

// Every test has a server of its own, on a free port unless it asks for more,
// and ends by checking that nobody is left asleep on it.
class WaitqTest : public ::testing::Test {
 protected:
  WaitqTest();
  void SetUp() override { StartServer(); }
  void TearDown() override;

  // Replaces the server, if there is one: it is killed without a word.
  void StartServer(const std::string& listen = "127.0.0.1:0",
                   const std::vector<std::string>& flags = {});
  // For tests that end without one.
  void ForgetServer();
  Waitqd& server() { return *server_; }
  // A connection to the server, for calls that no command line makes.
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

  // Runs `waitq ARGUMENTS` to its end, `input` being its standard input.
  Result Waitq(const std::vector<std::string>& arguments,
               std::string_view input = {});
  // The same for one that must end with 0; gives its standard output.
  std::string WaitqOk(const std::vector<std::string>& arguments,
                      std::string_view input = {});
  // Leaves it running. What the test does not end itself is killed.
  Process& StartWaitq(const std::vector<std::string>& arguments,
                      const ProcessOptions& options = {});

  // The calls asleep on `name` now; "" for all.
  std::vector<v1::Task> Sleepers(const std::string& name);
  // What the server knows of an object; an empty name if it is not there.
  v1::ObjectStat Stat(const std::string& name);
  // Waits until exactly so many sleep on `name`; fails the test if they do not.
  void AwaitSleepers(const std::string& name, size_t count);

 private:
  std::unique_ptr<Waitqd> server_;
  std::shared_ptr<grpc::Channel> channel_;
  // After the server, so that the clients go first.
  std::vector<std::unique_ptr<Process>> clients_;
};

// Whether a command ended with `exit` and said why in one line of its standard
// error that has all of `words` in it.
::testing::AssertionResult FailsClearly(const Result& result, int exit,
                                        const std::vector<std::string>& words);

// Whether two files hold the same bytes.
::testing::AssertionResult SameContents(const std::string& a,
                                        const std::string& b);

// Writes `size` bytes that no compression could shrink.
void WriteNoise(const std::string& path, uint64_t size);

}  // namespace waitq::test

#endif  // WAITQ_TESTS_E2E_FIXTURE_H_
