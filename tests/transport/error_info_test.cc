#include "transport/error_info.h"

#include <map>
#include <optional>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"

namespace waitq {
namespace {

TEST(ErrorInfoTest, ReasonMetadataAndRetryArriveAsTheyWereSent) {
  const std::map<std::string, std::string> metadata = {{"object", "a/b"},
                                                       {"limit", "sleepers"}};
  const grpc::Status status =
      MakeStatus(grpc::StatusCode::RESOURCE_EXHAUSTED, "ENOSPC",
                 "too many sleepers", metadata, absl::Milliseconds(1500));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(status.error_message(), "too many sleepers");
  const std::optional<ErrorInfo> info = ParseErrorInfo(status);
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->reason, "ENOSPC");
  EXPECT_EQ(info->metadata, metadata);
  EXPECT_EQ(info->retry_after, absl::Milliseconds(1500));
}

TEST(ErrorInfoTest, WithoutRetryThereIsNone) {
  const std::optional<ErrorInfo> info = ParseErrorInfo(
      MakeStatus(grpc::StatusCode::ABORTED, "EINTR", "interrupted"));
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->retry_after, std::nullopt);
}

TEST(ErrorInfoTest, DetailsRepeatCodeAndMessageAsStandardClientsExpect) {
  const grpc::Status status =
      MakeStatus(grpc::StatusCode::NOT_FOUND, "ENOENT", "no such object");
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  EXPECT_EQ(details.code(), 5);
  EXPECT_EQ(details.message(), "no such object");
  google::rpc::ErrorInfo info;
  ASSERT_EQ(details.details_size(), 1);
  ASSERT_TRUE(details.details(0).UnpackTo(&info));
  EXPECT_EQ(info.domain(), "waitq");
  EXPECT_EQ(details.details(0).type_url(),
            "type.googleapis.com/google.rpc.ErrorInfo");
}

TEST(ErrorInfoTest, AnythingStaysBelow4KiBAndPrintable) {
  std::map<std::string, std::string> metadata;
  for (int i = 0; i < 100; ++i) {
    metadata[absl::StrCat("key", i)] = std::string(1000, '\x01');
  }
  const grpc::Status status =
      MakeStatus(grpc::StatusCode::INTERNAL, std::string(1000, '\xff'),
                 std::string(100'000, '\n'), metadata, absl::Seconds(1));
  EXPECT_LT(status.error_message().size() + status.error_details().size(),
            4096u);
  const std::optional<ErrorInfo> info = ParseErrorInfo(status);
  ASSERT_TRUE(info.has_value());
  std::string all = status.error_message() + info->reason;
  for (const auto& [key, value] : info->metadata) all += key + value;
  for (const char c : all) {
    EXPECT_TRUE(absl::ascii_isprint(static_cast<unsigned char>(c)));
  }
}

TEST(ErrorInfoTest, WhatIsCutSaysSo) {
  const grpc::Status status =
      MakeStatus(grpc::StatusCode::INTERNAL, "EIO", std::string(100'000, 'x'));
  EXPECT_TRUE(absl::EndsWith(status.error_message(), "x..."));
}

TEST(ErrorInfoTest, TheLongestNameFitsWhole) {
  const std::string name(255, 'n');
  const std::optional<ErrorInfo> info = ParseErrorInfo(MakeStatus(
      grpc::StatusCode::ABORTED, "EIDRM", "removed", {{"object", name}}));
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->metadata.at("object"), name);
}

TEST(ErrorInfoTest, StatusesFromElsewhereHaveNone) {
  using grpc::Status;
  using grpc::StatusCode;
  EXPECT_EQ(ParseErrorInfo(Status::OK), std::nullopt);
  EXPECT_EQ(ParseErrorInfo(Status(StatusCode::UNAVAILABLE, "Socket closed")),
            std::nullopt);
  EXPECT_EQ(ParseErrorInfo(Status(StatusCode::INTERNAL, "", "\xff garbage")),
            std::nullopt);
  // Another service's.
  google::rpc::ErrorInfo info;
  info.set_reason("EPIPE");
  info.set_domain("example.org");
  google::rpc::Status details;
  details.add_details()->PackFrom(info);
  EXPECT_EQ(ParseErrorInfo(
                Status(StatusCode::INTERNAL, "", details.SerializeAsString())),
            std::nullopt);
}

TEST(PrintableTest, CutsToTheByte) {
  EXPECT_EQ(Printable("12345", 5), "12345");
  EXPECT_EQ(Printable("123456", 5), "12...");
  EXPECT_EQ(Printable("123456", 2), "..");
  EXPECT_EQ(Printable("123456", 0), "");
}

TEST(PrintableTest, OtherCharactersBecomeQuestionMarks) {
  EXPECT_EQ(Printable("a\tb\n\x7f", 10), "a?b??");
}

}  // namespace
}  // namespace waitq
