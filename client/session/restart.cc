#include "client/session/restart.h"

#include <algorithm>

#include "client/error.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "transport/duration.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq {

namespace {

// Its request; nullptr if it has none.
google::protobuf::Message* RequestOf(v1::Operation& operation) {
  const auto& reflection = *operation.GetReflection();
  const auto* const asked = reflection.GetOneofFieldDescriptor(
      operation, v1::Operation::descriptor()->FindOneofByName("request"));
  if (asked == nullptr) return nullptr;
  return reflection.MutableMessage(&operation, asked);
}

}  // namespace

void NameObject(const std::string& operation, absl::Status& error) {
  v1::Operation message;
  if (!ErrorObject(error).empty() || !message.ParseFromString(operation)) {
    return;
  }
  const google::protobuf::Message* const request = RequestOf(message);
  if (request == nullptr) return;
  const auto* const name = request->GetDescriptor()->FindFieldByName("name");
  if (name == nullptr) return;
  const std::string object =
      request->GetReflection()->GetString(*request, name);
  if (!object.empty()) SetErrorField(error, kObjectKey, object);
}

absl::Duration TimeOf(const std::string& operation) {
  v1::Operation message;
  if (!message.ParseFromString(operation)) return absl::ZeroDuration();
  const google::protobuf::Message* const asked = RequestOf(message);
  if (asked == nullptr) return absl::ZeroDuration();
  const auto& reflection = *asked->GetReflection();
  const auto* const nonblock =
      asked->GetDescriptor()->FindFieldByName("nonblock");
  if (nonblock != nullptr && reflection.GetBool(*asked, nonblock)) {
    return absl::ZeroDuration();
  }
  const auto* const timeout =
      asked->GetDescriptor()->FindFieldByName("timeout");
  if (timeout == nullptr || !reflection.HasField(*asked, timeout)) {
    return absl::InfiniteDuration();
  }
  return FromWire(static_cast<const google::protobuf::Duration&>(
      reflection.GetMessage(*asked, timeout)));
}

void RestartWithLess(absl::Duration elapsed, std::string& operation) {
  v1::Operation message;
  if (!message.ParseFromString(operation)) return;
  google::protobuf::Message* const asked = RequestOf(message);
  if (asked == nullptr) return;
  google::protobuf::Message& request = *asked;
  // All requests that may sleep have this field.
  const auto* const field = request.GetDescriptor()->FindFieldByName("timeout");
  if (field == nullptr || !request.GetReflection()->HasField(request, field)) {
    return;
  }
  auto& timeout = static_cast<google::protobuf::Duration&>(
      *request.GetReflection()->MutableMessage(&request, field));
  timeout = ToWire(std::max(FromWire(timeout) - elapsed, absl::ZeroDuration()));
  message.SerializeToString(&operation);
}

}  // namespace waitq
