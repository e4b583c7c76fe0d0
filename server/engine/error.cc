#include "server/engine/error.h"

#include <cerrno>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "core/check.h"

namespace waitq::engine {
namespace {

constexpr char kReasonUrl[] = "waitq/reason";
constexpr char kMetadataUrl[] = "waitq/metadata/";

struct Row {
  int error_number;
  const char* name;
  absl::StatusCode code;
};

// Not absl::ErrnoToStatusCode(): it takes would-block and a full table for a
// server that is unavailable, and does not know EIDRM or EMSGSIZE.
constexpr Row kTable[] = {
    {EINVAL, "EINVAL", absl::StatusCode::kInvalidArgument},
    {EMSGSIZE, "EMSGSIZE", absl::StatusCode::kInvalidArgument},
    {ERANGE, "ERANGE", absl::StatusCode::kOutOfRange},
    {ENOENT, "ENOENT", absl::StatusCode::kNotFound},
    {ESRCH, "ESRCH", absl::StatusCode::kNotFound},
    {EEXIST, "EEXIST", absl::StatusCode::kAlreadyExists},
    {ENXIO, "ENXIO", absl::StatusCode::kFailedPrecondition},
    {EBUSY, "EBUSY", absl::StatusCode::kFailedPrecondition},
    {EPIPE, "EPIPE", absl::StatusCode::kFailedPrecondition},
    {EBADF, "EBADF", absl::StatusCode::kFailedPrecondition},
    {ESTALE, "ESTALE", absl::StatusCode::kFailedPrecondition},
    {ENOSPC, "ENOSPC", absl::StatusCode::kResourceExhausted},
    {EINTR, "EINTR", absl::StatusCode::kAborted},
    {EIDRM, "EIDRM", absl::StatusCode::kAborted},
    {EOWNERDEAD, "EOWNERDEAD", absl::StatusCode::kAborted},
    {ECANCELED, "ECANCELED", absl::StatusCode::kCancelled},
    {ESHUTDOWN, "ESHUTDOWN", absl::StatusCode::kUnavailable},
};

const Row& Find(int error_number) {
  for (const Row& row : kTable) {
    if (row.error_number == error_number) return row;
  }
  CheckFailed(__FILE__, __LINE__, "row found",
              "every errno of the engine has its row in the table");
}

}  // namespace

absl::Status MakeError(int error_number, absl::string_view message,
                       std::map<std::string, std::string> metadata) {
  const Row& row = Find(error_number);
  absl::Status status(row.code, message);
  status.SetPayload(kReasonUrl, absl::Cord(row.name));
  for (auto& [key, value] : metadata) {
    status.SetPayload(absl::StrCat(kMetadataUrl, key),
                      absl::Cord(std::move(value)));
  }
  return status;
}

absl::Status WithMetadata(absl::Status status, absl::string_view key,
                          absl::string_view value) {
  status.SetPayload(absl::StrCat(kMetadataUrl, key), absl::Cord(value));
  return status;
}

ErrorDetails DetailsOf(const absl::Status& status) {
  ErrorDetails details;
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    if (url == kReasonUrl) {
      details.reason = std::string(payload);
    } else if (url.substr(0, sizeof(kMetadataUrl) - 1) == kMetadataUrl) {
      url.remove_prefix(sizeof(kMetadataUrl) - 1);
      details.metadata[std::string(url)] = std::string(payload);
    }
  });
  return details;
}

}  // namespace waitq::engine
