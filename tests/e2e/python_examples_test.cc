// The examples in Python: unchanged standard clients against our server.

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/fixture.h"

namespace waitq::test {
namespace {

using ::testing::HasSubstr;

class PythonExamplesTest : public WaitqTest {
 protected:
  // False, and a line in the log, where Debian's packages are not installed.
  bool Generate() {
    Process grpc({"/usr/bin/python3", "-c", "import grpc"});
    Process plugin({"test", "-x", "/usr/bin/grpc_python_plugin"});
    if (grpc.WaitFor() != 0 || plugin.WaitFor() != 0) {
      std::puts(
          "SKIPPED: /usr/bin/python3 has no grpc (python3-grpcio), or "
          "protobuf-compiler-grpc is missing");
      return false;
    }
    Process generate(
        {BuiltProgram("examples/generate.sh"), folder_.Path("generated")});
    EXPECT_EQ(generate.WaitFor(), 0) << generate.Errors();
    return true;
  }

  Process& StartExample(const std::string& name) {
    examples_.push_back(std::make_unique<Process>(
        std::vector<std::string>{"/usr/bin/python3", "-B",
                                 BuiltProgram("examples/" + name)},
        ProcessOptions{
            .environment = {{"WAITQ_SERVER", server().address()},
                            {"WAITQ_PYTHON", folder_.Path("generated")}}}));
    return *examples_.back();
  }

  void TearDown() override {
    examples_.clear();
    WaitqTest::TearDown();
  }

 private:
  TemporaryFolder folder_;
  std::vector<std::unique_ptr<Process>> examples_;
};

TEST_F(PythonExamplesTest, TheWriterWakesExactlyOneReaderEachTime) {
  if (!Generate()) return;
  Process& one = StartExample("reader.py");
  AwaitSleepers("sleepy", 1);
  Process& other = StartExample("reader.py");
  AwaitSleepers("sleepy", 2);
  Process& writer = StartExample("writer.py");
  EXPECT_EQ(writer.WaitFor(), 0) << writer.Errors();
  EXPECT_EQ(writer.Output(), "writer: woke 1, the flag is 0\n");
  EXPECT_EQ(one.WaitFor(), 0) << one.Errors();
  EXPECT_THAT(one.Output(), HasSubstr("awake, the flag was 1"));
  EXPECT_TRUE(other.IsRunning());
  EXPECT_EQ(StartExample("writer.py").WaitFor(), 0);
  EXPECT_EQ(other.WaitFor(), 0) << other.Errors();
}

TEST_F(PythonExamplesTest, ReflectionListsTheServices) {
  if (!Generate()) return;
  Process& reflect = StartExample("reflect.py");
  EXPECT_EQ(reflect.WaitFor(), 0) << reflect.Errors();
  for (const char* service :
       {"waitq.v1.WaitQueues\n", "waitq.v1.Pipes\n", "waitq.v1.Objects\n",
        "waitq.v1.Tasks\n", "grpc.health.v1.Health\n"}) {
    EXPECT_THAT(reflect.Output(), HasSubstr(service));
  }
}

}  // namespace
}  // namespace waitq::test
