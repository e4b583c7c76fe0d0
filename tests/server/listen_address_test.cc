#include "server/rpc/listen_address.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/process.h"

namespace waitq::rpc {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(ListenAddressTest, GoodFormsAreTakenApart) {
  struct Row {
    const char* text;
    const char* host;
    int port;
    const char* path;
  };
  const Row rows[] = {
      {"127.0.0.1:7411", "127.0.0.1", 7411, ""},
      {"localhost:0", "localhost", 0, ""},
      {"0.0.0.0:65535", "0.0.0.0", 65535, ""},
      {"my-host.example:1", "my-host.example", 1, ""},
      {"[::1]:7411", "::1", 7411, ""},
      {"[::]:80", "::", 80, ""},
      {"[fe80::1%eth0]:80", "fe80::1%eth0", 80, ""},
      {"unix:/tmp/socket", "", 0, "/tmp/socket"},
      {"unix:relative", "", 0, "relative"},
      {"unix:/with:colon", "", 0, "/with:colon"},
  };
  for (const Row& row : rows) {
    const auto address = ListenAddress::Parse(row.text);
    ASSERT_TRUE(address.ok()) << row.text << ": " << address.status();
    EXPECT_EQ(address->host, row.host) << row.text;
    EXPECT_EQ(address->port, row.port) << row.text;
    EXPECT_EQ(address->path, row.path) << row.text;
    EXPECT_EQ(address->is_unix(), row.path[0] != '\0') << row.text;
    EXPECT_EQ(address->ToString(), row.text);
  }
}

TEST(ListenAddressTest, BadFormsAreRefusedInOneLineThatShowsThem) {
  for (const char* text : {"",
                           ":",
                           "localhost",
                           "7411",
                           ":7411",
                           "localhost:",
                           "localhost:x",
                           "localhost:1x",
                           "localhost:-1",
                           "localhost:65536",
                           "localhost:99999999999999999999",
                           "localhost: 1",
                           "localhost:+1",
                           "::1:7411",
                           "::1",
                           "[::1]",
                           "[::1]:",
                           "[::1]7411",
                           "[::1:7411",
                           "::1]:7411",
                           "[]:7411",
                           "[localhost:7411",
                           "localhost]:7411",
                           "http://localhost:80",
                           "unix",
                           "unix:"}) {
    const auto address = ListenAddress::Parse(text);
    EXPECT_FALSE(address.ok())
        << "'" << text << "' is taken for " << address->ToString();
    if (address.ok()) continue;
    EXPECT_EQ(address.status().code(), absl::StatusCode::kInvalidArgument);
    const std::string message(address.status().message());
    EXPECT_THAT(message, HasSubstr("'" + std::string(text) + "'"));
    EXPECT_THAT(message, Not(HasSubstr("\n")));
  }
}

TEST(ListenAddressTest, PathMustFitIntoASocketAddress) {
  const size_t longest = sizeof(sockaddr_un::sun_path) - 1;
  const std::string fits = "unix:" + std::string(longest, 'x');
  EXPECT_TRUE(ListenAddress::Parse(fits).ok());
  const auto too_long = ListenAddress::Parse(fits + "x");
  ASSERT_FALSE(too_long.ok());
  EXPECT_EQ(too_long.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(too_long.status().message()),
              HasSubstr(std::to_string(longest)));
}

TEST(ListenAddressTest, OnlyLoopbackAndSocketFilesAreLocal) {
  for (const char* text : {"127.0.0.1:0", "127.255.0.1:0", "localhost:0",
                           "[::1]:0", "unix:/tmp/socket"}) {
    EXPECT_TRUE(ListenAddress::Parse(text)->IsLocal()) << text;
  }
  for (const char* text :
       {"0.0.0.0:0", "[::]:0", "10.0.0.1:0", "192.168.127.1:0", "1.127.0.0:0",
        "example.com:0", "localhost.example.com:0", "[fe80::1]:0",
        // A name that begins like a loopback address is not one.
        "127.example.com:0", "127.0.0.1.example.com:0"}) {
    EXPECT_FALSE(ListenAddress::Parse(text)->IsLocal()) << text;
  }
}

TEST(ListenAddressTest, ShowsThePortThatWasChosen) {
  EXPECT_EQ(ListenAddress::Parse("localhost:0")->ToString(1234),
            "localhost:1234");
  EXPECT_EQ(ListenAddress::Parse("[::1]:0")->ToString(1234), "[::1]:1234");
  // gRPC says that a socket file has port 1.
  EXPECT_EQ(ListenAddress::Parse("unix:/tmp/s")->ToString(1), "unix:/tmp/s");
}

class SocketFileLockTest : public testing::Test {
 protected:
  std::string path() const { return folder_.Path("socket"); }

 private:
  const test::TemporaryFolder folder_;
};

TEST_F(SocketFileLockTest, SecondLockIsRefused) {
  SocketFileLock first;
  ASSERT_TRUE(first.Lock(path()).ok());
  SocketFileLock second;
  const absl::Status refused = second.Lock(path());
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()), HasSubstr(path() + ".lock"));
}

TEST_F(SocketFileLockTest, IsFreeWhenTheFirstHasEnded) {
  auto first = std::make_unique<SocketFileLock>();
  ASSERT_TRUE(first->Lock(path()).ok());
  {
    SocketFileLock refused;
    ASSERT_FALSE(refused.Lock(path()).ok());
  }
  // Who was refused has not freed it either.
  ASSERT_FALSE(SocketFileLock().Lock(path()).ok());
  first = nullptr;
  EXPECT_TRUE(SocketFileLock().Lock(path()).ok());
}

TEST_F(SocketFileLockTest, LockFileStaysAndIsOnlyForUs) {
  ASSERT_TRUE(SocketFileLock().Lock(path()).ok());
  struct stat file;
  ASSERT_EQ(stat((path() + ".lock").c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 0777, 0600u);
}

TEST_F(SocketFileLockTest, TwoPathsHaveTwoLocks) {
  SocketFileLock first;
  SocketFileLock second;
  EXPECT_TRUE(first.Lock(path()).ok());
  EXPECT_TRUE(second.Lock(path() + "2").ok());
}

TEST_F(SocketFileLockTest, MissingFolderIsSaid) {
  SocketFileLock lock;
  const absl::Status status = lock.Lock(path() + "/none/socket");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("No such file"));
}

TEST(WhyNotListenTest, SaysWhatTheSystemSays) {
  EXPECT_EQ(WhyNotListen(*ListenAddress::Parse("192.0.2.1:0")),
            "Cannot assign requested address");
  EXPECT_EQ(WhyNotListen(*ListenAddress::Parse("unix:/no/such/folder/s")),
            "No such file or directory");
  EXPECT_NE(WhyNotListen(*ListenAddress::Parse("no-such-host.invalid:1")), "");
}

}  // namespace
}  // namespace waitq::rpc
