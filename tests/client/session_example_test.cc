// examples/session.cc and fenced_store.cc, as they are there.

#include <string>

#include "gtest/gtest.h"
#include "tests/support/process.h"
#include "tests/support/waitqd.h"

namespace waitq::test {
namespace {

Process RunExample(const std::string& server) {
  return Process({BuiltProgram("examples/session")},
                 {.environment = {{"WAITQ_SERVER", server}}});
}

TEST(SessionExampleTest, SaysWhatTheManualShows) {
  const Waitqd server;
  for (int run = 0; run < 2; ++run) {
    Process example = RunExample(server.address());
    EXPECT_EQ(example.WaitFor(), 0) << example.Output();
    EXPECT_EQ(example.Output(),
              "worker 0 has a task\n"
              "worker 1 has a task\n"
              "worker 2 has a task\n"
              "worker 3 has a task\n"
              "worker 4 has a task\n"
              "all done\n");
  }
}

TEST(SessionExampleTest, TheStoreRefusesAnOldToken) {
  const Waitqd server;
  Process example({BuiltProgram("examples/fenced_store")},
                  {.environment = {{"WAITQ_SERVER", server.address()}}});
  EXPECT_EQ(example.WaitFor(), 0) << example.Output();
  EXPECT_EQ(example.Output(),
            "the first holder: written\n"
            "the second holder: written\n"
            "the first holder, late: refused\n");
}

TEST(SessionExampleTest, FailsWithoutAServer) {
  Process example = RunExample("unix:/nonexistent/waitq.sock");
  EXPECT_EQ(example.WaitFor(), 1);
  EXPECT_NE(example.Output().find("no server at"), std::string::npos)
      << example.Output();
}

}  // namespace
}  // namespace waitq::test
