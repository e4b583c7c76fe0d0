#include "client/error.h"

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"

namespace waitq {
namespace {

std::string TypeUrl(absl::string_view key) {
  return absl::StrCat("waitq/", key);
}

template <class Integer>
std::optional<Integer> IntegerField(const absl::Status& status,
                                    absl::string_view key) {
  Integer value;
  if (!absl::SimpleAtoi(ErrorField(status, key), &value)) return std::nullopt;
  return value;
}

}  // namespace

void SetErrorField(absl::Status& status, absl::string_view key,
                   absl::string_view value) {
  status.SetPayload(TypeUrl(key), absl::Cord(value));
}

std::string ErrorField(const absl::Status& status, absl::string_view key) {
  absl::optional<absl::Cord> payload = status.GetPayload(TypeUrl(key));
  return payload.has_value() ? std::string(*payload) : std::string();
}

absl::Status MakeError(absl::StatusCode code, absl::string_view reason,
                       absl::string_view object, absl::string_view message) {
  absl::Status status(code, message);
  SetErrorField(status, kReasonKey, reason);
  SetErrorField(status, kObjectKey, object);
  return status;
}

std::string ErrorReason(const absl::Status& status) {
  return ErrorField(status, kReasonKey);
}

std::string ErrorObject(const absl::Status& status) {
  return ErrorField(status, kObjectKey);
}

std::string ErrorLimit(const absl::Status& status) {
  return ErrorField(status, kLimitKey);
}

std::optional<int> ErrorSignal(const absl::Status& status) {
  return IntegerField<int>(status, kSignalKey);
}

std::optional<uint64_t> ErrorAcceptedBytes(const absl::Status& status) {
  return IntegerField<uint64_t>(status, kAcceptedBytesKey);
}

std::optional<absl::Duration> ErrorRetryAfter(const absl::Status& status) {
  absl::Duration duration;
  if (!absl::ParseDuration(ErrorField(status, kRetryAfterKey), &duration)) {
    return std::nullopt;
  }
  return duration;
}

bool OutcomeUnknown(const absl::Status& status) {
  return !ErrorField(status, kUnknownKey).empty();
}

}  // namespace waitq
