#include "server/rpc/session_input.h"

#include <string>

#include "server/rpc/decode.h"
#include "transport/wire_reader.h"

namespace waitq::rpc {
namespace {

using google::protobuf::MessageLite;

// Its field, by number.
const MessageLite* RequestOf(const v1::Operation& operation) {
  switch (operation.request_case()) {
    case v1::Operation::kWait:
      return &operation.wait();
    case v1::Operation::kWakeUp:
      return &operation.wake_up();
    case v1::Operation::kGet:
      return &operation.get();
    case v1::Operation::kStore:
      return &operation.store();
    case v1::Operation::kCompletionWait:
      return &operation.completion_wait();
    case v1::Operation::kTryWait:
      return &operation.try_wait();
    case v1::Operation::kComplete:
      return &operation.complete();
    case v1::Operation::kReinit:
      return &operation.reinit();
    case v1::Operation::kDone:
      return &operation.done();
    case v1::Operation::kRead:
      return &operation.read();
    case v1::Operation::kWrite:
      return &operation.write();
    case v1::Operation::kPoll:
      return &operation.poll();
    case v1::Operation::kAccept:
      return &operation.accept();
    case v1::Operation::kRelease:
      return &operation.release();
    case v1::Operation::kOpen:
      return &operation.open();
    case v1::Operation::kClose:
      return &operation.close();
    case v1::Operation::kCreate:
      return &operation.create();
    case v1::Operation::kRemove:
      return &operation.remove();
    case v1::Operation::kWaitAny:
      return &operation.wait_any();
    case v1::Operation::REQUEST_NOT_SET:
      break;
  }
  return nullptr;
}

// Whether it is a WaitAny that is not to be parsed.
bool IsTooLong(absl::string_view operation) {
  if (operation.size() <= kWaitAnyBytesMax) return false;
  WireReader reader(operation);
  while (!reader.done()) {
    uint32_t tag;
    // (What cannot be read here may have one, too.)
    if (!reader.Tag(tag) || !reader.Skip(tag) ||
        tag == WireReader::BytesTag(v1::Operation::kWaitAnyFieldNumber)) {
      return true;
    }
  }
  return false;
}

}  // namespace

bool SessionInput::Parse(absl::string_view bytes) {
  std::vector<absl::string_view> operations;
  std::string rest;
  const bool split = Split(bytes, operations, rest);
  if (has_too_many_) return false;
  if (!split) {
    if (bytes.size() > kUncountedBytesMax) return false;
    if (!head_.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      return false;
    }
    for (const v1::Operation& operation : head_.operations()) Add(operation);
    return true;
  }
  // A message is the concatenation of its fields.
  if (!head_.ParseFromString(rest)) return false;
  operations_.reserve(operations.size());
  for (const absl::string_view one : operations) {
    Operation& operation = operations_.emplace_back();
    if (ParsePlain(one, operation.handle, operation.field, operation.plain)) {
      continue;
    }
    operations_.pop_back();
    if (IsTooLong(one)) {
      operations_.push_back(
          {.field = v1::Operation::kWaitAnyFieldNumber, .too_long = true});
      continue;
    }
    if (!arena_.has_value()) arena_.emplace();
    auto* const parsed =
        google::protobuf::Arena::CreateMessage<v1::Operation>(&*arena_);
    if (!parsed->ParseFromArray(one.data(), static_cast<int>(one.size()))) {
      return false;
    }
    Add(*parsed);
  }
  return true;
}

bool SessionInput::Split(absl::string_view bytes,
                         std::vector<absl::string_view>& operations,
                         std::string& rest) {
  constexpr uint32_t kOperation =
      WireReader::BytesTag(v1::SessionRequest::kOperationsFieldNumber);
  constexpr uint32_t kSignal =
      WireReader::BytesTag(v1::SessionRequest::kSignalsFieldNumber);
  WireReader reader(bytes);
  size_t signals = 0;
  while (!reader.done()) {
    const char* const begin = reader.at();
    uint32_t tag;
    if (!reader.Tag(tag)) return false;
    has_too_many_ = (tag == kOperation && operations.size() == kEntriesMax) ||
                    (tag == kSignal && ++signals > kEntriesMax);
    if (has_too_many_) return false;
    if (tag == kOperation) {
      if (!reader.Bytes(operations.emplace_back())) return false;
    } else {
      if (!reader.Skip(tag)) return false;
      rest.append(begin, reader.at() - begin);
    }
  }
  return true;
}

void SessionInput::Add(const v1::Operation& operation) {
  operations_.push_back(
      {.handle = operation.handle(),
       .field = static_cast<uint8_t>(operation.request_case()),
       .request = RequestOf(operation)});
}

}  // namespace waitq::rpc
