#include "client/status_map.h"

#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "client/error.h"
#include "grpcpp/support/status.h"
#include "gtest/gtest.h"
#include "transport/error_info.h"

namespace waitq {
namespace {

using grpc::StatusCode;

const CallSite kSite{.server = "host:1", .object = "p"};

TEST(StatusMapTest, OkIsOk) {
  EXPECT_TRUE(FromGrpcStatus(grpc::Status::OK, kSite).ok());
}

TEST(StatusMapTest, WhatTheServerSaidCanBeRead) {
  const absl::Status status = FromGrpcStatus(
      MakeStatus(StatusCode::RESOURCE_EXHAUSTED, "ENOSPC", "too many sleepers",
                 {{"object", "a/b"}, {"limit", "sleepers"}}, absl::Seconds(2)),
      kSite);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(status.message(), "too many sleepers");
  EXPECT_EQ(ErrorReason(status), "ENOSPC");
  EXPECT_EQ(ErrorObject(status), "a/b");
  EXPECT_EQ(ErrorLimit(status), "sleepers");
  EXPECT_EQ(ErrorRetryAfter(status), absl::Seconds(2));
  EXPECT_EQ(ErrorSignal(status), std::nullopt);
  EXPECT_FALSE(OutcomeUnknown(status));
}

TEST(StatusMapTest, EveryCodeStaysAsItIs) {
  for (int code = 1; code <= 16; ++code) {
    const absl::Status status = FromGrpcStatus(
        MakeStatus(static_cast<StatusCode>(code), "EIO", ""), kSite);
    EXPECT_EQ(static_cast<int>(status.code()), code);
  }
}

TEST(StatusMapTest, SignalAndAcceptedBytesAreNumbers) {
  const absl::Status status =
      FromGrpcStatus(MakeStatus(StatusCode::ABORTED, "EINTR", "interrupted",
                                {{"signal", "15"}, {"accepted_bytes", "4096"}}),
                     kSite);
  EXPECT_EQ(ErrorSignal(status), 15);
  EXPECT_EQ(ErrorAcceptedBytes(status), 4096u);
}

TEST(StatusMapTest, TheCallsObjectServesWhereTheServerNamesNone) {
  EXPECT_EQ(ErrorObject(FromGrpcStatus(
                MakeStatus(StatusCode::ABORTED, "EIDRM", "removed"), kSite)),
            "p");
}

TEST(StatusMapTest, ABareErrorMeansThatTheOutcomeIsUnknown) {
  for (const StatusCode code :
       {StatusCode::UNAVAILABLE, StatusCode::DEADLINE_EXCEEDED,
        StatusCode::CANCELLED, StatusCode::INTERNAL, StatusCode::UNKNOWN,
        StatusCode::RESOURCE_EXHAUSTED}) {
    const absl::Status status =
        FromGrpcStatus(grpc::Status(code, "Socket closed"), kSite);
    EXPECT_TRUE(OutcomeUnknown(status)) << status;
    EXPECT_EQ(ErrorReason(status), "") << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "outcome unknown"))
        << status;
    // Which error it was, and whose.
    EXPECT_TRUE(absl::StrContains(status.message(),
                                  absl::StatusCodeToString(status.code())))
        << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "host:1")) << status;
  }
}

TEST(StatusMapTest, WhatWasNeverSentWasNotDone) {
  CallSite site = kSite;
  site.sent = false;
  const absl::Status status = FromGrpcStatus(
      grpc::Status(StatusCode::UNAVAILABLE,
                   "failed to connect to all addresses; last error: UNKNOWN: "
                   "ipv4:127.0.0.1:1: Connection refused"),
      site);
  EXPECT_EQ(status.message(), "no server at host:1: Connection refused");
  EXPECT_FALSE(OutcomeUnknown(status));
}

TEST(StatusMapTest, AMethodThatTheServerDoesNotHaveWasNotDone) {
  const absl::Status status =
      FromGrpcStatus(grpc::Status(StatusCode::UNIMPLEMENTED, ""), kSite);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_FALSE(OutcomeUnknown(status));
}

TEST(StatusMapTest, StoppedByTheCallerIsCancelledAndSaysSo) {
  CallSite site = kSite;
  site.stopped = true;
  const absl::Status status =
      FromGrpcStatus(grpc::Status(StatusCode::CANCELLED, "CANCELLED"), site);
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(status.message(), "cancelled");
  EXPECT_EQ(ErrorReason(status), "ECANCELED");
  // The answer may have been on its way.
  EXPECT_TRUE(OutcomeUnknown(status));
  site.sent = false;
  EXPECT_FALSE(OutcomeUnknown(
      FromGrpcStatus(grpc::Status(StatusCode::CANCELLED, "CANCELLED"), site)));
}

TEST(StatusMapTest, MessagesAreOnePrintableLineWhateverArrives) {
  const absl::Status status = FromGrpcStatus(
      grpc::Status(StatusCode::INTERNAL, "a\nb\x1b[2J\xff"), kSite);
  EXPECT_TRUE(absl::StrContains(status.message(), "a?b?[2J?")) << status;
}

}  // namespace
}  // namespace waitq
