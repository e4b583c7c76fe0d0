#include "server/engine/error.h"

#include <cerrno>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "gtest/gtest.h"

namespace waitq::engine {
namespace {

TEST(ErrorTest, EachErrnoHasItsCodeAndName) {
  struct {
    int error_number;
    const char* reason;
    absl::StatusCode code;
  } const rows[] = {
      {EINVAL, "EINVAL", absl::StatusCode::kInvalidArgument},
      {EMSGSIZE, "EMSGSIZE", absl::StatusCode::kInvalidArgument},
      {ERANGE, "ERANGE", absl::StatusCode::kOutOfRange},
      {ENOENT, "ENOENT", absl::StatusCode::kNotFound},
      {EEXIST, "EEXIST", absl::StatusCode::kAlreadyExists},
      {ENXIO, "ENXIO", absl::StatusCode::kFailedPrecondition},
      {EBUSY, "EBUSY", absl::StatusCode::kFailedPrecondition},
      {EPIPE, "EPIPE", absl::StatusCode::kFailedPrecondition},
      {ENOSPC, "ENOSPC", absl::StatusCode::kResourceExhausted},
      {EINTR, "EINTR", absl::StatusCode::kAborted},
      {EIDRM, "EIDRM", absl::StatusCode::kAborted},
      {ECANCELED, "ECANCELED", absl::StatusCode::kCancelled},
      {ESHUTDOWN, "ESHUTDOWN", absl::StatusCode::kUnavailable},
  };
  for (const auto& row : rows) {
    const absl::Status status = MakeError(row.error_number, "why");
    EXPECT_EQ(status.code(), row.code) << row.reason;
    EXPECT_EQ(status.message(), "why");
    EXPECT_EQ(DetailsOf(status).reason, row.reason);
    EXPECT_TRUE(DetailsOf(status).metadata.empty());
  }
}

TEST(ErrorTest, MetadataComesBack) {
  const std::map<std::string, std::string> metadata = {{"object", "a/b"},
                                                       {"limit", "sleepers"}};
  const absl::Status status = MakeError(ENOSPC, "full", metadata);
  EXPECT_EQ(DetailsOf(status).metadata, metadata);
}

TEST(ErrorTest, WithMetadataAddsOrReplacesOneEntry) {
  absl::Status status = MakeError(EPIPE, "gone", {{"object", "p"}});
  status = WithMetadata(status, "accepted_bytes", "17");
  status = WithMetadata(status, "object", "q");
  EXPECT_EQ(DetailsOf(status).reason, "EPIPE");
  EXPECT_EQ(DetailsOf(status).metadata,
            (std::map<std::string, std::string>{{"accepted_bytes", "17"},
                                                {"object", "q"}}));
}

TEST(ErrorTest, OtherStatusesHaveNoDetails) {
  absl::Status status = absl::InternalError("not ours");
  EXPECT_EQ(DetailsOf(status).reason, "");
  status.SetPayload("somebody/else", absl::Cord("x"));
  EXPECT_TRUE(DetailsOf(status).metadata.empty());
  EXPECT_EQ(DetailsOf(absl::OkStatus()).reason, "");
}

TEST(ErrorDeathTest, AnErrnoWithoutARowIsAMistake) {
  EXPECT_DEATH((void)MakeError(EDOM, "?"),
               "every errno of the engine has its row");
}

}  // namespace
}  // namespace waitq::engine
