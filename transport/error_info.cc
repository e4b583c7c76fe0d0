#include "transport/error_info.h"

#include <cstddef>
#include <utility>

#include "absl/strings/ascii.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "transport/duration.h"

namespace waitq {
namespace {

constexpr char kDomain[] = "waitq";

// The message travels twice, and the details in base64 (4/3): with these, all
// of it is below 4 KB also on the wire, unless a message is full of '%'.
constexpr size_t kMessageBytesMax = 768;
constexpr size_t kReasonBytesMax = 64;
constexpr size_t kKeyBytesMax = 64;
// A name has at most 255 bytes.
constexpr size_t kValueBytesMax = 300;
constexpr size_t kMetadataBytesMax = 1024;

google::rpc::ErrorInfo MakeErrorInfo(
    std::string reason, const std::map<std::string, std::string>& metadata) {
  google::rpc::ErrorInfo info;
  info.set_domain(kDomain);
  info.set_reason(Printable(std::move(reason), kReasonBytesMax));
  size_t bytes = 0;
  for (const auto& [raw_key, raw_value] : metadata) {
    std::string key = Printable(raw_key, kKeyBytesMax);
    std::string value = Printable(raw_value, kValueBytesMax);
    // Tags and lengths take some too.
    const size_t entry_bytes = key.size() + value.size() + 8;
    if (bytes + entry_bytes > kMetadataBytesMax) continue;
    bytes += entry_bytes;
    (*info.mutable_metadata())[std::move(key)] = std::move(value);
  }
  return info;
}

}  // namespace

std::string Printable(std::string text, size_t max_bytes) {
  static constexpr char kEllipsis[] = "...";
  constexpr size_t kEllipsisBytes = sizeof(kEllipsis) - 1;
  if (text.size() > max_bytes) {
    text.resize(max_bytes < kEllipsisBytes ? 0 : max_bytes - kEllipsisBytes);
    text += kEllipsis;
    text.resize(max_bytes);
  }
  for (char& c : text) {
    if (!absl::ascii_isprint(static_cast<unsigned char>(c))) c = '?';
  }
  return text;
}

grpc::Status MakeStatus(grpc::StatusCode code, std::string reason,
                        std::string message,
                        const std::map<std::string, std::string>& metadata,
                        std::optional<absl::Duration> retry_after) {
  message = Printable(std::move(message), kMessageBytesMax);
  google::rpc::Status details;
  details.set_code(code);
  details.set_message(message);
  details.add_details()->PackFrom(MakeErrorInfo(std::move(reason), metadata));
  if (retry_after.has_value()) {
    google::rpc::RetryInfo retry;
    *retry.mutable_retry_delay() = ToWire(*retry_after);
    details.add_details()->PackFrom(retry);
  }
  return grpc::Status(code, std::move(message), details.SerializeAsString());
}

std::optional<ErrorInfo> ParseErrorInfo(const grpc::Status& status) {
  google::rpc::Status details;
  if (status.ok() || status.error_details().empty() ||
      !details.ParseFromString(status.error_details())) {
    return std::nullopt;
  }
  std::optional<ErrorInfo> result;
  std::optional<absl::Duration> retry_after;
  for (const google::protobuf::Any& any : details.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::RetryInfo retry;
    if (any.UnpackTo(&info) && info.domain() == kDomain) {
      result = ErrorInfo{
          info.reason(), {info.metadata().begin(), info.metadata().end()}, {}};
    } else if (any.UnpackTo(&retry)) {
      retry_after = FromWire(retry.retry_delay());
    }
  }
  if (result.has_value()) result->retry_after = retry_after;
  return result;
}

}  // namespace waitq
