#include "client/address.h"

#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"

namespace waitq {
namespace {

TEST(AddressTest, EveryFormIsUnderstood) {
  EXPECT_EQ(AddressToTarget("127.0.0.1:7411").value(), "dns:///127.0.0.1:7411");
  EXPECT_EQ(AddressToTarget("host.example:1").value(), "dns:///host.example:1");
  EXPECT_EQ(AddressToTarget("[::1]:65535").value(), "dns:///%5B::1%5D:65535");
  EXPECT_EQ(AddressToTarget("unix:/run/waitq.sock").value(),
            "unix:///run/waitq.sock");
}

TEST(AddressTest, APathMayHaveAnyCharacters) {
  EXPECT_EQ(AddressToTarget("unix:/a b%#:").value(), "unix:///a%20b%25%23:");
}

TEST(AddressTest, ARelativePathBeginsHere) {
  const std::string target = AddressToTarget("unix:w.sock").value();
  EXPECT_TRUE(absl::StartsWith(target, "unix:///")) << target;
  EXPECT_TRUE(absl::EndsWith(target, "/w.sock")) << target;
}

TEST(AddressTest, AnythingElseIsRefusedAndToldTheForms) {
  for (const std::string& address :
       {std::string(""), std::string("host"), std::string(":7411"),
        std::string("host:"), std::string("host:0"), std::string("host:65536"),
        std::string("host:7411x"), std::string("host: 1"),
        std::string("host:-1"), std::string("::1:7411"),
        std::string("http://host:1"), std::string("ho st:1"),
        std::string("[]:1"), std::string("[a b]:1"), std::string("unix:"),
        "unix:/" + std::string(200, 'x')}) {
    const absl::Status status = AddressToTarget(address).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << address;
    EXPECT_TRUE(absl::StrContains(status.message(), "'" + address + "'"))
        << status;
    EXPECT_TRUE(absl::StrContains(status.message(),
                                  "HOST:PORT, [IPV6]:PORT or unix:PATH"))
        << status;
  }
}

}  // namespace
}  // namespace waitq
